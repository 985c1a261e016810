//! MongoDB's primary fails during a running sale: killed before or after a write, or frozen at one, and
//! restarted on the same data after a while. With an API process and two workers.
//!
//! In the end Redis, log and archive agree, all payments are settled, every booking reported as CONFIRMED is
//! confirmed unless its cancellation was requested, and cancellations have their reported result.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use holdfast::domain::{Booking, BookingId, EventId, SeatId, Status};
use holdfast::sale::{Confirmed, SaleError, SaleSettings};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use crate::paying::books_agree;
use crate::support::consistency::wait_until_consistent;
use crate::support::eventually;
use crate::support::primary::{FAULTS, Fault, Primary};
use crate::support::servers::{Flavor, Server, available, private_redis};
use crate::support::worker::{WorkerProcess, WorkerSpec};
use crate::support::world::{World, sale_settings};

/// How often the primary fails in the long form (`make primaries`): at every write of a sale in turn, and
/// as often at random ones.
const MOMENTS_VARIABLE: &str = "PRIMARY_MOMENTS";
/// How often it does otherwise.
const MOMENTS: usize = 2;
/// Another sequence of moments: a seed that a failure has printed.
const SEED_VARIABLE: &str = "PRIMARY_SEED";
/// Approximate writes of one sale with its cancellation, including the workers'.
const WRITES_OF_A_SALE: u64 = 24;
/// Buyers at a time in the running sale.
const BUYERS: u32 = 5;
const SEATS: u32 = 4_000;
const HOLD_SECONDS: u32 = 20;
/// More than the timeouts of this API process and its workers together.
const LEASE_MS: i64 = 20_000;
/// Longest outage: longer than every timeout of MongoDB here; outages are random up to this.
const OUTAGE_MS_MAX: u64 = 7_000;
/// Bounds on a busy machine.
const SPRUNG: Duration = Duration::from_secs(30);
const GOES_ON: Duration = Duration::from_secs(180);
const ENDED: Duration = Duration::from_secs(300);

/// The last reported state of a booking that was CONFIRMED.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reported {
    Confirmed,
    /// A cancellation that certainly was not made.
    NotCancelled,
    Cancelled,
    /// A cancellation with unknown outcome.
    Unknown,
}

struct Sale {
    world: World,
    event: EventId,
    reported: Mutex<BTreeMap<BookingId, (Booking, Reported)>>,
    ends: AtomicBool,
    next: AtomicU32,
}

impl Sale {
    async fn start(redis: &Server, primary: &Primary) -> Arc<Sale> {
        let confirm_wait = Duration::from_secs(3);
        let rules = SaleSettings { confirm_lease_ms: LEASE_MS, confirm_wait, ..sale_settings() };
        let world = World::prompt(redis, &primary.server, rules).await;
        let event = world.event_of(SEATS, Some(HOLD_SECONDS)).await;
        let (reported, ends, next) = (Mutex::default(), AtomicBool::new(false), AtomicU32::new(1));
        Arc::new(Sale { world, event, reported, ends, next })
    }

    async fn workers(&self, primary: &Primary) -> Vec<WorkerProcess> {
        let mut workers = Vec::new();
        for _ in 0..2 {
            let spec = WorkerSpec::new(&self.world, &primary.server);
            let spec = spec.with("mongodb_timeout_ms", "2000").with("payment_timeout_ms", "500");
            let spec = spec.with("confirm_lease_ms", &LEASE_MS.to_string());
            workers.push(spec.with("worker_reclaim_idle_ms", "11000").start().await);
        }
        workers
    }

    /// Buys seats as a new user, and cancels them if `cancels`.
    async fn buy(&self, cancels: bool) {
        let number = self.next.fetch_add(1, Ordering::SeqCst);
        let user = format!("u{number}");
        let seats = [number * 2 % SEATS + 1];
        let Ok(held) = self.world.hold(&user, self.event, &seats, None).await else { return };
        let Ok(Confirmed::Settled(view)) = self.world.confirm(&held).await else { return };
        let booking = view.booking;
        self.note(&booking, Reported::Confirmed);
        if cancels {
            // Recorded before the request: its outcome may stay unknown.
            self.note(&booking, Reported::Unknown);
            let reported = match self.world.sale.cancel(&booking.user, booking.id).await {
                Ok(_) => Reported::Cancelled,
                Err(SaleError::Unavailable { unknown: false, .. }) => Reported::NotCancelled,
                Err(_) => Reported::Unknown,
            };
            self.note(&booking, reported);
        }
    }

    fn note(&self, booking: &Booking, reported: Reported) {
        self.reported.lock().unwrap().insert(booking.id, (booking.clone(), reported));
    }

    fn count(&self) -> usize {
        self.reported.lock().unwrap().len()
    }

