//! The worker process on real servers: archiving, reclaiming, recovery and reporting.

use std::time::Duration;

use holdfast::sale::Confirmed;

use crate::on_one_redis;
use crate::support::eventually;
use crate::support::servers::{shared_mongodb, shared_redis};
use crate::support::worker::WorkerSpec;
use crate::support::world::{World, impatient};

mod idle;
mod loading;
mod log;
mod retain;
mod upkeep;

/// Bound of everything that a worker does promptly.
const SOON: Duration = Duration::from_secs(60);
/// Bound of operations that need a few hundred writes of a slow server.
const BUSY: Duration = Duration::from_secs(60);

on_one_redis!(sale_is_confirmed, async |flavor| {
    let world = World::new(shared_redis(flavor), shared_mongodb()).await;
    let worker = WorkerSpec::new(&world, shared_mongodb()).start().await;
    let event = world.event(10).await;
    let held = world.hold("ann", event, &[1, 2, 3], None).await.unwrap();
    let confirmed = world.confirm(&held).await.unwrap();
    assert!(matches!(confirmed, Confirmed::Settled(_)), "{confirmed:?}");
    // A cancelled hold is archived, too.
    let other = world.hold("bob", event, &[4], None).await.unwrap().booking;
    world.sale.cancel(&other.user, other.id).await.unwrap();
    world.archive_is_exact(event).await;
    let (status, body) = worker.get("/health/ready").await.unwrap();
    assert_eq!(status, 200, "{body}");
    assert_eq!(worker.metric(r#"holdfast_verdicts_total{outcome="sold"}"#).await, 1.0);
    assert!(worker.stop(), "it shuts down in order");
    world.stop().await;
});

on_one_redis!(cancelled_sale_frees_its_seats, async |flavor| {
    let world = World::new(shared_redis(flavor), shared_mongodb()).await;
    let _worker = WorkerSpec::new(&world, shared_mongodb()).start().await;
    let event = world.event(2).await;
    for user in ["ann", "bob"] {
        let held = world.hold(user, event, &[1], None).await.unwrap();
        let confirmed = world.confirm(&held).await.unwrap();
        assert!(matches!(confirmed, Confirmed::Settled(_)), "{confirmed:?}");
        world.sale.cancel(&held.booking.user, held.booking.id).await.unwrap();
        assert_eq!(world.free(event).await, Some(2));
    }
    world.verified().await;
    world.stop().await;
});

on_one_redis!(two_workers_share_the_log, async |flavor| {
    let world = World::with(shared_redis(flavor), shared_mongodb(), impatient()).await;
    let spec = || WorkerSpec::new(&world, shared_mongodb()).with("worker_batch_entries", "7");
    let (one, two) = tokio::join!(spec().start(), spec().start());
    let event = world.event(100).await;
    let sold = world.sell(event, 1..=100).await;
    world.all_confirmed(&sold, BUSY).await;
    world.archive_is_exact(event).await;
    for worker in [&one, &two] {
        let batches = r#"holdfast_worker_batch_entries_count{source="new"}"#;
        assert!(worker.metric(batches).await > 0.0);
    }
    world.stop().await;
});

on_one_redis!(restarted_worker_processes_its_pending_entries_first, async |flavor| {
    let world = World::with(shared_redis(flavor), shared_mongodb(), impatient()).await;
    // No other worker reclaims entries within this time.
    let spec = || {
        let spec = WorkerSpec::new(&world, shared_mongodb()).with("worker_consumer", "one");
        spec.with("worker_reclaim_idle_ms", "600000")
    };
    let mut first = spec().with("worker_fault_point", "after_read:kill").start().await;
    let event = world.event(10).await;
    let sold = world.sell(event, 1..=3).await;
    eventually("the fault", SOON, async || first.has_ended()).await;
    let second = spec().start().await;
    world.all_confirmed(&sold, SOON).await;
    world.archive_is_exact(event).await;
    let left_over = r#"holdfast_worker_batch_entries_count{source="left_over"}"#;
    assert!(second.metric(left_over).await > 0.0);
    world.stop().await;
});
