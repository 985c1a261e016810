//! Service URLs: parsed, and shown without credentials.
//!
//! `mongodb://` URLs have several hosts, which the `url` crate does not support: the list is split
//! here, and each host is parsed by that crate.

use std::fmt;

use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize, Serializer};
use url::Url;

use super::{MASK, Secret};

/// The hint for URLs that do not parse.
pub const HINT: &str = "percent-encode what is special in user names, passwords and parameters: \
    @ is %40, : is %3A, / is %2F, ? is %3F, # is %23, & is %26, % is %25";
/// Schemes that are shown even if the rest does not parse.
const SCHEMES: [&str; 18] = [
    "redis",
    "rediss",
    "redis-cluster",
    "rediss-cluster",
    "redis-sentinel",
    "rediss-sentinel",
    "redis+unix",
    "valkey",
    "valkeys",
    "valkey-cluster",
    "valkeys-cluster",
    "valkey-sentinel",
    "valkeys-sentinel",
    "valkey+unix",
    "mongodb",
    "mongodb+srv",
    "http",
    "https",
];
/// Parameters whose values are shown: none is a credential.
const HARMLESS: [&str; 28] = [
    "node",
    "sentinelServiceName",
    "appName",
    "authMechanism",
    "authSource",
    "connectTimeoutMS",
    "directConnection",
    "heartbeatFrequencyMS",
    "journal",
    "loadBalanced",
    "localThresholdMS",
    "maxConnecting",
    "maxIdleTimeMS",
    "maxPoolSize",
    "minPoolSize",
    "readConcernLevel",
    "readPreference",
    "replicaSet",
    "retryReads",
    "retryWrites",
    "serverSelectionTimeoutMS",
    "ssl",
    "tls",
    "tlsCAFile",
    "tlsCertificateKeyFile",
    "tlsInsecure",
    "tlsAllowInvalidCertificates",
    "w",
];
/// Parameters whose names are shown, but not their values.
const CREDENTIALS: [&str; 6] = [
    "sentinelUsername",
    "sentinelPassword",
    "tlsCertificateKeyFilePassword",
    "authMechanismProperties",
    "proxyUsername",
    "proxyPassword",
];

/// Why a text is not a service URL. No text shows any part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlFault {
    /// There is no scheme.
    #[error("it has no scheme, such as redis:// or mongodb://")]
    Scheme,
    /// White space or a control character.
    #[error("it holds white space or a control character; {HINT}")]
    Space,
    /// A `#`: servers have no fragments, passwords do.
    #[error("it holds a `#`; {HINT}")]
    Fragment,
    /// An `@` after the host.
    #[error("it holds an `@` after the host; {HINT}")]
    At,
    /// A `%` without two hexadecimal digits, or not UTF-8.
    #[error("it holds a `%` that encodes nothing; {HINT}")]
    Percent,
    /// The host or its port.
    #[error("its host and port cannot be read; {HINT}")]
    Host,
    /// The same parameter twice.
    #[error("it has a parameter twice; {HINT}")]
    Twice,
    /// A parameter without a value.
    #[error("it has a parameter without a value; {HINT}")]
    Value,
}

/// A host and its optional port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Its name or address; IPv6 in brackets.
    pub name: String,
    /// Its port.
    pub port: Option<u16>,
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl Host {
    /// Parses `host` or `host:port`.
    pub fn parse(text: &str) -> Result<Self, UrlFault> {
        // Any scheme without a default port works.
        let url = Url::parse(&format!("tcp://{text}")).map_err(|_| UrlFault::Host)?;
        let name = url.host_str().filter(|name| !name.is_empty()).ok_or(UrlFault::Host)?;
        let is_whole = url.username().is_empty()
            && url.password().is_none()
            && matches!(url.path(), "" | "/")
            && url.query().is_none()
            && url.fragment().is_none()
            && !text.ends_with([':', '/']);
        is_whole.then(|| Host { name: name.to_owned(), port: url.port() }).ok_or(UrlFault::Host)
    }
}

/// A parsed and decoded URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsedUrl {
    /// The part before `://`.
    pub scheme: String,
    /// The user's name, unless absent or empty.
    pub username: Option<Secret>,
    /// The password, unless absent or empty.
    pub password: Option<Secret>,
    /// The hosts; empty for a socket's path.
    pub hosts: Vec<Host>,
    /// The path, with its slash.
    pub path: String,
    /// The parameters in order. Any may be a credential.
    pub parameters: Vec<(String, Secret)>,
}

