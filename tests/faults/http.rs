//! Redis frozen or killed, seen by clients of the real API: answers stay prompt, refused requests have no
//! later effect, and a retried hold is kept.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::on_one_redis;
use crate::support::api::{self, Api, Place, places};
use crate::support::eventually;
use crate::support::http::Reply;
use crate::support::servers::{Server, private_redis, shared_mongodb};
use crate::support::stopwatch::Stopwatch;

/// Bound of every answer, in any state of Redis.
const PROMPT: Duration = Duration::from_secs(1);
/// Bound until seats of refused holds are free after Redis is back.
const FREE_AGAIN: Duration = Duration::from_secs(2);
/// How long Redis is away.
const AWAY: Duration = Duration::from_secs(5);
/// Bound of the recovery; a restarted server takes time to respond, especially a cluster.
const RECOVERY: Duration = Duration::from_secs(20);
/// Seats of the event: more than are requested.
const SEATS: u32 = 500;
/// Pause between two rounds of callers.
const ROUND: Duration = Duration::from_millis(250);
/// How long seats may still be shown in their last known state.
const KNOWN_FOR: Duration = Duration::from_secs(2);
/// After how long readiness must report it; it is checked twice a second.
const REPORTED_AFTER: Duration = Duration::from_secs(3);
/// Callers that request a seat, in each round.
const CALLERS: u32 = 5;

/// A running sale whose Redis is about to fail.
struct Sale {
    redis: Server,
    api: Api,
    event: u64,
    /// Ann's earlier hold on seat 1.
    anns: Value,
    /// The last requested seat; each was requested once, by its own user and with its own key.
    last_seat: u32,
}

impl Sale {
    async fn new(redis: Server) -> Self {
        // There is no worker, so confirmations need not wait for the archive.
        let settings = [("HOLDFAST_CONFIRM_WAIT_MS", "0"), api::PROMPT];
        let api = Api::program(&Place::new(&redis, shared_mongodb()), &settings).await;
        let event = api.event(places(SEATS)).await;
        let anns = api.held("ann", event, &[1]).await;
        // Uses every operation once, so that Redis has all scripts.
        let other = api.held("ann", event, &[2]).await;
        api.act("ann", &other, "extend").await.json(200);
        api.act("ann", &other, "cancel").await.json(200);
        Sale { redis, api, event, anns, last_seat: 2 }
    }

    /// Sends requests of every kind while Redis is down.
    async fn endure(&mut self) {
        let began = Instant::now();
        while began.elapsed() < AWAY {
            let first = self.last_seat + 1;
            self.last_seat += CALLERS;
            let holds = (first..=self.last_seat).map(|seat| self.hold(seat));
            let is_known = began.elapsed() < KNOWN_FOR;
            let others = self.others(is_known, began.elapsed() > REPORTED_AFTER);
            let (holds, (), ()) = tokio::join!(join_all(holds), others, self.unaffected());
            holds.iter().for_each(expect_unavailable);
            tokio::time::sleep(ROUND).await;
        }
        assert!(self.last_seat < SEATS, "more seats are needed");
    }

    /// Requests a seat, or repeats the request.
    async fn hold(&self, seat: u32) -> Reply {
        let body = json!({ "event_id": self.event, "seat_ids": [seat] });
        let request = self.api.post("/api/v1/bookings").user(&format!("user-{seat}")).json(body);
        let request = request.header("Idempotency-Key", &format!("key-{seat}"));
        promptly("hold", request.send()).await
    }

    /// All other requests that need Redis. `is_known`: seats may still be known from the view; `is_reported`:
    /// readiness must report by now that Redis is down.
    async fn others(&self, is_known: bool, is_reported: bool) {
        let (event, api) = (self.event, &self.api);
        let get = async |path: String| promptly(&path, api.get(&path).user("ann").send()).await;
        let act = async |verb: &str| promptly(verb, api.act("ann", &self.anns, verb)).await;
        let id = self.anns["id"].as_str().expect("a booking has an id");
        let replies = tokio::join!(
            get(format!("/api/v1/events/{event}")),
            get(format!("/api/v1/events/{event}/seats")),
            get(format!("/api/v1/events/{event}/availability")),
            get(format!("/api/v1/bookings/{id}")),
            act("extend"),
            act("confirm"),
            get("/api/v1/bookings".to_owned()),
            get("/health/ready".to_owned()),
        );
        let (one, map, counts, booking, extended, confirmed, list, ready) = replies;
        // The event comes from MongoDB, its seats from the last view if there is one.
        assert_eq!(one.json(200)["id"], event);
        let is_marked = |read: &Reply| read.header("x-seat-map-stale").is_some();
        let shown = |read: &Reply| read.status == 200 && (is_known || is_marked(read));
        let unknown = [map, counts].into_iter().filter(|read| !shown(read));
        for read in unknown.chain([booking]) {
            // A read does not get `outcome_unknown`.
            expect_unavailable(&read);
            read.problem(503, "service_unavailable");
        }
        expect_unavailable(&extended);
        expect_unavailable(&confirmed);
        // The list comes from the archive; how current it is, is known only in Redis.
        assert_eq!(list.json(200)["as_of"], Value::Null);
        // Redis is checked in the background.
        if is_reported {
            assert_eq!(ready.json(503)["checks"]["redis"], "unavailable");
        }
    }

