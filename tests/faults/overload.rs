//! More concurrent holds than Redis serves within its timeout: the surplus is refused at once without
//! being sent, and refused holds have no effect.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use holdfast::config::Config;
use holdfast::domain::{BookingId, Event, EventId, SeatId, SeatState};
use holdfast::redis::scripts::{ClockSource, Scripts};
use holdfast::redis::{Detail, Engine, HoldCall, RedisError, SeatSelection, new_nonce};
use holdfast::start;
use serde_json::{Value, json};

use crate::support::api::{self, Api, Place, places};
use crate::support::engine::NoObserver;
use crate::support::eventually;
use crate::support::servers::{Flavor, private_redis, shared_mongodb};

/// Holds of one spike, over all processes.
const HOLDS: u32 = 4_000;
/// Duration of a spike.
const SPIKE: Duration = Duration::from_secs(1);
/// Processes that share them.
const PROCESSES: usize = 2;
/// Calls of one engine at the same instant.
const CALLS: u32 = 9_000;
/// Spikes until the limit has adapted to this machine. If it stalls during one, the calls in progress have an
/// unknown outcome, whatever the limit.
const SPIKES_MAX: u32 = 12;
/// One in this many calls may have an unknown outcome, because machines stall at times.
const UNKNOWN_ONE_IN: u32 = 200;
/// Bound until refused seats are free.
const REST: Duration = Duration::from_secs(30);

/// The result of one hold.
struct HoldResult {
    seat: u32,
    status: u16,
    error: String,
    took: Duration,
}

async fn send_hold(api: &Api, event: u64, seat: u32, after: Duration) -> HoldResult {
    tokio::time::sleep(after).await;
    let body = json!({ "event_id": event, "seat_ids": [seat] });
    let sent_at = Instant::now();
    let user = format!("user-{event}-{seat}");
    let reply = api.post("/api/v1/bookings").user(&user).json(body).send().await;
    let took = sent_at.elapsed();
    let body: Value = serde_json::from_slice(&reply.bytes).unwrap();
    let error = body["error"].as_str().unwrap_or_default().to_owned();
    HoldResult { seat, status: reply.status, error, took }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spike_is_answered_without_an_unknown_outcome() {
    let redis = private_redis(Flavor::Redis);
    let place = Place::new(&redis, shared_mongodb());
    let apis = join_all((0..PROCESSES).map(|_| Api::program(&place, &[api::PROMPT]))).await;
    let (engine, _) = place.services().await;
    for spike in 1..=SPIKES_MAX {
        let event = apis[0].event(places(HOLDS)).await;
        for api in &apis {
            // Loads the event and its scripts in each process.
            api.hold("first", event, &[1]).await;
        }
        let holds = (2..=HOLDS).map(|seat| {
            let after = SPIKE * seat / HOLDS;
            send_hold(&apis[seat as usize % PROCESSES], event, seat, after)
        });
        let results = join_all(holds).await;
        let mut counts: HashMap<(u16, &str), u32> = HashMap::new();
        for one in &results {
            *counts.entry((one.status, one.error.as_str())).or_default() += 1;
        }
        let slowest = results.iter().filter(|one| one.status == 503).map(|one| one.took).max();
        println!("spike {spike}: {counts:?}, slowest refusal {slowest:?}");
        let known = [(201, ""), (503, "service_unavailable"), (503, "outcome_unknown")];
        assert!(counts.keys().all(|one| known.contains(one)), "{counts:?}");
        let granted = counts.get(&(201, "")).copied().unwrap_or_default();

        // Refused seats are free, those with an unknown outcome soon.
        let refused: Vec<u32> =
            results.iter().filter(|one| one.status == 503).map(|one| one.seat).collect();
        let id = EventId(event as u32);
        let unknown = counts.get(&(503, "outcome_unknown")).copied().unwrap_or_default();
        eventually("refused seats are free", REST, async || {
            let snapshot = engine.snapshot(id, Detail::Seats).await;
            let Ok(Some(snapshot)) = snapshot else { return false };
            let inventory = snapshot.inventory.unwrap();
            let is_free = |seat: &u32| inventory.state(SeatId(*seat)) == Some(SeatState::Available);
            let free = refused.iter().all(is_free);
            assert!(free || unknown > 0, "a refused seat is held");
            free
        })
        .await;
        if unknown == 0 && granted > HOLDS / 20 {
            return;
        }
    }
    panic!("each of {SPIKES_MAX} spikes had unknown outcomes, or too few grants");
}

/// Many simultaneous calls of one process: the last ones would wait longer than the timeout.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn surplus_calls_are_refused_without_being_sent() {
    let redis = private_redis(Flavor::Redis);
    let place = Place::new(&redis, shared_mongodb());
    let api = Api::program(&place, &[]).await;
    let config = Config { redis_timeout_ms: 500, ..place.config() };
    let settings = start::redis_settings(&config).unwrap();
    let scripts = Scripts::embedded(ClockSource::Redis);
    let engine = Engine::connect(settings, scripts, Arc::new(NoObserver)).await.unwrap();
    let (_, archive) = place.services().await;
    for spike in 1..=SPIKES_MAX {
        let id = EventId(api.event(places(CALLS)).await as u32);
        let event = Arc::new(archive.event(id).await.unwrap().unwrap());
        let calls = (1..=CALLS).map(|seat| {
            let (engine, event) = (engine.clone(), event.clone());
            tokio::spawn(async move { (seat, hold(&engine, &event, seat).await) })
        });
        let (mut held, mut refused, mut unknown) = (0, Vec::new(), 0);
        for called in join_all(calls).await {
            match called.unwrap() {
                (_, Ok("ok")) => held += 1,
                (seat, Ok("too_late") | Err(RedisError::NotRun(_))) => refused.push(seat),
                (_, Err(RedisError::Unknown(_))) => unknown += 1,
                other => panic!("{other:?}"),
            }
        }
        println!("spike {spike}: {held} held, {} refused, {unknown} unknown", refused.len());
        assert!(held > 0 && !refused.is_empty(), "{held} held, {} refused", refused.len());
        let snapshot = engine.snapshot(id, Detail::Seats).await.unwrap().unwrap();
        let inventory = snapshot.inventory.unwrap();
        let is_free = |seat: &u32| inventory.state(SeatId(*seat)) == Some(SeatState::Available);
        assert!(refused.iter().all(is_free), "a refused seat is held");
        if unknown * UNKNOWN_ONE_IN <= CALLS {
            return;
        }
    }
    panic!("each of {SPIKES_MAX} spikes had unknown outcomes");
}

async fn hold(engine: &Engine, event: &Event, seat: u32) -> Result<&'static str, RedisError> {
    let (nonce, digest) = (new_nonce(), new_nonce());
    let seats = [SeatId(seat)];
    let call = HoldCall {
        event: event.id,
        generation: event.generation,
        layout_version: event.layout_version,
        currency: &event.currency,
        booking: BookingId::new(event.id, 1_800_000_000_000, rand::random()),
        user: &format!("user-{seat}").parse().unwrap(),
        nonce: &nonce,
        selection: SeatSelection::named(&seats, 100),
        idempotency: &digest,
        fingerprint: "one",
        trace: "",
        idempotency_ttl_ms: 60_000,
        replay_window_ms: 0,
        log_entries_max: 1_000_000,
        room_number: 0,
        exempt: false,
    };
    let not_after = engine.not_after(engine.keys().partition_of(event.id)).await?;
    Ok(engine.hold(&call, not_after).await?.code())
}
