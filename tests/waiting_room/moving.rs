//! A sale is moved while people gather, wait and have sessions; and it ends.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::SOON;
use crate::support::api::{Api, Place, places};
use crate::support::eventually;
use crate::support::http::Client;

/// How long after the draw people return whose recommended pause was a minute: longer than the claim
/// window.
const LATE: Duration = Duration::from_secs(8);

fn in_seconds(seconds: u64) -> Value {
    json!((jiff::Timestamp::now() + Duration::from_secs(seconds)).to_string())
}

async fn change(api: &Client, event: u64, change: Value) -> Value {
    let path = format!("/api/v1/events/{event}");
    api.ask(reqwest::Method::PATCH, &path).json(change).send().await.json(200)
}

async fn two() -> (Place, Api, Api) {
    let place = Place::shared();
    let one = Api::program(&place, &[]).await.patient();
    let other = Api::program(&place, &[]).await.patient();
    (place, one, other)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gathered_people_see_an_earlier_sale_and_keep_their_turn() {
    let (place, one, other) = two().await;
    let _workers = [place.worker(), place.worker()];
    let mut event = places(100);
    event["on_sale_at"] = in_seconds(3_600);
    let event = one.event(event).await;
    let room = json!({
        "shuffle": true, "max_concurrent": 10, "session_duration": 600, "claim_window": 2,
    });
    one.enable_room(event, room).await;
    let mut tokens = Vec::new();
    for n in 0..10 {
        let joined = [&one, &other][n % 2].join_room(event, &format!("user-{n}")).await.json(200);
        assert_eq!(joined["status"], "gathering", "{joined}");
        assert_eq!(joined["refresh_after_seconds"], 60, "there is an hour to go");
        tokens.push(joined["token"].as_str().unwrap().to_owned());
    }
    let sooner = in_seconds(6);
    let changed = change(&one, event, json!({ "on_sale_at": sooner })).await;
    // The process that made the change shows it at once, the other one soon.
    let status = one.room_status(event, &tokens[0]).await.json(200);
    assert_eq!(status["on_sale_at"], changed["on_sale_at"], "{status}");
    assert_eq!(status["refresh_after_seconds"], 1);
    eventually("the other process tells it, too", SOON, async || {
        let status = other.room_status(event, &tokens[1]).await.json(200);
        status["on_sale_at"] == changed["on_sale_at"] || status["status"] != "gathering"
    })
    .await;
    let path = format!("/api/v1/events/{event}/waiting-room/draw");
    let mut fixed = Value::Null;
    eventually("the draw is fixed", SOON, async || {
        fixed = other.get(&path).send().await.json(200);
        fixed["status"] == "fixed"
    })
    .await;
    assert_eq!(fixed["joiners"], 10);
    eventually("all are served", SOON, async || one.room_stats(event).await["served"] == 10).await;
    // A person with a recommended pause of a minute who did not poll meanwhile keeps the turn.
    let until = Instant::now() + LATE;
    eventually("a claim window has passed", SOON, async || Instant::now() > until).await;
    for (n, token) in tokens.iter().enumerate() {
        let status = [&other, &one][n % 2].room_status(event, token).await.json(200);
        assert_eq!(status["status"], "admitted", "user {n}: {status}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn admitted_people_stay_admitted_when_the_sale_is_postponed() {
    let (place, one, other) = two().await;
    let _worker = place.worker();
    let mut event = places(100);
    event["on_sale_at"] = in_seconds(5);
    let event = one.event(event).await;
    let room = json!({
        "shuffle": true, "max_concurrent": 3, "session_duration": 20, "claim_window": 15,
    });
    one.enable_room(event, room).await;
    let mut tokens = Vec::new();
    for n in 0..5 {
        tokens.push(one.joined(event, &format!("user-{n}")).await);
    }
    // The draw determines the first three; two of them claim, one does not.
    let mut inside: Vec<usize> = Vec::new();
    eventually("two are in", SOON, async || {
        for (n, token) in tokens.iter().enumerate() {
            if inside.len() < 2 && !inside.contains(&n) {
                let status = one.room_status(event, token).await.json(200);
                if status["status"] == "admitted" {
                    inside.push(n);
                }
            }
        }
        inside.len() == 2
    })
    .await;
    let pause = 40;
    let changed = change(&one, event, json!({ "on_sale_at": in_seconds(pause) })).await;
    let until = Instant::now() + Duration::from_secs(25);
    let user = |n: usize| format!("user-{n}");
    // Longer than any session and claim window.
    eventually("sessions would be over", SOON, async || {
        for n in &inside {
            let status = other.room_status(event, &tokens[*n]).await.json(200);
            assert_eq!(status["status"], "admitted", "{status}");
        }
        Instant::now() > until
    })
    .await;
    let status = other.room_status(event, &tokens[inside[0]]).await.json(200);
    assert_eq!(status["on_sale_at"], changed["on_sale_at"], "{status}");
    let seat = inside[0] as u32 + 1;
    let early = other.hold_in_room(&user(inside[0]), event, &[seat], &tokens[inside[0]]).await;
    early.problem(409, "not_on_sale");
    // The third still has an open place.
    let mut admitted = 0;
    for token in &tokens {
        admitted += u32::from(other.room_status(event, token).await.json(200)["admitted"] == true);
    }
    assert_eq!(admitted, 3);
    change(&other, event, json!({ "on_sale_at": "2026-01-01T00:00:00Z" })).await;
    for n in inside {
        let held = other.hold_in_room(&user(n), event, &[n as u32 + 1], &tokens[n]).await;
        held.json(201);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_people_see_that_the_sale_has_ended() {
    let (place, one, other) = two().await;
    let _worker = place.worker();
    let event = one.event(places(10)).await;
    one.enable_room(event, json!({ "max_concurrent": 1, "session_duration": 600 })).await;
    let first = one.joined(event, "ann").await;
    one.admitted(event, &first).await;
    let second = other.joined(event, "bob").await;
    change(&one, event, json!({ "off_sale_at": in_seconds(3) })).await;
    for (api, token) in [(&one, &second), (&other, &second), (&one, &first)] {
        eventually("the sale is over", SOON, async || {
            let status = api.room_status(event, token).await.json(200);
            assert!(["queued", "admitted", "closed"].contains(&status["status"].as_str().unwrap()));
            status["status"] == "closed" && status["admitted"] == false
        })
        .await;
    }
    one.join_room(event, "eve").await.problem(409, "event_closed");
    one.leave_room(event, &first).await.json(200);
    let served = one.room_stats(event).await["served"].clone();
    // With a later end, admission continues.
    change(&one, event, json!({ "off_sale_at": in_seconds(3_600) })).await;
    assert_eq!(served, 1, "nobody was let in after the end");
    other.admitted(event, &second).await;
}
