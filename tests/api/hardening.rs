//! Security headers, CORS, and the connection limit of an address.

use std::time::Duration;

use holdfast::config::Config;
use holdfast::config::values::Auth;
use reqwest::Method;
use serde_json::json;

use crate::support::api::{Api, Place, places, shared_api};
use crate::support::eventually;
use crate::support::http::Raw;
use crate::support::tokens::{self, AUDIENCE};

/// Generous: the machine may be busy.
const BOUND: Duration = Duration::from_secs(20);
const SITE: &str = "https://tickets.example";

#[tokio::test]
async fn every_response_has_security_headers() {
    let api = shared_api().await;
    let event = api.event(places(2)).await;
    let held = api.held("ann", event, &[1]).await;
    let booking = format!("/api/v1/bookings/{}", held["id"].as_str().unwrap());
    let seats = format!("/api/v1/events/{event}/seats");
    for (path, status, kept) in [
        ("/", 200, true),
        ("/events/1", 200, true),
        ("/console", 200, true),
        ("/console/bookings/1", 200, true),
        ("/favicon.svg", 200, true),
        ("/assets/nothing.js", 404, false),
        ("/docs/", 200, true),
        ("/docs/swagger-ui.css", 200, true),
        ("/openapi.json", 200, true),
        ("/health/live", 200, true),
        ("/metrics", 200, true),
        ("/api/v1/events", 200, true),
        (seats.as_str(), 200, true),
        (booking.as_str(), 200, false),
        ("/api/v1/bookings", 200, false),
        ("/api/v1/events/1000000", 404, false),
        ("/api/v1/bookings/x", 400, false),
        ("/no/such/page", 404, false),
    ] {
        let reply = api.get(path).user("ann").send().await;
        assert_eq!(reply.status, status, "{path}: {}", reply.text());
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
        ] {
            assert_eq!(reply.header(name), Some(value), "{path} {name}");
        }
        assert_eq!(reply.header("cache-control") != Some("no-store"), kept, "{path}");
        let policy = reply.header("content-security-policy");
        let pages = ["/events/", "/console", "/docs"];
        let is_page = path == "/" || pages.iter().any(|page| path.starts_with(page));
        assert_eq!(policy.is_some(), is_page, "{path}: {policy:?}");
        assert!(policy.is_none_or(|policy| policy.starts_with("default-src 'none'")), "{policy:?}");
    }
    // No page has inline scripts, which the policy forbids.
    for page in ["/", "/events/1", "/console", "/docs/"] {
        let text = api.get(page).send().await.text();
        for script in text.split("<script").skip(1) {
            let inside = script.split_once('>').unwrap().1.split_once("</script>").unwrap().0;
            assert_eq!(inside.trim(), "", "{page}");
        }
    }
}

#[tokio::test]
async fn other_sites_read_nothing_without_cors_origins() {
    let api = shared_api().await;
    let reply = api.get("/api/v1/events").header("Origin", SITE).send().await;
    assert_eq!(reply.header("access-control-allow-origin"), None);
    let preflight = api.ask(Method::OPTIONS, "/api/v1/bookings").header("Origin", SITE);
    let preflight = preflight.header("Access-Control-Request-Method", "POST").send().await;
    preflight.problem(405, "method_not_allowed");
    assert_eq!(preflight.header("access-control-allow-origin"), None);
}

#[tokio::test]
async fn named_sites_read_responses_and_refusals() {
    let config = Config { cors_origins: vec![SITE.into()], ..Place::shared().config() };
    let api = Api::here(config).await;
    let preflight = |origin: &str, headers: &str| {
        let ask = api.ask(Method::OPTIONS, "/api/v1/bookings").header("Origin", origin);
        let ask = ask.header("Access-Control-Request-Method", "POST");
        ask.header("Access-Control-Request-Headers", headers)
    };
    let wanted = "authorization,content-type,idempotency-key,x-user-id,x-waiting-room-token";
    let allowed = preflight(SITE, wanted).send().await;
    assert_eq!(allowed.status, 200, "{}", allowed.text());
    assert_eq!(allowed.header("access-control-allow-origin"), Some(SITE));
    assert!(allowed.header("access-control-allow-methods").unwrap().contains("DELETE"));
    assert!(allowed.header("access-control-allow-headers").unwrap().contains("idempotency-key"));
    assert_eq!(allowed.header("access-control-allow-credentials"), None);
    assert_eq!(allowed.header("x-content-type-options"), Some("nosniff"));
    for refused in [preflight("https://evil.example", wanted), preflight(SITE, "x-evil")] {
        let refused = refused.send().await;
        assert_eq!(refused.status, 400);
        assert_eq!(refused.header("access-control-allow-origin"), None);
    }
    let too_long = "x".repeat(1_000);
    // A response, and refusals of a gate, a handler and the router.
    for (path, user, status) in [
        ("/api/v1/events", "ann", 200),
        ("/api/v1/bookings", too_long.as_str(), 400),
        ("/api/v1/bookings/x", "ann", 400),
        ("/no/such/page", "ann", 404),
    ] {
        let ask = || api.get(path).user(user);
        let reply = ask().header("Origin", SITE).send().await;
        assert_eq!(reply.status, status, "{path}");
        assert_eq!(reply.header("access-control-allow-origin"), Some(SITE), "{path}");
        let shown = reply.header("access-control-expose-headers").unwrap().to_lowercase();
        for name in ["x-trace-id", "retry-after", "ratelimit", "etag", "idempotent-replayed"] {
            assert!(shown.contains(name), "{name}: {shown}");
        }
        assert!(reply.header("vary").unwrap().to_lowercase().contains("origin"), "{path}");
        let other = ask().header("Origin", "https://evil.example").send().await;
        assert_eq!(other.header("access-control-allow-origin"), None, "{path}");
    }
    api.stop().await;
}

