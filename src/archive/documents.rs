//! The archive's documents, and how they become domain types and back.
//!
//! All times are 64-bit Unix milliseconds, named `…_ms`, as everywhere in Holdfast; 0 means
//! "not yet" in bookings. Ids of bookings are texts, ids of events and seats are integers.

use std::sync::Arc;

use mongodb::bson::{Document, doc};
use serde::{Deserialize, Serialize};

use super::error::ArchiveError;
use crate::domain::event::{CancelPolicy, Cancellation, EventStamp, EventSummary, SeatTotal};
use crate::domain::{
    Booking, BookingId, Entry, Event, EventId, EventStatus, Layout, LoadState, OrphanRule, Outcome,
    Partition, SaleTimes, SeatId, Section, Status, Transition, UserId,
};

/// Format of everything in the database; a process refuses another one.
pub(super) const ARCHIVE_FORMAT: i64 = 1;

/// One document, `_id: "deployment"`: what all processes must agree on.
pub(super) const META: &str = "meta";
/// One document a sequence: `_id: "event"` gives event ids.
pub(super) const COUNTERS: &str = "counters";
/// The catalogue, layouts included.
pub(super) const EVENTS: &str = "events";
/// Every entry of the booking log but beats: the ledger.
pub(super) const TRANSITIONS: &str = "transitions";
/// One document a booking: its newest state, and the outcome that outranks it.
pub(super) const BOOKINGS: &str = "bookings";
/// One document a booking that was about to be paid: its payment intent.
pub(super) const INTENTS: &str = "intents";
/// One document a partition: an entry of its booking log that was archived.
pub(super) const MARKS: &str = "log_marks";
/// One document a reader of a booking log: the newest entry that it has archived.
pub(super) const HEADS: &str = "log_heads";
/// One document a sold seat: `_id: "event:seat"`, `owner`: a booking. Never deleted.
pub(super) const CLAIMS: &str = "claims";

/// An event without its layout: what the worker and `verify` go through all events for.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct EventHead {
    /// Its id.
    #[serde(rename = "_id")]
    pub id: EventId,
    /// What it is called.
    pub name: String,
    /// What its operator says.
    pub status: EventStatus,
    /// When holds begin, Unix ms.
    pub on_sale_at_ms: Option<i64>,
    /// When the doors open, Unix ms.
    #[serde(default)]
    pub starts_at_ms: Option<i64>,
    /// When holds end, Unix ms. Events of before sales had an end have none.
    #[serde(default)]
    pub off_sale_at_ms: Option<i64>,
    /// Raised at every change of status or times.
    pub revision: u64,
    /// How far its inventory has come.
    pub load_state: LoadState,
    /// Raised at every load after a loss.
    pub generation: u64,
    /// How many seats it has.
    pub total_seats: u32,
    /// When it was created, Unix ms.
    pub created_at_ms: i64,
    /// Whether confirmed bookings may be cancelled.
    #[serde(default)]
    pub cancellation: Cancellation,
    /// Until when they may, Unix ms.
    #[serde(default)]
    pub cancel_until_ms: Option<i64>,
}

impl EventHead {
    /// Whether and until when confirmed bookings may be cancelled.
    pub fn cancel_policy(&self) -> CancelPolicy {
        CancelPolicy { rule: self.cancellation, until_ms: self.cancel_until_ms }
    }

    /// The times its sale goes by.
    pub fn sale_times(&self) -> SaleTimes {
        SaleTimes {
            starts_at_ms: self.starts_at_ms,
            on_sale_at_ms: self.on_sale_at_ms,
            off_sale_at_ms: self.off_sale_at_ms,
        }
    }
}

