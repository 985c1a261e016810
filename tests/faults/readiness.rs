//! Readiness of the processes while a dependency does not respond: the state of each dependency, without
//! delay.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::api::{self, Api, Place, places};
use crate::support::eventually;
use crate::support::http::Client;
use crate::support::process::Process;
use crate::support::servers::{Flavor, Server, available, private_mongodb, private_redis};

/// Bound of each probe, also on a busy machine.
const PROMPT: Duration = Duration::from_secs(1);
/// Bound until a change is reported.
const REPORTED_WITHIN: Duration = Duration::from_secs(20);
/// How long a dependency is down: longer than its driver waits.
const AWAY: Duration = Duration::from_secs(7);
/// Bound of the recovery on a busy machine.
const RECOVERY: Duration = Duration::from_secs(60);

/// Reads `/health/ready`, which must respond promptly.
async fn ready(client: &Client) -> (u16, Value) {
    let began = Instant::now();
    let reply = client.get("/health/ready").send().await;
    assert!(began.elapsed() < PROMPT, "answered after {:?}", began.elapsed());
    (reply.status, serde_json::from_slice(&reply.bytes).unwrap())
}

async fn becomes(client: &Client, what: &str, is_it: impl Fn(u16, &Value) -> bool) {
    eventually(what, REPORTED_WITHIN.max(RECOVERY), async || {
        let (status, body) = ready(client).await;
        is_it(status, &body)
    })
    .await;
}

/// An API and a worker on their own servers.
struct Stage {
    redis: Server,
    mongodb: Server,
    api: Api,
    _worker: Process,
    worker: Client,
    event: u64,
    next_seat: u32,
}

impl Stage {
    async fn new() -> Self {
        let (redis, mongodb) = (private_redis(Flavor::Redis), private_mongodb());
        let place = Place::new(&redis, &mongodb);
        let api = Api::program(&place, &[api::PROMPT]).await;
        let address = format!("127.0.0.1:{}", crate::support::servers::free_port());
        let settings = [("HOLDFAST_WORKER_LISTEN", address.as_str()), api::PROMPT];
        let process = place.worker_at_work(&settings).await;
        let worker = Client::new(&format!("http://{address}"));
        let event = api.event(places(1_000)).await;
        let stage = Stage { redis, mongodb, api, _worker: process, worker, event, next_seat: 1 };
        stage.is_healthy().await;
        stage
    }

    async fn is_healthy(&self) {
        for client in [&*self.api, &self.worker] {
            becomes(client, "it is healthy", |status, body| {
                status == 200 && body["status"] == "ok"
            })
            .await;
        }
    }

    /// MongoDB does not respond: the API is degraded and sells; the worker is unavailable.
    async fn is_degraded(&mut self) {
        let is_degraded = |_: u16, body: &Value| body["checks"]["mongodb"] == "unavailable";
        becomes(&self.api, "the API is degraded", is_degraded).await;
        becomes(&self.worker, "the worker is unavailable", |status, _| status == 503).await;
        let began = Instant::now();
        while began.elapsed() < AWAY {
            let (status, body) = ready(&self.api).await;
            assert_eq!((status, &body["status"]), (200, &"degraded".into()), "{body}");
            assert_eq!(body["checks"]["redis"], "ok", "{body}");
            let (status, body) = ready(&self.worker).await;
            assert_eq!(status, 503, "{body}");
            assert!(body["reason"].as_str().unwrap().starts_with("mongodb: "), "{body}");
            self.api.held(&format!("u{}", self.next_seat), self.event, &[self.next_seat]).await;
            self.next_seat += 1;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Redis does not respond: both are unavailable, because of Redis.
    async fn is_unavailable(&self) {
        let is_503 = |status: u16, _: &Value| status == 503;
        becomes(&self.api, "the API is unavailable", is_503).await;
        becomes(&self.worker, "the worker is unavailable", is_503).await;
        let began = Instant::now();
        while began.elapsed() < AWAY {
            let (status, body) = ready(&self.api).await;
            assert_eq!((status, &body["checks"]["redis"]), (503, &"unavailable".into()), "{body}");
            assert_eq!(body["checks"]["mongodb"], "ok", "{body}");
            let (status, body) = ready(&self.worker).await;
            assert_eq!(status, 503, "{body}");
            assert!(body["reason"].as_str().unwrap().starts_with("redis: "), "{body}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_mongodb_degrades_the_api_and_holds_continue() {
    if !available(Flavor::Redis) {
        return;
    }
    let mut stage = Stage::new().await;
    stage.mongodb.freeze();
    stage.is_degraded().await;
    stage.mongodb.thaw();
    stage.is_healthy().await;
    stage.mongodb.kill();
    stage.is_degraded().await;
    tokio::task::block_in_place(|| stage.mongodb.restart());
    stage.is_healthy().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_redis_makes_both_programs_unavailable_at_once() {
    if !available(Flavor::Redis) {
        return;
    }
    let stage = Stage::new().await;
    stage.redis.freeze();
    stage.is_unavailable().await;
    stage.redis.thaw();
    stage.is_healthy().await;
}
