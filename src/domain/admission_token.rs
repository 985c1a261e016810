//! Admission tokens: the record of a place in a waiting room that its owner keeps. Pure.
//!
//! A token is `v2.<key id>.<payload>.<mac>`. The payload is the deployment's tag and the place in
//! binary, the MAC is HMAC-SHA256 over all that stands before its dot; both are base64 for URLs,
//! without padding and in the one form that it has. What it promises:
//!
//! * Nothing of a token is read before its MAC is right, but which key it names.
//! * No other text than the one that was signed is taken.
//! * A token of another deployment is none, even where both have the same key.
//! * Every process that has the key reads every token, and needs nothing else to do so: the polls
//!   of those who wait cost a few hundred nanoseconds each.
//!
//! The first key signs, all verify: a new one is put behind the old one everywhere, then before
//! it everywhere, and the old one goes when its last token has expired.

use data_encoding::BASE64URL_NOPAD;
use ring::hmac;
use sha2::{Digest, Sha256};

use super::limits::USER_ID_BYTES_MAX;
use super::{EventId, UserId};

/// Bytes of a secret at least: as many as the hash has.
pub const SECRET_BYTES_MIN: usize = 32;
/// Most keys at a time.
pub const KEYS_MAX: usize = 8;
/// Longest id of a key, bytes.
pub const KEY_ID_BYTES_MAX: usize = 16;
/// Longest token, bytes.
pub const TOKEN_BYTES_MAX: usize =
    VERSION.len() + KEY_ID_BYTES_MAX + 1 + (PAYLOAD_BYTES_MAX * 4).div_ceil(3) + 1 + MAC_CHARS;

const VERSION: &str = "v2.";
/// Tokens before they named their deployment.
const VERSION_BEFORE: &str = "v1.";
/// Deployment (8), event (4), number (8), issued (8), expires (8): big-endian. The user's id follows.
const HEAD_BYTES: usize = TAG_BYTES + 28;
const TAG_BYTES: usize = 8;
const PAYLOAD_BYTES_MAX: usize = HEAD_BYTES + USER_ID_BYTES_MAX;
const MAC_BYTES: usize = 32;
/// The MAC in base64.
const MAC_CHARS: usize = 43;

/// Who waits for what, with which number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdmissionToken {
    /// The event.
    pub event: EventId,
    /// Whose token it is.
    pub user: UserId,
    /// The number that joining gave.
    pub number: u64,
    /// When that was, Unix ms.
    pub issued_ms: i64,
    /// From when on it is none, Unix ms.
    pub expires_ms: i64,
}

/// What names a deployment in its tokens: the beginning of a hash, so that a token tells nothing of
/// the deployment's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeploymentTag([u8; TAG_BYTES]);

impl DeploymentTag {
    /// The tag of a deployment: its namespace in Redis, and the id that its archive has.
    pub fn of(namespace: &str, id: &str) -> Self {
        let hash = Sha256::digest(format!("{namespace}\0{id}"));
        let mut tag = [0; TAG_BYTES];
        tag.copy_from_slice(&hash[..TAG_BYTES]);
        DeploymentTag(tag)
    }
}

/// Why a text is no token that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// It has not the form of one.
    #[error("this is no waiting-room token; send the one that joining answered, whole")]
    Malformed,
    /// It is not what was signed.
    #[error("the waiting-room token was altered; send the one that joining answered, whole")]
    Altered,
    /// It was signed with a key that is not in use here.
    #[error("the waiting-room token was signed with a key that is no longer in use; join again")]
    UnknownKey,
    /// It is from a version whose tokens did not name their deployment.
    #[error("the waiting-room token is of an older version; join again")]
    Outdated,
    /// It was signed for another deployment.
    #[error("the waiting-room token is another deployment's; join again")]
    OtherDeployment,
    /// Its time is over.
    #[error("the waiting-room token has expired; join again")]
    Expired,
}

/// Why secrets cannot be used. Tells the id, never the secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// There is none, or there are too many.
    #[error("there are {0}; there can be 1 to {KEYS_MAX}")]
    Number(usize),
    /// The id of the one at this place, counted from 1, is no id.
    #[error(
        "number {0} has no id: before the colon belong 1 to {KEY_ID_BYTES_MAX} letters, digits, \
         `-` or `_`"
    )]
    Id(usize),
    /// Two have the same id.
    #[error("number {0} has the id of one before it: each needs an id of its own")]
    Twice(usize),
    /// One is too short. What stands before the colon may be a piece of a secret that lacks its id,
    /// so no message shows it.
    #[error(
        "the secret of number {number} has {bytes} bytes; it needs {SECRET_BYTES_MIN} at least \
         (openssl rand -hex 32)"
    )]
    Short {
        /// Its place, counted from 1.
        number: usize,
        /// Bytes that it has.
        bytes: usize,
    },
}

