//! Stripe refunds that do not succeed at once.

use super::*;

/// A paid object and the order to refund all of it.
async fn paid(rig: &Rig) -> (Charge, RefundOrder) {
    let charge = rig.ready().await;
    assert_eq!(rig.provider.charge(&charge).await, Ok(PaymentState::Paid));
    let order = refund_of(&charge, charge.amount);
    (charge, order)
}

fn nth(order: &RefundOrder, attempt: u32) -> RefundOrder {
    RefundOrder { attempt, ..order.clone() }
}

fn is_failed(refunded: &Result<RefundResult, PaymentError>, why: &str) -> bool {
    matches!(refunded, Ok(RefundResult::Failed(reason)) if reason.contains(why))
}

/// The refunded and the pending amount, by the provider.
async fn returned(rig: &Rig, payment: &str) -> (i64, i64) {
    let found = rig.provider.get(payment).await.unwrap().unwrap();
    (found.refunded, found.refund_pending)
}

#[tokio::test]
async fn pending_refund_is_not_counted_as_refunded() {
    for status in ["pending", "requires_action", "new_in_2030"] {
        let rig = Rig::stripe(PATIENT).await;
        let (charge, order) = paid(&rig).await;
        rig.server().next_refunds(&[status]);
        for time in ["first", "again"] {
            let refunded = rig.provider.refund(&order).await;
            assert_eq!(refunded, Ok(RefundResult::Pending), "{status} {time}");
        }
        // Nor is it sent again under another key.
        assert_eq!(rig.provider.refund(&nth(&order, 2)).await, Ok(RefundResult::Pending));
        assert_eq!(returned(&rig, &charge.payment).await, (0, 1_000));
        assert_eq!(rig.server().refunds(&charge.payment).len(), 1);
        rig.server().settle_refund("re_1", "succeeded");
        assert_eq!(rig.provider.refund(&order).await, Ok(RefundResult::Succeeded(1_000)));
        assert_eq!(returned(&rig, &charge.payment).await, (1_000, 0));
    }
}

#[tokio::test]
async fn failed_refund_is_sent_again_under_another_key() {
    let rig = Rig::stripe(PATIENT).await;
    let (charge, order) = paid(&rig).await;
    // Failed at once; failed later; cancelled in the dashboard; succeeded and returned by the bank.
    rig.server().next_refunds(&["failed", "pending", "pending", "succeeded"]);
    for time in ["first", "again"] {
        let failed = rig.provider.refund(&order).await;
        assert!(is_failed(&failed, "expired_or_canceled_card"), "{time}: {failed:?}");
    }
    for (attempt, id, end) in [(2, "re_2", "failed"), (3, "re_3", "canceled")] {
        assert_eq!(rig.provider.refund(&nth(&order, attempt)).await, Ok(RefundResult::Pending));
        rig.server().settle_refund(id, end);
        let failed = rig.provider.refund(&nth(&order, attempt)).await;
        assert!(is_failed(&failed, end), "{failed:?}");
    }
    assert_eq!(returned(&rig, &charge.payment).await, (0, 0));
    assert_eq!(rig.provider.refund(&nth(&order, 4)).await, Ok(RefundResult::Succeeded(1_000)));
    rig.server().settle_refund("re_4", "failed");
    let sent_back = rig.provider.refund(&nth(&order, 4)).await;
    assert!(is_failed(&sent_back, "failed"), "{sent_back:?}");
    assert_eq!(rig.provider.refund(&nth(&order, 5)).await, Ok(RefundResult::Succeeded(1_000)));
    assert_eq!(rig.money(&charge).await.refunded, 1_000);
    let seen = rig.server().seen();
    let keys: Vec<&str> = seen
        .iter()
        .filter(|one| one.line == "POST /v1/refunds")
        .filter_map(|one| one.key.as_deref())
        .collect();
    let expected = [
        "pi_1:refund:1000",
        "pi_1:refund:1000:2",
        "pi_1:refund:1000:3",
        "pi_1:refund:1000:4",
        "pi_1:refund:1000:5",
    ];
    assert_eq!(keys, expected, "each attempt was sent once");
}

