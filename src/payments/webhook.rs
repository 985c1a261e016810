//! Webhooks of a payment provider: verifies the signature and parses the subject. Pure.
//!
//! A webhook only triggers a reconciliation: its statements about money are not used. The signature
//! is Stripe's: `t=<Unix seconds>,v1=<hex HMAC-SHA256 of "t.body">`, with any number of `v1`, of which
//! one must be valid (during a change of the secret there are two).

use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use serde::de::IgnoredAny;
use sha2::Sha256;

use crate::domain::BookingId;

/// The maximum distance of a webhook's time from now, seconds.
const TOLERANCE_SECONDS: i64 = 300;
/// Signatures of one webhook that are checked, at most.
const SIGNATURES_MAX: usize = 8;
/// Bytes of an HMAC-SHA256.
const SIGNATURE_BYTES: usize = 32;
/// Maximum length of an event's id, and of its type, bytes.
const WORD_BYTES_MAX: usize = 255;

/// Why a webhook's signature is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// There is no valid signature.
    #[error("the signature is missing or wrong")]
    Signature,
    /// The signature is valid, but too old or too far in the future.
    #[error("the signature is more than {TOLERANCE_SECONDS} seconds away from now")]
    Stale,
}

/// A parsed webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookEvent {
    /// The provider's id of the event; the same when it is sent again.
    pub id: String,
    /// The provider's event type.
    pub kind: String,
    /// What to reconcile; `None` if the event does not concern a sale.
    pub subject: Option<WebhookSubject>,
}

/// The subject of a webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WebhookSubject {
    /// This booking's payment.
    Booking(BookingId),
    /// A payment whose booking the webhook does not name: a refund made by hand.
    Payment(String),
}

/// A signed webhook that cannot be parsed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(String);

/// Checks that the body was signed with this secret, and recently. Takes constant time over the bytes
/// of a signature.
///
/// # Errors
/// If it was not.
pub fn verify(
    secret: &str,
    header: &str,
    body: &[u8],
    now_seconds: i64,
) -> Result<(), SignatureError> {
    let mut time = None;
    let mut signatures = Vec::new();
    for (name, value) in header.split(',').filter_map(|item| item.trim().split_once('=')) {
        match name {
            "t" if time.is_none() => time = Some(value),
            "v1" if signatures.len() < SIGNATURES_MAX => signatures.extend(decode(value)),
            _ => {}
        }
    }
    let time = time.ok_or(SignatureError::Signature)?;
    let signed_at: i64 = time.parse().map_err(|_| SignatureError::Signature)?;
    // An HMAC accepts a key of any length, so this never fails.
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes());
    let mac = mac.map_err(|_| SignatureError::Signature)?;
    let mac = mac.chain_update(time).chain_update(".").chain_update(body);
    let is_right = |signature: &[u8; SIGNATURE_BYTES]| mac.clone().verify_slice(signature).is_ok();
    if !signatures.iter().any(is_right) {
        return Err(SignatureError::Signature);
    }
    // Checked last, so that only the provider learns this process' clock.
    if now_seconds.abs_diff(signed_at) > TOLERANCE_SECONDS.unsigned_abs() {
        return Err(SignatureError::Stale);
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

/// The event types after which a booking's payment may have changed.
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

/// Whether an event of this type is about a refund.
pub fn is_about_refund(kind: &str) -> bool {
    kind.starts_with("refund.") || kind.starts_with("charge.refund")
}

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
    /// On charges and refunds; an id unless it was expanded.
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
    fn subject(self) -> Option<WebhookSubject> {
        // Another system's name makes it another system's object.
        if let Some(id) = self.metadata.and_then(|metadata| metadata.booking_id) {
            return id.parse().ok().map(WebhookSubject::Booking);
        }
        match self.payment_intent {
            Some(IdOrObject::Id(id)) if (1..=WORD_BYTES_MAX).contains(&id.len()) => {
                Some(WebhookSubject::Payment(id))
            }
            _ => None,
        }
    }
}

