//! CORS: preflights as Chromium sends them, and the responses that pages of other sites read.

use std::collections::BTreeSet;
use std::time::Duration;

use holdfast::config::Config;
use reqwest::Method;
use serde_json::json;

use crate::support::api::{Api, Place, places, shared_api};
use crate::support::http::{Client, Reply};

const SITE: &str = "https://shop.example";
const EVIL: &str = "https://evil.example";
const SOON: Duration = Duration::from_secs(60);

/// One route of each family that pages may call.
const ROUTES: [(&str, &str); 14] = [
    ("GET", "/api/v1/events"),
    ("POST", "/api/v1/events"),
    ("PATCH", "/api/v1/events/1"),
    ("GET", "/api/v1/events/1/seats?since=1-4"),
    ("GET", "/api/v1/events/1/availability"),
    ("GET", "/api/v1/events/1/stream"),
    ("POST", "/api/v1/events/1/blocks"),
    ("GET", "/api/v1/events/1/sales.csv"),
    ("POST", "/api/v1/bookings"),
    ("POST", "/api/v1/bookings/0190b2a0-0000-7000-8000-000000000000/confirm"),
    ("DELETE", "/api/v1/bookings/0190b2a0-0000-7000-8000-000000000000"),
    ("POST", "/api/v1/events/1/waiting-room/join"),
    ("GET", "/api/v1/events/1/waiting-room/status"),
    ("GET", "/health/ready"),
];

/// Documented headers, and those that tracing and event-stream libraries add.
const SENT: &str = "accept,authorization,baggage,cache-control,content-type,idempotency-key,\
    if-none-match,last-event-id,sentry-trace,traceparent,tracestate,x-admin-key,\
    x-idempotency-key,x-requested-with,x-user-id,x-waiting-room-token";

async fn open_to(origins: &[&str], headers: &[&str]) -> Api {
    let text = |list: &[&str]| list.iter().map(|one| one.to_string()).collect();
    let (cors_origins, cors_extra_headers) = (text(origins), text(headers));
    Api::here(Config { cors_origins, cors_extra_headers, ..Place::shared().config() }).await
}

/// The lines of a preflight in Chromium's order.
async fn preflight(api: &Client, origin: &str, method: &str, path: &str, headers: &str) -> Reply {
    let headers = match headers {
        "" => String::new(),
        headers => format!("Access-Control-Request-Headers: {headers}\r\n"),
    };
    let request = format!(
        "OPTIONS {path} HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive\r\nAccept: */*\r\n\
         Access-Control-Request-Method: {method}\r\n{headers}Origin: {origin}\r\n\
         User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
         Chrome/126.0.0.0 Safari/537.36\r\nSec-Fetch-Mode: cors\r\nSec-Fetch-Site: cross-site\r\n\
         Sec-Fetch-Dest: empty\r\nReferer: {origin}/\r\nAccept-Encoding: gzip, deflate, br\r\n\
         Accept-Language: en-GB,en;q=0.9\r\n\r\n"
    );
    api.raw(request.as_bytes()).await.answer(SOON).await
}

/// The words of a header, in lower case.
fn words(reply: &Reply, name: &str) -> BTreeSet<String> {
    let values = reply.headers.get_all(name).iter();
    let text: Vec<&str> = values.map(|value| value.to_str().unwrap()).collect();
    text.join(",").split(',').map(|word| word.trim().to_ascii_lowercase()).collect()
}

#[tokio::test]
async fn documented_headers_pass_on_every_route() {
    let api = open_to(&[SITE], &[]).await;
    for (method, path) in ROUTES {
        for headers in [SENT, "", "content-type,x-user-id"] {
            let reply = preflight(&api, SITE, method, path, headers).await;
            assert_eq!(reply.status, 200, "{method} {path} {headers}: {}", reply.text());
            assert_eq!(reply.header("access-control-allow-origin"), Some(SITE), "{path}");
            assert!(words(&reply, "access-control-allow-methods").contains(&method.to_lowercase()));
            let allowed = words(&reply, "access-control-allow-headers");
            let requested = headers.split(',').filter(|name| !name.is_empty());
            requested.for_each(|name| assert!(allowed.contains(name), "{name}: {allowed:?}"));
            assert_eq!(reply.header("access-control-allow-credentials"), None);
            assert!(words(&reply, "vary").contains("origin"), "{path}");
        }
    }
    api.stop().await;
}

