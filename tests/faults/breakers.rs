//! Dependencies that give no answers: circuit breakers open, so answers stay prompt and nothing that was
//! refused happens later; they close again by themselves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use holdfast::domain::{EventId, SeatId, SeatState};
use holdfast::redis::Detail;
use serde_json::Value;

use crate::payments::sale::{api_with, pay, worker_with};
use crate::support::api::{self, Api, Place, places};
use crate::support::consistency::{AGREEMENT, wait_until_consistent};
use crate::support::eventually;
use crate::support::http::{Client, Reply};
use crate::support::servers::{Flavor, available, private_mongodb, private_redis, shared_mongodb};
use crate::support::stopwatch::Stopwatch;
use crate::support::stripe::{Fault, StripeServer};

/// How long Redis is frozen.
const FREEZE: Duration = Duration::from_secs(5);
/// Bound of 99 of 100 answers, at any time.
const PROMPT: Duration = Duration::from_secs(1);
/// Bound of all waits.
const BOUND: Duration = Duration::from_secs(60);
/// Buyers at a time, and each one's pause between two requests.
const BUYERS: u32 = 8;
const BUYER_PAUSE: Duration = Duration::from_millis(10);
const READER_PAUSE: Duration = Duration::from_millis(20);
/// Holds granted before the freeze, and after it.
const GRANTED_MIN: u32 = 100;
const SEATS: u32 = 20_000;

/// What buyers and readers saw.
#[derive(Default)]
struct Seen {
    took: Vec<Duration>,
    granted: Vec<u32>,
    refused: Vec<u32>,
    /// Seat maps, and those of them that were marked as stale.
    maps: u32,
    stale_maps: u32,
}

/// Load that goes on until it is stopped.
struct Load {
    client: Client,
    event: u64,
    next_seat: AtomicU32,
    granted: AtomicU32,
    stops: AtomicBool,
}

impl Load {
    async fn buyer(self: Arc<Self>) -> Seen {
        let mut seen = Seen::default();
        while !self.stops.load(Ordering::Relaxed) {
            let seat = self.next_seat.fetch_add(1, Ordering::Relaxed);
            let watch = Stopwatch::start();
            let reply = self.client.hold(&format!("u{seat}"), self.event, &[seat]).await;
            seen.took.push(watch.elapsed());
            match reply.status {
                201 => {
                    seen.granted.push(seat);
                    self.granted.fetch_add(1, Ordering::Relaxed);
                }
                503 => {
                    assert!(reply.header("retry-after").is_some(), "a refusal says when to come");
                    seen.refused.push(seat);
                }
                status => panic!("{status}: {}", reply.text()),
            }
            tokio::time::sleep(BUYER_PAUSE).await;
        }
        seen
    }

    async fn reader(self: Arc<Self>) -> Seen {
        let mut seen = Seen::default();
        while !self.stops.load(Ordering::Relaxed) {
            let watch = Stopwatch::start();
            let reply = self.client.get(&format!("/api/v1/events/{}/seats", self.event));
            let reply = reply.header("Accept", "application/octet-stream").send().await;
            seen.took.push(watch.elapsed());
            assert_eq!(reply.status, 200, "maps stay up: {}", reply.text());
            seen.maps += 1;
            seen.stale_maps += u32::from(reply.header("x-seat-map-stale").is_some());
            tokio::time::sleep(READER_PAUSE).await;
        }
        seen
    }

    async fn grants_more(&self, more: u32) {
        let wanted = self.granted.load(Ordering::Relaxed) + more;
        let grants = async || self.granted.load(Ordering::Relaxed) >= wanted;
        eventually("holds are granted", BOUND, grants).await;
    }
}

/// The state of a breaker, as the health report has it.
async fn breaker(client: &Client, dependency: &str) -> Value {
    let reply: Reply = client.get("/health").send().await;
    let body: Value = serde_json::from_slice(&reply.bytes).unwrap();
    body["circuit_breakers"][dependency].clone()
}