/// Parses a signed webhook. Events of unknown types and those without a booking of ours have no
/// subject: other systems may share the account.
///
/// # Errors
/// If it is not an event.
pub fn read(body: &[u8]) -> Result<WebhookEvent, Unreadable> {
    let event: EventBody =
        serde_json::from_slice(body).map_err(|error| Unreadable(error.to_string()))?;
    for (name, word) in [("id", &event.id), ("type", &event.r#type)] {
        if !(1..=WORD_BYTES_MAX).contains(&word.len()) {
            return Err(Unreadable(format!("`{name}` has 1 to {WORD_BYTES_MAX} bytes")));
        }
    }
    let subject = match KINDS.contains(&event.r#type.as_str()) {
        true => event.data.object.subject(),
        false => None,
    };
    Ok(WebhookEvent { id: event.id, kind: event.r#type, subject })
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
    fn known_signature_is_valid() {
        assert_eq!(verify(SECRET, &header(), BODY, NOW), Ok(()));
        let spaced = format!("t={NOW}, v0=00, v1={}", KNOWN.to_uppercase());
        assert_eq!(verify(SECRET, &spaced, BODY, NOW), Ok(()));
    }

    #[test]
    fn one_valid_signature_among_several_suffices() {
        let wrong = "ab".repeat(SIGNATURE_BYTES);
        let two = format!("t={NOW},v1={wrong},v1={KNOWN}");
        assert_eq!(verify(SECRET, &two, BODY, NOW), Ok(()));
        let mut many = format!("t={NOW}");
        (0..SIGNATURES_MAX).for_each(|_| many.push_str(&format!(",v1={wrong}")));
        many.push_str(&format!(",v1={KNOWN}"));
        assert_eq!(verify(SECRET, &many, BODY, NOW), Err(SignatureError::Signature), "bounded");
    }

    #[test]
    fn changed_webhook_is_refused() {
        let refused = |secret: &str, header: &str, body: &[u8]| {
            assert_eq!(
                verify(secret, header, body, NOW),
                Err(SignatureError::Signature),
                "{header} {body:?}"
            );
        };
        refused(SECRET, &header(), br#"{"id":"evt_2"}"#);
        refused(SECRET, &header(), b"");
        refused("whsec_other", &header(), BODY);
        refused("", &header(), BODY);
        // The time is signed, too, so an old webhook cannot be replayed.
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
    fn webhook_outside_the_tolerance_is_refused() {
        for (now, expected) in [
            (NOW + TOLERANCE_SECONDS, Ok(())),
            (NOW - TOLERANCE_SECONDS, Ok(())),
            (NOW + TOLERANCE_SECONDS + 1, Err(SignatureError::Stale)),
            (NOW - TOLERANCE_SECONDS - 1, Err(SignatureError::Stale)),
            (i64::MAX, Err(SignatureError::Stale)),
        ] {
            assert_eq!(verify(SECRET, &header(), BODY, now), expected, "{now}");
        }
    }

    #[test]
    fn events_of_a_sale_have_a_subject_others_have_none() {
        let id = BookingId::new(crate::domain::EventId(7), 1, 2);
        let event = |kind: &str, object: &str| {
            let text = format!(r#"{{"id":"evt_1","type":"{kind}","data":{{"object":{object}}}}}"#);
            read(text.as_bytes()).unwrap()
        };
        let object = format!(r#"{{"id":"pi_1","metadata":{{"booking_id":"{id}"}}}}"#);
        for kind in KINDS {
            let subject = Some(WebhookSubject::Booking(id));
            let expected = WebhookEvent { id: "evt_1".into(), kind: kind.into(), subject };
            assert_eq!(event(kind, &object), expected);
        }
        assert_eq!(event("customer.created", &object).subject, None);
        // A refund made by hand names only its payment.
        let by_hand = r#"{"id":"re_1","metadata":{},"payment_intent":"pi_1"}"#;
        let subject = Some(WebhookSubject::Payment("pi_1".into()));
        assert_eq!(event("refund.failed", by_hand).subject, subject);
        assert_eq!(event("customer.created", by_hand).subject, None);
        for foreign in [
            r#"{"metadata":{"booking_id":"4711"}}"#,
            r#"{"metadata":{}}"#,
            r#"{"metadata":null}"#,
            r#"{"metadata":{"booking_id":"4711"},"payment_intent":"pi_1"}"#,
            r#"{"payment_intent":{"id":"pi_1"}}"#,
            r#"{"payment_intent":""}"#,
            "{}",
        ] {
            assert_eq!(event(KINDS[0], foreign).subject, None, "{foreign}");
        }
        assert_eq!(read(br#"{"id":"evt_1","type":"ping"}"#).unwrap().subject, None);
        for no_event in ["", "[]", r#"{"id":"evt_1"}"#, r#"{"id":"","type":"x"}"#] {
            assert!(read(no_event.as_bytes()).is_err(), "{no_event}");
        }
    }
}
