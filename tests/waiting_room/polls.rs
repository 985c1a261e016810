//! Waiting costs Redis nothing, and little memory.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use serde_json::json;

use crate::support::api::{Api, Place, places};
use crate::support::servers::{Flavor, Server, available, private_redis};
use crate::support::size;

/// Polls of waiting people; overridden by this variable.
const POLLS: usize = 5_000;
const POLLS_VARIABLE: &str = "QUEUE_POLLS";
const AT_ONCE: usize = 32;
/// Requested events that do not exist.
const GUESSED: u64 = 100;
/// How long Redis is observed without polls.
const IDLE: Duration = Duration::from_secs(4);

/// Commands that Redis has run, except those of this query.
fn commands(redis: &Server) -> u64 {
    let info = redis.command_lines(&["INFO", "stats"]);
    let line = info.iter().find_map(|line| line.strip_prefix("total_commands_processed:"));
    line.unwrap().trim().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn polls_cost_redis_nothing() {
    let count = size(POLLS_VARIABLE, POLLS);
    let flavor = if available(Flavor::Redis) { Flavor::Redis } else { Flavor::Valkey };
    let redis = private_redis(flavor);
    let place = Place::new(&redis, crate::support::servers::shared_mongodb());
    let api = Api::program(&place, &[]).await.patient();
    let event = api.event(places(10)).await;
    api.enable_room(event, json!({ "max_concurrent": 1 })).await;
    let token = api.joined(event, "ann").await;
    // Nobody is admitted: no worker runs.
    api.room_status(event, &token).await.json(200);
    let (before, began) = (commands(&redis), std::time::Instant::now());
    tokio::time::sleep(IDLE).await;
    let idle_rate = (commands(&redis) - before) as f64 / began.elapsed().as_secs_f64();

    let (before, began) = (commands(&redis), std::time::Instant::now());
    let polls =
        stream::iter((0..count).map(|_| async {
            api.room_status(event, &token).await.json(200)["position"].as_u64()
        }));
    let positions: Vec<_> = polls.buffer_unordered(AT_ONCE).collect().await;
    let seconds = began.elapsed().as_secs_f64();
    assert!(positions.iter().all(|position| *position == Some(1)));
    let spent = (commands(&redis) - before) as f64;
    // Periodic commands are subtracted; one per hundred polls would be noticed.
    let allowed = idle_rate * seconds * 1.5 + 50.0;
    println!(
        "{count} polls in {seconds:.1} s: {spent} commands, {:.0} of them idle",
        idle_rate * seconds
    );
    assert!(spent < allowed, "{spent} commands in {seconds} s, idle {idle_rate} a second");
    assert!(allowed < count as f64 / 10.0, "too slow to tell: {seconds} s");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guessed_events_cost_redis_nothing() {
    let flavor = if available(Flavor::Redis) { Flavor::Redis } else { Flavor::Valkey };
    let redis = private_redis(flavor);
    let place = Place::new(&redis, crate::support::servers::shared_mongodb());
    let api = Api::program(&place, &[]).await.patient();
    let within = async || {
        let before = commands(&redis);
        tokio::time::sleep(IDLE).await;
        commands(&redis) - before
    };
    let idle = within().await;
    for event in 1_000..1_000 + GUESSED {
        let body = json!({ "event_id": event, "seat_ids": [1] });
        let hold = api.post("/api/v1/bookings").user("eve").json(body.clone());
        hold.send().await.problem(404, "event_unknown");
        let with_token = api.post("/api/v1/bookings").user("eve").json(body);
        let with_token = with_token.header(super::TOKEN, "v1.x.y.z").send().await;
        with_token.problem(403, "waiting_room_token_invalid");
    }
    // Each would be refreshed twice a second.
    let after = within().await;
    assert!(after < idle + GUESSED, "{after} commands in {IDLE:?}, {idle} before");
}
