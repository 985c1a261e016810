//! Currencies: what is put on sale can be charged, and is charged exactly; other prices are refused
//! for good and keep the seats held.

use holdfast::config::Config;
use holdfast::config::values::PaymentProvider;
use reqwest::Method;
use serde_json::{Value, json};

use super::sale::{api_with, pay, worker_with};
use super::*;
use crate::support::api::{Api, Place, places};
use crate::support::eventually;

/// Bound of the test's waits.
const BOUND: Duration = Duration::from_secs(60);

fn order_of(amount: i64, currency: &str) -> PaymentOrder {
    PaymentOrder { amount, currency: currency.into(), ..order() }
}

/// An event with one price.
fn priced(currency: &str, price: i64) -> Value {
    let mut event = places(2);
    event["currency"] = currency.into();
    event["sections"][0]["price"] = price.into();
    event
}

#[tokio::test]
async fn amounts_are_sent_in_stripes_unit() {
    let cases = [
        ("EUR", 4_500, 4_500),
        ("JPY", 500, 500),
        ("ISK", 500, 50_000),
        ("UGX", 5_000, 500_000),
        ("KWD", 5_120, 5_120),
        ("MGA", 50_000, 500),
        ("HUF", 50_001, 50_001),
    ];
    for (currency, minor, stripes) in cases {
        let rig = Rig::stripe(PATIENT).await;
        let order = order_of(minor, currency);
        let payment = rig.provider.create(&order).await.unwrap();
        let charge = charge_of(&order, &payment);
        assert_eq!(rig.provider.charge(&charge).await, Ok(PaymentState::Paid), "{currency}");
        let intent = rig.server().intent(&payment).unwrap();
        assert_eq!(intent.amount, stripes, "{currency}");
        let found = rig.provider.get(&payment).await.unwrap().unwrap();
        assert_eq!((found.amount, found.currency.as_str()), (minor, currency));
        let refund = refund_of(&charge, minor);
        assert_eq!(rig.provider.refund(&refund).await, Ok(RefundResult::Succeeded(minor)));
        assert_eq!(rig.money(&charge).await.refunded, stripes, "{currency}");
        let found = rig.provider.get(&payment).await.unwrap().unwrap();
        assert_eq!((found.refunded, found.refund_pending), (minor, 0), "{currency}");
    }
}

#[tokio::test]
async fn impossible_amounts_are_never_sent() {
    let rig = Rig::stripe(PATIENT).await;
    for (minor, currency, why) in [
        (1_000, "ZZZ", "not a currency code"),
        (1_000, "IQD", "does not charge IQD"),
        (5_124, "KWD", "in steps of 0.010 KWD"),
        (49, "EUR", "0.50 EUR (50 minor units) at least"),
        (100_000_000, "EUR", "at most"),
    ] {
        let created = rig.provider.create(&order_of(minor, currency)).await;
        let fits = matches!(&created, Err(PaymentError::Impossible(t)) if t.contains(why));
        assert!(fits, "{minor} {currency}: {created:?}");
    }
    assert!(rig.server().seen().is_empty());
}

#[tokio::test]
async fn refusal_of_the_request_itself_is_permanent() {
    let rig = Rig::stripe(PATIENT).await;
    rig.server().fail("/payment_intents", Fault::Refused);
    let refused = rig.provider.create(&order()).await;
    let fits = matches!(&refused, Err(PaymentError::Impossible(t)) if t.contains("at least 50"));
    assert!(fits, "{refused:?}");
    // A refusal that may be answered differently later is not permanent.
    rig.server().fail("/payment_intents", Fault::TooMany);
    let refused = rig.provider.create(&order()).await;
    assert!(matches!(refused, Err(PaymentError::NotDone(_))), "{refused:?}");
}

