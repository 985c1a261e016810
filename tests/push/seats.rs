//! Seat updates: the snapshot, every change, and one encoding for many subscribers.

use std::time::Duration;

use futures_util::future::join_all;
use holdfast::config::Config;
use serde_json::{Value, json};

use super::api_with;
use crate::support::api::{Api, Place, places, small_event};
use crate::support::eventually;
use crate::support::followers::{Follower, Subscription};
use crate::support::http::Client;
use crate::support::sockets::{BOUND, Socket};

/// Sockets that receive each change; `make bench-push` has 10,000.
const MANY: usize = 500;

/// The seat map's bytes, generation and version by the API.
async fn map(api: &Client, event: u64) -> ((u64, u64), Vec<u8>) {
    let path = format!("/api/v1/events/{event}/seats");
    let reply = api.get(&path).header("Accept", "application/octet-stream").send().await;
    assert_eq!(reply.status, 200);
    let mut numbers = reply.header("etag").unwrap().trim_matches('"').split('-');
    let mut number = || numbers.next().unwrap().parse().unwrap();
    ((number(), number()), reply.bytes)
}

/// The version of a seat map that no longer changes.
async fn version(api: &Client, event: u64) -> u64 {
    map(api, event).await.0.1
}

#[tokio::test]
async fn snapshot_equals_the_seat_map() {
    let api = Api::here(Place::shared().config()).await.patient();
    let event = api.event(small_event()).await;
    api.held("ann", event, &[1, 4]).await;
    let block = json!({ "seat_ids": [9], "reason": "camera" });
    let path = format!("/api/v1/events/{event}/blocks");
    api.post(&path).json(block).send().await.json(200);
    let ((_, version), bytes) = map(&api, event).await;
    let resume = format!("1-{version}");
    for subscription in [
        Subscription::Socket(api.socket(event).await),
        Subscription::Stream(api.stream_with(event, "", &[]).await),
    ] {
        let (mut subscription, mut follower) = (subscription, Follower::default());
        follower.comes_to(&mut subscription, version).await;
        assert_eq!(follower.count("snapshot"), 1);
        assert_eq!(follower.bytes(), bytes);
        assert_eq!(follower.resume, Some(resume.clone()));
    }
    // The view exists, so `connected` carries its version.
    let mut third = api.try_socket(event, &[]).await.unwrap();
    let connected = third.next_message().await;
    let expected = json!({
        "type": "connected", "event_id": event, "generation": 1, "version": version,
        "resume": resume, "message": "Connected",
    });
    assert_eq!(connected, expected);
    api.stop().await;
}

#[tokio::test]
async fn changes_are_grouped_by_state() {
    let (api, event) = api_with(|config| config).await;
    let mut socket = api.socket(event).await;
    assert_eq!(socket.next_message().await["type"], "snapshot");
    let held = api.held("ann", event, &[3, 1]).await;
    let update = socket.next_message().await;
    let when: jiff::Timestamp = update["timestamp"].as_str().unwrap().parse().unwrap();
    assert!((jiff::Timestamp::now().as_second() - when.as_second()).abs() < 60, "{update}");
    let since = update["since"].as_u64().unwrap();
    let expected = json!({
        "type": "seat_update", "event_id": event, "generation": 1, "since": since,
        "version": since + 1, "status": "HOLD", "seat_ids": [1, 3],
        "timestamp": update["timestamp"], "resume": format!("1-{}", since + 1),
    });
    assert_eq!(update, expected);
    api.act("ann", &held, "cancel").await.json(200);
    let update = socket.next_message().await;
    assert_eq!((&update["status"], &update["seat_ids"]), (&json!("AVAILABLE"), &json!([1, 3])));
    assert_eq!(update["since"], since + 1);
    api.stop().await;
}

