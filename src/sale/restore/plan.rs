//! What becomes of a booking after a loss, by what the archive and its intent say: pure.

use std::collections::HashMap;

use crate::archive::ArchivedBooking;
use crate::domain::{Booking, BookingId, Intent, IntentState, Status};

/// What is wanted of a booking that the archive has not decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// It is paid, and the archive knows: its sale is judged, as the worker would have.
    Judged,
    /// Money may have moved or may move: it keeps its seats until the provider has told.
    Confirming,
    /// It keeps its seats until its deadline, if they are free.
    Hold,
    /// It has ended.
    Nothing,
}

/// Says what is wanted of an undecided booking. `owns_claim`: the archive has it as the owner of a
/// seat.
pub(super) fn wanted(
    archived: Option<&ArchivedBooking>,
    intent: Option<&Intent>,
    owns_claim: bool,
) -> Wanted {
    let is_open = intent.is_some_and(|intent| intent.state == IntentState::Open);
    let Some(ArchivedBooking { booking, .. }) = archived else {
        return match intent.map(|intent| intent.state) {
            Some(IntentState::Open) => Wanted::Confirming,
            Some(IntentState::Idle) => Wanted::Hold,
            _ => Wanted::Nothing,
        };
    };
    // A lease above the intent's: a payment began whose intent was not written, or not yet.
    let is_begun = booking.status == Status::Confirming
        && intent.is_none_or(|intent| booking.lease > intent.lease);
    match booking.status {
        Status::Committed => Wanted::Judged,
        Status::Hold | Status::Confirming if is_open || owns_claim || is_begun => {
            Wanted::Confirming
        }
        Status::Hold | Status::Confirming => Wanted::Hold,
        Status::Confirmed | Status::Voided | Status::Cancelled | Status::Expired => Wanted::Nothing,
    }
}

/// The booking as it is to be written: what the archive knows of it, or its intent; the highest
/// lease that either knows; `status` is what is wanted.
pub(super) fn facts(
    archived: Option<&ArchivedBooking>,
    intent: Option<&Intent>,
    status: Status,
) -> Option<Booking> {
    let mut booking = match (archived, intent) {
        (Some(archived), _) => archived.booking.clone(),
        (None, Some(intent)) => of_intent(intent),
        (None, None) => return None,
    };
    booking.status = status;
    booking.lease = booking.lease.max(intent.map_or(0, |intent| intent.lease));
    Some(booking)
}

/// A booking that the archive has no word of.
fn of_intent(intent: &Intent) -> Booking {
    let intent = intent.clone();
    Booking {
        id: intent.booking,
        status: Status::Hold,
        version: 0,
        user: intent.user,
        seats: intent.seats,
        amount: intent.amount,
        currency: intent.currency,
        created_ms: intent.created_ms,
        deadline_ms: intent.deadline_ms,
        nonce: String::new(),
        lease: intent.lease,
        lease_until_ms: 0,
        payment: String::new(),
        paid_ms: 0,
        confirmed_ms: 0,
        ended_ms: 0,
        idempotency: intent.idempotency,
        fingerprint: intent.fingerprint,
        trace: intent.trace,
    }
}

/// Whether the archive has a version of this booking that Redis, read after it, lacks: of a branch
/// of its life that was lost.
pub(super) fn has_lost_versions(
    archived: &ArchivedBooking,
    here: &Booking,
    generation: u64,
) -> bool {
    let there = &archived.booking;
    let differs = there.version > here.version
        || (there.version == here.version && there.status != here.status);
    archived.outcome.is_none() && archived.generation < generation && differs
}

/// The intents of an event that are not closed by a sale or a refund.
pub(super) type Intents = HashMap<BookingId, Intent>;