    /// Requests that do not need Redis.
    async fn unaffected(&self) {
        for path in ["/health/live", "/metrics", "/docs/", "/openapi.json"] {
            assert_eq!(promptly(path, self.api.get(path).send()).await.status, 200, "{path}");
        }
    }

    /// Redis is back: the API reconnects, seats of refused holds are free, retried holds are kept.
    async fn recover(&self) {
        eventually("the connection recovers", RECOVERY, async || self.held_seats().await.is_some())
            .await;
        let recovered = Instant::now();
        // The first and last refused holds are retried, the others are not.
        let mut kept = vec![];
        for seat in [3, 4, self.last_seat] {
            kept.push((seat, self.hold(seat).await.json(201)));
        }
        let held = 1 + kept.len() as u64;
        eventually("seats of refused holds are free", FREE_AGAIN, async || {
            self.held_seats().await == Some(held)
        })
        .await;
        assert!(recovered.elapsed() < FREE_AGAIN, "{:?}", recovered.elapsed());
        eventually("nothing is left to undo", RECOVERY, async || {
            self.api.metric("holdfast_abort_queue_length").await == 0.0
        })
        .await;
        for (seat, booking) in &kept {
            let user = format!("user-{seat}");
            let now = self.api.booking(&user, booking).await.json(200);
            assert_eq!((&now["status"], &now["id"]), (&json!("HOLD"), &booking["id"]), "{seat}");
            assert_eq!(self.hold(*seat).await.json(201)["id"], booking["id"]);
        }
        eventually("it is shown", RECOVERY, async || self.held_seats().await == Some(held)).await;
        // The refused payment had not begun; now it does.
        let anns = self.api.booking("ann", &self.anns).await.json(200);
        assert_eq!(anns["status"], "HOLD");
        assert_eq!(self.api.act("ann", &anns, "confirm").await.json(202)["status"], "CONFIRMING");
        self.unaffected().await;
        eventually("it is ready", RECOVERY, async || {
            self.api.get("/health/ready").send().await.status == 200
        })
        .await;
    }

    /// The number of held seats, if Redis responds.
    async fn held_seats(&self) -> Option<u64> {
        let path = format!("/api/v1/events/{}/availability", self.event);
        let reply = promptly(&path, self.api.get(&path).send()).await;
        // Marked counts are the last known ones: Redis does not answer yet.
        let is_current = reply.status == 200 && reply.header("x-seat-map-stale").is_none();
        is_current.then(|| reply.json(200)["held_seats"].as_u64().expect("a count"))
    }
}

/// Returns the answer, which must be prompt.
async fn promptly(what: &str, answer: impl Future<Output = Reply>) -> Reply {
    let watch = Stopwatch::start();
    let reply = answer.await;
    let took = watch.elapsed();
    assert!(took < PROMPT, "{what} took {took:?}");
    reply
}

fn expect_unavailable(reply: &Reply) {
    let problem = reply.any_problem();
    let error = problem["error"].as_str().expect("any_problem() saw it");
    assert!(matches!(error, "service_unavailable" | "outcome_unknown"), "{problem}");
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")), "{problem}");
}

on_one_redis!(frozen_redis_causes_prompt_refusals_without_later_effect, async |flavor| {
    let mut sale = Sale::new(private_redis(flavor)).await;
    sale.redis.freeze();
    sale.endure().await;
    sale.redis.thaw();
    sale.recover().await;
});

on_one_redis!(killed_redis_causes_prompt_refusals_without_later_effect, async |flavor| {
    let mut sale = Sale::new(private_redis(flavor)).await;
    // Loss of the last second's writes is tested elsewhere.
    sale.redis.command(&["CONFIG", "SET", "appendfsync", "always"]);
    let late = sale.api.held("ann", sale.event, &[SEATS]).await;
    sale.api.act("ann", &late, "cancel").await.json(200);
    sale.redis.kill();
    sale.endure().await;
    tokio::task::block_in_place(|| sale.redis.restart());
    sale.recover().await;
});
