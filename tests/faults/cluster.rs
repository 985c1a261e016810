//! A Redis Cluster loses a primary, or moves a slot, while eight events sell: events on the other
//! primaries continue, those of the lost one are refused promptly and recover automatically, and Redis,
//! log and archive agree afterwards.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::api::{self, Api, Place, places};
use crate::support::cluster::{PRIMARIES, RedisCluster};
use crate::support::ctl::holdfastctl;
use crate::support::process::Process;
use crate::support::servers::shared_mongodb;
use crate::support::{eventually, unique_name};

/// Events that sell.
const EVENTS: usize = 8;
/// Seats of each: more than are requested.
const SEATS: u32 = 50_000;
/// Buyers of each event at a time.
const BUYERS: usize = 2;
/// Pause of a buyer between two purchases.
const PURCHASE_EVERY: Duration = Duration::from_millis(60);
/// Partitions of the deployment.
const PARTITIONS: u16 = 16;
/// How long all events sell before and after the fault, in the suite.
const CALM: Duration = Duration::from_secs(2);
/// How long a primary without a replica is down, in the suite.
const GONE: Duration = Duration::from_secs(4);
/// The total length in seconds for the long run (`make cluster`).
const SECONDS_VARIABLE: &str = "CLUSTER_SECONDS";
/// How long a confirmation waits for the archive.
const CONFIRM_WAIT: (&str, &str) = ("HOLDFAST_CONFIRM_WAIT_MS", "500");
/// Bound of every refusal.
const PROMPT: Duration = Duration::from_secs(3);
/// Bound of the recovery.
const RECOVERY: Duration = Duration::from_secs(60);
/// Requests for events on other primaries that may fail, percent.
const FAILED_PERCENT_MAX: f64 = 1.0;
/// Warnings of one process during one run: repeated warnings are counted, not repeated.
const WARNINGS_MAX: usize = 150;
/// Requests for other events that the checks need at least.
const REQUESTS_MIN: usize = 30;

/// The result of one request.
struct Sample {
    event: u64,
    sent_at: Instant,
    took: Duration,
    status: u16,
    error: String,
}

/// A purchase: the buyer, the booking and the reported status.
struct Purchase {
    event: u64,
    user: String,
    booking: Value,
    status: String,
}

/// A deployment on a cluster: one API process and one worker, real programs.
struct Sale {
    cluster: RedisCluster,
    place: Place,
    api: Api,
    worker: Process,
    events: Vec<u64>,
    next_seat: AtomicU32,
    is_over: AtomicBool,
    samples: Mutex<Vec<Sample>>,
    purchases: Mutex<Vec<Purchase>>,
}

impl Sale {
    async fn new(cluster: RedisCluster) -> Self {
        let place = Place::at(cluster.url(), shared_mongodb());
        let api = Api::program(&place, &[api::PROMPT, CONFIRM_WAIT]).await;
        let worker = place.worker_at_work(&[api::PROMPT]).await;
        let events = join_all((0..EVENTS).map(|_| api.event(places(SEATS)))).await;
        let sale = Sale {
            cluster,
            place,
            api,
            worker,
            events,
            next_seat: AtomicU32::new(1),
            is_over: AtomicBool::new(false),
            samples: Mutex::default(),
            purchases: Mutex::default(),
        };
        for primary in 0..PRIMARIES {
            assert!(sale.events.iter().any(|event| sale.primary_of(*event) == primary));
        }
        sale
    }

    fn primary_of(&self, event: u64) -> usize {
        self.cluster.first_primary_of_event(event, PARTITIONS)
    }

    /// Sells all events during a fault.
    async fn sell_during(&self, fault: impl Future<Output = ()>) {
        let buyers = self.events.iter().flat_map(|event| (0..BUYERS).map(|_| self.buy_on(*event)));
        let fault = async {
            tokio::time::sleep(calm()).await;
            fault.await;
            tokio::time::sleep(calm()).await;
            self.is_over.store(true, Ordering::Relaxed);
        };
        tokio::join!(join_all(buyers), fault);
    }

    async fn buy_on(&self, event: u64) {
        while !self.is_over.load(Ordering::Relaxed) {
            let seat = self.next_seat.fetch_add(1, Ordering::Relaxed);
            assert!(seat <= SEATS, "more seats are needed");
            let user = format!("user-{seat}");
            let body = json!({ "event_id": event, "seat_ids": [seat] });
            let hold = self.api.post("/api/v1/bookings").user(&user).json(body);
            if let Some(held) = self.sample(event, hold.send()).await {
                let id = held["id"].as_str().unwrap().to_owned();
                let pay = self.api.post(&format!("/api/v1/bookings/{id}/confirm")).user(&user);
                if let Some(paid) = self.sample(event, pay.send()).await {
                    let status = paid["status"].as_str().unwrap().to_owned();
                    let purchase = Purchase { event, user, booking: held, status };
                    self.purchases.lock().unwrap().push(purchase);
                }
            }
            tokio::time::sleep(PURCHASE_EVERY).await;
        }
    }

