//! Webhooks of a payment provider: who sent one, when, and what it is about. Pure.
//!
//! A webhook is a hint to look, never a fact: nothing here tells of money. The signature is
//! Stripe's: `t=<Unix seconds>,v1=<hex HMAC-SHA256 of "t.body">`, any number of `v1`, of which one
//! must be right (while a secret is changed there are two).

use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use serde::de::IgnoredAny;
use sha2::Sha256;

use crate::domain::BookingId;

/// How old, or how far in the future, a webhook may be, seconds.
const TOLERANCE_SECONDS: i64 = 300;
/// Signatures of one webhook that are looked at.
const SIGNATURES_MAX: usize = 8;
/// Bytes of an HMAC-SHA256.
const SIGNATURE_BYTES: usize = 32;
/// Bytes of an event's id, and of its type.
const WORD_BYTES_MAX: usize = 255;

/// Why a webhook is not believed to be the provider's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotGenuine {
    /// No signature, or none that is right.
    #[error("the signature is missing or wrong")]
    Signature,
    /// Signed rightly, and too old or too far in the future.
    #[error("the signature is more than {TOLERANCE_SECONDS} seconds away from now")]
    Stale,
}

/// What a webhook says happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The provider's id of the event; the same when it is sent again.
    pub id: String,
    /// The provider's word for what happened.
    pub kind: String,
    /// What should be looked at; none if it is no business of a sale.
    pub about: Option<About>,
}

/// What a webhook is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// This booking's payment.
    Booking(BookingId),
    /// A payment whose booking the webhook does not name: a refund that was made by hand.
    Payment(String),
}

/// A genuine webhook that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(String);

/// Checks that the body was signed with this secret, and recently. Takes the same time wherever a
/// signature differs.
///
/// # Errors
/// If it was not.
pub fn verify(secret: &str, header: &str, body: &[u8], now_seconds: i64) -> Result<(), NotGenuine> {
    let mut time = None;
    let mut signatures = Vec::new();
    for (name, value) in header.split(',').filter_map(|item| item.trim().split_once('=')) {
        match name {
            "t" if time.is_none() => time = Some(value),
            "v1" if signatures.len() < SIGNATURES_MAX => signatures.extend(decode(value)),
            _ => {}
        }
    }
    let time = time.ok_or(NotGenuine::Signature)?;
    let signed_at: i64 = time.parse().map_err(|_| NotGenuine::Signature)?;
    // A key of any length will do for an HMAC; were it not so, nothing would be genuine.
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes());
    let mac = mac.map_err(|_| NotGenuine::Signature)?;
    let mac = mac.chain_update(time).chain_update(".").chain_update(body);
    let is_right = |signature: &[u8; SIGNATURE_BYTES]| mac.clone().verify_slice(signature).is_ok();
    if !signatures.iter().any(is_right) {
        return Err(NotGenuine::Signature);
    }
    // Last, so that only the provider learns what our clock says.
    if now_seconds.abs_diff(signed_at) > TOLERANCE_SECONDS.unsigned_abs() {
        return Err(NotGenuine::Stale);
    }
    Ok(())
}

fn decode(hex: &str) -> Option<[u8; SIGNATURE_BYTES]> {
    if hex.len() != SIGNATURE_BYTES * 2 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; SIGNATURE_BYTES];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[index * 2..index * 2 + 2], 16).ok()?;
    }
    Some(bytes)
}

/// The events after which a booking's payment may stand otherwise.
const KINDS: [&str; 9] = [
    "payment_intent.succeeded",
    "payment_intent.payment_failed",
    "payment_intent.canceled",
    "payment_intent.processing",
    "charge.refunded",
    "charge.refund.updated",
    "refund.created",
    "refund.updated",
    "refund.failed",
];