/// The keys of all tokens: the first one signs, each verifies what it signed.
#[derive(Clone, Debug)]
pub struct TokenKeys {
    // ring's `Debug` of a key shows its algorithm alone.
    keys: Vec<(String, hmac::Key)>,
    deployment: DeploymentTag,
}

impl TokenKeys {
    /// Keys of a deployment from ids and secrets.
    ///
    /// # Errors
    /// If the ids or the secrets cannot be.
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

    /// The token as its owner gets it: letters, digits, `-`, `_` and dots, at most
    /// [`TOKEN_BYTES_MAX`] of them.
    pub fn sign(&self, token: &AdmissionToken) -> String {
        // `new` takes no empty list.
        let (id, key) = &self.keys[0];
        let mut payload = Vec::with_capacity(PAYLOAD_BYTES_MAX);
        payload.extend(self.deployment.0);
        payload.extend(token.event.0.to_be_bytes());
        payload.extend(token.number.to_be_bytes());
        payload.extend(token.issued_ms.to_be_bytes());
        payload.extend(token.expires_ms.to_be_bytes());
        payload.extend(token.user.as_str().as_bytes());
        let mut text = String::with_capacity(TOKEN_BYTES_MAX);
        text.push_str(VERSION);
        text.push_str(id);
        text.push('.');
        BASE64URL_NOPAD.encode_append(&payload, &mut text);
        let mac = hmac::sign(key, text.as_bytes());
        text.push('.');
        BASE64URL_NOPAD.encode_append(mac.as_ref(), &mut text);
        text
    }

    /// Reads a token that holds at `now_ms`, Unix ms.
    ///
    /// # Errors
    /// If it is none, or its time is over. The latter is told only of one that was right.
    pub fn verify(&self, text: &str, now_ms: i64) -> Result<AdmissionToken, TokenFault> {
        if text.len() > TOKEN_BYTES_MAX {
            return Err(TokenFault::Malformed);
        }
        let (signed, mac_text) = text.rsplit_once('.').ok_or(TokenFault::Malformed)?;
        let rest = signed.strip_prefix(VERSION).ok_or_else(|| match signed {
            _ if signed.starts_with(VERSION_BEFORE) => TokenFault::Outdated,
            _ => TokenFault::Malformed,
        })?;
        let (id, payload) = rest.split_once('.').ok_or(TokenFault::Malformed)?;
        let mut mac = [0; MAC_BYTES];
        let mac = decode(mac_text, &mut mac).filter(|mac| mac.len() == MAC_BYTES);
        let mac = mac.ok_or(TokenFault::Malformed)?;
        let key = self.keys.iter().find(|(own, _)| own == id);
        let (_, key) = key.ok_or(TokenFault::UnknownKey)?;
        // Compares in constant time.
        hmac::verify(key, signed.as_bytes(), mac).map_err(|_| TokenFault::Altered)?;
        let (deployment, token) = read(payload).ok_or(TokenFault::Malformed)?;
        if deployment != self.deployment {
            return Err(TokenFault::OtherDeployment);
        }
        if now_ms >= token.expires_ms { Err(TokenFault::Expired) } else { Ok(token) }
    }
}

fn is_key_id(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=KEY_ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_plain)
}

fn read(payload: &str) -> Option<(DeploymentTag, AdmissionToken)> {
    let mut bytes = [0; PAYLOAD_BYTES_MAX];
    let bytes: &[u8] = decode(payload, &mut bytes)?;
    let (deployment, bytes) = bytes.split_first_chunk()?;
    let (event, bytes) = bytes.split_first_chunk()?;
    let (number, bytes) = bytes.split_first_chunk()?;
    let (issued_ms, bytes) = bytes.split_first_chunk()?;
    let (expires_ms, user) = bytes.split_first_chunk()?;
    let token = AdmissionToken {
        event: EventId(u32::from_be_bytes(*event)),
        user: std::str::from_utf8(user).ok()?.parse().ok()?,
        number: u64::from_be_bytes(*number),
        issued_ms: i64::from_be_bytes(*issued_ms),
        expires_ms: i64::from_be_bytes(*expires_ms),
    };
    Some((DeploymentTag(*deployment), token))
}

/// Decodes into the front of `room`; `None` if it is no base64 as we write it, or does not fit.
fn decode<'a>(text: &str, room: &'a mut [u8]) -> Option<&'a [u8]> {
    let bytes = BASE64URL_NOPAD.decode_len(text.len()).ok()?;
    let room = room.get_mut(..bytes)?;
    BASE64URL_NOPAD.decode_mut(text.as_bytes(), room).ok()?;
    Some(room)
}

#[cfg(test)]
mod tests;
