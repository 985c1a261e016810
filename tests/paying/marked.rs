//! Refunds that failed and were returned by another way: recorded, and never sent again.

use futures_util::future::join_all;
use holdfast::domain::{BookingId, IntentState, RefundCounts};
use holdfast::sale::{MarkPaid, MarkedPaid, ReconcileResult, SaleError};

use super::SETTLED;
use super::refunds::{PRICE, Stage, is_refunding};
use crate::on_one_redis;
use crate::support::eventually;

/// Concurrent reconcilers, and rounds of them.
const AT_ONCE: usize = 6;
const ROUNDS: usize = 8;
/// Long after everything, ms.
const FAR_MS: i64 = i64::MAX / 4;

impl Stage {
    async fn marked(&self, id: BookingId, reference: &str) -> Result<MarkedPaid, SaleError> {
        let order =
            MarkPaid { booking: id, reference: reference.into(), by: "ctl:ann@host".into() };
        self.payments.mark_paid(&order).await
    }
}

fn is_refused(marked: &Result<MarkedPaid, SaleError>, why: &str) -> bool {
    matches!(marked, Err(SaleError::Invalid(reason)) if reason.contains(why))
}

on_one_redis!(failed_refund_is_marked_as_paid_and_never_sent_again, async |flavor| {
    let stage = Stage::new(flavor).await;
    let id = stage.to_be_refunded().await;
    let early = stage.marked(id, "SEPA 1").await;
    assert!(is_refused(&early, "has decided nothing"), "{early:?}");
    stage.server.next_refunds(&["pending"]);
    assert!(is_refunding(&stage.look(id).await));
    let pending = stage.marked(id, "SEPA 1").await;
    assert!(is_refused(&pending, "on its way"), "{pending:?}");
    stage.server.settle_refund("re_1", "failed");
    // The provider shows no refund, but no attempt is recorded as failed: one may be sent.
    let unknown = stage.marked(id, "SEPA 1").await;
    assert!(is_refused(&unknown, "may still be sent"), "{unknown:?}");
    stage.server.refunds_are("failed");
    for _ in 0..5 {
        assert!(is_refunding(&stage.payments.reconcile_now(id).await.unwrap()));
    }
    let counts = stage.world.archive.refund_counts(0).await.unwrap();
    assert_eq!(counts, RefundCounts { failed: 1, ..RefundCounts::default() });

    // A worker has read the intent, and is suspended before it announces the next attempt.
    let read_before = stage.intent(id).await;
    let marked = stage.marked(id, "SEPA 1").await.unwrap();
    assert_eq!((marked.amount, marked.replayed), (PRICE, false));
    assert_eq!(marked.reconciled, ReconcileResult::Done(IntentState::Refunded));
    let late = read_before.refund_sending(FAR_MS, FAR_MS).expect("one has failed");
    assert!(!stage.world.archive.change_intent(&late).await.unwrap(), "it is too late");

    stage.server.refunds_are("succeeded");
    let sent = stage.server.refunds("pi_1").len();
    for _ in 0..3 {
        let again = stage.payments.reconcile_now(id).await.unwrap();
        assert_eq!(again, ReconcileResult::Done(IntentState::Refunded));
    }
    assert_eq!((stage.server.refunds("pi_1").len(), stage.given_back()), (sent, 0));
    let counts = stage.world.archive.refund_counts(0).await.unwrap();
    assert_eq!(counts, RefundCounts::default(), "the alarm has ended");
    let again = stage.marked(id, "SEPA 1").await.unwrap();
    assert_eq!((again.amount, again.replayed), (PRICE, true));
    let other = stage.marked(id, "SEPA 2").await;
    assert!(is_refused(&other, "nothing is missing"), "{other:?}");
    let closed = stage.intent(id).await;
    assert_eq!((closed.marked_paid(), closed.movements.len(), closed.due_ms), (PRICE, 1, None));
    assert_eq!(closed.movements[0].reference, "SEPA 1");
    assert_eq!(closed.movements[0].by, "ctl:ann@host");
    stage.world.stop().await;
});

on_one_redis!(only_the_missing_part_is_marked, async |flavor| {
    let stage = Stage::new(flavor).await;
    let id = stage.to_be_refunded().await;
    stage.server.refund_by_hand("pi_1", 30, "succeeded");
    stage.server.next_refunds(&["failed"]);
    assert!(is_refunding(&stage.look(id).await));
    // An attempt that is announced and has no answer may be under way.
    let announced = stage.intent(id).await.refund_sending(FAR_MS, FAR_MS).unwrap();
    assert!(stage.world.archive.change_intent(&announced).await.unwrap());
    let busy = stage.marked(id, "cash").await;
    assert!(is_refused(&busy, "may be under way"), "{busy:?}");
    stage.server.next_refunds(&["failed"]);
    assert!(is_refunding(&stage.payments.reconcile_now(id).await.unwrap()));
    let marked = stage.marked(id, "cash").await.unwrap();
    assert_eq!(marked.amount, PRICE - 30);
    let closed = stage.intent(id).await;
    assert_eq!((closed.refunded_at_provider(), closed.marked_paid()), (30, PRICE - 30));
    assert_eq!((closed.state, stage.given_back()), (IntentState::Refunded, 30));
    stage.world.stop().await;
});

on_one_redis!(money_goes_back_once_whoever_is_first, async |flavor| {
    let (mut by_provider, mut by_person) = (0, 0);
    for round in 0..ROUNDS {
        let stage = Stage::new(flavor).await;
        let id = stage.to_be_refunded().await;
        stage.server.next_refunds(&["failed"]);
        assert!(is_refunding(&stage.look(id).await));
        let looks = (0..AT_ONCE).map(|_| stage.payments.reconcile_now(id));
        let mark = async {
            tokio::time::sleep(std::time::Duration::from_millis(round as u64 * 4)).await;
            stage.marked(id, "SEPA 1").await
        };
        let (_, marked) = tokio::join!(join_all(looks), mark);
        // What is left is settled.
        eventually("it is settled", SETTLED, async || {
            matches!(stage.payments.reconcile_now(id).await, Ok(ReconcileResult::Done(_)))
        })
        .await;
        let intent = stage.intent(id).await;
        assert_eq!(stage.given_back() + intent.marked_paid(), PRICE, "{marked:?} {intent:?}");
        assert_eq!(intent.refunded_at_provider(), stage.given_back());
        assert_eq!(marked.is_ok(), intent.marked_paid() == PRICE, "{marked:?}");
        match intent.marked_paid() {
            0 => by_provider += 1,
            _ => by_person += 1,
        }
        stage.world.stop().await;
    }
    assert_eq!(by_provider + by_person, ROUNDS);
});