#[tokio::test]
async fn every_port_of_this_machine_may_be_allowed() {
    let api = open_to(&["http://localhost:*"], &[]).await;
    for origin in ["http://localhost", "http://localhost:5173"] {
        let reply = preflight(&api, origin, "POST", "/api/v1/bookings", "content-type").await;
        assert_eq!(reply.status, 200, "{origin}: {}", reply.text());
        assert_eq!(reply.header("access-control-allow-origin"), Some(origin));
    }
    for origin in
        ["https://localhost:5173", "http://127.0.0.1:5173", "http://localhost:1.evil.example"]
    {
        let refused = preflight(&api, origin, "POST", "/api/v1/bookings", "content-type").await;
        assert_eq!(
            refused.problem(400, "preflight_refused")["setting"],
            "cors_origins",
            "{origin}"
        );
    }
    api.stop().await;
}

#[tokio::test]
async fn refused_preflight_names_the_setting() {
    let api = open_to(&[SITE], &["X-Shop-Version"]).await;
    let path = "/api/v1/bookings";
    let granted = preflight(&api, SITE, "POST", path, "content-type,x-shop-version").await;
    assert_eq!(granted.status, 200, "{}", granted.text());
    assert!(words(&granted, "access-control-allow-headers").contains("x-shop-version"));

    let refused = preflight(&api, SITE, "POST", path, "content-type,x-b,x-shop-version,x-a").await;
    let body = refused.problem(400, "preflight_refused");
    assert_eq!(body["setting"], "cors_extra_headers");
    assert_eq!(body["headers"], json!(["x-b", "x-a"]));
    assert!(body["detail"].as_str().unwrap().contains("cors_extra_headers"), "{body}");
    assert_eq!(refused.header("access-control-allow-origin"), None);
    assert!(words(&refused, "vary").contains("origin"));

    for origin in [EVIL, "null", "https://shop.example.evil", "https://SHOP.example"] {
        let refused = preflight(&api, origin, "POST", path, "content-type").await;
        let body = refused.problem(400, "preflight_refused");
        assert_eq!(body["setting"], "cors_origins", "{origin}");
        assert!(body["detail"].as_str().unwrap().contains(origin), "{body}");
        assert_eq!(refused.header("access-control-allow-origin"), None);
    }
    let body = preflight(&api, SITE, "PUT", path, "").await.problem(400, "preflight_refused");
    assert!(body["detail"].as_str().unwrap().contains("PATCH"), "{body}");
    // A malformed list is refused like an unlisted header.
    preflight(&api, SITE, "POST", path, "content-type,,x y")
        .await
        .problem(400, "preflight_refused");
    api.stop().await;
}

#[tokio::test]
async fn refused_preflight_is_logged_at_debug() {
    let settings = [("HOLDFAST_CORS_ORIGINS", SITE), ("HOLDFAST_LOG_LEVEL", "debug")];
    let api = Api::program(&Place::shared(), &settings).await;
    preflight(&api, SITE, "POST", "/api/v1/bookings", "x-new")
        .await
        .problem(400, "preflight_refused");
    let line =
        api.process().log_line("it is logged", |line| line["message"] == "preflight refused");
    let line = line.await;
    assert_eq!((&line["headers"], &line["level"]), (&json!("x-new"), &json!("debug")), "{line}");
    assert!(line["detail"].as_str().unwrap().contains("cors_extra_headers"), "{line}");
}

#[tokio::test]
async fn preflight_without_any_site_names_the_setting() {
    let api = shared_api().await;
    // Refusals of the compressed route are compressed.
    for (method, path) in ROUTES.into_iter().filter(|(_, path)| !path.ends_with("sales.csv")) {
        let reply = preflight(&api, SITE, method, path, "content-type").await;
        let body = reply.problem(405, "method_not_allowed");
        assert!(body["detail"].as_str().unwrap().contains("cors_origins"), "{body}");
        assert_eq!(reply.header("access-control-allow-origin"), None);
    }
    // Other OPTIONS requests are refused as before.
    let plain = api.ask(Method::OPTIONS, "/api/v1/bookings").send().await;
    let body = plain.problem(405, "method_not_allowed");
    assert!(!body["detail"].as_str().unwrap().contains("cors_origins"), "{body}");
}

