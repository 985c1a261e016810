//! Limits over HTTP: exact over several processes, complete in their responses, and not evaded by
//! forged headers.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;

use super::crowd::{BROWSER, Crowd, EACH, exchange, no_window_has_more, passed, requests, span};
use crate::support::api::{Api, Place, places};
use crate::support::eventually;
use crate::support::http::Reply;

const EVENTS: &str = "/api/v1/events";
const QUOTA: usize = 7;
const WINDOW: Duration = Duration::from_secs(3);
/// Most retries of a burst that a busy machine makes longer than the window.
const BURSTS_MAX: u32 = 10;
/// How long a change in one process may take to reach the others.
const SOON: Duration = Duration::from_secs(20);

#[track_caller]
fn over(reply: &Reply, rule: &str) {
    let body = reply.problem(429, "rate_limit_exceeded");
    assert_eq!(body["rule"], rule, "{body}");
    let seconds: u32 = reply.header("retry-after").expect("Retry-After").parse().unwrap();
    assert!(seconds >= 1);
    assert!(reply.header("ratelimit-policy").unwrap().starts_with(&format!("\"{rule}\";q=")));
    assert!(reply.header("ratelimit").unwrap().starts_with(&format!("\"{rule}\";r=0;t=")));
}

/// Sends many requests at once, then some windows' worth in turn, each to any process.
async fn exact_over(processes: usize) {
    let crowd = Crowd::new(&Place::shared(), processes, &requests(7, 3, "")).await;
    let ask = |user: &str| exchange(crowd.any().get(EVENTS).user(user));
    let mut burst = 0;
    loop {
        let user = format!("burst-{burst}");
        let all = join_all((0..25).map(|_| ask(&user))).await;
        if span(&all) < WINDOW {
            assert_eq!(passed(&all).len(), QUOTA, "over {processes} processes");
            all.iter().filter(|one| one.reply.status == 429).for_each(|one| {
                over(&one.reply, "requests");
            });
            break;
        }
        burst += 1;
        assert!(burst < BURSTS_MAX, "25 requests take longer than {WINDOW:?}");
    }
    let began = std::time::Instant::now();
    let mut all = Vec::new();
    while began.elapsed() < WINDOW * 5 / 2 {
        all.extend(join_all((0..3).map(|_| ask("steady"))).await);
    }
    // No window grants more, wherever it begins; two and a half of them grant a whole quota three
    // times at most.
    no_window_has_more(&all, QUOTA, WINDOW);
    let count = passed(&all).len();
    assert!((2 * QUOTA..=3 * QUOTA).contains(&count), "{count} in {:?}", span(&all));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quota_is_exact_in_one_process() {
    exact_over(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quota_is_exact_over_two_processes() {
    exact_over(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quota_is_exact_over_four_processes() {
    exact_over(4).await;
}

#[tokio::test]
async fn twenty_seat_maps_a_minute_pass() {
    let api = Api::program(&Place::shared(), &[EACH]).await;
    let event = api.event(places(10)).await;
    let path = format!("/api/v1/events/{event}/seats");
    let mut all = Vec::new();
    for _ in 0..25 {
        all.push(exchange(api.get(&path).user("ann")).await);
    }
    assert!(span(&all) < Duration::from_secs(60), "the machine is too busy");
    for (n, one) in all.iter().enumerate() {
        if n < 20 {
            assert_eq!(one.reply.status, 200, "{n}: {}", one.reply.text());
            let left = format!("\"seat_map\";r={};t=", 19 - n);
            assert!(one.reply.header("ratelimit").unwrap().starts_with(&left), "{n}");
            assert_eq!(one.reply.header("ratelimit-policy"), Some("\"seat_map\";q=20;w=60"));
        } else {
            over(&one.reply, "seat_map");
        }
    }
    // Other users are not limited, and observing rules have counted.
    assert_eq!(api.get(&path).user("bob").send().await.status, 200);
    let observed = r#"holdfast_gate_verdicts_total{gate="quotas",verdict="observed"}"#;
    assert_eq!(api.labelled_metric(observed).await, 10.0);
}

#[tokio::test]
async fn strict_profile_limits_probing() {
    let api = Api::program(&Place::shared(), &[EACH, ("HOLDFAST_PROFILE", "strict")]).await;
    let event = api.post(EVENTS).json(places(10)).header(BROWSER.0, BROWSER.1).send().await;
    let event = event.json(201)["id"].as_u64().unwrap();
    let path = format!("/api/v1/events/{event}/seats");
    let look = || exchange(api.get(&path).user("ann").header(BROWSER.0, BROWSER.1));
    let mut all = Vec::new();
    for _ in 0..11 {
        all.push(look().await);
    }
    assert!(span(&all) < Duration::from_secs(60), "the machine is too busy");
    let last = all.pop().unwrap().reply;
    all.iter().for_each(|one| assert_eq!(one.reply.status, 200, "{}", one.reply.text()));
    over(&last, "seat_probing");
    assert_eq!(last.json(429)["detail"], "Too many seat checks. Please slow down.");
}

#[tokio::test]
async fn forged_header_gains_no_request() {
    let crowd = Crowd::new(&Place::shared(), 2, &requests(7, 60, "")).await;
    let mut all = Vec::new();
    for n in 0..15 {
        let forged = format!("198.51.100.{n}");
        let ask = crowd.any().get(EVENTS).header(BROWSER.0, BROWSER.1);
        let ask = ask.header("X-Forwarded-For", &forged).header("X-Real-IP", &forged);
        all.push(exchange(ask).await);
    }
    assert!(span(&all) < Duration::from_secs(60), "the machine is too busy");
    assert_eq!(passed(&all).len(), QUOTA);
    let mut refused = all.iter().filter(|one| one.reply.status == 429);
    assert!(refused.any(|one| one.reply.json(429)["rule"] == "requests"));
}

#[tokio::test]
async fn booking_resets_probing_counts() {
    let rule = r#"[{name="seat_probing",quota=3,window_seconds=3600,mode="enforce"}]"#;
    let crowd = Crowd::new(&Place::shared(), 2, rule).await;
    let event = crowd.apis[0].event(places(10)).await;
    let path = format!("/api/v1/events/{event}/seats");
    let look = async |api: &Api| api.get(&path).user("ann").send().await;
    for _ in 0..3 {
        assert_eq!(look(&crowd.apis[0]).await.status, 200);
    }
    for api in &crowd.apis {
        over(&look(api).await, "seat_probing");
    }
    crowd.apis[0].held("ann", event, &[1]).await;
    // A refused request is not counted, so retrying until one passes counts one.
    for (n, api) in crowd.apis.iter().enumerate() {
        let mut last = None;
        eventually("the count is reset", SOON, async || {
            last = Some(look(api).await);
            last.as_ref().unwrap().status == 200
        })
        .await;
        let left = format!("\"seat_probing\";r={};t=", 2 - n);
        assert!(last.unwrap().header("ratelimit").unwrap().starts_with(&left));
    }
}

#[tokio::test]
async fn user_is_limited_in_each_event_separately() {
    let rule = r#"[{name="per_event",scope="user_event",routes=["hold","seats"],quota=2,
        window_seconds=3600}]"#;
    let api = Api::program(&Place::shared(), &[EACH, ("HOLDFAST_LIMIT_RULES", rule)]).await;
    let (one, other) = (api.event(places(10)).await, api.event(places(10)).await);
    api.held("ann", one, &[1]).await;
    let path = format!("/api/v1/events/{one}/seats");
    assert_eq!(api.get(&path).user("ann").send().await.status, 200);
    for _ in 0..2 {
        over(&api.hold("ann", one, &[2]).await, "per_event");
        over(&api.get(&path).user("ann").send().await, "per_event");
    }
    api.held("ann", other, &[1]).await;
    api.held("bob", one, &[3]).await;
}

#[tokio::test]
async fn rate_grants_its_burst() {
    let rule = r#"[{name="slow",scope="user",routes=["events"],per_second=1,burst=4}]"#;
    let crowd = Crowd::new(&Place::shared(), 2, rule).await;
    let all = join_all((0..12).map(|_| exchange(crowd.any().get(EVENTS).user("ann")))).await;
    // One more for each second that a busy machine took.
    let most = 4 + span(&all).as_secs() as usize;
    let count = passed(&all).len();
    assert!((4..=most).contains(&count), "{count} in {:?}", span(&all));
    let refused = all.iter().find(|one| one.reply.status == 429).expect("a refusal");
    over(&refused.reply, "slow");
    assert_eq!(refused.reply.json(429)["status"], json!(429));
}
