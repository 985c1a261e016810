//! A write that was reported as failed has no later effect: MongoDB is frozen just before it receives a
//! write with a deadline, and executes the write from its socket when it resumes.

use std::time::{Duration, Instant};

use holdfast::domain::{EventChange, EventStatus, Outcome, Status};
use holdfast::sale::SaleError;

use crate::support::Flavor;
use crate::support::eventually;
use crate::support::primary::{Fault, Primary};
use crate::support::servers::{available, private_redis};
use crate::support::worker::WorkerSpec;
use crate::support::world::{World, impatient};

/// Bound of every answer: the calls of Redis, MongoDB's time, the write.
const ANSWERED: Duration = Duration::from_secs(30);
/// Bound of a resumed server on a busy machine.
const SOON: Duration = Duration::from_secs(60);

/// Waits for the fault, resumes the server and waits until it has executed the late write.
async fn resume(primary: &Primary) {
    assert_eq!(primary.sprung(), Some(Fault::Frozen), "the write was sent");
    primary.recover(Fault::Frozen);
    eventually("the late write is answered", SOON, async || primary.answered_late()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancellation_that_timed_out_has_no_effect_when_mongodb_resumes() {
    if !available(Flavor::Redis) {
        return;
    }
    let redis = private_redis(Flavor::Redis);
    let primary = Primary::start();
    let world = World::prompt(&redis, &primary.server, impatient()).await;
    let worker = WorkerSpec::new(&world, &primary.server).start().await;
    let event = world.event(20).await;
    let sold = world.sell(event, 1..=2).await;
    world.all_confirmed(&sold, SOON).await;
    let cancel = async |nth: usize| {
        let booking = &sold[nth].booking;
        world.sale.cancel(&booking.user, booking.id).await
    };

    // Its new status is in no other write of this sale.
    primary.at_write(Fault::Frozen, 0, b"CANCELLED");
    let began = Instant::now();
    match cancel(0).await {
        Err(SaleError::Unavailable { dependency: "mongodb", unknown: true, .. }) => {}
        other => panic!("{other:?}"),
    }
    assert!(began.elapsed() < ANSWERED, "{:?}", began.elapsed());
    resume(&primary).await;
    let outcome = async |nth: usize| {
        let archived = world.archive.booking(sold[nth].booking.id).await;
        archived.ok().flatten().and_then(|archived| archived.outcome)
    };
    eventually("MongoDB answers", SOON, async || outcome(0).await.is_some()).await;
    assert_eq!(outcome(0).await, Some(Outcome::Sold), "the late write did not cancel it");
    assert_eq!(world.status(sold[0].booking.id).await, Some(Status::Confirmed));

    // MongoDB's time cannot be read: nothing is sent, and the error says so.
    primary.server.freeze();
    match cancel(1).await {
        Err(SaleError::Unavailable { dependency: "mongodb", unknown: false, .. }) => {}
        other => panic!("{other:?}"),
    }
    primary.server.thaw();
    // A repeated request succeeds.
    for nth in 0..2 {
        eventually("it is cancelled", SOON, async || cancel(nth).await.is_ok()).await;
        assert_eq!(outcome(nth).await, Some(Outcome::Cancelled));
    }
    world.verified().await;
    assert!(worker.stop());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn change_that_timed_out_has_no_effect_when_mongodb_resumes() {
    if !available(Flavor::Redis) {
        return;
    }
    let redis = private_redis(Flavor::Redis);
    let primary = Primary::start();
    let world = World::prompt(&redis, &primary.server, impatient()).await;
    let event = world.event(20).await;
    let change = || EventChange { status: Some(EventStatus::Paused), ..EventChange::default() };

    primary.at_write(Fault::Frozen, 0, b"PAUSED");
    let changed = world.sale.change_event(event, change()).await;
    assert!(changed.is_err(), "{changed:?}");
    resume(&primary).await;
    let status = async || world.archive.event(event).await.ok().flatten().map(|event| event.status);
    eventually("MongoDB answers", SOON, async || status().await.is_some()).await;
    assert_eq!(status().await, Some(EventStatus::OnSale));
    let again = async || world.sale.change_event(event, change()).await.is_ok();
    eventually("it is changed", SOON, again).await;
    assert_eq!(status().await, Some(EventStatus::Paused));
    world.stop().await;
}
