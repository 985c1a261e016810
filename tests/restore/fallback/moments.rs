//! A running sale whose Redis falls back to an older copy of its data at random moments, with one
//! worker or two, of which none, some or all die with it, as the API does or does not.
//!
//! In the end Redis, log and archive agree, all payments are settled, and every booking that was reported
//! as CONFIRMED is confirmed, unless its cancellation was requested.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use holdfast::domain::BookingId;
use holdfast::sale::SaleSettings;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::RwLock;

use super::*;
use crate::paying::books_agree;
use crate::support::consistency::wait_until_consistent;
use crate::support::servers::available;

/// How often Redis falls back in the long form (`make fallbacks`).
const MOMENTS_VARIABLE: &str = "FALLBACK_MOMENTS";
/// How often it does otherwise.
const MOMENTS: u32 = 3;
/// Another sequence of moments: a seed that a failure has printed.
const SEED_VARIABLE: &str = "FALLBACK_SEED";
/// Buyers at a time.
const BUYERS: u32 = 6;
/// Seats; there are always some left.
const SEATS: u32 = 4_000;
/// Duration of a hold, short so that unpaid holds end soon after the sale.
const HOLD_SECONDS: u32 = 20;
/// How long a lease lasts, ms: little more than the time-outs of these workers allow.
const LEASE_MS: i64 = 10_000;
/// Longest time that is lost, ms.
const LOST_MS_MAX: u64 = 1_500;
/// How many sales there must be between two moments, at least.
const SALES_BETWEEN: usize = 3;
/// Bound of the end: repairs, leases, refunds, on a busy machine.
const ENDED: Duration = Duration::from_secs(300);

/// What was reported to buyers.
#[derive(Default)]
struct Reported {
    confirmed: Mutex<BTreeMap<BookingId, Booking>>,
    /// Bookings whose cancellation was requested, with any result.
    cancel_requested: Mutex<BTreeSet<BookingId>>,
    stop: AtomicBool,
    next_user: AtomicU32,
}

impl Reported {
    fn count(&self) -> usize {
        self.confirmed.lock().unwrap().len()
    }
}

fn rules() -> SaleSettings {
    let confirm_wait = Duration::from_secs(3);
    SaleSettings { confirm_lease_ms: LEASE_MS, confirm_wait, ..sale_settings() }
}

/// Buys seats as a new user each time, and cancels some, until stopped.
async fn buyer(world: Arc<RwLock<World>>, event: EventId, reported: Arc<Reported>, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    while !reported.stop.load(Ordering::SeqCst) {
        let user = format!("u{}", reported.next_user.fetch_add(1, Ordering::SeqCst));
        let first = random.random_range(1..SEATS);
        let seats: Vec<u32> = (first..=(first + random.random_range(0..2)).min(SEATS)).collect();
        let regrets = random.random_bool(0.15);
        {
            let world = world.read().await;
            if let Ok(held) = world.hold(&user, event, &seats, None).await
                && let Ok(Confirmed::Settled(view)) = world.confirm(&held).await
            {
                let id = view.booking.id;
                reported.confirmed.lock().unwrap().insert(id, view.booking.clone());
                if regrets {
                    reported.cancel_requested.lock().unwrap().insert(id);
                    let _sometimes_refused = world.sale.cancel(&view.booking.user, id).await;
                }
            }
        }
        // Several buyers on two cores; the sale need not be fast.
        tokio::time::sleep(Duration::from_millis(random.random_range(5..60))).await;
    }
}

