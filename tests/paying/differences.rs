//! Every kind of difference that `reconcile` reports: `--fix` ends it, or the report says why not.

use std::collections::BTreeMap;
use std::time::Duration;

use holdfast::domain::{BookingId, EventId, Intent, IntentState, RefundProgress};
use holdfast::sale::{CheckOptions, DifferenceKind, MarkPaid, PaymentsReport};
use mongodb::bson::doc;

use super::SETTLED;
use super::refunds::{PRICE, Stage};
use crate::on_one_redis;
use crate::support::eventually;

/// Failures after which a refund waits for a person.
const ATTEMPTS_MAX: u32 = holdfast::domain::refund::ATTEMPTS_MAX;
/// Three weeks, ms: longer than banks take.
const LONG_MS: i64 = 21 * 86_400_000;

type Kinds = BTreeMap<BookingId, DifferenceKind>;

impl Stage {
    async fn check(&self, event: EventId, mend: bool) -> PaymentsReport {
        let options = CheckOptions { only: Some(event), mend, wait: Duration::ZERO };
        self.payments.check(options, |_| {}).await.unwrap()
    }

    async fn kinds(&self, event: EventId, mend: bool) -> Kinds {
        let report = self.check(event, mend).await;
        assert_eq!(report.clean, report.differences.is_empty());
        report.differences.into_iter().map(|one| (one.booking, one.kind)).collect()
    }

    async fn change(&self, id: BookingId, change: impl Fn(Intent) -> Intent) {
        let intent = self.intent(id).await;
        let rev = intent.rev + 1;
        let next = Intent { rev, ..change(intent) };
        assert!(self.world.archive.change_intent(&next).await.unwrap());
    }

    async fn payment(&self, id: BookingId) -> String {
        self.intent(id).await.payment
    }

    /// Cancels the charged booking of this seat, and lets its refund fail so many times.
    async fn failed_times(&self, event: EventId, seat: u32, failures: u32) -> BookingId {
        let id = self.charged(event, seat).await;
        self.world.sale.cancel(&format!("u{seat}").parse().unwrap(), id).await.unwrap();
        for _ in 0..failures {
            self.server.next_refunds(&["failed"]);
            self.payments.reconcile_now(id).await.unwrap();
        }
        id
    }

    async fn mark(&self, id: BookingId) {
        let order = MarkPaid { booking: id, reference: "SEPA 1".into(), by: "ann".into() };
        assert_eq!(self.payments.mark_paid(&order).await.unwrap().amount, PRICE);
    }
}

