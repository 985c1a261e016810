//! The guarantees of every provider, checked on each alike.

use futures_util::future::join_all;

use super::*;
use crate::on_each_provider;

/// Concurrent charges.
const AT_ONCE: u32 = 20;
/// Races of a charge with a cancellation.
const RACES: u32 = 25;

on_each_provider!(creating_again_returns_the_same_object, PATIENT, async |rig: Rig| {
    let (one, other) = (order(), order());
    let first = rig.provider.create(&one).await.unwrap();
    assert_eq!(rig.provider.create(&one).await, Ok(first.clone()));
    assert_ne!(rig.provider.create(&other).await, Ok(first.clone()));
    let found = rig.provider.get(&first).await.unwrap().unwrap();
    let shown = (found.state, found.amount, found.currency.as_str(), found.refunded);
    assert_eq!(shown, (PaymentState::Open, 1_000, "EUR", 0));
    assert_eq!(rig.money(&charge_of(&one, &first)).await, Money { charges: 0, refunded: 0 });
});

on_each_provider!(object_is_paid_once_by_any_attempt, PATIENT, async |rig: Rig| {
    let charge = rig.ready().await;
    for attempt in [1, 1, 2, 3, 1] {
        let paid = rig.provider.charge(&super::attempt(&charge, attempt)).await;
        assert_eq!(paid, Ok(PaymentState::Paid), "attempt {attempt}");
    }
    assert_eq!(rig.money(&charge).await, Money { charges: 1, refunded: 0 });
    let found = rig.provider.get(&charge.payment).await.unwrap().unwrap();
    assert_eq!((found.id.as_str(), found.state), (charge.payment.as_str(), PaymentState::Paid));
    let shown = (found.amount, found.currency.as_str(), found.refunded);
    assert_eq!(shown, (1_000, "EUR", 0));
});

on_each_provider!(
    a_declined_attempt_stays_declined_and_another_may_work,
    PATIENT,
    async |rig: Rig| {
        let charge = rig.ready().await;
        let declined =
            rig.provider.charge(&with_method(&charge, "card_declined")).await.unwrap_err();
        assert!(matches!(&declined, PaymentError::Declined(text) if text.contains("declined")));
        // The same attempt has the same result, even if it now names a valid card.
        for method in ["card_declined", "card_ok"] {
            let again = rig.provider.charge(&with_method(&charge, method)).await;
            assert_eq!(again, Err(declined.clone()), "{method}");
        }
        let found = rig.provider.get(&charge.payment).await.unwrap().unwrap();
        assert_eq!((found.state, found.amount), (PaymentState::Open, 1_000));
        let second = attempt(&charge, 2);
        assert_eq!(rig.provider.charge(&second).await, Ok(PaymentState::Paid));
        // It is paid now, and every attempt returns that.
        let late = rig.provider.charge(&with_method(&charge, "card_declined")).await;
        assert_eq!(late, Ok(PaymentState::Paid));
        assert_eq!(rig.money(&charge).await, Money { charges: 1, refunded: 0 });
    }
);

on_each_provider!(failure_before_charging_is_not_done, PATIENT, async |rig: Rig| {
    let charge = rig.ready().await;
    let failed = rig.charge_with_fault(&charge, CallFault::Before).await;
    assert!(matches!(failed, Err(PaymentError::NotDone(_))), "{failed:?}");
    assert_eq!(rig.money(&charge).await.charges, 0);
    let found = rig.provider.get(&charge.payment).await.unwrap().unwrap();
    assert_eq!(found.state, PaymentState::Open);
    // The attempt is not used up.
    assert_eq!(rig.provider.charge(&charge).await, Ok(PaymentState::Paid));
});

on_each_provider!(
    what_was_charged_and_not_answered_can_be_found_out,
    IMPATIENT,
    async |rig: Rig| {
        let charge = rig.ready().await;
        let lost = rig.charge_with_fault(&charge, CallFault::After).await;
        assert!(matches!(lost, Err(PaymentError::Unknown(_))), "{lost:?}");
        let found = rig.provider.get(&charge.payment).await.unwrap().unwrap();
        assert_eq!(found.state, PaymentState::Paid);
        assert_eq!(rig.provider.charge(&charge).await, Ok(PaymentState::Paid));
        assert_eq!(rig.provider.cancel(&charge.payment).await, Ok(PaymentState::Paid));
        assert_eq!(rig.money(&charge).await, Money { charges: 1, refunded: 0 });
    }
);

