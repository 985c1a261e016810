//! The Stripe adapter's mapping of responses.

use std::time::Instant;

use super::*;
use crate::support::servers::free_port;

#[tokio::test]
async fn requests_have_stripes_headers_and_keys() {
    let rig = Rig::stripe(PATIENT).await;
    let charge = rig.ready().await;
    rig.provider.charge(&charge).await.unwrap();
    rig.provider.refund(&refund_of(&charge, 400)).await.unwrap();
    let booking = charge.booking.to_string();
    assert_eq!(rig.server().intent("pi_1").unwrap().booking, booking);
    let seen = rig.server().seen();
    assert!(seen.iter().all(|request| request.version == "2024-06-20"));
    let sent: Vec<(&str, Option<&str>)> =
        seen.iter().map(|request| (request.line.as_str(), request.key.as_deref())).collect();
    let expected = [
        ("POST /v1/payment_intents", Some(format!("{booking}:create"))),
        ("POST /v1/payment_intents/pi_1/confirm", Some(format!("{booking}:1"))),
        ("GET /v1/payment_intents/pi_1", None),
        ("POST /v1/refunds", Some("pi_1:refund:400".to_owned())),
    ];
    let expected = expected.each_ref().map(|(line, key)| (*line, key.as_deref()));
    assert_eq!(sent, expected);
    let create = &seen[0].form;
    assert_eq!((create["amount"].as_str(), create["currency"].as_str()), ("1000", "eur"));
    assert_eq!(create["automatic_payment_methods[allow_redirects]"], "never");
    assert_eq!(seen[1].form["payment_method"], "card_ok");
}

#[tokio::test]
async fn unsent_request_is_not_done() {
    let provider = stripe_at(&format!("http://127.0.0.1:{}", free_port()), PATIENT);
    let order = order();
    let charge = charge_of(&order, "pi_1");
    let created = provider.create(&order).await;
    assert!(matches!(created, Err(PaymentError::NotDone(_))), "{created:?}");
    let charged = provider.charge(&charge).await;
    assert!(matches!(charged, Err(PaymentError::NotDone(_))), "{charged:?}");
    let refunded = provider.refund(&refund_of(&charge, 1)).await;
    assert!(matches!(refunded, Err(PaymentError::NotDone(_))), "{refunded:?}");
}

#[tokio::test]
async fn key_is_not_sent_without_tls() {
    let server = StripeServer::start().await;
    let provider = stripe_at(&server.url().replace("http://", "https://"), PATIENT);
    let created = provider.create(&order()).await;
    assert!(matches!(created, Err(PaymentError::NotDone(_))), "{created:?}");
    assert_eq!(server.seen().len(), 0);
}

#[tokio::test]
async fn error_after_a_sent_charge_is_unknown() {
    for fault in [Fault::ErrorAfter, Fault::CloseAfter, Fault::GarbageAfter, Fault::SilentAfter] {
        let rig = Rig::stripe(IMPATIENT).await;
        let charge = rig.ready().await;
        rig.server().fail("/confirm", fault);
        let began = Instant::now();
        let lost = rig.provider.charge(&charge).await;
        assert!(matches!(lost, Err(PaymentError::Unknown(_))), "{fault:?}: {lost:?}");
        assert!(began.elapsed() < IMPATIENT + Duration::from_secs(20), "{fault:?}");
        let again = rig.provider.charge(&charge).await;
        match fault {
            // Stripe keeps the 500 under the key; a query helps.
            Fault::ErrorAfter => assert!(matches!(again, Err(PaymentError::Unknown(_)))),
            _ => assert_eq!(again, Ok(PaymentState::Paid), "{fault:?}"),
        }
        let found = rig.provider.get(&charge.payment).await.unwrap().unwrap();
        assert_eq!(found.state, PaymentState::Paid, "{fault:?}");
        assert_eq!(rig.money(&charge).await.charges, 1, "{fault:?}");
    }
}

#[tokio::test]
async fn object_with_a_lost_create_response_is_created_once() {
    let rig = Rig::stripe(PATIENT).await;
    let order = order();
    rig.server().fail("/payment_intents", Fault::CloseAfter);
    let lost = rig.provider.create(&order).await;
    assert!(matches!(lost, Err(PaymentError::Unknown(_))), "{lost:?}");
    assert_eq!(rig.provider.create(&order).await, Ok("pi_1".to_owned()));
    assert!(rig.server().intent("pi_2").is_none());
}

