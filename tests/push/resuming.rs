//! Clients that were cut off and come back: they go on where they were, or are told that they cannot.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use holdfast::config::Config;
use holdfast::domain::EventId;
use holdfast::redis::{Detail, Engine};
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

/// The messages about seats on a socket that shows `since`, up to a change that is made then.
async fn resumed(api: &Client, event: u64, query: &str, user: &str, seat: u32) -> Vec<Value> {
    let mut socket = api.socket_with(event, query, &[]).await;
    api.held(user, event, &[seat]).await;
    let mut told = Vec::new();
    loop {
        let message = socket.next_message().await;
        let is_last = message["seat_ids"].as_array().is_some_and(|ids| ids.contains(&json!(seat)));
        // A snapshot may have it already.
        let has_it = message["type"] == "snapshot" && told.len() > 8;
        told.push(message);
        if is_last || has_it {
            return told;
        }
    }
}

fn kinds(told: &[Value]) -> Vec<&str> {
    told.iter().map(|message| message["type"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn what_was_missed_is_told_together() {
    let (api, event) = api_with(|config| config).await;
    let mut socket = api.socket(event).await;
    let mut follower = Follower::default();
    follower.apply(&socket.next_message().await);
    let since = follower.resume.clone().unwrap();
    drop(socket);
    api.held("ann", event, &[1]).await;
    let bob = api.held("bob", event, &[2]).await;
    api.act("bob", &bob, "cancel").await.json(200);
    // Nobody has followed meanwhile; the view has.
    let told = resumed(&api, event, &format!("?since={since}"), "eve", 3).await;
    assert!(told.iter().all(|message| message["type"] == "seat_update"), "{told:?}");
    let before = follower.bytes().to_vec();
    told.iter().for_each(|message| follower.apply(message));
    let mut expected = before.to_ascii_lowercase();
    (expected[1], expected[3]) = (b'h', b'h');
    assert_eq!(follower.bytes().to_ascii_lowercase(), expected);
    // A stream goes on in the same way.
    let since = follower.resume.clone().unwrap();
    let mut stream = api.stream_with(event, "?since=1-0", &[("Last-Event-ID", &since)]).await;
    assert_eq!(stream.next_message().await["type"], "connected");
    api.held("joe", event, &[4]).await;
    let told = stream.next_message().await;
    assert_eq!((&told["type"], &told["seat_ids"]), (&json!("seat_update"), &json!([4])));
    assert_eq!(stream.last_id.as_deref(), told["resume"].as_str());
    api.stop().await;
}

#[tokio::test]
async fn what_is_not_known_is_told_as_a_gap() {
    let (api, event) = api_with(|config| config).await;
    let mut first = api.socket(event).await;
    let snapshot = first.next_message().await;
    let version = snapshot["version"].as_u64().unwrap();
    // Of the future, of another generation, from before this process looked.
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
    // A browser shows again what it was told: it must not be refused for that.
    let mut stream = api.stream_with(event, "", &[("Last-Event-ID", "of another server")]).await;
    stream.last_id = Some("of another server".to_owned());
    let told = [stream.next_message().await, stream.next_message().await];
    assert_eq!(kinds(&told), ["connected", "gap"]);
    assert_eq!(stream.last_id, None, "cut off here, it begins anew");
    assert_eq!(stream.next_message().await["type"], "snapshot");
    assert_eq!(stream.last_id.as_deref(), snapshot["resume"].as_str());
    for query in ["?since=", "?since=1", "?since=1-x", "?since=-1-1", "?snapshot=map"] {
        let refused = api.try_socket_with(event, query, &[]).await.err();
        assert_eq!(refused, Some((400, "invalid_parameter".to_owned())), "{query}");
    }
    api.stop().await;
}

#[tokio::test]
async fn who_fetches_the_map_is_told_changes_alone() {
    let (api, event) = api_with(|config| config).await;
    // The view is there.
    assert_eq!(api.socket(event).await.next_message().await["type"], "snapshot");
    let told = resumed(&api, event, "?snapshot=none", "ann", 1).await;
    assert_eq!(kinds(&told), ["seat_update"]);
    let told = resumed(&api, event, "?snapshot=none&since=9-9", "bob", 2).await;
    assert_eq!(kinds(&told), ["gap", "seat_update"]);
    let to = format!("{}-{}", told[1]["generation"], told[1]["since"]);
    assert_eq!(told[0]["to"], to);
    api.stop().await;
}

/// What Redis held at each version that was met.
type Maps = BTreeMap<(u64, u64), Vec<u8>>;

/// Notes what Redis holds, over and over.
async fn record(engine: &Engine, event: EventId, ends: &AtomicBool) -> Maps {
    let mut maps = Maps::new();
    while !ends.load(Ordering::Relaxed) {
        if let Ok(Some(found)) = engine.snapshot(event, Detail::Seats).await {
            let inventory = found.inventory.expect("seats were asked for");
            maps.insert((found.generation, found.version), inventory.as_bytes().to_vec());
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    maps
}

/// Holds seats at random, gives half of them up, and lets the others lapse.
async fn acts(api: &Client, event: u64, user: String, turns: u32) {
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

/// Listens, leaves at random and comes back, until the end.
async fn comes_and_goes(api: &Client, event: u64, is_socket: bool, ends: &AtomicBool) -> Follower {
    let mut follower = Follower::default();
    let mut random = StdRng::from_rng(&mut rand::rng());
    while !ends.load(Ordering::Relaxed) {
        let mut subscription = opens(api, event, is_socket, &mut follower).await;
        for _ in 0..random.random_range(1..12) {
            let told =
                tokio::time::timeout(Duration::from_millis(500), subscription.next_message()).await;
            match told {
                Ok(message) => follower.apply(&message),
                // Nothing happens; a part of a message may be lost with it.
                Err(_) => break,
            }
        }
        if let Subscription::Stream(stream) = &subscription {
            // A browser shows what the stream said, whatever its page makes of it.
            follower.resume = stream.last_id.clone();
        }
        if random.random_ratio(1, 8) {
            // Another client in its place.
            follower.forgets();
        }
        drop(subscription);
        tokio::time::sleep(Duration::from_millis(random.random_range(0..150))).await;
    }
    follower
}

async fn opens(api: &Client, event: u64, is_socket: bool, follower: &mut Follower) -> Subscription {
    let resume = follower.resume.clone();
    if is_socket {
        let query = resume.as_ref().map_or(String::new(), |mark| format!("?since={mark}"));
        return Subscription::Socket(api.socket_with(event, &query, &[]).await);
    }
    let shown = resume.as_deref().map(|mark| ("Last-Event-ID", mark));
    let mut stream = api.stream_with(event, "", shown.as_slice()).await;
    stream.last_id = resume;
    Subscription::Stream(stream)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_and_goes_misses_nothing() {
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
            tokio::spawn(async move { comes_and_goes(&api, event, n % 2 == 0, &ends).await })
        })
        .collect();
    let act = |round: u32| {
        let api = api.client();
        async move {
            let all = (0..3).map(|n| acts(&api, event, format!("user-{round}-{n}"), 60));
            join_all(all).await;
        }
    };
    act(1).await;
    // An entry that is not of the chain: the view is lost, and built anew.
    let log = engine.keys().log(engine.keys().partition_of(EventId(event as u32)));
    let url = place.config().redis_url.to_string();
    let address = url.rsplit('/').next().unwrap().to_owned();
    let words = ["XADD", &log, "*", "v", "another"].map(str::to_owned);
    let broken = tokio::task::spawn_blocking(move || {
        redis_command(&address, &words.each_ref().map(String::as_str)).map(|_| ())
    });
    broken.await.unwrap().unwrap();
    act(2).await;
    eventually("all holds have lapsed", BOUND, async || api.counts(event).await.0 == 12).await;
    ends.store(true, Ordering::Relaxed);
    let found = engine.snapshot(EventId(event as u32), Detail::Seats).await.unwrap().unwrap();
    let (mut compared, mut heard) = (0, BTreeMap::<String, u32>::new());
    let mut all = Vec::new();
    for (n, follower) in followers.into_iter().enumerate() {
        let mut follower = follower.await.unwrap();
        // Comes back once more, and hears the rest.
        let mut subscription = opens(&api, event, n % 2 == 0, &mut follower).await;
        follower.comes_to(&mut subscription, found.version).await;
        assert_eq!(follower.bytes(), found.inventory.as_ref().unwrap().as_bytes());
        all.push(follower);
    }
    recorded.store(true, Ordering::Relaxed);
    let maps = recorder.await.unwrap();
    for follower in &all {
        for (mark, bytes) in &follower.maps {
            if let Some(expected) = maps.get(mark) {
                assert_eq!(bytes, expected, "at {mark:?}");
                compared += 1;
            }
        }
        for (kind, count) in &follower.heard {
            *heard.entry(kind.clone()).or_default() += count;
        }
    }
    println!("{compared} maps compared; heard {heard:?}");
    assert!(compared > 100, "{compared}");
    assert!(heard["gap"] > 0 && heard["seat_update"] > 100, "{heard:?}");
    api.stop().await;
}