on_each_provider!(concurrent_charges_charge_once, PATIENT, async |rig: Rig| {
    let one_attempt: fn(u32) -> u32 = |_| 1;
    let many_attempts: fn(u32) -> u32 = |number| number;
    for attempt_of in [one_attempt, many_attempts] {
        let charge = rig.ready().await;
        let charges: Vec<Charge> =
            (1..=AT_ONCE).map(|number| attempt(&charge, attempt_of(number))).collect();
        let answers = join_all(charges.iter().map(|charge| rig.provider.charge(charge))).await;
        assert!(answers.contains(&Ok(PaymentState::Paid)), "{answers:?}");
        let wrong = |answer: &&Result<PaymentState, PaymentError>| {
            !matches!(answer, Ok(PaymentState::Paid) | Err(PaymentError::Unknown(_)))
        };
        assert_eq!(answers.iter().find(wrong), None);
        assert_eq!(rig.money(&charge).await, Money { charges: 1, refunded: 0 });
        assert_eq!(rig.provider.charge(&charge).await, Ok(PaymentState::Paid));
    }
});

on_each_provider!(cancelled_object_is_never_paid, PATIENT, async |rig: Rig| {
    // Never charged; declined once.
    let (fresh, tried) = (rig.ready().await, rig.ready().await);
    rig.provider.charge(&with_method(&tried, "card_declined")).await.unwrap_err();
    for charge in [fresh, tried] {
        for _ in 0..2 {
            assert_eq!(rig.provider.cancel(&charge.payment).await, Ok(PaymentState::Cancelled));
        }
        for number in 2..4 {
            let refused = rig.provider.charge(&attempt(&charge, number)).await;
            assert_eq!(refused, Ok(PaymentState::Cancelled));
        }
        let found = rig.provider.get(&charge.payment).await.unwrap().unwrap();
        assert_eq!(found.state, PaymentState::Cancelled);
        assert_eq!(rig.money(&charge).await, Money { charges: 0, refunded: 0 });
    }
});

on_each_provider!(charge_and_cancellation_race_to_one_result, PATIENT, async |rig: Rig| {
    let mut paid = 0;
    for race in 0..RACES {
        let charge = rig.ready().await;
        // Alternates which one begins.
        let lead = std::time::Duration::from_micros(u64::from(race % 5) * 700);
        let charging = async {
            tokio::time::sleep(lead).await;
            rig.provider.charge(&charge).await
        };
        let cancelling = async {
            tokio::time::sleep(std::time::Duration::from_micros(1_400)).await;
            rig.provider.cancel(&charge.payment).await
        };
        let answers = tokio::join!(charging, cancelling);
        let charges = rig.money(&charge).await.charges;
        match &answers {
            (Ok(PaymentState::Paid), Ok(PaymentState::Paid)) => assert_eq!(charges, 1),
            (Ok(PaymentState::Cancelled), Ok(PaymentState::Cancelled)) => assert_eq!(charges, 0),
            _ => panic!("{answers:?}, {charges} charges"),
        }
        paid += charges;
    }
    println!("{paid} of {RACES} were paid");
});

on_each_provider!(refund_reaches_its_total_once, PATIENT, async |rig: Rig| {
    let charge = rig.ready().await;
    let payment = charge.payment.as_str();
    let early = rig.provider.refund(&refund_of(&charge, 300)).await;
    assert!(matches!(early, Err(PaymentError::NotDone(_))), "{early:?}");
    rig.provider.charge(&charge).await.unwrap();
    for (total, given_back) in [(0, 0), (300, 300), (300, 300), (1_000, 1_000), (500, 1_000)] {
        let refunded = rig.provider.refund(&refund_of(&charge, total)).await;
        assert_eq!(refunded, Ok(RefundResult::Succeeded(given_back)), "{total}");
        assert_eq!(rig.money(&charge).await, Money { charges: 1, refunded: given_back });
    }
    let too_much = rig.provider.refund(&refund_of(&charge, 1_001)).await;
    assert!(matches!(too_much, Err(PaymentError::NotDone(_))), "{too_much:?}");
    let found = rig.provider.get(payment).await.unwrap().unwrap();
    assert_eq!((found.state, found.refunded), (PaymentState::Paid, 1_000));
});

on_each_provider!(concurrent_refunds_refund_once, PATIENT, async |rig: Rig| {
    let charge = rig.ready().await;
    rig.provider.charge(&charge).await.unwrap();
    let order = refund_of(&charge, 400);
    let refunds = (0..AT_ONCE).map(|_| rig.provider.refund(&order));
    for answer in join_all(refunds).await {
        let fine =
            matches!(answer, Ok(RefundResult::Succeeded(400)) | Err(PaymentError::Unknown(_)));
        assert!(fine, "{answer:?}");
    }
    assert_eq!(rig.provider.refund(&order).await, Ok(RefundResult::Succeeded(400)));
    assert_eq!(rig.money(&charge).await, Money { charges: 1, refunded: 400 });
});

on_each_provider!(unknown_object_is_absent, PATIENT, async |rig: Rig| {
    for id in ["pi_none", "sim_none", "", "../refunds", "é"] {
        assert_eq!(rig.provider.get(id).await, Ok(None), "{id}");
        let refused = rig.provider.refund(&refund_of(&charge_of(&order(), id), 1)).await;
        assert!(matches!(refused, Err(PaymentError::NotDone(_))), "{refused:?}");
    }
});
