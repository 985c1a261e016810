//! A log that is truncated, trimmed, unreadable or restarted: the views built on it are dropped before the
//! next entry is used, and lost holds refuse requests only for a short time.

use std::time::Duration;

use holdfast::domain::{EventId, EventStatus, Inventory, SeatId};
use holdfast::redis::Detail;
use holdfast::redis::scripts::ClockSource;
use holdfast::sale::SaleError;

use super::watch::{Watch, engine, wide_event};
use super::{PATIENCE, fresh, view_equals_redis, writes_at_once};
use crate::on_one_redis;
use crate::support::engine::Stage;
use crate::support::eventually;
use crate::support::proxy::Proxy;
use crate::support::servers::{Flavor, available, private_redis, shared_mongodb, shared_redis};
use crate::support::world::{World, answered, impatient};

/// The staleness here: long enough that a fork is found while views are fresh.
const STALENESS: Duration = Duration::from_secs(6);
/// The longest time that a running tail needs.
const A_WHILE: Duration = Duration::from_millis(300);

/// Waits until another user is refused a seat by the view.
async fn wait_for_local_refusal(world: &World, event: EventId, seat: u32) {
    let mut stranger = 0;
    eventually("another user is refused by the view", PATIENCE, async || {
        fresh(world.sale.live(), event).await;
        let before = world.refused_from_view();
        stranger += 1;
        let refused = world.hold(&format!("before{stranger}"), event, &[seat], None).await;
        assert!(matches!(refused, Err(SaleError::SeatsUnavailable(_))), "{refused:?}");
        world.refused_from_view() > before
    })
    .await;
}

/// Waits until a seat whose hold was lost is granted. From `live_staleness_ms` after the first entry of the
/// new history on, the view refuses nobody.
async fn wait_for_grant(world: &World, event: EventId, seat: u32, first_ms: i64) {
    let until_ms = first_ms + STALENESS.as_millis() as i64;
    let (mut stranger, mut refused) = (0, 0);
    eventually("the seat is free", PATIENCE, async || {
        let from_ms = world.sale.live().redis_now_ms(event).map(|now| now.1);
        let before = world.refused_from_view();
        stranger += 1;
        let answer = world.hold(&format!("after{stranger}"), event, &[seat], None).await;
        if world.refused_from_view() > before {
            refused += 1;
            let from_ms = from_ms.expect("a refusal needs Redis' time");
            assert!(from_ms <= until_ms, "{} ms too late", from_ms - until_ms);
        }
        answer.is_ok()
    })
    .await;
    println!("refused {refused} times after the fork");
}

on_one_redis!(hold_lost_with_the_redis_file_stops_refusing, async |flavor| {
    let redis = private_redis(flavor);
    writes_at_once(&redis);
    let other = World::with(&redis, shared_mongodb(), impatient()).await;
    let world = other.beside(&redis, shared_mongodb(), STALENESS).await;
    let event = other.event(20).await;
    let early = other.hold("ann", event, &[1], None).await.unwrap();
    view_equals_redis(&world, world.sale.live(), event).await;
    let saved = redis.saved_writes();
    other.hold("bob", event, &[5], None).await.unwrap();
    wait_for_local_refusal(&world, event, 5).await;
    redis.kill();
    redis.put_back_writes(&saved);
    tokio::task::block_in_place(|| redis.restart());
    let first = answered(async || other.hold("zed", event, &[10], None).await).await.unwrap();
    wait_for_grant(&world, event, 5, first.booking.created_ms).await;
    view_equals_redis(&world, world.sale.live(), event).await;
    // The hold that was not lost still refuses.
    wait_for_local_refusal(&world, event, 1).await;
    assert_eq!(other.status(early.booking.id).await, Some(early.booking.status));
    assert!(world.counts.views("past") + world.counts.views("broken") >= 1);
    world.stop().await;
    other.stop().await;
});

