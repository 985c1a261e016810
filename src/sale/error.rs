//! Why an operation of the sale was refused: one type for every interface. The API maps it to a
//! problem document, `holdfastctl` prints its text.

use crate::domain::event::CancelPolicy;
use crate::domain::{BookingId, EventId, Quantity, SeatId, SeatState};

/// Why an admission token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdmissionFault {
    /// It is not valid: altered, truncated, or signed by an unknown key.
    Altered,
    /// It has expired.
    Expired,
    /// Another deployment issued it.
    OtherDeployment,
    /// It is for another event.
    OtherEvent,
    /// It belongs to another user.
    OtherUser,
    /// Its owner left the waiting room.
    GivenUp,
    /// It was not used in time after its number was admitted.
    Lapsed,
    /// Its session is over.
    SessionEnded,
    /// Its owner has a newer one.
    Superseded,
}

impl AdmissionFault {
    /// The reason in error responses and metrics.
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

/// Why a socket ticket is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TicketFault {
    /// It is no ticket that was signed here.
    Altered,
    /// It has expired.
    Expired,
    /// It is for another event.
    OtherEvent,
    /// A socket was opened with it.
    Used,
}

/// Why an operation did not happen.
///
/// INVARIANT: what is refused here does not happen later. With [`SaleError::Unavailable`] and
/// `unknown: true` it may have happened already: then a hold or a begun payment is undone unless it
/// is retried, and everything else stays.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SaleError {
    /// The request is invalid; the text says how to correct it.
    #[error("{0}")]
    Invalid(String),
    /// The event does not exist.
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
    /// The booking does not exist, or is not the caller's.
    #[error("booking {0} does not exist")]
    BookingUnknown(BookingId),
    /// The event's inventory is not in Redis (yet, or any longer).
    #[error("event {0} is not loaded")]
    EventNotLoaded(EventId),
    /// The event was closed and unloaded: only the archive has it.
    #[error("event {0} is unloaded")]
    EventUnloaded(EventId),
    /// The event's state does not allow the operation; the text says why, and what to do.
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
        /// Redis' time of the refusal, Unix ms.
        now_ms: i64,
    },
    /// The event's waiting room is on, and the caller has no session.
    #[error("event {0} has a waiting room")]
    SessionRequired(EventId),
    /// The admission token is not valid here, or no longer.
    #[error("the admission token is refused: {0:?}")]
    AdmissionInvalid(AdmissionFault),
    /// The socket ticket is not valid here, or no longer.
    #[error("the socket ticket is refused: {0:?}")]
    TicketInvalid(TicketFault),
    /// The event has no waiting room at present.
    #[error("event {0} has no waiting room now")]
    RoomOff(EventId),
    /// The waiting room admits nobody.
    #[error("the waiting room of event {0} admits nobody")]
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
    /// At least one seat is not free; none was taken. Lists the states of all requested seats.
    #[error("seats are not available")]
    SeatsUnavailable(Vec<(SeatId, SeatState)>),
    /// No section has that many free seats, adjacent if requested; none was taken.
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
        /// The requested name.
        section: String,
    },
    /// The idempotency key was used with another payload.
    #[error("the idempotency key was used with another request")]
    IdempotencyMismatch,
    /// Another operation on the same booking is in progress.
    #[error("operation in progress")]
    InFlight,
    /// The hold has lapsed.
    #[error("booking {0} has expired")]
    BookingExpired(BookingId),
    /// The booking was cancelled.
    #[error("booking {0} is cancelled")]
    BookingCancelled(BookingId),
    /// The booking is paid and the archive has not confirmed it yet: it can be neither cancelled nor extended.
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
        /// Its event's policy.
        policy: CancelPolicy,
    },
    /// The archive refused the sale; the money is refunded.
    #[error("the sale of booking {0} was voided")]
    SaleVoided(BookingId),
    /// The payment was declined.
    #[error("payment declined: {0}")]
    PaymentDeclined(String),
    /// The payment provider accepts this payment with no payment method.
    #[error("payment not possible: {0}")]
    PaymentImpossible(String),
    /// The client's amount is not the booking's.
    #[error("amount is {expected}, not {got}")]
    AmountMismatch {
        /// The booking's amount, minor units.
        expected: i64,
        /// The client's amount.
        got: i64,
    },
    /// Too many payment attempts.
    #[error("too many payment attempts for booking {0}")]
    AttemptsExhausted(BookingId),
    /// The hold lasts as long as it can.
    #[error("the hold already lasts until {0}, its maximum")]
    HoldCapReached(i64),
    /// The booking log is full: the archive lags too far behind.
    #[error("the booking log is full")]
    LogFull,
    /// A dependency did not answer in time.
    #[error("{dependency} is unavailable: {reason}")]
    Unavailable {
        /// `redis` or `mongodb`.
        dependency: &'static str,
        /// The cause, for the log.
        reason: String,
        /// Whether the call may have taken effect.
        unknown: bool,
    },
    /// An internal error.
    #[error("internal: {0}")]
    Internal(String),
}

impl SaleError {
    /// The same error of an operation that has certainly not changed anything.
    pub(super) fn without_effect(self) -> Self {
        match self {
            SaleError::Unavailable { dependency, reason, .. } => {
                SaleError::Unavailable { dependency, reason, unknown: false }
            }
            other => other,
        }
    }

    /// Whether Redis did not answer. On a Cluster the nodes of other partitions may still answer.
    pub fn is_redis_unavailable(&self) -> bool {
        matches!(self, SaleError::Unavailable { dependency: "redis", .. })
    }
}
