//! A sale as its metrics show it: the event's seats and takings, requests, caches, sockets, and the worker's part.

use holdfast::config::Config;
use reqwest::Method;
use serde_json::json;

use super::*;

/// The price of a seat of [`places`].
const PRICE: f64 = 100.0;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn event_gauges_follow_its_seats_and_leave_with_its_sale() {
    let place = Place::shared();
    let api = Api::here(place.config()).await.patient();
    let worker = Worker::start(&place, &[]).await;
    let event = api.event(places(10)).await;
    api.held("ann", event, &[1]).await;
    let bobs = api.held("bob", event, &[2, 3]).await;
    eventually("it is confirmed", PATIENCE, async || {
        api.act("bob", &bobs, "confirm").await.json(200)["status"] == "CONFIRMED"
    })
    .await;
    let block = json!({ "seat_ids": [4], "reason": "camera" });
    api.post(&format!("/api/v1/events/{event}/blocks")).json(block).send().await.json(200);

    let seats = |state| format!(r#"holdfast_event_seats{{event_id="{event}",state="{state}"}}"#);
    for (state, count) in [("free", 6.0), ("held", 1.0), ("sold", 2.0), ("blocked", 1.0)] {
        is(&api, &seats(state), count).await;
    }
    is(&api, &format!(r#"holdfast_event_capacity{{event_id="{event}"}}"#), 10.0).await;
    let takings = format!(r#"holdfast_event_takings_minor{{currency="EUR",event_id="{event}"}}"#);
    is(&api, &takings, 2.0 * PRICE).await;
    is(&api, r#"holdfast_payments_total{what="charged"}"#, 1.0).await;
    is(&api, "bookings_confirmed_total", 1.0).await;

    // What the worker made of it.
    is(&worker.client, r#"holdfast_worker_entries_total{kind="hold"}"#, 2.0).await;
    is(&worker.client, r#"holdfast_worker_entries_total{kind="sold"}"#, 1.0).await;
    is(&worker.client, r#"holdfast_verdicts_total{outcome="sold"}"#, 1.0).await;
    shows(&worker.client, "holdfast_settled_total", |settled| settled >= 1.0).await;
    shows(&worker.client, "holdfast_archive_write_seconds_count", |count| count >= 1.0).await;
    let settled = r#"holdfast_script_duration_seconds_count{script="settle"}"#;
    shows(&worker.client, settled, |calls| calls >= 1.0).await;
    shows(&worker.client, "holdfast_script_replies_total", |count| count >= 1.0).await;

    // Another process exports the same; a closed event leaves all of them.
    let other = Api::here(place.config()).await;
    is(&other, &seats("sold"), 2.0).await;
    let closed = json!({ "status": "CLOSED" });
    let path = format!("/api/v1/events/{event}");
    api.ask(Method::PATCH, &path).json(closed).send().await.json(200);
    let label = format!(r#"event_id="{event}""#);
    vanishes(&api, &label).await;
    vanishes(&other, &label).await;
    other.stop().await;
    api.stop().await;
}

/// Without a view the counts come from Redis.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn event_without_a_view_is_exported_too() {
    let place = Place::shared();
    let seller = Api::here(place.config()).await.patient();
    let event = seller.event(places(10)).await;
    seller.held("ann", event, &[1]).await;
    let api = Api::here(Config { live_seats_max: 0, ..place.config() }).await;
    let free = format!(r#"holdfast_event_seats{{event_id="{event}",state="free"}}"#);
    is(&api, &free, 9.0).await;
    is(&api, "holdfast_live_views", 0.0).await;
    api.stop().await;
    seller.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_caches_and_sockets_are_counted() {
    let api = Api::here(Place::shared().config()).await.patient();
    let event = api.event(places(10)).await;
    let path = format!("/api/v1/events/{event}/seats");
    api.shown(path.clone(), |_| true).await;
    is(&api, "holdfast_live_seats", 10.0).await;
    let requests = value(&exported(&api).await, "cache_requests_total").unwrap();
    for _ in 0..3 {
        api.get(&path).send().await.json(200);
    }
    is(&api, "cache_requests_total", requests + 3.0).await;
    let stats = api.get("/cache/stats").send().await.json(200);
    let hits = stats["stats"]["keyspace_hits"].as_f64().unwrap();
    assert!(hits >= 1.0, "{stats}");
    is(&api, "cache_hits_total", hits).await;
    is(&api, "cache_hit_rate", hits / (requests + 3.0)).await;
    is(&api, "holdfast_seat_map_bytes", stats["bytes"].as_f64().unwrap()).await;
    shows(&api, "holdfast_response_bytes", |bytes| bytes > 0.0).await;
    shows(&api, r#"holdfast_gate_seconds_count{gate="rate"}"#, |count| count >= 1.0).await;

    is(&api, "websocket_connections", 0.0).await;
    let socket = api.socket(event).await;
    is(&api, "websocket_connections", 1.0).await;
    drop(socket);
    is(&api, "websocket_connections", 0.0).await;

    // A quiet log is shown to be alive while its event is in use.
    shows(&api, "holdfast_live_beats_total", |beats| beats >= 1.0).await;
    eventually("the age is shown", PATIENCE, async || {
        api.hold("ann", event, &[11]).await;
        let age = value(&exported(&api).await, "holdfast_live_age_seconds").unwrap();
        age > 0.0 && age < 5.0
    })
    .await;
    is(&api, "holdfast_live_stale", 0.0).await;
    shows(&api, "db_connection_pool_size", |open| open >= 1.0).await;
    let build = format!(
        r#"holdfast_build_info{{service="holdfast-api",version="{}"}}"#,
        env!("CARGO_PKG_VERSION")
    );
    is(&api, &build, 1.0).await;
    api.stop().await;
}

/// A request whose body does not come is under way, as the port for monitoring shows meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn request_under_way_is_shown_on_the_own_port() {
    let api = Api::here(Place::shared().config()).await;
    let head = "POST /api/v1/bookings HTTP/1.1\r\nHost: localhost\r\nX-User-Id: ann\r\n\
        User-Agent: Mozilla/5.0\r\nAccept: */*\r\nContent-Type: application/json\r\n\
        Content-Length: 2\r\n\r\n";
    let mut slow = api.raw(head.as_bytes()).await;
    let monitoring = api.monitoring();
    is(&monitoring, "holdfast_http_in_flight", 1.0).await;
    slow.send(b"{}").await;
    assert_eq!(slow.answer(PATIENCE).await.status, 422);
    is(&monitoring, "holdfast_http_in_flight", 0.0).await;
    // Series of routes exist only once they are used.
    let text = exported(&monitoring).await;
    assert!(text.contains(
        r#"http_request_duration_seconds_count{method="POST",route="/api/v1/bookings"} 1"#
    ));
    assert!(!text.contains(r#"method="*""#) && !text.contains("waiting-room"), "{text}");
    api.stop().await;
}

/// Calls beyond the limit are refused, and not sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_beyond_the_limit_are_counted() {
    let config = Config { redis_in_flight_max: 2, live_seats_max: 0, ..Place::shared().config() };
    let api = Api::here(config).await;
    let patient = api.client().patient();
    let event = patient.event(places(1_000)).await;
    let monitoring = api.monitoring();
    is(&monitoring, "holdfast_redis_concurrency_limit", 2.0).await;
    let mut seat = 0;
    eventually("some are refused", PATIENCE, async || {
        let holds = (seat + 1..=seat + 50)
            .map(async |seat| api.hold(&format!("u{seat}"), event, &[seat]).await.status);
        seat += 50;
        let refused = futures_util::future::join_all(holds).await.contains(&503);
        let counted = value(&exported(&monitoring).await, "holdfast_overload_rejected_total");
        refused && counted.unwrap() >= 1.0
    })
    .await;
    api.stop().await;
}
