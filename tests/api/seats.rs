//! Seat maps and counts.

use serde_json::{Value, json};

use super::names;
use crate::support::api::{places, shared_api, small_event};
use crate::support::http::Client;

async fn map(api: &Client, event: u64, query: &str) -> Value {
    api.get(&format!("/api/v1/events/{event}/seats{query}")).send().await.json(200)
}

/// Waits until the map shows so many free seats.
async fn free(api: &Client, event: u64, free: u64) -> Value {
    let path = format!("/api/v1/events/{event}/seats");
    api.shown(path, |map| map["available_seats"] == free).await
}

fn ids(map: &Value) -> Vec<u64> {
    map["seats"].as_array().unwrap().iter().map(|seat| seat["id"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn map_has_every_seat_with_labels_and_state() {
    let api = shared_api().await;
    let event = api.event(small_event()).await;
    api.held("ann", event, &[2, 9]).await;
    let map = free(&api, event, 10).await;
    let fields = [
        "availability",
        "available_seats",
        "event_id",
        "full",
        "generation",
        "seats",
        "sections",
        "total_seats",
        "version",
    ];
    assert_eq!(names(&map), fields);
    assert_eq!((&map["event_id"], &map["total_seats"]), (&json!(event), &json!(12)));
    assert_eq!((&map["available_seats"], &map["full"]), (&json!(10), &json!(true)));
    assert_eq!(ids(&map), (1..=12).collect::<Vec<u64>>());
    let held = json!({ "id": 2, "section": "Stalls", "row_number": "A", "seat_number": 2,
        "seat_label": "A-2", "price": 5000, "status": "HOLD" });
    assert_eq!(map["seats"][1], held);
    assert_eq!(
        (&map["seats"][3]["seat_label"], &map["seats"][3]["status"]),
        (&json!("B-1"), &json!("AVAILABLE"))
    );
    let floor = &map["seats"][11];
    assert_eq!((&floor["section"], &floor["row_number"]), (&json!("Floor"), &Value::Null));
    assert_eq!((&floor["seat_number"], &floor["price"]), (&json!(4), &json!(2000)));
    assert!(floor["seat_label"].is_string());
    let stalls = json!({ "name": "Stalls", "price": 5000, "total_seats": 8, "availability": "AVAILABLE",
        "available_seats": 7, "held_seats": 1, "booked_seats": 0, "blocked_seats": 0 });
    assert_eq!(map["sections"][0], stalls);
}

#[tokio::test]
async fn map_is_filtered_by_section_and_status() {
    let api = shared_api().await;
    let event = api.event(small_event()).await;
    api.held("ann", event, &[2, 9]).await;
    free(&api, event, 10).await;
    assert_eq!(ids(&map(&api, event, "?section=Floor").await), [9, 10, 11, 12]);
    assert_eq!(ids(&map(&api, event, "?status=HOLD").await), [2, 9]);
    assert_eq!(ids(&map(&api, event, "?status=AVAILABLE&section=Floor").await), [10, 11, 12]);
    assert_eq!(ids(&map(&api, event, "?status=BOOKED").await), [0; 0]);
    for bad in ["section=Balcony", "status=FREE", "since=soon"] {
        let path = format!("/api/v1/events/{event}/seats?{bad}");
        api.get(&path).send().await.problem(400, "invalid_parameter");
    }
}

#[tokio::test]
async fn unchanged_map_is_not_sent_again() {
    let api = shared_api().await;
    let event = api.event(small_event()).await;
    let path = format!("/api/v1/events/{event}/seats");
    let first = api.get(&path).send().await;
    let body = first.json(200);
    let etag = first.header("etag").unwrap().to_owned();
    assert_eq!(etag, format!("\"{}-{}\"", body["generation"], body["version"]));
    let known = async |tag: &str| api.get(&path).header("If-None-Match", tag).send().await;
    let unchanged = known(&etag).await;
    assert_eq!((unchanged.status, unchanged.bytes.len()), (304, 0));
    assert_eq!(unchanged.header("etag"), Some(etag.as_str()));
    assert_eq!(known("\"0-0\"").await.status, 200);

    let since = format!("?since={}", etag.trim_matches('"'));
    let same = map(&api, event, &since).await;
    assert_eq!((ids(&same).len(), &same["full"]), (0, &json!(false)));
    let same = map(&api, event, &format!("?since={}", body["version"])).await;
    assert_eq!(same["full"], false);

    api.held("ann", event, &[1]).await;
    free(&api, event, 11).await;
    let changed = known(&etag).await;
    assert!(changed.json(200)["version"].as_u64() > body["version"].as_u64());
    assert_ne!(changed.header("etag"), Some(etag.as_str()));
    // A newer version has one changed seat; a version of an earlier generation gets the whole map.
    let changed = map(&api, event, &since).await;
    assert_eq!((ids(&changed), &changed["full"]), (vec![1], &json!(false)));
    assert_eq!(changed["seats"][0]["status"], "HOLD");
    let whole = map(&api, event, "?since=0-1").await;
    assert_eq!((ids(&whole).len(), &whole["full"]), (12, &json!(true)));
}

#[tokio::test]
async fn map_is_one_byte_per_seat_on_request() {
    let api = shared_api().await;
    let event = api.event(small_event()).await;
    api.held("ann", event, &[2, 12]).await;
    free(&api, event, 10).await;
    let path = format!("/api/v1/events/{event}/seats");
    let raw = api.get(&path).header("Accept", "application/octet-stream").send().await;
    assert_eq!((raw.status, raw.text().as_str()), (200, "1AhaAaaaaAaah"));
    assert_eq!(raw.header("content-type"), Some("application/octet-stream"));
    let as_json = api.get(&path).send().await;
    assert_eq!(
        raw.header("x-seat-map-version"),
        Some(as_json.json(200)["version"].to_string().as_str())
    );
    assert_ne!(raw.header("etag"), as_json.header("etag"), "two representations, two tags");
    let tag = raw.header("etag").unwrap();
    let again = api.get(&path).header("Accept", "application/octet-stream");
    assert_eq!(again.header("If-None-Match", tag).send().await.status, 304);
    assert_eq!(api.get(&path).header("If-None-Match", tag).send().await.status, 200);
}

#[tokio::test]
async fn long_map_arrives_whole_and_compressed() {
    let api = shared_api().await;
    let event = api.event(places(5_000)).await;
    assert_eq!(ids(&map(&api, event, "").await), (1..=5_000).collect::<Vec<u64>>());
    let path = format!("/api/v1/events/{event}/seats");
    let packed = api.get(&path).header("Accept-Encoding", "gzip").send().await;
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    assert!(packed.bytes.starts_with(&[0x1f, 0x8b]) && packed.bytes.len() < 100_000);
}

#[tokio::test]
async fn availability_counts_every_state_by_section() {
    let api = shared_api().await;
    let event = api.event(small_event()).await;
    api.held("ann", event, &[2, 9, 10]).await;
    let path = format!("/api/v1/events/{event}/availability");
    let body = api.shown(path, |counts| counts["held_seats"] == 3).await;
    let fields = [
        "availability",
        "available_seats",
        "blocked_seats",
        "booked_seats",
        "event_id",
        "held_seats",
        "is_sold_out",
        "sections",
        "total_seats",
        "version",
    ];
    assert_eq!(names(&body), fields);
    let counts = ["total_seats", "available_seats", "held_seats", "booked_seats", "blocked_seats"];
    assert_eq!(counts.map(|name| body[name].as_u64().unwrap()), [12, 9, 3, 0, 0]);
    let floor = &body["sections"][1];
    assert_eq!(counts.map(|name| floor[name].as_u64().unwrap()), [4, 2, 2, 0, 0]);
}
