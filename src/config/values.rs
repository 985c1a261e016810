//! Types of settings: what they accept and how they are printed.

pub use crate::telemetry::LogFormat;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

pub use crate::domain::Network;
pub use crate::secrets::{FilePath, Secret, ServiceUrl};

/// What to do if a service's configuration can lose a sale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnRisk {
    /// Warn and start.
    Warn,
    /// Warn and refuse to start.
    Refuse,
    /// Start without a warning.
    Ignore,
}

/// How clients are authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Auth {
    /// Not at all: `?user_id=` or `X-User-Id` is trusted. For development, or behind an
    /// authenticating gateway.
    Trusted,
    /// By a signed token, a JWT, whose `sub` is the user.
    Jwt,
}

/// The signature algorithm of tokens. Fixed by the settings: a token must not choose it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JwtAlgorithm {
    /// HMAC with SHA-256 and a secret shared with the issuer.
    #[serde(rename = "HS256")]
    Hs256,
    /// RSA (PKCS #1 v1.5) with SHA-256: the issuer has the private key, Holdfast the public one.
    #[serde(rename = "RS256")]
    Rs256,
}

/// The header in which trusted proxies send the client's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProxyHeader {
    /// `X-Forwarded-For`, a list of addresses.
    XForwardedFor,
    /// `Forwarded`, RFC 7239.
    Forwarded,
}

/// How availability is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Detail {
    /// Exact numbers.
    Exact,
    /// Coarse words.
    Coarse,
}

/// The payment provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PaymentProvider {
    /// Simulated: payments are recorded in the archive's database without money.
    Simulated,
    /// Stripe, or a server with its API.
    Stripe,
}

/// Longest name of an admin key, bytes.
const NAME_BYTES_MAX: usize = 64;
/// Bytes of a SHA-256.
const SHA256_BYTES: usize = 32;

/// A stored admin key: its owner and its SHA-256. Written `name:hex`; shown without the hash.
#[derive(Clone, PartialEq, Eq)]
pub struct AdminKey {
    /// The owner; named in the audit log.
    pub name: String,
    /// SHA-256 of the key.
    pub sha256: [u8; SHA256_BYTES],
}

impl FromStr for AdminKey {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "an admin key is written `name:` and the 64 hex digits of its SHA-256 \
            (printf %s \"$KEY\" | sha256sum)";
        let (name, hex) = text.split_once(':').ok_or(FORM)?;
        let hex = hex.trim();
        if name.is_empty()
            || name.len() > NAME_BYTES_MAX
            || hex.len() != SHA256_BYTES * 2
            || !hex.is_ascii()
        {
            return Err(FORM);
        }
        let mut sha256 = [0; SHA256_BYTES];
        for (index, byte) in sha256.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&hex[index * 2..index * 2 + 2], 16).map_err(|_| FORM)?;
        }
        // Names appear in logs.
        let is_key = |name: &str| Sha256::digest(name.as_bytes()).as_slice() == sha256.as_slice();
        if is_key(name) || is_key(name.trim()) {
            return Err("the part before the hash of an admin key is the key itself instead of a \
                name: write `ops:` and the hash, and use a new key, as this one may have been read");
        }
        Ok(AdminKey { name: name.to_owned(), sha256 })
    }
}

impl fmt::Debug for AdminKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:***", self.name)
    }
}

impl Serialize for AdminKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{self:?}"))
    }
}

impl<'de> Deserialize<'de> for AdminKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Programs that identify themselves. `Cubot` is a phone.
pub(super) fn bot_user_agents() -> Vec<String> {
    let patterns = [
        r"(^|[^u])bot\b",
        "crawler",
        "spider",
        "scrapy",
        r"^curl\b",
        r"^wget\b",
        "python-requests",
        r"python-urllib",
        "aiohttp",
        "httpx",
        "go-http-client",
        r"^java/",
        "libwww-perl",
        "headlesschrome",
        "phantomjs",
        "selenium",
        "puppeteer",
        "playwright",
    ];
    patterns.map(str::to_owned).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admin_keys_are_parsed_and_never_shown() {
        let hex = "ab".repeat(SHA256_BYTES);
        let key: AdminKey = format!("ops:{hex}").parse().unwrap();
        assert_eq!((key.name.as_str(), key.sha256), ("ops", [0xab; SHA256_BYTES]));
        assert_eq!(format!("{key:?}"), "ops:***");
        for bad in ["", "ops", "ops:ab", &format!(":{hex}"), &format!("ops:{}", "zz".repeat(32))] {
            assert!(bad.parse::<AdminKey>().is_err(), "{bad}");
        }
        // printf %s open-sesame | sha256sum
        let hash = "d7ecdf25eaf3deba0f2628771dbdd22d4138ab6cf38f91ed02a2ca0dec7c8ab7";
        assert!(format!("ops:{hash}").parse::<AdminKey>().is_ok());
        let fault = format!("open-sesame:{hash}").parse::<AdminKey>().unwrap_err();
        assert!(fault.contains("the key itself") && !fault.contains("sesame"), "{fault}");
    }
}