/// An event in `events`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct EventDocument {
    #[serde(rename = "_id")]
    id: EventId,
    name: String,
    description: String,
    venue: String,
    currency: String,
    starts_at_ms: Option<i64>,
    on_sale_at_ms: Option<i64>,
    #[serde(default)]
    off_sale_at_ms: Option<i64>,
    hold_ttl_ms: i64,
    max_hold_ms: i64,
    max_seats_per_user: u32,
    #[serde(default)]
    orphan_rule: OrphanRule,
    #[serde(default)]
    cancellation: Cancellation,
    #[serde(default)]
    cancel_until_ms: Option<i64>,
    status: EventStatus,
    revision: u64,
    #[serde(default)]
    edits: u64,
    load_state: LoadState,
    generation: u64,
    layout_version: u32,
    total_seats: u32,
    #[serde(default)]
    seat_names_have_section: bool,
    /// Left out where an event is read without its layout.
    #[serde(default)]
    sections: Vec<Section>,
    created_at_ms: i64,
}

impl From<&Event> for EventDocument {
    fn from(event: &Event) -> Self {
        EventDocument {
            id: event.id,
            name: event.name.clone(),
            description: event.description.clone(),
            venue: event.venue.clone(),
            currency: event.currency.clone(),
            starts_at_ms: event.starts_at_ms,
            on_sale_at_ms: event.on_sale_at_ms,
            off_sale_at_ms: event.off_sale_at_ms,
            hold_ttl_ms: event.hold_ttl_ms,
            max_hold_ms: event.max_hold_ms,
            max_seats_per_user: event.max_seats_per_user,
            orphan_rule: event.orphan_rule,
            cancellation: event.cancel_policy.rule,
            cancel_until_ms: event.cancel_policy.until_ms,
            status: event.status,
            revision: event.revision,
            edits: event.edits,
            load_state: event.load_state,
            generation: event.generation,
            layout_version: event.layout_version,
            total_seats: event.layout.total_seats(),
            seat_names_have_section: event.seat_names_have_section,
            sections: event.layout.sections().to_vec(),
            created_at_ms: event.created_at_ms,
        }
    }
}

impl EventDocument {
    /// The event, with this as what is known of its seats.
    fn with_layout<L>(self, layout: L) -> Event<L> {
        Event {
            id: self.id,
            name: self.name,
            description: self.description,
            venue: self.venue,
            currency: self.currency,
            starts_at_ms: self.starts_at_ms,
            on_sale_at_ms: self.on_sale_at_ms,
            off_sale_at_ms: self.off_sale_at_ms,
            hold_ttl_ms: self.hold_ttl_ms,
            max_hold_ms: self.max_hold_ms,
            max_seats_per_user: self.max_seats_per_user,
            orphan_rule: self.orphan_rule,
            cancel_policy: CancelPolicy { rule: self.cancellation, until_ms: self.cancel_until_ms },
            status: self.status,
            revision: self.revision,
            edits: self.edits,
            load_state: self.load_state,
            generation: self.generation,
            layout_version: self.layout_version,
            seat_names_have_section: self.seat_names_have_section,
            layout,
            created_at_ms: self.created_at_ms,
        }
    }
}

impl TryFrom<EventDocument> for Event {
    type Error = ArchiveError;
    fn try_from(mut document: EventDocument) -> Result<Self, ArchiveError> {
        let id = document.id;
        let layout = Layout::new(std::mem::take(&mut document.sections))
            .map_err(|error| ArchiveError::Corrupt(format!("event {id}: {error}")))?;
        Ok(document.with_layout(Arc::new(layout)))
    }
}

/// For documents that were read without their sections.
impl From<EventDocument> for EventSummary {
    fn from(document: EventDocument) -> Self {
        let total = SeatTotal(document.total_seats);
        document.with_layout(total)
    }
}

/// Which state of an event the archive has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct StoredStamp {
    /// The event.
    #[serde(rename = "_id")]
    pub id: EventId,
    generation: u64,
    revision: u64,
    #[serde(default)]
    edits: u64,
    /// How far its inventory has come.
    pub load_state: LoadState,
}

impl StoredStamp {
    /// Which state it is.
    pub fn stamp(&self) -> EventStamp {
        let StoredStamp { generation, revision, edits, .. } = *self;
        EventStamp { generation, revision, edits }
    }
}

