//! Attempts to read or change another user's booking, or to use admin routes. Each attempt is a row; its
//! response must equal the response for a booking that does not exist.

use std::collections::BTreeMap;

use holdfast::config::Config;
use holdfast::config::values::{Auth, JwtAlgorithm};
use holdfast::domain::{BookingId, EventId};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::api::{Api, Place, places};
use crate::support::http::{Ask, Client, Reply};
use crate::support::servers::{Flavor, private_mongodb, shared_redis};
use crate::support::tokens::{self, AUDIENCE, token};

/// printf %s open-sesame | sha256sum
const SESAME: &str = "d7ecdf25eaf3deba0f2628771dbdd22d4138ab6cf38f91ed02a2ca0dec7c8ab7";

/// An API with tokens and an admin key.
async fn guarded() -> Api {
    Api::here(Config {
        auth: Auth::Jwt,
        jwt_algorithm: JwtAlgorithm::Hs256,
        jwt_key_files: vec![tokens::secret_file(tokens::SECRET).into()],
        jwt_audience: AUDIENCE.into(),
        admin_keys_sha256: vec![format!("ops:{SESAME}").parse().unwrap()],
        ..Place::shared().config()
    })
    .await
}

async fn event(api: &Client) -> u64 {
    let ask = api.post("/api/v1/events").header("X-Admin-Key", "open-sesame");
    ask.json(places(8)).send().await.json(201)["id"].as_u64().unwrap()
}

async fn held(api: &Client, user: &str, event: u64, seat: u32) -> String {
    let body = json!({ "event_id": event, "seat_ids": [seat] });
    let ask = api.post("/api/v1/bookings").token(&token(user)).json(body);
    ask.send().await.json(201)["id"].as_str().unwrap().to_owned()
}

/// All requests about one booking.
const ON_A_BOOKING: [(Method, &str); 6] = [
    (Method::GET, ""),
    (Method::DELETE, ""),
    (Method::POST, "/confirm"),
    (Method::POST, "/pay"),
    (Method::POST, "/extend"),
    (Method::POST, "/cancel"),
];

/// A response without what differs between requests: its trace, its date, and the requested id.
fn shape(reply: &Reply, id: &str) -> (u16, BTreeMap<String, String>, String) {
    let own = ["date", "x-trace-id"];
    let headers = reply
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
    let headers = headers.filter(|(name, _)| !own.contains(&name.as_str())).collect();
    let trace = reply.header("x-trace-id").unwrap();
    (reply.status, headers, reply.text().replace(id, "ID").replace(trace, "TRACE"))
}

#[tokio::test]
async fn booking_of_another_user_looks_absent() {
    let api = guarded().await;
    let event = event(&api).await;
    let hold = held(&api, "ann", event, 1).await;
    let cancelled = held(&api, "ann", event, 2).await;
    let paid = held(&api, "ann", event, 3).await;
    let as_ann =
        |method: &Method, path: String| api.ask(method.clone(), &path).token(&token("ann"));
    let path = |id: &str, rest: &str| format!("/api/v1/bookings/{id}{rest}");
    as_ann(&Method::POST, path(&cancelled, "/cancel")).send().await.json(200);
    // Paid; without a worker it stays unconfirmed.
    as_ann(&Method::POST, path(&paid, "/confirm")).send().await.json(202);
    let absent = BookingId::new(EventId(event as u32), 1_763_700_000_123, 17).to_string();
    // No event has this id.
    let foreign = BookingId::new(EventId(4_000_000_000), 1_763_700_000_123, 17).to_string();
    for (method, rest) in ON_A_BOOKING {
        let ask = |id: &str| api.ask(method.clone(), &path(id, rest)).token(&token("eve"));
        let nothing = ask(&absent).send().await;
        nothing.problem(404, "booking_unknown");
        let expected = shape(&nothing, &absent);
        for id in [&hold, &cancelled, &paid, &foreign] {
            let reply = ask(id).send().await;
            assert_eq!(shape(&reply, id), expected, "{method} {rest}");
        }
        // With an idempotency key, too.
        let keyed = ask(&hold).header("Idempotency-Key", "k").send().await;
        assert_eq!(shape(&keyed, &hold), expected, "{method} {rest} with a key");
    }
    let mine = api.get("/api/v1/bookings").token(&token("eve")).send().await.json(200);
    assert_eq!(mine["total"], 0);
    // None of the attempts changed anything.
    for (id, status) in [(&hold, "HOLD"), (&cancelled, "CANCELLED"), (&paid, "CONFIRMING")] {
        let seen = as_ann(&Method::GET, path(id, "")).send().await.json(200);
        assert_eq!(seen["status"], status, "{seen}");
    }
    api.stop().await;
}

#[tokio::test]
async fn booking_of_another_user_looks_absent_without_archive() {
    let mongodb = private_mongodb();
    let place = Place::new(shared_redis(Flavor::Valkey), &mongodb);
    let api = Api::here(Config { mongodb_timeout_ms: 500, ..place.config() }).await;
    let event = api.event(places(4)).await;
    let booking = api.held("ann", event, &[1]).await;
    let hold = booking["id"].as_str().unwrap();
    let absent = BookingId::new(EventId(event as u32), 1_763_700_000_123, 17).to_string();
    mongodb.freeze();
    for (method, rest) in ON_A_BOOKING {
        for body in [None, Some(json!({ "amount": 1 }))] {
            let shape_of = async |id: &str| {
                let ask = api.ask(method.clone(), &format!("/api/v1/bookings/{id}{rest}"));
                let ask = ask.user("eve");
                let ask = if let Some(body) = &body { ask.json(body.clone()) } else { ask };
                shape(&ask.send().await, id)
            };
            assert_eq!(shape_of(hold).await, shape_of(&absent).await, "{method} {rest} {body:?}");
        }
    }
    mongodb.thaw();
    api.stop().await;
}