/// One fall-back: copy, continue the sale, crash, put the copy back.
async fn moment(
    redis: &Server,
    world: &Arc<RwLock<World>>,
    workers: &mut Vec<WorkerProcess>,
    reported: &Reported,
    random: &mut StdRng,
) {
    let copy = redis.saved_writes();
    tokio::time::sleep(Duration::from_millis(random.random_range(0..LOST_MS_MAX))).await;
    let dying = random.random_range(0..=workers.len());
    let api_dies = random.random_bool(0.3);
    workers.truncate(workers.len() - dying);
    redis.kill();
    redis.put_back_writes(&copy);
    tokio::task::block_in_place(|| redis.restart());
    if api_dies {
        let mut world = world.write().await;
        world.start_anew(redis, shared_mongodb(), rules()).await;
    }
    let count = random.random_range(1..=2_usize);
    workers.truncate(count);
    while workers.len() < count {
        workers.push(worker(&*world.read().await).await);
    }
    // Usually the sale continues before the next fall-back; sometimes that one hits a repair.
    if random.random_bool(0.75) {
        let before = reported.count();
        eventually("the sale continues", REPAIRED, async || {
            reported.count() >= before + SALES_BETWEEN
        })
        .await;
    }
}

async fn worker(world: &World) -> WorkerProcess {
    let spec = WorkerSpec::new(world, shared_mongodb());
    let spec = spec.with("mongodb_timeout_ms", "3000").with("payment_timeout_ms", "500");
    let spec = spec.with("confirm_lease_ms", &LEASE_MS.to_string());
    spec.with("worker_reclaim_idle_ms", "11000").start().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sale_survives_fall_backs_at_random_moments() {
    let flavor = Flavor::Redis;
    if !available(flavor) {
        return;
    }
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let moments = number(MOMENTS_VARIABLE).map_or(MOMENTS, |many| many as u32);
    let seed = number(SEED_VARIABLE).unwrap_or_else(rand::random);
    eprintln!("{moments} moments of {SEED_VARIABLE}={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let redis = private_redis(flavor);
    let world = World::with(&redis, shared_mongodb(), rules()).await;
    let mut workers = vec![worker(&world).await];
    let event = world.event_of(SEATS, Some(HOLD_SECONDS)).await;
    let (world, reported) = (Arc::new(RwLock::new(world)), Arc::new(Reported::default()));
    let buyers: Vec<_> = (0..BUYERS)
        .map(|_| tokio::spawn(buyer(world.clone(), event, reported.clone(), random.random())))
        .collect();
    let began = Instant::now();
    for number in 1..=moments {
        moment(&redis, &world, &mut workers, &reported, &mut random).await;
        let (sold, seconds) = (reported.count(), began.elapsed().as_secs());
        eprintln!("moment {number} of {moments}: {sold} confirmed, {seconds} s");
    }
    reported.stop.store(true, Ordering::SeqCst);
    for buyer in buyers {
        buyer.await.unwrap();
    }
    let world = Arc::into_inner(world).expect("no buyer is left").into_inner();
    check_reports(&world, event, &reported).await;
    assert!(workers.into_iter().all(WorkerProcess::stop));
    world.stop().await;
}

async fn check_reports(world: &World, event: EventId, reported: &Reported) {
    let confirmed: Vec<Booking> = reported.confirmed.lock().unwrap().values().cloned().collect();
    let cancel_requested = reported.cancel_requested.lock().unwrap().clone();
    assert!(!confirmed.is_empty(), "nobody bought anything");
    // First without reading bookings, so that an undetected loss is not detected by these reads.
    wait_until_consistent(&world.engine, &world.archive, ENDED).await;
    books_agree(&world.archive, &[u64::from(event.0)]).await;
    wait_until_consistent(&world.engine, &world.archive, ENDED).await;
    let mut owners: BTreeMap<SeatId, BookingId> = BTreeMap::new();
    for booking in &confirmed {
        let (id, in_redis) = (booking.id, world.status(booking.id).await);
        let shown = world.sale.booking(&booking.user, id).await.unwrap().booking.status;
        match shown {
            Status::Cancelled if cancel_requested.contains(&id) => continue,
            Status::Confirmed => assert_eq!(in_redis, Some(Status::Confirmed), "{id}"),
            other => {
                panic!("{id} was reported as CONFIRMED and is {other:?}, in Redis {in_redis:?}")
            }
        }
        for seat in &booking.seats {
            let owner = *owners.entry(*seat).or_insert(id);
            assert_eq!(owner, id, "seat {seat} has two owners");
        }
    }
}
