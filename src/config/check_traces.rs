//! Checks where traces go and which.

use std::net::IpAddr;

use super::fields::Config;
use super::layers::ConfigError;
use crate::telemetry::sampling::ALL_PER_MILLION;

/// A collector of traces.
#[derive(Clone, PartialEq, Eq)]
pub struct Collector {
    /// Its address, without credentials.
    pub url: String,
    /// The user and password that it wants.
    pub credentials: Option<(String, String)>,
}

impl Config {
    /// The collector of traces; `None` if none are exported.
    ///
    /// # Errors
    /// If its address cannot be used.
    pub fn otlp_collector(&self) -> Result<Option<Collector>, ConfigError> {
        if self.otlp_url.expose().is_empty() || self.trace_sample_per_million == 0 {
            return Ok(None);
        }
        self.parsed_collector().map(Some)
    }

    fn parsed_collector(&self) -> Result<Collector, ConfigError> {
        let fault = |what: &str| ConfigError(format!("otlp_url = \"{}\": {what}", self.otlp_url));
        let url = self.otlp_url.parsed().map_err(|why| fault(&why.to_string()))?;
        if !matches!(url.scheme.as_str(), "http" | "https") {
            return Err(fault("must begin with http:// or https://"));
        }
        let [host] = url.hosts.as_slice() else { return Err(fault("must have one host")) };
        if !url.parameters.is_empty() {
            return Err(fault("parameters have no effect; leave them out"));
        }
        let credentials = match (&url.username, &url.password) {
            (None, None) => None,
            (Some(name), Some(password)) => {
                Some((name.expose().to_owned(), password.expose().to_owned()))
            }
            _ => return Err(fault("needs both a user and a password, or neither")),
        };
        let address: Result<IpAddr, _> = host.name.trim_matches(['[', ']']).parse();
        let is_here = host.name == "localhost" || address.is_ok_and(|one| one.is_loopback());
        if credentials.is_some() && url.scheme == "http" && !is_here {
            return Err(fault("must begin with https://, as a password goes there"));
        }
        let port = host.port.map_or(String::new(), |port| format!(":{port}"));
        let (scheme, name, path) = (&url.scheme, &host.name, &url.path);
        Ok(Collector { url: format!("{scheme}://{name}{port}{path}"), credentials })
    }

    /// Checks the address of the collector and the share of traces.
    pub(super) fn check_traces(&self, faults: &mut Vec<String>) {
        if self.trace_sample_per_million > ALL_PER_MILLION {
            faults.push(format!(
                "trace_sample_per_million = {}: must be 0 to {ALL_PER_MILLION}",
                self.trace_sample_per_million
            ));
        }
        if !self.otlp_url.expose().is_empty() {
            faults.extend(self.parsed_collector().err().map(|fault| fault.0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collector(url: &str) -> Result<Option<Collector>, String> {
        let config = Config { otlp_url: url.into(), ..Config::default() };
        let mut faults = Vec::new();
        config.check_traces(&mut faults);
        let collector = config.otlp_collector().map_err(|fault| fault.0);
        assert_eq!(faults.is_empty(), collector.is_ok(), "{url}");
        collector
    }

    #[test]
    fn credentials_are_parted_from_the_address() {
        assert!(collector("").unwrap().is_none());
        let found = collector("https://ann:p%40ss@otlp.example:4318/otlp").unwrap().unwrap();
        assert_eq!(found.url, "https://otlp.example:4318/otlp");
        assert_eq!(found.credentials, Some(("ann".to_owned(), "p@ss".to_owned())));
        let found = collector("http://[::1]:4318").unwrap().unwrap();
        assert_eq!((found.url.as_str(), found.credentials), ("http://[::1]:4318", None));
    }

    #[test]
    fn address_without_effect_or_safety_is_refused() {
        for (url, expected) in [
            ("collector:4318", "scheme"),
            ("grpc://h:4317", "must begin with http:// or https://"),
            ("http://a,b", "must have one host"),
            ("http://h?x=1", "parameters have no effect"),
            ("https://hunter2@h", "needs both"),
            ("http://ann:hunter2@h", "must begin with https://"),
        ] {
            let fault = collector(url).err().unwrap();
            assert!(fault.contains(expected) && !fault.contains("hunter2"), "{fault}");
        }
        let config = Config { trace_sample_per_million: 1_000_001, ..Config::default() };
        let mut faults = Vec::new();
        config.check_traces(&mut faults);
        assert_eq!(faults.len(), 1);
    }

    #[test]
    fn no_share_is_no_export() {
        let url = "http://h:4318".into();
        let config = Config { otlp_url: url, trace_sample_per_million: 0, ..Config::default() };
        assert!(config.otlp_collector().is_ok_and(|collector| collector.is_none()));
    }
}
