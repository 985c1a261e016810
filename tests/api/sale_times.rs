//! Start and end of a sale: set, shown, checked and enforced.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::api::{Api, Place, places, shared_api};
use crate::support::eventually;
use crate::support::http::{Client, Reply};

fn with_times(times: &[(&str, &str)]) -> Value {
    let mut event = places(5);
    times.iter().for_each(|(name, time)| event[*name] = (*time).into());
    event
}

async fn change(api: &Client, event: u64, change: Value) -> Reply {
    let path = format!("/api/v1/events/{event}");
    api.ask(reqwest::Method::PATCH, &path).json(change).send().await
}

fn in_ms(ms: u64) -> Value {
    json!((jiff::Timestamp::now() + Duration::from_millis(ms)).to_string())
}

#[tokio::test]
async fn sale_that_would_end_before_it_begins_is_refused() {
    let api = shared_api().await;
    let (first, second) = ("2036-03-01T18:00:00Z", "2036-06-01T20:00:00Z");
    let create = async |times: &[(&str, &str)]| {
        api.post("/api/v1/events").json(with_times(times)).send().await
    };
    for (times, expected) in [
        (&[("starts_at", first), ("on_sale_at", second)][..], "`starts_at` is before"),
        (&[("starts_at", first), ("on_sale_at", first)], "must be after"),
        (&[("on_sale_at", second), ("off_sale_at", second)], "must be after"),
        (&[("on_sale_at", second), ("off_sale_at", first)], "must be after"),
    ] {
        let refused = create(times).await.problem(422, "validation_failed");
        assert!(refused["detail"].as_str().unwrap().contains(expected), "{refused}");
    }
    // Sold at the proxy, too.
    let times = [("starts_at", first), ("on_sale_at", first), ("off_sale_at", second)];
    let event = create(&times).await.json(201);
    assert_eq!(event["off_sale_at"], "2036-06-01T20:00:00.000Z");
    // A change is checked by its result.
    let event = event["id"].as_u64().unwrap();
    for (name, time) in
        [("on_sale_at", second), ("starts_at", "2036-01-01T00:00:00Z"), ("off_sale_at", first)]
    {
        change(&api, event, json!({ name: time })).await.problem(422, "validation_failed");
    }
    change(&api, event, json!({ "on_sale_at": "2036-01-01T00:00:00Z" })).await.json(200);
}

#[tokio::test]
async fn sale_ends_when_doors_open_unless_another_end_is_given() {
    let api = shared_api().await;
    let event = api.event(with_times(&[("starts_at", "2036-06-01T20:00:00Z")])).await;
    let changed = change(&api, event, json!({ "starts_at": "2036-07-01T20:00:00Z" })).await;
    assert_eq!(changed.json(200)["off_sale_at"], "2036-07-01T20:00:00.000Z");
    let changed = change(&api, event, json!({ "off_sale_at": "2036-07-01T18:00:00Z" })).await;
    assert_eq!(changed.json(200)["off_sale_at"], "2036-07-01T18:00:00.000Z");
    let changed = change(&api, event, json!({ "starts_at": "2036-08-01T20:00:00Z" })).await;
    assert_eq!(changed.json(200)["off_sale_at"], "2036-07-01T18:00:00.000Z", "it is explicit");
    let path = format!("/api/v1/events/{event}");
    assert_eq!(api.get(&path).send().await.json(200)["off_sale_at"], "2036-07-01T18:00:00.000Z");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sale_that_has_ended_holds_nothing_and_what_is_held_can_be_paid() {
    let place = Place::shared();
    let api = Api::program(&place, &[]).await.patient();
    let _worker = place.worker();
    let event = api.event(places(5)).await;
    let held = api.held("ann", event, &[1]).await;
    let changed = change(&api, event, json!({ "off_sale_at": in_ms(3_000) })).await.json(200);
    assert_eq!(changed["status"], "ON_SALE");
    let path = format!("/api/v1/events/{event}");
    let is_over = async || api.get(&path).send().await.json(200)["status"] == "CLOSED";
    eventually("the sale is over", Duration::from_secs(60), is_over).await;
    for user in ["bob", "ann"] {
        api.hold(user, event, &[2]).await.problem(409, "event_closed");
    }
    // The same request returns its booking, which can be paid.
    assert_eq!(api.hold("ann", event, &[1]).await.json(201)["id"], held["id"]);
    eventually("it is paid", Duration::from_secs(60), async || {
        api.act("ann", &held, "confirm").await.status == 200
    })
    .await;
    change(&api, event, json!({ "off_sale_at": in_ms(3_600_000) })).await.json(200);
    api.held("bob", event, &[2]).await;
}
