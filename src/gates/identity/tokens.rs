//! Verifies JWTs, signed with a configured key in the one algorithm that the settings name, so that
//! a token cannot choose how it is checked.
//!
//! A verified token is cached as a whole until it expires, so that the caller's next request costs
//! a lookup. The cache is bounded by [`REMEMBERED_BYTES_MAX`]; an evicted token is verified anew.
//! No lock is held while a token is verified.

use std::time::{SystemTime, UNIX_EPOCH};

use actix_web::HttpRequest;
use actix_web::http::header::{self, HeaderValue};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::Identified;
use super::backend::BackendClaims;
use crate::config::values::JwtAlgorithm;
use crate::config::{Config, KeyError, jwt_keys};
use crate::domain::UserId;
use crate::http::problem::{Code, Problem};

/// Most bytes of a token.
const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// Most bytes of all cached tokens, with their entries.
const REMEMBERED_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Bytes of a cache entry beside its token.
const REMEMBERED_BYTES_EACH: u64 = 128;
/// Expected cache entries: a common token has some 700 bytes.
const REMEMBERED_EXPECTED: usize = 32_768;
/// The scheme in front of a token.
const SCHEME: &str = "Bearer";
/// The one text about a token that cannot be verified, whatever the reason.
const UNVERIFIED: &str = "The token cannot be verified; sign in again and send the new one, as \
    Authorization: Bearer";

/// Verifies tokens, and caches the valid ones.
pub struct Tokens {
    keys: Vec<DecodingKey>,
    /// SHA-256 of all that these tokens are verified by.
    fingerprint: [u8; 32],
    validation: Validation,
    leeway_seconds: u64,
    backend_claims: BackendClaims,
    remembered: Cache<Box<str>, Verified, Weight>,
}

#[derive(Clone)]
struct Verified {
    user: UserId,
    /// Whether it is a backend's token.
    is_backend: bool,
    /// Unix seconds.
    until_seconds: u64,
}

impl Verified {
    fn identified(self) -> Identified {
        Identified { user: self.user, is_backend: self.is_backend }
    }
}

#[derive(Clone)]
struct Weight;

impl Weighter<Box<str>, Verified> for Weight {
    fn weight(&self, token: &Box<str>, verified: &Verified) -> u64 {
        (token.len() + verified.user.as_str().len()) as u64 + REMEMBERED_BYTES_EACH
    }
}

/// The claims read here; the library validates the rest.
#[derive(Deserialize)]
struct Claims {
    sub: Option<Subject>,
    /// Unix seconds, possibly with a fraction. Any JSON is accepted, so that the library can report
    /// what is wrong.
    #[serde(default)]
    exp: Value,
    /// All others.
    #[serde(flatten)]
    others: Map<String, Value>,
}

/// A user id, as issuers write it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Subject {
    Text(String),
    Number(i64),
}

impl Tokens {
    /// Accepts tokens by the settings.
    ///
    /// # Errors
    /// If a key file is missing or is no key for the algorithm.
    pub fn new(config: &Config) -> Result<Self, KeyError> {
        let (keys, contents) = jwt_keys::read(&config.jwt_key_files, config.jwt_algorithm)?;
        let mut validation = Validation::new(match config.jwt_algorithm {
            JwtAlgorithm::Hs256 => Algorithm::HS256,
            JwtAlgorithm::Rs256 => Algorithm::RS256,
        });
        validation.leeway = config.jwt_leeway_seconds;
        validation.validate_nbf = true;
        validation.set_audience(&[&config.jwt_audience]);
        let mut required = vec!["exp", "aud"];
        if !config.jwt_issuer.is_empty() {
            validation.set_issuer(&[&config.jwt_issuer]);
            required.push("iss");
        }
        validation.set_required_spec_claims(&required);
        let remembered = Cache::with_weighter(REMEMBERED_EXPECTED, REMEMBERED_BYTES_MAX, Weight);
        Ok(Tokens {
            keys,
            fingerprint: fingerprint(config, contents),
            validation,
            leeway_seconds: config.jwt_leeway_seconds,
            backend_claims: BackendClaims::new(&config.jwt_backend_claims),
            remembered,
        })
    }

    /// Whether the others accept the same tokens in the same way.
    pub fn is_same_as(&self, other: &Tokens) -> bool {
        self.fingerprint == other.fingerprint
    }

