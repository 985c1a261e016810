//! Lists of events and of bookings: filters, cursors, read-your-writes.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::{ids, pages};
use crate::support::api::{Api, Place, places, shared_api};
use crate::support::http::Client;

const EVENTS: &str = "/api/v1/events";

async fn named(api: &Client, query: &str) -> Vec<String> {
    let body = api.get(&format!("{EVENTS}{query}")).send().await.json(200);
    assert_eq!(body["total"].as_u64().unwrap() as usize, body["events"].as_array().unwrap().len());
    let name = |event: &Value| event["name"].as_str().unwrap().to_owned();
    body["events"].as_array().unwrap().iter().map(name).collect()
}

fn event(name: &str, starts_at: Option<&str>, on_sale_at: Option<&str>) -> Value {
    let mut event = places(3);
    event["name"] = name.into();
    event["starts_at"] = json!(starts_at);
    event["on_sale_at"] = json!(on_sale_at);
    event
}

#[tokio::test]
async fn events_are_filtered_by_status_and_start() {
    let api = Api::here(Place::shared().config()).await;
    api.event(event("undated", None, None)).await;
    api.event(event("may", Some("2036-05-01T20:00:00Z"), None)).await;
    api.event(event("june", Some("2036-06-01T20:00:00Z"), Some("2036-01-01T00:00:00Z"))).await;
    let july = api.event(event("july", Some("2036-07-01T22:00:00+02:00"), None)).await;
    let path = format!("{EVENTS}/{july}");
    api.ask(Method::PATCH, &path).json(json!({ "status": "PAUSED" })).send().await.json(200);

    assert_eq!(named(&api, "").await, ["undated", "may", "june", "july"]);
    assert_eq!(named(&api, "?status=ON_SALE").await, ["undated", "may"]);
    assert_eq!(named(&api, "?status=SCHEDULED").await, ["june"]);
    assert_eq!(named(&api, "?status=PAUSED").await, ["july"]);
    assert!(named(&api, "?status=CLOSED").await.is_empty());
    // `from` is inclusive, `to` exclusive.
    assert_eq!(named(&api, "?from=2036-06-01T20:00:00Z").await, ["june", "july"]);
    assert_eq!(named(&api, "?from=2036-06-01T20:00:00.001Z").await, ["july"]);
    assert_eq!(named(&api, "?to=2036-06-01T20:00:00Z").await, ["may"]);
    let both = "?from=2036-05-01T22:00:00%2B02:00&to=2036-07-01T20:00:00Z&status=SCHEDULED";
    assert_eq!(named(&api, both).await, ["june"]);
    for (bad, parameter) in [
        ("status=OPEN", "status"),
        ("status=on_sale", "status"),
        ("from=2036-06-01", "from"),
        ("to=tomorrow", "to"),
        ("from=2036-06-01T20:00:00Z&to=2036-06-01T20:00:00Z", "to"),
        ("cursor=x", "cursor"),
        ("cursor=", "cursor"),
    ] {
        let refused = api.get(&format!("{EVENTS}?{bad}")).send().await;
        assert_eq!(refused.problem(400, "invalid_parameter")["parameter"], parameter, "{bad}");
    }
    api.stop().await;
}