#[tokio::test]
async fn wrong_key_does_nothing_and_is_not_shown() {
    let server = StripeServer::start().await;
    let (url, timeout) = (&server.url(), PATIENT);
    let provider = Stripe::new(&StripeSettings { url, secret_key: "sk_wrong", timeout }).unwrap();
    let refused = provider.create(&order()).await.unwrap_err();
    assert!(matches!(&refused, PaymentError::NotDone(text) if text.contains("Invalid API Key")));
    assert!(!format!("{refused} {provider:?}").contains("sk_wrong"));
}

#[tokio::test]
async fn unsupported_payment_step_is_declined() {
    let rig = Rig::stripe(PATIENT).await;
    for (method, expected) in [
        ("card_3ds", "needs authentication"),
        ("card_action", "needs a further step"),
        ("card_unknown", "No such card"),
    ] {
        let charge = with_method(&rig.ready().await, method);
        for time in ["first", "again"] {
            let declined = rig.provider.charge(&charge).await;
            let fits = matches!(&declined, Err(PaymentError::Declined(t)) if t.contains(expected));
            assert!(fits, "{method} {time}: {declined:?}");
        }
        assert_eq!(
            rig.provider.cancel(&charge.payment).await,
            Ok(PaymentState::Cancelled),
            "{method}"
        );
    }
}

#[tokio::test]
async fn slow_payment_is_processing_until_it_ends() {
    let rig = Rig::stripe(PATIENT).await;
    let slow = with_method(&rig.ready().await, "card_slow");
    let payment = slow.payment.as_str();
    assert_eq!(rig.provider.charge(&slow).await, Ok(PaymentState::Processing));
    // Neither this attempt nor another nor a cancellation changes that.
    assert_eq!(rig.provider.charge(&slow).await, Ok(PaymentState::Processing));
    assert_eq!(rig.provider.charge(&attempt(&slow, 2)).await, Ok(PaymentState::Processing));
    assert_eq!(rig.provider.cancel(payment).await, Ok(PaymentState::Processing));
    rig.server().change(payment, |intent| intent.status = "requires_payment_method");
    let failed = rig.provider.charge(&slow).await;
    assert!(matches!(failed, Err(PaymentError::Declined(_))), "{failed:?}");
    rig.server().change(payment, |intent| intent.status = "succeeded");
    assert_eq!(rig.provider.charge(&slow).await, Ok(PaymentState::Paid));
}

#[tokio::test]
async fn unknown_status_is_unknown() {
    let rig = Rig::stripe(PATIENT).await;
    let charge = rig.ready().await;
    rig.server().change(&charge.payment, |intent| intent.status = "new_in_2030");
    let answers = [
        rig.provider.charge(&charge).await.unwrap_err(),
        rig.provider.get(&charge.payment).await.unwrap_err(),
        rig.provider.cancel(&charge.payment).await.unwrap_err(),
    ];
    for answer in answers {
        assert!(matches!(answer, PaymentError::Unknown(_)), "{answer:?}");
    }
}

#[tokio::test]
async fn manual_refund_counts() {
    let rig = Rig::stripe(PATIENT).await;
    let charge = rig.ready().await;
    let payment = charge.payment.as_str();
    rig.provider.charge(&charge).await.unwrap();
    rig.server().refund_by_hand(payment, 300, "succeeded");
    let refunded = rig.provider.refund(&refund_of(&charge, 1_000)).await;
    assert_eq!(refunded, Ok(RefundResult::Succeeded(1_000)));
    assert_eq!(rig.money(&charge).await.refunded, 1_000);
}

#[tokio::test]
async fn refund_with_a_lost_response_is_made_once() {
    for fault in [Fault::CloseAfter, Fault::ErrorAfter, Fault::GarbageAfter] {
        let rig = Rig::stripe(PATIENT).await;
        let charge = rig.ready().await;
        rig.provider.charge(&charge).await.unwrap();
        rig.server().fail("/refunds", fault);
        let lost = rig.provider.refund(&refund_of(&charge, 600)).await;
        assert!(matches!(lost, Err(PaymentError::Unknown(_))), "{fault:?}: {lost:?}");
        let again = rig.provider.refund(&refund_of(&charge, 600)).await;
        assert_eq!(again, Ok(RefundResult::Succeeded(600)), "{fault:?}");
        assert_eq!(rig.money(&charge).await.refunded, 600, "{fault:?}");
    }
}
