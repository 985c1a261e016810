//! Checks the settings of services at start: every part of their URLs is honoured or refused.

use std::net::IpAddr;

use crate::archive;
use crate::redis::{AddressFault, RedisAddress, TlsFiles};
use crate::secrets::quoted;

use super::fields::Config;
use super::log_level;

/// Longest bounded wait at start, seconds.
const START_WAIT_SECONDS_MAX: i64 = 86_400;

impl Config {
    /// The address of Redis. Certificate files are not read yet.
    ///
    /// # Errors
    /// If a part of it cannot be honoured.
    pub fn redis_address(&self) -> Result<RedisAddress, AddressFault> {
        RedisAddress::parse(self.redis_url.expose(), &self.redis_tls_files())
    }

    /// The settings of TLS to Redis.
    pub fn redis_tls_files(&self) -> TlsFiles {
        TlsFiles {
            ca: self.redis_tls_ca_file.clone(),
            cert: self.redis_tls_cert_file.clone(),
            key: self.redis_tls_key_file.clone(),
            server_name: self.redis_tls_server_name.clone(),
        }
    }

    pub(super) fn check_services(&self, faults: &mut Vec<String>) {
        if let Err(fault) = self.redis_address() {
            faults.push(format!("redis_url = \"{}\": {fault}", self.redis_url));
        }
        if let Err(fault) = archive::check_url(&self.mongodb_url, &self.mongodb_database) {
            faults.push(format!("mongodb_url = \"{}\": {fault}", self.mongodb_url));
        }
        let plain = |text: &str| {
            let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            (1..=32).contains(&text.len()) && text.chars().all(allowed)
        };
        for (name, text) in [
            ("redis_namespace", &self.redis_namespace),
            ("mongodb_database", &self.mongodb_database),
        ] {
            if !plain(text) {
                let text = quoted(text);
                faults
                    .push(format!("{name} = {text}: must be 1 to 32 letters, digits, `_` or `-`"));
            }
        }
        if !(-1..=START_WAIT_SECONDS_MAX).contains(&self.start_wait_seconds) {
            faults.push(format!(
                "start_wait_seconds = {}: must be 0 to {START_WAIT_SECONDS_MAX}, or -1 for ever",
                self.start_wait_seconds
            ));
        }
        if let Err(fault) = log_level::check(&self.log_level) {
            faults.push(format!("log_level = {}: {fault}", quoted(&self.log_level)));
        }
    }

    /// Checks that Stripe's secret key may be sent to its address, and that every part has an effect.
    pub(super) fn check_stripe_url(&self, faults: &mut Vec<String>) {
        let shown = &self.stripe_url;
        let url = match self.stripe_url.parsed() {
            Ok(url) => url,
            Err(fault) => return faults.push(format!("stripe_url = \"{shown}\": {fault}")),
        };
        let host = url.hosts.first().map_or("", |host| host.name.as_str());
        let is_safe = match url.scheme.as_str() {
            "https" => true,
            "http" => {
                let address: Result<IpAddr, _> = host.trim_matches(['[', ']']).parse();
                host == "localhost" || address.is_ok_and(|address| address.is_loopback())
            }
            _ => false,
        };
        if !is_safe {
            faults.push(format!(
                "stripe_url = \"{shown}\": must begin with https:// (http:// is for a server on \
                 127.0.0.1), as the secret key goes there"
            ));
        } else if url.username.is_some()
            || url.password.is_some()
            || !url.parameters.is_empty()
            || url.hosts.len() != 1
        {
            faults.push(format!(
                "stripe_url = \"{shown}\": a user, parameters or further hosts have no effect; \
                 leave them out (the key is stripe_secret_key)"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(config: &Config) -> Vec<String> {
        let mut faults = Vec::new();
        config.check_services(&mut faults);
        config.check_stripe_url(&mut faults);
        faults
    }

    #[test]
    fn stripe_url_is_encrypted_or_of_this_machine() {
        let config = |url: &str| Config { stripe_url: url.into(), ..Config::default() };
        let sound = [
            "https://h",
            "https://h/base",
            "http://127.0.0.1:1",
            "http://localhost",
            "http://[::1]:1",
        ];
        for url in sound {
            assert_eq!(faults(&config(url)), [""; 0], "{url}");
        }
        let wrong =
            ["http://h", "http://127.0.0.1.h", "ftp://h", "h", "", "https://k@h", "https://h?k=1"];
        for url in wrong {
            assert_eq!(faults(&config(url)).len(), 1, "{url}");
        }
    }

    #[test]
    fn fault_of_a_url_names_its_setting_and_hides_its_secrets() {
        let config = Config {
            redis_url: "redis://app:p@ss:w/rd#1@h".into(),
            mongodb_url: "mongodb://h/?tlsCertificateKeyFilePassword=hunter2".into(),
            ..Config::default()
        };
        let faults = faults(&config);
        assert!(faults[0].starts_with("redis_url = \"redis://***\": it holds a `#`"), "{faults:?}");
        assert!(faults[1].contains("KeyFilePassword=***\": tlsCertificateKeyFile"), "{faults:?}");
        assert!(!faults.concat().contains("hunter2"));
    }

    #[test]
    fn tls_settings_need_a_scheme_of_tls() {
        let config = Config { redis_tls_server_name: "redis.example".into(), ..Config::default() };
        assert!(faults(&config)[0].contains("redis_tls_* are set"), "{:?}", faults(&config));
        let config = Config { redis_url: "rediss://h".into(), ..config };
        assert_eq!(faults(&config), [""; 0]);
        let config = Config { redis_tls_cert_file: "cert.pem".into(), ..config };
        assert!(faults(&config)[0].contains("belong together"));
    }
}