#[tokio::test]
async fn event_pages_by_cursor_repeat_and_miss_nothing() {
    let api = Api::here(Place::shared().config()).await;
    for _ in 0..5 {
        api.event(places(1)).await;
    }
    let path = format!("{EVENTS}?page_size=2");
    let all = pages(&api, "ann", &path, "events", async |page| {
        // Two are created while the first page is read.
        if page == 1 {
            api.event(places(1)).await;
            api.event(places(1)).await;
        }
    });
    let all = all.await;
    assert_eq!(ids(&all), ["1", "2", "3", "4", "5", "6", "7"]);
    assert_eq!(all.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 2, 1]);
    // A page by number has a cursor, too, unless it is the last.
    let second = api.get(&format!("{path}&page=2")).send().await.json(200);
    let cursor = second["next_cursor"].as_str().unwrap();
    let third = api.get(&format!("{path}&cursor={cursor}")).send().await.json(200);
    assert_eq!(third["events"][0]["id"], 5);
    assert!(third.get("page").is_none() && third["page_size"] == 2 && third["total"] == 7);
    let last = api.get(&format!("{path}&page=4")).send().await.json(200);
    assert!(last["next_cursor"].is_null(), "{last}");
    let both = api.get(&format!("{path}&cursor={cursor}&page=2")).send().await;
    assert_eq!(both.problem(400, "invalid_parameter")["parameter"], "page");
    // A cursor is valid for its own list only.
    let bookings = format!("/api/v1/bookings?cursor={cursor}");
    let refused = api.get(&bookings).user("ann").send().await;
    assert_eq!(refused.problem(400, "invalid_parameter")["parameter"], "cursor");
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn booking_pages_by_cursor_do_not_drift() {
    let place = Place::shared();
    let (api, _worker) = (Api::program(&place, &[]).await.patient(), place.worker());
    let mut event = places(20);
    event["max_seats_per_user"] = 20.into();
    let event = api.event(event).await;
    for seat in 1..=5 {
        api.held("ann", event, &[seat]).await;
    }
    let all = "/api/v1/bookings?page_size=100".to_owned();
    let archived = async |count: usize| {
        let bound = Duration::from_secs(60);
        crate::support::eventually("bookings are archived", bound, async || {
            let listed = api.get(&all).user("ann").send().await.json(200);
            listed["bookings"].as_array().unwrap().len() == count
        })
        .await;
    };
    archived(5).await;
    let before: Vec<Value> = {
        let listed = api.get(&all).user("ann").send().await.json(200);
        listed["bookings"].as_array().unwrap().iter().map(|one| one["id"].clone()).collect()
    };
    let paged = pages(&api, "ann", "/api/v1/bookings?page_size=2", "bookings", async |page| {
        if page == 1 {
            api.held("ann", event, &[6]).await;
            archived(6).await;
        }
    });
    let before: Vec<String> = before.iter().map(Value::to_string).collect();
    assert_eq!(ids(&paged.await), before, "the new one comes before the first page");
}

#[tokio::test]
async fn changes_are_listed_at_once_by_the_process_that_made_them() {
    let place = Place::shared();
    let (one, two) = (Api::here(place.config()).await, Api::here(place.config()).await);
    assert!(named(&one, "").await.is_empty() && named(&two, "").await.is_empty());
    for number in 1..=5 {
        let name = format!("e{number}");
        let event = one.event(event(&name, None, None)).await;
        assert_eq!(named(&one, "").await.last(), Some(&name));
        let change = json!({ "name": format!("{name} renamed"), "status": "PAUSED" });
        let path = format!("{EVENTS}/{event}");
        one.ask(Method::PATCH, &path).json(change).send().await.json(200);
        assert_eq!(named(&one, "?status=PAUSED").await.len(), number, "{name}");
        assert_eq!(named(&one, "").await.last(), Some(&format!("{name} renamed")));
    }
    // The other process lists them within its cache's lifetime.
    let wanted = named(&one, "").await;
    crate::support::eventually("the other lists them", Duration::from_secs(30), async || {
        named(&two, "?status=PAUSED").await == wanted
    })
    .await;
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn listed_events_show_how_many_seats_are_free() {
    let api = shared_api().await;
    let event = api.event(places(5)).await;
    api.held("ann", event, &[1, 2]).await;
    // By cursor, since this server has many events.
    let last = api.get(&format!("{EVENTS}/{event}")).send().await.json(200);
    assert_eq!(last["total_seats"], 5);
    let found = async || {
        let path = format!("{EVENTS}?page_size=100");
        let all = pages(&api, "ann", &path, "events", async |_| {}).await;
        all.into_iter().flatten().find(|one| one["id"] == event).expect("it is listed")
    };
    crate::support::eventually("three are free", Duration::from_secs(60), async || {
        found().await["available_seats"] == 3
    })
    .await;
}