#[tokio::test]
async fn payment_of_another_amount_is_not_accepted() {
    let rig = Rig::stripe(PATIENT).await;
    let charge = rig.ready().await;
    rig.server().change(&charge.payment, |intent| intent.amount = 1);
    let paid = rig.provider.charge(&charge).await;
    assert!(matches!(paid, Err(PaymentError::Unknown(_))), "{paid:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn permanently_refused_payment_keeps_the_hold_for_another() {
    let (place, server) = (Place::shared(), StripeServer::start().await);
    let api = api_with(&place, &server).await;
    let _worker = worker_with(&place, &server);
    let event = api.event(places(2)).await;
    let held = api.held("ann", event, &[1]).await;
    server.fail("/payment_intents", Fault::Refused);
    let refused = pay(&api, &held, "card_visa").await;
    let problem = refused.problem(422, "payment_not_possible");
    assert!(problem["detail"].as_str().unwrap().contains("at least 50"), "{problem}");
    assert_eq!(refused.header("retry-after"), None, "to try again is of no use");
    let now = api.booking("ann", &held).await.json(200);
    assert_eq!(now["status"], "HOLD");
    assert_eq!(now["hold_expires_at"], held["hold_expires_at"], "the deadline stays");
    pay(&api, &held, "card_visa").await.json(202);
    eventually("it is CONFIRMED", BOUND, async || {
        api.booking("ann", &held).await.json(200)["status"] == "CONFIRMED"
    })
    .await;
    api.stop().await;
}

/// An event created under another provider.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn event_that_the_provider_cannot_charge_is_not_paid_and_not_put_on_sale_again() {
    let (place, server) = (Place::shared(), StripeServer::start().await);
    let before = Api::here(place.config()).await;
    let event = before.event(priced("IQD", 10_000)).await;
    before.stop().await;
    let api = api_with(&place, &server).await;
    let held = api.held("ann", event, &[1]).await;
    for _ in 0..2 {
        let problem = pay(&api, &held, "card_visa").await;
        let problem = problem.problem(422, "payment_not_possible");
        assert!(problem["detail"].as_str().unwrap().contains("does not charge IQD"), "{problem}");
    }
    assert_eq!(api.booking("ann", &held).await.json(200)["status"], "HOLD");
    assert!(server.seen().is_empty(), "{:?}", server.seen());
    let path = format!("/api/v1/events/{event}");
    let patch = async |status: &str| {
        let body = json!({ "status": status });
        api.ask(Method::PATCH, &path).json(body).send().await
    };
    patch("PAUSED").await.json(200);
    let problem = patch("ON_SALE").await;
    let problem = problem.problem(422, "validation_failed");
    assert!(problem["detail"].as_str().unwrap().contains("does not charge IQD"), "{problem}");
    patch("CLOSED").await.json(200);
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_created_only_with_chargeable_prices() {
    let simulated = Api::here(Place::shared().config()).await;
    let stripe = Api::here(Config {
        payment_provider: PaymentProvider::Stripe,
        stripe_url: "http://127.0.0.1:1".into(),
        stripe_secret_key: KEY.into(),
        ..Place::shared().config()
    })
    .await;
    let create = async |api: &Api, currency: &str, price: i64| {
        api.post("/api/v1/events").json(priced(currency, price)).send().await
    };
    for (currency, price, why) in [
        ("ZZZ", 1_000, "`currency`: \"ZZZ\" is not a currency code of ISO 4217"),
        ("XXQ", 1_000, "not a currency code of ISO 4217"),
        ("XTS", 1_000, "not a currency for payments"),
        ("XAU", 1_000, "not a currency for payments"),
        ("HRK", 1_000, "EUR replaced it"),
    ] {
        for api in [&simulated, &stripe] {
            let refused = create(api, currency, price).await;
            let problem = refused.problem(422, "validation_failed");
            assert!(problem["detail"].as_str().unwrap().contains(why), "{problem}");
        }
    }
    for (currency, price, why) in [
        ("IQD", 1_000, "`currency`: Stripe does not charge IQD"),
        ("KWD", 4_501, "`price` of section"),
        ("KWD", 4_501, "in steps of 0.010 KWD (10 minor units)"),
        ("MGA", 4_550, "in steps of 1.00 MGA (100 minor units)"),
        ("EUR", 49, "Stripe charges 0.50 EUR (50 minor units) at least"),
        ("EUR", 100_000_000, "Stripe charges 999999.99 EUR (99999999 minor units) at most"),
    ] {
        let refused = create(&stripe, currency, price).await;
        let problem = refused.problem(422, "validation_failed");
        assert!(problem["detail"].as_str().unwrap().contains(why), "{problem}");
        create(&simulated, currency, price).await.json(201);
    }
    for (currency, price) in [("ISK", 1), ("UGX", 5_000), ("KWD", 4_500), ("EUR", 0), ("XAF", 1)] {
        create(&stripe, currency, price).await.json(201);
    }
    simulated.stop().await;
    stripe.stop().await;
}
