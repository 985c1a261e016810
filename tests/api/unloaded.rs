//! Unloaded events over HTTP.

use std::time::Duration;

use holdfast::domain::EventId;
use holdfast::sale::{Events, UnloadResult};
use holdfast::start;
use serde_json::{Value, json};

use crate::support::api::{Api, Place, small_event};
use crate::support::eventually;

/// Timeout of a worker's task and of an unload.
const SOON: Duration = Duration::from_secs(60);

async fn set_status(api: &Api, event: u64, status: &str) -> crate::support::http::Reply {
    let path = format!("/api/v1/events/{event}");
    api.ask(reqwest::Method::PATCH, &path).json(json!({ "status": status })).send().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unloaded_event_is_closed_and_its_bookings_remain() {
    let place = Place::shared();
    let api = Api::here(place.config()).await;
    let _worker = place.worker();
    let (engine, archive) = place.services().await;
    let events = Events::new(engine, archive, start::sale_settings(&place.config()));
    let event = api.event(small_event()).await;
    let id = EventId(event as u32);
    let held = api.held("ann", event, &[1, 2]).await;
    let paid = async || {
        let reply = api.act("ann", &held, "confirm").await;
        (reply.status == 200).then(|| reply.json(200))
    };
    eventually("it is confirmed", SOON, async || paid().await.is_some()).await;
    let receipt = paid().await.expect("confirmed before")["receipt"].clone();
    let cancelled = api.held("bob", event, &[3]).await;
    api.act("bob", &cancelled, "cancel").await.json(200);
    let bookings = async || {
        let ann = api.booking("ann", &held).await.json(200);
        let mut bob = api.booking("bob", &cancelled).await.json(200);
        // Only the durability changes.
        let durability = bob["durability"].take();
        assert!(durability == "accepted" || durability == "archived", "{durability}");
        (ann, bob)
    };
    let before = bookings().await;
    set_status(&api, event, "CLOSED").await.json(200);
    assert_eq!(events.unload(id, SOON).await.unwrap(), UnloadResult::Done);

    let path = format!("/api/v1/events/{event}");
    let shown = async || api.get(&path).send().await.json(200);
    let is_seen = async || shown().await["available_seats"] == Value::Null;
    eventually("it has no counts", SOON, is_seen).await;
    assert_eq!(shown().await["status"], "CLOSED");
    // Another process unloaded it: this one notices within a second.
    let is_known = async || api.hold("eve", event, &[4]).await.status == 409;
    eventually("it is shown as closed", SOON, is_known).await;
    api.hold("eve", event, &[4]).await.problem(409, "event_closed");
    for view in ["seats", "availability"] {
        let path = format!("{path}/{view}");
        let is_over = async || api.get(&path).send().await.status == 410;
        eventually("its seats are gone", SOON, is_over).await;
        let problem = api.get(&path).send().await.problem(410, "event_unloaded");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(&format!("holdfastctl event load {event}")), "{detail}");
    }
    assert_eq!(bookings().await, before);
    assert_eq!(paid().await.expect("a receipt")["receipt"], receipt, "the same receipt");
    api.act("ann", &held, "extend").await.problem(409, "booking_confirmed");
    let policy = json!({ "cancellation": "not_allowed" });
    api.ask(reqwest::Method::PATCH, &path).json(policy).send().await.json(200);
    api.act("ann", &held, "cancel").await.problem(409, "cancellation_closed");
    let problem = set_status(&api, event, "ON_SALE").await.problem(409, "event_state");
    assert!(problem["detail"].as_str().unwrap().contains("load it first"), "{problem}");

    events.load(id).await.unwrap();
    assert_eq!(bookings().await, before);
    assert_eq!(paid().await.expect("a receipt")["receipt"], receipt);
    // Another process loaded it: this one notices within a second.
    let counts = format!("{path}/availability");
    let is_back = async || api.get(&counts).send().await.status == 200;
    eventually("its seats are shown again", SOON, is_back).await;
    api.counts_become(event, (10, 0, 2)).await;
    set_status(&api, event, "ON_SALE").await.json(200);
    api.held("eve", event, &[4]).await;
    api.hold("eve", event, &[2]).await.problem(409, "seats_unavailable");
    api.stop().await;
}
