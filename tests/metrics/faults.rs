//! What metrics show while Redis or MongoDB does not answer, in both programs.

use serde_json::json;

use super::*;
use crate::support::Flavor;
use crate::support::servers::{Server, available, private_mongodb, private_redis};

/// Memory that Redis may use.
const MEMORY_BYTES: f64 = 524_288_000.0;
/// Log entries of a partition at which holds stop.
const LOG_ENTRIES_MAX: &str = "1000";

/// An API and a worker on servers of their own.
struct Stage {
    redis: Server,
    mongodb: Server,
    api: Api,
    worker: Worker,
    event: u64,
}

impl Stage {
    async fn new() -> Self {
        let flavor = if available(Flavor::Redis) { Flavor::Redis } else { Flavor::Valkey };
        let (redis, mongodb) = (private_redis(flavor), private_mongodb());
        let bytes = MEMORY_BYTES.to_string();
        assert_eq!(redis.command(&["CONFIG", "SET", "maxmemory", &bytes]), "+OK");
        // One connection at a time: others wait.
        let place = Place::new(&redis, &mongodb);
        let url = place.config().mongodb_url.expose().to_owned();
        let separator = if url.contains('?') { '&' } else { '/' };
        let url = match url.rsplit_once('/').is_some_and(|(_, last)| last.contains(':')) {
            true => format!("{url}/?maxPoolSize=1"),
            false => format!("{url}{separator}maxPoolSize=1"),
        };
        let settings = [
            ("HOLDFAST_MONGODB_URL", url.as_str()),
            ("HOLDFAST_LOG_ENTRIES_MAX", LOG_ENTRIES_MAX),
            ("HOLDFAST_ABORT_QUEUE_MAX", "1"),
            ("HOLDFAST_PARTITIONS", "1"),
            ("HOLDFAST_LOG_KEEP_SECONDS", "3600"),
        ];
        let api = Api::program(&place, &settings).await;
        let worker = Worker::start(&place, &settings).await;
        let event = api.event(places(100)).await;
        Stage { redis, mongodb, api, worker, event }
    }

