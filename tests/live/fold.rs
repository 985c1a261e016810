//! After every operation of the scripts, in any order, a view equals what Redis holds.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use holdfast::domain::{
    Booking, BookingId, Event, EventId, EventStatus, OrphanRule, SeatId, SeatState, Status,
};
use holdfast::live::Snapshot;
use holdfast::redis::scripts::{ClockSource, Scripts};
use holdfast::redis::{BlockAction, BlockCall, Detail, NotAfter, Settlement, new_nonce};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, TestRunner};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::runtime::Builder;

use super::watch::{Watch, engine};
use super::{PATIENCE, compare};
use crate::model::stage::{self, Difference};
use crate::model::strategies::sequences;
use crate::model::{LENGTH, flavor};
use crate::support::engine::{Stage, small_event};
use crate::support::servers::shared_redis;

/// Operations of the model's sequences.
const OPERATIONS: usize = 2_500;
/// Operations of the repair sequence, which the model lacks.
const REPAIRS: usize = 700;
/// Operations between two rises of the generation.
const RAISED_EVERY: usize = 70;

/// Checks views after each operation.
struct Checker {
    watch: Watch,
    last: RefCell<BTreeMap<EventId, Snapshot>>,
}

impl Checker {
    async fn check(&self, event: EventId) -> Result<(), Difference> {
        let differs = |what| Difference { at: 0, what, failed: false };
        let (engine, live) = (&self.watch.stage.engine, &self.watch.live);
        let until = Instant::now() + PATIENCE;
        loop {
            let there = engine.snapshot(event, Detail::Counts).await?;
            if there.is_none_or(|snapshot| !snapshot.open) {
                self.last.borrow_mut().remove(&event);
                return Ok(());
            }
            match compare(engine, live, event).await {
                None => break,
                Some(what) if Instant::now() > until => return Err(differs(what)),
                Some(_) => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
        self.check_changes(event).map_err(differs)
    }

    /// The changes that the view reports since the last check equal the actual ones.
    fn check_changes(&self, event: EventId) -> Result<(), String> {
        let view = self.watch.live.slot(event).view().ok_or("there is no view")?;
        let snapshot = view.snapshot();
        let last = self.last.borrow_mut().insert(event, snapshot.clone());
        let last = last.filter(|last| last.generation == snapshot.generation);
        // A view that was built since then has no older changes.
        let Some((last, changes)) = last.and_then(|l| Some((view.changes_since(l.version)?, l)))
        else {
            return Ok(());
        };
        let (changes, last) = (last, changes);
        let mut patched: BTreeMap<SeatId, Option<SeatState>> = (1..=last.inventory.seats())
            .map(SeatId)
            .map(|s| (s, last.inventory.state(s)))
            .collect();
        patched.extend(changes.seats.iter().map(|(seat, state)| (*seat, Some(*state))));
        match patched.iter().find(|(seat, state)| **state != snapshot.inventory.state(**seat)) {
            Some(wrong) => Err(format!("{wrong:?} is not {last:?} with {changes:?}")),
            None => Ok(()),
        }
    }
}

#[test]
fn view_equals_redis_after_any_sequence_of_operations() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stage = stage::Stage::new(flavor(), Scripts::embedded(ClockSource::Swapped)).await;
        // Its calls have no deadlines of the model's clock.
        let namespace = stage.engine.settings().namespace.clone();
        let mut settings = stage.engine.settings().clone();
        settings.namespace = namespace;
        let scripts = Scripts::embedded(ClockSource::Swapped);
        let observer = std::sync::Arc::new(crate::support::engine::NoObserver);
        let own = holdfast::redis::Engine::connect(settings, scripts, observer).await.unwrap();
        let watch = Watch::of(Stage { engine: own, event: small_event(1) });
        let checker = Checker { watch, last: RefCell::default() };
        let mut runner = TestRunner::new(Config::default());
        let done = Cell::new(0);
        while done.get() < OPERATIONS {
            let sequence = sequences(LENGTH).new_tree(&mut runner).unwrap().current();
            let ran = stage.run_seen(&sequence, async |event| checker.check(event).await).await;
            match ran {
                Ok(ran) => done.set(done.get() + ran),
                Err(difference) => panic!("{difference}\nby {sequence:?}"),
            }
        }
        assert_eq!(checker.watch.counts.views("differs"), 0);
        let (built, gaps) =
            (checker.watch.counts.views("built"), checker.watch.counts.views("gap"));
        println!("{} operations, {built} views built, {gaps} gaps", done.get());
        checker.watch.stop().await;
    });
}

