//! Unloading and loading events beside a running worker: what clients see meanwhile, and recovery of
//! interrupted operations.

use holdfast::archive::{LoadFacts, UnloadAttempt};
use holdfast::domain::{
    Booking, EventChange, EventId, EventStatus, Inventory, LoadState, Outcome, SeatId, Status,
};
use holdfast::redis::{BlockAction, Detail, NotAfter, OpenEventReply, WORKER_GROUP, new_nonce};
use holdfast::sale::{
    BlockRequest, BlockSelection, Events, LoadResult, SaleError, UnloadResult, verify,
};

use super::*;
use crate::support::Flavor;
use crate::support::world::sale_settings;

mod races;

/// Bound of the wait for the archive, for a busy machine.
const WAIT: Duration = Duration::from_secs(30);

/// The use cases as another process has them, with its own caches.
fn events(world: &World) -> Events {
    Events::new(world.engine.clone(), world.archive.clone(), sale_settings())
}

/// A world with a patient worker.
async fn world_with_worker(flavor: Flavor) -> (World, crate::support::worker::WorkerProcess) {
    let world = World::patient(shared_redis(flavor), shared_mongodb()).await;
    let spec = WorkerSpec::new(&world, shared_mongodb());
    let spec = spec.with("mongodb_timeout_ms", "5000").with("worker_reclaim_idle_ms", "30000");
    // These tests interrupt loads and continue them themselves.
    let worker = spec.with("restore_on_loss", "false").start().await;
    (world, worker)
}

async fn buy(world: &World, user: &str, event: EventId, seats: &[u32]) -> Booking {
    let held = world.hold(user, event, seats, None).await.unwrap();
    match world.confirm(&held).await.unwrap() {
        Confirmed::Settled(view) => view.booking,
        other => panic!("not settled: {other:?}"),
    }
}

async fn set_status(events: &Events, event: EventId, status: EventStatus) -> Result<(), SaleError> {
    let change = EventChange { status: Some(status), ..EventChange::default() };
    events.change(event, change).await.map(drop)
}

async fn block(world: &World, event: EventId, action: BlockAction, seat: u32) {
    let seats = BlockSelection::Named(vec![SeatId(seat)]);
    let (actor, reason) = ("ops".to_owned(), "a camera".to_owned());
    let request = BlockRequest { event, action, seats, actor, reason };
    world.sale.block(&request).await.unwrap();
}

/// A closed event of ten seats, with seats 1 and 2 sold to ann, and her booking.
async fn closed_event(world: &World, events: &Events) -> (EventId, Booking) {
    let event = world.event(10).await;
    let sold = buy(world, "ann", event, &[1, 2]).await;
    set_status(events, event, EventStatus::Closed).await.unwrap();
    (event, sold)
}

/// A booking as its owner sees it, without nonce and lease.
fn as_owner_sees(booking: &Booking) -> Booking {
    Booking { nonce: String::new(), lease_until_ms: 0, ..booking.clone() }
}

/// Reads the booking as its owner.
async fn read(world: &World, booking: &Booking) -> Booking {
    as_owner_sees(&world.sale.booking(&booking.user, booking.id).await.unwrap().booking)
}

async fn facts(world: &World, event: EventId) -> LoadFacts {
    world.archive.load_facts(event).await.unwrap().unwrap()
}

#[track_caller]
fn assert_state(refused: SaleError, reason: &str) {
    match refused {
        SaleError::EventState { reason: text, .. } => assert!(text.contains(reason), "{text}"),
        other => panic!("{other:?}"),
    }
}

/// The problems that verify finds in one event, without waiting.
async fn problems(world: &World, event: EventId) -> String {
    let (engine, archive, wait) = (&world.engine, &world.archive, Duration::ZERO);
    let report = verify::verify(engine, archive, WORKER_GROUP, Some(event), wait).await.unwrap();
    report.events[0].problems.join("; ")
}

