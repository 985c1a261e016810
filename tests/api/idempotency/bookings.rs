//! Repeated operations on a booking: it is paid, extended and cancelled once.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::api::{Api, Place, places, shared_api};
use crate::support::eventually;
use crate::support::http::{Client, Reply};

/// Bound of a confirmation on a busy machine.
const CONFIRM: Duration = Duration::from_secs(30);

/// Sends an operation on a booking.
async fn act(
    api: &Client,
    booking: &Value,
    verb: &str,
    body: Value,
    headers: &[(&str, &str)],
) -> Reply {
    let (id, user) = (booking["id"].as_str().unwrap(), booking["user_id"].as_str().unwrap());
    let request = api.post(&format!("/api/v1/bookings/{id}/{verb}")).user(user).json(body);
    headers.iter().fold(request, |request, (name, value)| request.header(name, value)).send().await
}

async fn keyed(api: &Client, booking: &Value, verb: &str, key: &str) -> Reply {
    act(api, booking, verb, json!({}), &[("Idempotency-Key", key)]).await
}

fn is_replay(reply: &Reply) -> bool {
    reply.header("idempotent-replayed") == Some("true")
}

/// How many of these succeeded without being replayed.
fn done(replies: &[Reply]) -> usize {
    replies.iter().filter(|reply| reply.status == 200 && !is_replay(reply)).count()
}

#[tokio::test]
async fn hold_is_extended_once_per_key() {
    let api = shared_api().await;
    let event = api.event(places(10)).await;
    let held = api.held("ann", event, &[1]).await;
    let first = keyed(&api, &held, "extend", "k").await;
    assert!(!is_replay(&first));
    let first = first.json(200);
    assert_eq!(first["version"], 2);
    let ways: [(Value, &[(&str, &str)]); 4] = [
        (json!({}), &[("Idempotency-Key", "k")]),
        (json!({}), &[("Idempotency-Key", "\"k\"")]),
        (json!({}), &[("X-Idempotency-Key", "k")]),
        (json!({ "idempotencyKey": "k" }), &[]),
    ];
    for (body, headers) in ways {
        let again = act(&api, &held, "extend", body, headers).await;
        assert!(is_replay(&again), "{headers:?}");
        let again = again.json(200);
        for name in ["id", "version", "hold_expires_at", "status"] {
            assert_eq!(again[name], first[name], "{name}");
        }
    }
    // Another key is another extension, and so is each request without one.
    let other = keyed(&api, &held, "extend", "l").await;
    assert!(!is_replay(&other));
    assert_eq!(other.json(200)["version"], 3);
    for version in [4, 5] {
        let plain = act(&api, &held, "extend", json!({}), &[]).await;
        assert_eq!((is_replay(&plain), &plain.json(200)["version"]), (false, &json!(version)));
    }
    // A replay returns the booking's current state.
    assert_eq!(keyed(&api, &held, "extend", "k").await.json(200)["version"], 5);
}

#[tokio::test]
async fn key_is_scoped_to_user_booking_and_operation() {
    let api = shared_api().await;
    let event = api.event(places(10)).await;
    let anns = api.held("ann", event, &[1]).await;
    let (bobs, anns_other) =
        (api.held("bob", event, &[2]).await, api.held("ann", event, &[3]).await);
    for booking in [&anns, &bobs, &anns_other] {
        assert!(!is_replay(&keyed(&api, booking, "extend", "k").await));
    }
    let id = anns["id"].as_str().unwrap();
    for verb in ["extend", "cancel", "confirm"] {
        let path = format!("/api/v1/bookings/{id}/{verb}");
        let theirs = api.post(&path).user("bob").header("Idempotency-Key", "k").send().await;
        theirs.problem(404, "booking_unknown");
    }
    assert!(!is_replay(&keyed(&api, &anns, "cancel", "k").await));
}

#[tokio::test]
async fn extension_of_a_cancelled_hold_is_not_replayed() {
    let api = shared_api().await;
    let event = api.event(places(10)).await;
    let held = api.held("ann", event, &[1]).await;
    keyed(&api, &held, "extend", "k").await.json(200);
    api.act("ann", &held, "cancel").await.json(200);
    keyed(&api, &held, "extend", "k").await.problem(409, "booking_cancelled");
}

#[tokio::test]
async fn refused_extension_is_not_replayed() {
    let api = shared_api().await;
    let mut event = places(10);
    (event["hold_ttl_seconds"], event["max_hold_seconds"]) = (60.into(), 60.into());
    let event = api.event(event).await;
    let held = api.held("ann", event, &[1]).await;
    for _ in 0..2 {
        keyed(&api, &held, "extend", "k").await.problem(409, "hold_cap_reached");
    }
}

#[tokio::test]
async fn repeated_cancellation_is_replayed_under_any_key() {
    let api = shared_api().await;
    let event = api.event(places(10)).await;
    let held = api.held("ann", event, &[1]).await;
    let first = keyed(&api, &held, "cancel", "k").await;
    assert!(!is_replay(&first));
    let first = first.json(200);
    let path = format!("/api/v1/bookings/{}", held["id"].as_str().unwrap());
    let deleted = api.ask(reqwest::Method::DELETE, &path).user("ann").send().await;
    let again = [
        keyed(&api, &held, "cancel", "k").await,
        keyed(&api, &held, "cancel", "l").await,
        api.act("ann", &held, "cancel").await,
        deleted,
    ];
    for reply in &again {
        assert!(is_replay(reply));
        let body = reply.json(200);
        for name in ["id", "version", "status", "cancelled_at"] {
            assert_eq!(body[name], first[name], "{name}");
        }
    }
    api.counts_become(event, (10, 0, 0)).await;
}

