//! Ended bookings are removed from Redis and stay in the archive.

use holdfast::domain::{BookingId, LogId, Status};

use super::*;
use crate::support::entries;
use crate::support::servers::Server;

/// An event's bookings in Redis.
async fn in_redis(world: &World, event: holdfast::domain::EventId) -> Vec<BookingId> {
    let page = world.engine.bookings_page(event, Default::default()).await.unwrap();
    page.items.into_iter().map(|(id, _)| id.parse().unwrap()).collect()
}

on_one_redis!(ended_bookings_leave_redis_once_they_are_archived, async |flavor| {
    let world = World::new(shared_redis(flavor), shared_mongodb()).await;
    let spec = || WorkerSpec::new(&world, shared_mongodb()).with("ended_keep_seconds", "1");
    let worker = spec().start().await;
    let (event, brief) = (world.event(10).await, world.event_of(10, Some(1)).await);
    let held = async |user: &str, seat| world.hold(user, event, &[seat], None).await.unwrap();
    let cancelled = held("ann", 1).await.booking;
    let expired = world.hold("bob", brief, &[2], None).await.unwrap().booking;
    let sold = held("ann", 3).await;
    assert!(matches!(world.confirm(&sold).await.unwrap(), Confirmed::Settled(_)));
    let refunded = held("bob", 4).await;
    assert!(matches!(world.confirm(&refunded).await.unwrap(), Confirmed::Settled(_)));
    for booking in [&cancelled, &refunded.booking] {
        world.sale.cancel(&booking.user, booking.id).await.unwrap();
    }
    // A booking that the archive lacks, as if its entry were a dead letter.
    let parked = entries::booking(event, 1);
    let lost = world.engine.get_booking(cancelled.id).await.unwrap().into_booking().unwrap();
    write_ended(&world, shared_redis(flavor), parked, lost.ended_ms);

    let mut stay = [parked, sold.booking.id];
    stay.sort();
    let others_left = async || {
        let mut left = in_redis(&world, event).await;
        left.sort();
        left == stay && in_redis(&world, brief).await.is_empty()
    };
    eventually("all others have left", SOON, others_left).await;
    let forgotten = async || worker.metric("holdfast_bookings_forgotten_total").await;
    eventually("they are counted", SOON, async || forgotten().await == 3.0).await;

    // Reads are answered from the archive, with the same result.
    for (booking, status) in [
        (&cancelled, Status::Cancelled),
        (&expired, Status::Expired),
        (&refunded.booking, Status::Cancelled),
    ] {
        let read = world.sale.booking(&booking.user, booking.id).await.unwrap().booking;
        assert_eq!((read.status, &read.seats), (status, &booking.seats));
        assert!(read.ended_ms > 0);
    }
    let again = world.sale.cancel(&cancelled.user, cancelled.id).await.unwrap();
    assert_eq!(again.booking.status, Status::Cancelled);

    let keys = world.engine.keys();
    for key in [keys.bookings(event), keys.ended(event)] {
        let command = if key.contains(":ended:") { "ZREM" } else { "HDEL" };
        shared_redis(flavor).command(&[command, &key, &parked.to_string()]);
    }
    world.archive_is_exact(event).await;
    assert!(worker.stop());
    world.stop().await;
});

/// Writes an ended booking directly into Redis.
fn write_ended(world: &World, redis: &Server, id: BookingId, ended_ms: i64) {
    let (keys, event) = (world.engine.keys(), id.event());
    let record = format!(
        "1\tEXPIRED\t2\tzoe\t9\t100\tEUR\t1\t2\tn\t0\t0\t\t0\t0\t{ended_ms}\tdigest\tprint\t"
    );
    let (id, ended_ms) = (id.to_string(), ended_ms.to_string());
    redis.command(&["HSET", &keys.bookings(event), &id, &record]);
    redis.command(&["ZADD", &keys.ended(event), &ended_ms, &id]);
}

on_one_redis!(redelivered_entries_of_a_forgotten_booking_restore_its_end, async |flavor| {
    let world = World::new(shared_redis(flavor), shared_mongodb()).await;
    let spec = || WorkerSpec::new(&world, shared_mongodb()).with("ended_keep_seconds", "1");
    let worker = spec().start().await;
    let event = world.event(10).await;
    let sold = world.hold("ann", event, &[1], None).await.unwrap();
    assert!(matches!(world.confirm(&sold).await.unwrap(), Confirmed::Settled(_)));
    world.sale.cancel(&sold.booking.user, sold.booking.id).await.unwrap();
    let is_gone = async || in_redis(&world, event).await.is_empty();
    eventually("it has left", SOON, is_gone).await;
    assert!(worker.stop());

    // All entries are delivered again, with its `sold`, after its cancellation was removed from Redis.
    let partition = world.partition(event);
    let group = [&*world.engine.keys().log(partition), "archive"];
    shared_redis(flavor).command(&["XGROUP", "DESTROY", group[0], group[1]]);
    let newest = world.engine.last_entry(partition).await.unwrap().unwrap_or_default();
    let other = world.hold("bob", event, &[1], None).await.unwrap().booking;
    let _worker = spec().start().await;
    let settled_again = async || {
        let after = LogId { ms: newest.ms, seq: newest.seq + 1 };
        let since = world.engine.range(partition, after, None, 100).await.unwrap();
        let mut since =
            since.iter().filter_map(|read| read.entry.as_ref().ok()?.transition.as_ref());
        since.any(|one| one.booking == sold.booking.id && one.status == Status::Cancelled)
    };
    eventually("its end is settled again", SOON, settled_again).await;
    assert_eq!(world.status(other.id).await, Some(Status::Hold));
    eventually("it has left again", SOON, async || in_redis(&world, event).await == [other.id])
        .await;
    world.verified().await;
    world.stop().await;
});

on_one_redis!(worker_suspended_past_the_retention_settles_no_old_outcome, async |flavor| {
    let world = World::with(shared_redis(flavor), shared_mongodb(), impatient()).await;
    let spec = || WorkerSpec::new(&world, shared_mongodb()).with("ended_keep_seconds", "1");
    let first = spec().with("worker_fault_point", "after_outcomes:stop").start().await;
    let event = world.event(10).await;
    // It has read Redis' clock, so it reads the outcome only once.
    let swept = r#"holdfast_script_replies_total{code="ok",script="expire"}"#;
    eventually("it has swept the event", SOON, async || first.metric(swept).await > 0.0).await;
    let sold = world.sell(event, 1..=1).await;
    eventually("it is suspended with `sold`", BUSY, async || first.is_frozen()).await;
    let second = spec().start().await;
    world.all_confirmed(&sold, BUSY).await;
    let cancelled = &sold[0].booking;
    world.sale.cancel(&cancelled.user, cancelled.id).await.unwrap();
    let is_gone = async || in_redis(&world, event).await.is_empty();
    eventually("it has left", BUSY, is_gone).await;
    let next = world.hold("bob", event, &[1], None).await.unwrap().booking;

    first.thaw();
    let is_done = async || {
        let ready = first.get("/health/ready").await.is_some_and(|answer| answer.0 == 200);
        ready && first.metric("holdfast_worker_batches_in_flight").await == 0.0
    };
    eventually("the late worker is done", BUSY, is_done).await;
    assert_eq!(world.status(next.id).await, Some(Status::Hold));
    let late = world.status(cancelled.id).await;
    assert!(matches!(late, None | Some(Status::Cancelled)), "{late:?}");
    world.verified().await;
    assert!(second.stop());
    world.stop().await;
});
