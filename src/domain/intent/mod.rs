//! Payment intents: what the archive records about a booking's payment before any money moves. Pure
//! rules; the archive changes an intent only by compare-and-set on its `rev`, so of several processes
//! one wins each step.
//!
//! ```text
//!  none ──► open(1) ──► idle(1) ──► open(2) ──► …            charged · declined · charged again
//!    └────► idle(1)      (abandoned: the first attempt was never sent)
//!  open, idle ──► cancelled     the provider has cancelled the object for good
//!  open, idle ──► sold          the archive's outcome is `sold` (the money stays)
//!  any ────────► refunded       outcome `refund` or `cancelled`, and the money went back
//! ```
//!
//! Refunds and their failures: [`refund`]; what was refunded, by whom: [`movement`].
//!
//! Guarantees, together with the provider's (an object is paid at most once, never after its cancel):
//!
//! * A process that charges has written `open` under its own lease before, and no other has since.
//! * The attempt rises only after `idle`, that is: after a recorded decline, or where the attempt was
//!   never sent. So an attempt of unknown outcome is only repeated, under its own key.
//! * A process whose lease was superseded cannot open: [`Intent::claim`] returns `Stale`.

pub mod movement;
pub mod refund;

use serde::{Deserialize, Serialize};

use super::booking::{Booking, Status};
use super::ids::{BookingId, SeatId, UserId};
use movement::Movement;
use refund::RefundProgress;

/// The state of an intent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IntentState {
    /// Its attempt may be charged at any time, or was.
    Open,
    /// Its attempt ended without money.
    Idle,
    /// The payment object is cancelled for good.
    Cancelled,
    /// The sale is final.
    Sold,
    /// The money was refunded, or none had moved.
    Refunded,
}

impl IntentState {
    /// The name in the archive and in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            IntentState::Open => "open",
            IntentState::Idle => "idle",
            IntentState::Cancelled => "cancelled",
            IntentState::Sold => "sold",
            IntentState::Refunded => "refunded",
        }
    }

    /// Whether money may still move.
    pub fn may_move(self) -> bool {
        matches!(self, IntentState::Open | IntentState::Idle)
    }
}

/// The intent of one booking, with all that is needed to recreate the booking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// The booking.
    pub booking: BookingId,
    /// The booking's owner.
    pub user: UserId,
    /// Its seats, ascending.
    pub seats: Vec<SeatId>,
    /// The amount to pay, minor units.
    pub amount: i64,
    /// ISO 4217 code.
    pub currency: String,
    /// When the booking was made, Unix ms.
    pub created_ms: i64,
    /// When its hold lapses, Unix ms.
    pub deadline_ms: i64,
    /// Digest naming its idempotency record.
    pub idempotency: String,
    /// Fingerprint of the request that created it.
    pub fingerprint: String,
    /// Trace context of the request that created it.
    pub trace: String,
    /// Trace context of the request that caused its refund; empty where none did.
    pub refund_trace: String,
    /// The provider's payment object; empty where none is known.
    pub payment: String,
    /// The attempt, from 1.
    pub attempt: u32,
    /// The highest lease that has had this intent.
    pub lease: u64,
    /// The attempt to confirm that held it.
    pub nonce: String,
    /// Its state.
    pub state: IntentState,
    /// When the reconciler handles it, Unix ms; `None` once nothing is left to do.
    pub due_ms: Option<i64>,
    /// The amount refunded by the provider, minor units; [`Intent::movements`] say when and by whom.
    pub refunded: i64,
    /// The refund's progress, if it did not succeed at once.
    pub refund: Option<RefundProgress>,
    /// The money that was returned, in the order in which it was recorded.
    pub movements: Vec<Movement>,
    /// Refunds of a sold booking that were made outside and may still fail, minor units.
    pub outside_pending: i64,
    /// Raised by one at every change.
    pub rev: u64,
}