fn percentile_99(mut took: Vec<Duration>) -> Duration {
    took.sort_unstable();
    took[took.len() * 99 / 100]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frozen_redis_is_refused_promptly_while_maps_stay_up() {
    if !available(Flavor::Redis) {
        return;
    }
    let redis = private_redis(Flavor::Redis);
    let place = Place::new(&redis, shared_mongodb());
    let api = Api::program(&place, &[api::PROMPT]).await;
    let worker = place.worker_at_work(&[]).await;
    let event = api.event(places(SEATS)).await;
    let load = Arc::new(Load {
        client: api.client(),
        event,
        next_seat: AtomicU32::new(1),
        granted: AtomicU32::new(0),
        stops: AtomicBool::new(false),
    });
    let buyers = (0..BUYERS).map(|_| tokio::spawn(load.clone().buyer()));
    let readers = (0..2).map(|_| tokio::spawn(load.clone().reader()));
    let parties: Vec<_> = buyers.chain(readers).collect();
    load.grants_more(GRANTED_MIN).await;
    assert_eq!(breaker(&api, "redis").await, "closed");

    redis.freeze();
    let frozen = tokio::time::Instant::now();
    let opens = async || breaker(&api, "redis").await == "open";
    eventually("the breaker opens", BOUND, opens).await;
    tokio::time::sleep_until(frozen + FREEZE).await;
    assert_eq!(api.get("/health/ready").send().await.status, 503);
    redis.thaw();
    let closes = async || breaker(&api, "redis").await == "closed";
    eventually("the breaker closes", BOUND, closes).await;
    load.grants_more(GRANTED_MIN).await;
    load.stops.store(true, Ordering::Relaxed);

    let mut all = Seen::default();
    for seen in join_all(parties).await {
        let seen = seen.unwrap();
        all.took.extend(seen.took);
        all.granted.extend(seen.granted);
        all.refused.extend(seen.refused);
        all.maps += seen.maps;
        all.stale_maps += seen.stale_maps;
    }
    let p99 = percentile_99(std::mem::take(&mut all.took));
    let Seen { granted, refused, maps, stale_maps, .. } = &all;
    println!(
        "{} granted, {} refused, p99 {p99:?}, {stale_maps} of {maps} maps stale",
        granted.len(),
        refused.len()
    );
    assert!(p99 < PROMPT, "p99 {p99:?}");
    assert!(!refused.is_empty() && *stale_maps > 0);
    let rejected = r#"holdfast_circuit_breaker_rejected_total{dependency="redis"}"#;
    assert!(api.labelled_metric(rejected).await > 0.0);

    // What was refused is free, and what was granted is held.
    let (engine, archive) = place.services().await;
    eventually("refused seats are free", BOUND, async || {
        let snapshot = engine.snapshot(EventId(event as u32), Detail::Seats).await;
        let Ok(Some(snapshot)) = snapshot else { return false };
        let inventory = snapshot.inventory.unwrap();
        let state = |seat: &u32| inventory.state(SeatId(*seat));
        assert!(granted.iter().all(|seat| state(seat) == Some(SeatState::Hold)));
        refused.iter().all(|seat| state(seat) == Some(SeatState::Available))
    })
    .await;
    let report = wait_until_consistent(&engine, &archive, AGREEMENT).await;
    assert!(report.clean);
    drop(worker);
}

/// Attempts to pay during the outage: more than a booking has.
const ATTEMPTS: u32 = 20;
const ATTEMPT_PAUSE: Duration = Duration::from_millis(250);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frozen_mongodb_refuses_payments_at_once_and_costs_no_attempt() {
    let (redis, mongodb) = (private_redis(Flavor::Redis), private_mongodb());
    let place = Place::new(&redis, &mongodb);
    let api = Api::program(&place, &[]).await;
    let worker = place.worker_at_work(&[]).await;
    let event = api.event(places(10)).await;
    let held = api.held("ann", event, &[1]).await;

    mongodb.freeze();
    let opens = async || breaker(&api, "mongodb").await == "open";
    eventually("the breaker opens", BOUND, opens).await;
    let mut took = Vec::new();
    for _ in 0..ATTEMPTS {
        let watch = Stopwatch::start();
        let refused = api.act("ann", &held, "confirm").await;
        took.push(watch.elapsed());
        refused.problem(503, "service_unavailable");
        assert!(refused.header("retry-after").is_some());
        // Over several pauses: the breaker is half-open in between.
        tokio::time::sleep(ATTEMPT_PAUSE).await;
    }
    assert!(took.iter().all(|took| *took < PROMPT), "{took:?}");
    // Seats are held and shown all the same.
    let other = api.held("bob", event, &[2]).await;
    assert_eq!(api.booking("bob", &other).await.json(200)["status"], "HOLD");
    assert_eq!(api.get(&format!("/api/v1/events/{event}/seats")).send().await.status, 200);
    mongodb.thaw();

    let closes = async || breaker(&api, "mongodb").await == "closed";
    eventually("the breaker closes", BOUND, closes).await;
    eventually("it can be paid", BOUND, async || {
        let reply = api.act("ann", &held, "confirm").await;
        assert!(matches!(reply.status, 200 | 202 | 503), "{}: {}", reply.status, reply.text());
        reply.status != 503
    })
    .await;
    eventually("it is CONFIRMED", BOUND, async || {
        api.booking("ann", &held).await.json(200)["status"] == "CONFIRMED"
    })
    .await;
    drop(worker);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn provider_without_answers_is_not_called_for_new_payments() {
    let (place, server) = (Place::shared(), StripeServer::start().await);
    let api = api_with(&place, &server).await;
    let worker = worker_with(&place, &server);
    let event = api.event(places(20)).await;
    let mut held = Vec::new();
    for seat in 1..=10 {
        held.push(api.held("ann", event, &[seat]).await);
    }
    let mut failed = 0;
    for booking in &held {
        if breaker(&api, "payments").await == "open" {
            break;
        }
        server.fail("/payment_intents", Fault::TooMany);
        pay(&api, booking, "card_visa").await.problem(503, "service_unavailable");
        failed += 1;
    }
    assert_eq!(failed, 5, "calls without an answer until it opens");
    assert_eq!(breaker(&api, "payments").await, "open");
    let calls = server.seen().len();
    pay(&api, &held[9], "card_visa").await.problem(503, "service_unavailable");
    assert_eq!(server.seen().len(), calls, "the provider is not called");
    assert_eq!(api.booking("ann", &held[9]).await.json(200)["status"], "HOLD");

    eventually("payments are made again", BOUND, async || {
        pay(&api, &held[9], "card_visa").await.status == 202
    })
    .await;
    eventually("another one closes the breaker", BOUND, async || {
        pay(&api, &held[8], "card_visa").await;
        breaker(&api, "payments").await == "closed"
    })
    .await;
    eventually("it is CONFIRMED", BOUND, async || {
        api.booking("ann", &held[9]).await.json(200)["status"] == "CONFIRMED"
    })
    .await;
    api.stop().await;
    drop(worker);
}