    /// Records the result of a request; returns the body of a successful one.
    async fn sample(
        &self,
        event: u64,
        request: impl Future<Output = crate::support::http::Reply>,
    ) -> Option<Value> {
        let sent_at = Instant::now();
        let reply = request.await;
        let granted = (200..300).contains(&reply.status);
        let body: Value = serde_json::from_slice(&reply.bytes).unwrap();
        let error = body["error"].as_str().unwrap_or_default().to_owned();
        let took = sent_at.elapsed();
        let sample = Sample { event, sent_at, took, status: reply.status, error };
        self.samples.lock().unwrap().push(sample);
        granted.then_some(body)
    }

    /// Waits until every event sells.
    async fn all_sell(&self) {
        for event in &self.events {
            eventually("an event sells again", RECOVERY, async || {
                let seat = self.next_seat.fetch_add(1, Ordering::Relaxed);
                self.api.hold(&format!("user-{seat}"), *event, &[seat]).await.status == 201
            })
            .await;
        }
    }

    /// Waits until enough requests for other events were answered since then.
    async fn enough_other_requests(&self, since: Instant, is_hit: impl Fn(u64) -> bool) {
        eventually("there are enough requests for other events", RECOVERY, async || {
            let samples = self.samples.lock().unwrap();
            let others = samples.iter().filter(|one| one.sent_at >= since && !is_hit(one.event));
            others.count() > REQUESTS_MIN
        })
        .await;
    }

    /// Checks that at most one percent of the requests for other events failed since then, and that
    /// refusals were prompt.
    fn check_requests(&self, since: Instant, is_hit: impl Fn(u64) -> bool) {
        let samples = self.samples.lock().unwrap();
        let since: Vec<&Sample> = samples.iter().filter(|one| one.sent_at >= since).collect();
        let (hit, others): (Vec<_>, Vec<_>) = since.into_iter().partition(|one| is_hit(one.event));
        let mut failures: HashMap<(u16, &str), usize> = HashMap::new();
        for one in others.iter().filter(|one| one.status >= 300) {
            *failures.entry((one.status, one.error.as_str())).or_default() += 1;
        }
        let failed: usize = failures.values().sum();
        let percent = failed as f64 * 100.0 / others.len() as f64;
        let refused = hit.iter().filter(|one| one.status >= 300).count();
        println!(
            "elsewhere {failed} of {} failed ({percent:.2} %) {failures:?}; of the hit ones {refused} of {}",
            others.len(),
            hit.len()
        );
        assert!(others.len() > REQUESTS_MIN, "too few requests: {}", others.len());
        assert!(percent <= FAILED_PERCENT_MAX, "{failed} of {}: {failures:?}", others.len());
        let slow = samples.iter().filter(|one| one.status == 503 && one.took > PROMPT);
        let slow: Vec<_> = slow.map(|one| (one.event, one.status, one.took)).collect();
        assert!(slow.is_empty(), "slow refusals: {slow:?}");
        // Affected events answer 503 and no other error.
        let others: Vec<_> =
            hit.iter().filter(|one| one.status >= 300 && one.status != 503).collect();
        assert!(others.is_empty(), "{:?}", others.iter().map(|one| &one.error).collect::<Vec<_>>());
    }

    /// Checks that every booking reported as CONFIRMED is confirmed, and every booking reported as
    /// CONFIRMING that Redis kept.
    async fn check_purchases(&self, may_lose_unconfirmed: impl Fn(u64) -> bool) {
        let purchases = std::mem::take(&mut *self.purchases.lock().unwrap());
        assert!(purchases.len() > 20, "too few purchases: {}", purchases.len());
        for Purchase { event, user, booking, status } in purchases {
            if status != "CONFIRMED" && may_lose_unconfirmed(event) {
                continue;
            }
            eventually("the booking is confirmed", RECOVERY, async || {
                let reply = self.api.booking(&user, &booking).await;
                let body: Value = serde_json::from_slice(&reply.bytes).unwrap();
                reply.status == 200 && body["status"] == "CONFIRMED"
            })
            .await;
        }
    }

