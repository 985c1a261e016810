//! Limits in a rush: refused holds do not lock buyers out; granted holds count.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::crowd::{BROWSER, Crowd, EACH, exchange, span};
use crate::support::api::{Api, Place, places};
use crate::support::eventually;
use crate::support::http::{Client, Reply};

const BOOKINGS: &str = "/api/v1/bookings";
/// More refusals than the shipped rule of ten an hour allows.
const LOST: usize = 15;
/// How long a switched room or a grant taken back may take to reach every process.
const SOON: Duration = Duration::from_secs(20);

async fn shipped() -> Api {
    Api::program(&Place::shared(), &[EACH]).await
}

async fn cancel(api: &Client, user: &str, booking: &Value) {
    assert_eq!(api.act(user, booking, "cancel").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn buyer_losing_many_races_gets_the_free_seat() {
    let api = shipped().await;
    let event = api.event(places(10)).await;
    api.held("rival", event, &[1, 2, 3]).await;
    for n in 0..LOST {
        let refused = api.hold("ann", event, &[1 + n as u32 % 3]).await;
        refused.problem(409, "seats_unavailable");
    }
    api.held("ann", event, &[4]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn buyer_refused_by_the_waiting_room_books_once_it_is_off() {
    let api = shipped().await;
    let event = api.event(places(10)).await;
    let room = async |verb: &str| {
        let path = format!("/api/v1/events/{event}/waiting-room/{verb}");
        api.post(&path).send().await.json(200);
    };
    room("enable").await;
    for _ in 0..LOST {
        api.hold("ann", event, &[1]).await.problem(403, "waiting_room_required");
    }
    room("disable").await;
    eventually("nobody needs a session", SOON, async || {
        let reply = api.hold("ann", event, &[1]).await;
        assert_ne!(reply.status, 429, "{}", reply.text());
        reply.status == 201
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replays_and_user_limit_count_nothing() {
    let api = shipped().await;
    let event = api.event(places(30)).await;
    let body = json!({ "event_id": event, "seat_ids": [1] });
    for n in 0..LOST {
        let ask = api.post(BOOKINGS).user("ann").header("Idempotency-Key", "k").json(body.clone());
        let reply = ask.send().await;
        reply.json(201);
        assert_eq!(reply.header("idempotent-replayed").is_some(), n > 0);
    }
    let rest: Vec<u32> = (2..=10).collect();
    api.held("ann", event, &rest).await;
    for _ in 0..LOST {
        api.hold("ann", event, &[11]).await.problem(409, "user_limit");
    }
    let other = api.event(places(3)).await;
    api.held("ann", other, &[1]).await;
}

/// A quota of four granted holds an hour.
const FOUR: &str = r#"[{name="holds_granted",quota=4,window_seconds=3600}]"#;

#[track_caller]
fn over(reply: &Reply) {
    assert_eq!(reply.problem(429, "rate_limit_exceeded")["rule"], "holds_granted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn granted_holds_count_and_refused_ones_do_not() {
    let crowd = Crowd::new(&Place::shared(), 2, FOUR).await;
    let api = &crowd.apis[0];
    let event = api.event(places(20)).await;
    api.held("rival", event, &[20]).await;
    for seat in 1..=4 {
        // The other process may not have taken its refused request back yet: it counts until then.
        for _ in 0..3 {
            eventually("a race is lost", SOON, async || {
                let reply = crowd.any().hold("ann", event, &[20]).await;
                match reply.status {
                    429 => over(&reply),
                    _ => drop(reply.problem(409, "seats_unavailable")),
                }
                reply.status == 409
            })
            .await;
        }
        let mut held = None;
        eventually("a refused hold is taken back", SOON, async || {
            let reply = crowd.any().hold("ann", event, &[seat]).await;
            held = (reply.status == 201).then(|| reply.json(201));
            held.is_some()
        })
        .await;
        cancel(api, "ann", &held.unwrap()).await;
    }
    // Four were granted; giving them up changes nothing, in any process.
    for api in &crowd.apis {
        over(&api.hold("ann", event, &[5]).await);
    }
    api.held("bob", event, &[5]).await;
}

/// Many holds at once over several processes are granted the quota exactly, once refused ones are
/// taken back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn granted_holds_are_exact_over_processes() {
    let crowd = Crowd::new(&Place::shared(), 3, FOUR).await;
    let event = crowd.apis[0].event(places(200)).await;
    let rest: Vec<u32> = (191..=200).collect();
    crowd.apis[0].held("rival", event, &rest).await;
    let mut granted = 0;
    for round in 0..5_u32 {
        let clients: Vec<Client> = (0..12).map(|_| crowd.any()).collect();
        let holds = clients.iter().zip(0..).map(async |(client, n)| {
            // Half of them are for seats already held.
            let seat = if n % 2 == 0 { 1 + round * 12 + n } else { 191 + n % 10 };
            client.hold("ann", event, &[seat]).await
        });
        for reply in join_all(holds).await {
            match reply.status {
                201 => granted += 1,
                409 => {}
                _ => over(&reply),
            }
        }
        assert!(granted <= 4, "{granted} granted");
    }
    let mut seat = 100;
    eventually("the whole quota is granted", SOON, async || {
        seat += 1;
        let reply = crowd.any().hold("ann", event, &[seat]).await;
        granted += usize::from(reply.status == 201);
        assert!(granted <= 4, "{granted} granted");
        granted == 4
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strict_profile_enforces_ten_attempts_an_hour() {
    let api = Api::program(&Place::shared(), &[EACH, ("HOLDFAST_PROFILE", "strict")]).await;
    let event = api.post("/api/v1/events").json(places(10)).header(BROWSER.0, BROWSER.1);
    let event = event.send().await.json(201)["id"].as_u64().unwrap();
    let body = json!({ "event_id": event, "quantity": 10 });
    let hold = |user: &str| {
        exchange(api.post(BOOKINGS).user(user).header(BROWSER.0, BROWSER.1).json(body.clone()))
    };
    assert_eq!(hold("rival").await.reply.status, 201);
    let mut all = Vec::new();
    for _ in 0..40 {
        all.push(hold("ann").await);
        if all.last().unwrap().reply.status == 429 {
            break;
        }
    }
    let last = &all.last().unwrap().reply;
    assert_eq!(last.problem(429, "rate_limit_exceeded")["rule"], "booking_attempts");
    assert!(all.len() > 10, "{} in {:?}", all.len(), span(&all));
}
