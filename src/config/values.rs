//! Kinds of settings that are more than a number or a text: what they accept and how they print.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use crate::domain::Network;

/// What to do about a service that is set up in a way that can lose a sale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnRisk {
    /// Say so in the log and start.
    Warn,
    /// Say so and do not start.
    Refuse,
    /// Start and say nothing.
    Ignore,
}

/// How callers prove who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Auth {
    /// They don't: `?user_id=` or `X-User-Id` is believed. For development, or behind a gateway
    /// that vouches for it.
    Trusted,
    /// By a signed token, a JWT, whose `sub` is the user.
    Jwt,
}

/// How tokens are signed. One, named by the settings: a token must not choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JwtAlgorithm {
    /// HMAC with SHA-256, by a secret that issuer and Holdfast share.
    #[serde(rename = "HS256")]
    Hs256,
    /// RSA (PKCS #1 v1.5) with SHA-256: the issuer has the private key, Holdfast the public one.
    #[serde(rename = "RS256")]
    Rs256,
}

/// The header in which trusted proxies say for whom they ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProxyHeader {
    /// `X-Forwarded-For`, a list of addresses.
    XForwardedFor,
    /// `Forwarded`, RFC 7239.
    Forwarded,
}

/// How much is told of what is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Detail {
    /// Numbers.
    Exact,
    /// Words.
    Coarse,
}

/// Who moves the money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PaymentProvider {
    /// Nobody: payments are booked in the archive's database as if there were money.
    Simulated,
    /// Stripe, or what speaks its API.
    Stripe,
}

/// A text that is never shown; [`Secret::expose`] gives it. Empty means "none".
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The secret itself: for use, never for showing.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether none is set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn masked(&self) -> &'static str {
        if self.is_empty() { "" } else { "***" }
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Secret(text.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.masked())
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.masked())
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people at a terminal.
    Text,
}

/// A service's address with its credentials. Shown (`Debug`, `Display`, TOML) with the password
/// masked; [`ServiceUrl::expose`] gives the whole.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct ServiceUrl(String);

impl ServiceUrl {
    /// The address as it was given, password and all: for connecting, never for showing.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The part before `://`; the whole text if there is none.
    pub fn scheme(&self) -> &str {
        self.0.split("://").next().unwrap_or_default()
    }

    fn masked(&self) -> String {
        let Some((scheme, rest)) = self.0.split_once("://") else {
            return self.0.clone();
        };
        // Credentials end at the last `@` before the path: passwords may hold one too.
        let authority_end = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at(authority_end);
        match authority.rsplit_once('@') {
            Some((credentials, host)) => {
                let user = credentials.split(':').next().unwrap_or_default();
                format!("{scheme}://{user}:***@{host}{path}")
            }
            None => self.0.clone(),
        }
    }
}

impl From<&str> for ServiceUrl {
    fn from(text: &str) -> Self {
        ServiceUrl(text.to_owned())
    }
}

impl fmt::Display for ServiceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked())
    }
}

impl fmt::Debug for ServiceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.masked())
    }
}

impl Serialize for ServiceUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Bytes of a SHA-256.
const SHA256_BYTES: usize = 32;

/// An admin key at rest: whose it is and its SHA-256. Written `name:hex`; shown without the hash.
#[derive(Clone, PartialEq, Eq)]
pub struct AdminKey {
    /// Whose key it is; named in the log of admin acts.
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
        if name.is_empty() || hex.len() != SHA256_BYTES * 2 || !hex.is_ascii() {
            return Err(FORM);
        }
        let mut sha256 = [0; SHA256_BYTES];
        for (index, byte) in sha256.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&hex[index * 2..index * 2 + 2], 16).map_err(|_| FORM)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_masked() {
        let cases = [
            ("redis://:pw@h:1/0", "redis://:***@h:1/0"),
            ("mongodb://ann:p@ss@h/db?x=1", "mongodb://ann:***@h/db?x=1"),
            ("redis-cluster://h:1?node=h:2", "redis-cluster://h:1?node=h:2"),
        ];
        for (url, shown) in cases {
            assert_eq!(ServiceUrl::from(url).to_string(), shown);
            assert_eq!(format!("{:?}", ServiceUrl::from(url)), format!("{shown:?}"));
        }
    }

    #[test]
    fn admin_keys_are_read_and_never_shown() {
        let hex = "ab".repeat(SHA256_BYTES);
        let key: AdminKey = format!("ops:{hex}").parse().unwrap();
        assert_eq!((key.name.as_str(), key.sha256), ("ops", [0xab; SHA256_BYTES]));
        assert_eq!(format!("{key:?}"), "ops:***");
        for bad in ["", "ops", "ops:ab", &format!(":{hex}"), &format!("ops:{}", "zz".repeat(32))] {
            assert!(bad.parse::<AdminKey>().is_err(), "{bad}");
        }
    }
}