    /// The user of a request's token, if it has one.
    pub fn of_request(&self, request: &HttpRequest) -> Result<Option<Identified>, Problem> {
        let mut shown = request.headers().get_all(header::AUTHORIZATION);
        let Some(value) = shown.next() else { return Ok(None) };
        if shown.next().is_some() {
            return Err(invalid("There are two Authorization headers; send one, with the token"));
        }
        let Ok(text) = value.to_str() else { return Err(invalid(UNVERIFIED)) };
        let (scheme, token) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        // Another scheme may be a proxy's.
        if !scheme.eq_ignore_ascii_case(SCHEME) {
            return Ok(None);
        }
        self.user_of(token.trim()).map(Some)
    }

    fn user_of(&self, token: &str) -> Result<Identified, Problem> {
        if let Some(verified) = self.remembered.get(token)
            && now_seconds() <= verified.until_seconds
        {
            return Ok(verified.identified());
        }
        if token.len() > TOKEN_BYTES_MAX {
            let detail = format!(
                "The token has {} bytes; {TOKEN_BYTES_MAX} are allowed. Ask for one with less in it",
                token.len()
            );
            return Err(invalid(detail));
        }
        let verified = self.verify(token)?;
        let identified = verified.clone().identified();
        self.remembered.insert(token.into(), verified);
        Ok(identified)
    }

    /// Tries the keys in turn; the claims are validated under the key whose signature matches.
    fn verify(&self, token: &str) -> Result<Verified, Problem> {
        let mut refusal = invalid(UNVERIFIED);
        for key in &self.keys {
            match decode::<Claims>(token, key, &self.validation) {
                // A critical extension must be refused by a verifier that does not support it.
                Ok(data) if data.header.crit.is_none() => return self.verified(data.claims),
                Ok(_) => return Err(refusal),
                Err(error) => match error.kind() {
                    ErrorKind::InvalidSignature => {}
                    kind => {
                        refusal = self.refusal(kind);
                        break;
                    }
                },
            }
        }
        Err(refusal)
    }

    fn verified(&self, claims: Claims) -> Result<Verified, Problem> {
        let user = match claims.sub {
            Some(Subject::Text(text)) => text,
            Some(Subject::Number(number)) => number.to_string(),
            None => return Err(invalid("The token names no user: its `sub` is missing")),
        };
        let user = user
            .parse()
            .map_err(|error| invalid(format!("The token's `sub` is no user id: {error}")))?;
        // The library has validated it as a number in the future.
        let expires = claims.exp.as_f64().unwrap_or_default().round() as u64;
        let until_seconds = expires.saturating_add(self.leeway_seconds);
        let is_backend = self.backend_claims.mark(&claims.others);
        Ok(Verified { user, is_backend, until_seconds })
    }

    /// Only the owner of a validly signed token learns what is wrong with its claims: the library
    /// validates them last.
    fn refusal(&self, kind: &ErrorKind) -> Problem {
        let Validation { aud, iss, .. } = &self.validation;
        let wanted = |set: &Option<std::collections::HashSet<String>>| {
            set.iter().flatten().next().cloned().unwrap_or_default()
        };
        match kind {
            ErrorKind::ExpiredSignature => refused(
                Code::TokenExpired,
                "The token has expired; refresh it, or sign in again".to_owned(),
            ),
            ErrorKind::ImmatureSignature => {
                invalid("The token is not valid yet (`nbf`); send it later, or set the clock")
            }
            ErrorKind::InvalidAudience => {
                invalid(format!("The token is for another audience than {:?} (`aud`)", wanted(aud)))
            }
            ErrorKind::InvalidIssuer => {
                invalid(format!("The token is from another issuer than {:?} (`iss`)", wanted(iss)))
            }
            ErrorKind::MissingRequiredClaim(claim) => {
                invalid(format!("The token lacks the claim `{claim}`, or it is malformed"))
            }
            _ => invalid(UNVERIFIED),
        }
    }
}

fn invalid(detail: impl Into<String>) -> Problem {
    refused(Code::TokenInvalid, detail.into())
}

fn refused(code: Code, detail: String) -> Problem {
    const CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer error=\"invalid_token\"");
    Problem::new(code, detail).with_header(header::WWW_AUTHENTICATE, CHALLENGE)
}

fn now_seconds() -> u64 {
    // With a clock before 1970 no token is valid yet.
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
/// The fingerprint of the settings and of the key files' contents.
fn fingerprint(config: &Config, contents: Sha256) -> [u8; 32] {
    let settings = format!(
        "{:?}\0{}\0{:?}\0{:?}\0{:?}",
        config.jwt_algorithm,
        config.jwt_leeway_seconds,
        config.jwt_audience,
        config.jwt_issuer,
        config.jwt_backend_claims,
    );
    contents.chain_update(settings).finalize().into()
}
