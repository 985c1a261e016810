//! Rules, modes and lists change while processes serve: every process follows, whatever is away.

use std::time::{Duration, Instant};

use holdfast::archive::{Archive, StoredPolicy};
use holdfast::domain::policy::{AllRules, LivePolicy};
use holdfast::start;
use mongodb::bson::{Document, doc};
use serde_json::Value;

use crate::support::api::{Api, Place};
use crate::support::ctl::{Ran, holdfastctl};
use crate::support::eventually;
use crate::support::http::{Client, Reply};
use crate::support::servers::{Flavor, available, private_mongodb, private_redis, shared_mongodb};

/// Two seconds are promised; a machine under test may be slow.
const FOLLOWED_WITHIN: Duration = Duration::from_secs(20);
/// An unannounced change is found within half a minute.
const FOUND_WITHIN: Duration = Duration::from_secs(60);
/// This long after the last change processes read the archive only every half minute, which is not
/// visible from outside.
const CALM_AFTER: Duration = Duration::from_secs(12);
/// Far below the half minute: a change seen by then was announced.
const LOOKED_FOR_WITHIN: Duration = Duration::from_secs(9);
const BROWSER: &str = "Mozilla/5.0 (X11; Linux x86_64)";

/// The settings of servers behind a gateway on this machine.
const BEHIND_PROXY: [(&str, &str); 3] = [
    ("HOLDFAST_TRUSTED_PROXIES", "127.0.0.1"),
    ("HOLDFAST_IDENTITY_PROXIES", "127.0.0.1"),
    ("HOLDFAST_LIMITS", "each"),
];

struct Stage {
    place: Place,
    apis: Vec<Api>,
}

impl Stage {
    async fn at(place: Place) -> Self {
        let mut apis = Vec::new();
        for _ in 0..2 {
            apis.push(Api::program(&place, &BEHIND_PROXY).await);
        }
        Stage { place, apis }
    }

    async fn ctl(&self, line: &str) -> Ran {
        let arguments: Vec<&str> = line.split_whitespace().collect();
        holdfastctl(&arguments, &self.place.environment(&BEHIND_PROXY), "").await
    }

    /// Makes a change and waits until both processes apply it.
    async fn change(&self, line: &str) {
        let changed = self.ctl(&format!("{line} --json")).await.json(0);
        let began = Instant::now();
        assert_eq!(changed["changed"], true, "{changed}");
        let revision = match &changed["revision"] {
            Value::Null => changed["changed_last"]["revision"].as_f64(),
            revision => revision.as_f64(),
        };
        self.all_at(revision.unwrap(), FOLLOWED_WITHIN).await;
        println!("{line}: seen by both after {:?}", began.elapsed());
    }

    /// Waits until both processes apply a revision.
    async fn all_at(&self, revision: f64, bound: Duration) {
        for api in &self.apis {
            eventually("it follows", bound, async || {
                api.metric("holdfast_policy_revision").await == revision
            })
            .await;
        }
    }

    /// Both processes' responses to a client behind the proxy.
    async fn replies(&self, address: &str, user: Option<&str>, agent: &str) -> [Reply; 2] {
        [
            ask(&self.apis[0], address, user, agent).await,
            ask(&self.apis[1], address, user, agent).await,
        ]
    }

    async fn let_through(&self, address: &str, user: Option<&str>) {
        for reply in self.replies(address, user, BROWSER).await {
            reply.json(200);
        }
    }

    async fn kept_out(&self, address: &str, user: Option<&str>) {
        for reply in self.replies(address, user, BROWSER).await {
            let body = reply.problem(403, "automated_access");
            assert_eq!(body["detail"], "Automated access not allowed");
        }
    }
}

async fn ask(api: &Client, address: &str, user: Option<&str>, agent: &str) -> Reply {
    let ask = api.get("/api/v1/events").header("X-Forwarded-For", address);
    let ask = ask.header("User-Agent", agent);
    match user {
        Some(user) => ask.user(user).send().await,
        None => ask.send().await,
    }
}

/// How many of ten quick requests pass.
async fn passed(api: &Client, address: &str) -> usize {
    let mut passed = 0;
    for _ in 0..10 {
        let reply = ask(api, address, None, BROWSER).await;
        match reply.status {
            200 => passed += 1,
            _ => assert_eq!(reply.problem(429, "rate_limit_exceeded")["rule"], "per_address"),
        }
    }
    passed
}

