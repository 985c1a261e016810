//! Calls with everything named, so that the same call can be made again, and made late.

use holdfast::domain::{Booking, BookingId, Outcome, Quantity, SeatId, UserId};
use holdfast::redis::scripts::Script;
use holdfast::redis::{BlockAction, ScanBounds};

use super::sale::Operated;

/// A call and how it is sent.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Past this the call must change nothing, Unix ms by Redis' clock.
    pub not_after_ms: i64,
    /// The event's generation as the caller knows it.
    pub generation: u64,
    pub call: Call,
}

/// A call of one script.
#[derive(Clone, Debug)]
pub enum Call {
    Hold(Hold),
    Abort {
        digest: String,
        lost_nonce: String,
        not_before_ms: i64,
    },
    ConfirmBegin {
        booking: BookingId,
        user: UserId,
        nonce: String,
        lease_ms: i64,
        attempts_max: i64,
        key: Option<RequestKey>,
    },
    ConfirmAbort {
        booking: BookingId,
        which: Which,
    },
    ConfirmTakeover {
        booking: BookingId,
        nonce: String,
        lease_ms: i64,
    },
    /// `known` is the booking as MongoDB has it.
    ConfirmLate {
        known: Booking,
        payment: String,
    },
    ConfirmCommit {
        booking: BookingId,
        lease: u64,
        payment: String,
    },
    Cancel {
        booking: BookingId,
        user: UserId,
    },
    Extend {
        booking: BookingId,
        user: UserId,
        nonce: String,
        key: Option<RequestKey>,
        /// Length of the log at which extensions stop.
        log_entries_max: u64,
    },
    Forget {
        keep_ms: i64,
        bookings: Vec<(BookingId, u64)>,
    },
    Unload {
        event_version: u64,
    },
    /// Into a load that is not open yet: sold bookings, and seats that the house keeps back.
    Place {
        own_token: bool,
        sold: Vec<Booking>,
        blocked: Vec<SeatId>,
    },
    Block {
        action: BlockAction,
        seats: Vec<SeatId>,
        reason: String,
        layout_version: u32,
    },
    Expire {
        batch: i64,
    },
    /// The booking as the archive knows it.
    Settle {
        outcome: Outcome,
        archived: Booking,
    },
    UpdateEvent(Operated),
    GetBooking {
        booking: BookingId,
    },
    /// A beat unless there is an entry younger than this, ms.
    Beat {
        min_age_ms: i64,
        /// Length of the log at which beats stop.
        log_entries_max: u64,
    },
    Load(Operated),
    Open {
        own_token: bool,
    },
}

/// A caller's own key for an operation on a booking.
#[derive(Clone, Debug)]
pub struct RequestKey {
    /// Name of the idempotency record.
    pub digest: String,
    /// Fingerprint of the request; of an extension always the same.
    pub fingerprint: String,
}

/// A request for seats.
#[derive(Clone, Debug)]
pub struct Hold {
    pub booking: BookingId,
    pub user: UserId,
    pub nonce: String,
    pub selection: Selection,
    /// Name of the idempotency record.
    pub digest: String,
    pub fingerprint: String,
    pub trace: String,
    pub layout_version: u32,
    /// Older answers are not given again, ms; 0 is no bound.
    pub replay_window_ms: i64,
    /// Length of the log at which holds stop.
    pub log_entries_max: u64,
    /// Whether the user's limit does not bind it.
    pub exempt: bool,
}

/// Which seats.
#[derive(Clone, Debug)]
pub enum Selection {
    /// These, ascending, each once, for so much together.
    Named { seats: Vec<SeatId>, amount: i64 },
    /// So many of any section that fits, found with this much looking at a time.
    Search { quantity: Quantity, bounds: ScanBounds },
}

/// Which confirmation is to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    Lease(u64),
    Nonce { nonce: String, not_before_ms: i64 },
}

impl Call {
    /// The script that it runs.
    pub fn script(&self) -> Script {
        match self {
            Call::Hold(_) => Script::Hold,
            Call::Abort { .. } => Script::Abort,
            Call::ConfirmBegin { .. } => Script::ConfirmBegin,
            Call::ConfirmAbort { .. } => Script::ConfirmAbort,
            Call::ConfirmCommit { .. } => Script::ConfirmCommit,
            Call::ConfirmTakeover { .. } => Script::ConfirmTakeover,
            Call::ConfirmLate { .. } => Script::ConfirmLate,
            Call::Cancel { .. } => Script::Cancel,
            Call::Extend { .. } => Script::Extend,
            Call::Expire { .. } => Script::Expire,
            Call::Settle { .. } => Script::Settle,
            Call::UpdateEvent(_) => Script::UpdateEvent,
            Call::GetBooking { .. } => Script::GetBooking,
            Call::Block { .. } => Script::Block,
            Call::Forget { .. } => Script::Forget,
            Call::Unload { .. } => Script::UnloadEvent,
            Call::Place { .. } => Script::LoadBookings,
            Call::Beat { .. } => Script::Beat,
            Call::Load(_) | Call::Open { .. } => Script::OpenEvent,
        }
    }

    /// The nonce, where the caller chose it: it is in the tags of the entries that the call writes.
    pub fn nonce(&self) -> Option<String> {
        match self {
            Call::Hold(hold) => Some(hold.nonce.clone()),
            Call::ConfirmBegin { nonce, .. }
            | Call::ConfirmTakeover { nonce, .. }
            | Call::Extend { nonce, .. } => Some(nonce.clone()),
            _ => None,
        }
    }
}
