//! Clients that reconnect: they resume at their version, or receive a gap.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use holdfast::config::Config;
use holdfast::domain::EventId;
use holdfast::redis::{Detail, Engine};
use hyper::Method;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use super::api_with;
use crate::support::api::{Api, Place, small_event};
use crate::support::eventually;
use crate::support::followers::{Follower, Subscription};
use crate::support::http::Client;
use crate::support::servers::redis_command;
use crate::support::sockets::BOUND;

/// The seat messages of a new socket with this query, up to a change made after it opened.
async fn resumed(api: &Client, event: u64, query: &str, user: &str, seat: u32) -> Vec<Value> {
    let mut socket = api.socket_with(event, query, &[]).await;
    api.held(user, event, &[seat]).await;
    let mut messages = Vec::new();
    loop {
        let message = socket.next_message().await;
        let is_last = message["seat_ids"].as_array().is_some_and(|ids| ids.contains(&json!(seat)));
        // A snapshot may contain it already.
        let has_it = message["type"] == "snapshot" && messages.len() > 8;
        messages.push(message);
        if is_last || has_it {
            return messages;
        }
    }
}

fn kinds(messages: &[Value]) -> Vec<&str> {
    messages.iter().map(|message| message["type"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn missed_changes_are_sent_merged() {
    let (api, event) = api_with(|config| config).await;
    let mut socket = api.socket(event).await;
    let mut follower = Follower::default();
    follower.apply(&socket.next_message().await);
    let since = follower.resume.clone().unwrap();
    drop(socket);
    api.held("ann", event, &[1]).await;
    let bob = api.held("bob", event, &[2]).await;
    api.act("bob", &bob, "cancel").await.json(200);
    // There was no subscriber in between; the view followed the log.
    let messages = resumed(&api, event, &format!("?since={since}"), "eve", 3).await;
    assert!(messages.iter().all(|message| message["type"] == "seat_update"), "{messages:?}");
    let before = follower.bytes().to_vec();
    messages.iter().for_each(|message| follower.apply(message));
    let mut expected = before.to_ascii_lowercase();
    (expected[1], expected[3]) = (b'h', b'h');
    assert_eq!(follower.bytes().to_ascii_lowercase(), expected);
    // A stream resumes in the same way.
    let since = follower.resume.clone().unwrap();
    let mut stream = api.stream_with(event, "?since=1-0", &[("Last-Event-ID", &since)]).await;
    assert_eq!(stream.next_message().await["type"], "connected");
    api.held("joe", event, &[4]).await;
    let update = stream.next_message().await;
    assert_eq!((&update["type"], &update["seat_ids"]), (&json!("seat_update"), &json!([4])));
    assert_eq!(stream.last_id.as_deref(), update["resume"].as_str());
    api.stop().await;
}

#[tokio::test]
async fn pause_between_two_sockets_is_told_to_who_resumes() {
    let (api, event) = api_with(|config| config).await;
    let mut socket = api.socket(event).await;
    let since = socket.next_message().await["resume"].as_str().unwrap().to_owned();
    drop(socket);
    let paused = api.ask(Method::PATCH, &format!("/api/v1/events/{event}"));
    paused.json(json!({ "status": "PAUSED" })).send().await.json(200);
    let mut socket = api.socket_with(event, &format!("?since={since}"), &[]).await;
    loop {
        let message = socket.next_message().await;
        assert!(message["type"] != "snapshot", "it resumes");
        if message["type"] == "event_status" {
            assert_eq!(message["status"], "PAUSED");
            break;
        }
    }
    api.stop().await;
}

#[tokio::test]
async fn unknown_version_is_answered_with_a_gap() {
    let (api, event) = api_with(|config| config).await;
    let mut first = api.socket(event).await;
    let snapshot = first.next_message().await;
    let version = snapshot["version"].as_u64().unwrap();
    // Of the future, of another generation, from before this process followed the event.
    let cases = [format!("1-{}", version + 1_000), format!("2-{version}"), "1-0".to_owned()];
    for since in &cases {
        let mut socket = api.socket_with(event, &format!("?since={since}"), &[]).await;
        let (gap, after) = (socket.next_message().await, socket.next_message().await);
        let expected = json!({
            "type": "gap", "event_id": event, "from": since, "to": snapshot["resume"],
            "message": gap["message"],
        });
        assert_eq!(gap, expected);
        assert_eq!(after, snapshot);
    }
    // A browser repeats the last id that it received: an unknown one must not be refused.
    let mut stream = api.stream_with(event, "", &[("Last-Event-ID", "of another server")]).await;
    stream.last_id = Some("of another server".to_owned());
    let messages = [stream.next_message().await, stream.next_message().await];
    assert_eq!(kinds(&messages), ["connected", "gap"]);
    assert_eq!(stream.last_id, None, "a client that is cut off here starts over");
    assert_eq!(stream.next_message().await["type"], "snapshot");
    assert_eq!(stream.last_id.as_deref(), snapshot["resume"].as_str());
    for query in ["?since=", "?since=1", "?since=1-x", "?since=-1-1", "?snapshot=map"] {
        let refused = api.try_socket_with(event, query, &[]).await.err();
        assert_eq!(refused, Some((400, "invalid_parameter".to_owned())), "{query}");
    }
    api.stop().await;
}

#[tokio::test]
async fn client_that_fetches_the_map_gets_changes_only() {
    let (api, event) = api_with(|config| config).await;
    // The view exists.
    assert_eq!(api.socket(event).await.next_message().await["type"], "snapshot");
    let messages = resumed(&api, event, "?snapshot=none", "ann", 1).await;
    assert_eq!(kinds(&messages), ["seat_update"]);
    let messages = resumed(&api, event, "?snapshot=none&since=9-9", "bob", 2).await;
    assert_eq!(kinds(&messages), ["gap", "seat_update"]);
    let to = format!("{}-{}", messages[1]["generation"], messages[1]["since"]);
    assert_eq!(messages[0]["to"], to);
    api.stop().await;
}

/// What Redis held, by version.
type Maps = BTreeMap<(u64, u64), Vec<u8>>;

/// Records what Redis holds, repeatedly.
async fn record(engine: &Engine, event: EventId, ends: &AtomicBool) -> Maps {
    let mut maps = Maps::new();
    while !ends.load(Ordering::Relaxed) {
        if let Ok(Some(found)) = engine.snapshot(event, Detail::Seats).await {
            let inventory = found.inventory.expect("the seats");
            maps.insert((found.generation, found.version), inventory.as_bytes().to_vec());
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    maps
}

/// Holds random seats, cancels half of the holds, and lets the others expire.
async fn hold_and_cancel(api: &Client, event: u64, user: String, turns: u32) {
    let mut random = StdRng::from_rng(&mut rand::rng());
    for _ in 0..turns {
        let first = random.random_range(1..=10);
        let reply = api.hold(&user, event, &[first, first + 1]).await;
        if reply.status == 201 && random.random() {
            api.act(&user, &reply.json(201), "cancel").await;
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(0..30))).await;
    }
}

/// Receives, disconnects at random and reconnects, until `ends`.
async fn reconnect_repeatedly(
    api: &Client,
    event: u64,
    is_socket: bool,
    ends: &AtomicBool,
) -> Follower {
    let mut follower = Follower::default();
    let mut random = StdRng::from_rng(&mut rand::rng());
    while !ends.load(Ordering::Relaxed) {
        let mut subscription = open(api, event, is_socket, &mut follower).await;
        for _ in 0..random.random_range(1..12) {
            let message =
                tokio::time::timeout(Duration::from_millis(500), subscription.next_message()).await;
            match message {
                Ok(message) => follower.apply(&message),
                // Nothing happened; a part of a message may be lost.
                Err(_) => break,
            }
        }
        if let Subscription::Stream(stream) = &subscription {
            // A browser repeats the last id of the stream, whatever its page does.
            follower.resume = stream.last_id.clone();
        }
        if random.random_ratio(1, 8) {
            // A new client takes its place.
            follower.forgets();
        }
        drop(subscription);
        tokio::time::sleep(Duration::from_millis(random.random_range(0..150))).await;
    }
    follower
}

async fn open(api: &Client, event: u64, is_socket: bool, follower: &mut Follower) -> Subscription {
    let resume = follower.resume.clone();
    if is_socket {
        let query = resume.as_ref().map_or(String::new(), |version| format!("?since={version}"));
        return Subscription::Socket(api.socket_with(event, &query, &[]).await);
    }
    let header = resume.as_deref().map(|version| ("Last-Event-ID", version));
    let mut stream = api.stream_with(event, "", header.as_slice()).await;
    stream.last_id = resume;
    Subscription::Stream(stream)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reconnecting_clients_miss_no_change() {
    const FOLLOWERS: usize = 12;
    let place = Place::shared();
    let api = Api::here(Config { push_tick_ms: 10, ..place.config() }).await.patient();
    let _worker = place.worker_at_work(&[]).await;
    let (engine, _) = place.services().await;
    let mut event = small_event();
    event["hold_ttl_seconds"] = 1.into();
    event["max_seats_per_user"] = 12.into();
    let event = api.event(event).await;
    let (ends, recorded) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let recorder = {
        let (engine, recorded) = (engine.clone(), recorded.clone());
        tokio::spawn(async move { record(&engine, EventId(event as u32), &recorded).await })
    };
    let followers: Vec<_> = (0..FOLLOWERS)
        .map(|n| {
            let (api, ends) = (api.client(), ends.clone());
            tokio::spawn(async move { reconnect_repeatedly(&api, event, n % 2 == 0, &ends).await })
        })
        .collect();
    let run = |round: u32| {
        let api = api.client();
        async move {
            let all = (0..3).map(|n| hold_and_cancel(&api, event, format!("user-{round}-{n}"), 60));
            join_all(all).await;
        }
    };
    run(1).await;
    // An entry outside the chain: the view is dropped, and rebuilt.
    let log = engine.keys().log(engine.keys().partition_of(EventId(event as u32)));
    let url = place.config().redis_url.to_string();
    let address = url.rsplit('/').next().unwrap().to_owned();
    let words = ["XADD", &log, "*", "v", "another"].map(str::to_owned);
    let broken = tokio::task::spawn_blocking(move || {
        redis_command(&address, &words.each_ref().map(String::as_str)).map(|_| ())
    });
    broken.await.unwrap().unwrap();
    run(2).await;
    eventually("all holds have expired", BOUND, async || api.counts(event).await.0 == 12).await;
    ends.store(true, Ordering::Relaxed);
    let found = engine.snapshot(EventId(event as u32), Detail::Seats).await.unwrap().unwrap();
    let (mut compared, mut received) = (0, BTreeMap::<String, u32>::new());
    let mut all = Vec::new();
    for (n, follower) in followers.into_iter().enumerate() {
        let mut follower = follower.await.unwrap();
        // Connects once more, and receives the rest.
        let mut subscription = open(&api, event, n % 2 == 0, &mut follower).await;
        follower.comes_to(&mut subscription, found.version).await;
        assert_eq!(follower.bytes(), found.inventory.as_ref().unwrap().as_bytes());
        all.push(follower);
    }
    recorded.store(true, Ordering::Relaxed);
    let maps = recorder.await.unwrap();
    for follower in &all {
        for (version, bytes) in &follower.maps {
            if let Some(expected) = maps.get(version) {
                assert_eq!(bytes, expected, "at {version:?}");
                compared += 1;
            }
        }
        for (kind, count) in &follower.heard {
            *received.entry(kind.clone()).or_default() += count;
        }
    }
    println!("{compared} maps compared; received {received:?}");
    assert!(compared > 100, "{compared}");
    assert!(received["gap"] > 0 && received["seat_update"] > 100, "{received:?}");
    api.stop().await;
}
