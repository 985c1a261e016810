//! Programs that start before their services: they wait, report it and are not ready; permanent failures
//! end the start at once.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use holdfast::domain::{EventId, Partition};
use holdfast::redis::Keys;
use serde_json::{Value, json};

use crate::support::api::Place;
use crate::support::eventually;
use crate::support::http::Client;
use crate::support::process::Process;
use crate::support::servers::{
    Flavor, Server, available, free_port, private_mongodb, private_redis, reap_later,
    redis_command, shared_mongodb, shared_redis, state_dir,
};

const API: &str = env!("CARGO_BIN_EXE_holdfast-api");
const WORKER: &str = env!("CARGO_BIN_EXE_holdfast-worker");
/// Bound of every wait on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bound of an immediate end, on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(15);
const FOR_EVER: (&str, &str) = ("HOLDFAST_START_WAIT_SECONDS", "-1");
/// How often a pending service may be logged, seconds.
const LOG_EVERY_SECONDS: u64 = 5;

/// A program of a place, at its own address.
struct Program {
    process: Process,
    client: Client,
}

impl Program {
    fn start(path: &str, place: &Place, settings: &[(&str, &str)]) -> Self {
        let address = format!("127.0.0.1:{}", free_port());
        let listen = if path == API { "HOLDFAST_LISTEN" } else { "HOLDFAST_WORKER_LISTEN" };
        let mut all = vec![(listen, address.as_str())];
        all.extend(settings);
        let process = Process::start(path, &place.environment(&all));
        Program { process, client: Client::new(&format!("http://{address}")) }
    }

    async fn answer(&self, path: &str) -> Option<(u16, Value)> {
        let reply = self.client.get(path).try_send().await.ok()?;
        Some((reply.status, serde_json::from_slice(&reply.bytes).ok()?))
    }

    /// Waits until the program is alive and reports these pending services.
    async fn waits_for(&self, services: &[&str]) {
        let expected = Some((503, json!(services)));
        eventually("it reports the pending services", PATIENCE, async || {
            let answer = self.answer("/health/ready").await;
            answer.map(|(status, body)| (status, body["waiting_for"].clone())) == expected
        })
        .await;
        let (_, body) = self.answer("/health/ready").await.unwrap();
        assert_eq!(body["status"], "starting", "{body}");
        assert_eq!(self.answer("/health/live").await, Some((200, json!({ "status": "ok" }))));
    }

    async fn becomes_ready(&self) {
        eventually("it is ready", PATIENCE, async || {
            self.answer("/health/ready").await.is_some_and(|answer| answer.0 == 200)
        })
        .await;
    }

    /// Checks that it ends soon with one line on standard error that contains these texts.
    async fn fails(&self, expected: &[&str]) {
        let status = self.process.ended(AT_ONCE).await;
        let error = self.process.error_text();
        assert_eq!((status.code(), error.lines().count()), (Some(1), 1), "{error}");
        for text in expected {
            assert!(error.contains(text), "{text}: {error}");
        }
        assert!(!error.contains("hunter2"), "{error}");
    }

    /// Checks that its log names the reason of the wait, and not too often.
    async fn logs(&self, message: &str, reason: &str) {
        let is_it = |line: &Value| {
            line["message"] == message
                && line["reason"].as_str().is_some_and(|why| why.contains(reason))
        };
        let line = self.process.log_line(reason, is_it).await;
        let count = self.process.log_lines().iter().filter(|l| l["message"] == message).count();
        let waited = line["waited_seconds"].as_u64().unwrap();
        assert!(count as u64 <= 2 + (waited + PATIENCE.as_secs()) / LOG_EVERY_SECONDS, "{count}");
    }
}

