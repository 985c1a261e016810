//! Webhooks over HTTP: which are accepted, their effect, and that it happens once.

use hmac::{Hmac, KeyInit, Mac};
use holdfast::config::Config;
use holdfast::domain::{Booking, Intent, IntentState, Status};
use holdfast::redis::{Engine, new_nonce};
use mongodb::bson::{Document, doc};
use serde_json::{Value, json};
use sha2::Sha256;

use super::*;
use crate::support::api::{Api, Place, places};
use crate::support::eventually;
use crate::support::http::Reply;
use crate::support::servers::{Flavor, available, private_redis};

const SECRET: &str = "whsec_of_the_tests";
/// Bound of the test's waits.
const BOUND: Duration = Duration::from_secs(60);

/// An API that accepts webhooks, and its services.
struct Stage {
    api: Api,
    engine: Engine,
    archive: Archive,
    database: mongodb::Database,
}

impl Stage {
    async fn new(place: &Place) -> Self {
        let config = Config { payment_webhook_secret: SECRET.into(), ..place.config() };
        let client = mongodb::Client::with_uri_str(config.mongodb_url.expose()).await.unwrap();
        let database = client.database(&config.mongodb_database);
        let api = Api::here(config).await;
        let (engine, archive) = place.services().await;
        Stage { api, engine, archive, database }
    }

    /// A booking whose confirmation has written its intent and stopped there.
    async fn abandoned(&self) -> (Booking, Charge) {
        let event = self.api.event(places(3)).await;
        let held = self.api.held("ann", event, &[1]).await;
        let id: BookingId = held["id"].as_str().unwrap().parse().unwrap();
        let event = self.archive.event(EventId(event as u32)).await.unwrap().unwrap();
        let user = "ann".parse().unwrap();
        let begun = self.engine.confirm_begin(&event, id, &user, &new_nonce(), 60_000, 10).await;
        let booking = begun.unwrap().into_booking().unwrap();
        let (amount, currency) = (booking.amount, booking.currency.clone());
        let order = PaymentOrder { booking: id, amount, currency };
        let payment = self.provider().create(&order).await.unwrap();
        let intent = Intent::first(&booking, &payment, IntentState::Open, i64::MAX);
        assert!(self.archive.insert_intent(&intent).await.unwrap());
        let charge = charge_of(&order, &payment);
        (booking, charge)
    }

    /// An abandoned booking that was charged.
    async fn paid_and_forgotten(&self) -> Booking {
        let (booking, charge) = self.abandoned().await;
        assert_eq!(self.provider().charge(&charge).await, Ok(PaymentState::Paid));
        booking
    }

    fn provider(&self) -> Simulated {
        Simulated::new(&self.archive, SimulatedSettings::default())
    }

    async fn status(&self, booking: &Booking) -> Status {
        self.engine.get_booking(booking.id).await.unwrap().into_booking().unwrap().status
    }

    /// Sends a webhook with this signature.
    async fn send_signed(&self, body: &[u8], signature: &str) -> Reply {
        let ask = self.api.post("/webhooks/payments").body(body);
        ask.header("Stripe-Signature", signature).send().await
    }

    async fn send(&self, event: &Value) -> Reply {
        let body = event.to_string();
        self.send_signed(body.as_bytes(), &signature(now(), body.as_bytes())).await
    }

    /// The result of an accepted webhook.
    async fn result(&self, event: &Value) -> String {
        let body = self.send(event).await.json(200);
        body["result"].as_str().unwrap().to_owned()
    }

    /// The recorded webhooks.
    async fn recorded(&self) -> Vec<String> {
        let records = self.database.collection::<Document>("webhooks");
        let ids = records.distinct("_id", doc! {}).await.unwrap();
        ids.iter().map(|id| id.as_str().unwrap().to_owned()).collect()
    }
}

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// The signature of a body sent now.
pub fn signed(secret: &str, body: &[u8]) -> String {
    signed_at(secret, now(), body)
}

fn signature(seconds: i64, body: &[u8]) -> String {
    signed_at(SECRET, seconds, body)
}

fn signed_at(secret: &str, seconds: i64, body: &[u8]) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    let signed = mac.chain_update(format!("{seconds}.")).chain_update(body).finalize();
    let hex: String = signed.into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={seconds},v1={hex}")
}

fn event(id: &str, kind: &str, booking: &str) -> Value {
    let object = json!({ "id": "pi_1", "metadata": { "booking_id": booking } });
    json!({ "id": id, "type": kind, "data": { "object": object } })
}

