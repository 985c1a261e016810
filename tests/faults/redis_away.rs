//! Redis frozen or gone: prompt refusals, and nothing refused happens later.

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

/// Everything is answered within this, whatever Redis does.
const PROMPT: Duration = Duration::from_secs(1);
/// What was refused and not retried is free this soon after Redis is back.
const FREE_AGAIN: Duration = Duration::from_secs(2);
/// A restarted server (a cluster most of all) takes its time to answer.
const RECOVERY: Duration = Duration::from_secs(20);

/// Asks for a seat each and expects a prompt 503 each.
async fn refused_promptly(world: &World, event: holdfast::domain::EventId, seats: &[u32]) {
    let asked = Stopwatch::start();
    let holds = seats.iter().map(|seat| {
        let key = format!("key-{seat}");
        async move { world.hold(&format!("u{seat}"), event, &[*seat], Some(&key)).await }
    });
    for refused in join_all(holds).await {
        let error = refused.expect_err("Redis is away");
        assert!(matches!(error, SaleError::Unavailable { dependency: "redis", .. }), "{error:?}");
    }
    let took = asked.elapsed();
    assert!(took < PROMPT, "answered after {took:?}");
}

on_one_redis!(a_frozen_redis_changes_nothing_later, async |flavor| {
    let redis = private_redis(flavor);
    let world = World::prompt(&redis, shared_mongodb(), sale_settings()).await;
    let event = world.event(100).await;
    world.hold("first", event, &[1], None).await.unwrap();

    redis.freeze();
    let seats: Vec<u32> = (2..=40).collect();
    refused_promptly(&world, event, &seats).await;
    // Then connections are given up, and calls are refused without being sent.
    eventually("the connections are given up", RECOVERY, async || {
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

on_one_redis!(a_retry_gets_its_booking_and_keeps_it, async |flavor| {
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

on_one_redis!(a_killed_redis_comes_back_with_what_it_had, async |flavor| {
    let redis = private_redis(flavor);
    let world = World::prompt(&redis, shared_mongodb(), sale_settings()).await;
    // What the last second's writes become without this is another test's.
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

on_one_redis!(a_call_that_was_given_up_touches_nothing, async |flavor| {
    // Without anything that undoes it afterwards: the script itself has to refuse.
    let redis = private_redis(flavor);
    let world = World::prompt(&redis, shared_mongodb(), sale_settings()).await;
    let id = world.event(10).await;
    let event = world.archive.event(id).await.unwrap().unwrap();
    // Teaches Redis the script: otherwise only its name would arrive.
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
    let given_up = world.engine.hold(&call, not_after).await;
    assert!(matches!(given_up, Err(RedisError::Unknown(_))), "{given_up:?}");
    redis.thaw();
    // Redis reads its sockets in the order in which they became readable: once it has answered
    // twice, it has also met the call from before.
    for _ in 0..2 {
        eventually("redis answers", RECOVERY, async || world.free(id).await.is_some()).await;
    }
    assert_eq!(world.free(id).await, Some(9));
    // In time, the very same call is granted.
    let not_after = world.engine.not_after(world.engine.keys().partition_of(id)).await.unwrap();
    assert_eq!(world.engine.hold(&call, not_after).await.unwrap().code(), "ok");
    world.stop().await;
});