    /// Checks that Redis, log and archive agree.
    async fn verified(&self) {
        let ran =
            holdfastctl(&["verify", "--wait-seconds", "60"], &self.place.environment(&[]), "")
                .await;
        assert_eq!(ran.code, 0, "{ran:?}");
    }

    /// Checks that no process repeated its warnings.
    fn check_logs(&self) {
        for process in [self.api.process(), &self.worker] {
            let lines = process.log_lines();
            let mut warnings: HashMap<String, usize> = HashMap::new();
            for line in lines.iter().filter(|line| line["level"] == "WARN") {
                let message = line["message"].as_str().unwrap_or_default().to_owned();
                *warnings.entry(message).or_default() += 1;
            }
            let count: usize = warnings.values().sum();
            assert!(count <= WARNINGS_MAX, "{count} warnings: {warnings:?}");
        }
    }
}

fn calm() -> Duration {
    seconds().map_or(CALM, |seconds| seconds / 3)
}

fn gone() -> Duration {
    seconds().map_or(GONE, |seconds| seconds / 3)
}

/// The length of the long run.
fn seconds() -> Option<Duration> {
    let seconds = std::env::var(SECONDS_VARIABLE).ok()?;
    Some(Duration::from_secs(seconds.parse().expect("a number of seconds")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_primary_with_replica_stops_only_its_own_events() {
    let sale = Sale::new(RedisCluster::start(true).await).await;
    let victim = sale.primary_of(sale.events[0]);
    let mut killed_at = Instant::now();
    sale.sell_during(async {
        killed_at = Instant::now();
        sale.cluster.node(victim).kill();
        sale.cluster.all_served().await;
        sale.all_sell().await;
        sale.enough_other_requests(killed_at, |event| sale.primary_of(event) == victim).await;
    })
    .await;
    sale.check_requests(killed_at, |event| sale.primary_of(event) == victim);
    // A cluster acknowledges a write before its replica has it: unarchived bookings that a failover lost
    // may be restored in an earlier state, or not at all.
    sale.check_purchases(|event| sale.primary_of(event) == victim).await;
    sale.cluster.restart(victim);
    sale.cluster.all_served().await;
    sale.all_sell().await;
    sale.verified().await;
    sale.check_logs();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_primary_without_replica_stops_only_its_own_events() {
    let sale = Sale::new(RedisCluster::start(false).await).await;
    let victim = sale.primary_of(sale.events[0]);
    let (mut killed_at, mut new) = (Instant::now(), None);
    sale.sell_during(async {
        killed_at = Instant::now();
        sale.cluster.node(victim).kill();
        tokio::time::sleep(gone()).await;
        // A process that starts meanwhile serves the other events.
        new = Some(Api::program(&sale.place, &[api::PROMPT]).await);
        let other = sale.events.iter().find(|event| sale.primary_of(**event) != victim);
        let (new, seat) = (new.as_ref().unwrap(), sale.next_seat.fetch_add(1, Ordering::Relaxed));
        new.held(&unique_name(), *other.unwrap(), &[seat]).await;
        sale.cluster.restart(victim);
        sale.cluster.all_served().await;
        sale.all_sell().await;
        sale.enough_other_requests(killed_at, |event| sale.primary_of(event) == victim).await;
    })
    .await;
    sale.check_requests(killed_at, |event| sale.primary_of(event) == victim);
    // Its append-only file has all acknowledged writes.
    sale.check_purchases(|_| false).await;
    sale.verified().await;
    sale.check_logs();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn moved_slot_stops_only_its_own_events_during_the_move() {
    let sale = Sale::new(RedisCluster::start(false).await).await;
    let event = sale.events[0];
    let partition = holdfast::domain::EventId(event as u32).partition(PARTITIONS);
    let (from, slot) = (sale.primary_of(event), sale.cluster.slot(partition));
    let is_moved =
        |event: u64| holdfast::domain::EventId(event as u32).partition(PARTITIONS) == partition;
    let mut began_at = Instant::now();
    sale.sell_during(async {
        began_at = Instant::now();
        for (from, to) in [(from, (from + 1) % PRIMARIES), ((from + 1) % PRIMARIES, from)] {
            let took = sale.cluster.move_slot(slot, from, to).await;
            println!("slot {slot} moved in {took:?}");
            sale.all_sell().await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        sale.enough_other_requests(began_at, is_moved).await;
    })
    .await;
    sale.check_requests(began_at, is_moved);
    sale.check_purchases(|_| false).await;
    sale.verified().await;
    sale.check_logs();
}
