//! Admin keys, admins that act for users, and the audit record.

use std::time::{Duration, Instant};

use holdfast::config::Config;
use holdfast::sale::AuditEntry;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::api::{Api, Place, places, shared_api};
use crate::support::eventually;
use crate::support::http::{Ask, Client, Reply};
use crate::support::servers::{Flavor, private_mongodb, shared_redis};

/// printf %s open-sesame | sha256sum
const SESAME: &str = "ops:d7ecdf25eaf3deba0f2628771dbdd22d4138ab6cf38f91ed02a2ca0dec7c8ab7";

async fn create(api: &Client, headers: &[(&str, &str)]) -> Reply {
    let ask = api.post("/api/v1/events").json(places(1));
    headers.iter().fold(ask, |ask, (name, value)| ask.header(name, value)).send().await
}

#[tokio::test]
async fn configured_admin_key_is_required() {
    let keys = vec![SESAME.parse().unwrap()];
    let config = Config { admin_keys_sha256: keys, ..Place::shared().config() };
    let api = Api::here(config).await;
    let refused = create(&api, &[]).await;
    refused.problem(401, "admin_key_missing");
    assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
    for wrong in [("X-Admin-Key", "open"), ("Authorization", "Bearer open")] {
        create(&api, &[wrong]).await.problem(403, "admin_key_wrong");
    }
    // Another scheme has no key.
    create(&api, &[("Authorization", "Basic open-sesame")]).await.problem(401, "admin_key_missing");
    for right in [("X-Admin-Key", "open-sesame"), ("Authorization", "Bearer open-sesame")] {
        create(&api, &[right]).await.json(201);
    }
    let patch = async |key: &str, body: Value| {
        let ask = api.ask(reqwest::Method::PATCH, "/api/v1/events/1").json(body);
        ask.header("X-Admin-Key", key).send().await
    };
    patch("x", json!({ "status": "PAUSED" })).await.problem(403, "admin_key_wrong");
    assert_eq!(patch("open-sesame", json!({ "status": "PAUSED" })).await.json(200)["id"], 1);
    // Buyers need no key.
    api.get("/api/v1/events/1").send().await.json(200);
    let refused = r#"holdfast_gate_verdicts_total{gate="admin",verdict="refused"}"#;
    assert_eq!(api.labelled_metric(refused).await, 5.0);
    api.stop().await;
}

#[tokio::test]
async fn forwarded_request_is_not_local_without_admin_keys() {
    let api = shared_api().await;
    create(&api, &[]).await.json(201);
    for forwarded in [("X-Forwarded-For", "127.0.0.1"), ("Forwarded", "for=127.0.0.1")] {
        create(&api, &[forwarded]).await.problem(401, "admin_key_missing");
    }
}

/// printf %s shut-sesame | sha256sum
const SHUT: &str = "desk:1f2767a6defa352d6c9f8594251dd995f710ab3279cc75cc6210d430e8f0678f";

/// The recorded acts of a place, oldest first.
async fn acts(place: &Place) -> Vec<AuditEntry> {
    let (_, archive) = place.services().await;
    let mut acts = archive.audit_entries(None, None, 100).await.unwrap();
    acts.reverse();
    acts
}

