//! Which states differ, and which do not.

use super::*;
use crate::domain::Booking;

/// Long after every due time.
const NOW_MS: i64 = 1_000_000;

fn facts(
    state: IntentState,
    outcome: Option<Outcome>,
    paid: Option<i64>,
    redis: Option<Status>,
) -> PaymentFacts {
    let mut intent = Intent { payment: "p".into(), state, ..Intent::of_ann() };
    if state.may_move() {
        intent.due_ms = Some(9);
    }
    let booking: Booking = intent.as_booking(Status::Confirmed, 1);
    let archived = ArchivedBooking { booking, outcome, generation: 1, cancel_unsettled_ms: None };
    let payment = paid.map(|refunded| Payment {
        id: "p".into(),
        state: PaymentState::Paid,
        amount: 100,
        currency: "EUR".into(),
        refunded,
        refund_pending: 0,
        booking: None,
    });
    PaymentFacts { intent: Some(intent), archived: Some(archived), payment, redis }
}

#[test]
fn agreeing_states_are_no_problem() {
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
fn differing_states_are_problems() {
    use IntentState::*;
    let cases = [
        (facts(Sold, Some(Outcome::Sold), None, None), "sold, and not paid"),
        (facts(Sold, Some(Outcome::Sold), Some(1), None), "sold, and 0.01 EUR given back"),
        (facts(Sold, Some(Outcome::Cancelled), Some(40), None), "0.60 EUR of 1.00 EUR is to be"),
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
        let found = problem(&case, NOW_MS).unwrap_or_default();
        assert!(found.contains(expected), "{found:?}, not {expected:?}");
    }
    let unknown = PaymentFacts { intent: None, ..facts(Sold, Some(Outcome::Sold), None, None) };
    assert!(problem(&unknown, NOW_MS).unwrap().contains("nothing is known of a payment"));
}

/// A cancelled booking with these refunded and pending amounts and this intent.
fn refunding(refunded: i64, pending: i64, intent: Intent) -> PaymentFacts {
    let plain =
        facts(IntentState::Sold, Some(Outcome::Cancelled), Some(refunded), Some(Status::Cancelled));
    let payment = plain.payment.map(|payment| Payment { refund_pending: pending, ..payment });
    PaymentFacts { intent: Some(intent), payment, ..plain }
}

#[test]
fn pending_refund_is_no_problem_until_overdue() {
    let begun = Intent { state: IntentState::Sold, ..Intent::of_ann() };
    let pending = begun.refund_pending(100, NOW_MS).unwrap();
    let polled = |now_ms| pending.due(now_ms);
    assert_eq!(problem(&refunding(0, 100, polled(NOW_MS)), NOW_MS), None);
    assert_eq!(problem(&refunding(40, 60, polled(NOW_MS)), NOW_MS), None);
    let late_ms = NOW_MS + REFUND_OVERDUE_MS + 1;
    let found = problem(&refunding(0, 100, polled(late_ms)), late_ms).unwrap();
    assert!(found.contains("1.00 EUR of 1.00 EUR is on its way back for 14 days"), "{found}");
}

#[test]
fn failed_refund_is_a_problem_with_reason_and_remedy() {
    let begun = Intent { state: IntentState::Sold, ..Intent::of_ann() };
    let mut failed = begun;
    for failures in 1..=5 {
        failed = failed.refund_failed(100, "closed account".into(), NOW_MS);
        let found = problem(&refunding(0, 0, failed.clone()), NOW_MS).unwrap();
        let expected = format!("its refund failed {failures} times (closed account)");
        assert!(found.contains(&expected), "{found}");
        assert_eq!(found.contains("--fix"), failures == 5, "{found}");
    }
    // It was refunded by hand at the provider, and no worker has seen it yet.
    assert_eq!(problem(&refunding(100, 0, failed), NOW_MS), None);
}