on_one_redis!(event_is_unloaded_and_loaded_again, async |flavor| {
    let (world, worker) = world_with_worker(flavor).await;
    let events = events(&world);
    let event = world.event(10).await;
    let sold = buy(&world, "ann", event, &[1, 2]).await;
    let cancelled = world.hold("bob", event, &[3], None).await.unwrap().booking;
    world.sale.cancel(&cancelled.user, cancelled.id).await.unwrap();
    let cancelled_later = buy(&world, "cid", event, &[5]).await;
    block(&world, event, BlockAction::Block, 8).await;
    block(&world, event, BlockAction::Block, 9).await;
    block(&world, event, BlockAction::Release, 8).await;
    let held = world.hold("eve", event, &[4], None).await.unwrap().booking;

    let refused = events.unload(event, WAIT).await.unwrap_err();
    assert_state(refused, "it is ON_SALE: close it first");
    set_status(&events, event, EventStatus::Closed).await.unwrap();
    assert_state(events.unload(event, WAIT).await.unwrap_err(), "1 seats are held");
    world.sale.cancel(&held.user, held.id).await.unwrap();
    world.verified().await;
    let before = [read(&world, &sold).await, read(&world, &cancelled).await];

    assert_eq!(events.unload(event, WAIT).await.unwrap(), UnloadResult::Done);
    assert_eq!(events.unload(event, WAIT).await.unwrap(), UnloadResult::DoneBefore);
    let gone = world.engine.snapshot(event, Detail::Counts).await.unwrap();
    assert_eq!(gone, None);
    world.verified().await;

    // What clients and operators see meanwhile.
    assert_eq!([read(&world, &sold).await, read(&world, &cancelled).await], before);
    let is_visible = async || {
        let view = world.sale.event(event).await.unwrap();
        let out = (LoadState::Unloaded, EventStatus::Closed, None);
        (view.event.load_state, view.event.status, view.available_seats) == out
    };
    eventually("the other process sees it", SOON, is_visible).await;
    let refused = world.hold("eve", event, &[6], None).await.unwrap_err();
    assert_eq!(refused, SaleError::EventClosed(event));
    let refused = world.sale.seat_map(event).await.unwrap_err();
    assert_eq!(refused, SaleError::EventUnloaded(event));
    for status in [EventStatus::OnSale, EventStatus::Paused] {
        let refused = set_status(&events, event, status).await.unwrap_err();
        assert_state(refused, "load it first");
    }
    let renamed = EventChange { name: Some("Last year".into()), ..EventChange::default() };
    assert_eq!(events.change(event, renamed).await.unwrap().event.name, "Last year");
    // A sale is cancelled in the archive only, without a settlement in Redis.
    let cancelled_sale =
        world.sale.cancel(&cancelled_later.user, cancelled_later.id).await.unwrap().booking;
    assert_eq!(cancelled_sale.status, Status::Cancelled);
    let unsettled = async || world.archive.cancels_unsettled(i64::MAX, 0, 10).await.unwrap().len();
    eventually("nothing is left to settle", SOON, async || unsettled().await == 0).await;
    world.verified().await;

    assert_eq!(events.load(event).await.unwrap(), LoadResult::Done { bookings: 1, blocked: 1 });
    assert_eq!(events.load(event).await.unwrap(), LoadResult::DoneBefore);
    world.verified().await;
    assert_eq!([read(&world, &sold).await, read(&world, &cancelled).await], before);
    assert_eq!(world.free(event).await, Some(7));
    let map = world.sale.seat_map(event).await.unwrap();
    assert_eq!((map.generation, map.inventory.as_bytes()), (2, &b"1Bbaaaaaaxa"[..]));

    // It is still closed. Once resumed, it sells free seats and no others.
    let refused = world.hold("eve", event, &[5], None).await.unwrap_err();
    assert_eq!(refused, SaleError::EventClosed(event));
    set_status(&events, event, EventStatus::OnSale).await.unwrap();
    buy(&world, "eve", event, &[5]).await;
    for taken in [1, 9] {
        let refused = world.hold("eve", event, &[taken], None).await.unwrap_err();
        assert!(matches!(refused, SaleError::SeatsUnavailable(_)), "{refused:?}");
    }
    let cancelled_sale = world.sale.cancel(&sold.user, sold.id).await.unwrap().booking;
    assert_eq!(cancelled_sale.status, Status::Cancelled);
    assert_eq!(world.free(event).await, Some(8));
    world.verified().await;
    assert!(worker.stop());
    world.stop().await;
});

