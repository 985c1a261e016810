//! Admission tokens: signed records of a place in a waiting room, kept by their owners. Pure.
//!
//! A token is `v2.<key id>.<payload>.<mac>`. The payload is the deployment's tag and the place in
//! binary, the MAC is HMAC-SHA256 over everything before its dot; both are URL-safe base64, without
//! padding and in canonical form. Guarantees:
//!
//! * Nothing of a token but its key id is used before its MAC is verified.
//! * Only the exact text that was signed is accepted.
//! * A token of another deployment is refused, even with the same key.
//! * Every process with the key verifies every token without further data: a poll of a waiting client
//!   costs a few hundred nanoseconds.
//!
//! The first key signs, all verify: to rotate, add a new key after the old one on every process, then
//! move it before the old one, and remove the old one when its last token has expired.

use data_encoding::BASE64URL_NOPAD;
use ring::hmac;
use sha2::{Digest, Sha256};

use super::limits::USER_ID_BYTES_MAX;
use super::{EventId, UserId};

/// Minimum length of a secret, bytes: the length of the hash.
pub const SECRET_BYTES_MIN: usize = 32;
/// Maximum number of keys.
pub const KEYS_MAX: usize = 8;
/// Maximum length of a key id, bytes.
pub const KEY_ID_BYTES_MAX: usize = 16;
/// Maximum length of a token, bytes.
pub const TOKEN_BYTES_MAX: usize =
    VERSION.len() + KEY_ID_BYTES_MAX + 1 + (PAYLOAD_BYTES_MAX * 4).div_ceil(3) + 1 + MAC_CHARS;

const VERSION: &str = "v2.";
/// The former version, whose tokens did not name their deployment.
const VERSION_BEFORE: &str = "v1.";
/// Deployment (8), event (4), number (8), issued (8), expires (8): big-endian. The user's id follows.
const HEAD_BYTES: usize = TAG_BYTES + 28;
const TAG_BYTES: usize = 8;
const PAYLOAD_BYTES_MAX: usize = HEAD_BYTES + USER_ID_BYTES_MAX;
const MAC_BYTES: usize = 32;
/// The MAC in base64.
const MAC_CHARS: usize = 43;

/// The content of an admission token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdmissionToken {
    /// The event.
    pub event: EventId,
    /// The owner.
    pub user: UserId,
    /// The number assigned on joining.
    pub number: u64,
    /// When it was issued, Unix ms.
    pub issued_ms: i64,
    /// When it expires, Unix ms.
    pub expires_ms: i64,
}

/// A deployment's tag in its tokens: a truncated hash, so that a token does not reveal the
/// deployment's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeploymentTag([u8; TAG_BYTES]);

impl DeploymentTag {
    /// The tag of a deployment: of its namespace in Redis and its archive's id.
    pub fn of(namespace: &str, id: &str) -> Self {
        let hash = Sha256::digest(format!("{namespace}\0{id}"));
        let mut tag = [0; TAG_BYTES];
        tag.copy_from_slice(&hash[..TAG_BYTES]);
        DeploymentTag(tag)
    }
}

/// Why a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// Its form is wrong.
    #[error("this is no waiting-room token; send the token from the join response unchanged")]
    Malformed,
    /// Its signature does not match.
    #[error("the waiting-room token was altered; send the token from the join response unchanged")]
    Altered,
    /// Its key is not in use here.
    #[error("the waiting-room token was signed with a key that is no longer in use; join again")]
    UnknownKey,
    /// It has the former version, whose tokens did not name their deployment.
    #[error("the waiting-room token is of an older version; join again")]
    Outdated,
    /// It belongs to another deployment.
    #[error("the waiting-room token belongs to another deployment; join again")]
    OtherDeployment,
    /// It has expired.
    #[error("the waiting-room token has expired; join again")]
    Expired,
}

/// Why secrets are unusable. Names the key's position, never the secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// There are none, or too many.
    #[error("there are {0}; there can be 1 to {KEYS_MAX}")]
    Number(usize),
    /// The key at this position, from 1, has no valid id.
    #[error(
        "number {0} has no id: before the colon belong 1 to {KEY_ID_BYTES_MAX} letters, digits, \
         `-` or `_`"
    )]
    Id(usize),
    /// Two keys have the same id.
    #[error("number {0} has the id of one before it: each needs an id of its own")]
    Twice(usize),
    /// A secret is too short. The text before the colon may be part of a secret that lacks its id,
    /// so no message shows it.
    #[error(
        "the secret of number {number} has {bytes} bytes; it needs {SECRET_BYTES_MIN} at least \
         (openssl rand -hex 32)"
    )]
    Short {
        /// Its position, from 1.
        number: usize,
        /// Its length in bytes.
        bytes: usize,
    },
}

/// The keys of all tokens: the first one signs, all verify.
#[derive(Clone, Debug)]
pub struct TokenKeys {
    // ring's `Debug` of a key shows only its algorithm.
    keys: Vec<(String, hmac::Key)>,
    deployment: DeploymentTag,
}

impl TokenKeys {
    /// Bytes of the deployment's tag, before each payload.
    pub const TAG_BYTES: usize = TAG_BYTES;