on_one_redis!(every_difference_ends_by_fix_or_says_why_not, async |flavor| {
    use DifferenceKind::*;
    let stage = Stage::new(flavor).await;
    let event = stage.world.event(20).await;
    let sold = stage.sold(event, 6).await;
    assert_eq!(stage.kinds(event, false).await, Kinds::new(), "all is well");

    let mut expected = Kinds::new();
    stage.server.refund_by_hand(&stage.payment(sold[0]).await, 30, "succeeded");
    expected.insert(sold[0], RefundUnrecorded);
    stage.intents().await.delete_one(doc! { "_id": sold[1].to_string() }).await.unwrap();
    expected.insert(sold[1], IntentMissing);
    let unpaid = stage.payment(sold[2]).await;
    stage.server.change(&unpaid, |intent| intent.status = "requires_payment_method");
    expected.insert(sold[2], SoldUnpaid);
    let dearer = stage.payment(sold[3]).await;
    stage.server.change(&dearer, |intent| intent.amount = PRICE + 50);
    expected.insert(sold[3], ChargeDiffers);
    // Cancelled in the archive by a process that died then; its money had gone back before.
    stage.server.refund_by_hand(&stage.payment(sold[4]).await, PRICE, "succeeded");
    stage.payments.reconcile_refund(sold[4]).await.unwrap();
    stage.world.archive.cancel_sold(sold[4], 1).await.unwrap();
    expected.insert(sold[4], RedisDiffers);
    let open = |intent| Intent { state: IntentState::Open, due_ms: Some(1), ..intent };
    stage.change(sold[5], open).await;
    expected.insert(sold[5], IntentOpen);

    let missing = stage.failed_times(event, 7, 1).await;
    expected.insert(missing, RefundMissing);
    let failed = stage.failed_times(event, 8, ATTEMPTS_MAX).await;
    expected.insert(failed, RefundFailed);
    let overdue = stage.failed_times(event, 9, 0).await;
    stage.server.next_refunds(&["pending"]);
    stage.payments.reconcile_now(overdue).await.unwrap();
    stage
        .change(overdue, |intent| {
            let refund = intent.refund.clone().unwrap();
            let refund = RefundProgress { since_ms: refund.since_ms - LONG_MS, ..refund };
            Intent { refund: Some(refund), ..intent }
        })
        .await;
    expected.insert(overdue, RefundOverdue);
    let unknown = stage.failed_times(event, 10, 1).await;
    stage.change(unknown, |intent| Intent { payment: "pi_of_another".into(), ..intent }).await;
    expected.insert(unknown, PaymentUnknown);
    let twice = stage.failed_times(event, 11, ATTEMPTS_MAX).await;
    stage.mark(twice).await;
    stage.server.refund_by_hand(&stage.payment(twice).await, PRICE, "succeeded");
    expected.insert(twice, RefundedTwice);
    let undecided = stage.charged(event, 12).await;
    expected.insert(undecided, PaidUndecided);
    assert_eq!(stage.kinds(event, false).await, expected);
    assert_eq!(expected.len(), 12, "every kind");

    // `--fix` ends what it can; the rest has a reason.
    let report = stage.check(event, true).await;
    assert_eq!(report.mended.len(), expected.len());
    let left: Kinds = report.differences.iter().map(|one| (one.booking, one.kind)).collect();
    let lasting =
        [sold[2], sold[3], overdue, unknown, twice, undecided].map(|id| (id, expected[&id]));
    assert_eq!(left, Kinds::from(lasting));
    for one in report.differences.iter().filter(|one| one.kind != PaidUndecided) {
        assert!(one.fix.starts_with("nothing: "), "{one:?}");
    }
    assert_eq!(stage.kinds(event, true).await, left, "the same again");
    assert_eq!(stage.movements(sold[0]).await, [("refund_outside".to_owned(), -30)]);

    // What a person does about them.
    stage.server.refund_by_hand(&dearer, 50, "succeeded");
    let pending = stage.server.refunds(&stage.payment(overdue).await);
    stage.server.settle_refund(&pending[0].id, "succeeded");
    stage.mark(unknown).await;
    stage.server.change(&unpaid, |intent| intent.status = "succeeded");
    let worker = stage.worker().start().await;
    eventually("the late sale is archived", SETTLED, async || {
        let left = stage.kinds(event, true).await;
        left == Kinds::from([(twice, RefundedTwice)])
    })
    .await;
    assert!(worker.stop());
    let totals = stage.check(event, false).await.totals["EUR"];
    // Sold: 6 of the first, without the cancelled one, and the late one.
    let kept = totals.charged - totals.refunded - totals.refund_pending;
    assert_eq!((totals.sold, totals.refund_pending), (6 * PRICE, 0));
    // The unknown payment is not in this provider's totals, but in its books.
    assert_eq!(totals.marked_paid, 2 * PRICE);
    assert_eq!(kept, totals.sold - totals.refunded_of_sold + 50, "{totals:?}");
    stage.world.stop().await;
});

on_one_redis!(refund_that_the_bank_sends_back_reopens_its_books, async |flavor| {
    let stage = Stage::new(flavor).await;
    let event = stage.world.event(20).await;
    let sold = stage.sold(event, 1).await[0];
    let by_hand = stage.server.refund_by_hand("pi_1", 30, "succeeded");
    assert_eq!(stage.kinds(event, true).await, Kinds::new());
    stage.server.settle_refund(&by_hand, "failed");
    let expected = Kinds::from([(sold, DifferenceKind::RefundUnrecorded)]);
    assert_eq!(stage.kinds(event, false).await, expected);
    assert_eq!(stage.kinds(event, true).await, Kinds::new());
    let amounts: Vec<i64> = stage.movements(sold).await.iter().map(|one| one.1).collect();
    assert_eq!(amounts, [-30, 30]);
    // A refund of ours, long closed.
    let done = stage.failed_times(event, 2, 0).await;
    assert_eq!(stage.kinds(event, true).await, Kinds::new());
    let sent = stage.server.refunds(&stage.payment(done).await);
    stage.server.settle_refund(&sent[0].id, "failed");
    let expected = Kinds::from([(done, DifferenceKind::RefundMissing)]);
    assert_eq!(stage.kinds(event, false).await, expected);
    // One more attempt records the failure, the next one sends it.
    stage.check(event, true).await;
    assert_eq!(stage.kinds(event, true).await, Kinds::new());
    let sum: i64 = stage.movements(done).await.iter().map(|one| one.1).sum();
    assert_eq!(sum, -PRICE);
    stage.world.stop().await;
});