on_one_redis!(interrupted_unload_is_put_back_or_taken_over, async |flavor| {
    let (world, _worker) = world_with_worker(flavor).await;
    let events = events(&world);
    let (event, sold) = closed_event(&world, &events).await;
    world.verified().await;
    // The first process crashes, or is suspended, between MongoDB and Redis.
    let begin = async || {
        let partition = world.partition(event);
        let until_ms = world.engine.redis_time_ms(partition).await.unwrap() + 1_500;
        let before = world.engine.snapshot(event, Detail::Counts).await.unwrap().unwrap();
        let attempt = UnloadAttempt { token: new_nonce(), until_ms, version: before.version };
        let facts = facts(&world, event).await;
        assert!(world.archive.begin_unload(event, &facts, &attempt).await.unwrap());
        (before, attempt)
    };
    let (before, attempt) = begin().await;
    assert!(problems(&world, event).await.contains("Redis still has this event"));
    let refused = set_status(&events, event, EventStatus::OnSale).await.unwrap_err();
    assert_state(refused, "load it first");

    // Loading puts it back. The resumed process is too late, in Redis and in MongoDB.
    assert_eq!(events.load(event).await.unwrap(), LoadResult::DoneBefore);
    let late = |before: &holdfast::redis::EventSnapshot, attempt: &UnloadAttempt| {
        let (version, not_after) = (before.version, NotAfter(attempt.until_ms));
        let engine = world.engine.clone();
        async move { engine.unload_event(event, 1, version, not_after).await.unwrap().code() }
    };
    assert_eq!(late(&before, &attempt).await, "too_late");
    assert!(!world.archive.undo_unload(event, &attempt.token).await.unwrap());
    assert_eq!(facts(&world, event).await.load_state, LoadState::Opened);
    world.verified().await;

    // Unloading takes over.
    let (before, attempt) = begin().await;
    assert_eq!(events.unload(event, WAIT).await.unwrap(), UnloadResult::Done);
    assert_eq!(late(&before, &attempt).await, "too_late");
    assert!(!world.archive.undo_unload(event, &attempt.token).await.unwrap());
    assert_eq!(facts(&world, event).await.load_state, LoadState::Unloaded);
    world.verified().await;
    assert_eq!(events.load(event).await.unwrap(), LoadResult::Done { bookings: 1, blocked: 0 });
    assert_eq!(read(&world, &sold).await, as_owner_sees(&sold));
    world.stop().await;
});

on_one_redis!(interrupted_load_starts_over, async |flavor| {
    let (world, _worker) = world_with_worker(flavor).await;
    let events = events(&world);
    let (event, sold) = closed_event(&world, &events).await;
    events.unload(event, WAIT).await.unwrap();

    // Crashed after raising the generation.
    let raised = world.archive.begin_load(event, &facts(&world, event).await).await.unwrap();
    assert_eq!(raised, Some(2));
    let stale = world.archive.event(event).await.unwrap().unwrap();
    let refused = world.hold("eve", event, &[5], None).await.unwrap_err();
    assert_eq!(refused, SaleError::EventNotLoaded(event));
    let refused = world.sale.seat_map(event).await.unwrap_err();
    assert_eq!(refused, SaleError::EventNotLoaded(event));
    assert_state(events.unload(event, WAIT).await.unwrap_err(), "it is being loaded");
    let refused = set_status(&events, event, EventStatus::OnSale).await.unwrap_err();
    assert_state(refused, "it is being loaded");
    assert!(problems(&world, event).await.contains("is being loaded"));
    // Crashed after placing a block in the load.
    let inventory = Inventory::free(&stale.layout);
    let load = world.engine.load_event(&stale, &inventory).await.unwrap();
    let OpenEventReply::Done { token } = load else { panic!("{load:?}") };
    let placed = world.engine.load_bookings(&stale, &token, &[], &[SeatId(7)]).await.unwrap();
    assert_eq!(placed.code(), "ok");

    assert_eq!(events.load(event).await.unwrap(), LoadResult::Done { bookings: 1, blocked: 0 });
    assert_eq!(world.free(event).await, Some(8), "the first load is replaced");
    // The resumed process is too late at every step.
    assert!(!world.archive.mark_loaded(event, 2, &token).await.unwrap());
    let late = world.engine.load_bookings(&stale, &token, &[], &[SeatId(7)]).await.unwrap();
    assert_eq!(late.code(), "generation_mismatch");
    let late = world.engine.load_event(&stale, &inventory).await.unwrap();
    assert!(matches!(late, OpenEventReply::GenerationMismatch { .. }), "{late:?}");
    world.verified().await;
    assert_eq!(read(&world, &sold).await, as_owner_sees(&sold));
    world.stop().await;
});