impl ParsedUrl {
    /// Parses a URL.
    ///
    /// # Errors
    /// If any part of it is ambiguous, as when a password is not percent-encoded.
    pub fn parse(text: &str) -> Result<Self, UrlFault> {
        let (scheme, rest) = text.split_once("://").ok_or(UrlFault::Scheme)?;
        let is_plain = |c: char| c.is_ascii_lowercase() || matches!(c, '+' | '-');
        if scheme.is_empty() || !scheme.chars().all(is_plain) {
            return Err(UrlFault::Scheme);
        }
        if rest.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(UrlFault::Space);
        }
        if rest.contains('#') {
            return Err(UrlFault::Fragment);
        }
        let (authority, after) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if after.contains('@') {
            return Err(UrlFault::At);
        }
        let (path, query) = after.split_once('?').unwrap_or((after, ""));
        let (user_info, hosts) = match authority.rsplit_once('@') {
            Some((user_info, hosts)) => (user_info, hosts),
            None => ("", authority),
        };
        let (username, password) = user_info.split_once(':').unwrap_or((user_info, ""));
        let credential =
            |text: &str| decoded(text).map(|text| Some(text).filter(|text| !text.is_empty()));
        let hosts = match hosts {
            "" if scheme.ends_with("+unix") => Ok(Vec::new()),
            _ => hosts.split(',').map(Host::parse).collect::<Result<Vec<Host>, UrlFault>>(),
        };
        Ok(ParsedUrl {
            scheme: scheme.to_owned(),
            username: credential(username)?.map(Secret::from),
            password: credential(password)?.map(Secret::from),
            hosts: hosts?,
            path: decoded(path)?,
            parameters: parameters(query)?,
        })
    }

    /// The value of the only parameter with this name.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let mut found = self.parameters.iter().filter(|(own, _)| own == name);
        found.next().map(|(_, value)| value.expose())
    }
}

fn parameters(query: &str) -> Result<Vec<(String, Secret)>, UrlFault> {
    let mut parameters: Vec<(String, Secret)> = Vec::new();
    for part in query.split('&').filter(|part| !part.is_empty()) {
        let (name, value) = part.split_once('=').ok_or(UrlFault::Value)?;
        if value.is_empty() {
            return Err(UrlFault::Value);
        }
        let name = decoded(name)?;
        let is_known = |other: &(String, Secret)| other.0.eq_ignore_ascii_case(&name);
        // These may be repeated.
        let is_list = name == "node" || name.eq_ignore_ascii_case("readPreferenceTags");
        if !is_list && parameters.iter().any(is_known) {
            return Err(UrlFault::Twice);
        }
        parameters.push((name, decoded(value)?.into()));
    }
    Ok(parameters)
}

fn decoded(text: &str) -> Result<String, UrlFault> {
    let is_hex = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_hexdigit);
    let bytes = text.as_bytes();
    let mut signs = (0..bytes.len()).filter(|index| bytes[*index] == b'%');
    if signs.any(|at| !is_hex(bytes.get(at + 1)) || !is_hex(bytes.get(at + 2))) {
        return Err(UrlFault::Percent);
    }
    let text = percent_decode_str(text).decode_utf8().map_err(|_| UrlFault::Percent)?;
    Ok(text.into_owned())
}

/// Formats a URL without its credentials.
pub fn mask_url(text: &str) -> String {
    let scheme = text.split("://").next().unwrap_or_default();
    let is_known = text.contains("://") && SCHEMES.contains(&scheme);
    let scheme = if is_known { scheme } else { MASK };
    let Ok(url) = ParsedUrl::parse(text) else {
        return if is_known { format!("{scheme}://{MASK}") } else { MASK.to_owned() };
    };
    let has_user = url.username.is_some() || url.password.is_some();
    let user = if has_user { format!("{MASK}@") } else { String::new() };
    let hosts: Vec<String> = url.hosts.iter().map(Host::to_string).collect();
    let is_harmless = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    let path = if url.path.chars().all(is_harmless) { url.path.as_str() } else { "/***" };
    let known = |names: &[&'static str], name: &str| {
        names.iter().copied().find(|known| known.eq_ignore_ascii_case(name))
    };
    let shown = |(name, value): &(String, Secret)| match known(&HARMLESS, name) {
        Some(name) => format!("{name}={}", value.expose()),
        None => format!("{}={MASK}", known(&CREDENTIALS, name).unwrap_or(MASK)),
    };
    let parameters: Vec<String> = url.parameters.iter().map(shown).collect();
    let query = if parameters.is_empty() { "" } else { "?" };
    format!("{scheme}://{user}{}{path}{query}{}", hosts.join(","), parameters.join("&"))
}

