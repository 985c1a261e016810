//! What is told of seats: the map, every change of it, and each to many at the cost of one.

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

/// Sockets that hear of each change in the suite; `make bench-push` has 10,000.
const MANY: usize = 500;

/// The seat map's bytes, and its generation and version, as the API answers them.
async fn map(api: &Client, event: u64) -> ((u64, u64), Vec<u8>) {
    let path = format!("/api/v1/events/{event}/seats");
    let reply = api.get(&path).header("Accept", "application/octet-stream").send().await;
    assert_eq!(reply.status, 200);
    let mut numbers = reply.header("etag").unwrap().trim_matches('"').split('-');
    let mut number = || numbers.next().unwrap().parse().unwrap();
    ((number(), number()), reply.bytes)
}

/// The version of a seat map, once nothing changes it any more.
async fn version(api: &Client, event: u64) -> u64 {
    map(api, event).await.0.1
}

#[tokio::test]
async fn a_snapshot_is_the_seat_map() {
    let api = Api::here(Place::shared().config()).await.patient();
    let event = api.event(small_event()).await;
    api.held("ann", event, &[1, 4]).await;
    let block = json!({ "seat_ids": [9], "reason": "camera" });
    let path = format!("/api/v1/events/{event}/blocks");
    api.post(&path).json(block).send().await.json(200);
    let ((_, version), bytes) = map(&api, event).await;
    let mark = format!("1-{version}");
    for subscription in [
        Subscription::Socket(api.socket(event).await),
        Subscription::Stream(api.stream_with(event, "", &[]).await),
    ] {
        let (mut subscription, mut follower) = (subscription, Follower::default());
        follower.comes_to(&mut subscription, version).await;
        assert_eq!(follower.count("snapshot"), 1);
        assert_eq!(follower.bytes(), bytes);
        assert_eq!(follower.resume, Some(mark.clone()));
    }
    // The second was told at once: the view was there.
    let mut third = api.try_socket(event, &[]).await.unwrap();
    let connected = third.next_message().await;
    let expected = json!({
        "type": "connected", "event_id": event, "generation": 1, "version": version,
        "resume": mark, "message": "Connected",
    });
    assert_eq!(connected, expected);
    api.stop().await;
}

#[tokio::test]
async fn changes_are_told_by_state() {
    let (api, event) = api_with(|config| config).await;
    let mut socket = api.socket(event).await;
    assert_eq!(socket.next_message().await["type"], "snapshot");
    let held = api.held("ann", event, &[3, 1]).await;
    let told = socket.next_message().await;
    let when: jiff::Timestamp = told["timestamp"].as_str().unwrap().parse().unwrap();
    assert!((jiff::Timestamp::now().as_second() - when.as_second()).abs() < 60, "{told}");
    let since = told["since"].as_u64().unwrap();
    let expected = json!({
        "type": "seat_update", "event_id": event, "generation": 1, "since": since,
        "version": since + 1, "status": "HOLD", "seat_ids": [1, 3],
        "timestamp": told["timestamp"], "resume": format!("1-{}", since + 1),
    });
    assert_eq!(told, expected);
    api.act("ann", &held, "cancel").await.json(200);
    let told = socket.next_message().await;
    assert_eq!((&told["status"], &told["seat_ids"]), (&json!("AVAILABLE"), &json!([1, 3])));
    assert_eq!(told["since"], since + 1);
    api.stop().await;
}

/// Metrics about what is encoded.
async fn encodes(api: &Client, what: &str) -> f64 {
    api.labelled_metric(&format!(r#"holdfast_push_encodes_total{{what="{what}"}}"#)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_are_told_at_the_cost_of_one() {
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
    let told: u32 = join_all(clients).await.iter().map(|client| client.1).sum();
    let ticks = api.metric("holdfast_push_ticks_total").await;
    assert!(ticks >= 1.0 && ticks <= f64::from(CHANGES), "{ticks}");
    assert_eq!(encodes(&api, "tick").await, ticks);
    // Those who were late for a tick share what they are told instead.
    let merged = encodes(&api, "merged").await;
    assert!(merged <= ticks * ticks, "{merged} of {ticks}");
    let sent = api.labelled_metric(r#"holdfast_socket_messages_total{type="seat_update"}"#).await;
    assert_eq!(sent, f64::from(told));
    assert!(told as usize >= MANY, "{told}");
    api.stop().await;
}

#[tokio::test]
async fn changes_at_once_are_one_tick() {
    let (api, event) = api_with(|config| Config { push_tick_ms: 5_000, ..config }).await;
    let mut socket = api.socket(event).await;
    assert_eq!(socket.next_message().await["type"], "snapshot");
    let first = api.held("ann", event, &[1]).await;
    // The first change is told at once, what follows with the next tick: the newest state alone.
    assert_eq!(socket.next_message().await["seat_ids"], json!([1]));
    let second = api.held("bob", event, &[2]).await;
    api.held("eve", event, &[3]).await;
    api.act("bob", &second, "cancel").await.json(200);
    api.act("ann", &first, "cancel").await.json(200);
    let told = [socket.next_message().await, socket.next_message().await];
    let of = |message: &Value| (message["status"].clone(), message["seat_ids"].clone());
    assert_eq!(of(&told[0]), (json!("AVAILABLE"), json!([1, 2])));
    assert_eq!(of(&told[1]), (json!("HOLD"), json!([3])));
    assert_eq!(told[0]["version"], told[1]["version"]);
    assert!(told[0].get("resume").is_none() && told[1].get("resume").is_some());
    assert_eq!(api.metric("holdfast_push_ticks_total").await, 2.0);
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stuck_client_harms_no_other_and_is_dropped() {
    const SEATS: u32 = 90_000;
    let settings = |config| Config { http_stall_timeout_ms: 3_000, ..config };
    let api = Api::here(settings(Place::shared().config())).await.patient();
    let event = api.event(places(SEATS)).await;
    let mut socket = api.socket(event).await;
    let mut follower = Follower::default();
    follower.apply(&socket.next_message().await);
    // Its snapshot alone is more than the system keeps for a client that does not read.
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
    assert!(seat > 1, "it was dropped before it could do harm");
    assert!(slowest < Duration::from_secs(3), "the other waited {slowest:?}");
    assert_eq!(api.labelled_metric(r#"holdfast_sockets_open{kind="websocket"}"#).await, 1.0);
    drop(stuck);
    api.stop().await;
}
