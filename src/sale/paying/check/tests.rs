//! Which states differ, and which do not.

use super::compare::{DifferenceKind, problem as difference};
use super::*;
use crate::domain::refund::OVERDUE_MS as REFUND_OVERDUE_MS;
use crate::domain::{Booking, IntentState, SeenRefunds};

/// The difference in words.
fn problem(facts: &PaymentFacts, now_ms: i64) -> Option<String> {
    difference(facts, now_ms).map(|difference| difference.problem)
}

fn kind(facts: &PaymentFacts) -> Option<DifferenceKind> {
    difference(facts, NOW_MS).map(|difference| difference.kind)
}

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
    if state == IntentState::Refunded {
        intent.refunded = 100;
    }
    let booking: Booking = intent.as_booking(Status::Confirmed, 1);
    let archived = ArchivedBooking { booking, outcome, generation: 1, cancel_unsettled_ms: None };
    let payment = paid.map(|refunded| Payment {
        id: "p".into(),
        state: PaymentState::Paid,
        amount: 100,
        currency: "EUR".into(),
        refunded,
        refunded_outside: 0,
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
        (
            facts(Sold, Some(Outcome::Sold), Some(1), None),
            "0.01 EUR given back by the provider, 0.00 EUR of it outside",
        ),
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

/// A sold booking of which so much was refunded in the dashboard, and of which so much was charged.
fn sold_with(charged: i64, outside: i64, intent: Intent) -> PaymentFacts {
    let plain = facts(IntentState::Sold, Some(Outcome::Sold), Some(outside), None);
    let payment = plain.payment.map(|payment| Payment {
        amount: charged,
        refunded_outside: outside,
        ..payment
    });
    PaymentFacts { intent: Some(intent), payment, ..plain }
}

#[test]
fn recorded_refund_of_a_sold_booking_is_no_problem() {
    let sold = Intent { payment: "p".into(), ..Intent::of_ann() }.closed(IntentState::Sold, 0);
    let seen = SeenRefunds { refunded: 40, outside: 40, pending: 0 };
    let recorded = sold.sold_with(seen, NOW_MS).unwrap();
    assert_eq!(kind(&sold_with(100, 40, recorded.clone())), None);
    for (charged, outside, intent, expected) in [
        (100, 40, &sold, DifferenceKind::RefundUnrecorded),
        (100, 50, &recorded, DifferenceKind::RefundUnrecorded),
        // The bank sent it back.
        (100, 0, &recorded, DifferenceKind::RefundUnrecorded),
        (150, 0, &sold, DifferenceKind::ChargeDiffers),
        (90, 40, &recorded, DifferenceKind::ChargeDiffers),
        // What was charged too much went back.
        (140, 40, &sold, DifferenceKind::RefundUnrecorded),
    ] {
        let found = kind(&sold_with(charged, outside, intent.clone()));
        assert_eq!(found, Some(expected), "{charged} {outside}");
    }
}

#[test]
fn marked_money_counts_once() {
    let begun = Intent { state: IntentState::Sold, ..Intent::of_ann() };
    let failed = begun.refund_failed(100, "closed account".into(), NOW_MS);
    let marked = failed.mark_paid(100, "SEPA 1", "ann", NOW_MS).closed(IntentState::Refunded, 0);
    assert_eq!(kind(&refunding(0, 0, marked.clone())), None);
    let twice = kind(&refunding(100, 0, marked.clone()));
    assert_eq!(twice, Some(DifferenceKind::RefundedTwice));
    // The provider does not know the payment.
    let mut unknown = refunding(0, 0, Intent { payment: "p".into(), ..marked });
    unknown.payment = None;
    assert_eq!(kind(&unknown), None);
    unknown.intent = Some(Intent { payment: "p".into(), ..failed });
    assert_eq!(kind(&unknown), Some(DifferenceKind::PaymentUnknown));
}
