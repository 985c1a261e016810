//! Requests that a process decides without Redis, while Redis answers, is away, or comes back; and
//! the calls that limits cost.

use std::time::{Duration, Instant};

use serde_json::json;

use super::crowd::{Crowd, EACH, Exchange, exchange, no_window_has_more, passed, requests};
use crate::support::api::{Api, PROMPT, Place, places};
use crate::support::eventually;
use crate::support::servers::{Flavor, Server, available, private_redis, shared_mongodb};
use crate::support::stopwatch::Stopwatch;

const BOOKINGS: &str = "/api/v1/bookings";
const WINDOW: Duration = Duration::from_secs(3);
/// The quota of `booking_attempts` here.
const QUOTA: usize = 8;
/// One process' share of the quota.
const SHARE: usize = 2;
/// What one process can refuse within a flush interval: its own count blocks beyond the quota.
const UNFLUSHED: usize = QUOTA;
/// How long a restarted Redis may take to answer.
const RECOVERY: Duration = Duration::from_secs(20);
/// The bound of every response, whatever Redis does: half a time-out for limits, one for the rest.
const PROMPTLY: Duration = Duration::from_millis(1_000);

fn redis() -> Server {
    let flavor = if available(Flavor::Redis) { Flavor::Redis } else { Flavor::Valkey };
    private_redis(flavor)
}

