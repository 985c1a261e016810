//! Health, metrics and the OpenAPI document.

use std::collections::BTreeSet;

use holdfast::config::Config;
use serde_json::{Value, json};

use super::names;
use crate::support::api::{Api, Place, places, shared_api};
use crate::support::eventually;

#[tokio::test]
async fn health_has_the_fields_of_each_probe() {
    let api = shared_api().await;
    let live = api.get("/health/live").send().await.json(200);
    assert_eq!(live, json!({ "status": "ok" }));
    let is_warm = async || api.get("/health/ready").send().await.status == 200;
    eventually("it is warm", std::time::Duration::from_secs(60), is_warm).await;
    for path in ["/health", "/health/ready"] {
        let reply = api.get(path).send().await;
        let body = reply.json(200);
        assert_eq!(
            names(&body),
            ["checks", "circuit_breakers", "service", "status", "uptime_seconds", "version"]
        );
        assert_eq!((&body["status"], &body["service"]), (&json!("ok"), &json!("holdfast-api")));
        let checks = json!({ "redis": "ok", "mongodb": "ok", "live": "ok", "tasks": "ok" });
        assert_eq!(body["checks"], checks);
        assert_eq!(reply.header("cache-control"), Some("no-store"));
    }
}

#[tokio::test]
async fn metrics_count_bookings_and_requests() {
    // Without a view, every request reaches Redis.
    let config = Config { live_seats_max: 0, ..Place::shared().config() };
    let api = Api::here(config).await;
    let event = api.event(places(10)).await;
    let booking = api.held("ann", event, &[1]).await;
    api.held("ann", event, &[1]).await;
    api.hold("bob", event, &[1, 2]).await.problem(409, "seats_unavailable");
    api.act("ann", &booking, "cancel").await.json(200);
    let expected = [
        ("booking_attempts_total", 3.0),
        ("booking_success_total", 2.0),
        ("booking_conflicts_total", 1.0),
        ("bookings_created_total", 1.0),
        ("bookings_cancelled_total", 1.0),
        ("bookings_confirmed_total", 0.0),
        ("bookings_expired_total", 0.0),
        ("holdfast_problems_total", 1.0),
        ("holdfast_panics_total", 0.0),
        ("holdfast_redis_in_flight", 0.0),
        // This request itself.
        ("holdfast_http_in_flight", 1.0),
    ];
    for (name, value) in expected {
        assert_eq!(api.metric(name).await, value, "{name}");
    }
    let text = api.get("/metrics").send().await;
    assert!(text.header("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
    for line in [
        r#"http_requests_total{method="POST",route="/api/v1/bookings",status="409"} 1"#,
        r#"http_request_duration_seconds_count{method="POST",route="/api/v1/bookings"} 3"#,
        r#"holdfast_script_duration_seconds_count{script="hold"} 3"#,
        r#"holdfast_script_replies_total{code="seats_unavailable",script="hold"} 1"#,
        r#"holdfast_problems_total{error="seats_unavailable"} 1"#,
        "process_open_fds",
    ] {
        assert!(text.text().contains(line), "{line}");
    }
    api.stop().await;
}

#[tokio::test]
async fn unknown_methods_and_paths_are_no_labels() {
    let api = Api::here(Place::shared().config()).await;
    let invented: reqwest::Method = "BREW".parse().unwrap();
    api.ask(invented, "/api/v1/bookings").send().await.problem(405, "method_not_allowed");
    api.get("/coffee/17").send().await.problem(404, "route_unknown");
    let text = api.get("/metrics").send().await.text();
    assert!(text.contains(r#"method="*",route="unmatched",status="404"} 1"#));
    assert!(!text.contains("BREW") && !text.contains("coffee"));
    api.stop().await;
}

#[tokio::test]
async fn document_describes_every_route() {
    let api = shared_api().await;
    let document = api.get("/openapi.json").send().await.json(200);
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let id = "019b3c5e-0a4c-8f00-8000-000040e1f2a3";
    let page = api.get("/").send().await.text();
    let script = page.split("/assets/").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let mut routes = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        let path = path.replace("{event_id}", "4000000000").replace("{booking_id}", id);
        let path = path.replace("{letter_id}", "3:1-0");
        let file = if path.starts_with("/assets") { script.as_str() } else { "swagger-ui.css" };
        let path = path.replace("{file}", file).replace("{page}", "bookings");
        for (method, operation) in item.as_object().unwrap() {
            routes += 1;
            assert!(operation["summary"].is_string(), "{method} {path} has a summary");
            let method_sent: reqwest::Method = method.to_uppercase().parse().unwrap();
            let reply = api.ask(method_sent, &path).user("ann").send().await;
            // The router has it, and its status is documented.
            let documented = operation["responses"].as_object().unwrap();
            let status = reply.status.to_string();
            assert!(documented.contains_key(&status), "{method} {path}: {status}");
            assert!(
                reply.status < 400 || reply.any_problem()["error"] != "route_unknown",
                "{path}"
            );
        }
    }
    assert_eq!(routes, 62, "update the number with the list of routes");
}

#[tokio::test]
async fn documentation_loads_nothing_from_other_sites() {
    let api = shared_api().await;
    let moved = api.get("/docs").send().await;
    assert_eq!((moved.status, moved.header("location")), (308, Some("/docs/")));
    let page = api.get("/docs/").send().await;
    assert!(page.header("content-type").unwrap().starts_with("text/html"));
    let mut loaded = BTreeSet::new();
    for attribute in ["src=\"", "href=\""] {
        for text in page.text().split(attribute).skip(1) {
            let address = text.split('"').next().unwrap();
            assert!(!address.contains("//"), "{address} is on another site");
            loaded.insert(address.trim_start_matches("./").to_owned());
        }
    }
    assert!(loaded.len() >= 5, "{loaded:?}");
    for file in loaded.iter().filter(|file| file.contains('.')) {
        let reply = api.get(&format!("/docs/{file}")).send().await;
        assert!(reply.status == 200 && !reply.bytes.is_empty(), "{file}: {}", reply.status);
    }
    let initializer = api.get("/docs/swagger-initializer.js").send().await.text();
    assert!(
        initializer.contains("/openapi.json") && !initializer.contains("http"),
        "{initializer}"
    );
    api.get("/docs/nothing.js").send().await.problem(404, "route_unknown");
}

#[tokio::test]
async fn pages_load_their_files_compressed_and_cached() {
    let api = shared_api().await;
    for page in ["/", "/events/1", "/console", "/console/bookings/1"] {
        let reply = api.get(page).send().await;
        assert_eq!(
            (reply.status, reply.header("cache-control")),
            (200, Some("no-cache")),
            "{page}"
        );
        let text = reply.text();
        let scripts: Vec<&str> = text.split("src=\"").skip(1).collect();
        assert!(scripts.len() >= 2, "{text}");
        for script in scripts.iter().map(|rest| rest.split('"').next().unwrap()) {
            let plain = api.get(script).send().await;
            assert_eq!(plain.status, 200, "{script}");
            let content_type = plain.header("content-type");
            assert_eq!(content_type, Some("text/javascript; charset=utf-8"), "{script}");
            let tag = plain.header("etag").unwrap();
            let cached = api.get(script).header("If-None-Match", tag).send().await;
            assert_eq!((cached.status, cached.bytes.len()), (304, 0), "{script}");
            let gzip = api.get(script).header("Accept-Encoding", "gzip").send().await;
            assert_eq!(gzip.header("content-encoding"), Some("gzip"), "{script}");
            assert!(gzip.bytes.len() < plain.bytes.len(), "{script}");
            let is_hashed = script.starts_with("/assets/");
            let is_kept =
                gzip.header("cache-control").is_some_and(|kept| kept.contains("immutable"));
            assert_eq!(is_kept, is_hashed, "{script}");
        }
    }
    api.get("/assets/nothing.js").send().await.problem(404, "route_unknown");
}

#[tokio::test]
async fn trace_of_the_client_is_continued() {
    let api = shared_api().await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let header = format!("00-{trace}-00f067aa0ba902b7-01");
    let reply = api.get("/api/v1/events/4000000000").header("traceparent", &header).send().await;
    assert_eq!(reply.problem(404, "event_unknown")["trace_id"], trace);
    let own = api.get("/health/live").send().await;
    assert_eq!(own.header("x-trace-id").map(str::len), Some(32));
}

#[tokio::test]
async fn head_is_get_without_a_body() {
    let api = shared_api().await;
    let head = api.ask(reqwest::Method::HEAD, "/health/live").send().await;
    assert_eq!((head.status, head.bytes.len()), (200, 0));
    let allowed = api.ask(reqwest::Method::PUT, "/api/v1/events/1").send().await;
    allowed.problem(405, "method_not_allowed");
    assert_eq!(allowed.header("allow"), Some("GET, PATCH, HEAD"));
    let problem: Value = api.ask(reqwest::Method::DELETE, "/health").send().await.any_problem();
    assert!(problem["detail"].as_str().unwrap().contains("use GET"), "{problem}");
}
