//! Names of idempotency records and fingerprints of requests.

use sha2::{Digest, Sha256};

use super::ids::{BookingId, EventId, SeatId, UserId};
use super::seat_request::Quantity;

/// Bytes of SHA-256 kept in record names and fingerprints: 128 bits.
const DIGEST_BYTES: usize = 16;

/// The subject of an operation, to which a key is scoped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// `POST /bookings`: an event.
    Hold(EventId),
    /// Confirm, cancel, extend: a booking.
    Booking(&'static str, BookingId),
}

impl Scope {
    fn text(self) -> String {
        match self {
            Scope::Hold(event) => format!("hold:{event}"),
            Scope::Booking(operation, booking) => format!("{operation}:{booking}"),
        }
    }
}

/// The record name for a client's own key.
pub fn explicit_digest(user: &UserId, scope: Scope, key: &str) -> String {
    digest(&["explicit", user.as_str(), &scope.text(), key])
}

/// The record name for a request without a key.
pub fn derived_digest(user: &UserId, scope: Scope, fingerprint: &str) -> String {
    digest(&["derived", user.as_str(), &scope.text(), fingerprint])
}

/// The fingerprint of a payment request: the method and the expected amount.
pub fn payment_fingerprint(method: &str, amount: Option<i64>) -> String {
    let amount = amount.map_or_else(String::new, |amount| amount.to_string());
    digest(&["payment", method, &amount])
}

/// The fingerprint of a request for named seats; their order does not matter.
pub fn seats_fingerprint(event: EventId, seats: &[SeatId]) -> String {
    let mut sorted = seats.to_vec();
    sorted.sort_unstable();
    digest(&["seats", &event.to_string(), &super::booking::format_seats(&sorted)])
}

/// The fingerprint of a request for a number of seats.
pub fn quantity_fingerprint(event: EventId, wanted: &Quantity) -> String {
    let section = wanted.section.as_deref();
    let max_price = wanted.max_price.map_or_else(String::new, |price| price.to_string());
    digest(&[
        "quantity",
        &event.to_string(),
        &wanted.seats.to_string(),
        if section.is_some() { "in" } else { "anywhere" },
        section.unwrap_or_default(),
        if wanted.together { "together" } else { "split" },
        &max_price,
    ])
}

/// SHA-256 over length-prefixed parts (so that different lists differ), shortened, in hex.
fn digest(parts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part.as_bytes());
    }
    let hash = hasher.finalize();
    hash[..DIGEST_BYTES].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_differ_by_every_part() {
        let (ann, bob): (UserId, UserId) = ("ann".parse().unwrap(), "bob".parse().unwrap());
        let scope = Scope::Hold(EventId(1));
        let booking = BookingId::new(EventId(1), 1, 1);
        let names = [
            explicit_digest(&ann, scope, "k"),
            explicit_digest(&bob, scope, "k"),
            explicit_digest(&ann, Scope::Hold(EventId(2)), "k"),
            explicit_digest(&ann, Scope::Booking("confirm", booking), "k"),
            explicit_digest(&ann, Scope::Booking("cancel", booking), "k"),
            explicit_digest(&ann, scope, "l"),
            derived_digest(&ann, scope, "k"),
        ];
        for (i, a) in names.iter().enumerate() {
            assert!(names[i + 1..].iter().all(|b| a != b));
        }
    }

    #[test]
    fn quantities_differ_by_every_part() {
        let any = Quantity { seats: 2, section: None, together: true, max_price: None };
        let all = [
            any.clone(),
            Quantity { seats: 3, ..any.clone() },
            Quantity { section: Some(String::new()), ..any.clone() },
            Quantity { section: Some("S".into()), ..any.clone() },
            Quantity { together: false, ..any.clone() },
            Quantity { max_price: Some(0), ..any },
        ];
        let prints = all.map(|one| quantity_fingerprint(EventId(1), &one));
        for (i, a) in prints.iter().enumerate() {
            assert!(prints[i + 1..].iter().all(|b| a != b));
        }
    }

    #[test]
    fn payments_differ_by_method_and_amount() {
        let all = [("a", None), ("b", None), ("a", Some(0)), ("a", Some(1))];
        let prints = all.map(|(method, amount)| payment_fingerprint(method, amount));
        for (i, a) in prints.iter().enumerate() {
            assert!(prints[i + 1..].iter().all(|b| a != b));
        }
    }

    #[test]
    fn order_of_seats_does_not_matter() {
        let (a, b) = (SeatId(1), SeatId(2));
        let one = seats_fingerprint(EventId(1), &[a, b]);
        assert_eq!(one, seats_fingerprint(EventId(1), &[b, a]));
        assert_ne!(one, seats_fingerprint(EventId(1), &[a]));
        assert_ne!(one, seats_fingerprint(EventId(2), &[a, b]));
    }
}
