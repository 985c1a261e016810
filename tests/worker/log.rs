//! Faults of the log: garbage, entries that cannot be stored, a lost consumer group, sales of seats that
//! were sold before.

use std::collections::HashMap;

use holdfast::domain::entry::{ENTRY_FIELD, Entry};
use holdfast::domain::{BookingId, Kind, LogId, Outcome, Partition, Status};
use holdfast::redis::WORKER_GROUP;

use super::*;
use crate::support::servers::Server;

/// Appends an entry with these fields.
fn append(redis: &Server, world: &World, partition: Partition, fields: &[(&str, &str)]) -> LogId {
    let log = world.engine.keys().log(partition);
    let mut arguments = vec!["XADD", &log, "*"];
    arguments.extend(fields.iter().flat_map(|(name, value)| [*name, *value]));
    let reply = redis.command_value(&arguments);
    reply.parse().unwrap_or_else(|_| panic!("XADD returned {reply}"))
}

/// Appends a copy of a sale's entry with some fields changed.
async fn forge(
    redis: &Server,
    world: &World,
    sold: &holdfast::sale::BookingView,
    change: &[(&str, &str)],
) -> LogId {
    let partition = world.partition(sold.event.id);
    let log = world.engine.range(partition, LogId::default(), None, 1_000).await.unwrap();
    let is_sale = |entry: &Entry| {
        let booking = entry.transition.as_ref().map(|transition| transition.booking);
        entry.kind == Kind::Sold && booking == Some(sold.booking.id)
    };
    let sale = log.iter().find(|read| read.entry.as_ref().is_ok_and(is_sale)).unwrap();
    let values = Entry::named_values(sale.line()).into_iter().map(|(name, value)| {
        change.iter().find(|change| change.0 == name).map_or(value, |change| change.1)
    });
    let line = values.collect::<Vec<_>>().join("\t");
    append(redis, world, partition, &[(ENTRY_FIELD, &line)])
}

async fn pending(world: &World, partition: Partition) -> u64 {
    world.engine.log_state(partition, WORKER_GROUP).await.unwrap().pending
}

