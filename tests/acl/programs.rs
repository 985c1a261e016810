//! The core of a sale with three users: what each program does, and that Redis denies nothing.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::api::{Api, Place, small_event};
use crate::support::ctl::{Ran, holdfastctl};
use crate::support::eventually;
use crate::support::process::Process;
use crate::support::servers::{
    Flavor, Server, available, private_redis_with, redis_command_as, shared_mongodb, state_dir,
};
use crate::support::unique_name;

use super::{USERS, line};

/// Bound of what programs do in the background.
const DONE: Duration = Duration::from_secs(60);
/// Pause between two questions of a user, of whom so many a minute are let through.
const BETWEEN_ASKS: Duration = Duration::from_secs(1);
/// The password of every user here, and of the test's own.
const PASSWORD: &str = "least-rights";
/// Its SHA-256.
const PASSWORD_SHA256: &str = "1ab65d1027d72fc76aa5dab442506daa6aad6fdb96863a615d99e6dffebdfc69";

/// Loses what the keys of this pattern hold of events.
const FORGET: &str = "for _, key in ipairs(redis.call('KEYS', ARGV[1])) do
    if key:find(':event') or key:find(':seats') then redis.call('DEL', key) end
end
return 1";

/// A Redis with the shipped users, and a user `test` who may do anything.
struct Guarded {
    redis: Server,
    place: Place,
}

impl Guarded {
    fn new(flavor: Flavor) -> Self {
        let path = state_dir().join(unique_name()).with_extension("acl");
        // Tests have a namespace of their own, which is known only later: all of them begin so.
        let namespaces = format!("~t{}_*", std::process::id());
        let mut text: String = USERS
            .iter()
            .map(|user| {
                line(user)
                    .replace("PASSWORD_SHA256", PASSWORD_SHA256)
                    .replace("~hf1:*", &namespaces)
            })
            .collect();
        text += &format!("user test on >{PASSWORD} ~* &* +@all\nuser default off\n");
        std::fs::write(&path, text).unwrap();
        let redis = private_redis_with(flavor, &["--aclfile", path.to_str().unwrap()]);
        let place = Place::new(&redis, shared_mongodb());
        Guarded { redis, place }
    }

    fn url(&self, user: &str) -> String {
        format!("redis://holdfast-{user}:{PASSWORD}@127.0.0.1:{}", self.redis.port())
    }

    /// Sends a command as the test's own user; the first line of the reply.
    fn command(&self, words: &[&str]) -> String {
        self.command_as("test", words)
    }

    fn command_as(&self, user: &str, words: &[&str]) -> String {
        let address = format!("127.0.0.1:{}", self.redis.port());
        redis_command_as(&address, user, PASSWORD, words).unwrap()
    }

    async fn api(&self) -> Api {
        let url = self.url("api");
        let settings = [
            ("HOLDFAST_REDIS_URL", url.as_str()),
            ("HOLDFAST_LIMITS", "each"),
            ("HOLDFAST_REDIS_WAIT_REPLICAS", "1"),
            ("HOLDFAST_REDIS_WAIT_TIMEOUT_MS", "1"),
            ("HOLDFAST_REDIS_TIMEOUT_MS", "800"),
        ];
        Api::program(&self.place, &settings).await
    }

    async fn worker(&self) -> Process {
        let url = self.url("worker");
        let settings = [
            ("HOLDFAST_REDIS_URL", url.as_str()),
            ("HOLDFAST_ENDED_KEEP_SECONDS", "1"),
            ("HOLDFAST_LOG_KEEP_SECONDS", "1"),
        ];
        self.place.worker_at_work(&settings).await
    }

    async fn tool(&self, arguments: &[&str]) -> Ran {
        let url = self.url("ctl");
        let settings = self.place.environment(&[("HOLDFAST_REDIS_URL", &url)]);
        holdfastctl(arguments, &settings, "").await
    }

    /// How often Redis denied something; its log keeps 128 kinds.
    fn denials(&self) -> String {
        self.command(&["ACL", "LOG"])
    }
}

/// Holds, extends, sells, cancels and lets expire.
async fn sell(api: &Api) -> u64 {
    let mut event = small_event();
    event["hold_ttl_seconds"] = 2.into();
    let event = api.event(event).await;
    let booking = api.held("ann", event, &[1, 2]).await;
    api.act("ann", &booking, "extend").await.json(200);
    api.act("ann", &booking, "confirm").await;
    becomes(api, "ann", &booking, "CONFIRMED").await;
    let given_up = api.held("bob", event, &[3]).await;
    api.act("bob", &given_up, "cancel").await.json(200);
    let search = json!({ "event_id": event, "quantity": 2 });
    let found = api.post("/api/v1/bookings").user("cid").json(search).send().await.json(201);
    becomes(api, "cid", &found, "EXPIRED").await;
    event
}

