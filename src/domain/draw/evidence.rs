//! The evidence of a draw: a secret is committed to before anybody joins, mixed with the joins, and
//! revealed afterwards. These hashes are published; changing one requires a new
//! [`super::ALGORITHM`].
//!
//! | what | is |
//! |---|---|
//! | commitment | hex of SHA-256(`holdfast draw commitment v1:` ‖ secret) |
//! | joins hash | begins as the commitment; each join makes it hex of SHA-1(joins hash ‖ `:` ‖ number ‖ `:` ‖ hex of SHA-1(user)) |
//! | seed | HMAC-SHA256, with the secret as key, of `holdfast draw seed v1:` ‖ joiners ‖ `:` ‖ joins hash |
//!
//! Numbers are decimal, hex is lower-case, secret and users are bytes. SHA-1 is what Redis' scripts
//! provide. A collision of the joins hash has no use: the seed needs the secret, too.

use data_encoding::HEXLOWER;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use ring::hmac;
use serde::{Deserialize, Serialize};

use super::{ALGORITHM, Draw, SEED_BYTES};
use crate::domain::{EventId, UserId};

/// Bytes of a secret.
pub const SECRET_BYTES: usize = 32;

const COMMITMENT_TAG: &[u8] = b"holdfast draw commitment v1:";
const SEED_TAG: &str = "holdfast draw seed v1:";
/// Hex digits of a SHA-1.
const SHA1_CHARS: usize = 40;

/// Encodes lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(bytes)
}

/// The published commitment to a secret.
pub fn commitment(secret: &[u8; SECRET_BYTES]) -> [u8; 32] {
    let mut tagged = [0; COMMITMENT_TAG.len() + SECRET_BYTES];
    tagged[..COMMITMENT_TAG.len()].copy_from_slice(COMMITMENT_TAG);
    tagged[COMMITMENT_TAG.len()..].copy_from_slice(secret);
    bytes(digest(&SHA256, &tagged).as_ref())
}

/// The running hash after one more join.
pub fn next_join(joins_hash: &str, number: u64, user: &UserId) -> String {
    let sha1 = |text: &str| hex(digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()).as_ref());
    sha1(&format!("{joins_hash}:{number}:{}", sha1(user.as_str())))
}

/// The seed of the places.
pub fn seed(secret: &[u8; SECRET_BYTES], joins_hash: &str, joiners: u64) -> [u8; SEED_BYTES] {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let message = format!("{SEED_TAG}{joiners}:{joins_hash}");
    bytes(hmac::sign(&key, message.as_bytes()).as_ref())
}

/// The 32 bytes of either hash.
fn bytes(hash: &[u8]) -> [u8; 32] {
    hash.first_chunk().copied().unwrap_or_default()
}

/// The status of a draw, as published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DrawStatus {
    /// People can still join; the secret is not published.
    Gathering,
    /// The result is fixed and everything is published.
    Fixed,
}

/// The published part of a draw: `GET /api/v1/events/{id}/waiting-room/draw`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicDraw {
    /// The event.
    pub event_id: EventId,
    /// The algorithm of the places.
    pub algorithm: String,
    /// The commitment to the secret, hex.
    pub commitment: String,
    /// When the gathering began, RFC 3339.
    pub opened_at: String,
    /// Its status.
    pub status: DrawStatus,
    /// The number of participants, once fixed.
    pub joiners: Option<u64>,
    /// The running hash of their joins, once fixed, hex.
    pub joins_hash: Option<String>,
    /// The secret, once fixed, hex.
    pub secret: Option<String>,
    /// When it was fixed, RFC 3339.
    pub fixed_at: Option<String>,
}