/// What a process may do with an existing intent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimDecision {
    /// It is this process' open intent: charge its attempt.
    Mine,
    /// Write this; then charge its attempt, which was never sent.
    Next(Box<Intent>),
    /// Write this; then query the provider: its attempt may have been sent.
    TakeOver(Box<Intent>),
    /// A newer lease owns it: do not charge.
    Stale,
    /// It is closed: do not charge.
    Closed,
}

impl Intent {
    /// The first attempt, under the lease that `booking` shows.
    pub fn first(booking: &Booking, payment: &str, state: IntentState, due_ms: i64) -> Self {
        Intent {
            booking: booking.id,
            user: booking.user.clone(),
            seats: booking.seats.clone(),
            amount: booking.amount,
            currency: booking.currency.clone(),
            created_ms: booking.created_ms,
            deadline_ms: booking.deadline_ms,
            idempotency: booking.idempotency.clone(),
            fingerprint: booking.fingerprint.clone(),
            trace: booking.trace.clone(),
            refund_trace: String::new(),
            payment: payment.to_owned(),
            attempt: 1,
            lease: booking.lease,
            nonce: booking.nonce.clone(),
            state,
            due_ms: Some(due_ms),
            refunded: 0,
            refund: None,
            movements: Vec::new(),
            outside_pending: 0,
            rev: 1,
        }
    }

    /// What a confirmation under this lease may do.
    pub fn claim(&self, booking: &Booking, payment: &str, due_ms: i64) -> ClaimDecision {
        if !self.state.may_move() {
            return ClaimDecision::Closed;
        }
        let mine = self.lease == booking.lease && self.nonce == booking.nonce;
        if !mine && self.lease >= booking.lease {
            return ClaimDecision::Stale;
        }
        // The first object stays: it may be paid already, and a provider that has forgotten the
        // idempotency key of its creation has made a second one.
        let payment = if self.payment.is_empty() { payment } else { &self.payment };
        let next = Intent {
            payment: payment.to_owned(),
            lease: booking.lease,
            nonce: booking.nonce.clone(),
            deadline_ms: booking.deadline_ms,
            state: IntentState::Open,
            due_ms: Some(due_ms),
            ..self.changed()
        };
        match self.state {
            IntentState::Open if mine => ClaimDecision::Mine,
            IntentState::Open => ClaimDecision::TakeOver(Box::new(next)),
            _ => ClaimDecision::Next(Box::new(Intent { attempt: self.attempt + 1, ..next })),
        }
    }

    /// Records that its attempt ended without money.
    pub fn idle(&self) -> Self {
        Intent { state: IntentState::Idle, ..self.changed() }
    }

    /// Closes it: nothing is left to do.
    pub fn closed(&self, state: IntentState, refunded: i64) -> Self {
        let refund = self.refund_done();
        Intent { state, refunded, refund, due_ms: None, ..self.changed() }
    }

    /// Schedules the next reconciliation.
    pub fn due(&self, due_ms: i64) -> Self {
        Intent { due_ms: Some(due_ms), ..self.changed() }
    }

    /// Excludes processes with an older lease from opening it.
    pub fn fenced(&self, lease: u64, nonce: &str) -> Self {
        Intent { lease: lease.max(self.lease), nonce: nonce.to_owned(), ..self.changed() }
    }

    fn changed(&self) -> Self {
        Intent { rev: self.rev + 1, ..self.clone() }
    }

    /// The booking according to the intent, paid at `paid_ms` (0: not).
    pub fn as_booking(&self, status: Status, paid_ms: i64) -> Booking {
        Booking {
            id: self.booking,
            status,
            version: 1,
            user: self.user.clone(),
            seats: self.seats.clone(),
            amount: self.amount,
            currency: self.currency.clone(),
            created_ms: self.created_ms,
            deadline_ms: self.deadline_ms,
            nonce: self.nonce.clone(),
            lease: self.lease,
            lease_until_ms: 0,
            payment: self.payment.clone(),
            paid_ms,
            confirmed_ms: 0,
            ended_ms: 0,
            idempotency: self.idempotency.clone(),
            fingerprint: self.fingerprint.clone(),
            trace: self.trace.clone(),
        }
    }
}

