//! A payment intent: what the archive knows of a booking's money before any moves. Pure rules; the
//! archive changes an intent only by compare-and-set on its `rev`, so of several processes that
//! follow these rules one wins each step.
//!
//! ```text
//!  none ──► open(1) ──► idle(1) ──► open(2) ──► …            charged · declined · charged again
//!    └────► idle(1)      (abandoned: the first attempt was never sent)
//!  open, idle ──► cancelled     the provider has cancelled the object for good
//!  open, idle ──► sold          the archive's outcome is `sold` (the money stays)
//!  any ────────► refunded       outcome `refund` or `cancelled`, and the money went back
//! ```
//!
//! How the money goes back, and what happens where that fails: [`super::refund`].
//!
//! Promises, with the provider's own (an object is paid at most once, never after its cancel):
//!
//! * Who charges has written `open` under its own lease before, and nobody has since.
//! * The attempt rises only after `idle`, that is: after a recorded decline, or where the attempt was
//!   never sent. So an attempt of unknown outcome is only ever repeated, under its own key.
//! * A process whose lease was overtaken cannot open: [`Intent::claim`] answers `Stale`.

use serde::{Deserialize, Serialize};

use super::booking::{Booking, Status};
use super::ids::{BookingId, SeatId, UserId};
use super::refund::RefundProgress;

/// Where an intent stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IntentState {
    /// Its attempt may be charged at any time, or was.
    Open,
    /// Its attempt is over without money.
    Idle,
    /// The payment object is cancelled for good.
    Cancelled,
    /// The sale stands.
    Sold,
    /// The money went back, or none had moved.
    Refunded,
}

impl IntentState {
    /// The word in the archive and in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            IntentState::Open => "open",
            IntentState::Idle => "idle",
            IntentState::Cancelled => "cancelled",
            IntentState::Sold => "sold",
            IntentState::Refunded => "refunded",
        }
    }

    /// Whether money may still move because of it.
    pub fn may_move(self) -> bool {
        matches!(self, IntentState::Open | IntentState::Idle)
    }
}

/// The intent of one booking, with all that is needed to write the booking anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// Whose it is.
    pub booking: BookingId,
    /// The booking's owner.
    pub user: UserId,
    /// Its seats, ascending.
    pub seats: Vec<SeatId>,
    /// What is to be paid, minor units.
    pub amount: i64,
    /// ISO 4217 code.
    pub currency: String,
    /// When the booking was made, Unix ms.
    pub created_ms: i64,
    /// When its hold lapses, Unix ms.
    pub deadline_ms: i64,
    /// Digest that names its idempotency record.
    pub idempotency: String,
    /// Fingerprint of the request that made it.
    pub fingerprint: String,
    /// Trace context of the request that made it.
    pub trace: String,
    /// The provider's payment object; empty where none is known.
    pub payment: String,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// The highest lease that has had this intent.
    pub lease: u64,
    /// The attempt to confirm that held it.
    pub nonce: String,
    /// Where it stands.
    pub state: IntentState,
    /// When the reconciler looks at it, Unix ms; `None` once there is nothing left to do.
    pub due_ms: Option<i64>,
    /// What was given back, minor units.
    pub refunded: i64,
    /// How the giving back goes, where it did not succeed at once.
    pub refund: Option<RefundProgress>,
    /// Raised by one at every change.
    pub rev: u64,
}

