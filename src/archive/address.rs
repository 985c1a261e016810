//! Validates `mongodb_url`: every part of it is applied, or refused at start.

use mongodb::error::{Error, ErrorKind};
use mongodb::options::ConnectionString;

use crate::secrets::{HINT, ParsedUrl, Secret, ServiceUrl, UrlFault};
use crate::spelling::nearest;

/// Parameters that are applied as the driver documents them.
const SUPPORTED: [&str; 21] = [
    "appName",
    "authMechanism",
    "authSource",
    "directConnection",
    "loadBalanced",
    "localThresholdMS",
    "maxConnecting",
    "maxIdleTimeMS",
    "maxPoolSize",
    "minPoolSize",
    "replicaSet",
    "retryReads",
    "retryWrites",
    "serverMonitoringMode",
    "srvMaxHosts",
    "srvServiceName",
    "ssl",
    "tls",
    "tlsCAFile",
    "tlsCertificateKeyFile",
    "tlsInsecure",
];
const INSECURE: [&str; 2] = ["tlsInsecure", "tlsAllowInvalidCertificates"];
/// Parameters with the only value that the archive supports.
const FIXED: [(&str, &str); 4] = [
    ("w", "majority"),
    ("journal", "true"),
    ("readConcernLevel", "majority"),
    ("readPreference", "primary"),
];
/// Parameters that cannot be applied, and why.
const REFUSED: [(&str, &str); 17] = [
    ("connectTimeoutMS", OWN_BOUNDS),
    ("heartbeatFrequencyMS", OWN_BOUNDS),
    ("serverSelectionTimeoutMS", OWN_BOUNDS),
    ("socketTimeoutMS", OWN_BOUNDS),
    ("waitQueueTimeoutMS", OWN_BOUNDS),
    ("wtimeoutMS", OWN_BOUNDS),
    ("compressors", NOT_BUILT),
    ("zlibCompressionLevel", NOT_BUILT),
    ("proxyHost", NOT_BUILT),
    ("proxyPort", NOT_BUILT),
    ("proxyUsername", NOT_BUILT),
    ("proxyPassword", NOT_BUILT),
    ("authMechanismProperties", "no authMechanism of this build has properties"),
    ("tlsCertificateKeyFilePassword", "use a key file without a passphrase"),
    ("maxStalenessSeconds", "reads go to the primary"),
    ("readPreferenceTags", "reads go to the primary"),
    ("uuidRepresentation", "Holdfast's ids have one representation"),
];
const OWN_BOUNDS: &str = "mongodb_timeout_ms is the bound of every operation";
const NOT_BUILT: &str = "this build has no support for it";
/// Authentication mechanisms of this build.
const MECHANISMS: [&str; 4] = ["SCRAM-SHA-1", "SCRAM-SHA-256", "MONGODB-X509", "PLAIN"];

/// Why an address cannot be used. No text contains a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MongodbFault {
    /// The URL cannot be parsed.
    #[error(transparent)]
    Url(#[from] UrlFault),
    /// The scheme is not one of MongoDB's.
    #[error("it must begin with mongodb:// or mongodb+srv://")]
    Scheme,
    /// An unknown parameter.
    #[error("its parameter number {number} is unknown{hint}; {HINT}")]
    Parameter {
        /// Its number, from 1. The name is not shown: it may be a part of a secret.
        number: usize,
        /// A known parameter with a similar name.
        hint: String,
    },
    /// A parameter that cannot be applied.
    #[error("{0} is not supported: {1}; leave it out")]
    Refused(&'static str, &'static str),
    /// A parameter with an unsupported value.
    #[error("{0} can only be {1}: leave it out")]
    Fixed(&'static str, &'static str),
    /// An unbounded number of connections.
    #[error("maxPoolSize = 0 is no bound; leave it out")]
    Unbounded,
    /// An authentication mechanism that this build lacks.
    #[error("authMechanism must be SCRAM-SHA-256, SCRAM-SHA-1, MONGODB-X509 or PLAIN")]
    Mechanism,
    /// A user without a password, or the reverse.
    #[error("it has a {0}; write name:password@")]
    HalfUser(&'static str),
    /// A database name without effect.
    #[error(
        "it names a database, which has no effect without a user: set mongodb_database and leave \
         it out"
    )]
    Database,
    /// The driver's reason.
    #[error("{0}")]
    Driver(String),
}

/// The files with certificates that an address names, with the parameter of each.
pub fn tls_files(url: &ServiceUrl) -> Vec<(&'static str, String)> {
    let Ok(parsed) = url.parsed() else { return Vec::new() };
    let named = ["tlsCAFile", "tlsCertificateKeyFile"].into_iter();
    named.filter_map(|name| Some((name, parameter(&parsed, name)?.to_owned()))).collect()
}

/// Checks that every part of the address can be applied. `database` is the archive's.
///
/// # Errors
/// If a part cannot.
pub fn check(url: &ServiceUrl, database: &str) -> Result<(), MongodbFault> {
    let parsed = url.parsed()?;
    if !matches!(parsed.scheme.as_str(), "mongodb" | "mongodb+srv") {
        return Err(MongodbFault::Scheme);
    }
    for (index, (name, value)) in parsed.parameters.iter().enumerate() {
        check_parameter(index + 1, name, value.expose())?;
    }
    let has_x509 = parameter(&parsed, "authMechanism") == Some("MONGODB-X509");
    match (&parsed.username, &parsed.password) {
        (None, Some(_)) => return Err(MongodbFault::HalfUser("password without a user")),
        (Some(_), None) if !has_x509 => {
            return Err(MongodbFault::HalfUser("user without a password"));
        }
        _ => {}
    }
    let named = parsed.path.trim_start_matches('/');
    if !named.is_empty() && parsed.username.is_none() && !has_x509 && named != database {
        return Err(MongodbFault::Database);
    }
    let driver = ConnectionString::parse(url.expose());
    driver.map(drop).map_err(|error| MongodbFault::Driver(reason(&error, url)))
}