/// Whether an intent says something about what becomes of its booking.
pub(super) fn is_telling(intent: &Intent) -> bool {
    !matches!(intent.state, IntentState::Sold | IntentState::Refunded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archived(status: Status, lease: u64, version: u64) -> ArchivedBooking {
        let booking =
            Booking { status, lease, version, ..of_intent(&intent(IntentState::Idle, lease)) };
        ArchivedBooking { booking, outcome: None, generation: 1, cancel_unsettled_ms: None }
    }

    fn intent(state: IntentState, lease: u64) -> Intent {
        Intent { lease, state, amount: 1, nonce: String::new(), ..Intent::of_ann() }
    }

    #[test]
    fn money_that_may_move_keeps_the_seats() {
        use IntentState::{Cancelled, Idle, Open};
        let cases = [
            (Status::Hold, 0, None, false, Wanted::Hold),
            (Status::Hold, 0, None, true, Wanted::Confirming),
            (Status::Hold, 0, Some((Open, 1)), false, Wanted::Confirming),
            (Status::Hold, 1, Some((Idle, 1)), false, Wanted::Hold),
            (Status::Confirming, 1, None, false, Wanted::Confirming),
            (Status::Confirming, 1, Some((Open, 1)), false, Wanted::Confirming),
            // Declined: what is missing is the entry that says so.
            (Status::Confirming, 1, Some((Idle, 1)), false, Wanted::Hold),
            (Status::Confirming, 1, Some((Cancelled, 1)), false, Wanted::Hold),
            // The next attempt had begun.
            (Status::Confirming, 2, Some((Idle, 1)), false, Wanted::Confirming),
            (Status::Committed, 1, Some((Open, 1)), true, Wanted::Judged),
            (Status::Expired, 0, Some((Open, 1)), false, Wanted::Nothing),
        ];
        for (status, lease, known, owns_claim, expected) in cases {
            let intent = known.map(|(state, lease)| intent(state, lease));
            let archived = archived(status, lease, 3);
            let got = wanted(Some(&archived), intent.as_ref(), owns_claim);
            assert_eq!(got, expected, "{status:?} {lease} {known:?} {owns_claim}");
        }
    }

    #[test]
    fn an_intent_alone_is_enough() {
        let open = intent(IntentState::Open, 4);
        assert_eq!(wanted(None, Some(&open), false), Wanted::Confirming);
        let booking = facts(None, Some(&open), Status::Confirming).unwrap();
        assert_eq!((booking.lease, booking.version, booking.seats.len()), (4, 0, 1));
        let idle = intent(IntentState::Idle, 1);
        assert_eq!(wanted(None, Some(&idle), false), Wanted::Hold);
        let refunded = intent(IntentState::Refunded, 1);
        assert_eq!(wanted(None, Some(&refunded), false), Wanted::Nothing);
        assert_eq!(facts(None, None, Status::Hold), None);
    }

    #[test]
    fn the_highest_lease_is_kept() {
        let (low, high) = (archived(Status::Confirming, 1, 2), intent(IntentState::Open, 3));
        assert_eq!(facts(Some(&low), Some(&high), Status::Confirming).unwrap().lease, 3);
        let high = archived(Status::Confirming, 5, 2);
        let low = intent(IntentState::Open, 3);
        assert_eq!(facts(Some(&high), Some(&low), Status::Confirming).unwrap().lease, 5);
    }

    #[test]
    fn a_branch_that_was_lost_is_seen_by_its_versions() {
        let there = archived(Status::Cancelled, 0, 2);
        let here = |status, version| archived(status, 0, version).booking;
        assert!(has_lost_versions(&there, &here(Status::Hold, 1), 2));
        assert!(has_lost_versions(&there, &here(Status::Expired, 2), 2));
        assert!(!has_lost_versions(&there, &here(Status::Cancelled, 2), 2));
        assert!(!has_lost_versions(&there, &here(Status::Expired, 3), 2));
        assert!(!has_lost_versions(&there, &here(Status::Hold, 1), 1), "it is of this branch");
    }
}