    async fn check_reports(&self) {
        let archive = &self.world.archive;
        wait_until_consistent(&self.world.engine, archive, ENDED).await;
        books_agree(archive, &[u64::from(self.event.0)]).await;
        wait_until_consistent(&self.world.engine, archive, ENDED).await;
        let reported = self.reported.lock().unwrap().clone();
        let mut owners: BTreeMap<SeatId, BookingId> = BTreeMap::new();
        for (id, (booking, reported)) in reported {
            let shown = self.world.sale.booking(&booking.user, id).await.unwrap().booking.status;
            let expected: &[Status] = match reported {
                Reported::Confirmed | Reported::NotCancelled => &[Status::Confirmed],
                Reported::Cancelled => &[Status::Cancelled],
                Reported::Unknown => &[Status::Confirmed, Status::Cancelled],
            };
            assert!(
                expected.contains(&shown),
                "{id} was reported as {reported:?} and is {shown:?}"
            );
            assert_eq!(self.world.status(id).await, Some(shown), "{id} in Redis");
            for seat in booking.seats.iter().filter(|_| shown == Status::Confirmed) {
                assert_eq!(*owners.entry(*seat).or_insert(id), id, "seat {seat} has two owners");
            }
        }
    }
}

/// Makes the primary fail at a write and recover after a while.
async fn fails_once(primary: &Primary, fault: Fault, passing: u64, outage: Duration) {
    primary.at_write(fault, passing, b"");
    let began = Instant::now();
    while primary.sprung().is_none() && began.elapsed() < SPRUNG {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    primary.disarm();
    // There were too few writes.
    let Some(fault) = primary.sprung() else { return };
    tokio::time::sleep(outage).await;
    tokio::task::block_in_place(|| primary.recover(fault));
}

fn outage(random: &mut StdRng) -> Duration {
    Duration::from_millis(random.random_range(0..OUTAGE_MS_MAX))
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

fn seeded() -> StdRng {
    let seed = number(SEED_VARIABLE).unwrap_or_else(rand::random);
    eprintln!("{SEED_VARIABLE}={seed}");
    StdRng::seed_from_u64(seed)
}

/// A sale with two workers and a MongoDB with injected faults.
struct Stage {
    _redis: Server,
    primary: Primary,
    sale: Arc<Sale>,
    workers: Vec<WorkerProcess>,
}

impl Stage {
    /// `None` without the Redis for it.
    async fn start() -> Option<Self> {
        if !available(Flavor::Redis) {
            return None;
        }
        let (redis, primary) = (private_redis(Flavor::Redis), Primary::start());
        let sale = Sale::start(&redis, &primary).await;
        let workers = sale.workers(&primary).await;
        Some(Stage { _redis: redis, primary, sale, workers })
    }

    /// Checks the reports and ends everything.
    async fn end(self) {
        self.sale.check_reports().await;
        assert!(self.workers.into_iter().all(WorkerProcess::stop));
        Arc::into_inner(self.sale).expect("no buyer is left").world.stop().await;
    }
}

/// Each write of one sale and its cancellation, with each fault; in the short form some of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sale_survives_a_primary_that_fails_between_any_two_writes() {
    let Some(stage) = Stage::start().await else { return };
    let (mut random, primary, sale) = (seeded(), &stage.primary, &stage.sale);
    let mut moments: Vec<(u64, Fault)> =
        (0..WRITES_OF_A_SALE).flat_map(|write| FAULTS.map(|fault| (write, fault))).collect();
    moments.shuffle(&mut random);
    moments.truncate(number(MOMENTS_VARIABLE).map_or(MOMENTS, |many| many as usize));
    for (write, fault) in moments {
        eprintln!("{fault:?} at write {write}: {} confirmed", sale.count());
        let outage = outage(&mut random);
        tokio::join!(fails_once(primary, fault, write, outage), async {
            // One sale whose writes trigger the fault, and one during the outage.
            sale.buy(true).await;
            sale.buy(true).await;
        });
        let before = sale.count();
        eventually("the sale continues", GOES_ON, async || {
            sale.buy(false).await;
            sale.count() > before
        })
        .await;
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn running_sale_survives_primaries_that_fail_at_random_writes() {
    let Some(stage) = Stage::start().await else { return };
    let (mut random, primary, sale) = (seeded(), &stage.primary, &stage.sale);
    let buyers: Vec<_> = (0..BUYERS)
        .map(|_| {
            let (sale, seed) = (sale.clone(), random.random());
            tokio::spawn(async move {
                let mut random = StdRng::seed_from_u64(seed);
                while !sale.ends.load(Ordering::SeqCst) {
                    sale.buy(random.random_bool(0.3)).await;
                    // Several buyers on two cores; the sale need not be fast.
                    tokio::time::sleep(Duration::from_millis(random.random_range(5..80))).await;
                }
            })
        })
        .collect();
    let moments = number(MOMENTS_VARIABLE).map_or(MOMENTS, |many| many as usize);
    for moment in 1..=moments {
        let fault = FAULTS[random.random_range(0..FAULTS.len())];
        let passing = random.random_range(0..3 * WRITES_OF_A_SALE);
        eprintln!("moment {moment} of {moments}, {fault:?}: {} confirmed", sale.count());
        let outage = outage(&mut random);
        fails_once(primary, fault, passing, outage).await;
        // Usually the sale continues before the next fault; sometimes that one hits the recovery.
        if random.random_bool(0.75) {
            let before = sale.count();
            eventually("the sale continues", GOES_ON, async || sale.count() > before + 2).await;
        }
    }
    sale.ends.store(true, Ordering::SeqCst);
    for buyer in buyers {
        buyer.await.unwrap();
    }
    assert!(primary.writes() > 0, "the sale went through the proxy");
    stage.end().await;
}