#[tokio::test]
async fn invalid_keys_are_refused_by_every_operation() {
    let api = shared_api().await;
    let event = api.event(places(10)).await;
    let held = api.held("ann", event, &[1]).await;
    for verb in ["extend", "confirm", "cancel"] {
        keyed(&api, &held, verb, "\"\"").await.problem(400, "invalid_parameter");
        let bad = json!({ "idempotencyKey": 7 });
        act(&api, &held, verb, bad, &[]).await.problem(422, "validation_failed");
    }
    assert_eq!(api.booking("ann", &held).await.json(200)["version"], 1);
}

#[tokio::test]
async fn concurrent_repetitions_act_once() {
    let api = shared_api().await;
    let event = api.event(places(10)).await;
    let held = api.held("ann", event, &[1]).await;
    let extended = join_all((0..12).map(|_| keyed(&api, &held, "extend", "k"))).await;
    assert_eq!((done(&extended), extended.len()), (1, 12));
    assert!(extended.iter().all(|reply| reply.json(200)["version"] == 2));
    let cancelled = join_all((0..12).map(|_| keyed(&api, &held, "cancel", "k"))).await;
    assert_eq!(done(&cancelled), 1);
    assert!(cancelled.iter().all(|reply| reply.json(200)["version"] == 3));
}

/// Repeats a confirmation until the archive has confirmed it; returns the last reply.
async fn confirmed(api: &Client, booking: &Value, method: &str, key: &str) -> Reply {
    let mut last = None;
    eventually("the sale is confirmed", CONFIRM, async || {
        let body = json!({ "payment_method": method });
        let reply = act(api, booking, "confirm", body, &[("Idempotency-Key", key)]).await;
        let done = reply.status == 200;
        if !done && reply.status != 202 {
            reply.problem(409, "in_flight");
        }
        last = Some(reply);
        done
    })
    .await;
    last.unwrap()
}

#[tokio::test]
async fn payment_is_replayed_under_its_key_and_by_other_processes() {
    let place = Place::shared();
    let _worker = place.worker();
    let api = Api::program(&place, &[]).await;
    let event = api.event(places(10)).await;
    let held = api.held("ann", event, &[1, 2]).await;
    let first = confirmed(&api, &held, "card_ok", "k").await.json(200);
    let extended = keyed(&api, &held, "extend", "e").await;
    extended.problem(409, "booking_confirmed");
    drop(api);

    // Another process, as after a restart.
    let api = Api::program(&place, &[]).await;
    let again = confirmed(&api, &held, "card_ok", "k").await;
    assert!(is_replay(&again));
    let again = again.json(200);
    assert_eq!(again["receipt"].to_string(), first["receipt"].to_string());
    let other = [
        json!({ "payment_method": "card_other" }),
        json!({ "payment_method": "card_ok", "amount": 200 }),
    ];
    for body in other {
        let reused = act(&api, &held, "confirm", body.clone(), &[("Idempotency-Key", "k")]).await;
        reused.problem(422, "idempotency_key_reused");
        // Under another key, or none, the booking answers.
        for headers in [&[("Idempotency-Key", "l")][..], &[]] {
            let reply = act(&api, &held, "confirm", body.clone(), headers).await;
            assert!(is_replay(&reply));
            assert_eq!(reply.json(200)["receipt"], first["receipt"]);
        }
    }
}

#[tokio::test]
async fn extension_is_replayed_by_other_processes() {
    let place = Place::shared();
    let api = Api::program(&place, &[]).await;
    let event = api.event(places(10)).await;
    let held = api.held("ann", event, &[1]).await;
    let first = keyed(&api, &held, "extend", "k").await.json(200);
    drop(api);
    let api = Api::program(&place, &[]).await;
    let again = keyed(&api, &held, "extend", "k").await;
    assert!(is_replay(&again));
    assert_eq!(again.json(200)["hold_expires_at"], first["hold_expires_at"]);
}

#[tokio::test]
async fn lease_of_a_crashed_confirmation_lapses() {
    const LEASE_MS: i64 = 3_000;
    let place = Place::shared();
    let _worker = place.worker();
    let api = Api::program(&place, &[]).await;
    let event = api.event(places(10)).await;
    let held = api.held("ann", event, &[1]).await;
    // A process that began to confirm, and died before it charged.
    let (engine, archive) = place.services().await;
    let known = archive.event(holdfast::domain::EventId(event as u32)).await.unwrap().unwrap();
    let booking = held["id"].as_str().unwrap().parse().unwrap();
    let user = "ann".parse().unwrap();
    engine.confirm_begin(&known, booking, &user, "dead", LEASE_MS, 10).await.unwrap();
    for verb in ["confirm", "extend", "cancel"] {
        let problem = keyed(&api, &held, verb, "k").await.problem(409, "in_flight");
        assert_eq!(problem["detail"], "Operation in progress, please wait");
    }
    let sold = confirmed(&api, &held, "card_ok", "k").await.json(200);
    assert_eq!(sold["status"], "CONFIRMED");
}
