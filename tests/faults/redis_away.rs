//! Redis frozen or killed: refusals are prompt, and refused calls have no later effect.

use std::time::Duration;

use futures_util::future::join_all;
use holdfast::domain::{BookingId, SeatId};
use holdfast::redis::{HoldCall, RedisError, SeatSelection, new_nonce};
use holdfast::sale::SaleError;

use crate::on_one_redis;
use crate::support::eventually;
use crate::support::servers::{private_redis, shared_mongodb};
use crate::support::stopwatch::Stopwatch;
use crate::support::world::{World, sale_settings};

/// Bound of every answer, in any state of Redis.
const PROMPT: Duration = Duration::from_secs(1);
/// Bound until seats of refused holds are free after Redis is back.
const FREE_AGAIN: Duration = Duration::from_secs(2);
/// Bound of the recovery; a restarted server takes time to respond, especially a cluster.
const RECOVERY: Duration = Duration::from_secs(20);

/// Requests each seat and expects a prompt refusal.
async fn refused_promptly(world: &World, event: holdfast::domain::EventId, seats: &[u32]) {
    let watch = Stopwatch::start();
    let holds = seats.iter().map(|seat| {
        let key = format!("key-{seat}");
        async move { world.hold(&format!("u{seat}"), event, &[*seat], Some(&key)).await }
    });
    for refused in join_all(holds).await {
        let error = refused.expect_err("Redis is away");
        assert!(matches!(error, SaleError::Unavailable { dependency: "redis", .. }), "{error:?}");
    }
    let took = watch.elapsed();
    assert!(took < PROMPT, "answered after {took:?}");
}

on_one_redis!(frozen_redis_executes_no_refused_call_later, async |flavor| {
    let redis = private_redis(flavor);
    let world = World::prompt(&redis, shared_mongodb(), sale_settings()).await;
    let event = world.event(100).await;
    world.hold("first", event, &[1], None).await.unwrap();

    redis.freeze();
    let seats: Vec<u32> = (2..=40).collect();
    refused_promptly(&world, event, &seats).await;
    // Then connections are closed, and calls are refused without being sent.
    eventually("the connections are closed", RECOVERY, async || {
        let refused = world.hold("late", event, &[60], None).await;
        matches!(refused, Err(SaleError::Unavailable { unknown: false, .. }))
    })
    .await;
    refused_promptly(&world, event, &[50, 51]).await;
    redis.thaw();

    eventually("the connection recovers", RECOVERY, async || world.free(event).await.is_some())
        .await;
    eventually("refused seats are free", FREE_AGAIN, async || world.free(event).await == Some(99))
        .await;
    eventually("the queue drains", FREE_AGAIN, async || world.unfinished() == 0).await;
    assert_eq!(world.free(event).await, Some(99));
    world.stop().await;
});

on_one_redis!(retried_hold_is_kept, async |flavor| {
    let redis = private_redis(flavor);
    let world = World::prompt(&redis, shared_mongodb(), sale_settings()).await;
    let event = world.event(100).await;
    redis.freeze();
    refused_promptly(&world, event, &[7]).await;
    redis.thaw();
    let mut kept = None;
    eventually("the retry succeeds", RECOVERY, async || {
        kept = world.hold("u7", event, &[7], Some("key-7")).await.ok();
        kept.is_some()
    })
    .await;
    eventually("the queue drains", RECOVERY, async || world.unfinished() == 0).await;
    let kept = kept.unwrap().booking;
    let booking = world.sale.booking(&kept.user, kept.id).await.unwrap().booking;
    assert!(booking.status.is_live(), "{booking:?}");
    assert_eq!(world.free(event).await, Some(99));
    world.stop().await;
});

on_one_redis!(restarted_redis_has_its_earlier_bookings, async |flavor| {
    let redis = private_redis(flavor);
    let world = World::prompt(&redis, shared_mongodb(), sale_settings()).await;
    // Loss of the last second's writes is tested elsewhere.
    redis.command(&["CONFIG", "SET", "appendfsync", "always"]);
    let event = world.event(100).await;
    let first = world.hold("first", event, &[1], None).await.unwrap().booking;
    redis.kill();
    refused_promptly(&world, event, &[2, 3, 4]).await;
    tokio::task::block_in_place(|| redis.restart());
    eventually("the connection recovers", RECOVERY, async || world.free(event).await.is_some())
        .await;
    eventually("refused seats are free", FREE_AGAIN, async || world.free(event).await == Some(99))
        .await;
    let held = world.sale.booking(&first.user, first.id).await.unwrap().booking;
    assert_eq!(held.version, first.version);
    world.stop().await;
});

on_one_redis!(timed_out_call_has_no_later_effect, async |flavor| {
    // There is no compensation here: the script itself must refuse.
    let redis = private_redis(flavor);
    let world = World::prompt(&redis, shared_mongodb(), sale_settings()).await;
    let id = world.event(10).await;
    let event = world.archive.event(id).await.unwrap().unwrap();
    // Loads the script: otherwise Redis would only get its hash.
    world.hold("first", id, &[9], None).await.unwrap();
    let user = "ann".parse().unwrap();
    let nonce = new_nonce();
    let call = HoldCall {
        event: event.id,
        generation: event.generation,
        layout_version: event.layout_version,
        currency: &event.currency,
        booking: BookingId::new(id, 1, 1),
        user: &user,
        nonce: &nonce,
        selection: SeatSelection::named(&[SeatId(1)], 100),
        idempotency: "digest",
        fingerprint: "fingerprint",
        trace: "",
        idempotency_ttl_ms: 60_000,
        replay_window_ms: 0,
        log_entries_max: 1_000,
        room_number: 0,
        exempt: false,
    };
    let not_after = world.engine.not_after(world.engine.keys().partition_of(id)).await.unwrap();
    redis.freeze();
    let timed_out = world.engine.hold(&call, not_after).await;
    assert!(matches!(timed_out, Err(RedisError::Unknown(_))), "{timed_out:?}");
    redis.thaw();
    // Redis reads its sockets in the order in which they became readable: once it has answered twice, it
    // has also executed the earlier call.
    for _ in 0..2 {
        eventually("redis responds", RECOVERY, async || world.free(id).await.is_some()).await;
    }
    assert_eq!(world.free(id).await, Some(9));
    // With a new deadline the same call succeeds.
    let not_after = world.engine.not_after(world.engine.keys().partition_of(id)).await.unwrap();
    assert_eq!(world.engine.hold(&call, not_after).await.unwrap().code(), "ok");
    world.stop().await;
});
