//! What a caller was told to have failed does not happen later: MongoDB is frozen just before it gets a
//! write that somebody waits for, and executes what waited in its socket when it wakes.

use std::time::{Duration, Instant};

use holdfast::domain::{EventChange, EventStatus, Outcome, Status};
use holdfast::sale::SaleError;

use crate::support::Flavor;
use crate::support::eventually;
use crate::support::primary::{Fault, Primary};
use crate::support::servers::{available, private_redis};
use crate::support::worker::WorkerSpec;
use crate::support::world::{World, impatient};

/// Every answer comes within this: the calls of Redis, MongoDB's time, the write.
const ANSWERED: Duration = Duration::from_secs(30);
/// What a server that wakes needs on a busy machine.
const SOON: Duration = Duration::from_secs(60);

/// Waits for a fault, and for the server to execute what waited for it.
async fn wakes(primary: &Primary) {
    assert_eq!(primary.sprung(), Some(Fault::Frozen), "the write was sent");
    primary.recover(Fault::Frozen);
    eventually("the late write is answered", SOON, async || primary.answered_late()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancellation_that_timed_out_has_no_effect_when_mongodb_wakes() {
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
    let asked = Instant::now();
    match cancel(0).await {
        Err(SaleError::Unavailable { dependency: "mongodb", unknown: true, .. }) => {}
        other => panic!("{other:?}"),
    }
    assert!(asked.elapsed() < ANSWERED, "{:?}", asked.elapsed());
    wakes(&primary).await;
    let outcome = async |nth: usize| {
        let archived = world.archive.booking(sold[nth].booking.id).await;
        archived.ok().flatten().and_then(|archived| archived.outcome)
    };
    eventually("MongoDB answers", SOON, async || outcome(0).await.is_some()).await;
    assert_eq!(
        outcome(0).await,
        Some(Outcome::Sold),
        "it was not cancelled behind its owner's back"
    );
    assert_eq!(world.status(sold[0].booking.id).await, Some(Status::Confirmed));

    // MongoDB does not even say its time: nothing is sent, and that is what is said.
    primary.server.freeze();
    match cancel(1).await {
        Err(SaleError::Unavailable { dependency: "mongodb", unknown: false, .. }) => {}
        other => panic!("{other:?}"),
    }
    primary.server.thaw();
    // Sent again, it is done.
    for nth in 0..2 {
        eventually("it is cancelled", SOON, async || cancel(nth).await.is_ok()).await;
        assert_eq!(outcome(nth).await, Some(Outcome::Cancelled));
    }
    world.verified().await;
    assert!(worker.stop());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn change_that_timed_out_has_no_effect_when_mongodb_wakes() {
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
    wakes(&primary).await;
    let status = async || world.archive.event(event).await.ok().flatten().map(|event| event.status);
    eventually("MongoDB answers", SOON, async || status().await.is_some()).await;
    assert_eq!(status().await, Some(EventStatus::OnSale));
    let again = async || world.sale.change_event(event, change()).await.is_ok();
    eventually("it is changed", SOON, again).await;
    assert_eq!(status().await, Some(EventStatus::Paused));
    world.stop().await;
}