fn both(place: &Place, settings: &[(&str, &str)]) -> [Program; 2] {
    [API, WORKER].map(|path| Program::start(path, place, settings))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_wait_for_services_that_come_later() {
    if !available(Flavor::Redis) {
        return;
    }
    let (redis, mongodb) = (private_redis(Flavor::Redis), private_mongodb());
    let place = Place::new(&redis, &mongodb);
    redis.kill();
    mongodb.kill();
    let programs = both(&place, &[FOR_EVER]);
    for program in &programs {
        program.waits_for(&["mongodb", "redis"]).await;
        program.logs("waiting for redis", "Start Redis").await;
        program.logs("waiting for mongodb", "Start MongoDB").await;
    }
    tokio::task::block_in_place(|| redis.restart());
    for program in &programs {
        program.waits_for(&["mongodb"]).await;
    }
    tokio::task::block_in_place(|| mongodb.restart());
    for program in &programs {
        program.becomes_ready().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_program_ends_at_once_on_sigterm() {
    let place = Place::shared();
    let nowhere = ("HOLDFAST_REDIS_URL", "redis://127.0.0.1:1");
    for program in both(&place, &[nowhere, FOR_EVER]) {
        program.waits_for(&["redis"]).await;
        program.process.terminate();
        assert!(program.process.ended(AT_ONCE).await.success());
        let lines = program.process.log_lines();
        assert!(lines.iter().any(|line| line["message"] == "ending before the start"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wait_is_bounded() {
    let place = Place::shared();
    let nowhere = ("HOLDFAST_REDIS_URL", "redis://127.0.0.1:1");
    for program in both(&place, &[nowhere, ("HOLDFAST_START_WAIT_SECONDS", "2")]) {
        program.fails(&["Start Redis", "waited for", "start_wait_seconds"]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn permanent_failure_ends_the_start_at_once() {
    if !available(Flavor::Redis) {
        return;
    }
    // Another deployment's database, while Redis is unavailable.
    let place = Place::new(shared_redis(Flavor::Redis), shared_mongodb());
    let worker = place.worker_at_work(&[]).await;
    drop(worker);
    let nowhere = ("HOLDFAST_REDIS_URL", "redis://127.0.0.1:1");
    for program in both(&place, &[nowhere, FOR_EVER, ("HOLDFAST_PARTITIONS", "4")]) {
        program.fails(&["made for 16 partitions"]).await;
    }
    // A wrong or missing password.
    let redis = private_redis(Flavor::Redis);
    redis.command(&["CONFIG", "SET", "requirepass", "right"]);
    let port = redis.port();
    for (user_info, expected) in [("", "NOAUTH"), (":hunter2@", "WRONGPASS")] {
        let url = format!("redis://{user_info}127.0.0.1:{port}");
        for program in both(&place, &[("HOLDFAST_REDIS_URL", &url), FOR_EVER]) {
            program.fails(&[expected]).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_of_another_format_end_the_start() {
    if !available(Flavor::Redis) {
        return;
    }
    let expected = "of another version of Holdfast";
    // A booking log whose entries have a field for each value.
    let redis = private_redis(Flavor::Redis);
    let place = Place::new(&redis, shared_mongodb());
    let keys = Keys::new(&place.config().redis_namespace, place.config().partitions);
    redis.command(&["XADD", &keys.log(Partition(3)), "*", "v", "1", "kind", "beat"]);
    for program in both(&place, &[FOR_EVER]) {
        program.fails(&[expected, "holdfastctl restore"]).await;
    }
    // An event without the mark.
    redis.command(&["DEL", &keys.log(Partition(3))]);
    redis.command(&["SADD", &keys.events(keys.partition_of(EventId(7))), "7"]);
    for program in both(&place, &[FOR_EVER]) {
        program.fails(&[expected]).await;
    }
}

fn follow(replica: &Server, primary: &Server) {
    let port = primary.port().to_string();
    assert_eq!(replica.command(&["REPLICAOF", "127.0.0.1", &port]), "+OK");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replica_is_waited_for_and_makes_a_running_program_unready() {
    if !available(Flavor::Redis) {
        return;
    }
    let (primary, replica) = (private_redis(Flavor::Redis), private_redis(Flavor::Redis));
    follow(&replica, &primary);
    let place = Place::new(&replica, shared_mongodb());
    for program in both(&place, &[("HOLDFAST_START_WAIT_SECONDS", "1")]) {
        program.fails(&["is a replica of 127.0.0.1:", "start_wait_seconds"]).await;
    }
    let programs = both(&place, &[FOR_EVER]);
    for program in &programs {
        program.waits_for(&["redis"]).await;
        program.logs("waiting for redis", "is a replica of 127.0.0.1:").await;
    }
    assert_eq!(replica.command(&["REPLICAOF", "NO", "ONE"]), "+OK");
    for program in &programs {
        program.becomes_ready().await;
    }
    // Redis becomes a replica while they run.
    follow(&replica, &primary);
    for program in &programs {
        eventually("it is not ready", PATIENCE, async || {
            program.answer("/health/ready").await.is_some_and(|answer| answer.0 == 503)
        })
        .await;
    }
    assert_eq!(replica.command(&["REPLICAOF", "NO", "ONE"]), "+OK");
    for program in &programs {
        program.becomes_ready().await;
    }
}

/// Keys of a Redis that loads slowly.
const KEYS: u32 = 20_000;
/// Delay for each key, microseconds.
const KEY_DELAY: &str = "500";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_that_is_loading_is_waited_for() {
    if !available(Flavor::Redis) {
        return;
    }
    let full = private_redis(Flavor::Redis);
    let fill = format!("for key = 1, {KEYS} do redis.call('SET', 'k' .. key, key) end");
    full.command(&["EVAL", &fill, "0"]);
    assert_eq!(full.command(&["SAVE"]), "+OK");
    let saved = state_dir().join(format!("redis-{}", full.port())).join("dump.rdb");
    let dir = state_dir().join(format!("loading-{}", free_port()));
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::copy(saved, dir.join("dump.rdb")).unwrap();
    let port = free_port();
    let mut redis = slow_redis(&dir, port);
    let address = format!("127.0.0.1:{port}");
    let url = format!("redis://{address}");
    let loads =
        async || redis_command(&address, &["PING"]).is_ok_and(|line| line.starts_with("-LOADING"));
    eventually("it is loading", PATIENCE, loads).await;
    let place = Place::new(&full, shared_mongodb());
    let programs = both(&place, &[("HOLDFAST_REDIS_URL", &url), FOR_EVER]);
    for program in &programs {
        program.waits_for(&["redis"]).await;
        program.logs("waiting for redis", "oading").await;
    }
    for program in &programs {
        program.becomes_ready().await;
    }
    redis.kill().unwrap();
    redis.wait().unwrap();
}

fn slow_redis(dir: &Path, port: u16) -> std::process::Child {
    let child = Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
        .args(["--dir", dir.to_str().unwrap(), "--key-load-delay", KEY_DELAY])
        .args(["--loading-process-events-interval-bytes", "1024"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server starts");
    reap_later(child.id());
    child
}
