//! Workers crash or stop between any two steps of a sale: others finish, and a worker that resumes late
//! changes nothing.

use std::time::Duration;

use futures_util::future::join_all;
use holdfast::domain::{EventId, Status};
use holdfast::sale::BookingView;

use crate::on_one_redis;
use crate::support::servers::{shared_mongodb, shared_redis};
use crate::support::worker::{WorkerProcess, WorkerSpec};
use crate::support::world::{World, answered, impatient};
use crate::support::{Flavor, eventually};

/// The steps of a sale with a fault point.
const STEPS: [&str; 6] = [
    "after_read",
    "after_ledger",
    "after_states",
    "after_claims",
    "after_outcomes",
    "after_settle",
];
/// Bound of a takeover: the reclaim time, on a busy machine that stalls.
const TAKEN_OVER: Duration = Duration::from_secs(120);

/// Sells while a fault strikes a worker at this step, lets another worker finish, and checks the result.
async fn sell_through(flavor: Flavor, step: &str, harm: &str) {
    let world = World::with(shared_redis(flavor), shared_mongodb(), impatient()).await;
    let spec = || WorkerSpec::new(&world, shared_mongodb());
    let point = format!("{step}:{harm}");
    let mut first = spec().with("worker_fault_point", &point).start().await;
    let event = world.event(20).await;
    let mut sold = world.sell(event, 1..=5).await;
    let has_struck = async || first.has_ended() || first.is_frozen();
    eventually(&format!("the fault {point}"), TAKEN_OVER, has_struck).await;

    let second = spec().start().await;
    sold.extend(world.sell(event, 6..=8).await);
    world.all_confirmed(&sold, TAKEN_OVER).await;
    world.archive_is_exact(event).await;
    if harm == "stop" {
        resume_late(&world, event, &first, &mut sold).await;
    }
    for view in &sold {
        let id = view.booking.id;
        assert_eq!(world.status(id).await, Some(Status::Confirmed), "{point}: {id}");
    }
    assert!(second.stop(), "it shuts down in order");
    world.stop().await;
}

/// When the first worker resumes, its entries are processed, one of its sold bookings is cancelled and
/// the seat sold to another user.
async fn resume_late(
    world: &World,
    event: EventId,
    first: &WorkerProcess,
    sold: &mut Vec<BookingView>,
) {
    let cancelled_sale = sold.remove(0).booking;
    let cancel = async || world.sale.cancel(&cancelled_sale.user, cancelled_sale.id).await;
    let cancelled = answered(cancel).await.unwrap();
    assert_eq!(cancelled.booking.status, Status::Cancelled);
    let seat = cancelled_sale.seats[0].0;
    sold.extend(world.sell(event, seat..=seat).await);
    world.all_confirmed(sold, TAKEN_OVER).await;

    first.thaw();
    let is_done = async || {
        let ready = first.get("/health/ready").await.is_some_and(|answer| answer.0 == 200);
        ready && first.metric("holdfast_worker_batches_in_flight").await == 0.0
    };
    eventually("the late worker is done", TAKEN_OVER, is_done).await;
    world.archive_is_exact(event).await;
    assert_eq!(world.status(cancelled_sale.id).await, Some(Status::Cancelled));
}

on_one_redis!(worker_killed_at_any_step_is_replaced, async |flavor| {
    join_all(STEPS.map(|step| sell_through(flavor, step, "kill"))).await;
});

on_one_redis!(worker_stopped_at_any_step_resumes_without_effect, async |flavor| {
    join_all(STEPS.map(|step| sell_through(flavor, step, "stop"))).await;
});