    /// Sends holds of these seats at the same time, each by a user of its own; their statuses.
    async fn hold(&self, seats: std::ops::RangeInclusive<u32>) -> Vec<u16> {
        let holds = seats
            .map(async |seat| self.api.hold(&format!("u{seat}"), self.event, &[seat]).await.status);
        futures_util::future::join_all(holds).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_mongodb_shows_in_log_retries_and_pool() {
    let stage = Stage::new().await;
    let worker = &stage.worker.client;
    assert_eq!(stage.hold(1..=5).await, [201; 5]);
    // The event's opening, and the holds.
    shows(worker, r#"holdfast_log_length{partition="0"}"#, |length| length >= 6.0).await;
    let text = exported(worker).await;
    let length = value(&text, "holdfast_log_length").unwrap();
    assert_eq!(value(&text, "holdfast_log_fill_ratio"), Some(length / 1_000.0));
    is(worker, r#"holdfast_redis_memory_max_bytes{node="redis"}"#, MEMORY_BYTES).await;
    shows(worker, r#"holdfast_redis_memory_used_bytes{node="redis"}"#, |used| {
        used > 500_000.0 && used < MEMORY_BYTES
    })
    .await;
    is(worker, r#"holdfast_log_pending{partition="0"}"#, 0.0).await;
    shows(worker, "db_connection_pool_size", |open| open >= 1.0).await;
    shows(&stage.api.monitoring(), "db_connection_pool_size", |open| open >= 1.0).await;
    is(worker, "db_retry_attempts_total", 0.0).await;

    stage.mongodb.freeze();
    assert_eq!(stage.hold(6..=10).await, [201; 5]);
    shows(worker, r#"holdfast_log_pending{partition="0"}"#, |pending| pending >= 1.0).await;
    shows(worker, "db_connection_pool_overflow", |waiting| waiting >= 1.0).await;
    shows(worker, r#"holdfast_archive_errors_total{operation="store"}"#, |n| n >= 1.0).await;
    shows(worker, "db_retry_attempts_total", |retries| retries >= 1.0).await;
    let text = exported(worker).await;
    assert_eq!(
        value(&text, "db_retry_attempts_total"),
        value(&text, "holdfast_worker_retries_total")
    );
    stage.mongodb.thaw();
    is(worker, r#"holdfast_log_pending{partition="0"}"#, 0.0).await;
    let monitoring = stage.api.monitoring();
    is(&monitoring, r#"holdfast_circuit_breaker_state{dependency="mongodb"}"#, 0.0).await;

    // Readers of bookings wait for the one connection, and get none when the server ends.
    stage.mongodb.freeze();
    let list = async || stage.api.get("/api/v1/bookings").user("ann").send().await.status;
    let watch = async || {
        shows(&monitoring, "db_connection_pool_overflow", |waiting| waiting >= 1.0).await;
        stage.mongodb.kill();
    };
    tokio::join!(list(), list(), list(), watch());
    for process in [&monitoring, worker] {
        shows(process, "holdfast_db_check_outs_failed_total", |failed| failed >= 1.0).await;
    }
    tokio::task::block_in_place(|| stage.mongodb.restart());
    is(worker, r#"holdfast_log_pending{partition="0"}"#, 0.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_redis_shows_in_calls_and_compensations() {
    let stage = Stage::new().await;
    let (api, worker) = (stage.api.monitoring(), &stage.worker.client);
    assert_eq!(stage.hold(1..=1).await, [201]);
    is(&api, "redis_connection_errors_total", 0.0).await;
    is(&api, "holdfast_live_stale", 0.0).await;
    is(&api, "holdfast_unknown_outcomes_total", 0.0).await;
    // A room that the worker opens places of.
    let other = stage.api.event(places(10)).await;
    let room = format!("/api/v1/events/{other}/waiting-room/enable");
    stage.api.post(&room).json(json!({ "max_concurrent": 1 })).send().await.json(200);
    is(worker, "holdfast_admission_errors_total", 0.0).await;
    let admit = r#"holdfast_script_duration_seconds_count{script="room_admit"}"#;
    shows(worker, admit, |calls| calls >= 1.0).await;

    stage.redis.freeze();
    let (statuses, in_flight) = tokio::join!(stage.hold(2..=9), async {
        let mut most = [0.0_f64; 2];
        while most.contains(&0.0) {
            for (process, most) in [&api, worker].into_iter().zip(&mut most) {
                let text = exported(process).await;
                *most = most.max(value(&text, "holdfast_redis_in_flight").unwrap());
            }
        }
        most
    });
    assert!(statuses.iter().all(|status| *status == 503), "{statuses:?}");
    assert!(in_flight.iter().all(|calls| *calls >= 1.0), "{in_flight:?}");
    // All were sent, or refused before; one undoing waits, others are left to their time-to-live.
    shows(&api, "holdfast_unknown_outcomes_total", |unknown| unknown >= 2.0).await;
    shows(&api, "holdfast_abort_queue_dropped_total", |dropped| dropped >= 1.0).await;
    is(&api, "holdfast_abort_queue_length", 1.0).await;
    shows(&api, "redis_connection_errors_total", |errors| errors >= 2.0).await;
    shows(worker, "redis_connection_errors_total", |errors| errors >= 1.0).await;
    let opened = r#"holdfast_circuit_breaker_opened_total{dependency="redis"}"#;
    let state = r#"holdfast_circuit_breaker_state{dependency="redis"}"#;
    for process in [&api, worker] {
        shows(process, opened, |times| times >= 1.0).await;
        is(process, state, 2.0).await;
        is(process, "redis_circuit_breaker_open", 1.0).await;
    }
    eventually("calls are refused", PATIENCE, async || {
        stage.hold(11..=12).await;
        let rejected = r#"holdfast_circuit_breaker_rejected_total{dependency="redis"}"#;
        value(&exported(&api).await, rejected).unwrap() >= 1.0
    })
    .await;
    shows(worker, "holdfast_admission_errors_total", |errors| errors >= 1.0).await;
    eventually("the view is stale", PATIENCE, async || {
        stage.hold(10..=10).await;
        value(&exported(&api).await, "holdfast_live_stale") == Some(1.0)
    })
    .await;
    // The same warning again and again is logged once.
    shows(worker, "holdfast_warnings_left_out_total", |warnings| warnings >= 1.0).await;
    shows(&api, "holdfast_warnings_left_out_total", |warnings| warnings >= 1.0).await;
    // Old numbers of a Redis that does not answer are not shown.
    vanishes(worker, "holdfast_redis_memory_used_bytes{").await;
    vanishes(worker, "holdfast_log_fill_ratio ").await;
    stage.redis.thaw();
    for process in [&api, worker] {
        is(process, state, 0.0).await;
        is(process, "redis_circuit_breaker_open", 0.0).await;
    }
    is(&api, "holdfast_abort_queue_length", 0.0).await;
    shows(worker, "holdfast_log_fill_ratio", |ratio| ratio > 0.0).await;
}

/// What is no HTTP counts as a connection's error in a worker, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_on_a_workers_port_is_counted() {
    let worker = Worker::start(&Place::shared(), &[]).await;
    is(&worker.client, "holdfast_connection_errors_total", 0.0).await;
    let mut garbage = worker.client.raw(b"\x16\x03\x01 no HTTP\r\n\r\n").await;
    assert!(garbage.closes(PATIENCE).await);
    shows(&worker.client, "holdfast_connection_errors_total", |errors| errors >= 1.0).await;
    assert!(worker.process.exited().is_none());
}
