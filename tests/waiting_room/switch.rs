//! A change is visible at once in the process that made it, and a place is the same in every process.

use serde_json::{Value, json};

use super::SOON;
use crate::support::api::{Api, Place, places};
use crate::support::eventually;
use crate::support::http::Client;

/// How often each case is repeated: a process that used its previous state would fail at least half of
/// the time.
const ROUNDS: u32 = 12;

async fn two() -> (Place, Api, Api) {
    let place = Place::shared();
    let one = Api::program(&place, &[]).await.patient();
    let other = Api::program(&place, &[]).await.patient();
    (place, one, other)
}

async fn disable(api: &Client, event: u64) -> Value {
    let path = format!("/api/v1/events/{event}/waiting-room/disable");
    api.post(&path).send().await.json(200)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn switched_room_is_visible_at_once_in_the_same_process() {
    let place = Place::shared();
    let api = Api::program(&place, &[]).await.patient();
    let event = api.event(places(2 * ROUNDS)).await;
    for round in 1..=ROUNDS {
        api.enable_room(event, json!({ "max_concurrent": 1 })).await;
        let user = format!("user-{round}");
        api.hold(&user, event, &[round]).await.problem(403, "waiting_room_required");
        let joined = api.join_room(event, &user).await.json(200);
        assert_eq!(joined["status"], "queued", "round {round}: {joined}");
        let disabled = disable(&api, event).await;
        api.hold(&user, event, &[round]).await.json(201);
        assert_eq!(disabled["effective_within_seconds"], 1, "in the other processes");
        let token = joined["token"].as_str().unwrap();
        let status = api.room_status(event, token).await.json(200);
        assert_eq!(status["status"], "open", "round {round}: {status}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn token_is_never_open_while_another_process_switched_on() {
    let (_place, one, other) = two().await;
    let event = one.event(places(2 * ROUNDS)).await;
    for round in 1..=ROUNDS {
        // The other process has just refreshed the room as off.
        other.join_room(event, "nobody").await.problem(409, "waiting_room_off");
        one.enable_room(event, json!({ "max_concurrent": 1 })).await;
        let elsewhere = other.join_room(event, &format!("other-{round}")).await.json(200);
        assert_eq!(elsewhere["status"], "queued", "round {round}: {elsewhere}");
        disable(&one, event).await;

        other.room_stats(event).await;
        one.enable_room(event, json!({ "max_concurrent": 1 })).await;
        let token = one.joined(event, &format!("one-{round}")).await;
        let status = other.room_status(event, &token).await.json(200);
        assert_eq!(status["status"], "queued", "round {round}: {status}");
        disable(&one, event).await;
        other.room_stats(event).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn admitted_by_one_process_is_admitted_by_the_other() {
    let (place, one, other) = two().await;
    let _worker = place.worker();
    let event = one.event(places(2 * ROUNDS)).await;
    let settings = json!({ "max_concurrent": 1, "session_duration": 600, "claim_window": 30 });
    one.enable_room(event, settings).await;
    let apis = [&*one, &*other];
    for round in 0..ROUNDS {
        let user = format!("user-{round}");
        let (first, second) = (apis[round as usize % 2], apis[(round as usize + 1) % 2]);
        let token = first.joined(event, &user).await;
        first.admitted(event, &token).await;
        let status = second.room_status(event, &token).await.json(200);
        assert_eq!(status["status"], "admitted", "round {round}: {status}");
        second.leave_room(event, &token).await.json(200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn position_never_rises_across_processes() {
    let (place, one, other) = two().await;
    let _worker = place.worker();
    let event = one.event(places(200)).await;
    let settings = json!({ "max_concurrent": 5, "session_duration": 1, "claim_window": 4 });
    one.enable_room(event, settings).await;
    let apis = [&*one, &*other];
    for n in 0..20 {
        one.joined(event, &format!("before-{n}")).await;
    }
    let token = one.joined(event, "ann").await;
    let (mut polls, mut last) = (0, u64::MAX);
    eventually("she is admitted", SOON, async || {
        let status = apis[polls % 2].room_status(event, &token).await.json(200);
        polls += 1;
        let position = status["position"].as_u64().unwrap();
        assert!(position <= last, "{position} after {last}, poll {polls}");
        last = position;
        status["admitted"] == true
    })
    .await;
}

async fn change(api: &Client, event: u64, body: Value) -> Value {
    let path = format!("/api/v1/events/{event}");
    api.ask(reqwest::Method::PATCH, &path).json(body).send().await.json(200)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changed_event_is_visible_at_once_in_the_same_process() {
    let place = Place::shared();
    let api = Api::program(&place, &[]).await.patient();
    let event = api.event(places(100 * ROUNDS)).await;
    let later = (jiff::Timestamp::now() + std::time::Duration::from_secs(3_600)).to_string();
    let mut seat = 0;
    for round in 0..10 * ROUNDS {
        // A user without bookings in the event is refused from memory.
        let user = format!("user-{round}");
        seat += 1;
        change(&api, event, json!({ "status": "PAUSED" })).await;
        api.hold(&user, event, &[seat]).await.problem(409, "event_paused");
        change(&api, event, json!({ "status": "ON_SALE", "on_sale_at": later })).await;
        api.hold(&user, event, &[seat]).await.problem(409, "not_on_sale");
        let name = format!("round {round}");
        change(&api, event, json!({ "name": name, "on_sale_at": "2026-01-01T00:00:00Z" })).await;
        api.hold(&user, event, &[seat]).await.json(201);
        let shown = api.get(&format!("/api/v1/events/{event}")).send().await.json(200);
        assert_eq!((&shown["name"], &shown["status"]), (&json!(name), &json!("ON_SALE")));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocked_seats_are_visible_at_once_in_the_same_process() {
    let place = Place::shared();
    let api = Api::program(&place, &[]).await.patient();
    let event = api.event(places(10 * ROUNDS)).await;
    let blocks = format!("/api/v1/events/{event}/blocks");
    let seat_is = async |seat: u32, state: &str| {
        let map = api.get(&format!("/api/v1/events/{event}/seats")).send().await.json(200);
        assert_eq!(map["seats"][seat as usize - 1]["status"], state, "seat {seat}");
        let path = format!("/api/v1/events/{event}/availability");
        let counts = api.get(&path).send().await.json(200);
        let blocked = u64::from(state == "BLOCKED");
        assert_eq!(counts["blocked_seats"], blocked, "seat {seat}");
    };
    for round in 1..=10 * ROUNDS {
        let body = json!({ "seat_ids": [round], "reason": "camera" });
        api.post(&blocks).json(body.clone()).send().await.json(200);
        seat_is(round, "BLOCKED").await;
        let user = format!("user-{round}");
        api.hold(&user, event, &[round]).await.problem(409, "seats_unavailable");
        api.post(&format!("{blocks}/release")).json(body).send().await.json(200);
        seat_is(round, "AVAILABLE").await;
        api.hold(&user, event, &[round]).await.json(201);
    }
}
