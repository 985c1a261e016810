//! MongoDB frozen or killed during a sale: holds continue, free bookings are sold and wait for their
//! confirmation, paid ones are not charged, and nothing is lost when it is back.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use holdfast::domain::{EventId, Status};
use holdfast::redis::WORKER_GROUP;
use holdfast::sale::{BookingView, Confirmed, SaleError};

use crate::support::servers::{Server, available, private_mongodb, private_redis};
use crate::support::stopwatch::Stopwatch;
use crate::support::worker::{WorkerProcess, WorkerSpec};
use crate::support::world::{World, impatient};
use crate::support::{Flavor, eventually};

/// Longer than the longest pause between two attempts.
const LONG_OUTAGE: Duration = Duration::from_secs(20);
const OUTAGE: Duration = Duration::from_secs(8);
/// Bound of the recovery; a restarted server reads its journal first.
const RECOVERY: Duration = Duration::from_secs(30);
/// Bound of every answer, also during the outage.
const PROMPT: Duration = Duration::from_secs(1);
/// Seats sold in one second of an outage.
const SALES_PER_SECOND: u32 = 3;

/// Sells during an outage of this length.
async fn sell_through(
    flavor: Flavor,
    length: Duration,
    begin: impl Fn(&Server),
    end: impl Fn(&Server),
) {
    let redis = private_redis(flavor);
    let mongodb = private_mongodb();
    let world = World::prompt(&redis, &mongodb, impatient()).await;
    let spec = || WorkerSpec::new(&world, &mongodb).with("worker_deliveries_max", "2");
    let (one, two) = tokio::join!(spec().start(), spec().start());
    // Free of charge: no intent must be written before the sale.
    let event = world.free_event(200).await;
    let paid = world.event(200).await;
    let mut sold = world.sell(event, 1..=3).await;
    world.all_confirmed(&sold, RECOVERY).await;

    begin(&mongodb);
    let began = Instant::now();
    let first = world.hold("ann", paid, &[1], None).await.unwrap();
    // The first payment finds the outage; then it is known.
    assert_not_charged(&world, &first).await;
    let mut refused = vec![first];
    let mut seats = 4..;
    while began.elapsed() < length {
        let seat = refused.len() as u32 + 1;
        let user = format!("p{seat}");
        refused.push(world.hold(&user, paid, &[seat], None).await.unwrap());
        let watch = Stopwatch::start();
        assert_not_charged(&world, &refused[refused.len() - 1]).await;
        let took = watch.elapsed();
        assert!(took < PROMPT, "refused after {took:?}");
        let sales = seats.by_ref().take(SALES_PER_SECOND as usize).map(|seat| {
            let world = &world;
            async move {
                let watch = Stopwatch::start();
                let held = world.hold(&format!("u{seat}"), event, &[seat], None).await.unwrap();
                let answer = world.confirm(&held).await.unwrap();
                assert!(matches!(answer, Confirmed::Pending(_)), "{answer:?}");
                let took = watch.elapsed();
                assert!(took < PROMPT, "answered after {took:?}");
                held
            }
        });
        sold.extend(join_all(sales).await);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    for worker in [&one, &two] {
        reports_outage(worker, &world, event).await;
    }
    for view in &sold[3..] {
        let status = world.status(view.booking.id).await;
        assert_eq!(
            status,
            Some(Status::Committed),
            "no booking is confirmed before the archive has it"
        );
    }
    end(&mongodb);

    for view in &refused {
        assert_eq!(world.payment(view.booking.id).await, None, "nothing was charged");
        eventually("it can be paid", RECOVERY, async || world.confirm(view).await.is_ok()).await;
    }
    sold.extend(refused);
    world.all_confirmed(&sold, RECOVERY).await;
    world.archive_is_exact(event).await;
    for worker in [&one, &two] {
        let ready = async || worker.get("/health/ready").await.is_some_and(|a| a.0 == 200);
        eventually("it is ready", RECOVERY, ready).await;
    }
    let partition = world.partition(event);
    let state = world.engine.log_state(partition, WORKER_GROUP).await.unwrap();
    assert_eq!((state.pending, state.dead_letters), (0, 0), "an outage parks nothing");
    let lag = format!(r#"holdfast_log_lag_seconds{{partition="{}"}}"#, partition.0);
    eventually("the lag is gone", RECOVERY, async || one.metric(&lag).await == 0.0).await;
    world.stop().await;
}

/// Checks that a payment is refused: its intent cannot be written before the charge.
async fn assert_not_charged(world: &World, held: &BookingView) {
    match world.confirm(held).await {
        Err(SaleError::Unavailable { dependency: "mongodb", unknown: false, .. }) => {}
        other => panic!("{other:?}"),
    }
}

/// Checks that the worker reports the outage and the growing lag.
async fn reports_outage(worker: &WorkerProcess, world: &World, event: EventId) {
    let (status, body) = worker.get("/health/ready").await.unwrap();
    assert_eq!(status, 503, "{body}");
    assert!(body.contains("mongodb"), "{body}");
    assert_eq!(worker.get("/health/live").await.unwrap().0, 200);
    let partition = world.partition(event).0;
    let lag = format!(r#"holdfast_log_lag_seconds{{partition="{partition}"}}"#);
    assert!(worker.metric(&lag).await > 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frozen_mongodb_delays_only_confirmations() {
    if available(Flavor::Redis) {
        sell_through(Flavor::Redis, LONG_OUTAGE, Server::freeze, Server::thaw).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_mongodb_delays_only_confirmations() {
    if available(Flavor::Valkey) {
        let restart = |mongodb: &Server| tokio::task::block_in_place(|| mongodb.restart());
        sell_through(Flavor::Valkey, OUTAGE, Server::kill, restart).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn worker_shuts_down_while_mongodb_is_unavailable() {
    let (redis, mongodb) = (private_redis(Flavor::Cluster), private_mongodb());
    let world = World::prompt(&redis, &mongodb, impatient()).await;
    let spec = || WorkerSpec::new(&world, &mongodb);
    let worker = spec().start().await;
    let event = world.free_event(10).await;
    mongodb.freeze();
    let sold = world.sell(event, 1..=3).await;
    let waits = async || worker.metric("holdfast_worker_retries_total").await > 0.0;
    eventually("a batch waits", RECOVERY, waits).await;
    let watch = Stopwatch::start();
    assert!(tokio::task::block_in_place(|| worker.stop()));
    let took = watch.elapsed();
    assert!(took < Duration::from_secs(8), "shut down after {took:?}");
    mongodb.thaw();
    // Nothing is lost.
    let _worker = spec().start().await;
    world.all_confirmed(&sold, RECOVERY).await;
    world.archive_is_exact(event).await;
    world.stop().await;
}
