//! A log that is cut, trimmed, garbled or begun anew: what was built on it is gone before the next
//! entry is believed, and nobody is refused for long for what exists no more.

use std::time::Duration;

use holdfast::domain::{EventId, EventStatus, Inventory, SeatId};
use holdfast::redis::Detail;
use holdfast::redis::scripts::ClockSource;
use holdfast::sale::SaleError;

use super::watch::{Watch, engine, wide_event};
use super::{PATIENCE, fresh, tells_what_redis_holds, writes_at_once};
use crate::on_one_redis;
use crate::support::engine::Stage;
use crate::support::eventually;
use crate::support::proxy::Proxy;
use crate::support::servers::{Flavor, available, private_redis, shared_mongodb, shared_redis};
use crate::support::world::{World, answered, impatient};

/// When views are stale here: late enough that a fork is met while they are fresh.
const STALENESS: Duration = Duration::from_secs(6);
/// How long a tail that goes on would need at most.
const A_WHILE: Duration = Duration::from_millis(300);

/// Waits until a stranger is refused a seat from the view.
async fn is_refused_here(world: &World, event: EventId, seat: u32) {
    let mut stranger = 0;
    eventually("a stranger is refused here", PATIENCE, async || {
        fresh(world.sale.live(), event).await;
        let before = world.refused_here();
        stranger += 1;
        let refused = world.hold(&format!("before{stranger}"), event, &[seat], None).await;
        assert!(matches!(refused, Err(SaleError::SeatsUnavailable(_))), "{refused:?}");
        world.refused_here() > before
    })
    .await;
}

/// A seat whose hold was lost is granted; from `live_staleness_ms` after the first entry of the new
/// history on, nobody is refused it by the view.
async fn is_granted_in_time(world: &World, event: EventId, seat: u32, first_ms: i64) {
    let until_ms = first_ms + STALENESS.as_millis() as i64;
    let (mut stranger, mut refused) = (0, 0);
    eventually("the seat is free", PATIENCE, async || {
        let from_ms = world.sale.live().redis_now_ms(event).map(|now| now.1);
        let before = world.refused_here();
        stranger += 1;
        let answer = world.hold(&format!("after{stranger}"), event, &[seat], None).await;
        if world.refused_here() > before {
            refused += 1;
            let from_ms = from_ms.expect("or nothing would be refused");
            assert!(from_ms <= until_ms, "{} ms too late", from_ms - until_ms);
        }
        answer.is_ok()
    })
    .await;
    println!("refused {refused} times after the fork");
}

on_one_redis!(a_hold_that_a_file_lost_is_soon_forgotten, async |flavor| {
    let redis = private_redis(flavor);
    writes_at_once(&redis);
    let other = World::with(&redis, shared_mongodb(), impatient()).await;
    let world = other.beside(&redis, shared_mongodb(), STALENESS).await;
    let event = other.event(20).await;
    let early = other.hold("ann", event, &[1], None).await.unwrap();
    tells_what_redis_holds(&world, world.sale.live(), event).await;
    let saved = redis.saved_writes();
    other.hold("bob", event, &[5], None).await.unwrap();
    is_refused_here(&world, event, 5).await;
    redis.kill();
    redis.put_back_writes(&saved);
    tokio::task::block_in_place(|| redis.restart());
    let first = answered(async || other.hold("zed", event, &[10], None).await).await.unwrap();
    is_granted_in_time(&world, event, 5, first.booking.created_ms).await;
    tells_what_redis_holds(&world, world.sale.live(), event).await;
    // What was not lost is refused as before.
    is_refused_here(&world, event, 1).await;
    assert_eq!(other.status(early.booking.id).await, Some(early.booking.status));
    assert!(world.counts.views("past") + world.counts.views("broken") >= 1);
    world.stop().await;
    other.stop().await;
});

