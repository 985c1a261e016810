//! Inputs and results of the sale's operations.

use std::sync::Arc;

use crate::domain::{
    Booking, BookingId, Durability, Event, EventId, Inventory, Layout, OrphanRule, Quantity,
    SeatCounts, SeatId, Section, UserId,
};

use crate::domain::event::CancelPolicy;
use crate::domain::limits::{ADMIN_SEATS_PER_BOOKING_MAX, SEATS_PER_BOOKING_MAX};

pub use crate::domain::EventChange;

/// An event to create. Absent rules default to the configured ones.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// Its name.
    pub name: String,
    /// Its description.
    pub description: Option<String>,
    /// Its venue.
    pub venue: Option<String>,
    /// ISO 4217 code.
    pub currency: Option<String>,
    /// When the event starts, Unix ms.
    pub starts_at_ms: Option<i64>,
    /// When holds begin, Unix ms; at once if absent.
    pub on_sale_at_ms: Option<i64>,
    /// When holds end, Unix ms; at `starts_at_ms` if absent, and never without it.
    pub off_sale_at_ms: Option<i64>,
    /// How long a hold lasts, seconds.
    pub hold_ttl_seconds: Option<u32>,
    /// How long a hold can last with extensions, seconds.
    pub max_hold_seconds: Option<u32>,
    /// Seats one user can hold and own.
    pub max_seats_per_user: Option<u32>,
    /// How to treat a choice that isolates a single seat.
    pub orphan_rule: Option<OrphanRule>,
    /// Whether and until when confirmed bookings may be cancelled.
    pub cancel_policy: CancelPolicy,
    /// Its seats.
    pub sections: Vec<Section>,
}

/// An event with its number of free seats, as of one moment.
#[derive(Clone, Debug)]
pub struct EventView<L = Arc<Layout>> {
    /// The event from the catalogue; in lists without the layout.
    pub event: Arc<Event<L>>,
    /// Free seats; `None` while its inventory is not loaded, and in lists where Redis did not answer.
    pub available_seats: Option<u32>,
    /// Redis' time of this state, Unix ms.
    pub now_ms: i64,
}

/// The seats of an event at one version.
#[derive(Clone, Debug)]
pub struct SeatMap {
    /// The event from the catalogue.
    pub event: Arc<Event>,
    /// Every seat's state.
    pub inventory: Inventory,
    /// The event's generation in Redis.
    pub generation: u64,
    /// The event's version in Redis: every log entry of this event raises it.
    pub version: u64,
    /// Redis' time of this state, Unix ms.
    pub now_ms: i64,
}

impl SeatMap {
    /// Counts over the whole event.
    pub fn totals(&self) -> SeatCounts {
        self.inventory.totals()
    }
}

/// The seats of a hold request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SeatRequest {
    /// Exactly these seats.
    Named(Vec<SeatId>),
    /// A number of seats, chosen by the system.
    Quantity(Quantity),
}

/// A request to hold seats.
#[derive(Clone, Debug)]
pub struct HoldRequest {
    /// The user.
    pub user: UserId,
    /// The event.
    pub event: EventId,
    /// The seats.
    pub seats: SeatRequest,
    /// The client's idempotency key.
    pub key: Option<String>,
    /// The number in the client's admission token; 0 without a token.
    pub room_number: u64,
    /// Whether an admin acts for the user: the waiting room and the user's seat limit do not apply,
    /// and up to [`ADMIN_SEATS_PER_BOOKING_MAX`] seats are allowed.
    pub exempt: bool,
    /// Trace context, or empty.
    pub trace: String,
}

impl HoldRequest {
    /// The maximum number of seats of this request.
    pub fn seats_max(&self) -> usize {
        if self.exempt { ADMIN_SEATS_PER_BOOKING_MAX } else { SEATS_PER_BOOKING_MAX }
    }
}

/// A booking after an operation.
#[derive(Clone, Debug)]
pub struct BookingView {
    /// The booking.
    pub booking: Booking,
    /// Its event, for labels and prices.
    pub event: Arc<Event>,
    /// Whether this is the saved response of an earlier request.
    pub replayed: bool,
    /// Single seats that the new booking isolates, where the event's rule is to warn.
    pub left_alone: Vec<SeatId>,
    /// Whether it was read from the archive.
    pub archived: bool,
    /// Redis' time (for archived bookings this process' time) of this state, Unix ms.
    pub now_ms: i64,
}

impl BookingView {
    /// The durability that is known without a query.
    pub fn durability(&self) -> Durability {
        match self.archived || self.booking.is_judged() {
            true => Durability::Archived,
            false => Durability::Accepted,
        }
    }
}

/// A request to pay and confirm a booking.
#[derive(Clone, Debug)]
pub struct ConfirmRequest {
    /// The user.
    pub user: UserId,
    /// The booking.
    pub booking: BookingId,
    /// The payment method, passed to the provider.
    pub payment_method: String,
    /// The amount that the client expects, minor units.
    pub amount: Option<i64>,
    /// The client's idempotency key.
    pub key: Option<String>,
}

/// The result of a confirmation.
#[derive(Clone, Debug)]
pub enum Confirmed {
    /// Settled: the archive holds the claims.
    Settled(BookingView),
    /// Paid, not archived yet; answered 202.
    Pending(BookingView),
}

/// A booking of a list, from the archive.
#[derive(Clone, Debug)]
pub struct ListedBooking {
    /// The booking.
    pub booking: Booking,
    /// Its event; `None` if the catalogue no longer has it: the booking is listed nevertheless.
    pub event: Option<Arc<Event>>,
    /// This process' time of the response, Unix ms.
    pub now_ms: i64,
}

/// One page of a user's bookings, from the archive.
#[derive(Clone, Debug)]
pub struct BookingPage {
    /// Newest first.
    pub bookings: Vec<ListedBooking>,
    /// The total number of the user's bookings.
    pub total: u64,
    /// Whether there are older ones.
    pub has_more: bool,
    /// The time up to which the archive is known to be complete, Unix ms.
    pub as_of_ms: i64,
}
