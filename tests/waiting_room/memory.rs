//! The Redis memory per waiting person is bounded.

use std::sync::Arc;

use futures_util::{StreamExt, stream};
use holdfast::domain::{DrawState, Floors, RoomSettings, UserId};
use holdfast::redis::scripts::{ClockSource, Scripts};
use holdfast::redis::{Engine, RoomConfiguration, RoomJoinReply};

use crate::support::engine::{NoObserver, START_MS, Stage, settings, small_event};
use crate::support::servers::{Flavor, Server, available, private_redis};
use crate::support::{long_or, unique_name};

const JOINS: (u64, u64) = (100_000, 25_000);
/// Concurrent joins.
const UNDER_WAY: usize = 200;
/// Maximum memory of a join, bytes.
const BYTES_MAX: u64 = 120;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn join_takes_at_most_120_bytes_of_redis() {
    let flavor = if available(Flavor::Redis) { Flavor::Redis } else { Flavor::Valkey };
    // Only this test uses its memory.
    let redis = private_redis(flavor);
    let engine = Engine::connect(
        settings(redis.url(), unique_name()),
        Scripts::embedded(ClockSource::Swapped),
        Arc::new(NoObserver),
    )
    .await
    .unwrap();
    let stage = Stage { engine, event: small_event(1) };
    stage.set_clock(START_MS).await;
    stage.load_and_open().await;
    let room = RoomConfiguration {
        revision: 1,
        settings: &RoomSettings { on: true, ..RoomSettings::default() },
        draw: DrawState::None,
        draw_joined: 0,
        commitment: "",
        keep_ms: 86_400_000,
    };
    let configured = stage.engine.room_configure(stage.event.id, &room, Floors::default()).await;
    assert!(configured.unwrap());

    let joins = long_or(JOINS.0, JOINS.1);
    let before = used_memory(&redis);
    let mut numbers: Vec<u64> = stream::iter(1..=joins)
        .map(|n| join(&stage, n))
        .buffer_unordered(UNDER_WAY)
        .collect()
        .await;
    let taken = used_memory(&redis).saturating_sub(before);

    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(1..=joins), "each number is given once");
    assert!(taken > 0, "nothing was kept");
    assert!(taken <= joins * BYTES_MAX, "{} bytes a join", taken / joins);
}

/// Joins with an id of 20 bytes and returns the number.
async fn join(stage: &Stage, n: u64) -> u64 {
    let user: UserId = format!("user-{n:015}").parse().unwrap();
    let joined = stage.engine.room_join(stage.event.id, &user, None, Floors::default()).await;
    match joined.unwrap() {
        RoomJoinReply::Given { number, .. } | RoomJoinReply::Replayed { number, .. } => number,
        other => panic!("{user}: {other:?}"),
    }
}

/// `used_memory` of Redis, bytes.
fn used_memory(redis: &Server) -> u64 {
    let info = redis.command_lines(&["INFO", "memory"]);
    let bytes = info.iter().find_map(|line| line.strip_prefix("used_memory:"));
    bytes.and_then(|bytes| bytes.parse().ok()).unwrap_or_else(|| panic!("no used_memory: {info:?}"))
}