/// A service's address with its credentials. Shown (`Debug`, `Display`, TOML) without them;
/// [`ServiceUrl::expose`] returns all of it.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct ServiceUrl(String);

impl ServiceUrl {
    /// The whole address, including the password: for connecting, never for display.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Parses the URL.
    pub fn parsed(&self) -> Result<ParsedUrl, UrlFault> {
        ParsedUrl::parse(&self.0)
    }
}

impl From<&str> for ServiceUrl {
    fn from(text: &str) -> Self {
        ServiceUrl(text.to_owned())
    }
}

impl From<String> for ServiceUrl {
    fn from(text: String) -> Self {
        ServiceUrl(text)
    }
}

impl fmt::Display for ServiceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&mask_url(&self.0))
    }
}

impl fmt::Debug for ServiceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", mask_url(&self.0))
    }
}

impl Serialize for ServiceUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_is_shown_without_its_credentials() {
        let sentinel = "redis-sentinel://:pw@h:1/2?sentinelServiceName=main&sentinelPassword=hush";
        let cases = [
            ("redis://:pw@h:1/0", "redis://***@h:1/0"),
            ("redis://h:6379", "redis://h:6379"),
            ("redis://app:p%40ss@[::1]:1", "redis://***@[::1]:1"),
            ("redis-cluster://h:1?node=h:2", "redis-cluster://h:1?node=h:2"),
            (sentinel, "redis-sentinel://***@h:1/2?sentinelServiceName=main&sentinelPassword=***"),
            ("redis+unix:///run/redis.sock", "redis+unix:///run/redis.sock"),
            ("mongodb://ann:pw@a:1,b/db?w=1&x=hush", "mongodb://***@a:1,b/db?w=1&***=***"),
            (
                "mongodb://h/?authMechanismProperties=A:b",
                "mongodb://h/?authMechanismProperties=***",
            ),
            // An unparsable URL may contain a secret anywhere.
            ("redis://app:p@ss:w/rd#1@h", "redis://***"),
            ("redis://app:12/rd@h", "redis://***"),
            ("redis:/:pw@h", "***"),
            ("hunter2://h", "***"),
            ("hunter://h", "***://h"),
            ("hunter2", "***"),
        ];
        for (url, shown) in cases {
            assert_eq!(ServiceUrl::from(url).to_string(), shown);
            assert_eq!(format!("{:?}", ServiceUrl::from(url)), format!("{shown:?}"));
        }
    }

    #[test]
    fn url_is_parsed_and_decoded() {
        let url =
            ParsedUrl::parse("redis-sentinel://app:p%40s:s@[::1]:1,h/2?a=b+c%26&node=x&node=y");
        let url = url.unwrap();
        assert_eq!(url.username.as_ref().map(Secret::expose), Some("app"));
        assert_eq!(url.password.as_ref().map(Secret::expose), Some("p@s:s"));
        assert_eq!(url.hosts[0], Host { name: "[::1]".into(), port: Some(1) });
        assert_eq!(url.hosts[1], Host { name: "h".into(), port: None });
        assert_eq!((url.path.as_str(), url.parameter("a")), ("/2", Some("b+c&")));
        assert_eq!(url.parameters.len(), 3);
    }

    #[test]
    fn ambiguous_url_is_refused() {
        let cases = [
            ("h:6379", UrlFault::Scheme),
            ("REDIS://h", UrlFault::Scheme),
            ("redis://h:1\n", UrlFault::Space),
            ("redis://:a#b@h", UrlFault::Fragment),
            ("redis://:a/b@h", UrlFault::At),
            ("redis://u:1?b@h", UrlFault::At),
            ("redis://:100%@h", UrlFault::Percent),
            ("redis://:%ff@h", UrlFault::Percent),
            ("redis://", UrlFault::Host),
            ("redis://:pw@", UrlFault::Host),
            ("redis://h:", UrlFault::Host),
            ("redis://h:port", UrlFault::Host),
            ("redis://h:70000", UrlFault::Host),
            ("redis://h?a=1&A=2", UrlFault::Twice),
            ("redis://h?a", UrlFault::Value),
            ("redis://h?a=", UrlFault::Value),
        ];
        for (url, fault) in cases {
            assert_eq!(ParsedUrl::parse(url), Err(fault), "{url}");
        }
    }
}
