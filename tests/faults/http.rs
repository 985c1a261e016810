//! Redis frozen or gone, as callers of the real API see it: prompt answers throughout, nothing
//! refused happens later, and a retry keeps what it gets.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::on_one_redis;
use crate::support::api::{self, Api, Place, places};
use crate::support::eventually;
use crate::support::http::Reply;
use crate::support::servers::{Server, private_redis, shared_mongodb};
use crate::support::stopwatch::Stopwatch;

/// Everything is answered within this, whatever Redis does.
const PROMPT: Duration = Duration::from_secs(1);
/// What was refused and not retried is free this soon after Redis is back.
const FREE_AGAIN: Duration = Duration::from_secs(2);
/// How long Redis is away.
const AWAY: Duration = Duration::from_secs(5);
/// A restarted server (a cluster most of all) takes its time to answer.
const RECOVERY: Duration = Duration::from_secs(20);
/// Seats of the event: more than are asked for.
const SEATS: u32 = 500;
/// Pause between two rounds of callers.
const ROUND: Duration = Duration::from_millis(250);
/// How long seats may still be shown as they were before.
const KNOWN_FOR: Duration = Duration::from_secs(2);
/// After how long readiness tells: twice a second it is found out.
const TOLD_AFTER: Duration = Duration::from_secs(3);
/// Callers who want a seat, in each round.
const CALLERS: u32 = 5;

/// A sale under way, whose Redis is about to go.
struct Sale {
    redis: Server,
    api: Api,
    event: u64,
    /// Ann's hold on seat 1, from before.
    anns: Value,
    /// Seats asked for so far; each was asked for once, by a user and under a key of its own.
    asked: u32,
}

impl Sale {
    async fn new(redis: Server) -> Self {
        // Nobody archives here, so confirmations need not wait for it.
        let settings = [("HOLDFAST_CONFIRM_WAIT_MS", "0"), api::PROMPT];
        let api = Api::program(&Place::new(&redis, shared_mongodb()), &settings).await;
        let event = api.event(places(SEATS)).await;
        let anns = api.held("ann", event, &[1]).await;
        // A caller who has used every operation before: Redis knows all scripts.
        let other = api.held("ann", event, &[2]).await;
        api.act("ann", &other, "extend").await.json(200);
        api.act("ann", &other, "cancel").await.json(200);
        Sale { redis, api, event, anns, asked: 2 }
    }

    /// Callers of every kind, for as long as Redis is away.
    async fn endure(&mut self) {
        let began = Instant::now();
        while began.elapsed() < AWAY {
            let first = self.asked + 1;
            self.asked += CALLERS;
            let holds = (first..=self.asked).map(|seat| self.hold(seat));
            let is_known = began.elapsed() < KNOWN_FOR;
            let others = self.others(is_known, began.elapsed() > TOLD_AFTER);
            let (holds, (), ()) = tokio::join!(join_all(holds), others, self.unaffected());
            holds.iter().for_each(expect_unavailable);
            tokio::time::sleep(ROUND).await;
        }
        assert!(self.asked < SEATS, "more seats are needed");
    }

    /// Asks for a seat, or asks again.
    async fn hold(&self, seat: u32) -> Reply {
        let body = json!({ "event_id": self.event, "seat_ids": [seat] });
        let ask = self.api.post("/api/v1/bookings").user(&format!("user-{seat}")).json(body);
        let ask = ask.header("Idempotency-Key", &format!("key-{seat}"));
        promptly("hold", ask.send()).await
    }

    /// Whatever else needs Redis; `is_known`: what is free may still be known without; `is_told`:
    /// readiness has to say by now that Redis is away.
    async fn others(&self, is_known: bool, is_told: bool) {
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
        let unknown = [one, map, counts].into_iter().filter(|read| !is_known || read.status != 200);
        for read in unknown.chain([booking]) {
            // Who only reads is not told that anything may have happened.
            expect_unavailable(&read);
            read.problem(503, "service_unavailable");
        }
        expect_unavailable(&extended);
        expect_unavailable(&confirmed);
        // The list comes from the archive; how far that is, only Redis could tell.
        assert_eq!(list.json(200)["as_of"], Value::Null);
        // Redis is asked in the background.
        if is_told {
            assert_eq!(ready.json(503)["checks"]["redis"], "unavailable");
        }
    }

    /// What does not need Redis.
    async fn unaffected(&self) {
        for path in ["/health/live", "/metrics", "/docs/", "/openapi.json"] {
            assert_eq!(promptly(path, self.api.get(path).send()).await.status, 200, "{path}");
        }
    }

    /// Redis is back: the API finds it by itself, what was refused is free, retries are kept.
    async fn recover(&self) {
        eventually("the connection recovers", RECOVERY, async || self.held_seats().await.is_some())
            .await;
        let recovered = Instant::now();
        // The first and the last who were refused ask again, those between do not.
        let mut kept = vec![];
        for seat in [3, 4, self.asked] {
            kept.push((seat, self.hold(seat).await.json(201)));
        }
        let held = 1 + kept.len() as u64;
        eventually("what was refused is free", FREE_AGAIN, async || {
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
        // A payment that was refused has not begun; now it does.
        let anns = self.api.booking("ann", &self.anns).await.json(200);
        assert_eq!(anns["status"], "HOLD");
        assert_eq!(self.api.act("ann", &anns, "confirm").await.json(202)["status"], "CONFIRMING");
        self.unaffected().await;
        eventually("it is ready", RECOVERY, async || {
            self.api.get("/health/ready").send().await.status == 200
        })
        .await;
    }

    /// Held seats, where Redis answers.
    async fn held_seats(&self) -> Option<u64> {
        let path = format!("/api/v1/events/{}/availability", self.event);
        let reply = promptly(&path, self.api.get(&path).send()).await;
        (reply.status == 200).then(|| reply.json(200)["held_seats"].as_u64().expect("a count"))
    }
}

/// The answer, which comes in time.
async fn promptly(what: &str, answer: impl Future<Output = Reply>) -> Reply {
    let asked = Stopwatch::start();
    let reply = answer.await;
    let took = asked.elapsed();
    assert!(took < PROMPT, "{what} took {took:?}");
    reply
}

fn expect_unavailable(reply: &Reply) {
    let problem = reply.any_problem();
    let error = problem["error"].as_str().expect("any_problem() saw it");
    assert!(matches!(error, "service_unavailable" | "outcome_unknown"), "{problem}");
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")), "{problem}");
}

on_one_redis!(a_frozen_redis, async |flavor| {
    let mut sale = Sale::new(private_redis(flavor)).await;
    sale.redis.freeze();
    sale.endure().await;
    sale.redis.thaw();
    sale.recover().await;
});

on_one_redis!(a_killed_redis, async |flavor| {
    let mut sale = Sale::new(private_redis(flavor)).await;
    // What the last second's writes become without this is another test's.
    sale.redis.command(&["CONFIG", "SET", "appendfsync", "always"]);
    let late = sale.api.held("ann", sale.event, &[SEATS]).await;
    sale.api.act("ann", &late, "cancel").await.json(200);
    sale.redis.kill();
    sale.endure().await;
    tokio::task::block_in_place(|| sale.redis.restart());
    sale.recover().await;
});
