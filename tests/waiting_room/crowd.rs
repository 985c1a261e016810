//! Thousands wait, a third of whom never return, while API, worker and Redis processes are killed and
//! restarted: at no moment are there more sessions and open places than the operator allows, and
//! everybody is admitted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use holdfast::domain::{EventId, Floors};
use holdfast::redis::Engine;
use holdfast::sale::waiting_room::RoomStore;
use holdfast::start;
use rand::RngExt;
use tokio::sync::{RwLock, Semaphore};
use tokio::time::sleep;

use crate::support::api::{Api, Place, places};
use crate::support::servers::{Flavor, Server, available, private_redis, shared_mongodb};
use crate::support::{eventually, size};

/// Number of people who join; overridden by this variable.
const JOINERS: usize = 1_500;
const JOINERS_VARIABLE: &str = "QUEUE_JOINERS";
/// Maximum number of sessions and open places.
const CONCURRENT: u32 = 250;
/// Share of people who never poll again.
const NO_SHOWS: f64 = 0.3;
const SESSION_MS: u64 = 500;
const CLAIM_MS: u64 = 1_000;
/// Concurrent requests.
const AT_ONCE: usize = 48;
/// Longest pause of a client between two polls: shorter than recommended, to save time.
const PAUSE_MAX: Duration = Duration::from_secs(4);
/// Pause between two faults.
const PEACE: Duration = Duration::from_secs(3);
/// Bound per thousand people.
const A_THOUSAND_WITHIN: Duration = Duration::from_secs(90);

struct Crowd {
    place: Place,
    redis: Server,
    apis: [RwLock<Arc<Api>>; 2],
    event: u64,
    asking: Semaphore,
    over: AtomicBool,
    admitted: AtomicUsize,
    too_late: AtomicUsize,
}

/// What was observed of the room.
#[derive(Default)]
struct Observed {
    looks: AtomicU64,
    most: AtomicU64,
}

impl Crowd {
    async fn api(&self, turn: usize) -> Arc<Api> {
        self.apis[turn % 2].read().await.clone()
    }

    /// Joins; `None` without a response for a long time.
    async fn join(&self, n: usize) -> Option<String> {
        let path = format!("/api/v1/events/{}/waiting-room/join", self.event);
        for turn in 0..200 {
            let api = self.api(n + turn).await;
            let reply = api.post(&path).user(&format!("user-{n:015}")).try_send().await;
            match reply {
                Ok(reply) if reply.status == 200 => {
                    return reply.json(200)["token"].as_str().map(str::to_owned);
                }
                // A process was killed, or Redis was.
                Ok(reply) => assert!(reply.status == 503, "{}", reply.text()),
                Err(_) => {}
            }
            sleep(Duration::from_millis(100)).await;
        }
        None
    }

    /// Polls until admitted, or too late.
    async fn wait(&self, n: usize, token: &str) {
        let path = format!("/api/v1/events/{}/waiting-room/status?token={token}", self.event);
        for turn in 0.. {
            let mut pause = Duration::from_millis(200);
            let permit = self.asking.acquire().await.unwrap();
            let reply = self.api(n + turn).await.get(&path).try_send().await;
            drop(permit);
            match reply {
                Ok(reply) if reply.status == 200 => {
                    let status = reply.json(200);
                    if status["admitted"] == true {
                        self.admitted.fetch_add(1, Ordering::Relaxed);
                        return;
                    }
                    let seconds = status["refresh_after_seconds"].as_u64().unwrap();
                    pause = Duration::from_secs(seconds).min(PAUSE_MAX).mul_f64(0.7);
                }
                Ok(reply) if reply.status == 403 => {
                    self.too_late.fetch_add(1, Ordering::Relaxed);
                    return;
                }
                Ok(reply) => assert!(reply.status == 503, "{}", reply.text()),
                Err(_) => {}
            }
            sleep(pause).await;
        }
    }

