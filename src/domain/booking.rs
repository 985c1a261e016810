//! A booking: its statuses, its transitions, and the record Redis keeps of it.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ids::{BookingId, SeatId, UserId};

/// The status of a booking.
///
/// ```text
///            confirm_begin            confirm_commit            settle
///   HOLD ───────────────► CONFIRMING ───────────────► COMMITTED ──────► CONFIRMED ──► CANCELLED
///    │  ◄───────────────     (lease)                      └───────────► VOIDED
///    │     confirm_abort
///    ├──► EXPIRED      (deadline passed)
///    └──► CANCELLED    (by its owner)
/// ```
///
/// Every arrow raises the booking's version by one and is one entry of the booking log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    /// Its seats are held until the deadline.
    Hold,
    /// Payment in progress: the seats are freed by the end of the lease, not by the deadline.
    Confirming,
    /// Paid and sold in Redis, not decided by the archive yet. Clients see `CONFIRMING`.
    Committed,
    /// The archive holds a unique claim on every seat.
    Confirmed,
    /// The archive refused the sale; the money is refunded.
    Voided,
    /// Cancelled by its owner, before or after the sale.
    Cancelled,
    /// The deadline passed.
    Expired,
}

const STATUS_WORDS: [(Status, &str); 7] = [
    (Status::Hold, "HOLD"),
    (Status::Confirming, "CONFIRMING"),
    (Status::Committed, "COMMITTED"),
    (Status::Confirmed, "CONFIRMED"),
    (Status::Voided, "VOIDED"),
    (Status::Cancelled, "CANCELLED"),
    (Status::Expired, "EXPIRED"),
];

impl Status {
    /// The name in Redis, in the log and in the archive.
    pub fn as_str(self) -> &'static str {
        STATUS_WORDS[self as usize].1
    }

    /// The name in the API.
    pub fn api_word(self) -> &'static str {
        match self {
            Status::Committed => Status::Confirming.as_str(),
            other => other.as_str(),
        }
    }

    /// Whether the booking holds seats.
    pub fn is_live(self) -> bool {
        matches!(self, Status::Hold | Status::Confirming | Status::Committed | Status::Confirmed)
    }
}

impl FromStr for Status {
    type Err = RecordError;
    fn from_str(word: &str) -> Result<Self, RecordError> {
        let row = STATUS_WORDS.iter().find(|row| row.1 == word);
        row.map(|row| row.0).ok_or(RecordError("status"))
    }
}

/// A booking as stored in Redis. Times are Unix milliseconds by Redis' clock; 0 means "not yet".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Booking {
    /// Its id, which names its event.
    pub id: BookingId,
    /// Its status.
    pub status: Status,
    /// Raised by one at every transition.
    pub version: u64,
    /// Its owner.
    pub user: UserId,
    /// Its seats, ascending.
    pub seats: Vec<SeatId>,
    /// Total price, in the currency's minor unit.
    pub amount: i64,
    /// ISO 4217 code.
    pub currency: String,
    /// When it was made.
    pub created_ms: i64,
    /// When its hold lapses.
    pub deadline_ms: i64,
    /// The nonces of the attempts that returned it, separated by commas (`*`: too many to list); an
    /// abort removes its own and ends the hold only when none is left.
    pub nonce: String,
    /// Number of the confirmation lease; a commit under another number has no effect.
    pub lease: u64,
    /// When that lease may be taken over.
    pub lease_until_ms: i64,
    /// The provider's payment object.
    pub payment: String,
    /// When it was paid (`confirm_commit`).
    pub paid_ms: i64,
    /// When it was settled as CONFIRMED.
    pub confirmed_ms: i64,
    /// When it ended: CANCELLED, EXPIRED or VOIDED.
    pub ended_ms: i64,
    /// Digest naming its idempotency record.
    pub idempotency: String,
    /// Fingerprint of the request that created it.
    pub fingerprint: String,
    /// Trace context of the request that created it.
    pub trace: String,
}

