//! Blocks over HTTP: blocked, released, shown, counted and archived.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::api::{Api, Place, small_event};
use crate::support::eventually;
use crate::support::http::{Client, Reply};

async fn act(api: &Client, event: u64, verb: &str, body: Value) -> Reply {
    api.post(&format!("/api/v1/events/{event}/blocks{verb}")).json(body).send().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seats_are_blocked_and_released_with_a_reason() {
    let place = Place::shared();
    let api = Api::program(&place, &[]).await;
    let _worker = place.worker();
    let event = api.event(small_event()).await;
    let row = json!({ "section": "Stalls", "row_number": "A", "reason": "camera" });
    let blocked = act(&api, event, "", row.clone()).await.json(200);
    assert_eq!(blocked, json!({ "event_id": event, "action": "block", "changed": 3 }));
    assert_eq!(act(&api, event, "", row).await.json(200)["changed"], 0, "again");

    let refused = api.hold("ann", event, &[3, 4]).await.problem(409, "seats_unavailable");
    assert_eq!(refused["seats"][0], json!({ "id": 3, "status": "BLOCKED" }));
    let path = format!("/api/v1/events/{event}/availability");
    let counts = api.shown(path, |counts| counts["blocked_seats"] == 3).await;
    assert_eq!(counts["available_seats"], 9);

    // A held seat refuses the whole block, and is named.
    api.held("ann", event, &[5]).await;
    let body = json!({ "seat_ids": [4, 5], "reason": "camera" });
    let refused = act(&api, event, "", body).await.problem(409, "seats_unavailable");
    assert_eq!(refused["seats"], json!([{ "id": 5, "status": "HOLD" }]));
    // A release ignores seats that are not blocked.
    let body = json!({ "seat_ids": [2, 5, 6], "reason": "camera is smaller" });
    assert_eq!(act(&api, event, "/release", body).await.json(200)["changed"], 1);
    api.held("bob", event, &[2]).await;

    let path = format!("/api/v1/events/{event}/blocks");
    let mut listed = Value::Null;
    eventually("both are archived", Duration::from_secs(60), async || {
        listed = api.get(&path).send().await.json(200)["blocks"].clone();
        listed.as_array().is_some_and(|list| list.len() == 2)
    })
    .await;
    let story = |entry: &Value| {
        let fields = ["action", "seat_ids", "reason", "by"];
        fields.map(|name| entry[name].clone())
    };
    let first = [json!("block"), json!([1, 2, 3]), json!("camera"), json!("loopback")];
    assert_eq!(story(&listed[0]), first);
    let second = [json!("release"), json!([2]), json!("camera is smaller"), json!("loopback")];
    assert_eq!(story(&listed[1]), second);
    let one = api.get(&format!("{path}?page_size=1")).send().await.json(200);
    assert_eq!((one["blocks"].as_array().unwrap().len(), &one["blocks"][0]), (1, &listed[0]));
    let cursor = one["next_cursor"].as_str().unwrap();
    let two = api.get(&format!("{path}?page_size=1&cursor={cursor}")).send().await.json(200);
    assert_eq!((&two["blocks"], &two["next_cursor"]), (&json!([listed[1]]), &Value::Null));
}

#[tokio::test]
async fn wrong_blocks_are_refused() {
    let api = Api::here(Place::shared().config()).await;
    let event = api.event(small_event()).await;
    for (body, status, code) in [
        (json!({ "seat_ids": [13], "reason": "x" }), 422, "seats_unknown"),
        (json!({ "section": "Balcony", "reason": "x" }), 422, "section_unknown"),
        (json!({ "section": "Stalls", "row_number": "Z", "reason": "x" }), 422, "section_unknown"),
        (json!({ "section": "Stalls" }), 422, "validation_failed"),
        (json!({ "section": "Stalls", "reason": " " }), 422, "validation_failed"),
    ] {
        act(&api, event, "", body).await.problem(status, code);
    }
    act(&api, 4_000_000, "", json!({ "seat_ids": [1], "reason": "x" }))
        .await
        .problem(404, "event_unknown");
    let forwarded = api.post(&format!("/api/v1/events/{event}/blocks"));
    let forwarded = forwarded.header("X-Forwarded-For", "10.1.1.1");
    let body = json!({ "seat_ids": [1], "reason": "x" });
    forwarded.json(body).send().await.problem(401, "admin_key_missing");
    api.stop().await;
}