#[tokio::test]
async fn headers_do_not_change_the_caller() {
    let api = guarded().await;
    let event = event(&api).await;
    let id = held(&api, "ann", event, 1).await;
    let path = format!("/api/v1/bookings/{id}");
    let eve = || api.get(&path).token(&token("eve"));
    let tries: Vec<(&str, Ask, u16, &str)> = vec![
        ("her name beside my token", eve().user("ann"), 400, "identity_conflict"),
        (
            "her name in the query",
            api.get(&format!("{path}?user_id=ann")).token(&token("eve")),
            400,
            "identity_conflict",
        ),
        (
            "her name, percent-encoded",
            api.get(&format!("{path}?user%5Fid=ann")).token(&token("eve")),
            400,
            "identity_conflict",
        ),
        ("her name and mine", eve().user("eve").user("ann"), 400, "identity_conflict"),
        ("her name alone", api.get(&path).user("ann"), 401, "identity_missing"),
        (
            "her name, from here",
            api.get(&path).user("ann").header("X-Forwarded-For", "127.0.0.1"),
            401,
            "identity_missing",
        ),
        ("another header of hers", eve().header("X-Forwarded-User", "ann"), 404, "booking_unknown"),
        (
            "another method",
            eve().header("X-HTTP-Method-Override", "DELETE"),
            404,
            "booking_unknown",
        ),
        ("another path", eve().header("X-Original-URL", "/api/v1/events"), 404, "booking_unknown"),
        ("a key of mine", eve().header("X-Admin-Key", "open"), 403, "admin_key_wrong"),
        ("an empty key", eve().header("X-Admin-Key", ""), 403, "admin_key_wrong"),
        (
            "a key that is no text",
            eve().header_bytes("X-Admin-Key", b"\xff"),
            403,
            "admin_key_wrong",
        ),
        ("the key's hash", eve().header("X-Admin-Key", SESAME), 403, "admin_key_wrong"),
        (
            "name and hash",
            eve().header("X-Admin-Key", &format!("ops:{SESAME}")),
            403,
            "admin_key_wrong",
        ),
        ("the key as my token", api.get(&path).token("open-sesame"), 401, "token_invalid"),
        ("two tokens", eve().token(&token("ann")), 401, "token_invalid"),
        (
            "her token in the query",
            api.get(&format!("{path}?access_token={}", token("ann"))),
            400,
            "invalid_parameter",
        ),
        (
            "her token in a cookie",
            api.get(&path).header("Cookie", &format!("token={}", token("ann"))),
            401,
            "identity_missing",
        ),
    ];
    for (what, ask, status, error) in tries {
        let reply = ask.send().await;
        assert_eq!(reply.status, status, "{what}: {}", reply.text());
        reply.problem(status, error);
    }
    api.stop().await;
}

#[tokio::test]
async fn admin_routes_refuse_everybody_else() {
    let api = guarded().await;
    let event = event(&api).await;
    let block = json!({ "seat_ids": [1], "reason": "x" });
    let one = format!("/api/v1/events/{event}");
    let routes: [(Method, String, Option<Value>); 6] = [
        (Method::POST, "/api/v1/events".to_owned(), Some(places(1))),
        (Method::PATCH, one.clone(), Some(json!({ "status": "CLOSED" }))),
        (Method::GET, format!("{one}/sales.csv"), None),
        (Method::GET, format!("{one}/blocks"), None),
        (Method::POST, format!("{one}/blocks"), Some(block.clone())),
        (Method::POST, format!("{one}/blocks/release"), Some(block)),
    ];
    let shown: [(&str, &str, &str, u16, &str); 8] = [
        ("nothing", "Accept", "*/*", 401, "admin_key_missing"),
        ("a user's token", "Authorization", "Bearer TOKEN", 403, "admin_key_wrong"),
        ("a wrong key", "X-Admin-Key", "open-sesam", 403, "admin_key_wrong"),
        ("a key and more", "X-Admin-Key", "open-sesame1", 403, "admin_key_wrong"),
        ("its hash", "X-Admin-Key", SESAME, 403, "admin_key_wrong"),
        ("its name", "X-Admin-Key", "ops", 403, "admin_key_wrong"),
        ("an empty one", "X-Admin-Key", "", 403, "admin_key_wrong"),
        ("another scheme", "Authorization", "Basic open-sesame", 401, "admin_key_missing"),
    ];
    for (method, path, body) in &routes {
        for (what, header, value, status, error) in shown {
            let value = value.replace("TOKEN", &token("ann"));
            let ask = api.ask(method.clone(), path).header(header, &value);
            let ask = body.iter().fold(ask, |ask, body| ask.json(body.clone()));
            let reply = ask.send().await;
            assert_eq!(reply.status, status, "{method} {path} with {what}: {}", reply.text());
            reply.problem(status, error);
        }
        // Neither does a forwarded loopback address help.
        let ask = api.ask(method.clone(), path).user("ops").header("X-Forwarded-For", "127.0.0.1");
        ask.send().await.problem(401, "admin_key_missing");
    }
    let after = api.shown(one, |event| event["available_seats"] == 8).await;
    assert_eq!(after["status"], "ON_SALE");
    api.stop().await;
}
