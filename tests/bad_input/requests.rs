//! Wrong paths, queries, methods and headers; and that refused requests leave nothing in Redis.

use std::collections::BTreeSet;

use serde_json::json;

use super::Target;
use crate::support::api::Place;
use crate::support::servers::{Flavor, Server, available, private_redis, shared_mongodb};

const BOOKING: &str = "/api/v1/bookings/{booking_id}";
const EVENT: &str = "/api/v1/events/{event_id}";

#[tokio::test]
async fn malformed_id_is_400_and_unknown_id_404() {
    let target = Target::new(&Place::shared()).await;
    let unknown = [
        ("events", "0"),
        ("events", "4294967295"),
        ("events", "4294967296"),
        ("events", "99999999999999999999999999"),
        // A well-formed id of a booking that does not exist.
        ("bookings", "019b3c5e-0a4c-8f00-8000-000040e1f2a3"),
    ];
    for (kind, id) in unknown {
        let route = if kind == "events" { EVENT } else { BOOKING };
        let reply = target.api.get(&format!("/api/v1/{kind}/{id}")).user("ann").send().await;
        let problem = target.documented("GET", route, &reply);
        assert_eq!(reply.status, 404, "{id}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains("GET /api/v1/"), "{problem}");
    }
    let no_ids = [
        ("events", "x"),
        ("events", "-1"),
        ("events", "1.5"),
        ("events", "1e3"),
        ("events", "%31%00"),
        ("events", "%ff"),
        ("events", "١"),
        ("bookings", "1"),
        ("bookings", "not-a-uuid"),
        ("bookings", "019b3c5e-0a4c-8f00-8000-000040e1f2a"),
        ("bookings", "67e55044-10b1-426f-9247-bb680e5fe0c8"),
        ("bookings", "00000000-0000-0000-0000-000000000000"),
        ("bookings", "%ff%fe"),
    ];
    for (kind, id) in no_ids {
        let route = if kind == "events" { EVENT } else { BOOKING };
        let reply = target.api.get(&format!("/api/v1/{kind}/{id}")).user("ann").send().await;
        let problem = target.documented("GET", route, &reply);
        assert_eq!(reply.status, 400, "{id}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains("must be"), "{problem}");
    }
    target.api.stop().await;
}

#[tokio::test]
async fn wrong_routes_methods_and_queries_are_refused() {
    let target = Target::new(&Place::shared()).await;
    let api = &target.api;
    for path in ["/nothing", "/api/v1", "/api/v1/events/1/nothing", "/api/v2/events", "//", "/%00"]
    {
        let problem = api.get(path).send().await.problem(404, "route_unknown");
        assert!(problem["detail"].as_str().unwrap().contains("/openapi.json"), "{path}");
    }
    for (method, path) in [
        ("PUT", "/api/v1/bookings"),
        ("DELETE", "/api/v1/events/1"),
        ("PATCH", "/api/v1/bookings"),
        ("GET", "/api/v1/bookings/x/confirm"),
        ("TRACE", "/health"),
        ("OPTIONS", "/api/v1/events"),
        ("POST", "/metrics"),
    ] {
        let reply = api.ask(method.parse().unwrap(), path).send().await;
        let problem = reply.problem(405, "method_not_allowed");
        let allowed = reply.header("allow").expect("Allow").to_owned();
        assert!(
            problem["detail"].as_str().unwrap().contains(&format!("use {allowed}")),
            "{problem}"
        );
    }
    let queries = [
        ("/api/v1/bookings", "page=0"),
        ("/api/v1/bookings", "page=1e3"),
        ("/api/v1/bookings", "page=99999999999999999999"),
        ("/api/v1/bookings", "page_size=1000"),
        ("/api/v1/bookings", "page=1&page=2"),
        ("/api/v1/bookings", "user_id="),
        ("/api/v1/bookings", "user_id=%09"),
        ("/api/v1/events", "page_size=-1"),
    ];
    for (path, query) in queries {
        let user = if query.starts_with("user_id") { "" } else { "user_id=ann&" };
        let reply = api.get(&format!("{path}?{user}{query}")).send().await;
        let problem = target.documented("GET", path, &reply);
        assert_eq!(problem["error"], "invalid_parameter", "{query}");
        assert!(problem["parameter"].is_string(), "{problem}");
    }
    let long = "u".repeat(129);
    let users = [("X-User-Id", long.as_str()), ("X-User-Id", ""), ("X-User-Id", "a\tb")];
    for (name, value) in users {
        let reply = api.get("/api/v1/bookings").header(name, value).send().await;
        reply.problem(400, "invalid_parameter");
    }
    target.api.stop().await;
}

#[tokio::test]
async fn large_heads_are_refused() {
    let target = Target::new(&Place::shared()).await;
    let heavy = target.api.get("/health/live").header("X-Heavy", &"x".repeat(17 << 10));
    let problem = heavy.send().await.problem(431, "headers_too_large");
    assert!(problem["detail"].as_str().unwrap().contains("16384 are allowed"), "{problem}");
    let long = target.api.get(&format!("/api/v1/events?x={}", "y".repeat(5_000))).send().await;
    let problem = long.problem(414, "uri_too_long");
    assert!(problem["detail"].as_str().unwrap().contains("4096 are allowed"), "{problem}");
    target.api.stop().await;
}

/// All keys of a Redis.
fn keys(redis: &Server) -> BTreeSet<String> {
    redis.list(&["KEYS", "*"]).into_iter().collect()
}

#[tokio::test]
async fn refused_requests_leave_no_key_in_redis() {
    let flavor = if available(Flavor::Redis) { Flavor::Redis } else { Flavor::Valkey };
    let redis = private_redis(flavor);
    let target = Target::new(&Place::new(&redis, shared_mongodb())).await;
    let before = keys(&redis);
    assert!(before.iter().any(|key| key.contains(":seats")), "{before:?}");
    let (api, event) = (&target.api, target.event);
    let other = "019b3c5e-0a4c-8f00-8000-000040e1f2a3";
    for (event, seats, status) in [
        (4_000_000_000, json!([1]), 404),
        (event, json!([13]), 422),
        (event, json!([]), 422),
        (event, json!([1, 1]), 422),
        (event, json!([12]), 409),
    ] {
        let body = json!({ "event_id": event, "seat_ids": seats });
        for key in ["", "k"] {
            let ask = api.post("/api/v1/bookings").user("bob").json(body.clone());
            let ask = if key.is_empty() { ask } else { ask.header("Idempotency-Key", key) };
            assert_eq!(ask.send().await.status, status, "{body}");
        }
    }
    for id in [other, &target.booking] {
        for verb in ["confirm", "extend", "cancel"] {
            let path = format!("/api/v1/bookings/{id}/{verb}");
            api.post(&path).user("bob").send().await.problem(404, "booking_unknown");
        }
    }
    for path in ["events/4000000000", "events/4000000000/seats", "events/4000000000/availability"] {
        api.get(&format!("/api/v1/{path}")).send().await.problem(404, "event_unknown");
    }
    // Only the counters of limits remain, which belong to callers.
    let after = keys(&redis);
    let callers = after.difference(&before).map(|key| key.split("limits:").last().unwrap());
    assert_eq!(callers.collect::<BTreeSet<_>>(), BTreeSet::from(["address:127.0.0.1", "user:bob"]));
    target.api.stop().await;
}