#[cfg(test)]
impl Intent {
    /// An open intent, for unit tests.
    pub fn of_ann() -> Self {
        Intent {
            booking: BookingId::new(crate::domain::EventId(1), 1, 1),
            user: "ann".parse().unwrap(),
            seats: vec![SeatId(1)],
            amount: 100,
            currency: "EUR".into(),
            created_ms: 1,
            deadline_ms: 2,
            idempotency: "i".into(),
            fingerprint: "f".into(),
            trace: String::new(),
            refund_trace: String::new(),
            payment: String::new(),
            attempt: 1,
            lease: 1,
            nonce: "n".into(),
            state: IntentState::Open,
            due_ms: None,
            refunded: 0,
            refund: None,
            movements: Vec::new(),
            outside_pending: 0,
            rev: 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leased(lease: u64, nonce: &str) -> Booking {
        let blank = Intent { lease, nonce: nonce.into(), ..Intent::of_ann() };
        blank.as_booking(Status::Confirming, 0)
    }

    fn open(lease: u64, nonce: &str) -> Intent {
        Intent::first(&leased(lease, nonce), "p", IntentState::Open, 60)
    }

    #[test]
    fn open_attempt_is_repeated_and_never_skipped() {
        let existing = open(1, "a");
        assert_eq!(existing.claim(&leased(1, "a"), "p", 61), ClaimDecision::Mine);
        let ClaimDecision::TakeOver(taken) = existing.claim(&leased(2, "b"), "p", 61) else {
            panic!()
        };
        assert_eq!((taken.attempt, taken.lease, taken.nonce.as_str()), (1, 2, "b"));
        assert_eq!((taken.rev, taken.due_ms), (2, Some(61)));
    }

    #[test]
    fn booking_keeps_its_first_object() {
        let ClaimDecision::TakeOver(taken) = open(1, "a").claim(&leased(2, "b"), "q", 61) else {
            panic!()
        };
        assert_eq!(taken.payment, "p");
        let ClaimDecision::Next(next) = open(1, "a").idle().claim(&leased(2, "b"), "q", 61) else {
            panic!()
        };
        assert_eq!(next.payment, "p");
        let abandoned = Intent::first(&leased(1, "a"), "", IntentState::Idle, 60);
        let ClaimDecision::Next(next) = abandoned.claim(&leased(2, "b"), "q", 61) else { panic!() };
        assert_eq!(next.payment, "q", "it had none");
    }

    #[test]
    fn attempt_rises_after_it_ended() {
        for booking in [leased(1, "a"), leased(2, "b")] {
            let ClaimDecision::Next(next) = open(1, "a").idle().claim(&booking, "p", 61) else {
                panic!()
            };
            assert_eq!((next.attempt, next.state), (2, IntentState::Open));
        }
    }

    #[test]
    fn superseded_lease_does_not_charge() {
        for existing in [open(2, "b"), open(2, "b").idle(), open(1, "a").idle().fenced(2, "r")] {
            assert_eq!(existing.claim(&leased(1, "a"), "p", 61), ClaimDecision::Stale);
        }
        // A lease number that Redis lost and gave out again.
        assert_eq!(open(1, "a").claim(&leased(1, "b"), "p", 61), ClaimDecision::Stale);
    }

    #[test]
    fn closed_intent_stays_closed() {
        for state in [IntentState::Cancelled, IntentState::Sold, IntentState::Refunded] {
            let closed = open(1, "a").closed(state, 0);
            assert_eq!(closed.claim(&leased(9, "z"), "p", 61), ClaimDecision::Closed);
            assert_eq!(closed.due_ms, None);
        }
    }

    #[test]
    fn names_are_what_is_stored() {
        for state in [
            IntentState::Open,
            IntentState::Idle,
            IntentState::Cancelled,
            IntentState::Sold,
            IntentState::Refunded,
        ] {
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
    }
}