/// Whether the address disables the check of the server's certificate.
pub fn is_insecure(url: &ServiceUrl) -> bool {
    let Ok(parsed) = url.parsed() else { return false };
    INSECURE.iter().any(|name| parameter(&parsed, name) == Some("true"))
}

/// The driver's reason, unless it contains a credential.
pub(super) fn reason(error: &Error, url: &ServiceUrl) -> String {
    let text = match error.kind.as_ref() {
        ErrorKind::InvalidArgument { message, .. } => message.clone(),
        _ => error.to_string(),
    };
    const WITHHELD: &str =
        "the driver refuses it; its reason is hidden because it contains a secret";
    let Ok(parsed) = url.parsed() else { return WITHHELD.to_owned() };
    let secrets = [&parsed.username, &parsed.password].into_iter().flatten();
    let is_harmless = |name: &str| SUPPORTED.iter().any(|known| known.eq_ignore_ascii_case(name));
    let credentials =
        parsed.parameters.iter().filter(|(name, _)| !is_harmless(name)).map(|(_, v)| v);
    let mut all = secrets.chain(credentials).map(Secret::expose);
    let leaks = text.contains("://") || all.any(|secret| text.contains(secret));
    if leaks { WITHHELD.to_owned() } else { text }
}

/// A parameter's value. The driver ignores the case of names.
fn parameter<'a>(url: &'a ParsedUrl, name: &str) -> Option<&'a str> {
    let mut found = url.parameters.iter().filter(|(own, _)| own.eq_ignore_ascii_case(name));
    found.next().map(|(_, value)| value.expose())
}

fn check_parameter(number: usize, name: &str, value: &str) -> Result<(), MongodbFault> {
    let is = |known: &str| known.eq_ignore_ascii_case(name);
    if let Some((known, why)) = REFUSED.iter().find(|(known, _)| is(known)) {
        return Err(MongodbFault::Refused(known, why));
    }
    if let Some((known, only)) = FIXED.iter().find(|(known, _)| is(known)) {
        let fault = MongodbFault::Fixed(known, only);
        return if value == *only { Ok(()) } else { Err(fault) };
    }
    if is("maxPoolSize") && value.trim_start_matches('0').is_empty() {
        return Err(MongodbFault::Unbounded);
    }
    if is("authMechanism") && !MECHANISMS.contains(&value) {
        return Err(MongodbFault::Mechanism);
    }
    let known = || SUPPORTED.iter().chain(&INSECURE).copied();
    if known().any(is) {
        return Ok(());
    }
    let all = known().chain(FIXED.iter().map(|(name, _)| *name));
    let near = nearest(name, all.chain(REFUSED.iter().map(|(name, _)| *name)));
    let hint = near.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
    Err(MongodbFault::Parameter { number, hint })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn supported_url_is_accepted() {
        for url in [
            "mongodb://127.0.0.1:27017",
            "mongodb://a:1,b:2/?replicaSet=rs0&retryWrites=true&w=majority&appName=Cluster0",
            "mongodb://app:p%40ss@h/admin?authSource=admin&tls=true&tlsCAFile=ca.pem",
            "mongodb://h/archive",
            "mongodb://h/?authMechanism=MONGODB-X509&tls=true&tlsCertificateKeyFile=both.pem",
            "mongodb+srv://app:pw@cluster0.example.mongodb.net/?tlsInsecure=false",
            "mongodb://%2Ftmp%2Fmongodb.sock",
        ] {
            check(&url.into(), "archive").unwrap_or_else(|fault| panic!("{url}: {fault}"));
        }
    }

    #[test]
    fn unsupported_part_of_a_url_is_refused() {
        let cases = [
            ("redis://h", "must begin with mongodb://"),
            ("mongodb://app:p/ss@h", "holds an `@` after the host"),
            ("mongodb://:pw@h", "password without a user"),
            ("mongodb://app@h", "user without a password"),
            ("mongodb://h/other", "set mongodb_database"),
            ("mongodb://h/?w=1", "w can only be majority"),
            ("mongodb://h/?JOURNAL=false", "journal can only be true"),
            ("mongodb://h/?readPreference=secondary", "readPreference can only be primary"),
            ("mongodb://h/?socketTimeoutMS=1", "socketTimeoutMS is not supported"),
            ("mongodb://h/?compressors=zlib", "no support for it"),
            ("mongodb://h/?maxPoolSize=0", "is no bound"),
            ("mongodb://h/?authMechanism=MONGODB-AWS", "authMechanism must be"),
            ("mongodb://h/?replicaset=a&replicatSet=b", "did you mean `replicaSet`?"),
            ("mongodb://h/?hush=b", "number 1 is unknown; percent-encode"),
            ("mongodb://h/?tlsCertificateKeyFilePassword=hush", "without a passphrase"),
            ("mongodb://h/?tls=maybe", "must be a boolean"),
            ("mongodb://app:a:hush@h", "password must be URL encoded"),
        ];
        for (url, expected) in cases {
            let fault = check(&url.into(), "archive").unwrap_err().to_string();
            assert!(fault.contains(expected) && !fault.contains("hush"), "{url}: {fault}");
        }
    }

    #[test]
    fn disabled_certificate_check_is_detected() {
        assert!(is_insecure(&"mongodb://h/?tlsInsecure=true".into()));
        assert!(is_insecure(&"mongodb://h/?tlsallowinvalidcertificates=true".into()));
        assert!(!is_insecure(&"mongodb://h/?tls=true".into()));
    }
}