    /// Creates the keys of a deployment from ids and secrets.
    ///
    /// # Errors
    /// If an id or a secret is invalid.
    pub fn new(deployment: DeploymentTag, secrets: &[(&str, &[u8])]) -> Result<Self, KeyFault> {
        if !(1..=KEYS_MAX).contains(&secrets.len()) {
            return Err(KeyFault::Number(secrets.len()));
        }
        let mut keys: Vec<(String, hmac::Key)> = Vec::with_capacity(secrets.len());
        for (index, (id, secret)) in secrets.iter().enumerate() {
            if !is_key_id(id) {
                return Err(KeyFault::Id(index + 1));
            }
            if keys.iter().any(|(other, _)| other == id) {
                return Err(KeyFault::Twice(index + 1));
            }
            if secret.len() < SECRET_BYTES_MIN {
                return Err(KeyFault::Short { number: index + 1, bytes: secret.len() });
            }
            keys.push(((*id).to_owned(), hmac::Key::new(hmac::HMAC_SHA256, secret)));
        }
        Ok(TokenKeys { keys, deployment })
    }

    /// Signs a token. The text has letters, digits, `-`, `_` and dots, at most [`TOKEN_BYTES_MAX`]
    /// of them.
    pub fn sign(&self, token: &AdmissionToken) -> String {
        let mut payload = Vec::with_capacity(PAYLOAD_BYTES_MAX);
        payload.extend(token.event.0.to_be_bytes());
        payload.extend(token.number.to_be_bytes());
        payload.extend(token.issued_ms.to_be_bytes());
        payload.extend(token.expires_ms.to_be_bytes());
        payload.extend(token.user.as_str().as_bytes());
        self.sign_payload(VERSION, &payload)
    }

    /// Signs a payload of this deployment. `version` tells apart what the keys sign: each kind has its own.
    pub fn sign_payload(&self, version: &str, payload: &[u8]) -> String {
        // `new` refuses an empty list.
        let (id, key) = &self.keys[0];
        let mut text = String::with_capacity(TOKEN_BYTES_MAX);
        text.push_str(version);
        text.push_str(id);
        text.push('.');
        let payload = [&self.deployment.0[..], payload].concat();
        BASE64URL_NOPAD.encode_append(&payload, &mut text);
        let mac = hmac::sign(key, text.as_bytes());
        text.push('.');
        BASE64URL_NOPAD.encode_append(mac.as_ref(), &mut text);
        text
    }

    /// Verifies a token at `now_ms`, Unix ms, and returns its content.
    ///
    /// # Errors
    /// If it is invalid or expired. `Expired` is returned only for an otherwise valid token.
    pub fn verify(&self, text: &str, now_ms: i64) -> Result<AdmissionToken, TokenFault> {
        let signed = text.rsplit_once('.').map(|(signed, _)| signed);
        if signed.is_some_and(|signed| signed.starts_with(VERSION_BEFORE)) {
            return Err(TokenFault::Outdated);
        }
        let mut room = [0; PAYLOAD_BYTES_MAX];
        let payload = self.verify_payload(VERSION, text, &mut room)?;
        let token = read(payload).ok_or(TokenFault::Malformed)?;
        if now_ms >= token.expires_ms { Err(TokenFault::Expired) } else { Ok(token) }
    }

    /// Verifies a text of a version and returns its payload, decoded into `room`, which has
    /// [`TokenKeys::TAG_BYTES`] more than the longest payload.
    ///
    /// # Errors
    /// If it is not the text that was signed, by a key in use, in this deployment.
    pub fn verify_payload<'a>(
        &self,
        version: &str,
        text: &str,
        room: &'a mut [u8],
    ) -> Result<&'a [u8], TokenFault> {
        if text.len() > TOKEN_BYTES_MAX {
            return Err(TokenFault::Malformed);
        }
        let (signed, mac_text) = text.rsplit_once('.').ok_or(TokenFault::Malformed)?;
        let rest = signed.strip_prefix(version).ok_or(TokenFault::Malformed)?;
        let (id, payload) = rest.split_once('.').ok_or(TokenFault::Malformed)?;
        let mut mac = [0; MAC_BYTES];
        let mac = decode(mac_text, &mut mac).filter(|mac| mac.len() == MAC_BYTES);
        let mac = mac.ok_or(TokenFault::Malformed)?;
        let key = self.keys.iter().find(|(own, _)| own == id);
        let (_, key) = key.ok_or(TokenFault::UnknownKey)?;
        // Compares in constant time.
        hmac::verify(key, signed.as_bytes(), mac).map_err(|_| TokenFault::Altered)?;
        let bytes = decode(payload, room).ok_or(TokenFault::Malformed)?;
        let (deployment, payload) = bytes.split_first_chunk().ok_or(TokenFault::Malformed)?;
        match DeploymentTag(*deployment) == self.deployment {
            true => Ok(payload),
            false => Err(TokenFault::OtherDeployment),
        }
    }
}

fn is_key_id(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=KEY_ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_plain)
}

fn read(bytes: &[u8]) -> Option<AdmissionToken> {
    let (event, bytes) = bytes.split_first_chunk()?;
    let (number, bytes) = bytes.split_first_chunk()?;
    let (issued_ms, bytes) = bytes.split_first_chunk()?;
    let (expires_ms, user) = bytes.split_first_chunk()?;
    Some(AdmissionToken {
        event: EventId(u32::from_be_bytes(*event)),
        user: std::str::from_utf8(user).ok()?.parse().ok()?,
        number: u64::from_be_bytes(*number),
        issued_ms: i64::from_be_bytes(*issued_ms),
        expires_ms: i64::from_be_bytes(*expires_ms),
    })
}

/// Decodes into the front of `room`; `None` if it is not canonical base64, or does not fit.
fn decode<'a>(text: &str, room: &'a mut [u8]) -> Option<&'a [u8]> {
    let bytes = BASE64URL_NOPAD.decode_len(text.len()).ok()?;
    let room = room.get_mut(..bytes)?;
    BASE64URL_NOPAD.decode_mut(text.as_bytes(), room).ok()?;
    Some(room)
}

#[cfg(test)]
mod tests;