/// Why a published draw cannot be computed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DrawFault {
    /// It is not fixed.
    #[error("people still gather for it: it can be checked once it is fixed")]
    Gathering,
    /// It was made with another algorithm.
    #[error("it was made by {0:?}; this build knows {ALGORITHM}")]
    Algorithm(String),
    /// A field is missing.
    #[error("its status is fixed, but it has no {0}")]
    Missing(&'static str),
    /// A field is malformed.
    #[error("its {0} is not lower-case hex of the required length")]
    NoHex(&'static str),
    /// The secret does not match the commitment.
    #[error("its secret is not the one that was committed to: that one would give {0}")]
    Commitment(String),
}

impl PublicDraw {
    /// Computes the draw from the published data, after checking the secret against the commitment.
    ///
    /// # Errors
    /// If they do not match, or if the data is incomplete.
    pub fn draw(&self) -> Result<Draw, DrawFault> {
        if self.algorithm != ALGORITHM {
            return Err(DrawFault::Algorithm(self.algorithm.clone()));
        }
        if self.status == DrawStatus::Gathering {
            return Err(DrawFault::Gathering);
        }
        let joiners = self.joiners.ok_or(DrawFault::Missing("joiners"))?;
        let joins_hash = self.joins_hash.as_deref().ok_or(DrawFault::Missing("joins_hash"))?;
        let secret = self.secret.as_deref().ok_or(DrawFault::Missing("secret"))?;
        let secret = decoded(secret).ok_or(DrawFault::NoHex("secret"))?;
        let committed = hex(&commitment(&secret));
        if committed != self.commitment {
            return Err(DrawFault::Commitment(committed));
        }
        let is_sha1 =
            joins_hash.len() == SHA1_CHARS && HEXLOWER.decode(joins_hash.as_bytes()).is_ok();
        // It still equals the commitment if nobody joined, or if Redis lost the joins.
        if !is_sha1 && joins_hash != self.commitment {
            return Err(DrawFault::NoHex("joins_hash"));
        }
        Ok(Draw::new(seed(&secret, joins_hash, joiners), joiners))
    }
}

fn decoded(text: &str) -> Option<[u8; SECRET_BYTES]> {
    let mut bytes = [0; SECRET_BYTES];
    if text.len() != SECRET_BYTES * 2 {
        return None;
    }
    HEXLOWER.decode_mut(text.as_bytes(), &mut bytes).ok().map(|_| bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: [u8; SECRET_BYTES] = [7; SECRET_BYTES];

    fn published() -> PublicDraw {
        PublicDraw {
            event_id: EventId(1),
            algorithm: ALGORITHM.into(),
            commitment: hex(&commitment(&SECRET)),
            opened_at: "2026-11-22T08:00:00.000Z".into(),
            status: DrawStatus::Fixed,
            joiners: Some(3),
            joins_hash: Some("ab".repeat(20)),
            secret: Some(hex(&SECRET)),
            fixed_at: Some("2026-11-22T10:00:00.000Z".into()),
        }
    }

    #[test]
    fn hashes_are_pinned() {
        // Computed with Python's hashlib and hmac. Independent checks of a draw rely on them.
        let committed = hex(&commitment(&SECRET));
        assert_eq!(committed, "29846532bb6534f8f877d108d70447c73b2d513cfacea58350990e62a6842201");
        let user = "ann".parse().unwrap();
        let first = next_join(&committed, 1, &user);
        assert_eq!(first, "5584ff1b5f8f80bcf7eb42a965a1ae6e758a7551");
        let second = next_join(&first, 2, &"zoë".parse().unwrap());
        assert_eq!(second, "826af13b6e4e62799a52c757c226d9e8ba81a11d");
        assert_eq!(
            hex(&seed(&SECRET, &second, 2)),
            "1ec9d79f48e4e35ac142406541df223ffdde8ff4acfc247e9d6e1f9f25a8976f"
        );
        let places = |joiners| -> Vec<u64> {
            let draw = Draw::new(seed(&SECRET, &second, joiners), joiners);
            (1..=joiners).map(|number| draw.place(number)).collect()
        };
        assert_eq!(places(10), [3, 9, 1, 5, 4, 7, 8, 2, 6, 10]);
        // In this draw the first two numbers are swapped.
        assert_eq!(places(9), [7, 4, 2, 9, 6, 1, 3, 5, 8]);
    }

    #[test]
    fn published_data_is_sufficient() {
        let seed = seed(&SECRET, &"ab".repeat(20), 3);
        assert_eq!(published().draw(), Ok(Draw::new(seed, 3)));
        // Nobody joined; or Redis lost the joins, and only the highest number is known.
        for joiners in [0, 5] {
            let (joiners, hash) = (Some(joiners), Some(published().commitment));
            let bare = PublicDraw { joiners, joins_hash: hash, ..published() };
            assert_eq!(bare.draw().map(|draw| Some(draw.joiners())), Ok(joiners));
        }
    }

    #[test]
    fn every_input_changes_the_seed() {
        let hash = "ab".repeat(20);
        let own = seed(&SECRET, &hash, 3);
        assert_ne!(own, seed(&[8; SECRET_BYTES], &hash, 3));
        assert_ne!(own, seed(&SECRET, &"ac".repeat(20), 3));
        assert_ne!(own, seed(&SECRET, &hash, 4));
        let (ann, bob) = ("ann".parse().unwrap(), "bob".parse().unwrap());
        let join = next_join("ab", 1, &ann);
        for other in [next_join("ac", 1, &ann), next_join("ab", 2, &ann), next_join("ab", 1, &bob)]
        {
            assert_ne!(join, other);
        }
    }

    #[test]
    fn invalid_published_data_is_refused_with_the_reason() {
        type Break = fn(&mut PublicDraw);
        let cases: [(Break, &str); 9] = [
            (|draw| draw.status = DrawStatus::Gathering, "people still gather"),
            (|draw| draw.algorithm = "dice".into(), "made by \"dice\""),
            (|draw| draw.joiners = None, "has no joiners"),
            (|draw| draw.joins_hash = None, "has no joins_hash"),
            (|draw| draw.secret = None, "has no secret"),
            (|draw| draw.secret = Some("07".repeat(31)), "its secret is not"),
            (|draw| draw.secret = Some("0G".repeat(32)), "its secret is not"),
            (|draw| draw.secret = Some("08".repeat(32)), "not the one that was committed to"),
            (|draw| draw.joins_hash = Some("ab".repeat(32)), "its joins_hash is not"),
        ];
        for (break_it, expected) in cases {
            let mut draw = published();
            break_it(&mut draw);
            let message = draw.draw().unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn json_is_pinned() {
        let gathering = PublicDraw {
            status: DrawStatus::Gathering,
            commitment: "c0".into(),
            joiners: None,
            joins_hash: None,
            secret: None,
            fixed_at: None,
            ..published()
        };
        let expected = "{\"event_id\":1,\"algorithm\":\"feistel-sha256-v1\",\"commitment\":\"c0\",\
            \"opened_at\":\"2026-11-22T08:00:00.000Z\",\"status\":\"gathering\",\"joiners\":null,\
            \"joins_hash\":null,\"secret\":null,\"fixed_at\":null}";
        let json = serde_json::to_string(&gathering).unwrap();
        assert_eq!(json, expected);
        assert_eq!(serde_json::from_str::<PublicDraw>(&json).unwrap(), gathering);
    }
}