/// A replica takes over that lacks the newest writes; it has gone on before anybody comes to it.
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
    is_refused_here(&world, event, 5).await;
    proxy.redirect(None);
    // The new history passes the old one's end: only its links tell that it is another.
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
    is_granted_in_time(&world, event, 5, first_ms.unwrap()).await;
    tells_what_redis_holds(&world, world.sale.live(), event).await;
    is_refused_here(&world, event, 12).await;
    assert!(world.counts.views("past") + world.counts.views("broken") >= 1);
    world.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_that_a_failover_lost_is_soon_forgotten_redis() {
    failover(Flavor::Redis).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_that_a_failover_lost_is_soon_forgotten_valkey() {
    failover(Flavor::Valkey).await;
}

/// Has the tail stand still, surely: a read that is under way ends with the next entry.
async fn stands_still(watch: &Watch, seat: u32) {
    watch.live.pause_tails(true);
    eventually("the tail stands still", PATIENCE, async || {
        let version = watch.live.slot(watch.stage.event.id).view().unwrap().version();
        let held = watch.stage.hold("still", &[seat]).await.into_booking().unwrap();
        watch.stage.engine.cancel(&watch.stage.event, held.id, &held.user).await.unwrap();
        tokio::time::sleep(A_WHILE).await;
        watch.live.slot(watch.stage.event.id).view().unwrap().version() == version
    })
    .await;
}

on_one_redis!(what_was_trimmed_before_it_was_read_ends_a_view, async |flavor| {
    let redis = shared_redis(flavor);
    let watch = Watch::new(redis, wide_event(1, 50)).await;
    let stage = &watch.stage;
    let held = stage.hold("bob", &[1, 2]).await.into_booking().unwrap();
    watch.agrees().await;
    let before = watch.live.slot(stage.event.id).view().unwrap();
    stands_still(&watch, 50).await;
    stage.engine.cancel(&stage.event, held.id, &held.user).await.unwrap();
    stage.hold("ann", &[2, 3]).await;
    stage.hold("eve", &[7]).await;
    let log = stage.engine.keys().log(stage.partition());
    stage.raw(&["XTRIM", &log, "MAXLEN", "1"]).await;
    watch.live.pause_tails(false);
    watch.came_to("broken", 0).await;
    watch.agrees().await;
    let after = watch.live.slot(stage.event.id).view().unwrap();
    assert!(!std::sync::Arc::ptr_eq(&before, &after));
    assert_eq!(after.seat(SeatId(2)).unwrap().holder, watch.live.holder(&stage.user("ann")));
    watch.stop().await;
});

on_one_redis!(an_entry_that_cannot_be_read_ends_a_view, async |flavor| {
    let watch = Watch::new(shared_redis(flavor), wide_event(1, 50)).await;
    let stage = &watch.stage;
    stage.hold("ann", &[1]).await;
    watch.agrees().await;
    let keys = stage.engine.keys();
    let (log, link) = (keys.log(stage.partition()), keys.link(stage.partition()));
    // One that follows as it should, of a version that this build does not know.
    let (id, tag) = stage.engine.link(stage.partition()).await.unwrap().unwrap();
    let newer =
        ["1-1", "v", "2", "tag", "of-a-newer-build", "prev_id", &id.to_string(), "prev_tag", &tag];
    let script = "local id = redis.call('XADD', KEYS[1], '*', unpack(ARGV, 2)); \
                  redis.call('SET', KEYS[2], id .. ' of-a-newer-build'); return 1";
    let words = [&["EVAL", script, "2", &log, &link][..], &newer[..]].concat();
    assert_eq!(stage.raw(&words).await, ":1");
    watch.came_to("unreadable", 0).await;
    stage.hold("bob", &[2]).await;
    watch.agrees().await;
    // One that somebody has put there.
    let broken = watch.counts.views("broken");
    stage.raw(&["XADD", &log, "*", "some", "thing"]).await;
    watch.came_to("broken", broken).await;
    stage.hold("cid", &[3]).await;
    watch.agrees().await;
    stage.hold("dan", &[4]).await;
    watch.agrees().await;
    watch.stop().await;
});

on_one_redis!(an_event_that_comes_back_gets_another_view, async |flavor| {
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
    watch.came_to("reopened", 0).await;
    assert!(watch.live.slot(id).view().is_none());

    // The same seats under the next generation, and others theirs.
    watch.stage.event.status = EventStatus::OnSale;
    let free = Inventory::free(&watch.stage.event.layout);
    watch.load(2, &free).await;
    watch.stage.hold("bob", &[1, 2]).await;
    watch.agrees().await;
    assert_eq!(watch.live.slot(id).view().unwrap().generation(), 2);

    // It goes on under a third one, as it stands.
    let reopened = watch.counts.views("reopened");
    watch.stage.event.generation = 3;
    watch.stage.expect("ok", engine.raise_generation(id, 3).await.unwrap());
    watch.came_to("reopened", reopened).await;
    watch.agrees().await;
    watch.stage.hold("cid", &[3]).await;
    watch.agrees().await;
    assert_eq!(watch.live.slot(id).view().unwrap().generation(), 3);
    watch.stop().await;
});

on_one_redis!(an_emptied_redis_has_no_views, async |flavor| {
    let redis = private_redis(flavor);
    let mut watch = Watch::new(&redis, wide_event(1, 50)).await;
    watch.stage.hold("ann", &[1]).await;
    watch.agrees().await;
    assert_eq!(redis.command(&["FLUSHALL"]), "+OK");
    // Whichever is met first: a log that ends below, or a beat that was appended to the empty one.
    let lost = || watch.counts.views("past") + watch.counts.views("broken");
    eventually("the view is lost", PATIENCE, async || lost() > 0).await;
    assert!(watch.live.slot(watch.stage.event.id).view().is_none());
    let free = Inventory::free(&watch.stage.event.layout);
    watch.load(2, &free).await;
    watch.stage.hold("bob", &[2]).await;
    watch.agrees().await;
    watch.stop().await;
});
