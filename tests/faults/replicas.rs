//! Replicas of Redis: an answer says `replicated` only if the replicas have the write, and waits for them
//! only briefly.

use std::sync::Arc;
use std::time::Duration;

use fred::clients::Client as RedisClient;
use fred::interfaces::ClientLike;
use fred::types::config::Config;
use fred::types::{Builder, ClusterHash, CustomCommand};
use futures_util::future::join_all;
use holdfast::domain::{BookingId, EventId, Partition};
use holdfast::lifecycle::Supervisor;
use holdfast::redis::Engine;
use holdfast::redis::scripts::{ClockSource, Scripts};
use holdfast::telemetry::Metrics;
use serde_json::{Value, json};

use crate::support::api::{self, Api, Place, places};
use crate::support::engine::{NoObserver, settings};
use crate::support::servers::{Flavor, Server, available, private_redis, shared_mongodb};
use crate::support::stopwatch::Stopwatch;
use crate::support::{eventually, unique_name};

/// Bound of every answer, in any state of the replicas.
const PROMPT: Duration = Duration::from_secs(1);
/// How long an answer waits for replicas.
const WAIT_MS: &str = "400";
/// The same for tests without clients: a busy machine's replicas are slow.
const WAIT: Duration = Duration::from_secs(10);
/// Bound until a replica follows, on a busy machine.
const RECOVERY: Duration = Duration::from_secs(30);
/// Callers at a time.
const CALLERS: u32 = 300;

/// A primary, and a replica that follows it.
struct Pair {
    primary: Server,
    replica: Server,
}

impl Pair {
    async fn new(flavor: Flavor) -> Self {
        let pair = Pair { primary: private_redis(flavor), replica: private_redis(flavor) };
        pair.follow().await;
        pair
    }

    async fn follow(&self) {
        let url = self.primary.url();
        self.primary.command(&["CONFIG", "SET", "repl-diskless-sync-delay", "0"]);
        let port = url.rsplit(':').next().unwrap().trim_end_matches('/');
        assert_eq!(self.replica.command(&["REPLICAOF", "127.0.0.1", port]), "+OK");
        let engine = self.engine().await;
        let follows = async || engine.is_replicated(Partition(0)).await;
        eventually("the replica follows", RECOVERY, follows).await;
        engine.close().await;
    }

    /// The API program, configured to wait for one replica.
    async fn api(&self) -> Api {
        let settings = [
            ("HOLDFAST_REDIS_WAIT_REPLICAS", "1"),
            ("HOLDFAST_REDIS_WAIT_TIMEOUT_MS", WAIT_MS),
            ("HOLDFAST_CONFIRM_WAIT_MS", "0"),
            api::PROMPT,
        ];
        Api::program(&Place::new(&self.primary, shared_mongodb()), &settings).await
    }

    /// An engine that waits for one replica.
    async fn engine(&self) -> Engine {
        let engine = engine(&self.primary).await;
        let supervisor = Supervisor::new(&Metrics::new("test"));
        engine.ask_replicas(1, WAIT, &supervisor).await.unwrap();
        engine
    }
}

async fn engine(redis: &Server) -> Engine {
    let settings = settings(redis.url(), unique_name());
    let scripts = Scripts::embedded(ClockSource::Redis);
    Engine::connect(settings, scripts, Arc::new(NoObserver)).await.unwrap()
}

/// How often a server executed WAIT.
async fn waits(redis: &Server) -> u64 {
    let config = Config::from_url(&redis.url()).unwrap();
    let client: RedisClient = Builder::from_config(config).build().unwrap();
    client.init().await.unwrap();
    let command = CustomCommand::new_static("INFO", ClusterHash::FirstKey, false);
    let stats: String = client.custom(command, vec!["commandstats"]).await.unwrap();
    client.quit().await.unwrap();
    let calls = stats.lines().find_map(|line| line.strip_prefix("cmdstat_wait:calls="));
    calls.map_or(0, |rest| rest.split(',').next().unwrap().parse().unwrap())
}

/// The flavors whose servers can be made replicas; not a cluster's.
fn flavors() -> impl Iterator<Item = Flavor> {
    [Flavor::Redis, Flavor::Valkey].into_iter().filter(|flavor| available(*flavor))
}