#[derive(Deserialize)]
struct EventBody {
    id: String,
    r#type: String,
    #[serde(default)]
    data: Data,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Data {
    object: Object,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Object {
    metadata: Option<Metadata>,
    /// Of a charge and of a refund; an id unless it was expanded.
    payment_intent: Option<IdOrObject>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum IdOrObject {
    Id(String),
    Object(IgnoredAny),
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Metadata {
    booking_id: Option<String>,
}

impl Object {
    fn about(self) -> Option<About> {
        // A name that is none of ours makes it somebody else's.
        if let Some(id) = self.metadata.and_then(|metadata| metadata.booking_id) {
            return id.parse().ok().map(About::Booking);
        }
        match self.payment_intent {
            Some(IdOrObject::Id(id)) if (1..=WORD_BYTES_MAX).contains(&id.len()) => {
                Some(About::Payment(id))
            }
            _ => None,
        }
    }
}

/// Reads a genuine webhook. An event of an unknown type and one without a booking of ours are read
/// as no business of a sale: other systems may share the account.
///
/// # Errors
/// If it is no event at all.
pub fn read(body: &[u8]) -> Result<Notice, Unreadable> {
    let event: EventBody =
        serde_json::from_slice(body).map_err(|error| Unreadable(error.to_string()))?;
    for (name, word) in [("id", &event.id), ("type", &event.r#type)] {
        if !(1..=WORD_BYTES_MAX).contains(&word.len()) {
            return Err(Unreadable(format!("`{name}` has 1 to {WORD_BYTES_MAX} bytes")));
        }
    }
    let about = match KINDS.contains(&event.r#type.as_str()) {
        true => event.data.object.about(),
        false => None,
    };
    Ok(Notice { id: event.id, kind: event.r#type, about })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_test";
    const NOW: i64 = 1_763_700_000;
    const BODY: &[u8] = br#"{"id":"evt_1"}"#;
    /// printf %s '1763700000.{"id":"evt_1"}' | openssl dgst -sha256 -hmac whsec_test
    const KNOWN: &str = "bbd8f6e0e43f694803e4fa731336472fe7440106a0d96a005d2a2e53a30bc67a";

    fn header() -> String {
        format!("t={NOW},v1={KNOWN}")
    }

    #[test]
    fn a_known_signature_is_right() {
        assert_eq!(verify(SECRET, &header(), BODY, NOW), Ok(()));
        let spaced = format!("t={NOW}, v0=00, v1={}", KNOWN.to_uppercase());
        assert_eq!(verify(SECRET, &spaced, BODY, NOW), Ok(()));
    }

    #[test]
    fn one_right_signature_among_several_is_enough() {
        let wrong = "ab".repeat(SIGNATURE_BYTES);
        let two = format!("t={NOW},v1={wrong},v1={KNOWN}");
        assert_eq!(verify(SECRET, &two, BODY, NOW), Ok(()));
        let mut many = format!("t={NOW}");
        (0..SIGNATURES_MAX).for_each(|_| many.push_str(&format!(",v1={wrong}")));
        many.push_str(&format!(",v1={KNOWN}"));
        assert_eq!(verify(SECRET, &many, BODY, NOW), Err(NotGenuine::Signature), "bounded");
    }

    #[test]
    fn whatever_is_changed_is_not_genuine() {
        let refused = |secret: &str, header: &str, body: &[u8]| {
            assert_eq!(
                verify(secret, header, body, NOW),
                Err(NotGenuine::Signature),
                "{header} {body:?}"
            );
        };
        refused(SECRET, &header(), br#"{"id":"evt_2"}"#);
        refused(SECRET, &header(), b"");
        refused("whsec_other", &header(), BODY);
        refused("", &header(), BODY);
        // The time is signed, too: an old webhook cannot be made young.
        refused(SECRET, &format!("t={},v1={KNOWN}", NOW + 1), BODY);
        refused(SECRET, &format!("t=0{NOW},v1={KNOWN}"), BODY);
        for header in ["", "t=", "t=x,v1=", "v1", &format!("t={NOW}"), &format!("v1={KNOWN}")] {
            refused(SECRET, header, BODY);
        }
        for broken in [&KNOWN[1..], &KNOWN[2..], &KNOWN.replace(&KNOWN[..1], "g"), "é"] {
            refused(SECRET, &format!("t={NOW},v1={broken}"), BODY);
        }
    }

    #[test]
    fn neither_old_ones_nor_ones_of_the_future_are_taken() {
        for (now, expected) in [
            (NOW + TOLERANCE_SECONDS, Ok(())),
            (NOW - TOLERANCE_SECONDS, Ok(())),
            (NOW + TOLERANCE_SECONDS + 1, Err(NotGenuine::Stale)),
            (NOW - TOLERANCE_SECONDS - 1, Err(NotGenuine::Stale)),
            (i64::MAX, Err(NotGenuine::Stale)),
        ] {
            assert_eq!(verify(SECRET, &header(), BODY, now), expected, "{now}");
        }
    }

    #[test]
    fn events_are_read_as_far_as_they_are_a_sales_business() {
        let id = BookingId::new(crate::domain::EventId(7), 1, 2);
        let event = |kind: &str, object: &str| {
            let text = format!(r#"{{"id":"evt_1","type":"{kind}","data":{{"object":{object}}}}}"#);
            read(text.as_bytes()).unwrap()
        };
        let object = format!(r#"{{"id":"pi_1","metadata":{{"booking_id":"{id}"}}}}"#);
        for kind in KINDS {
            let about = Some(About::Booking(id));
            let expected = Notice { id: "evt_1".into(), kind: kind.into(), about };
            assert_eq!(event(kind, &object), expected);
        }
        assert_eq!(event("customer.created", &object).about, None);
        // A refund made by hand names its payment alone.
        let by_hand = r#"{"id":"re_1","metadata":{},"payment_intent":"pi_1"}"#;
        let about = Some(About::Payment("pi_1".into()));
        assert_eq!(event("refund.failed", by_hand).about, about);
        assert_eq!(event("customer.created", by_hand).about, None);
        for foreign in [
            r#"{"metadata":{"booking_id":"4711"}}"#,
            r#"{"metadata":{}}"#,
            r#"{"metadata":null}"#,
            r#"{"metadata":{"booking_id":"4711"},"payment_intent":"pi_1"}"#,
            r#"{"payment_intent":{"id":"pi_1"}}"#,
            r#"{"payment_intent":""}"#,
            "{}",
        ] {
            assert_eq!(event(KINDS[0], foreign).about, None, "{foreign}");
        }
        assert_eq!(read(br#"{"id":"evt_1","type":"ping"}"#).unwrap().about, None);
        for no_event in ["", "[]", r#"{"id":"evt_1"}"#, r#"{"id":"","type":"x"}"#] {
            assert!(read(no_event.as_bytes()).is_err(), "{no_event}");
        }
    }
}