on_one_redis!(complete_load_is_opened_by_the_worker, async |flavor| {
    let (world, _worker) = world_with_worker(flavor).await;
    let events = events(&world);
    let (event, sold) = closed_event(&world, &events).await;
    events.unload(event, WAIT).await.unwrap();
    // Every step except the last.
    world.archive.begin_load(event, &facts(&world, event).await).await.unwrap().unwrap();
    let loading = world.archive.event(event).await.unwrap().unwrap();
    let inventory = Inventory::free(&loading.layout);
    let load = world.engine.load_event(&loading, &inventory).await.unwrap();
    let OpenEventReply::Done { token } = load else { panic!("{load:?}") };
    let archived = world.archive.booking(sold.id).await.unwrap().unwrap();
    assert_eq!(archived.outcome, Some(Outcome::Sold));
    let bookings = [archived.booking];
    world.engine.load_bookings(&loading, &token, &bookings, &[]).await.unwrap();
    assert!(world.archive.mark_loaded(event, 2, &token).await.unwrap());

    let is_open = async || world.free(event).await == Some(8);
    eventually("it is open", SOON, is_open).await;
    assert_eq!(events.load(event).await.unwrap(), LoadResult::DoneBefore);
    world.verified().await;
    world.stop().await;
});

on_one_redis!(event_restored_by_a_failover_is_removed_again, async |flavor| {
    let (world, _worker) = world_with_worker(flavor).await;
    let events = events(&world);
    let (event, sold) = closed_event(&world, &events).await;
    world.verified().await;
    // As if a primary whose writes were lost had unloaded it and begun a load.
    let attempt = UnloadAttempt { token: new_nonce(), until_ms: 0, version: 0 };
    let facts_before = facts(&world, event).await;
    assert!(world.archive.begin_unload(event, &facts_before, &attempt).await.unwrap());
    world.archive.begin_load(event, &facts(&world, event).await).await.unwrap().unwrap();
    assert_eq!(events.load(event).await.unwrap(), LoadResult::Done { bookings: 1, blocked: 0 });
    world.verified().await;
    let map = world.sale.seat_map(event).await.unwrap();
    assert_eq!(map.generation, 3);
    let kinds: Vec<_> = world.entries(event).await.iter().map(|one| one.kind.as_str()).collect();
    assert_eq!(kinds[kinds.len() - 2..], ["unloaded", "opened"]);
    assert_eq!(read(&world, &sold).await, as_owner_sees(&sold));
    world.stop().await;
});

on_one_redis!(event_with_unarchived_sales_is_not_unloaded, async |flavor| {
    let world = World::with(shared_redis(flavor), shared_mongodb(), impatient()).await;
    let events = events(&world);
    let event = world.event(10).await;
    world.sell(event, 1..=1).await;
    set_status(&events, event, EventStatus::Closed).await.unwrap();
    // Without a worker the sale is neither archived nor decided.
    let refused = events.unload(event, Duration::ZERO).await.unwrap_err();
    assert_state(refused, "archived up to");
    let _worker = WorkerSpec::new(&world, shared_mongodb()).start().await;
    let unloaded = async || events.unload(event, WAIT).await == Ok(UnloadResult::Done);
    eventually("the event is unloaded", BUSY, unloaded).await;
    world.verified().await;
    world.stop().await;
});