on_one_redis!(invalid_entries_are_parked_and_the_others_stored, async |flavor| {
    let redis = shared_redis(flavor);
    let world = World::without_views(redis, shared_mongodb(), impatient()).await;
    let spec = WorkerSpec::new(&world, shared_mongodb()).with("worker_deliveries_max", "2");
    let event = world.event(10).await;
    let partition = world.partition(event);
    let mut sold = world.sell(event, 1..=2).await;
    let garbage = append(redis, &world, partition, &[("foo", "bar\tbaz")]);
    let newer = forge(redis, &world, &sold[0], &[("v", "3")]).await;
    let huge = "x".repeat(20_000);
    let too_long = forge(redis, &world, &sold[0], &[("detail", &huge)]).await;
    let unknown = BookingId::new(holdfast::domain::EventId(77), 1, 1).to_string();
    let of_no_event = [("event", "77"), ("booking", &*unknown), ("seats", "1")];
    let of_no_event = forge(redis, &world, &sold[0], &of_no_event).await;
    sold.extend(world.sell(event, 3..=4).await);

    let worker = spec.start().await;
    world.all_confirmed(&sold, SOON).await;
    let bound = Duration::from_secs(30);
    eventually("the letters are parked", bound, async || pending(&world, partition).await == 0)
        .await;
    let letters = world.engine.dead_letters(partition, None, 10).await.unwrap();
    let reasons: HashMap<&str, &str> =
        letters.iter().map(|l| (l.entry_id.as_str(), l.reason.as_str())).collect();
    assert_eq!(letters.len(), 4, "{reasons:?}");
    assert_eq!(reasons[garbage.to_string().as_str()], "unreadable v");
    assert_eq!(reasons[newer.to_string().as_str()], "unreadable v");
    assert!(reasons[too_long.to_string().as_str()].contains("bytes, more than"), "{reasons:?}");
    assert_eq!(reasons[of_no_event.to_string().as_str()], "event 77 is not in the archive");
    let letter = letters.iter().find(|letter| letter.line().is_empty()).unwrap();
    assert_eq!(letter.fields, [("foo".to_owned(), "bar\tbaz".to_owned())]);
    let gauge = format!(r#"holdfast_dead_letters{{partition="{}"}}"#, partition.0);
    eventually("the gauge shows them", SOON, async || worker.metric(&gauge).await == 4.0).await;
    world.stop().await;
});

on_one_redis!(failing_entry_is_parked_only_after_its_last_delivery, async |flavor| {
    let redis = shared_redis(flavor);
    let world = World::without_views(redis, shared_mongodb(), impatient()).await;
    let event = world.event(10).await;
    let partition = world.partition(event);
    let garbage = append(redis, &world, partition, &[("foo", "bar")]);
    let spec = WorkerSpec::new(&world, shared_mongodb()).with("worker_deliveries_max", "4");
    let _worker = spec.start().await;
    let deliveries = async || {
        // Nothing is pending until the worker has created its group.
        let pending =
            world.engine.pending(partition, WORKER_GROUP, 0, 10).await.unwrap_or_default();
        pending.iter().find(|one| one.id == garbage).map_or(0, |one| one.deliveries)
    };
    let bound = Duration::from_secs(30);
    eventually("it was delivered three times", bound, async || deliveries().await == 3).await;
    assert!(world.engine.dead_letters(partition, None, 10).await.unwrap().is_empty());
    eventually("it is parked", bound, async || pending(&world, partition).await == 0).await;
    assert_eq!(world.engine.dead_letters(partition, None, 10).await.unwrap().len(), 1);
    world.stop().await;
});

on_one_redis!(lost_consumer_group_is_created_again, async |flavor| {
    let redis = shared_redis(flavor);
    let world = World::without_views(redis, shared_mongodb(), impatient()).await;
    let _worker = WorkerSpec::new(&world, shared_mongodb()).start().await;
    let event = world.event(10).await;
    let first = world.sell(event, 1..=2).await;
    world.all_confirmed(&first, SOON).await;
    let log = world.engine.keys().log(world.partition(event));
    assert_eq!(redis.command(&["XGROUP", "DESTROY", &log, WORKER_GROUP]), ":1");
    let second = world.sell(event, 3..=4).await;
    world.all_confirmed(&second, SOON).await;
    // All entries were delivered again, without effect.
    world.archive_is_exact(event).await;
    world.stop().await;
});

on_one_redis!(sale_of_a_sold_seat_is_refunded, async |flavor| {
    let redis = shared_redis(flavor);
    let world = World::without_views(redis, shared_mongodb(), impatient()).await;
    let worker = WorkerSpec::new(&world, shared_mongodb()).start().await;
    let event = world.event(10).await;
    let sold = world.sell(event, 1..=1).await;
    world.all_confirmed(&sold, SOON).await;
    // As if Redis had sold the seat again after losing data.
    let again = BookingId::new(event, 1, 1);
    forge(redis, &world, &sold[0], &[("booking", &again.to_string()), ("user", "bob")]).await;
    let refunded = async || {
        let archived = world.archive.booking(again).await.unwrap();
        archived.is_some_and(|found| found.outcome == Some(Outcome::Refund))
    };
    eventually("it is refunded", SOON, refunded).await;
    let partition = world.partition(event);
    eventually("it is acknowledged", SOON, async || pending(&world, partition).await == 0).await;
    assert_eq!(worker.metric("holdfast_double_sale_prevented_total").await, 1.0);
    let archived = world.archive.booking(again).await.unwrap().unwrap();
    assert_eq!(archived.booking.status, Status::Voided);
    let claims = world.archive.claims_of_event(event, None, 10).await.unwrap();
    assert_eq!((claims.len(), claims[0].owner), (1, sold[0].booking.id));
    assert_eq!(world.status(sold[0].booking.id).await, Some(Status::Confirmed));
    // Redis keeps its end, so that no late call can start it again.
    assert_eq!(world.status(again).await, Some(Status::Voided));
    world.stop().await;
});

on_one_redis!(log_is_trimmed_only_below_the_watermark, async |flavor| {
    let redis = shared_redis(flavor);
    let world = World::without_views(redis, shared_mongodb(), impatient()).await;
    let spec = WorkerSpec::new(&world, shared_mongodb()).with("log_keep_seconds", "1");
    let worker = spec.with("worker_deliveries_max", "100").start().await;
    let event = world.event(10).await;
    let partition = world.partition(event);
    let first = world.sell(event, 1..=2).await;
    world.all_confirmed(&first, SOON).await;
    // This entry stays pending, so all later entries stay, too, though they are archived and old.
    let stuck = append(redis, &world, partition, &[("foo", "bar")]);
    let second = world.sell(event, 3..=4).await;
    world.all_confirmed(&second, SOON).await;
    let after = world.engine.range(partition, stuck, None, 1_000).await.unwrap().len();

    let bound = Duration::from_secs(20);
    let length = async || world.engine.log_state(partition, WORKER_GROUP).await.unwrap().length;
    // The newest archived entry is the log's mark, and stays.
    eventually("archived entries are trimmed", bound, async || length().await == after as u64 + 1)
        .await;
    let oldest = world.engine.range(partition, LogId::default(), None, 2).await.unwrap();
    assert_eq!(oldest[1].id, stuck);
    let marks = world.archive.log_marks().await.unwrap();
    assert_eq!(marks[&partition].id, oldest[0].id);
    assert!(worker.metric("holdfast_log_trimmed_entries_total").await > 0.0);
    assert_eq!(pending(&world, partition).await, 1);
    world.stop().await;
});

on_one_redis!(drain_resumes_after_redis_restarts, async |flavor| {
    let redis = crate::support::servers::private_redis(flavor);
    redis.command(&["CONFIG", "SET", "appendfsync", "always"]);
    let world = World::without_views(&redis, shared_mongodb(), impatient()).await;
    let worker = WorkerSpec::new(&world, shared_mongodb()).start().await;
    let event = world.event(10).await;
    let mut sold = world.sell(event, 1..=2).await;
    let readiness = async || worker.get("/health/ready").await.unwrap();
    eventually("the worker is ready", SOON, async || readiness().await.0 == 200).await;
    redis.kill();
    eventually("health reports it", SOON, async || {
        let (status, body) = readiness().await;
        status == 503 && body.contains("redis")
    })
    .await;
    tokio::task::block_in_place(|| redis.restart());
    let bound = Duration::from_secs(20);
    eventually("redis responds", bound, async || world.free(event).await.is_some()).await;
    sold.extend(world.sell(event, 3..=4).await);
    world.all_confirmed(&sold, bound).await;
    world.archive_is_exact(event).await;
    eventually("the worker is ready again", SOON, async || readiness().await.0 == 200).await;
    world.stop().await;
});
