//! What is a difference and what is not.

use super::*;
use crate::domain::Booking;

/// Long after whatever was due.
const NOW_MS: i64 = 1_000_000;

fn facts(
    state: IntentState,
    outcome: Option<Outcome>,
    paid: Option<i64>,
    redis: Option<Status>,
) -> Facts {
    let mut intent = Intent { payment: "p".into(), state, ..Intent::of_ann() };
    if state.may_move() {
        intent.due_ms = Some(9);
    }
    let booking: Booking = intent.as_booking(Status::Confirmed, 1);
    let archived = ArchivedBooking { booking, outcome, generation: 1, cancel_unsettled_ms: None };
    let payment = paid.map(|refunded| Payment {
        id: "p".into(),
        state: State::Paid,
        amount: 100,
        currency: "EUR".into(),
        refunded,
    });
    Facts { intent: Some(intent), archived: Some(archived), payment, redis }
}

#[test]
fn what_agrees_is_no_problem() {
    use IntentState::*;
    let cases = [
        facts(Sold, Some(Outcome::Sold), Some(0), Some(Status::Confirmed)),
        facts(Sold, Some(Outcome::Sold), Some(0), None),
        facts(Refunded, Some(Outcome::Refund), Some(100), Some(Status::Voided)),
        facts(Refunded, Some(Outcome::Cancelled), Some(100), Some(Status::Cancelled)),
        facts(Cancelled, None, None, Some(Status::Expired)),
        facts(Cancelled, None, None, None),
        facts(Open, None, None, Some(Status::Confirming)),
        facts(Idle, None, None, Some(Status::Hold)),
    ];
    for case in cases {
        assert_eq!(problem(&case, NOW_MS), None);
    }
}

#[test]
fn what_differs_is_told() {
    use IntentState::*;
    let cases = [
        (facts(Sold, Some(Outcome::Sold), None, None), "sold, and not paid"),
        (facts(Sold, Some(Outcome::Sold), Some(1), None), "sold, and 1 given back"),
        (facts(Sold, Some(Outcome::Cancelled), Some(40), None), "60 of 100 is to be"),
        (facts(Cancelled, None, Some(0), Some(Status::Expired)), "neither sold nor given back"),
        (facts(Open, None, Some(0), Some(Status::Committed)), "neither sold nor given back"),
        (facts(Open, Some(Outcome::Sold), Some(0), None), "to be closed as sold"),
        (facts(Idle, None, None, Some(Status::Expired)), "to be closed as cancelled"),
        (
            facts(Sold, Some(Outcome::Sold), Some(0), Some(Status::Confirming)),
            "CONFIRMING in Redis, CONFIRMED by the archive",
        ),
    ];
    for (case, expected) in cases {
        let told = problem(&case, NOW_MS).unwrap_or_default();
        assert!(told.contains(expected), "{told:?}, not {expected:?}");
    }
    let unknown = Facts { intent: None, ..facts(Sold, Some(Outcome::Sold), None, None) };
    assert!(problem(&unknown, NOW_MS).unwrap().contains("nothing is known of a payment"));
}