/// An attempt of an older version names nothing in the list: its saved response shows its result.
#[tokio::test]
async fn failed_refund_of_an_older_version_has_ended() {
    let rig = Rig::stripe(PATIENT).await;
    let (charge, order) = paid(&rig).await;
    rig.server().forget_metadata();
    rig.server().next_refunds(&["failed"]);
    rig.provider.refund(&order).await.unwrap();
    let over = rig.provider.refund(&order).await;
    assert!(is_failed(&over, ""), "{over:?}");
    assert_eq!(rig.provider.refund(&nth(&order, 2)).await, Ok(RefundResult::Succeeded(1_000)));
    assert_eq!(rig.money(&charge).await.refunded, 1_000);
}

#[tokio::test]
async fn error_saved_under_a_key_ends_the_attempt() {
    let rig = Rig::stripe(PATIENT).await;
    let (charge, order) = paid(&rig).await;
    rig.server().fail("/refunds", Fault::ErrorBefore);
    let lost = rig.provider.refund(&order).await;
    assert!(matches!(lost, Err(PaymentError::Unknown(_))), "{lost:?}");
    let over = rig.provider.refund(&order).await;
    assert!(is_failed(&over, "500"), "{over:?}");
    assert_eq!(rig.provider.refund(&nth(&order, 2)).await, Ok(RefundResult::Succeeded(1_000)));
    assert_eq!(rig.money(&charge).await.refunded, 1_000);
}

#[tokio::test]
async fn refused_refund_has_failed_unless_it_was_rate_limited() {
    let rig = Rig::stripe(PATIENT).await;
    let (charge, order) = paid(&rig).await;
    rig.server().next_refunds(&["refused"]);
    let refused = rig.provider.refund(&order).await;
    assert!(is_failed(&refused, "disputed"), "{refused:?}");
    rig.server().fail("/refunds", Fault::TooMany);
    let turned_away = rig.provider.refund(&nth(&order, 2)).await;
    assert!(matches!(turned_away, Err(PaymentError::NotDone(_))), "{turned_away:?}");
    assert_eq!(rig.provider.refund(&nth(&order, 2)).await, Ok(RefundResult::Succeeded(1_000)));
    assert_eq!(rig.money(&charge).await.refunded, 1_000);
}

#[tokio::test]
async fn refunds_beyond_the_first_page_count() {
    let rig = Rig::stripe(PATIENT).await;
    let (charge, order) = paid(&rig).await;
    rig.server().refund_by_hand(&charge.payment, 300, "succeeded");
    for _ in 0..12 {
        rig.server().refund_by_hand(&charge.payment, 1, "failed");
    }
    assert_eq!(returned(&rig, &charge.payment).await, (300, 0));
    assert_eq!(rig.provider.refund(&order).await, Ok(RefundResult::Succeeded(1_000)));
    assert_eq!(rig.server().refunds(&charge.payment).last().unwrap().amount, 700);
    for _ in 0..100 {
        rig.server().refund_by_hand(&charge.payment, 1, "failed");
    }
    let too_many = rig.provider.get(&charge.payment).await;
    assert!(matches!(too_many, Err(PaymentError::Unknown(_))), "{too_many:?}");
}

#[tokio::test]
async fn failed_manual_refund_is_replaced() {
    let rig = Rig::stripe(PATIENT).await;
    let (charge, order) = paid(&rig).await;
    let by_hand = rig.server().refund_by_hand(&charge.payment, 600, "pending");
    assert_eq!(rig.provider.refund(&order).await, Ok(RefundResult::Pending));
    assert_eq!(returned(&rig, &charge.payment).await, (400, 600));
    rig.server().settle_refund(&by_hand, "failed");
    let missing = rig.provider.refund(&order).await;
    assert!(is_failed(&missing, "600 are missing again"), "{missing:?}");
    assert_eq!(rig.provider.refund(&nth(&order, 2)).await, Ok(RefundResult::Succeeded(1_000)));
    assert_eq!(rig.money(&charge).await.refunded, 1_000);
}