#[tokio::test]
async fn seat_lost_by_a_booking_does_not_return_to_it() {
    let event = Event { hold_ttl_ms: 600_000, ..small_event(1) };
    let watch = Watch::new(shared_redis(flavor()), event).await;
    let (engine, event) = (&watch.stage.engine, &watch.stage.event);
    let hers = watch.stage.hold("ann", &[1, 2]).await.into_booking().unwrap();
    let begun = engine.confirm_begin(event, hers.id, &hers.user, "nonce", 600_000, 9);
    let hers = begun.await.unwrap().into_booking().unwrap();
    // By the archive, another user had bought one of its seats, and then cancelled.
    let sold = Booking {
        id: BookingId::new(event.id, 1, 1),
        user: watch.stage.user("bob"),
        seats: vec![SeatId(1)],
        payment: "paid".into(),
        paid_ms: 1,
        ..hers.clone()
    };
    for outcome in ["sold", "cancelled"] {
        let (tell_until, acknowledge, booking) = (None, None, &sold);
        let call =
            Settlement { generation: 1, outcome, valid_until: tell_until, acknowledge, booking };
        watch.stage.expect("ok", engine.settle(&call).await.unwrap());
        watch.agrees().await;
    }
    assert!(watch.stage.seats().await.to_lowercase().starts_with("ah"));
    // Redis is behind: the booking keeps the seats that it has there.
    let wanted = [Booking { version: hers.version + 9, ..hers }];
    let until = NotAfter(i64::MAX / 2);
    let restored = engine.restore_bookings(event.id, 1, "", &wanted, until).await.unwrap();
    watch.stage.expect("ok", restored);
    assert!(watch.stage.seats().await.to_lowercase().starts_with("ah"));
    watch.agrees().await;
    // A view that is built from there is equal.
    let another = watch.another();
    another.agrees().await;
    another.stop().await;
    watch.stop().await;
}

/// An event that is repaired while it is sold, and the bookings attributed to the archive.
struct Repaired {
    watch: Watch,
    known: BTreeMap<BookingId, Booking>,
    rng: StdRng,
    now_ms: i64,
}

impl Repaired {
    fn seats(&mut self) -> Vec<u32> {
        let total = self.watch.stage.event.layout.total_seats();
        let mut seats: Vec<u32> =
            (0..self.rng.random_range(1..=3)).map(|_| self.rng.random_range(1..=total)).collect();
        seats.sort_unstable();
        seats.dedup();
        seats
    }

    fn any(&mut self) -> Option<Booking> {
        if self.known.is_empty() {
            return None;
        }
        let index = self.rng.random_range(0..self.known.len());
        self.known.values().nth(index).cloned()
    }

    async fn hold(&mut self) {
        let (user, seats) = (format!("u{}", self.rng.random_range(0..9)), self.seats());
        let answer = self.watch.stage.hold(&user, &seats).await;
        if let Some(booking) = answer.booking() {
            self.known.insert(booking.id, booking.clone());
        }
    }