/// The number of encodings of a kind.
async fn encodes(api: &Client, what: &str) -> f64 {
    api.labelled_metric(&format!(r#"holdfast_push_encodes_total{{what="{what}"}}"#)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn update_for_many_sockets_is_encoded_once() {
    const CHANGES: u32 = 20;
    let api = Api::here(Place::shared().config()).await.patient();
    let event = api.event(places(CHANGES)).await;
    let mut clients: Vec<(Socket, Follower)> = Vec::new();
    for _ in 0..MANY {
        let mut socket = api.socket(event).await;
        let mut follower = Follower::default();
        follower.apply(&socket.next_message().await);
        clients.push((socket, follower));
    }
    assert_eq!(encodes(&api, "snapshot").await, 1.0);
    for seat in 1..=CHANGES {
        api.held(&format!("user-{seat}"), event, &[seat]).await;
    }
    let (last, bytes) = (version(&api, event).await, map(&api, event).await.1);
    let clients = clients.into_iter().map(async |(socket, mut follower)| {
        let mut subscription = Subscription::Socket(socket);
        follower.comes_to(&mut subscription, last).await;
        assert_eq!(follower.bytes(), bytes);
        assert_eq!((follower.count("snapshot"), follower.count("gap")), (1, 0));
        (subscription, follower.count("seat_update"))
    });
    let received: u32 = join_all(clients).await.iter().map(|client| client.1).sum();
    let ticks = api.metric("holdfast_push_ticks_total").await;
    assert!(ticks >= 1.0 && ticks <= f64::from(CHANGES), "{ticks}");
    assert_eq!(encodes(&api, "tick").await, ticks);
    // Subscribers that were late for a tick share merged updates.
    let merged = encodes(&api, "merged").await;
    assert!(merged <= ticks * ticks, "{merged} of {ticks}");
    let sent = api.labelled_metric(r#"holdfast_socket_messages_total{type="seat_update"}"#).await;
    assert_eq!(sent, f64::from(received));
    assert!(received as usize >= MANY, "{received}");
    api.stop().await;
}

#[tokio::test]
async fn changes_within_an_interval_are_one_tick() {
    let (api, event) = api_with(|config| Config { push_tick_ms: 5_000, ..config }).await;
    let mut socket = api.socket(event).await;
    assert_eq!(socket.next_message().await["type"], "snapshot");
    let first = api.held("ann", event, &[1]).await;
    // The first change is sent at once, later ones with the next tick: the newest state only.
    assert_eq!(socket.next_message().await["seat_ids"], json!([1]));
    let second = api.held("bob", event, &[2]).await;
    api.held("eve", event, &[3]).await;
    api.act("bob", &second, "cancel").await.json(200);
    api.act("ann", &first, "cancel").await.json(200);
    let updates = [socket.next_message().await, socket.next_message().await];
    let of = |message: &Value| (message["status"].clone(), message["seat_ids"].clone());
    assert_eq!(of(&updates[0]), (json!("AVAILABLE"), json!([1, 2])));
    assert_eq!(of(&updates[1]), (json!("HOLD"), json!([3])));
    assert_eq!(updates[0]["version"], updates[1]["version"]);
    assert!(updates[0].get("resume").is_none() && updates[1].get("resume").is_some());
    assert_eq!(api.metric("holdfast_push_ticks_total").await, 2.0);
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stuck_client_is_dropped_and_delays_no_other() {
    const SEATS: u32 = 90_000;
    let settings = |config| Config { http_stall_timeout_ms: 3_000, ..config };
    let api = Api::here(settings(Place::shared().config())).await.patient();
    let event = api.event(places(SEATS)).await;
    let mut socket = api.socket(event).await;
    let mut follower = Follower::default();
    follower.apply(&socket.next_message().await);
    // Its snapshot alone exceeds the kernel's buffer.
    let stuck = api.stuck_socket(event).await;
    let mut subscription = Subscription::Socket(socket);
    let stalled = r#"holdfast_sockets_ended_total{kind="websocket",reason="stalled"}"#;
    let mut seat = 0;
    let mut slowest = Duration::ZERO;
    eventually("the stuck one is dropped", BOUND, async || {
        seat += 1;
        api.held(&format!("user-{seat}"), event, &[seat]).await;
        let began = std::time::Instant::now();
        let last = version(&api, event).await;
        follower.comes_to(&mut subscription, last).await;
        slowest = slowest.max(began.elapsed());
        api.labelled_metric(stalled).await == 1.0
    })
    .await;
    assert!(seat > 1, "it was dropped before it could delay others");
    assert!(slowest < Duration::from_secs(3), "the other waited {slowest:?}");
    assert_eq!(api.labelled_metric(r#"holdfast_sockets_open{kind="websocket"}"#).await, 1.0);
    drop(stuck);
    api.stop().await;
}