/// A replica that lacks the newest writes takes over; its history grows before clients reach it.
async fn failover(flavor: Flavor) {
    if !available(flavor) {
        return;
    }
    let (primary, replica) = (private_redis(flavor), private_redis(flavor));
    let proxy = Proxy::to(primary.port());
    let redis = primary.reached_at(proxy.url());
    let other = World::with(&redis, shared_mongodb(), impatient()).await;
    let world = other.beside(&redis, shared_mongodb(), STALENESS).await;
    let event = other.event(20).await;
    other.hold("ann", event, &[1], None).await.unwrap();
    let port = redis.port().to_string();
    redis.command(&["CONFIG", "SET", "repl-diskless-sync-delay", "0"]);
    assert_eq!(replica.command(&["REPLICAOF", "127.0.0.1", &port]), "+OK");
    let link = other.engine.keys().link(other.partition(event));
    eventually("the replica has it", PATIENCE, async || {
        replica.command(&["EXISTS", &link]) == ":1"
            && replica.command_value(&["GET", &link]) == redis.command_value(&["GET", &link])
    })
    .await;
    assert_eq!(replica.command(&["REPLICAOF", "NO", "ONE"]), "+OK");
    other.hold("bob", event, &[5], None).await.unwrap();
    wait_for_local_refusal(&world, event, 5).await;
    proxy.redirect(None);
    // The new history grows past the old one's end: only its links show the fork.
    let namespace = other.engine.settings().namespace.clone();
    let there = Stage {
        engine: engine(&replica, namespace, ClockSource::Redis).await,
        event: other.archive.event(event).await.unwrap().unwrap(),
    };
    let mut first_ms = None;
    for seat in 10..=14 {
        let booking = there.hold("zed", &[seat]).await.into_booking().unwrap();
        first_ms = first_ms.or(Some(booking.created_ms));
    }
    proxy.redirect(Some(replica.port()));
    wait_for_grant(&world, event, 5, first_ms.unwrap()).await;
    view_equals_redis(&world, world.sale.live(), event).await;
    wait_for_local_refusal(&world, event, 12).await;
    assert!(world.counts.views("past") + world.counts.views("broken") >= 1);
    world.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hold_lost_in_a_failover_stops_refusing_redis() {
    failover(Flavor::Redis).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hold_lost_in_a_failover_stops_refusing_valkey() {
    failover(Flavor::Valkey).await;
}

/// Pauses the tail, and waits until it has paused: a read under way ends with the next entry.
async fn pause_tail(watch: &Watch, seat: u32) {
    watch.live.pause_tails(true);
    eventually("the tail has paused", PATIENCE, async || {
        let version = watch.live.slot(watch.stage.event.id).view().unwrap().version();
        let held = watch.stage.hold("still", &[seat]).await.into_booking().unwrap();
        watch.stage.engine.cancel(&watch.stage.event, held.id, &held.user).await.unwrap();
        tokio::time::sleep(A_WHILE).await;
        watch.live.slot(watch.stage.event.id).view().unwrap().version() == version
    })
    .await;
}

on_one_redis!(entries_trimmed_before_they_were_read_end_the_view, async |flavor| {
    let redis = shared_redis(flavor);
    let watch = Watch::new(redis, wide_event(1, 50)).await;
    let stage = &watch.stage;
    let held = stage.hold("bob", &[1, 2]).await.into_booking().unwrap();
    watch.agrees().await;
    let before = watch.live.slot(stage.event.id).view().unwrap();
    pause_tail(&watch, 50).await;
    stage.engine.cancel(&stage.event, held.id, &held.user).await.unwrap();
    stage.hold("ann", &[2, 3]).await;
    stage.hold("eve", &[7]).await;
    let log = stage.engine.keys().log(stage.partition());
    stage.raw(&["XTRIM", &log, "MAXLEN", "1"]).await;
    watch.live.pause_tails(false);
    watch.wait_for("broken", 0).await;
    watch.agrees().await;
    let after = watch.live.slot(stage.event.id).view().unwrap();
    assert!(!std::sync::Arc::ptr_eq(&before, &after));
    assert_eq!(after.seat(SeatId(2)).unwrap().holder, watch.live.holder(&stage.user("ann")));
    watch.stop().await;
});

on_one_redis!(unreadable_entry_ends_the_view, async |flavor| {
    let watch = Watch::new(shared_redis(flavor), wide_event(1, 50)).await;
    let stage = &watch.stage;
    stage.hold("ann", &[1]).await;
    watch.agrees().await;
    let keys = stage.engine.keys();
    let (log, link) = (keys.log(stage.partition()), keys.link(stage.partition()));
    // An entry that follows, in a format of a newer build.
    let (id, tag) = stage.engine.link(stage.partition()).await.unwrap().unwrap();
    let line = format!("3\tbeat\t\t0\t0\t1\tof-a-newer-build\t{id} {tag}\t");
    let newer = ["1-1", "entry", &line];
    let script = "local id = redis.call('XADD', KEYS[1], '*', unpack(ARGV, 2)); \
                  redis.call('SET', KEYS[2], id .. ' of-a-newer-build'); return 1";
    let words = [&["EVAL", script, "2", &log, &link][..], &newer[..]].concat();
    assert_eq!(stage.raw(&words).await, ":1");
    watch.wait_for("unreadable", 0).await;
    stage.hold("bob", &[2]).await;
    watch.agrees().await;
    // An entry written by another program.
    let broken = watch.counts.views("broken");
    stage.raw(&["XADD", &log, "*", "some", "thing"]).await;
    watch.wait_for("broken", broken).await;
    stage.hold("cid", &[3]).await;
    watch.agrees().await;
    stage.hold("dan", &[4]).await;
    watch.agrees().await;
    watch.stop().await;
});

on_one_redis!(event_loaded_again_gets_a_new_view, async |flavor| {
    let mut watch = Watch::new(shared_redis(flavor), wide_event(1, 50)).await;
    let held = watch.stage.hold("ann", &[1]).await.into_booking().unwrap();
    watch.agrees().await;
    let (engine, id) = (watch.stage.engine.clone(), watch.stage.event.id);
    engine.cancel(&watch.stage.event, held.id, &held.user).await.unwrap();
    watch.stage.event.status = EventStatus::Closed;
    watch.stage.event.revision += 1;
    watch.stage.expect("ok", engine.update_event(&watch.stage.event).await.unwrap());
    watch.agrees().await;
    let view = watch.live.slot(id).view().unwrap();
    assert_eq!(view.status().0, EventStatus::Closed);
    let version = engine.snapshot(id, Detail::Counts).await.unwrap().unwrap().version;
    let not_after = engine.not_after(watch.stage.partition()).await.unwrap();
    let unloaded = engine.unload_event(id, 1, version, not_after).await.unwrap();
    watch.stage.expect("ok", unloaded);
    watch.wait_for("reopened", 0).await;
    assert!(watch.live.slot(id).view().is_none());

    // The same seats in the next generation, held by others.
    watch.stage.event.status = EventStatus::OnSale;
    let free = Inventory::free(&watch.stage.event.layout);
    watch.load(2, &free).await;
    watch.stage.hold("bob", &[1, 2]).await;
    watch.agrees().await;
    assert_eq!(watch.live.slot(id).view().unwrap().generation(), 2);

    // It continues in a third generation with its state.
    let reopened = watch.counts.views("reopened");
    watch.stage.event.generation = 3;
    watch.stage.expect("ok", engine.raise_generation(id, 3).await.unwrap());
    watch.wait_for("reopened", reopened).await;
    watch.agrees().await;
    watch.stage.hold("cid", &[3]).await;
    watch.agrees().await;
    assert_eq!(watch.live.slot(id).view().unwrap().generation(), 3);
    watch.stop().await;
});

on_one_redis!(emptied_redis_has_no_views, async |flavor| {
    let redis = private_redis(flavor);
    let mut watch = Watch::new(&redis, wide_event(1, 50)).await;
    watch.stage.hold("ann", &[1]).await;
    watch.agrees().await;
    assert_eq!(redis.command(&["FLUSHALL"]), "+OK");
    // Whichever is found first: the log ends below the tail's position, or a beat in the empty log.
    let lost = || watch.counts.views("past") + watch.counts.views("broken");
    eventually("the view is lost", PATIENCE, async || lost() > 0).await;
    assert!(watch.live.slot(watch.stage.event.id).view().is_none());
    let free = Inventory::free(&watch.stage.event.layout);
    watch.load(2, &free).await;
    watch.stage.hold("bob", &[2]).await;
    watch.agrees().await;
    watch.stop().await;
});
