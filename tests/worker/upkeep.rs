//! The worker's background tasks: overdue holds, lapsed confirmations, and operations interrupted between
//! MongoDB and Redis.

use holdfast::domain::{Event, EventChange, EventStatus, Inventory, Kind, Outcome, Status};
use holdfast::redis::{Detail, OpenEventReply, new_nonce};
use holdfast::sale::SaleError;

use super::*;
use crate::support::engine::small_event;
use crate::support::entries::{booking, entry};

on_one_redis!(overdue_hold_of_a_quiet_event_is_released, async |flavor| {
    let world = World::new(shared_redis(flavor), shared_mongodb()).await;
    let worker = WorkerSpec::new(&world, shared_mongodb()).start().await;
    let event = world.event_of(10, Some(1)).await;
    let held = world.hold("ann", event, &[1, 2], None).await.unwrap().booking;
    // Reading a snapshot does not release holds.
    let released = async || {
        let snapshot = world.engine.snapshot(event, Detail::Counts).await.unwrap().unwrap();
        (snapshot.available == 10).then_some(snapshot.now_ms)
    };
    eventually("its seats are free", SOON, async || released().await.is_some()).await;
    let expired = world.entries(event).await.into_iter().find(|one| one.kind == Kind::Expired);
    let late_ms = expired.unwrap().time_ms - held.deadline_ms;
    assert!((0..1_000).contains(&late_ms), "{late_ms} ms after its deadline");
    world.archive_is_exact(event).await;
    assert_eq!(worker.metric("bookings_expired_total").await, 1.0);
    world.stop().await;
});

on_one_redis!(lapsed_confirmation_is_released, async |flavor| {
    let world = World::new(shared_redis(flavor), shared_mongodb()).await;
    let event = world.event(10).await;
    let begin = async |seat: u32, lease_ms: i64| {
        let held = world.hold("ann", event, &[seat], None).await.unwrap();
        let (id, user) = (held.booking.id, &held.booking.user);
        let begun =
            world.engine.confirm_begin(&held.event, id, user, &new_nonce(), lease_ms, 10).await;
        assert_eq!(begun.unwrap().booking().unwrap().status, Status::Confirming);
        id
    };
    let (lapsed, running) = (begin(1, 500).await, begin(2, 600_000).await);
    let _worker = WorkerSpec::new(&world, shared_mongodb()).start().await;
    let is_released = async || world.status(lapsed).await == Some(Status::Hold);
    eventually("it is a hold again", SOON, is_released).await;
    assert_eq!(world.status(running).await, Some(Status::Confirming));
    world.archive_is_exact(event).await;
    world.stop().await;
});

/// An event that was created long ago and never opened.
async fn unopened(world: &World) -> Event {
    let id = world.archive.next_event_id().await.unwrap();
    let event = Event { created_at_ms: 0, ..small_event(id.0) };
    world.archive.insert_event(&event).await.unwrap();
    event
}

on_one_redis!(interrupted_opening_is_finished, async |flavor| {
    let world = World::new(shared_redis(flavor), shared_mongodb()).await;
    let never_loaded = unopened(&world).await;
    let never_opened = unopened(&world).await;
    let inventory = Inventory::free(&never_opened.layout);
    let loaded = world.engine.load_event(&never_opened, &inventory).await.unwrap();
    let OpenEventReply::Done { token } = loaded else { panic!("not loaded: {loaded:?}") };
    let recorded = world.archive.mark_opened(never_opened.id, 1, &token).await.unwrap();
    assert_eq!(recorded, Some(token));
    let _worker = WorkerSpec::new(&world, shared_mongodb()).start().await;
    for event in [never_loaded, never_opened] {
        let opened = async || world.free(event.id).await == Some(12);
        eventually("it is on sale", SOON, opened).await;
    }
    world.verified().await;
    world.stop().await;
});

on_one_redis!(settings_that_did_not_reach_redis_are_applied, async |flavor| {
    let world = World::new(shared_redis(flavor), shared_mongodb()).await;
    let event = world.event(10).await;
    let paused = EventChange { status: Some(EventStatus::Paused), ..EventChange::default() };
    let changed = world.archive.change_event(event, &paused).await.unwrap().unwrap();
    world.hold("ann", event, &[1], None).await.expect("redis has the old settings");
    let _worker = WorkerSpec::new(&world, shared_mongodb()).start().await;
    let revision =
        async || world.engine.snapshot(event, Detail::Counts).await.unwrap().unwrap().revision;
    eventually("redis has the settings", SOON, async || revision().await == changed.revision).await;
    let refused = world.hold("bob", event, &[2], None).await.unwrap_err();
    assert!(matches!(refused, SaleError::EventPaused(_)), "{refused:?}");
    world.stop().await;
});

on_one_redis!(cancellation_that_did_not_reach_redis_is_settled, async |flavor| {
    let world = World::with(shared_redis(flavor), shared_mongodb(), impatient()).await;
    let event = world.event(10).await;
    let worker = WorkerSpec::new(&world, shared_mongodb()).start().await;
    let sold = world.sell(event, 1..=1).await.remove(0).booking.id;
    let bound = Duration::from_secs(20);
    eventually("confirmed", bound, async || world.status(sold).await == Some(Status::Confirmed))
        .await;
    world.verified().await;
    // A booking that Redis lacks: it will never have a log entry.
    let forgotten = booking(event, 1);
    let partition = world.partition(event);
    let sale = entry(forgotten, &[2], Kind::Sold, 3);
    world.archive.store(&[(partition, sale)]).await.unwrap();
    for id in [sold, forgotten] {
        let cancelled = world.archive.cancel_sold(id, 1).await.unwrap();
        assert_eq!(cancelled, Some(Outcome::Cancelled));
    }
    let unsettled = async || world.archive.cancels_unsettled(i64::MAX, 0, 10).await.unwrap().len();
    eventually("both are settled", bound, async || unsettled().await == 0).await;
    assert_eq!(world.status(sold).await, Some(Status::Cancelled));
    assert_eq!(world.free(event).await, Some(10));
    assert!(worker.stop());
    world.stop().await;
});
