//! What a sale's operations take and give.

use std::sync::Arc;

use crate::domain::{
    Booking, BookingId, Durability, Event, EventId, Inventory, Layout, OrphanRule, Quantity,
    SeatCounts, SeatId, Section, UserId,
};

use crate::domain::event::CancelPolicy;
use crate::domain::limits::{ADMIN_SEATS_PER_BOOKING_MAX, SEATS_PER_BOOKING_MAX};

pub use crate::domain::EventChange;

/// An event to create. Absent rules take the configured defaults.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// What it is called.
    pub name: String,
    /// What it is about.
    pub description: Option<String>,
    /// Where it is.
    pub venue: Option<String>,
    /// ISO 4217 code.
    pub currency: Option<String>,
    /// When the doors open, Unix ms.
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
    /// What happens to a choice that leaves a single seat alone.
    pub orphan_rule: Option<OrphanRule>,
    /// Whether and until when confirmed bookings may be cancelled.
    pub cancel_policy: CancelPolicy,
    /// Its seats.
    pub sections: Vec<Section>,
}

/// An event with its counts as Redis has them.
#[derive(Clone, Debug)]
pub struct EventView<L = Arc<Layout>> {
    /// The catalogue's part; in lists without the layout.
    pub event: Arc<Event<L>>,
    /// Free seats; `None` while its inventory is not loaded, and in lists where Redis does not say.
    pub available_seats: Option<u32>,
    /// Redis' time of this answer, Unix ms.
    pub now_ms: i64,
}

/// The seats of an event at one version.
#[derive(Clone, Debug)]
pub struct SeatMap {
    /// The catalogue's part.
    pub event: Arc<Event>,
    /// Every seat's state.
    pub inventory: Inventory,
    /// The event's generation in Redis.
    pub generation: u64,
    /// The event's version in Redis: raised by every entry of this event.
    pub version: u64,
    /// Redis' time of this answer, Unix ms.
    pub now_ms: i64,
}

impl SeatMap {
    /// Counts over the whole event.
    pub fn totals(&self) -> SeatCounts {
        self.inventory.totals()
    }
}

/// Which seats a request is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SeatsWanted {
    /// These.
    Named(Vec<SeatId>),
    /// So many.
    Quantity(Quantity),
}

/// A request to hold seats.
#[derive(Clone, Debug)]
pub struct HoldRequest {
    /// Who asks.
    pub user: UserId,
    /// For which event.
    pub event: EventId,
    /// Which seats.
    pub seats: SeatsWanted,
    /// The caller's own idempotency key.
    pub key: Option<String>,
    /// The number in the caller's admission token; 0: none was sent.
    pub room_number: u64,
    /// Whether an admin asks for the user: neither the waiting room nor the user's limit refuses
    /// it, and it may be for [`ADMIN_SEATS_PER_BOOKING_MAX`] seats.
    pub exempt: bool,
    /// Trace context, or empty.
    pub trace: String,
}

impl HoldRequest {
    /// Seats that it may be for.
    pub fn seats_max(&self) -> usize {
        if self.exempt { ADMIN_SEATS_PER_BOOKING_MAX } else { SEATS_PER_BOOKING_MAX }
    }
}

/// A booking as an operation left it.
#[derive(Clone, Debug)]
pub struct BookingView {
    /// The booking.
    pub booking: Booking,
    /// Its event, for labels and prices.
    pub event: Arc<Event>,
    /// Whether a saved answer was replayed.
    pub replayed: bool,
    /// Seats that the choice just granted leaves alone, where the event warns of that.
    pub left_alone: Vec<SeatId>,
    /// Whether it comes from the archive.
    pub archived: bool,
    /// Redis' (or, for archived bookings, our own) time of this answer, Unix ms.
    pub now_ms: i64,
}

impl BookingView {
    /// What is known, without asking anybody, of where it is kept.
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
    /// Who asks.
    pub user: UserId,
    /// Which booking.
    pub booking: BookingId,
    /// What the provider is told.
    pub payment_method: String,
    /// What the client believes it costs, minor units.
    pub amount: Option<i64>,
    /// The caller's own idempotency key.
    pub key: Option<String>,
}

/// What became of a confirmation. `Pending` is answered 202.
#[derive(Clone, Debug)]
pub enum Confirmed {
    /// Settled: the archive holds the claims.
    Settled(BookingView),
    /// Paid; the archive is awaited.
    Pending(BookingView),
}

/// A booking as the archive has it.
#[derive(Clone, Debug)]
pub struct ListedBooking {
    /// The booking.
    pub booking: Booking,
    /// Its event; `None` if the catalogue has lost it, which must not hide the booking.
    pub event: Option<Arc<Event>>,
    /// Our own time of this answer, Unix ms.
    pub now_ms: i64,
}

/// One page of a user's bookings, from the archive.
#[derive(Clone, Debug)]
pub struct BookingPage {
    /// Newest first.
    pub bookings: Vec<ListedBooking>,
    /// How many there are in all.
    pub total: u64,
    /// Whether there are older ones.
    pub has_more: bool,
    /// Up to when the archive is known to be complete, Unix ms.
    pub as_of_ms: i64,
}
