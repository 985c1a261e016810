//! Repeated holds: one booking while it lives, wherever the key is sent.

mod bookings;

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::api::{places, shared_api};
use crate::support::eventually;
use crate::support::http::{Client, Reply};

/// Holds seats with keys in headers.
async fn keyed(api: &Client, event: u64, seats: &[u32], keys: &[(&str, &str)]) -> Reply {
    let body = json!({ "event_id": event, "seat_ids": seats });
    let request = api.post("/api/v1/bookings").user("ann").json(body);
    keys.iter().fold(request, |request, (name, value)| request.header(name, value)).send().await
}

#[track_caller]
fn assert_replayed(reply: &Reply, of: &Value) {
    let body = reply.json(201);
    assert_eq!(reply.header("idempotent-replayed"), Some("true"));
    let same = ["id", "created_at", "hold_expires_at", "version", "seats", "total_amount"];
    for name in same {
        assert_eq!(body[name], of[name], "{name}");
    }
}

#[tokio::test]
async fn key_in_any_header_or_the_body_is_the_same() {
    let api = shared_api().await;
    let event = api.event(places(10)).await;
    let first = keyed(&api, event, &[1, 2], &[("Idempotency-Key", "k-1")]).await;
    assert_eq!(first.header("idempotent-replayed"), None);
    let first = first.json(201);
    let ways: [&[(&str, &str)]; 4] = [
        &[("Idempotency-Key", "k-1")],
        &[("Idempotency-Key", "\"k-1\"")],
        &[("X-Idempotency-Key", "k-1")],
        &[("Idempotency-Key", "k-1"), ("X-Idempotency-Key", "\"k-1\"")],
    ];
    for way in ways {
        assert_replayed(&keyed(&api, event, &[1, 2], way).await, &first);
        // The order of seats does not matter.
        assert_replayed(&keyed(&api, event, &[2, 1], way).await, &first);
    }
    let body = json!({ "event_id": event, "seat_ids": [1, 2], "idempotencyKey": "k-1" });
    let in_body = api.post("/api/v1/bookings").user("ann").json(body).send().await;
    assert_replayed(&in_body, &first);
    api.counts_become(event, (8, 2, 0)).await;
}

#[tokio::test]
async fn key_is_scoped_to_user_and_event_and_reuse_is_refused() {
    let api = shared_api().await;
    let (event, other) = (api.event(places(10)).await, api.event(places(10)).await);
    let key = [("Idempotency-Key", "k")];
    let first = keyed(&api, event, &[1], &key).await.json(201);
    keyed(&api, event, &[2], &key).await.problem(422, "idempotency_key_reused");
    keyed(&api, event, &[1, 2], &key).await.problem(422, "idempotency_key_reused");
    let elsewhere = keyed(&api, other, &[1], &key).await.json(201);
    assert_ne!(elsewhere["id"], first["id"]);
    let body = json!({ "event_id": event, "seat_ids": [2] });
    let bobs = api.post("/api/v1/bookings").user("bob").json(body).header("Idempotency-Key", "k");
    assert_eq!(bobs.send().await.json(201)["user_id"], "bob");
    // The refusals changed nothing.
    assert_replayed(&keyed(&api, event, &[1], &key).await, &first);
}

#[tokio::test]
async fn repeated_request_without_key_returns_its_booking() {
    let api = shared_api().await;
    let event = api.event(places(10)).await;
    let first = api.held("ann", event, &[3, 1]).await;
    assert_replayed(&api.hold("ann", event, &[1, 3]).await, &first);
    assert_ne!(api.held("ann", event, &[2]).await["id"], first["id"]);
    // With a key it is another request, which finds the seats taken.
    keyed(&api, event, &[1, 3], &[("Idempotency-Key", "k")])
        .await
        .problem(409, "seats_unavailable");
}

#[tokio::test]
async fn request_of_a_cancelled_hold_is_decided_again() {
    let api = shared_api().await;
    let event = api.event(places(10)).await;
    for key in [&[("Idempotency-Key", "k")][..], &[]] {
        let first = keyed(&api, event, &[1], key).await.json(201);
        api.act("ann", &first, "cancel").await.json(200);
        let second = keyed(&api, event, &[1], key).await;
        assert_eq!(second.header("idempotent-replayed"), None);
        let second = second.json(201);
        assert_ne!(second["id"], first["id"]);
        assert_replayed(&keyed(&api, event, &[1], key).await, &second);
        api.act("ann", &second, "cancel").await.json(200);
    }
}

#[tokio::test]
async fn request_of_a_lapsed_hold_is_decided_again() {
    let api = shared_api().await;
    let mut event = places(10);
    event["hold_ttl_seconds"] = 1.into();
    let event = api.event(event).await;
    let key = [("Idempotency-Key", "k")];
    let first = keyed(&api, event, &[1], &key).await.json(201);
    let mut second = Value::Null;
    eventually("a new booking under the old key", Duration::from_secs(60), async || {
        let reply = keyed(&api, event, &[1], &key).await;
        second = reply.json(201);
        reply.header("idempotent-replayed").is_none()
    })
    .await;
    assert_ne!(second["id"], first["id"]);
}

#[tokio::test]
async fn refusals_are_not_replayed() {
    let api = shared_api().await;
    let event = api.event(places(10)).await;
    let bobs = api.held("bob", event, &[1]).await;
    let key = [("Idempotency-Key", "k")];
    keyed(&api, event, &[1], &key).await.problem(409, "seats_unavailable");
    api.act("bob", &bobs, "cancel").await.json(200);
    // The same key is now granted: the refusal left no record.
    let granted = keyed(&api, event, &[1], &key).await;
    assert_eq!(granted.header("idempotent-replayed"), None);
    granted.json(201);
}

#[tokio::test]
async fn empty_long_and_conflicting_keys_are_refused() {
    let api = shared_api().await;
    let event = api.event(places(10)).await;
    let long = "k".repeat(256);
    let cases: [&[(&str, &str)]; 4] = [
        &[("Idempotency-Key", "")],
        &[("Idempotency-Key", "\"\"")],
        &[("X-Idempotency-Key", &long)],
        &[("Idempotency-Key", "a"), ("X-Idempotency-Key", "b")],
    ];
    for case in cases {
        let refused = keyed(&api, event, &[1], case).await;
        assert!(refused.problem(400, "invalid_parameter")["parameter"].is_string());
    }
    for bad in [json!(7), json!(""), json!([]), json!(long)] {
        let body = json!({ "event_id": event, "seat_ids": [1], "idempotencyKey": bad });
        let refused = api.post("/api/v1/bookings").user("ann").json(body).send().await;
        assert_eq!(refused.problem(422, "validation_failed")["field"], "idempotencyKey");
    }
    let longest = "k".repeat(255);
    keyed(&api, event, &[1], &[("Idempotency-Key", &longest)]).await.json(201);
}
