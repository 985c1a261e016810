//! MongoDB's primary fails during a running sale: killed before or after a write, or frozen at one, and
//! back on the same data after a while. With an API process and two workers.
//!
//! In the end Redis, log and archive tell one story, all money is settled, whoever was told CONFIRMED is
//! CONFIRMED unless he asked to cancel, and a cancellation is what its owner was told.

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

/// How often the primary fails in the long form, as `make primaries` asks for: at every write of a
/// sale in turn, and as often at random ones.
const MOMENTS_VARIABLE: &str = "PRIMARY_MOMENTS";
/// How often it does else.
const MOMENTS: usize = 2;
/// Another sequence of moments: a seed that a failure has printed.
const SEED_VARIABLE: &str = "PRIMARY_SEED";
/// Writes of one sale with its cancellation and of the workers that carry it, about.
const WRITES_OF_A_SALE: u64 = 24;
/// Buyers at a time in the running sale.
const BUYERS: u32 = 5;
const SEATS: u32 = 4_000;
const HOLD_SECONDS: u32 = 20;
/// More than the time-outs of this API process and of its workers allow together.
const LEASE_MS: i64 = 20_000;
/// Longest outage: beyond every time-out of MongoDB here, or below all.
const OUTAGE_MS_MAX: u64 = 7_000;
/// Bounds on a busy machine.
const SPRUNG: Duration = Duration::from_secs(30);
const GOES_ON: Duration = Duration::from_secs(180);
const ENDED: Duration = Duration::from_secs(300);

/// What the owner of a booking that was CONFIRMED has been told since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Confirmed,
    /// A cancellation that surely was not made.
    NotCancelled,
    Cancelled,
    /// It is not known whether it is cancelled.
    Unknown,
}

struct Sale {
    world: World,
    event: EventId,
    told: Mutex<BTreeMap<BookingId, (Booking, Told)>>,
    ends: AtomicBool,
    next: AtomicU32,
}

impl Sale {
    async fn start(redis: &Server, primary: &Primary) -> Arc<Sale> {
        let confirm_wait = Duration::from_secs(3);
        let rules = SaleSettings { confirm_lease_ms: LEASE_MS, confirm_wait, ..sale_settings() };
        let world = World::prompt(redis, &primary.server, rules).await;
        let event = world.event_of(SEATS, Some(HOLD_SECONDS)).await;
        let (told, ends, next) = (Mutex::default(), AtomicBool::new(false), AtomicU32::new(1));
        Arc::new(Sale { world, event, told, ends, next })
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

    /// Somebody buys seats of his own, and gives them back if he `regrets`.
    async fn buy(&self, regrets: bool) {
        let number = self.next.fetch_add(1, Ordering::SeqCst);
        let user = format!("u{number}");
        let seats = [number * 2 % SEATS + 1];
        let Ok(held) = self.world.hold(&user, self.event, &seats, None).await else { return };
        let Ok(Confirmed::Settled(view)) = self.world.confirm(&held).await else { return };
        let booking = view.booking;
        self.note(&booking, Told::Confirmed);
        if regrets {
            // Whatever becomes of this process meanwhile.
            self.note(&booking, Told::Unknown);
            let told = match self.world.sale.cancel(&booking.user, booking.id).await {
                Ok(_) => Told::Cancelled,
                Err(SaleError::Unavailable { unknown: false, .. }) => Told::NotCancelled,
                Err(_) => Told::Unknown,
            };
            self.note(&booking, told);
        }
    }

    fn note(&self, booking: &Booking, told: Told) {
        self.told.lock().unwrap().insert(booking.id, (booking.clone(), told));
    }

    fn count(&self) -> usize {
        self.told.lock().unwrap().len()
    }

    async fn has_what_was_told(&self) {
        let archive = &self.world.archive;
        wait_until_consistent(&self.world.engine, archive, ENDED).await;
        books_agree(archive, &[u64::from(self.event.0)]).await;
        wait_until_consistent(&self.world.engine, archive, ENDED).await;
        let told = self.told.lock().unwrap().clone();
        let mut owners: BTreeMap<SeatId, BookingId> = BTreeMap::new();
        for (id, (booking, told)) in told {
            let shown = self.world.sale.booking(&booking.user, id).await.unwrap().booking.status;
            let expected: &[Status] = match told {
                Told::Confirmed | Told::NotCancelled => &[Status::Confirmed],
                Told::Cancelled => &[Status::Cancelled],
                Told::Unknown => &[Status::Confirmed, Status::Cancelled],
            };
            assert!(expected.contains(&shown), "{id} was told {told:?} and is {shown:?}");
            assert_eq!(self.world.status(id).await, Some(shown), "{id} in Redis");
            for seat in booking.seats.iter().filter(|_| shown == Status::Confirmed) {
                assert_eq!(*owners.entry(*seat).or_insert(id), id, "seat {seat} has two owners");
            }
        }
    }
}

/// The primary fails at a write, is away for a while, and comes back.
async fn fails_once(primary: &Primary, fault: Fault, passing: u64, outage: Duration) {
    primary.at_write(fault, passing, b"");
    let began = Instant::now();
    while primary.sprung().is_none() && began.elapsed() < SPRUNG {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    primary.disarm();
    // Too few writes came.
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

/// A sale with two workers, whose MongoDB fails when it is told to.
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

    /// Checks what buyers were answered, and ends everything.
    async fn end(self) {
        self.sale.has_what_was_told().await;
        assert!(self.workers.into_iter().all(WorkerProcess::stop));
        Arc::into_inner(self.sale).expect("no buyer is left").world.stop().await;
    }
}

/// Each write of one sale and its cancellation, with each fault; in the short form some of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sale_outlives_a_primary_that_fails_between_any_two_writes() {
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
            // The one at whose writes it fails, and one that meets the outage.
            sale.buy(true).await;
            sale.buy(true).await;
        });
        let before = sale.count();
        eventually("the sale goes on", GOES_ON, async || {
            sale.buy(false).await;
            sale.count() > before
        })
        .await;
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn running_sale_outlives_primaries_that_fail_at_random_writes() {
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
        // Most of the time the sale goes on before the next one; at times that meets the recovery.
        if random.random_bool(0.75) {
            let before = sale.count();
            eventually("the sale goes on", GOES_ON, async || sale.count() > before + 2).await;
        }
    }
    sale.ends.store(true, Ordering::SeqCst);
    for buyer in buyers {
        buyer.await.unwrap();
    }
    assert!(primary.writes() > 0, "the sale went through the proxy");
    stage.end().await;
}
