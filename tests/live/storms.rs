//! Views built while their event is under heavy load, and views of large events.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures_util::future::join_all;
use holdfast::domain::{Booking, BookingId, Inventory, SeatId, Status};
use holdfast::redis::OpenEventReply;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::RwLock;

use super::watch::{self, Watch, wide_event};
use super::{PATIENCE, agrees};
use crate::on_one_redis;
use crate::support::engine::Stage;
use crate::support::eventually;
use crate::support::servers::private_redis;

/// Seats of the event under load.
const SEATS: u32 = 2_000;
/// Concurrent callers.
const CALLERS: u64 = 16;
/// Bookings before the first build, so that its lists have many pages.
const BOOKINGS: u64 = 3_000;
/// Entries appended during all builds together.
const ENTRIES: u64 = 2_000;
/// The largest number of builds until then.
const BUILDS_MAX: usize = 100;

/// Holds and cancels until `over`; a writer of `calm` finds no call under way.
async fn storm(stage: &Stage, seed: u64, calm: &RwLock<()>, held: &AtomicU64, over: &AtomicBool) {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut own: Vec<Booking> = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let _going = calm.read().await;
        if own.len() > 40 || (rng.random_bool(0.4) && !own.is_empty()) {
            let booking = own.swap_remove(rng.random_range(0..own.len()));
            stage.engine.cancel(&stage.event, booking.id, &booking.user).await.unwrap();
            continue;
        }
        // Many calls for the same few seats: they change holders between two pages.
        let last = if rng.random_bool(0.5) { 100 } else { SEATS - 2 };
        let first = rng.random_range(1..=last);
        let seats: Vec<u32> = (first..=first + rng.random_range(0..3)).collect();
        let answer = stage.hold(&format!("u{}", rng.random_range(0..500)), &seats).await;
        own.extend(answer.booking().cloned());
        held.fetch_add(1, Ordering::Relaxed);
    }
}

on_one_redis!(view_is_complete_when_built_under_load, async |flavor| {
    let redis = private_redis(flavor);
    let first = Watch::new(&redis, wide_event(1, SEATS)).await;
    let (calm, held, over) = (RwLock::new(()), AtomicU64::new(0), AtomicBool::new(false));
    let storms = (0..CALLERS).map(|seed| storm(&first.stage, seed, &calm, &held, &over));
    let builds = async {
        let so_many = async || held.load(Ordering::Relaxed) >= BOOKINGS;
        eventually("there are many bookings", PATIENCE * 3, so_many).await;
        let (event, engine) = (first.stage.event.id, &first.stage.engine);
        let version = async || {
            let counts = engine.snapshot(event, holdfast::redis::Detail::Counts).await;
            counts.unwrap().unwrap().version
        };
        let (mut built, mut entries) = (Vec::new(), 0);
        while entries < ENTRIES && built.len() < BUILDS_MAX {
            let watch = first.another();
            let before = version().await;
            let there = async || watch.live.slot(event).view().is_some();
            eventually("the view is built", PATIENCE, there).await;
            entries += version().await - before;
            built.push(watch);
            if built.len() % 4 == 0 {
                let _calm = calm.write().await;
                for watch in built.iter().rev().take(4) {
                    agrees(engine, &watch.live, event).await;
                }
            }
        }
        over.store(true, Ordering::Relaxed);
        (built, entries)
    };
    let (_, (built, entries)) = tokio::join!(join_all(storms), builds);
    println!("{entries} entries while {} views were built", built.len());
    assert!(entries >= ENTRIES);
    for watch in built {
        watch.agrees().await;
        let counts = &watch.counts;
        assert_eq!(
            (counts.views("built"), counts.views("differs"), counts.views("gap")),
            (1, 0, 0)
        );
        watch.stop().await;
    }
    first.stop().await;
});

on_one_redis!(large_event_is_built, async |flavor| {
    const LARGE: u32 = 100_000;
    const SOLD: u32 = 20_000;
    let redis = private_redis(flavor);
    let namespace = crate::support::unique_name();
    let clock = holdfast::redis::scripts::ClockSource::Redis;
    let engine = watch::engine(&redis, namespace, clock).await;
    let stage = Stage { engine, event: wide_event(1, LARGE) };
    let (engine, event) = (&stage.engine, &stage.event);
    let OpenEventReply::Done { token } =
        engine.load_event(event, &Inventory::free(&event.layout)).await.unwrap()
    else {
        panic!("it is loaded already")
    };
    // Two seats each, spread over the event.
    let sold: Vec<Booking> = (0..SOLD)
        .map(|n| Booking {
            id: BookingId::new(event.id, 1_000 + u64::from(n), u64::from(n)),
            status: Status::Confirmed,
            version: 4,
            user: format!("u{}", n % 7_000).parse().unwrap(),
            seats: vec![SeatId(n * 5 + 1), SeatId(n * 5 + 3)],
            amount: 200,
            currency: event.currency.clone(),
            created_ms: 1_000,
            deadline_ms: 2_000,
            nonce: String::new(),
            lease: 1,
            lease_until_ms: 0,
            payment: format!("pay-{n}"),
            paid_ms: 1_500,
            confirmed_ms: 1_600,
            ended_ms: 0,
            idempotency: format!("digest{n}"),
            fingerprint: "print".into(),
            trace: String::new(),
        })
        .collect();
    for batch in sold.chunks(1_000) {
        engine.load_bookings(event, &token, batch, &[SeatId(2)]).await.unwrap();
    }
    engine.open_event(event, &token).await.unwrap();
    let watch = Watch::of(stage);
    watch.agrees().await;
    let view = watch.live.slot(watch.stage.event.id).view().unwrap();
    assert_eq!((view.seats(), view.available()), (LARGE, LARGE - 2 * SOLD - 1));
    assert_eq!(view.free_between(SeatId(1), SeatId(LARGE)), view.available());
    watch.stage.hold("ann", &[4, 99_999]).await;
    watch.agrees().await;
    assert!(Arc::ptr_eq(&view, &watch.live.slot(watch.stage.event.id).view().unwrap()));
    watch.stop().await;
});