/// What a process may do with an intent that it finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It is its own, open: charge its attempt.
    Mine,
    /// Write this; then charge its attempt, which nobody has sent before.
    Next(Box<Intent>),
    /// Write this; then ask the provider first: its attempt may have been sent.
    TakeOver(Box<Intent>),
    /// Somebody with a newer lease has it: do not charge.
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
            payment: payment.to_owned(),
            attempt: 1,
            lease: booking.lease,
            nonce: booking.nonce.clone(),
            state,
            due_ms: Some(due_ms),
            refunded: 0,
            refund: None,
            rev: 1,
        }
    }

    /// What a confirmation under this lease may do.
    pub fn claim(&self, booking: &Booking, payment: &str, due_ms: i64) -> Claim {
        if !self.state.may_move() {
            return Claim::Closed;
        }
        let mine = self.lease == booking.lease && self.nonce == booking.nonce;
        if !mine && self.lease >= booking.lease {
            return Claim::Stale;
        }
        // The object that was written first stays: it may be paid already, and a provider that
        // forgot the key under which it was created has made a second one.
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
            IntentState::Open if mine => Claim::Mine,
            IntentState::Open => Claim::TakeOver(Box::new(next)),
            _ => Claim::Next(Box::new(Intent { attempt: self.attempt + 1, ..next })),
        }
    }

    /// Its attempt is over without money.
    pub fn idle(&self) -> Self {
        Intent { state: IntentState::Idle, ..self.changed() }
    }

    /// Closed: there is nothing left to do.
    pub fn closed(&self, state: IntentState, refunded: i64) -> Self {
        let refund = self.refund_done();
        Intent { state, refunded, refund, due_ms: None, ..self.changed() }
    }

    /// Looked at again at this time.
    pub fn due(&self, due_ms: i64) -> Self {
        Intent { due_ms: Some(due_ms), ..self.changed() }
    }

    /// No process with an older lease can open it from now on.
    pub fn fenced(&self, lease: u64, nonce: &str) -> Self {
        Intent { lease: lease.max(self.lease), nonce: nonce.to_owned(), ..self.changed() }
    }

    pub(super) fn changed(&self) -> Self {
        Intent { rev: self.rev + 1, ..self.clone() }
    }

    /// The booking as the intent knows it, paid at `paid_ms` (0: not).
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
    /// An open one, for unit tests.
    pub fn of_ann() -> Self {
        Intent {
            booking: BookingId::new(super::ids::EventId(1), 1, 1),
            user: "ann".parse().unwrap(),
            seats: vec![SeatId(1)],
            amount: 100,
            currency: "EUR".into(),
            created_ms: 1,
            deadline_ms: 2,
            idempotency: "i".into(),
            fingerprint: "f".into(),
            trace: String::new(),
            payment: String::new(),
            attempt: 1,
            lease: 1,
            nonce: "n".into(),
            state: IntentState::Open,
            due_ms: None,
            refunded: 0,
            refund: None,
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
    fn an_open_attempt_is_repeated_and_never_passed_over() {
        let standing = open(1, "a");
        assert_eq!(standing.claim(&leased(1, "a"), "p", 61), Claim::Mine);
        let Claim::TakeOver(taken) = standing.claim(&leased(2, "b"), "p", 61) else { panic!() };
        assert_eq!((taken.attempt, taken.lease, taken.nonce.as_str()), (1, 2, "b"));
        assert_eq!((taken.rev, taken.due_ms), (2, Some(61)));
    }

    #[test]
    fn a_booking_keeps_its_first_object() {
        let Claim::TakeOver(taken) = open(1, "a").claim(&leased(2, "b"), "q", 61) else { panic!() };
        assert_eq!(taken.payment, "p");
        let Claim::Next(next) = open(1, "a").idle().claim(&leased(2, "b"), "q", 61) else {
            panic!()
        };
        assert_eq!(next.payment, "p");
        let abandoned = Intent::first(&leased(1, "a"), "", IntentState::Idle, 60);
        let Claim::Next(next) = abandoned.claim(&leased(2, "b"), "q", 61) else { panic!() };
        assert_eq!(next.payment, "q", "it had none");
    }

    #[test]
    fn the_attempt_rises_after_it_is_over() {
        for booking in [leased(1, "a"), leased(2, "b")] {
            let Claim::Next(next) = open(1, "a").idle().claim(&booking, "p", 61) else { panic!() };
            assert_eq!((next.attempt, next.state), (2, IntentState::Open));
        }
    }

    #[test]
    fn who_was_overtaken_does_not_charge() {
        for standing in [open(2, "b"), open(2, "b").idle(), open(1, "a").idle().fenced(2, "r")] {
            assert_eq!(standing.claim(&leased(1, "a"), "p", 61), Claim::Stale);
        }
        // A lease number that Redis lost and gave out again.
        assert_eq!(open(1, "a").claim(&leased(1, "b"), "p", 61), Claim::Stale);
    }

    #[test]
    fn what_is_closed_stays_closed() {
        for state in [IntentState::Cancelled, IntentState::Sold, IntentState::Refunded] {
            let closed = open(1, "a").closed(state, 0);
            assert_eq!(closed.claim(&leased(9, "z"), "p", 61), Claim::Closed);
            assert_eq!(closed.due_ms, None);
        }
    }

    #[test]
    fn words_are_what_is_stored() {
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