fn any_redis() -> Flavor {
    if available(Flavor::Redis) { Flavor::Redis } else { Flavor::Valkey }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_and_modes_reach_every_process() {
    let stage = Stage::at(Place::shared()).await;
    // One a second at most, and no more than a second or two for ten requests.
    stage.change("limits set per_address --per-second 1 --burst 2").await;
    for api in &stage.apis {
        assert!((2..=6).contains(&passed(api, "203.0.113.1").await));
    }
    stage.change("limits mode observe").await;
    for api in &stage.apis {
        assert_eq!(passed(api, "203.0.113.2").await, 10);
    }
    for reply in stage.replies("203.0.113.3", None, "curl/8.5.0").await {
        reply.json(200);
    }
    stage.change("limits mode settings").await;
    for api in &stage.apis {
        assert!(passed(api, "203.0.113.4").await <= 6);
    }
    for reply in stage.replies("203.0.113.5", None, "curl/8.5.0").await {
        reply.problem(403, "automated_access");
    }
    stage.change("limits bots off").await;
    for reply in stage.replies("203.0.113.6", None, "curl/8.5.0").await {
        reply.json(200);
    }
    stage.change("limits reset --all").await;
    for api in &stage.apis {
        assert_eq!(passed(api, "203.0.113.7").await, 10);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_deny_and_allow() {
    let stage = Stage::at(Place::shared()).await;
    let deny = "access deny 203.0.113.7 198.51.100.0/24 2001:db8:1:2::/64 user:eve";
    stage.let_through("203.0.113.7", Some("eve")).await;
    stage.change(&format!("{deny} --reason bots")).await;
    for address in ["203.0.113.7", "198.51.100.200", "2001:db8:1:2:aaaa::1", "::ffff:203.0.113.7"] {
        stage.kept_out(address, None).await;
    }
    stage.kept_out("192.0.2.1", Some("eve")).await;
    for address in ["203.0.113.8", "198.51.101.1", "2001:db8:1:3::1"] {
        stage.let_through(address, Some("ann")).await;
    }

    // An allowed address is neither limited nor refused as automated; its neighbours are.
    stage.change("limits set per_address --per-second 1 --burst 1").await;
    stage.change("access allow 198.51.100.7 --reason office").await;
    for api in &stage.apis {
        assert_eq!(passed(api, "198.51.100.7").await, 10);
        assert!(passed(api, "192.0.2.2").await <= 6);
    }
    for reply in stage.replies("198.51.100.7", None, "curl/8.5.0").await {
        reply.json(200);
    }
    stage.kept_out("198.51.100.8", None).await;
    stage.change("limits reset per_address").await;

    stage.change("access remove 203.0.113.7 user:eve").await;
    stage.let_through("203.0.113.7", Some("eve")).await;

    // An entry expires by itself.
    stage.change("access deny 203.0.113.9 --for 8s --reason short").await;
    stage.kept_out("203.0.113.9", None).await;
    for api in &stage.apis {
        eventually("the entry ends", FOLLOWED_WITHIN, async || {
            ask(api, "203.0.113.9", None, BROWSER).await.status == 200
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policy_survives_loss_of_redis() {
    let redis = private_redis(any_redis());
    let mut stage = Stage::at(Place::new(&redis, shared_mongodb())).await;
    stage.change("access deny 203.0.113.7 --reason bots").await;
    assert_eq!(redis.command(&["FLUSHALL"]), "+OK");
    // In a process that keeps running, and in a new one.
    stage.apis[1] = Api::program(&stage.place, &BEHIND_PROXY).await;
    assert_eq!(stage.apis[1].metric("holdfast_policy_revision").await, 1.0);
    stage.kept_out("203.0.113.7", None).await;
    stage.change("access remove 203.0.113.7").await;
    stage.let_through("203.0.113.7", None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn change_without_redis_reaches_every_process() {
    let redis = private_redis(any_redis());
    let stage = Stage::at(Place::new(&redis, shared_mongodb())).await;
    tokio::time::sleep(CALM_AFTER).await;
    for (freeze, line) in [(false, "access deny 203.0.113.7"), (true, "access deny 203.0.113.8")] {
        if freeze {
            redis.freeze()
        } else {
            redis.kill()
        }
        let ran = stage.ctl(&format!("{line} --reason x --json")).await;
        let changed = ran.json(0);
        let began = Instant::now();
        assert_eq!((&changed["changed"], &changed["announced"]), (&true.into(), &false.into()));
        assert_eq!(changed["reaches_all_within_seconds"], 32);
        assert!(ran.stderr.contains("redis"), "{ran:?}");
        stage.all_at(changed["revision"].as_f64().unwrap(), LOOKED_FOR_WITHIN).await;
        println!("frozen: {freeze}: seen by both after {:?}", began.elapsed());
        if freeze { redis.thaw() } else { tokio::task::block_in_place(|| redis.restart()) }
    }
    stage.change("access remove 203.0.113.7 203.0.113.8").await;
}

/// Writes as a tool that is killed before it announces the change.
async fn write_silently(archive: &Archive, revision: i64) {
    let live = LivePolicy { revision, all_rules: Some(AllRules::Off), ..LivePolicy::default() };
    let stored = StoredPolicy { live, by: "ghost".into(), at_ms: 1 };
    assert!(archive.change_policy(&stored).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn change_of_a_killed_tool_reaches_every_process() {
    let stage = Stage::at(Place::shared()).await;
    let (engine, archive) = stage.place.services().await;
    stage.change("limits mode observe").await;
    // Killed after the write: the first mark was set.
    engine.renew_gates_mark().await.unwrap();
    let began = Instant::now();
    write_silently(&archive, 2).await;
    stage.all_at(2.0, FOLLOWED_WITHIN).await;
    println!("the mark came first: seen by both after {:?}", began.elapsed());
    // The processes are back to their slow interval, and the change is not announced: as where the
    // tool does not reach a Redis that they reach.
    tokio::time::sleep(CALM_AFTER).await;
    let began = Instant::now();
    write_silently(&archive, 3).await;
    stage.all_at(3.0, FOUND_WITHIN).await;
    println!("unannounced: applied by both after {:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policy_of_a_later_version_is_not_applied() {
    let mut stage = Stage::at(Place::shared()).await;
    stage.change("access deny 203.0.113.7 --reason bots").await;
    let config = stage.place.config();
    let client = mongodb::Client::with_uri_str(config.mongodb_url.expose()).await.unwrap();
    let policy = client.database(&config.mongodb_database).collection::<Document>("gate_policy");
    let change = async |change: Document| {
        let (engine, _) = stage.place.services().await;
        policy.update_one(doc! { "_id": "live" }, change).await.unwrap();
        engine.renew_gates_mark().await.unwrap();
    };
    change(doc! { "$set": { "format": 2_i64 }, "$inc": { "revision": 1_i64 } }).await;
    for api in &stage.apis {
        eventually("it alarms", FOLLOWED_WITHIN, async || {
            api.metric("holdfast_policy_unusable").await == 1.0
        })
        .await;
        let lines = api.process().log_lines();
        let alarms =
            lines.iter().filter(|line| line["message"].as_str().unwrap().contains("ALARM"));
        let alarms: Vec<String> = alarms.map(Value::to_string).collect();
        assert!(alarms[0].contains("it has format 2, this build reads 1"), "{alarms:?}");
    }
    stage.kept_out("203.0.113.7", None).await;
    for line in ["limits list", "access list", "limits mode off", "access remove user:eve"] {
        let ran = stage.ctl(line).await;
        assert!(ran.refusal().contains("it has format 2, this build reads 1"), "{line}: {ran:?}");
    }
    // A new process applies the settings alone, and reports so.
    let late = Api::program(&stage.place, &BEHIND_PROXY).await;
    assert_eq!(late.metric("holdfast_policy_unusable").await, 1.0);
    ask(&late, "203.0.113.7", None, BROWSER).await.json(200);

    change(doc! { "$set": { "format": 1_i64 } }).await;
    stage.apis.push(late);
    stage.all_at(2.0, FOLLOWED_WITHIN).await;
    for api in &stage.apis {
        eventually("the alarm ends", FOLLOWED_WITHIN, async || {
            api.metric("holdfast_policy_unusable").await == 0.0
        })
        .await;
        let alarms = api.process().log_lines();
        let alarms = alarms.iter().filter(|line| line.to_string().contains("ALARM: the stored"));
        assert_eq!(alarms.count(), 1, "said once");
    }
    stage.kept_out("203.0.113.7", None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_keep_their_policy_without_mongodb() {
    let (redis, mongodb) = (private_redis(any_redis()), private_mongodb());
    let stage = Stage::at(Place::new(&redis, &mongodb)).await;
    stage.change("access deny 203.0.113.7 --reason bots").await;
    mongodb.kill();
    let ran = stage.ctl("access remove 203.0.113.7").await;
    assert!(ran.refusal().contains("MongoDB is unavailable"), "{ran:?}");
    // Both notice that they cannot read it.
    let engine = start::existing_engine(&stage.place.config()).await.unwrap();
    engine.renew_gates_mark().await.unwrap();
    for api in &stage.apis {
        let cannot = "the gates' policy cannot be read";
        api.process().log_line("it cannot look", |line| line["message"] == cannot).await;
        ask(api, "203.0.113.7", None, BROWSER).await.problem(403, "automated_access");
    }
    tokio::task::block_in_place(|| mongodb.restart());
    for api in &stage.apis {
        let can = "the gates' policy can be read again";
        api.process().log_line("it can look", |line| line["message"] == can).await;
    }
    stage.change("access remove 203.0.113.7").await;
    stage.let_through("203.0.113.7", None).await;
}
