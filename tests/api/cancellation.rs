//! An event's policy decides whether, and until when, confirmed bookings can be cancelled.

use std::time::Duration;

use serde_json::{Value, json};

use super::is_time;
use crate::support::api::{Api, Place, places, shared_api};
use crate::support::eventually;
use crate::support::http::Client;

/// Bound of a confirmation and of a cancellation, which wait for the archive.
const SOON: Duration = Duration::from_secs(30);

async fn change(api: &Client, event: u64, change: Value) -> Value {
    let path = format!("/api/v1/events/{event}");
    api.ask(reqwest::Method::PATCH, &path).json(change).send().await.json(200)
}

/// Holds and confirms a booking of ann's.
async fn bought(api: &Client, event: u64, seat: u32) -> Value {
    let held = api.held("ann", event, &[seat]).await;
    eventually("the booking is confirmed", SOON, async || {
        api.act("ann", &held, "confirm").await.status == 200
    })
    .await;
    held
}

async fn cancelled(api: &Client, booking: &Value) {
    eventually("the booking is cancelled", SOON, async || {
        let reply = api.act("ann", booking, "cancel").await;
        if reply.status != 202 {
            assert_eq!(reply.json(200)["status"], "CANCELLED");
        }
        reply.status == 200
    })
    .await;
}

/// The time `seconds` from now, as the API formats it.
fn in_seconds(seconds: i64) -> String {
    let at_ms = jiff::Timestamp::now().as_millisecond() + seconds * 1_000;
    let at = jiff::Timestamp::from_millisecond(at_ms).unwrap();
    let text = format!("{at:.3}");
    assert!(is_time(&json!(text)), "{text}");
    text
}

#[tokio::test]
async fn policy_is_set_shown_and_changed() {
    let api = shared_api().await;
    let mut event = places(2);
    event["cancellation"] = "not_allowed".into();
    event["cancel_until"] = "2036-05-25T20:00:00+02:00".into();
    let event = api.event(event).await;
    let shown = api.get(&format!("/api/v1/events/{event}")).send().await.json(200);
    assert_eq!(shown["cancellation"], "not_allowed");
    assert_eq!(shown["cancel_until"], "2036-05-25T18:00:00.000Z");
    let changed = change(&api, event, json!({ "cancellation": "allowed" })).await;
    assert_eq!(changed["cancellation"], "allowed");
    assert_eq!(changed["cancel_until"], "2036-05-25T18:00:00.000Z", "absent fields are unchanged");
    let until = json!({ "cancel_until": "2037-01-01T00:00:00Z" });
    assert_eq!(change(&api, event, until).await["cancel_until"], "2037-01-01T00:00:00.000Z");
    let path = format!("/api/v1/events/{event}");
    for (name, bad) in [("cancellation", json!("never")), ("cancel_until", json!("soon"))] {
        let body = json!({ name: bad });
        let refused = api.ask(reqwest::Method::PATCH, &path).json(body).send().await;
        assert_eq!(refused.problem(422, "validation_failed")["field"], name);
    }
}

#[tokio::test]
async fn confirmed_booking_is_cancelled_only_if_its_event_allows() {
    let place = Place::shared();
    let _worker = place.worker();
    let api = Api::program(&place, &[]).await;
    let mut event = places(5);
    event["cancellation"] = "not_allowed".into();
    let event = api.event(event).await;
    let (first, second) = (bought(&api, event, 1).await, bought(&api, event, 2).await);
    let problem = api.act("ann", &first, "cancel").await.problem(409, "cancellation_closed");
    let id = first["id"].as_str().unwrap();
    let detail = format!(
        "Booking {id} is confirmed; confirmed bookings of event {event} cannot be cancelled"
    );
    assert_eq!((&problem["detail"], &problem["cancel_until"]), (&json!(detail), &Value::Null));
    api.counts_become(event, (3, 0, 2)).await;
    // The policy does not apply to holds.
    let held = api.held("ann", event, &[3]).await;
    api.act("ann", &held, "cancel").await.json(200);

    // `cancel_until` applies once cancellation is allowed.
    let over = in_seconds(-60);
    change(&api, event, json!({ "cancellation": "allowed", "cancel_until": over })).await;
    let problem = api.act("ann", &first, "cancel").await.problem(409, "cancellation_closed");
    assert_eq!(problem["cancel_until"], over);
    assert!(problem["detail"].as_str().unwrap().ends_with(&format!("until {over}")), "{problem}");
    change(&api, event, json!({ "cancel_until": in_seconds(3_600) })).await;
    cancelled(&api, &first).await;
    api.counts_become(event, (4, 0, 1)).await;

    // A booking that was cancelled in time stays cancelled.
    change(&api, event, json!({ "cancellation": "not_allowed" })).await;
    assert_eq!(api.act("ann", &first, "cancel").await.json(200)["status"], "CANCELLED");
    api.act("ann", &second, "cancel").await.problem(409, "cancellation_closed");
    api.held("bob", event, &[1]).await;
}
