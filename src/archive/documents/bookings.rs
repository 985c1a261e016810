//! Documents of the `bookings` collection, and their conversion from and to log entries.

use mongodb::bson::{Document, doc};
use serde::Deserialize;

use super::{parse_booking, seat_numbers, signed};
use crate::archive::error::ArchiveError;
use crate::domain::{Booking, Outcome, SeatId, Status, Transition, UserId};

/// A booking in the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchivedBooking {
    /// Its newest archived state, without nonce and end of lease, which are not archived.
    pub booking: Booking,
    /// The archive's decision, if the booking was paid; it determines `booking.status`.
    pub outcome: Option<Outcome>,
    /// The generation of its event in which it had this version.
    pub generation: u64,
    /// When a sold booking was cancelled, Unix ms; absent once the cancellation is complete.
    pub cancel_unsettled_ms: Option<i64>,
}

/// A booking in `bookings`, as it is read.
#[derive(Clone, Debug, Deserialize)]
pub(in crate::archive) struct BookingDocument {
    #[serde(rename = "_id")]
    id: String,
    user: UserId,
    seats: Vec<SeatId>,
    status: Status,
    outcome: Option<Outcome>,
    generation: u64,
    version: u64,
    amount: i64,
    currency: String,
    created_ms: i64,
    deadline_ms: i64,
    lease: u64,
    payment: String,
    paid_ms: i64,
    confirmed_ms: i64,
    ended_ms: i64,
    idempotency: String,
    fingerprint: String,
    trace: String,
    cancel_unsettled_ms: Option<i64>,
}

impl TryFrom<BookingDocument> for ArchivedBooking {
    type Error = ArchiveError;
    fn try_from(document: BookingDocument) -> Result<Self, ArchiveError> {
        let booking = Booking {
            id: parse_booking(&document.id)?,
            status: document.status,
            version: document.version,
            user: document.user,
            seats: document.seats,
            amount: document.amount,
            currency: document.currency,
            created_ms: document.created_ms,
            deadline_ms: document.deadline_ms,
            nonce: String::new(),
            lease: document.lease,
            lease_until_ms: 0,
            payment: document.payment,
            paid_ms: document.paid_ms,
            confirmed_ms: document.confirmed_ms,
            ended_ms: document.ended_ms,
            idempotency: document.idempotency,
            fingerprint: document.fingerprint,
            trace: document.trace,
        };
        Ok(ArchivedBooking {
            booking,
            outcome: document.outcome,
            generation: document.generation,
            cancel_unsettled_ms: document.cancel_unsettled_ms,
        })
    }
}

/// The transition that leads to this state of a booking: the inverse of [`Transition::to_booking`].
pub(in crate::archive) fn transition_of(booking: &Booking) -> Transition {
    let b = booking.clone();
    Transition {
        booking: b.id,
        user: b.user,
        seats: b.seats,
        status: b.status,
        version: b.version,
        amount: b.amount,
        currency: b.currency,
        created_ms: b.created_ms,
        deadline_ms: b.deadline_ms,
        lease: b.lease,
        payment: b.payment,
        paid_ms: b.paid_ms,
        confirmed_ms: b.confirmed_ms,
        idempotency: b.idempotency,
        fingerprint: b.fingerprint,
        trace: b.trace,
    }
}

/// The fields of a booking's document, except id, event, generation and later times.
pub(in crate::archive) fn booking_fields(b: &Booking) -> Result<Document, String> {
    transition_fields(&transition_of(b))
}

/// The fields that an entry and a booking's document share, except the id.
pub(in crate::archive) fn transition_fields(t: &Transition) -> Result<Document, String> {
    Ok(doc! {
        "user": t.user.as_str(),
        "seats": seat_numbers(&t.seats),
        "status": t.status.as_str(),
        "version": signed(t.version, "version")?,
        "amount": t.amount,
        "currency": &t.currency,
        "created_ms": t.created_ms,
        "deadline_ms": t.deadline_ms,
        "lease": signed(t.lease, "lease")?,
        "payment": &t.payment,
        "paid_ms": t.paid_ms,
        "idempotency": &t.idempotency,
        "fingerprint": &t.fingerprint,
        "trace": &t.trace,
    })
}