    /// INVARIANT under test, checked as often as possible.
    async fn look(&self, engine: &Engine, observed: &Observed) {
        let event = EventId(self.event as u32);
        while !self.over.load(Ordering::Relaxed) {
            // Redis may be unavailable.
            if let Ok(state) = engine.room_look(event, 0, 0, Floors::default()).await {
                let there = u64::from(state.live) + u64::from(state.unclaimed);
                assert!(there <= u64::from(CONCURRENT), "{there} are in: {state:?}");
                observed.most.fetch_max(there, Ordering::Relaxed);
                observed.looks.fetch_add(1, Ordering::Relaxed);
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Kills and restarts one process after the other.
    async fn misfortunes(&self) {
        let mut workers = [self.place.worker(), self.place.worker()];
        for turn in 0.. {
            sleep(PEACE).await;
            if self.over.load(Ordering::Relaxed) {
                return;
            }
            match turn % 5 {
                0 | 3 => {
                    workers[turn % 2].kill();
                    workers[turn % 2] = self.place.worker();
                }
                2 => {
                    self.redis.kill();
                    self.redis.restart();
                }
                _ => {
                    let mut api = self.apis[turn % 2].write().await;
                    api.process().kill();
                    *api = Arc::new(Api::program(&self.place, &[]).await);
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn max_concurrent_is_never_exceeded() {
    start::raise_open_files();
    let joiners = size(JOINERS_VARIABLE, JOINERS);
    let flavor = if available(Flavor::Redis) { Flavor::Redis } else { Flavor::Valkey };
    let redis = private_redis(flavor);
    let place = Place::new(&redis, shared_mongodb());
    let apis = [Api::program(&place, &[]).await, Api::program(&place, &[]).await];
    let event = apis[0].event(places(20_000)).await;
    let (engine, archive) = place.services().await;
    let rules = start::sale_settings(&place.config());
    let store = RoomStore::of(&engine, &archive, &rules);
    let settings = |room: &mut holdfast::domain::RoomSettings| {
        room.on = true;
        room.max_concurrent = CONCURRENT;
        (room.session_ms, room.session_cap_ms, room.claim_ms) = (SESSION_MS, SESSION_MS, CLAIM_MS);
    };
    store.change(EventId(event as u32), "test", settings).await.unwrap();
    let crowd = Crowd {
        place,
        redis,
        apis: apis.map(|api| RwLock::new(Arc::new(api))),
        event,
        asking: Semaphore::new(AT_ONCE),
        over: AtomicBool::new(false),
        admitted: AtomicUsize::new(0),
        too_late: AtomicUsize::new(0),
    };
    let joins = stream::iter((0..joiners).map(|n| crowd.join(n)));
    let tokens: Vec<Option<String>> = joins.buffered(AT_ONCE).collect().await;
    let tokens: Vec<String> = tokens.into_iter().map(|token| token.expect("a place")).collect();

    let observed = Observed::default();
    let coming: Vec<bool> = tokens.iter().map(|_| !rand::rng().random_bool(NO_SHOWS)).collect();
    let waits = tokens.iter().enumerate().filter(|(n, _)| coming[*n]);
    let all = async {
        let within = A_THOUSAND_WITHIN * joiners.div_ceil(1_000) as u32;
        let waits = futures_util::future::join_all(waits.map(|(n, token)| crowd.wait(n, token)));
        tokio::time::timeout(within, waits).await.expect("everybody's turn comes");
        // People who never returned have not stopped the line.
        eventually("all are served", within, async || {
            let state = engine.room_look(EventId(event as u32), 0, 0, Floors::default()).await;
            state.is_ok_and(|state| state.floors.served >= joiners as u64)
        })
        .await;
        crowd.over.store(true, Ordering::Relaxed);
    };
    tokio::join!(all, crowd.look(&engine, &observed), crowd.misfortunes());
    let (admitted, too_late) = (crowd.admitted.into_inner(), crowd.too_late.into_inner());
    let (looks, most) = (observed.looks.into_inner(), observed.most.into_inner());
    println!("{admitted} let in, {too_late} too late; {looks} looks, at most {most} at a time");
    assert!(admitted >= joiners / 20, "{admitted} of {joiners}");
    assert!(looks > 100 && most > u64::from(CONCURRENT) / 2, "{looks} looks, at most {most}");
}