/// A booking as the archive has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchivedBooking {
    /// Its newest archived state. The archive knows neither nonce nor the end of a lease.
    pub booking: Booking,
    /// The archive's decision, if it was sold; it fixes `booking.status`.
    pub outcome: Option<Outcome>,
    /// The generation of its event in which it had this version.
    pub generation: u64,
    /// When it was cancelled after the sale, until its money is due and Redis follows, Unix ms.
    pub cancel_unsettled_ms: Option<i64>,
}

/// A booking in `bookings`, as it is read.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct BookingDocument {
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

/// The booking a log entry tells of, as far as the entry knows it.
pub(super) fn booking_of(transition: &Transition) -> Booking {
    let t = transition.clone();
    Booking {
        id: t.booking,
        status: t.status,
        version: t.version,
        user: t.user,
        seats: t.seats,
        amount: t.amount,
        currency: t.currency,
        created_ms: t.created_ms,
        deadline_ms: t.deadline_ms,
        nonce: String::new(),
        lease: t.lease,
        lease_until_ms: 0,
        payment: t.payment,
        paid_ms: t.paid_ms,
        confirmed_ms: 0,
        ended_ms: 0,
        idempotency: t.idempotency,
        fingerprint: t.fingerprint,
        trace: t.trace,
    }
}

/// The other way: a booking's part of the entry that left it so.
pub(super) fn transition_of(booking: &Booking) -> Transition {
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
        idempotency: b.idempotency,
        fingerprint: b.fingerprint,
        trace: b.trace,
    }
}

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

/// A number that MongoDB can hold: its integers are signed.
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

/// `_id` of an entry in the ledger; `None` for a beat, which is not archived. Never the log id
/// alone: those repeat between partitions and after a failover.
pub fn transition_id(entry: &Entry) -> Option<String> {
    let event = entry.event?;
    Some(match &entry.transition {
        Some(transition) => format!("{}:{}:{}", transition.booking, transition.version, entry.id),
        None => format!("event:{event}:{}:{}", entry.event_version, entry.id),
    })
}

/// An entry's document in the ledger: everything it says. `None` for a beat.
pub(super) fn transition_document(
    partition: Partition,
    entry: &Entry,
) -> Result<Option<Document>, String> {
    let (Some(id), Some(event)) = (transition_id(entry), entry.event) else { return Ok(None) };
    let mut document = doc! {
        "_id": id,
        "partition": i32::from(partition.0),
        "log_id": entry.id.to_string(),
        "kind": entry.kind.as_str(),
        "event": i64::from(event.0),
        "generation": signed(entry.generation, "generation")?,
        "event_version": signed(entry.event_version, "event_version")?,
        "time_ms": entry.time_ms,
        "detail": &entry.detail,
        "tag": &entry.link.tag,
        "prev_id": entry.link.prev_id.to_string(),
        "prev_tag": &entry.link.prev_tag,
    };
    if let Some(transition) = &entry.transition {
        document.extend(transition_fields(transition)?);
        document.insert("booking", transition.booking.to_string());
    }
    if let Some(house) = &entry.house {
        document.insert("user", &house.actor);
        document.insert("seats", seat_numbers(&house.seats));
    }
    Ok(Some(document))
}

/// What an entry and a booking's document both say of a booking, its id apart.
pub(super) fn transition_fields(t: &Transition) -> Result<Document, String> {
    booking_facts(&booking_of(t))
}

/// What a booking's document says of a booking, its id, event, generation and later times apart.
pub(super) fn booking_facts(b: &Booking) -> Result<Document, String> {
    Ok(doc! {
        "user": b.user.as_str(),
        "seats": seat_numbers(&b.seats),
        "status": b.status.as_str(),
        "version": signed(b.version, "version")?,
        "amount": b.amount,
        "currency": &b.currency,
        "created_ms": b.created_ms,
        "deadline_ms": b.deadline_ms,
        "lease": signed(b.lease, "lease")?,
        "payment": &b.payment,
        "paid_ms": b.paid_ms,
        "idempotency": &b.idempotency,
        "fingerprint": &b.fingerprint,
        "trace": &b.trace,
    })
}

pub(super) fn seat_numbers(seats: &[SeatId]) -> Vec<i64> {
    seats.iter().map(|seat| i64::from(seat.0)).collect()
}