fn attempts() -> String {
    requests(5_000, 3, r#",{name="booking_attempts",quota=8,window_seconds=3,mode="enforce"}"#)
}

/// Sends an invalid request to hold seats, which is refused before it reaches Redis.
async fn invalid(crowd: &Crowd, user: &str) -> Exchange {
    let ask = crowd.any().post(BOOKINGS).user(user).header("Content-Type", "application/json");
    let one = exchange(ask.body("{")).await;
    match one.reply.status {
        400 => {}
        _ => assert_eq!(one.reply.json(429)["rule"], "booking_attempts"),
    }
    one
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_refused_in_process_are_counted() {
    let crowd = Crowd::new(&Place::shared(), 2, &attempts()).await;
    let event = crowd.apis[0].event(places(10)).await;
    let (mut all, began) = (Vec::new(), Instant::now());
    while began.elapsed() < WINDOW * 5 / 2 {
        all.push(invalid(&crowd, "ann").await);
    }
    no_window_has_more(&all, QUOTA + UNFLUSHED * crowd.apis.len(), WINDOW);
    let count = passed(&all).len();
    assert!(count >= 2 * QUOTA, "{count} of {}", all.len());
    // It counts against valid requests: by now the quota is used up in every process.
    for api in &crowd.apis {
        let body = json!({ "event_id": event, "seat_ids": [1] });
        let held = exchange(api.post(BOOKINGS).user("ann").json(body)).await;
        if held.reply.status != 429 {
            all.push(held);
        }
    }
    no_window_has_more(&all, QUOTA + UNFLUSHED * crowd.apis.len(), WINDOW);
    // A few invalid requests are not limited.
    for n in 0..SHARE * 2 {
        assert_eq!(invalid(&crowd, "bob").await.reply.status, 400, "{n}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarted_redis_grants_no_more_than_the_bound() {
    let redis = redis();
    // Losing the last second's writes is not tested here.
    redis.command(&["CONFIG", "SET", "appendfsync", "always"]);
    let crowd = Crowd::new(&Place::new(&redis, shared_mongodb()), 2, &attempts()).await;
    let (mut all, began) = (Vec::new(), Instant::now());
    let (mut killed, mut restarted) = (false, false);
    let mut away = 0;
    while began.elapsed() < WINDOW * 4 {
        let one = invalid(&crowd, "ann").await;
        away += usize::from(killed && !restarted && one.reply.status == 400);
        all.push(one);
        if !killed && began.elapsed() > WINDOW {
            redis.kill();
            killed = true;
        }
        if !restarted && began.elapsed() > WINDOW * 5 / 2 {
            tokio::task::block_in_place(|| redis.restart());
            restarted = true;
        }
    }
    // The batch that was under way when Redis was killed is lost: it counts nowhere.
    no_window_has_more(&all, QUOTA + 2 * UNFLUSHED * crowd.apis.len(), WINDOW);
    assert!(away >= 1, "each process counts by itself while Redis is away");
    assert!(passed(&all).len() >= 2 * QUOTA, "{} of {}", passed(&all).len(), all.len());
    // Then Redis counts again, and no process has anything left to send.
    let notes = r#"holdfast_limiter_entries{kind="notes"}"#;
    eventually("all counts are sent or over", RECOVERY, async || {
        crowd.labelled_metric(notes).await == 0.0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frozen_redis_leaves_each_rule_its_configured_behaviour() {
    let redis = redis();
    let place = Place::new(&redis, shared_mongodb());
    let with = async |away: &str| {
        let rules = format!(
            "[{{name=\"requests\",quota=8,window_seconds=60,when_redis_is_away=\"{away}\"}}]"
        );
        Api::program(&place, &[EACH, PROMPT, ("HOLDFAST_LIMIT_RULES", &rules)]).await
    };
    let (local, pass, refuse) = (with("local").await, with("pass").await, with("refuse").await);
    redis.freeze();
    // A list of bookings needs Redis only for its limit.
    let statuses = async |api: &Api| {
        let mut statuses = Vec::new();
        for _ in 0..5 {
            let watch = Stopwatch::start();
            let one = exchange(api.get(BOOKINGS).user("ann")).await;
            let took = watch.elapsed();
            assert!(took < PROMPTLY, "{took:?}");
            statuses.push(one.reply.status);
        }
        statuses
    };
    assert_eq!(statuses(&local).await, [200, 200, 429, 429, 429]);
    assert_eq!(statuses(&pass).await, [200; 5]);
    assert_eq!(statuses(&refuse).await, [503; 5]);
    redis.thaw();
    for api in [&local, &pass, &refuse] {
        eventually("limits are counted again", RECOVERY, async || {
            let reply = api.get(BOOKINGS).user("bob").send().await;
            reply.status == 200 && reply.header("ratelimit").is_some()
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counted_request_costs_one_call_and_blocked_one_none() {
    let redis = redis();
    let crowd = Crowd::new(&Place::new(&redis, shared_mongodb()), 1, &requests(11, 6, "")).await;
    let api = &crowd.apis[0];
    let calls = || {
        let info = redis.command_lines(&["INFO", "commandstats"]);
        let count = |name: &str| -> u64 {
            let line = info.iter().find_map(|line| line.strip_prefix(name));
            line.map_or(0, |rest| rest.split(['=', ',']).nth(1).unwrap().parse().unwrap())
        };
        count("cmdstat_evalsha:") + count("cmdstat_eval:")
    };
    let get = async |user: &str| api.get(BOOKINGS).user(user).send().await.status;
    // The first call also reads Redis' time.
    assert_eq!(get("ann").await, 200);
    let limit_calls = r#"holdfast_script_duration_seconds_count{script="limit"}"#;
    let (redis_before, limit_before) = (calls(), api.labelled_metric(limit_calls).await);
    for _ in 0..10 {
        assert_eq!(get("ann").await, 200);
    }
    assert_eq!(api.labelled_metric(limit_calls).await, limit_before + 10.0);
    assert_eq!(calls(), redis_before + 10, "nothing else runs a script here");
    // Redis refuses the twelfth; the process refuses the others.
    let before = calls();
    for _ in 0..10 {
        assert_eq!(get("ann").await, 429);
    }
    assert!(calls() - before <= 1, "{} calls", calls() - before);
    let blocks = r#"holdfast_limiter_entries{kind="blocks"}"#;
    eventually("the gauge shows the block", RECOVERY, async || {
        api.labelled_metric(blocks).await == 1.0
    })
    .await;
    eventually("the block ends", RECOVERY, async || api.labelled_metric(blocks).await == 0.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn observed_seat_map_waits_for_no_call_is_counted_by_a_flush_and_reported() {
    let redis = redis();
    let rules = r#"[{name="requests",mode="observe"},
        {name="seat_map",quota=20,window_seconds=3600,mode="observe"}]"#;
    let crowd = Crowd::new(&Place::new(&redis, shared_mongodb()), 1, rules).await;
    let api = &crowd.apis[0];
    let event = api.event(places(10)).await;
    let calls = r#"holdfast_script_duration_seconds_count{script="limit"}"#;
    let observed = r#"holdfast_gate_verdicts_total{gate="quotas",verdict="observed"}"#;
    let map = async || {
        let reply = api.get(&format!("/api/v1/events/{event}/seats")).user("ann").send().await;
        assert_eq!((reply.status, reply.header("ratelimit")), (200, None));
    };
    let before = (api.labelled_metric(calls).await, api.labelled_metric(observed).await);
    for _ in 0..20 {
        map().await;
    }
    // A turn sends what reached the share, several rules with one call; a call for each request would
    // be twenty.
    let after = api.labelled_metric(calls).await;
    assert!(after - before.0 < 15.0, "{before:?} {after}");
    eventually("the requests are counted in Redis", RECOVERY, async || {
        api.labelled_metric(calls).await > before.0
    })
    .await;
    eventually("requests beyond the quota are reported", RECOVERY, async || {
        map().await;
        api.labelled_metric(observed).await > before.1
    })
    .await;
}
