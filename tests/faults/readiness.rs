//! What processes say of themselves while one of their dependencies is silent: the truth about each,
//! at once.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::api::{self, Api, Place, places};
use crate::support::eventually;
use crate::support::http::Client;
use crate::support::process::Process;
use crate::support::servers::{Flavor, Server, available, private_mongodb, private_redis};

/// Each probe is answered within this, on a busy machine too.
const PROMPT: Duration = Duration::from_secs(1);
/// How soon a change is told, at the latest.
const TOLD_WITHIN: Duration = Duration::from_secs(20);
/// How long a dependency is away: longer than its driver waits.
const AWAY: Duration = Duration::from_secs(7);
/// Recovery takes its time on a busy machine.
const RECOVERY: Duration = Duration::from_secs(60);

/// What `/health/ready` says, and that it says it at once.
async fn ready(client: &Client) -> (u16, Value) {
    let asked = Instant::now();
    let reply = client.get("/health/ready").send().await;
    assert!(asked.elapsed() < PROMPT, "answered after {:?}", asked.elapsed());
    (reply.status, serde_json::from_slice(&reply.bytes).unwrap())
}

async fn becomes(client: &Client, what: &str, is_it: impl Fn(u16, &Value) -> bool) {
    eventually(what, TOLD_WITHIN.max(RECOVERY), async || {
        let (status, body) = ready(client).await;
        is_it(status, &body)
    })
    .await;
}

/// An API and a worker on servers of their own.
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
        stage.is_well().await;
        stage
    }

    async fn is_well(&self) {
        for client in [&*self.api, &self.worker] {
            becomes(client, "it is well", |status, body| status == 200 && body["status"] == "ok")
                .await;
        }
    }

    /// MongoDB is silent: the API sells, and says so; the worker says that it waits.
    async fn is_degraded(&mut self) {
        let is_degraded = |_: u16, body: &Value| body["checks"]["mongodb"] == "unavailable";
        becomes(&self.api, "it is told", is_degraded).await;
        becomes(&self.worker, "the worker tells", |status, _| status == 503).await;
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

    /// Redis is silent: neither can work, and it is Redis that they say it of.
    async fn is_unavailable(&self) {
        let is_told = |status: u16, _: &Value| status == 503;
        becomes(&self.api, "it is told", is_told).await;
        becomes(&self.worker, "the worker tells", is_told).await;
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
async fn silent_mongodb_degrades_the_api_and_holds_go_on() {
    if !available(Flavor::Redis) {
        return;
    }
    let mut stage = Stage::new().await;
    stage.mongodb.freeze();
    stage.is_degraded().await;
    stage.mongodb.thaw();
    stage.is_well().await;
    stage.mongodb.kill();
    stage.is_degraded().await;
    tokio::task::block_in_place(|| stage.mongodb.restart());
    stage.is_well().await;
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
    stage.is_well().await;
}
