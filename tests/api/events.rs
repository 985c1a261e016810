//! Events: created, read, listed, changed.

use serde_json::json;

use super::{is_time, names};
use crate::support::api::{Api, Place, places, shared_api, small_event};

#[tokio::test]
async fn event_is_created_with_its_rules() {
    let api = shared_api().await;
    let mut wanted = small_event();
    wanted["description"] = "An evening".into();
    wanted["currency"] = "USD".into();
    wanted["starts_at"] = "2036-06-01T20:00:00+02:00".into();
    wanted["hold_ttl_seconds"] = 60.into();
    wanted["max_hold_seconds"] = 90.into();
    wanted["max_seats_per_user"] = 4.into();
    let created = api.post("/api/v1/events").json(wanted).send().await;
    let event = created.json(201);
    let path = format!("/api/v1/events/{}", event["id"]);
    assert_eq!(created.header("location"), Some(path.as_str()));
    let expected = json!({
        "id": event["id"], "name": "Gala", "description": "An evening", "venue": "Hall",
        "currency": "USD", "starts_at": "2036-06-01T18:00:00.000Z", "on_sale_at": null,
        "off_sale_at": "2036-06-01T18:00:00.000Z", "status": "ON_SALE", "total_seats": 12, "available_seats": 12, "availability": "AVAILABLE", "is_sold_out": false,
        "hold_ttl_seconds": 60, "max_hold_seconds": 90, "max_seats_per_user": 4, "orphan_rule": "off",
        "cancellation": "allowed", "cancel_until": null,
        "created_at": event["created_at"],
        "sections": [
            { "name": "Stalls", "price": 5000, "first_seat_id": 1, "total_seats": 8,
              "general_admission": false,
              "rows": [{ "name": "A", "seats": 3 }, { "name": "B", "seats": 5 }] },
            { "name": "Floor", "price": 2000, "first_seat_id": 9, "total_seats": 4,
              "general_admission": true, "rows": [] },
        ],
    });
    assert_eq!(event, expected);
    assert!(event["id"].is_u64() && is_time(&event["created_at"]), "{event}");
    assert_eq!(api.get(&path).send().await.json(200), expected);
}

#[tokio::test]
async fn event_fields_have_defaults() {
    let api = shared_api().await;
    let event = api.event(places(2)).await;
    let event = api.get(&format!("/api/v1/events/{event}")).send().await.json(200);
    let rules = ["hold_ttl_seconds", "max_hold_seconds", "max_seats_per_user", "currency"];
    assert_eq!(
        rules.map(|name| event[name].clone()),
        [json!(300), 900.into(), 10.into(), "EUR".into()]
    );
    assert_eq!((&event["description"], &event["starts_at"]), (&json!(""), &json!(null)));
}

#[tokio::test]
async fn counts_follow_the_sale() {
    let api = shared_api().await;
    let event = api.event(places(2)).await;
    let path = format!("/api/v1/events/{event}");
    let left = async |free: u64| {
        let shown = api.shown(path.clone(), |event| event["available_seats"] == free).await;
        (shown["is_sold_out"].as_bool().unwrap(), shown["availability"].clone())
    };
    api.held("ann", event, &[1]).await;
    assert_eq!(left(1).await, (false, json!("AVAILABLE")));
    api.held("bob", event, &[2]).await;
    assert_eq!(left(0).await, (true, json!("SOLD_OUT")));
}

#[tokio::test]
async fn events_are_listed_by_id_in_pages() {
    let api = Api::here(Place::shared().config()).await;
    for _ in 0..3 {
        api.event(places(1)).await;
    }
    let page = async |query: &str| {
        let body = api.get(&format!("/api/v1/events{query}")).send().await.json(200);
        assert_eq!(names(&body), ["as_of", "events", "next_cursor", "page", "page_size", "total"]);
        let events = body["events"].as_array().unwrap();
        assert!(events.iter().all(|event| event.get("sections").is_none()));
        let ids: Vec<u64> = events.iter().map(|event| event["id"].as_u64().unwrap()).collect();
        let number = |name: &str| body[name].as_u64().unwrap();
        (ids, number("total"), number("page"), number("page_size"))
    };
    assert_eq!(page("").await, (vec![1, 2, 3], 3, 1, 20));
    assert_eq!(page("?page_size=2").await, (vec![1, 2], 3, 1, 2));
    assert_eq!(page("?page_size=2&page=2").await, (vec![3], 3, 2, 2));
    assert_eq!(page("?page=9").await, (vec![], 3, 9, 20));
    for bad in ["page=0", "page=x", "page=-1", "page_size=101", "page_size=0", "page=1&page=2"] {
        let refused = api.get(&format!("/api/v1/events?{bad}")).send().await;
        assert!(refused.problem(400, "invalid_parameter")["parameter"].is_string(), "{bad}");
    }
    api.stop().await;
}

#[tokio::test]
async fn event_status_gates_only_new_holds() {
    let api = shared_api().await;
    let event = api.event(places(5)).await;
    let path = format!("/api/v1/events/{event}");
    let held = api.held("ann", event, &[1]).await;
    for (status, refusal) in [("PAUSED", "event_paused"), ("CLOSED", "event_closed")] {
        let changed = api.ask(reqwest::Method::PATCH, &path).json(json!({ "status": status }));
        assert_eq!(changed.send().await.json(200)["status"], status);
        api.hold("bob", event, &[2]).await.problem(409, refusal);
        // The same request still returns its booking.
        assert_eq!(api.hold("ann", event, &[1]).await.json(201)["id"], held["id"]);
    }
    let change =
        json!({ "status": "ON_SALE", "name": "Renamed", "starts_at": "2036-01-01T00:00:00Z" });
    let changed = api.ask(reqwest::Method::PATCH, &path).json(change).send().await.json(200);
    assert_eq!((&changed["name"], &changed["venue"]), (&json!("Renamed"), &json!("")));
    assert_eq!(changed["starts_at"], "2036-01-01T00:00:00.000Z");
    api.held("bob", event, &[2]).await;
}

#[tokio::test]
async fn scheduled_event_names_the_start_of_its_sale() {
    let api = shared_api().await;
    let mut event = places(5);
    event["on_sale_at"] = "2036-03-01T18:00:00Z".into();
    let event = api.event(event).await;
    let path = format!("/api/v1/events/{event}");
    assert_eq!(api.get(&path).send().await.json(200)["status"], "SCHEDULED");
    let refused = api.hold("ann", event, &[1]).await;
    let problem = refused.problem(409, "not_on_sale");
    assert_eq!(problem["on_sale_at"], "2036-03-01T18:00:00.000Z");
    assert_eq!(refused.header("retry-after"), Some("3600"));
    let change = json!({ "on_sale_at": "2026-01-01T00:00:00Z" });
    let changed = api.ask(reqwest::Method::PATCH, &path).json(change).send().await;
    assert_eq!(changed.json(200)["status"], "ON_SALE");
    api.held("ann", event, &[1]).await;
}