    /// Runs one random operation; some are repairs.
    async fn operate(&mut self) {
        let kind = self.rng.random_range(0..14);
        let Some(booking) = self.any().filter(|_| kind > 3) else { return self.hold().await };
        let (engine, event) = (self.watch.stage.engine.clone(), self.watch.stage.event.clone());
        let (generation, nonce) = (event.generation, new_nonce());
        let paid =
            Booking { payment: format!("pay-{}", booking.id), paid_ms: 1, ..booking.clone() };
        let settle = async |outcome| {
            let call = Settlement {
                generation,
                outcome,
                valid_until: None,
                acknowledge: None,
                booking: &paid,
            };
            engine.settle(&call).await.unwrap();
        };
        match kind {
            4 => _ = engine.cancel(&event, booking.id, &booking.user).await.unwrap(),
            5 => {
                let attempt = nonce.as_str();
                let begun =
                    engine.confirm_begin(&event, booking.id, &booking.user, attempt, 60_000, 9);
                if let Some(leased) = begun.await.unwrap().booking() {
                    self.known.insert(booking.id, leased.clone());
                }
            }
            6 => {
                let call =
                    engine.confirm_commit(generation, booking.id, booking.lease, &paid.payment);
                call.await.unwrap();
            }
            7 => settle("sold").await,
            8 => settle("refund").await,
            9 => settle("cancelled").await,
            10 => _ = engine.confirm_late(generation, &paid, &paid.payment).await.unwrap(),
            11 => self.block().await,
            12 => {
                self.now_ms += self.rng.random_range(1..30_000);
                self.watch.stage.set_clock(self.now_ms).await;
            }
            _ => self.restore(booking).await,
        }
    }

    async fn block(&mut self) {
        let seats: Vec<SeatId> = self.seats().into_iter().map(SeatId).collect();
        let action =
            if self.rng.random_bool(0.5) { BlockAction::Block } else { BlockAction::Release };
        let event = &self.watch.stage.event;
        let call = BlockCall { event, action, seats: &seats, actor: "ops", reason: "camera" };
        self.watch.stage.engine.block(&call).await.unwrap();
    }

    /// As if the archive knew more of a booking than Redis does, or of one that Redis has lost.
    async fn restore(&mut self, booking: Booking) {
        let mut wanted =
            Booking { version: booking.version + self.rng.random_range(0..4), ..booking };
        wanted.status = if self.rng.random_bool(0.5) { Status::Hold } else { Status::Confirming };
        wanted.lease += self.rng.random_range(0..2);
        wanted.deadline_ms = self.now_ms + self.rng.random_range(-1_000..60_000);
        if self.rng.random_bool(0.4) {
            wanted.id = BookingId::new(wanted.id.event(), self.rng.random(), self.rng.random());
            wanted.seats = self.seats().into_iter().map(SeatId).collect();
        }
        let wanted = [wanted];
        let (event, engine) = (&self.watch.stage.event, &self.watch.stage.engine);
        let until = NotAfter(i64::MAX / 2);
        let call = engine.restore_bookings(event.id, event.generation, "", &wanted, until);
        assert_eq!(call.await.unwrap().code(), "ok");
        self.known.extend(wanted.into_iter().map(|booking| (booking.id, booking)));
    }

    async fn raise(&mut self) {
        let event = &mut self.watch.stage.event;
        event.generation += 1;
        let call = self.watch.stage.engine.raise_generation(event.id, event.generation);
        assert_eq!(call.await.unwrap().code(), "ok");
    }
}

#[tokio::test]
async fn view_equals_redis_after_repairs() {
    let mut event = small_event(1);
    (event.orphan_rule, event.status) = (OrphanRule::Off, EventStatus::OnSale);
    let now_ms = crate::support::engine::START_MS;
    let redis = shared_redis(flavor());
    let own = engine(redis, crate::support::unique_name(), ClockSource::Swapped).await;
    let stage = Stage { engine: own, event };
    stage.set_clock(now_ms).await;
    stage.load_and_open().await;
    let checker = Checker { watch: Watch::of(stage), last: RefCell::default() };
    let event = checker.watch.stage.event.clone();
    let watch = checker.watch.another();
    let mut repaired =
        Repaired { watch, known: BTreeMap::new(), rng: StdRng::seed_from_u64(7), now_ms };
    for n in 1..=REPAIRS {
        repaired.operate().await;
        if n % RAISED_EVERY == 0 {
            repaired.raise().await;
        }
        checker.check(event.id).await.unwrap_or_else(|difference| panic!("{n}: {difference}"));
    }
    assert_eq!(checker.watch.counts.views("differs"), 0);
    checker.watch.stop().await;
    repaired.watch.stop().await;
}
