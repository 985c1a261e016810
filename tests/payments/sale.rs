//! Sales through Stripe, from a hold to the sold seats over HTTP, with a worker.

use holdfast::config::Config;
use holdfast::config::values::PaymentProvider;
use serde_json::{Value, json};

use super::*;
use crate::support::api::{Api, Place, places};
use crate::support::eventually;
use crate::support::http::Reply;
use crate::support::process::Process;

/// Bound of the test's waits.
const BOUND: Duration = Duration::from_secs(60);

/// An API with this server as its provider.
pub async fn api_with(place: &Place, server: &StripeServer) -> Api {
    let config = Config {
        payment_provider: PaymentProvider::Stripe,
        stripe_url: server.url().as_str().into(),
        stripe_secret_key: KEY.into(),
        confirm_wait_ms: 0,
        ..place.config()
    };
    config.check().unwrap();
    Api::here(config).await
}

/// A worker with the same provider.
pub fn worker_with(place: &Place, server: &StripeServer) -> Process {
    let (url, consumer) = (server.url(), unique_name());
    let environment = place.environment(&[
        ("HOLDFAST_PAYMENT_PROVIDER", "stripe"),
        ("HOLDFAST_STRIPE_URL", &url),
        ("HOLDFAST_STRIPE_SECRET_KEY", KEY),
        ("HOLDFAST_WORKER_CONSUMER", &consumer),
    ]);
    Process::start(env!("CARGO_BIN_EXE_holdfast-worker"), &environment)
}

/// Pays with this card.
pub async fn pay(api: &Api, booking: &Value, method: &str) -> Reply {
    let path = format!("/api/v1/bookings/{}/confirm", booking["id"].as_str().unwrap());
    api.post(&path).user("ann").json(json!({ "payment_method": method })).send().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn second_card_pays_after_the_first_was_declined() {
    let (place, server) = (Place::shared(), StripeServer::start().await);
    let api = api_with(&place, &server).await;
    let _worker = worker_with(&place, &server);
    let event = api.event(places(2)).await;
    let held = api.held("ann", event, &[1, 2]).await;
    for method in ["card_declined", "card_unknown", "card_3ds"] {
        pay(&api, &held, method).await.problem(402, "payment_declined");
        assert_eq!(api.booking("ann", &held).await.json(200)["status"], "HOLD", "{method}");
    }
    pay(&api, &held, "card_visa").await.json(202);
    eventually("it is CONFIRMED", BOUND, async || {
        api.booking("ann", &held).await.json(200)["status"] == "CONFIRMED"
    })
    .await;
    // The same request again returns the receipt.
    let paid = pay(&api, &held, "card_visa").await.json(200);
    assert_eq!(paid["receipt"]["payment_id"], "pi_1");
    let intent = server.intent("pi_1").unwrap();
    assert_eq!((intent.charges, intent.amount, intent.refunded), (1, 200, 0));
    assert_eq!(intent.booking, held["id"].as_str().unwrap());
    assert!(server.intent("pi_2").is_none(), "one object a booking");
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_response_is_recovered() {
    for fault in [Fault::ErrorAfter, Fault::CloseAfter] {
        let (place, server) = (Place::shared(), StripeServer::start().await);
        let api = api_with(&place, &server).await;
        let _worker = worker_with(&place, &server);
        let event = api.event(places(1)).await;
        let held = api.held("ann", event, &[1]).await;
        server.fail("/confirm", fault);
        pay(&api, &held, "card_visa").await.json(202);
        eventually("it is CONFIRMED", BOUND, async || {
            api.booking("ann", &held).await.json(200)["status"] == "CONFIRMED"
        })
        .await;
        let intent = server.intent("pi_1").unwrap();
        assert_eq!((intent.charges, intent.refunded), (1, 0), "{fault:?}");
        api.stop().await;
    }
}