/// Waits for a booking's status; asks seldom, as all limits are on.
async fn becomes(api: &Api, user: &str, booking: &Value, status: &str) {
    eventually(status, DONE, async || {
        let is_there = api.booking(user, booking).await.json(200)["status"] == status;
        if !is_there {
            tokio::time::sleep(BETWEEN_ASKS).await;
        }
        is_there
    })
    .await;
}

async fn core(flavor: Flavor) {
    if !available(flavor) {
        return;
    }
    let guarded = Guarded::new(flavor);
    let (api, worker) = (guarded.api().await, guarded.worker().await);
    let event = sell(&api).await;
    eventually("HTTP threads have connections of their own", DONE, async || {
        api.metric("holdfast_redis_thread_connections").await >= 1.0
    })
    .await;
    let id = event.to_string();
    // Rooms, lists, limits and house blocks.
    for arguments in [
        &["seats", "block", &id, "--seats", "12", "--reason", "house"][..],
        &["seats", "release", &id, "--seats", "12", "--reason", "house"],
        &["waiting-room", "enable", &id],
        &["access", "list"],
        &["limits", "list"],
        &["status"],
        &["lag"],
        &["dead-letters", "list"],
        &["bookings", "list", "--event", &id],
    ] {
        guarded.tool(arguments).await.ended(0);
    }
    let path = format!("/api/v1/events/{event}/waiting-room/join");
    eventually("somebody joins", DONE, async || {
        api.post(&path).user("dan").send().await.status < 300
    })
    .await;
    guarded.tool(&["waiting-room", "disable", &id]).await.ended(0);
    // Loss and restore, by the worker and by the tool.
    let keys = format!("{}:*", guarded.place.name());
    guarded.command(&["EVAL", FORGET, "0", &keys]);
    // Seldom, and by others each time: limits count attempts.
    let mut attempts = 0;
    eventually("the worker restores the event", DONE, async || {
        attempts += 1;
        tokio::time::sleep(Duration::from_millis(500)).await;
        api.hold(&format!("eve{attempts}"), event, &[4]).await.status == 201
    })
    .await;
    guarded.tool(&["restore", "--event", &id]).await.ended(0);
    guarded.tool(&["reconcile"]).await.ended(0);
    guarded.tool(&["event", "close", &id]).await.ended(0);
    eventually("verify is clean", DONE, async || guarded.tool(&["verify"]).await.code == 0).await;
    // The console's checks, by the API's own user.
    for check in ["verify", "reconcile"] {
        let reply = api.post(&format!("/api/v1/admin/checks/{check}")).json(json!({})).send().await;
        assert_eq!(reply.status, 200, "{check}: {}", reply.text());
    }
    assert_eq!(guarded.denials(), "*0", "redis denied something: ACL LOG");
    for line in api.process().log_lines().into_iter().chain(worker.log_lines()) {
        let text = line.to_string();
        assert!(!text.contains("NOPERM") && !text.contains("ACL failure"), "{text}");
    }
}

#[tokio::test]
async fn programs_sell_as_their_own_users_on_redis() {
    core(Flavor::Redis).await;
}

#[tokio::test]
async fn programs_sell_as_their_own_users_on_valkey() {
    core(Flavor::Valkey).await;
}

#[tokio::test]
async fn users_may_do_nothing_else() {
    let flavor = if available(Flavor::Redis) { Flavor::Redis } else { Flavor::Valkey };
    let guarded = Guarded::new(flavor);
    guarded.command(&["SET", "other", "1"]);
    for user in USERS {
        let user = format!("holdfast-{user}");
        for words in [
            &["FLUSHALL"][..],
            &["KEYS", "*"],
            &["SCAN", "0"],
            &["CONFIG", "GET", "*"],
            &["ACL", "LIST"],
            &["SCRIPT", "FLUSH"],
            &["CLIENT", "KILL", "TYPE", "normal"],
            &["GET", "other"],
            &["EVAL", "return redis.call('GET', KEYS[1])", "1", "other"],
        ] {
            let reply = guarded.command_as(&user, words);
            assert!(
                reply.starts_with("-NOPERM") || reply.contains("ACL failure"),
                "{user} {words:?}: {reply}"
            );
        }
    }
}