/// A record or a log entry that this build cannot read, with the name of the field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unreadable {0}")]
pub struct RecordError(pub &'static str);

/// The record format this build reads and writes.
const RECORD_FORMAT: &str = "1";

/// The names of a record's values, in order.
pub const RECORD_FIELDS: [&str; 19] = [
    "format",
    "status",
    "version",
    "user",
    "seats",
    "amount",
    "currency",
    "created",
    "deadline",
    "nonce",
    "lease",
    "lease_until",
    "payment",
    "paid",
    "confirmed",
    "ended",
    "idempotency",
    "fingerprint",
    "trace",
];

impl Booking {
    /// Reads the tab-separated record that `lua/includes/pack_booking.lua` writes.
    pub fn from_record(id: BookingId, record: &str) -> Result<Self, RecordError> {
        let mut fields = record.split('\t');
        let mut next = |name: &'static str| fields.next().ok_or(RecordError(name));
        if next("format")? != RECORD_FORMAT {
            return Err(RecordError("format"));
        }
        Ok(Booking {
            id,
            status: next("status")?.parse()?,
            version: number(next("version")?, "version")?,
            user: next("user")?.parse().map_err(|_| RecordError("user"))?,
            seats: parse_seats(next("seats")?)?,
            amount: number(next("amount")?, "amount")?,
            currency: next("currency")?.to_owned(),
            created_ms: number(next("created")?, "created")?,
            deadline_ms: number(next("deadline")?, "deadline")?,
            nonce: next("nonce")?.to_owned(),
            lease: number(next("lease")?, "lease")?,
            lease_until_ms: number(next("lease_until")?, "lease_until")?,
            payment: next("payment")?.to_owned(),
            paid_ms: number(next("paid")?, "paid")?,
            confirmed_ms: number(next("confirmed")?, "confirmed")?,
            ended_ms: number(next("ended")?, "ended")?,
            idempotency: next("idempotency")?.to_owned(),
            fingerprint: next("fingerprint")?.to_owned(),
            trace: next("trace")?.to_owned(),
        })
    }
}

impl Booking {
    /// Whether the archive has decided its sale: then the archive has all of it, since Redis follows.
    pub fn is_judged(&self) -> bool {
        match self.status {
            Status::Confirmed | Status::Voided => true,
            // Without a payment it was a hold that its owner released.
            Status::Cancelled => self.paid_ms > 0,
            Status::Hold | Status::Confirming | Status::Committed | Status::Expired => false,
        }
    }

    /// Writes the record that `lua/includes/unpack_booking.lua` reads; the inverse of `from_record`.
    pub fn to_record(&self) -> String {
        let fields: [String; RECORD_FIELDS.len()] = [
            RECORD_FORMAT.to_owned(),
            self.status.as_str().to_owned(),
            self.version.to_string(),
            self.user.to_string(),
            format_seats(&self.seats),
            self.amount.to_string(),
            self.currency.clone(),
            self.created_ms.to_string(),
            self.deadline_ms.to_string(),
            self.nonce.clone(),
            self.lease.to_string(),
            self.lease_until_ms.to_string(),
            self.payment.clone(),
            self.paid_ms.to_string(),
            self.confirmed_ms.to_string(),
            self.ended_ms.to_string(),
            self.idempotency.clone(),
            self.fingerprint.clone(),
            self.trace.clone(),
        ];
        fields.join("\t")
    }
}

/// Parses a decimal field.
pub(super) fn number<N: FromStr>(text: &str, name: &'static str) -> Result<N, RecordError> {
    text.parse().map_err(|_| RecordError(name))
}

/// Parses comma-separated seat ids; empty text is no seats.
pub fn parse_seats(text: &str) -> Result<Vec<SeatId>, RecordError> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    text.split(',').map(|seat| number(seat, "seats").map(SeatId)).collect()
}

/// Formats seat ids separated by commas, as in scripts and in the log.
pub fn format_seats(seats: &[SeatId]) -> String {
    let ids: Vec<String> = seats.iter().map(SeatId::to_string).collect();
    ids.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::EventId;

    #[test]
    fn words_are_in_enum_order() {
        for (index, (status, word)) in STATUS_WORDS.into_iter().enumerate() {
            assert_eq!(status as usize, index);
            assert_eq!(word.parse(), Ok(status));
            assert_eq!(serde_json::to_value(status).unwrap(), word);
        }
    }

    #[test]
    fn record_is_read_and_written_unchanged() {
        let id = BookingId::new(EventId(7), 1, 2);
        let record = "1\tHOLD\t1\tann\t3,4\t900\tEUR\t10\t20\tn\t0\t0\t\t0\t0\t0\tk\tf\t";
        let booking = Booking::from_record(id, record).unwrap();
        assert_eq!(booking.seats, [SeatId(3), SeatId(4)]);
        assert_eq!((booking.amount, booking.deadline_ms), (900, 20));
        assert_eq!(booking.to_record(), record);
        assert_eq!(Booking::from_record(id, "2\tHOLD"), Err(RecordError("format")));
        assert_eq!(Booking::from_record(id, "1\tNAP"), Err(RecordError("status")));
        assert_eq!(Booking::from_record(id, "1\tHOLD\tx"), Err(RecordError("version")));
    }
}
