//! Bookings that Redis has dropped are read from the archive.

use std::time::Duration;

use serde_json::json;

use crate::support::api::{Api, Place, places};
use crate::support::process::Process;
use crate::support::{eventually, unique_name};

/// Timeout of a worker's task.
const SOON: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn booking_that_redis_has_dropped_is_read_from_the_archive() {
    let place = Place::shared();
    let api = Api::here(place.config()).await;
    let name = unique_name();
    let settings = [("HOLDFAST_WORKER_CONSUMER", &*name), ("HOLDFAST_ENDED_KEEP_SECONDS", "1")];
    let environment = place.environment(&settings);
    let _worker = Process::start(env!("CARGO_BIN_EXE_holdfast-worker"), &environment);
    let (engine, _) = place.services().await;
    let mut event = places(10);
    let lasting = api.event(event.clone()).await;
    event["hold_ttl_seconds"] = 1.into();
    let brief = api.event(event).await;

    let cancelled = api.held("ann", lasting, &[1, 2]).await;
    let mut before = api.act("ann", &cancelled, "cancel").await.json(200);
    assert_eq!(before["durability"].take(), "accepted");
    let expired = api.held("ann", brief, &[3]).await;
    for booking in [&cancelled, &expired] {
        let id = booking["id"].as_str().unwrap().parse().unwrap();
        let is_forgotten =
            async || engine.get_booking(id).await.is_ok_and(|a| a.code() == "booking_unknown");
        eventually("redis has dropped it", SOON, is_forgotten).await;
    }

    let after = api.booking("ann", &cancelled).await.json(200);
    before["durability"] = "archived".into();
    assert_eq!(after, before, "the same response but for its durability");
    api.booking("bob", &cancelled).await.problem(404, "booking_unknown");
    assert_eq!(api.act("ann", &cancelled, "cancel").await.json(200), before);
    api.act("ann", &cancelled, "extend").await.problem(409, "booking_cancelled");
    api.act("ann", &cancelled, "confirm").await.problem(409, "booking_cancelled");
    api.act("bob", &cancelled, "extend").await.problem(404, "booking_unknown");

    let read = api.booking("ann", &expired).await.json(200);
    assert_eq!((&read["status"], &read["seats"]), (&json!("EXPIRED"), &expired["seats"]));
    assert!(read["expired_at"].is_string(), "{read}");
    for verb in ["extend", "cancel", "confirm"] {
        api.act("ann", &expired, verb).await.problem(410, "booking_expired");
    }
    let listed = api.get("/api/v1/bookings").user("ann").send().await.json(200);
    assert_eq!(listed["bookings"].as_array().unwrap().len(), 2);
    api.stop().await;
}