#[tokio::test]
async fn admin_acts_for_users_are_recorded() {
    let place = Place::shared();
    let keys = vec![SESAME.parse().unwrap(), SHUT.parse().unwrap()];
    let api = Api::here(Config { admin_keys_sha256: keys, ..place.config() }).await;
    let ops = |ask: Ask| ask.header("X-Admin-Key", "open-sesame").send();
    let desk = |ask: Ask| ask.header("X-Admin-Key", "shut-sesame").send();
    let event = ops(api.post("/api/v1/events").json(places(4))).await.json(201)["id"].clone();
    let event = event.as_u64().unwrap();
    let held = api.held("ann", event, &[1]).await;
    let id = held["id"].as_str().unwrap();
    let path = format!("/api/v1/bookings/{id}");
    let seen = desk(api.get(&path)).await.json(200);
    assert_eq!((&seen["id"], &seen["user_id"]), (&held["id"], &json!("ann")));
    // A user named beside the key does not matter: a booking has one owner.
    assert_eq!(desk(api.get(&path).user("bob")).await.json(200)["user_id"], "ann");
    desk(api.post(&format!("{path}/extend"))).await.json(200);
    let cancelled = desk(api.post(&format!("{path}/cancel"))).await.json(200);
    assert_eq!(cancelled["status"], "CANCELLED");
    assert_eq!(api.booking("ann", &held).await.json(200)["status"], "CANCELLED");

    let body = json!({ "event_id": event, "seat_ids": [2] });
    let hold = || api.post("/api/v1/bookings").json(body.clone());
    let refused = desk(hold()).await.problem(401, "identity_missing");
    assert!(refused["detail"].as_str().unwrap().contains("for which user"), "{refused}");
    assert_eq!(desk(hold().user("bob")).await.json(201)["user_id"], "bob");
    desk(api.get("/api/v1/bookings?user_id=ann")).await.json(200);
    desk(api.get("/api/v1/bookings")).await.problem(401, "identity_missing");
    let absent = holdfast::domain::BookingId::new(holdfast::domain::EventId(event as u32), 1, 2);
    desk(api.get(&format!("/api/v1/bookings/{absent}"))).await.problem(404, "booking_unknown");
    let change = api.ask(Method::PATCH, &format!("/api/v1/events/{event}"));
    ops(change.json(json!({ "status": "PAUSED" }))).await.json(200);
    ops(api.get(&format!("/api/v1/events/{event}/blocks"))).await.json(200);
    let blocks = api.post(&format!("/api/v1/events/{event}/blocks"));
    ops(blocks.json(json!({ "seat_ids": [2], "reason": "press" })))
        .await
        .problem(409, "seats_unavailable");
    let export = ops(api.get(&format!("/api/v1/events/{event}/sales.csv"))).await;
    assert_eq!(export.status, 200);

    // Requests that are not admin acts, and one with a wrong key, are not recorded.
    api.get(&path).user("ann").send().await.json(200);
    api.get(&path).header("X-Admin-Key", "x").send().await.problem(403, "admin_key_wrong");
    let (booking, of_event) = (format!("booking {id}"), format!("event {event}"));
    let none = format!("booking {absent}");
    let expected = [
        ("ops", "event_create", "", "ok"),
        ("desk", "booking_read", &booking, "ok"),
        ("desk", "booking_read", &booking, "ok"),
        ("desk", "booking_extend", &booking, "ok"),
        ("desk", "booking_cancel", &booking, "ok"),
        ("desk", "booking_hold", &of_event, "ok"),
        ("desk", "booking_list", "", "ok"),
        ("desk", "booking_read", &none, "booking_unknown"),
        ("ops", "event_change", &of_event, "ok"),
        ("ops", "blocks_list", &of_event, "ok"),
        ("ops", "seats_block", &of_event, "seats_unavailable"),
        ("ops", "sales_export", &of_event, "ok"),
    ];
    let acts = acts(&place).await;
    let recorded = acts.iter().map(|act| {
        let result = act.result.as_deref().unwrap_or("-");
        (act.who.as_str(), act.act.as_str(), act.target.as_str(), result)
    });
    assert_eq!(recorded.collect::<Vec<_>>(), expected);
    assert_eq!(acts[5].detail, "for user bob: seats 2");
    assert_eq!(acts[8].detail, r#"{"status":"PAUSED"}"#);
    assert_eq!(acts[10].detail, "\"press\": seats 2");
    assert_eq!(Some(acts[11].trace_id.as_str()), export.header("x-trace-id"));
    api.stop().await;
}

#[tokio::test]
async fn local_admin_without_keys_may_act_for_users() {
    let api = shared_api().await;
    let event = api.event(places(2)).await;
    let held = api.held("ann", event, &[1]).await;
    let path = format!("/api/v1/bookings/{}", held["id"].as_str().unwrap());
    let ask = || api.get(&path).header("X-Admin-Key", "any");
    ask().send().await.json(200);
    let forwarded = ask().header("X-Forwarded-For", "127.0.0.1").send().await;
    forwarded.problem(401, "admin_key_missing");
    api.get(&path).user("bob").send().await.problem(404, "booking_unknown");
}

#[tokio::test]
async fn admin_act_that_cannot_be_recorded_is_not_done() {
    let mongodb = private_mongodb();
    let place = Place::new(shared_redis(Flavor::Valkey), &mongodb);
    let config = Config { mongodb_timeout_ms: 2_000, ..place.config() };
    let api = Api::here(config).await;
    let event = api.event(places(4)).await;
    let held = api.held("ann", event, &[1]).await;
    let cancel = format!("/api/v1/bookings/{}/cancel", held["id"].as_str().unwrap());
    let blocks = format!("/api/v1/events/{event}/blocks");
    let block = || api.post(&blocks).json(json!({ "seat_ids": [2], "reason": "press" }));
    mongodb.freeze();
    for _ in 0..2 {
        let refused = block().send().await;
        let body = refused.problem(503, "service_unavailable");
        assert!(body["detail"].as_str().unwrap().contains("nothing was changed"), "{body}");
        assert!(refused.header("retry-after").is_some());
        let as_admin = api.post(&cancel).header("X-Admin-Key", "any").send().await;
        as_admin.problem(503, "service_unavailable");
    }
    mongodb.thaw();
    let began = Instant::now();
    eventually("acts are recorded and done again", Duration::from_secs(30), async || {
        block().send().await.status == 200
    })
    .await;
    println!("after {:?}", began.elapsed());
    assert_eq!(api.booking("ann", &held).await.json(200)["status"], "HOLD");
    api.stop().await;
}