fn succeeded(id: &str, booking: &Booking) -> Value {
    event(id, "payment_intent.succeeded", &booking.id.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webhook_settles_an_abandoned_payment_once() {
    let stage = Stage::new(&Place::shared()).await;
    let booking = stage.paid_and_forgotten().await;
    assert_eq!(stage.status(&booking).await, Status::Confirming);
    let webhook = succeeded("evt_1", &booking);
    assert_eq!(stage.result(&webhook).await, "handled");
    assert_eq!(stage.status(&booking).await, Status::Committed);
    let version = stage.engine.get_booking(booking.id).await.unwrap().booking().unwrap().version;
    for _ in 0..2 {
        assert_eq!(stage.result(&webhook).await, "duplicate");
    }
    // Another event, and one that arrives long after its subject has ended.
    assert_eq!(stage.result(&succeeded("evt_2", &booking)).await, "handled");
    let late = event("evt_0", "payment_intent.payment_failed", &booking.id.to_string());
    assert_eq!(stage.result(&late).await, "handled");
    let after = stage.engine.get_booking(booking.id).await.unwrap().into_booking().unwrap();
    assert_eq!((after.status, after.version), (Status::Committed, version));
    let mut recorded = stage.recorded().await;
    recorded.sort();
    assert_eq!(recorded, ["evt_0", "evt_1", "evt_2"]);
    let text = stage.api.get("/metrics").send().await.text();
    for line in [
        r#"holdfast_webhooks_total{result="handled"} 3"#,
        r#"holdfast_webhooks_total{result="duplicate"} 2"#,
    ] {
        assert!(text.contains(line), "{line}");
    }
    stage.api.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webhook_is_not_trusted_about_money() {
    let stage = Stage::new(&Place::shared()).await;
    let (booking, charge) = stage.abandoned().await;
    assert_eq!(stage.result(&succeeded("evt_1", &booking)).await, "handled");
    assert_eq!(stage.status(&booking).await, Status::Confirming);
    assert_eq!(
        stage.provider().get(&charge.payment).await.unwrap().unwrap().state,
        PaymentState::Open
    );
    // The next webhook finds what this one was too early for.
    stage.provider().charge(&charge).await.unwrap();
    assert_eq!(stage.result(&succeeded("evt_2", &booking)).await, "handled");
    assert_eq!(stage.status(&booking).await, Status::Committed);
    stage.api.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_signed_webhooks_are_accepted() {
    let stage = Stage::new(&Place::shared()).await;
    let booking = stage.paid_and_forgotten().await;
    let body = succeeded("evt_1", &booking).to_string();
    let right = signature(now(), body.as_bytes());
    let wrong = [
        (body.clone(), signature(now(), b"another body")),
        (body.replace("evt_1", "evt_2"), right.clone()),
        (body.clone(), right.replace("v1=", "v0=")),
        (body.clone(), String::new()),
    ];
    for (body, signature) in wrong {
        let refused = stage.send_signed(body.as_bytes(), &signature).await;
        refused.problem(400, "webhook_signature_invalid");
    }
    let unsigned = stage.api.post("/webhooks/payments").body(body.clone()).send().await;
    unsigned.problem(400, "webhook_signature_invalid");
    for seconds in [now() - 400, now() + 400] {
        let signature = signature(seconds, body.as_bytes());
        let refused = stage.send_signed(body.as_bytes(), &signature).await;
        refused.problem(400, "webhook_stale");
    }
    assert_eq!(stage.status(&booking).await, Status::Confirming);
    assert_eq!(stage.recorded().await, Vec::<String>::new());
    // The same body, signed: under the other header's name, too.
    let ask = stage.api.post("/webhooks/payments").body(body.clone());
    ask.header("Holdfast-Signature", &right).send().await.json(200);
    assert_eq!(stage.status(&booking).await, Status::Committed);
    stage.api.stop().await;
}

#[tokio::test]
async fn unrelated_events_are_accepted_and_ignored() {
    let stage = Stage::new(&Place::shared()).await;
    let unmade = BookingId::new(EventId(4_000_000_000), 1, 2).to_string();
    let ignored = [
        event("evt_1", "customer.created", &unmade),
        event("evt_2", "payment_intent.succeeded", "order 4711"),
        // It looks like one of ours, but its booking does not exist: no reason to send it for ever.
        event("evt_5", "payment_intent.succeeded", &unmade),
        json!({ "id": "evt_3", "type": "charge.refunded", "data": { "object": {} } }),
        json!({ "id": "evt_4", "type": "ping" }),
    ];
    for webhook in ignored {
        assert_eq!(stage.result(&webhook).await, "ignored", "{webhook}");
    }
    assert_eq!(stage.recorded().await, Vec::<String>::new());
    stage.api.stop().await;
}

#[tokio::test]
async fn malformed_bodies_are_refused() {
    let stage = Stage::new(&Place::shared()).await;
    for body in ["", "[]", "{}", "{", r#"{"id":1,"type":"ping"}"#] {
        let refused = stage.send_signed(body.as_bytes(), &signature(now(), body.as_bytes())).await;
        refused.problem(400, "invalid_json");
    }
    let large = vec![b' '; 300_000];
    let refused = stage.send_signed(&large, &signature(now(), &large)).await;
    refused.problem(413, "body_too_large");
    stage.api.stop().await;
}

#[tokio::test]
async fn webhooks_are_off_without_a_secret() {
    let api = Api::here(Place::shared().config()).await;
    let body = event("evt_1", "ping", "x").to_string();
    // Signed with the empty secret, which everybody knows.
    let mac = Hmac::<Sha256>::new_from_slice(b"").unwrap();
    let signed = mac.chain_update(format!("{}.{body}", now())).finalize().into_bytes();
    let hex: String = signed.iter().map(|byte| format!("{byte:02x}")).collect();
    let ask = api.post("/webhooks/payments").body(body);
    let ask = ask.header("Stripe-Signature", &format!("t={},v1={hex}", now()));
    ask.send().await.problem(404, "webhooks_off");
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_deliveries_sell_once() {
    let stage = Stage::new(&Place::shared()).await;
    for round in 0..5 {
        let booking = stage.paid_and_forgotten().await;
        let webhook = succeeded(&format!("evt_{round}"), &booking);
        let answers = tokio::join!(stage.send(&webhook), stage.send(&webhook));
        for answer in [answers.0, answers.1] {
            answer.json(200);
        }
        let sold = stage.engine.get_booking(booking.id).await.unwrap().into_booking().unwrap();
        // One transition after HOLD → CONFIRMING.
        assert_eq!((sold.status, sold.version), (Status::Committed, booking.version + 1));
        assert_eq!(stage.recorded().await.len(), round + 1);
    }
    stage.api.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_webhook_is_handled_when_repeated() {
    let flavor = if available(Flavor::Redis) { Flavor::Redis } else { Flavor::Valkey };
    let redis = private_redis(flavor);
    let stage = Stage::new(&Place::new(&redis, shared_mongodb())).await;
    let booking = stage.paid_and_forgotten().await;
    let webhook = succeeded("evt_1", &booking);
    redis.freeze();
    let failed = stage.send(&webhook).await;
    failed.problem(503, "service_unavailable");
    assert!(failed.header("retry-after").is_some());
    assert_eq!(stage.recorded().await, Vec::<String>::new());
    redis.thaw();
    eventually("it is handled", BOUND, async || stage.send(&webhook).await.status == 200).await;
    assert_eq!(stage.status(&booking).await, Status::Committed);
    assert_eq!(stage.recorded().await, ["evt_1"]);
    stage.api.stop().await;
}

#[tokio::test]
async fn webhook_records_expire() {
    let stage = Stage::new(&Place::shared()).await;
    let reply = stage.database.run_command(doc! { "listIndexes": "webhooks" }).await.unwrap();
    let indexes = reply.get_document("cursor").unwrap().get_array("firstBatch").unwrap();
    let ages = indexes.iter().filter_map(|index| {
        let index = index.as_document().unwrap();
        let seconds = index.get("expireAfterSeconds")?;
        index.get_document("key").unwrap().get("handled_at")?;
        seconds.as_i32().map(f64::from).or(seconds.as_f64())
    });
    assert_eq!(ages.collect::<Vec<f64>>(), [30.0 * 86_400.0]);
    // An index of this kind only considers dates.
    let unmade = BookingId::new(EventId(4_000_000_000), 1, 2);
    stage.archive.record_webhook("evt_1", "ping", unmade).await.unwrap();
    let records = stage.database.collection::<Document>("webhooks");
    let dated = doc! { "handled_at": { "$type": "date" } };
    assert_eq!(records.count_documents(dated).await.unwrap(), 1);
    stage.api.stop().await;
}
