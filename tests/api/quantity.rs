//! Holds by quantity, and the orphan rule, over HTTP.

use serde_json::{Value, json};

use crate::support::api::{places, shared_api, small_event};
use crate::support::http::{Client, Reply};

async fn hold(api: &Client, user: &str, body: &Value) -> Reply {
    api.post("/api/v1/bookings").user(user).json(body.clone()).send().await
}

fn labels(booking: &Value) -> Vec<&str> {
    let seats = booking["seats"].as_array().unwrap().iter();
    seats.map(|seat| seat["seat_label"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn quantity_takes_the_best_seats_of_a_section_or_of_any() {
    let api = shared_api().await;
    let event = api.event(small_event()).await;
    let want = |fields: Value| {
        let mut body = json!({ "event_id": event });
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        body
    };
    let held = hold(&api, "ann", &want(json!({ "section": "Stalls", "quantity": 2 }))).await;
    let held = held.json(201);
    assert_eq!(labels(&held), ["B-1", "B-2"], "row A would be left with a single seat");
    assert_eq!((&held["total_amount"], &held["status"]), (&json!(10_000), &json!("HOLD")));
    let floor = hold(&api, "bob", &want(json!({ "section": "Floor", "quantity": 3 }))).await;
    assert_eq!(floor.json(201)["total_amount"], 6_000);
    let cheap = want(json!({ "quantity": 1, "max_price": 4_999 }));
    assert_eq!(labels(&hold(&api, "eve", &cheap).await.json(201)), ["Floor-4"]);
    let refused = hold(&api, "eve", &want(json!({ "quantity": 2, "max_price": 4_999 }))).await;
    let detail = refused.problem(409, "seats_unavailable")["detail"].clone();
    assert!(detail.as_str().unwrap().starts_with("There are no 2 free seats"), "{detail}");
    // Three are left in each row: there are no four side by side.
    let four = want(json!({ "quantity": 4 }));
    hold(&api, "dan", &four).await.problem(409, "seats_unavailable");
    let apart = hold(&api, "dan", &want(json!({ "quantity": 4, "together": false }))).await;
    assert_eq!(labels(&apart.json(201)), ["A-1", "A-2", "A-3", "B-3"]);
}

#[tokio::test]
async fn repeated_quantity_returns_its_booking() {
    let api = shared_api().await;
    let event = api.event(places(20)).await;
    let two = json!({ "event_id": event, "quantity": 2 });
    let first = hold(&api, "ann", &two).await.json(201);
    let again = hold(&api, "ann", &two).await;
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.json(201)["id"], first["id"]);
    // Another quantity is another request; under the same key it is refused.
    let three = json!({ "event_id": event, "quantity": 3, "idempotencyKey": "k" });
    let second = hold(&api, "ann", &three).await.json(201);
    assert_ne!(second["id"], first["id"]);
    let four = json!({ "event_id": event, "quantity": 4, "idempotencyKey": "k" });
    hold(&api, "ann", &four).await.problem(422, "idempotency_key_reused");
    api.counts_become(event, (15, 5, 0)).await;
}

#[tokio::test]
async fn orphan_rule_refuses_or_warns() {
    let api = shared_api().await;
    let with = |rule: &str| {
        let mut event = small_event();
        event["orphan_rule"] = rule.into();
        event
    };
    let event = api.event(with("enforce")).await;
    let shown = api.get(&format!("/api/v1/events/{event}")).send().await.json(200);
    assert_eq!(shown["orphan_rule"], "enforce");
    let refused = api.hold("ann", event, &[4, 6]).await.problem(409, "orphan_seats");
    assert_eq!(refused["detail"], "Seat 5 would be left alone by this choice; choose others");
    assert_eq!(refused["seats"], json!([5]));
    api.held("ann", event, &[4, 5]).await;

    let event = api.event(with("warn")).await;
    assert_eq!(api.held("ann", event, &[4, 6]).await["seats_left_alone"], json!([5]));
    assert_eq!(api.held("bob", event, &[1, 2, 3]).await.get("seats_left_alone"), None);

    let refused = api.post("/api/v1/events").json(with("maybe")).send().await;
    refused.problem(422, "validation_failed");
}