#[tokio::test]
async fn every_header_may_be_allowed() {
    let api = open_to(&["*"], &["*"]).await;
    let reply = preflight(&api, SITE, "POST", "/api/v1/bookings", "x-anything,x-else").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
    assert!(words(&reply, "access-control-allow-headers").contains("x-anything"));
    api.stop().await;
}

/// Headers that browsers always expose, and those that concern the connection or the browser itself.
const NOT_EXPOSED: [&str; 16] = [
    "access-control-allow-origin",
    "access-control-expose-headers",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-security-policy",
    "content-type",
    "referrer-policy",
    "sec-websocket-version",
    "transfer-encoding",
    "vary",
    "x-accel-buffering",
    "x-content-type-options",
    "x-frame-options",
    "keep-alive",
];

#[tokio::test]
async fn pages_may_read_every_response_header() {
    let api = open_to(&[SITE], &[]).await;
    let event = api.event(places(4)).await;
    api.held("ann", event, &[1]).await;
    let path = |rest: &str| format!("/api/v1/events/{event}{rest}");
    let hold = json!({ "event_id": event, "seat_ids": [2] });
    let taken = json!({ "event_id": event, "seat_ids": [1] });
    let asks = [
        api.get(&path("/seats")),
        api.get(&path("/seats")).header("Accept", "application/octet-stream"),
        api.get(&path("/seats")).header("Accept-Encoding", "gzip"),
        api.get(&path("/sales.csv")).header("X-Admin-Key", "any"),
        api.post("/api/v1/events").json(places(3)),
        api.post("/api/v1/bookings").user("bob").header("Idempotency-Key", "k").json(hold.clone()),
        api.post("/api/v1/bookings").user("bob").header("Idempotency-Key", "k").json(hold),
        api.post("/api/v1/bookings").user("eve").json(taken),
        api.ask(Method::PATCH, "/api/v1/bookings"),
        api.get("/api/v1/bookings"),
        api.get(&path("/waiting-room/draw")),
        api.get(&format!("/ws/events/{event}")),
        api.get("/no/such/page"),
    ];
    for (n, ask) in asks.into_iter().enumerate() {
        let reply = ask.header("Origin", SITE).send().await;
        assert_eq!(reply.header("access-control-allow-origin"), Some(SITE), "{n}");
        assert!(words(&reply, "vary").contains("origin"), "{n}");
        let shown = words(&reply, "access-control-expose-headers");
        for name in reply.headers.keys() {
            let name = name.as_str();
            assert!(shown.contains(name) || NOT_EXPOSED.contains(&name), "{n}: {name}");
        }
    }
    // A shared cache must not send one site's response to another.
    let plain = api.get(&path("/seats")).send().await;
    let vary = words(&plain, "vary");
    assert!(vary.contains("origin") && vary.contains("accept"), "{vary:?}");
    api.stop().await;
}

#[tokio::test]
async fn pages_of_named_sites_open_streams_and_sockets() {
    let api = open_to(&[SITE], &[]).await;
    let event = api.event(places(4)).await;
    let open = async |origin: &str, path: &str, lines: &str| {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nOrigin: {origin}\r\n{lines}\r\n");
        let mut raw = api.raw(request.as_bytes()).await;
        let is_head = |bytes: &[u8]| bytes.windows(4).any(|four| four == b"\r\n\r\n");
        String::from_utf8_lossy(&raw.until(SOON, is_head).await).to_lowercase()
    };
    let stream = format!("/api/v1/events/{event}/stream");
    let lines = "Accept: text/event-stream\r\nCache-Control: no-cache\r\nLast-Event-ID: 1-1\r\n";
    let head = open(SITE, &stream, lines).await;
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert!(head.contains(&format!("access-control-allow-origin: {SITE}")), "{head}");
    let head = open(EVIL, &stream, lines).await;
    assert!(!head.contains("access-control-allow-origin"), "{head}");

    let socket = format!("/ws/events/{event}");
    let lines = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
    assert!(open(SITE, &socket, lines).await.starts_with("http/1.1 101"));
    let head = open(EVIL, &socket, lines).await;
    assert!(head.starts_with("http/1.1 403"), "{head}");
    api.stop().await;
}
