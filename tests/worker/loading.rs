//! Events leave Redis and come back, beside a running worker: what everybody sees meanwhile, and
//! what becomes of what is cut off.

use holdfast::archive::{LoadFacts, UnloadAttempt};
use holdfast::domain::{
    Booking, EventChange, EventId, EventStatus, Inventory, LoadState, Outcome, SeatId, Status,
};
use holdfast::redis::{BlockAction, Detail, NotAfter, OpenEventReply, WORKER_GROUP, new_nonce};
use holdfast::sale::{BlockRequest, BlockSelection, Events, Loading, SaleError, Unloading, verify};

use super::*;
use crate::support::Flavor;
use crate::support::world::sale_settings;

mod races;

/// How long an unloading may wait for the archive on a busy machine.
const WAIT: Duration = Duration::from_secs(30);

/// The use cases as another process would have them: with a memory of its own.
fn events(world: &World) -> Events {
    Events::new(world.engine.clone(), world.archive.clone(), sale_settings())
}

/// A world with a patient worker.
async fn staffed(flavor: Flavor) -> (World, crate::support::worker::WorkerProcess) {
    let world = World::patient(shared_redis(flavor), shared_mongodb()).await;
    let spec = WorkerSpec::new(&world, shared_mongodb());
    let spec = spec.with("mongodb_timeout_ms", "5000").with("worker_reclaim_idle_ms", "30000");
    // Loads are cut off here, and it is these tests that go on with them.
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

/// A closed event of ten places, 1 and 2 of them sold to ann; her booking.
async fn closed_event(world: &World, events: &Events) -> (EventId, Booking) {
    let event = world.event(10).await;
    let sold = buy(world, "ann", event, &[1, 2]).await;
    set_status(events, event, EventStatus::Closed).await.unwrap();
    (event, sold)
}

/// What owners see of a booking: nonces and leases are Redis' own.
fn seen(booking: &Booking) -> Booking {
    Booking { nonce: String::new(), lease_until_ms: 0, ..booking.clone() }
}

/// The booking as its owner reads it.
async fn read(world: &World, booking: &Booking) -> Booking {
    seen(&world.sale.booking(&booking.user, booking.id).await.unwrap().booking)
}

async fn facts(world: &World, event: EventId) -> LoadFacts {
    world.archive.load_facts(event).await.unwrap().unwrap()
}

#[track_caller]
fn assert_state(refused: SaleError, reason: &str) {
    match refused {
        SaleError::EventState { reason: told, .. } => assert!(told.contains(reason), "{told}"),
        other => panic!("{other:?}"),
    }
}

/// What verify tells of one event, at once.
async fn told(world: &World, event: EventId) -> String {
    let (engine, archive, wait) = (&world.engine, &world.archive, Duration::ZERO);
    let report = verify::verify(engine, archive, WORKER_GROUP, Some(event), wait).await.unwrap();
    report.events[0].problems.join("; ")
}

on_one_redis!(an_event_leaves_redis_and_comes_back, async |flavor| {
    let (world, worker) = staffed(flavor).await;
    let events = events(&world);
    let event = world.event(10).await;
    let sold = buy(&world, "ann", event, &[1, 2]).await;
    let cancelled = world.hold("bob", event, &[3], None).await.unwrap().booking;
    world.sale.cancel(&cancelled.user, cancelled.id).await.unwrap();
    let regretted = buy(&world, "cid", event, &[5]).await;
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

    assert_eq!(events.unload(event, WAIT).await.unwrap(), Unloading::Done);
    assert_eq!(events.unload(event, WAIT).await.unwrap(), Unloading::DoneBefore);
    let gone = world.engine.snapshot(event, Detail::Counts).await.unwrap();
    assert_eq!(gone, None);
    world.verified().await;

    // What clients and operators meet meanwhile.
    assert_eq!([read(&world, &sold).await, read(&world, &cancelled).await], before);
    let is_seen = async || {
        let view = world.sale.event(event).await.unwrap();
        let out = (LoadState::Unloaded, EventStatus::Closed, None);
        (view.event.load_state, view.event.status, view.available_seats) == out
    };
    eventually("the other process has seen it", SOON, is_seen).await;
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
    // A sale is cancelled in the archive alone, and that is the end of it.
    let given_up = world.sale.cancel(&regretted.user, regretted.id).await.unwrap().booking;
    assert_eq!(given_up.status, Status::Cancelled);
    let unsettled = async || world.archive.cancels_unsettled(i64::MAX, 0, 10).await.unwrap().len();
    eventually("nothing is left to settle", SOON, async || unsettled().await == 0).await;
    world.verified().await;

    assert_eq!(events.load(event).await.unwrap(), Loading::Done { bookings: 1, blocked: 1 });
    assert_eq!(events.load(event).await.unwrap(), Loading::DoneBefore);
    world.verified().await;
    assert_eq!([read(&world, &sold).await, read(&world, &cancelled).await], before);
    assert_eq!(world.free(event).await, Some(7));
    let map = world.sale.seat_map(event).await.unwrap();
    assert_eq!((map.generation, map.inventory.as_bytes()), (2, &b"1Bbaaaaaaxa"[..]));

    // As closed as it left. Resumed, it sells what is free and nothing else.
    let refused = world.hold("eve", event, &[5], None).await.unwrap_err();
    assert_eq!(refused, SaleError::EventClosed(event));
    set_status(&events, event, EventStatus::OnSale).await.unwrap();
    buy(&world, "eve", event, &[5]).await;
    for taken in [1, 9] {
        let refused = world.hold("eve", event, &[taken], None).await.unwrap_err();
        assert!(matches!(refused, SaleError::SeatsUnavailable(_)), "{refused:?}");
    }
    let given_up = world.sale.cancel(&sold.user, sold.id).await.unwrap().booking;
    assert_eq!(given_up.status, Status::Cancelled);
    assert_eq!(world.free(event).await, Some(8));
    world.verified().await;
    assert!(worker.stop());
    world.stop().await;
});

on_one_redis!(an_unloading_that_was_cut_off_is_mended, async |flavor| {
    let (world, _worker) = staffed(flavor).await;
    let events = events(&world);
    let (event, sold) = closed_event(&world, &events).await;
    world.verified().await;
    // The first process dies, or sleeps, between MongoDB and Redis.
    let begin = async || {
        let partition = world.partition(event);
        let until_ms = world.engine.redis_time_ms(partition).await.unwrap() + 1_500;
        let stood = world.engine.snapshot(event, Detail::Counts).await.unwrap().unwrap();
        let attempt = UnloadAttempt { token: new_nonce(), until_ms, version: stood.version };
        let seen = facts(&world, event).await;
        assert!(world.archive.begin_unload(event, &seen, &attempt).await.unwrap());
        (stood, attempt)
    };
    let (stood, attempt) = begin().await;
    assert!(told(&world, event).await.contains("Redis still has this event"));
    let refused = set_status(&events, event, EventStatus::OnSale).await.unwrap_err();
    assert_state(refused, "load it first");

    // To load it is to put it back. Whoever slept comes too late, in Redis and in MongoDB.
    assert_eq!(events.load(event).await.unwrap(), Loading::DoneBefore);
    let late = |stood: &holdfast::redis::EventSnapshot, attempt: &UnloadAttempt| {
        let (version, not_after) = (stood.version, NotAfter(attempt.until_ms));
        let engine = world.engine.clone();
        async move { engine.unload_event(event, 1, version, not_after).await.unwrap().code() }
    };
    assert_eq!(late(&stood, &attempt).await, "too_late");
    assert!(!world.archive.undo_unload(event, &attempt.token).await.unwrap());
    assert_eq!(facts(&world, event).await.load_state, LoadState::Opened);
    world.verified().await;

    // To unload it is to take over.
    let (stood, attempt) = begin().await;
    assert_eq!(events.unload(event, WAIT).await.unwrap(), Unloading::Done);
    assert_eq!(late(&stood, &attempt).await, "too_late");
    assert!(!world.archive.undo_unload(event, &attempt.token).await.unwrap());
    assert_eq!(facts(&world, event).await.load_state, LoadState::Unloaded);
    world.verified().await;
    assert_eq!(events.load(event).await.unwrap(), Loading::Done { bookings: 1, blocked: 0 });
    assert_eq!(read(&world, &sold).await, seen(&sold));
    world.stop().await;
});

on_one_redis!(a_load_that_was_cut_off_is_begun_anew, async |flavor| {
    let (world, _worker) = staffed(flavor).await;
    let events = events(&world);
    let (event, sold) = closed_event(&world, &events).await;
    events.unload(event, WAIT).await.unwrap();

    // Dead after the generation was raised.
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
    assert!(told(&world, event).await.contains("is being loaded"));
    // Dead after Redis was made `loading`, and something placed.
    let inventory = Inventory::free(&stale.layout);
    let load = world.engine.load_event(&stale, &inventory).await.unwrap();
    let OpenEventReply::Done { token } = load else { panic!("{load:?}") };
    let placed = world.engine.load_bookings(&stale, &token, &[], &[SeatId(7)]).await.unwrap();
    assert_eq!(placed.code(), "ok");

    assert_eq!(events.load(event).await.unwrap(), Loading::Done { bookings: 1, blocked: 0 });
    assert_eq!(world.free(event).await, Some(8), "nothing is left of the first load");
    // Whoever slept comes too late at every step.
    assert!(!world.archive.mark_loaded(event, 2, &token).await.unwrap());
    let late = world.engine.load_bookings(&stale, &token, &[], &[SeatId(7)]).await.unwrap();
    assert_eq!(late.code(), "generation_mismatch");
    let late = world.engine.load_event(&stale, &inventory).await.unwrap();
    assert!(matches!(late, OpenEventReply::GenerationMismatch { .. }), "{late:?}");
    world.verified().await;
    assert_eq!(read(&world, &sold).await, seen(&sold));
    world.stop().await;
});

on_one_redis!(a_whole_load_is_opened_by_the_worker, async |flavor| {
    let (world, _worker) = staffed(flavor).await;
    let events = events(&world);
    let (event, sold) = closed_event(&world, &events).await;
    events.unload(event, WAIT).await.unwrap();
    // Everything but the last step.
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
    assert_eq!(events.load(event).await.unwrap(), Loading::DoneBefore);
    world.verified().await;
    world.stop().await;
});

on_one_redis!(an_event_that_a_failover_brings_back_is_taken_out_again, async |flavor| {
    let (world, _worker) = staffed(flavor).await;
    let events = events(&world);
    let (event, sold) = closed_event(&world, &events).await;
    world.verified().await;
    // As if it had been unloaded, and a load begun, by a primary whose writes were lost.
    let attempt = UnloadAttempt { token: new_nonce(), until_ms: 0, version: 0 };
    let seen_before = facts(&world, event).await;
    assert!(world.archive.begin_unload(event, &seen_before, &attempt).await.unwrap());
    world.archive.begin_load(event, &facts(&world, event).await).await.unwrap().unwrap();
    assert_eq!(events.load(event).await.unwrap(), Loading::Done { bookings: 1, blocked: 0 });
    world.verified().await;
    let map = world.sale.seat_map(event).await.unwrap();
    assert_eq!(map.generation, 3);
    let kinds: Vec<_> = world.entries(event).await.iter().map(|one| one.kind.as_str()).collect();
    assert_eq!(kinds[kinds.len() - 2..], ["unloaded", "opened"]);
    assert_eq!(read(&world, &sold).await, seen(&sold));
    world.stop().await;
});

on_one_redis!(what_the_archive_lacks_is_not_unloaded, async |flavor| {
    let world = World::with(shared_redis(flavor), shared_mongodb(), impatient()).await;
    let events = events(&world);
    let event = world.event(10).await;
    world.sell(event, 1..=1).await;
    set_status(&events, event, EventStatus::Closed).await.unwrap();
    // No worker: the sale is neither archived nor judged.
    let refused = events.unload(event, Duration::ZERO).await.unwrap_err();
    assert_state(refused, "archived up to");
    let _worker = WorkerSpec::new(&world, shared_mongodb()).start().await;
    let unloaded = async || events.unload(event, WAIT).await == Ok(Unloading::Done);
    eventually("it is unloaded", BUSY, unloaded).await;
    world.verified().await;
    world.stop().await;
});