#[tokio::test]
async fn every_site_may_be_allowed() {
    let config = Config { cors_origins: vec!["*".into()], ..Place::shared().config() };
    let api = Api::here(config).await;
    let reply = api.get("/api/v1/events").header("Origin", SITE).send().await;
    assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
    api.stop().await;
}

const LIVE: &[u8] = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n";

async fn live(api: &Api) -> Raw {
    api.raw(LIVE).await
}

#[tokio::test]
async fn connections_per_address_are_limited() {
    // With tokens, loopback addresses are not exempt.
    let api = Api::here(Config {
        auth: Auth::Jwt,
        jwt_key_files: vec![tokens::secret_file(tokens::SECRET).into()],
        jwt_audience: AUDIENCE.into(),
        http_connections_per_address_max: 3,
        ..Place::shared().config()
    })
    .await;
    let mut kept = Vec::new();
    for _ in 0..3 {
        let mut connection = live(&api).await;
        assert_eq!(connection.answer(BOUND).await.status, 200);
        kept.push(connection);
    }
    // Up to twice as many connections are answered 429.
    let mut over = Vec::new();
    for _ in 0..3 {
        let mut connection = api.raw(b"").await;
        connection.send(LIVE).await;
        let refused = connection.answer(BOUND).await;
        let body = refused.problem(429, "too_many_connections");
        assert!(body["detail"].as_str().unwrap().contains("3 connections"), "{body}");
        assert_eq!(refused.header("retry-after"), Some("1"));
        assert_eq!(refused.header("connection"), Some("close"));
        assert!(connection.closes(BOUND).await);
        over.push(connection);
    }
    // The first connections are still served.
    for connection in &mut kept {
        connection.send(LIVE).await;
        assert_eq!(connection.answer(BOUND).await.status, 200);
    }
    // Idle connections count, too: above twice as many they are closed unread.
    let mut idle = Vec::new();
    for _ in 0..3 {
        idle.push(api.raw(b"").await);
    }
    eventually("one too many is closed", BOUND, async || {
        let mut one = api.raw(b"").await;
        one.closes(Duration::from_millis(200)).await
    })
    .await;
    // Closed connections make room.
    drop((kept, over, idle));
    // The server notices each close by itself; until then a new connection is refused or closed.
    let mut stays = None;
    eventually("there is room again", BOUND, async || {
        let mut connection = api.raw(b"").await;
        connection.try_send(LIVE).await.is_ok()
            && connection.answer_unless_closed(BOUND).await.is_some_and(|answer| {
                stays = Some(connection);
                answer.status == 200
            })
    })
    .await;
    let refused = r#"holdfast_connections_refused_total{how="answered"}"#;
    let closed = r#"holdfast_connections_refused_total{how="closed"}"#;
    let mut metrics = stays.expect("eventually() sets it");
    metrics.send(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let metrics = metrics.answer(BOUND).await;
    assert!(metrics.labelled_metric(refused) >= 3.0);
    assert!(metrics.labelled_metric(closed) >= 1.0);
    api.stop().await;
}

#[tokio::test]
async fn trusted_loopback_is_not_limited() {
    let config = Config { http_connections_per_address_max: 1, ..Place::shared().config() };
    let api = Api::here(config).await;
    let mut kept = Vec::new();
    for _ in 0..5 {
        let mut connection = live(&api).await;
        assert_eq!(connection.answer(BOUND).await.json(200), json!({ "status": "ok" }));
        kept.push(connection);
    }
    api.stop().await;
}
