//! Decides how a booking is restored after a loss, from its archived state and its intent. Pure.

use std::collections::HashMap;

use crate::archive::ArchivedBooking;
use crate::domain::{Booking, BookingId, Intent, IntentState, Status};

/// How an undecided booking is restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placement {
    /// It is paid in the archive: its sale is decided, as the worker would have done.
    Decide,
    /// Money may have moved or may still move: it keeps its seats until the provider's answer is known.
    Confirming,
    /// It keeps its seats until its deadline, if they are free.
    Hold,
    /// It has ended and is not restored.
    None,
}

/// Decides how an undecided booking is restored. `owns_claim`: it owns a claim in the archive.
pub(super) fn placement(
    archived: Option<&ArchivedBooking>,
    intent: Option<&Intent>,
    owns_claim: bool,
) -> Placement {
    let is_open = intent.is_some_and(|intent| intent.state == IntentState::Open);
    let Some(ArchivedBooking { booking, .. }) = archived else {
        return match intent.map(|intent| intent.state) {
            Some(IntentState::Open) => Placement::Confirming,
            Some(IntentState::Idle) => Placement::Hold,
            _ => Placement::None,
        };
    };
    // A lease above the intent's: a payment was started whose intent is not written (yet).
    let is_begun = booking.status == Status::Confirming
        && intent.is_none_or(|intent| booking.lease > intent.lease);
    match booking.status {
        Status::Committed => Placement::Decide,
        Status::Hold | Status::Confirming if is_open || owns_claim || is_begun => {
            Placement::Confirming
        }
        Status::Hold | Status::Confirming => Placement::Hold,
        Status::Confirmed | Status::Voided | Status::Cancelled | Status::Expired => Placement::None,
    }
}

/// The booking to write with this status, from the archive or else from its intent, with the higher of
/// their leases.
pub(super) fn restored_booking(
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

/// A booking that is not in the archive, from its intent.
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

/// Whether the archive has a version of this booking that Redis, read after it, lacks: that version was
/// lost.
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

/// Whether an intent matters for restoring its booking.
pub(super) fn is_relevant(intent: &Intent) -> bool {
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
    fn booking_whose_money_may_move_keeps_its_seats() {
        use IntentState::{Cancelled, Idle, Open};
        let cases = [
            (Status::Hold, 0, None, false, Placement::Hold),
            (Status::Hold, 0, None, true, Placement::Confirming),
            (Status::Hold, 0, Some((Open, 1)), false, Placement::Confirming),
            (Status::Hold, 1, Some((Idle, 1)), false, Placement::Hold),
            (Status::Confirming, 1, None, false, Placement::Confirming),
            (Status::Confirming, 1, Some((Open, 1)), false, Placement::Confirming),
            // Declined: only the log entry of the decline is missing.
            (Status::Confirming, 1, Some((Idle, 1)), false, Placement::Hold),
            (Status::Confirming, 1, Some((Cancelled, 1)), false, Placement::Hold),
            // The next attempt had started.
            (Status::Confirming, 2, Some((Idle, 1)), false, Placement::Confirming),
            (Status::Committed, 1, Some((Open, 1)), true, Placement::Decide),
            (Status::Expired, 0, Some((Open, 1)), false, Placement::None),
        ];
        for (status, lease, known, owns_claim, expected) in cases {
            let intent = known.map(|(state, lease)| intent(state, lease));
            let archived = archived(status, lease, 3);
            let got = placement(Some(&archived), intent.as_ref(), owns_claim);
            assert_eq!(got, expected, "{status:?} {lease} {known:?} {owns_claim}");
        }
    }

    #[test]
    fn booking_known_only_by_its_intent_is_restored() {
        let open = intent(IntentState::Open, 4);
        assert_eq!(placement(None, Some(&open), false), Placement::Confirming);
        let booking = restored_booking(None, Some(&open), Status::Confirming).unwrap();
        assert_eq!((booking.lease, booking.version, booking.seats.len()), (4, 0, 1));
        let idle = intent(IntentState::Idle, 1);
        assert_eq!(placement(None, Some(&idle), false), Placement::Hold);
        let refunded = intent(IntentState::Refunded, 1);
        assert_eq!(placement(None, Some(&refunded), false), Placement::None);
        assert_eq!(restored_booking(None, None, Status::Hold), None);
    }

    #[test]
    fn highest_lease_is_kept() {
        let (low, high) = (archived(Status::Confirming, 1, 2), intent(IntentState::Open, 3));
        let lease = |archived, intent| {
            restored_booking(Some(archived), Some(intent), Status::Confirming).unwrap().lease
        };
        assert_eq!(lease(&low, &high), 3);
        let high = archived(Status::Confirming, 5, 2);
        let low = intent(IntentState::Open, 3);
        assert_eq!(lease(&high, &low), 5);
    }

    #[test]
    fn lost_versions_are_detected() {
        let there = archived(Status::Cancelled, 0, 2);
        let here = |status, version| archived(status, 0, version).booking;
        assert!(has_lost_versions(&there, &here(Status::Hold, 1), 2));
        assert!(has_lost_versions(&there, &here(Status::Expired, 2), 2));
        assert!(!has_lost_versions(&there, &here(Status::Cancelled, 2), 2));
        assert!(!has_lost_versions(&there, &here(Status::Expired, 3), 2));
        assert!(!has_lost_versions(&there, &here(Status::Hold, 1), 1), "the same generation");
    }
}