fn durability(booking: &Value) -> &str {
    booking["durability"].as_str().expect("each booking says so")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answer_says_whether_replicas_have_the_write() {
    for flavor in flavors() {
        let pair = Pair::new(flavor).await;
        let api = pair.api().await;
        let event = api.event(places(50)).await;
        let held = api.held("ann", event, &[1]).await;
        // A repeated request waits again: a busy replica may miss one.
        eventually("a hold is replicated", RECOVERY, async || {
            durability(&api.held("ann", event, &[1]).await) == "replicated"
        })
        .await;
        for (verb, status) in [("extend", 200), ("confirm", 202)] {
            eventually(verb, RECOVERY, async || {
                durability(&api.act("ann", &held, verb).await.json(status)) == "replicated"
            })
            .await;
        }
        let other = api.held("ann", event, &[2]).await;
        eventually("cancel", RECOVERY, async || {
            durability(&api.act("ann", &other, "cancel").await.json(200)) == "replicated"
        })
        .await;
        // A read does not wait for replicas.
        assert_eq!(durability(&api.booking("ann", &held).await.json(200)), "accepted");

        pair.replica.freeze();
        let watch = Stopwatch::start();
        let holds = (3..=30).map(|seat| {
            let (api, user) = (&api, format!("user-{seat}"));
            async move { api.hold(&user, event, &[seat]).await.json(201) }
        });
        for booking in join_all(holds).await {
            assert_eq!(durability(&booking), "accepted");
        }
        let took = watch.elapsed();
        assert!(took < PROMPT, "answered after {took:?}");
        pair.replica.thaw();
        eventually("it follows again", RECOVERY, async || {
            durability(&api.held("eve", event, &[31]).await) == "replicated"
        })
        .await;

        pair.replica.kill();
        let watch = Stopwatch::start();
        assert_eq!(durability(&api.held("late", event, &[50]).await), "accepted");
        let took = watch.elapsed();
        assert!(took < PROMPT, "answered after {took:?}");
        for word in ["replicated", "accepted"] {
            let name = format!("holdfast_durability_total{{word=\"{word}\"}}");
            assert!(api.metric(&name).await >= 2.0, "{word}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_callers_share_waits() {
    for flavor in flavors() {
        let pair = Pair::new(flavor).await;
        let engine = pair.engine().await;
        assert!(engine.is_replicated(Partition(0)).await);
        let before = waits(&pair.primary).await;
        let calls = (0..CALLERS).map(|n| engine.is_replicated(Partition(n as u16 % 4)));
        let results = join_all(calls).await;
        assert!(results.into_iter().all(|replicated| replicated));
        // One wait for the first caller, and one for those that came meanwhile.
        let rounds = waits(&pair.primary).await - before;
        assert!((1..=10).contains(&rounds), "{rounds} waits for {CALLERS} callers");

        // Scripts run while a wait is unsuccessful.
        pair.replica.freeze();
        let scripts = async {
            for n in 0..100 {
                engine.get_booking(BookingId::new(EventId(1), 1, n)).await.unwrap();
            }
        };
        tokio::select! {
            biased;
            replicated = engine.is_replicated(Partition(0)) => panic!("{replicated} with a frozen replica"),
            () = scripts => {}
        }
        pair.replica.thaw();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_of_a_replaced_connection_are_not_reported_as_replicated() {
    for flavor in flavors() {
        let pair = Pair::new(flavor).await;
        let engine = pair.engine().await;
        let observer = self::engine(&pair.primary).await;
        let clients = async || observer.nodes_facts().await.remove(0).answer.unwrap().clients;
        assert!(engine.is_replicated(Partition(0)).await);
        let before = clients().await;
        // A new connection may be to another node. (The observer's are new, too.)
        pair.primary.command(&["CLIENT", "KILL", "TYPE", "normal"]);
        eventually("all connections are new", RECOVERY, async || {
            let facts = observer.nodes_facts().await.remove(0).answer;
            facts.is_ok_and(|facts| facts.clients >= before)
        })
        .await;
        assert!(!engine.is_replicated(Partition(0)).await, "on a new connection");
        let is_replicated = async || engine.is_replicated(Partition(0)).await;
        eventually("on the connection once it is established", RECOVERY, is_replicated).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_replicas_answers_are_accepted() {
    for flavor in flavors().chain([Flavor::Cluster]) {
        let alone = private_redis(flavor);
        let place = Place::new(&alone, shared_mongodb());
        let settings = [
            ("HOLDFAST_REDIS_WAIT_REPLICAS", "2"),
            ("HOLDFAST_REDIS_WAIT_TIMEOUT_MS", WAIT_MS),
            api::PROMPT,
        ];
        let api = Api::program(&place, &settings).await;
        let event = api.event(places(5)).await;
        let watch = Stopwatch::start();
        assert_eq!(durability(&api.held("ann", event, &[1]).await), "accepted");
        let took = watch.elapsed();
        assert!(took < PROMPT, "answered after {took:?}");
        let warned = api.process().log_lines().into_iter().filter(|line| {
            line["level"] == json!("warn")
                && line["message"].as_str().is_some_and(|text| text.contains("redis_wait_replicas"))
        });
        assert_eq!(warned.count(), 1);
    }
}
