//! The archive's documents and their conversion from and to domain types.
//!
//! All times are 64-bit Unix milliseconds named `…_ms`; 0 means "not yet" in bookings. Ids of bookings
//! are texts, ids of events and seats are integers.

mod bookings;
mod events;
mod ledger;

use serde::Deserialize;

use super::error::ArchiveError;
use crate::domain::{BookingId, EventId, SeatId};

pub use bookings::ArchivedBooking;
pub(super) use bookings::{BookingDocument, booking_fields, transition_fields, transition_of};
pub(super) use events::EventDocument;
pub use events::{EventHead, StoredStamp};
pub(super) use ledger::transition_document;
pub use ledger::transition_id;

/// The format of the database; a process refuses any other.
pub(super) const ARCHIVE_FORMAT: i64 = 1;

/// One document, `_id: "deployment"`: settings that all processes must share.
pub(super) const META: &str = "meta";
/// One document a sequence: `_id: "event"` gives event ids.
pub(super) const COUNTERS: &str = "counters";
/// The catalogue, layouts included.
pub(super) const EVENTS: &str = "events";
/// Every entry of the booking log but beats: the ledger.
pub(super) const TRANSITIONS: &str = "transitions";
/// One document a booking: its newest state, and the outcome that ranks above it.
pub(super) const BOOKINGS: &str = "bookings";
/// One document a booking whose payment was started: its payment intent.
pub(super) const INTENTS: &str = "intents";
/// One document a partition: an archived entry of its booking log.
pub(super) const MARKS: &str = "log_marks";
/// One document a reader of a booking log: the newest entry that it archived.
pub(super) const HEADS: &str = "log_heads";
/// One document a sold seat: `_id: "event:seat"`, `owner`: a booking. Never deleted.
pub(super) const CLAIMS: &str = "claims";

/// A claim in `claims`, as it is read.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct ClaimDocument {
    #[serde(rename = "_id")]
    id: String,
    owner: String,
}

impl ClaimDocument {
    /// The seat and the booking that owns it.
    pub(super) fn read(&self) -> Result<(EventId, SeatId, BookingId), ArchiveError> {
        let corrupt = || ArchiveError::Corrupt(format!("claim {:?}", self.id));
        let (event, seat) = self.id.split_once(':').ok_or_else(corrupt)?;
        let (event, seat) = (event.parse().ok(), seat.parse().ok());
        let (Some(event), Some(seat)) = (event, seat) else { return Err(corrupt()) };
        Ok((EventId(event), SeatId(seat), parse_booking(&self.owner)?))
    }
}

/// Converts a number to MongoDB's signed integers.
pub(super) fn signed(number: u64, name: &'static str) -> Result<i64, String> {
    i64::try_from(number).map_err(|_| format!("{name} {number} is out of range"))
}

/// `_id` of a booking.
pub(super) fn parse_booking(text: &str) -> Result<BookingId, ArchiveError> {
    text.parse().map_err(|_| ArchiveError::Corrupt(format!("booking id {text:?}")))
}

/// `_id` of the claim on a seat.
pub(super) fn claim_id(event: EventId, seat: SeatId) -> String {
    format!("{event}:{seat}")
}

pub(super) fn seat_numbers(seats: &[SeatId]) -> Vec<i64> {
    seats.iter().map(|seat| i64::from(seat.0)).collect()
}
