//! Why a sale's operation was refused: one type that every interface maps to its own words.

use crate::domain::event::CancelPolicy;
use crate::domain::{BookingId, EventId, Quantity, SeatId, SeatState};

/// Why an admission token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdmissionFault {
    /// It is no token of ours: altered, cut, or signed by a key that is not known.
    Altered,
    /// Its time is over.
    Expired,
    /// It is another deployment's.
    OtherDeployment,
    /// It is for another event.
    OtherEvent,
    /// It is another user's.
    OtherUser,
    /// Its owner left.
    GivenUp,
    /// It was not used in time once it could be.
    Lapsed,
    /// The session that it gave is over.
    SessionEnded,
    /// Its owner has a newer one.
    Superseded,
}

impl AdmissionFault {
    /// The word in answers and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            AdmissionFault::Altered => "altered",
            AdmissionFault::Expired => "expired",
            AdmissionFault::OtherDeployment => "other_deployment",
            AdmissionFault::OtherEvent => "other_event",
            AdmissionFault::OtherUser => "other_user",
            AdmissionFault::GivenUp => "given_up",
            AdmissionFault::Lapsed => "lapsed",
            AdmissionFault::SessionEnded => "session_ended",
            AdmissionFault::Superseded => "superseded",
        }
    }
}

/// Why an operation did not happen. Nothing that is refused here happens later. With
/// [`SaleError::Unavailable`] and `unknown: true` it may have happened by now; a hold or a begun payment is
/// undone then unless it is retried, everything else stays.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SaleError {
    /// The request itself is wrong; the text says how to mend it.
    #[error("{0}")]
    Invalid(String),
    /// No such event.
    #[error("event {0} does not exist")]
    EventUnknown(EventId),
    /// These seats do not exist in the event.
    #[error("event {event} has no seats {seats:?}")]
    SeatsUnknown {
        /// The event.
        event: EventId,
        /// The seats it does not have.
        seats: Vec<SeatId>,
    },
    /// No such booking, or not the caller's.
    #[error("booking {0} does not exist")]
    BookingUnknown(BookingId),
    /// The event's inventory is not in Redis (yet, or any more).
    #[error("event {0} is not loaded")]
    EventNotLoaded(EventId),
    /// The event was closed and unloaded: the archive alone has it.
    #[error("event {0} is unloaded")]
    EventUnloaded(EventId),
    /// The event is not in the state for this; the text says why, and what to do.
    #[error("event {event}: {reason}")]
    EventState {
        /// The event.
        event: EventId,
        /// Why not, and what to do.
        reason: String,
    },
    /// Sales of this event have ended.
    #[error("event {0} is closed")]
    EventClosed(EventId),
    /// Sales of this event are paused.
    #[error("event {0} is paused")]
    EventPaused(EventId),
    /// Sales have not begun.
    #[error("event {event} is on sale from {on_sale_at_ms}")]
    NotOnSale {
        /// The event.
        event: EventId,
        /// When sales begin, Unix ms.
        on_sale_at_ms: i64,
        /// Redis' time of this answer, Unix ms.
        now_ms: i64,
    },
    /// The event's waiting room is on, and the caller has no session in it.
    #[error("event {0} has a waiting room")]
    SessionRequired(EventId),
    /// The admission token is good for nothing, here or any more.
    #[error("the admission token is refused: {0:?}")]
    AdmissionInvalid(AdmissionFault),
    /// The event has no waiting room that could be joined or asked.
    #[error("event {0} has no waiting room now")]
    RoomOff(EventId),
    /// The waiting room lets nobody in.
    #[error("the waiting room of event {0} lets nobody in")]
    RoomRejects(EventId),
    /// Every seat is sold, and none is held.
    #[error("event {0} is sold out")]
    SoldOut(EventId),
    /// The user would have too many seats of this event.
    #[error("at most {max} seats a user; this user has {has}")]
    UserLimit {
        /// Seats the user has now.
        has: u32,
        /// Seats a user may have.
        max: u32,
    },
    /// At least one seat is not free; none was taken. The states of all seats asked for.
    #[error("seats are not available")]
    SeatsUnavailable(Vec<(SeatId, SeatState)>),
    /// No section has so many free seats, adjacent where that was asked for; none was taken.
    #[error("there are too few free seats")]
    TooFewSeats(Quantity),
    /// The choice would leave these single seats alone; none was taken.
    #[error("seats {0:?} would be left alone")]
    OrphanSeats(Vec<SeatId>),
    /// The event has no such section.
    #[error("event {event} has no section {section:?}")]
    SectionUnknown {
        /// The event.
        event: EventId,
        /// The name it does not have.
        section: String,
    },
    /// The key was used with another payload.
    #[error("the idempotency key was used with another request")]
    IdempotencyMismatch,
    /// Another operation on the same booking is under way.
    #[error("operation in progress")]
    InFlight,
    /// The hold has lapsed.
    #[error("booking {0} has expired")]
    BookingExpired(BookingId),
    /// The booking was cancelled.
    #[error("booking {0} is cancelled")]
    BookingCancelled(BookingId),
    /// The booking is paid and the archive has not judged it yet: neither cancel nor extend.
    #[error("booking {0} is being confirmed")]
    BookingConfirming(BookingId),
    /// The booking is sold: it cannot be extended.
    #[error("booking {0} is confirmed")]
    BookingConfirmed(BookingId),
    /// The event's confirmed bookings cannot be cancelled, or not any more.
    #[error("booking {booking} is confirmed and cannot be cancelled ({policy:?})")]
    CancellationClosed {
        /// The booking.
        booking: BookingId,
        /// What its event says about that.
        policy: CancelPolicy,
    },
    /// The archive refused the sale; the money goes back.
    #[error("the sale of booking {0} was voided")]
    SaleVoided(BookingId),
    /// The payment was declined.
    #[error("payment declined: {0}")]
    PaymentDeclined(String),
    /// The payment provider never takes this payment, whatever it is paid with.
    #[error("payment not possible: {0}")]
    PaymentImpossible(String),
    /// The amount the client named is not the booking's.
    #[error("amount is {expected}, not {got}")]
    AmountMismatch {
        /// The booking's amount, minor units.
        expected: i64,
        /// What the client named.
        got: i64,
    },
    /// Too many payment attempts.
    #[error("too many payment attempts for booking {0}")]
    AttemptsExhausted(BookingId),
    /// The hold cannot last longer.
    #[error("the hold already lasts until {0}, its longest")]
    HoldCapReached(i64),
    /// The booking log is full: the archive lags too far behind.
    #[error("the booking log is full")]
    LogFull,
    /// A dependency did not answer in time. `unknown` is true where the call may have run.
    #[error("{dependency} is unavailable: {reason}")]
    Unavailable {
        /// `redis` or `mongodb`.
        dependency: &'static str,
        /// What happened, for the log.
        reason: String,
        /// Whether the call may have taken effect.
        unknown: bool,
    },
    /// A defect of ours.
    #[error("internal: {0}")]
    Internal(String),
}

impl SaleError {
    /// The same of a step before which, and in which, nothing was done.
    pub(super) fn of_nothing_done(self) -> Self {
        match self {
            SaleError::Unavailable { dependency, reason, .. } => {
                SaleError::Unavailable { dependency, reason, unknown: false }
            }
            other => other,
        }
    }

    /// Whether Redis did not answer: on a Cluster that says nothing of other partitions' nodes.
    pub fn is_redis_away(&self) -> bool {
        matches!(self, SaleError::Unavailable { dependency: "redis", .. })
    }
}
