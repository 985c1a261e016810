//! Bookings of an event, search, and one booking everywhere.

use std::time::Duration;

use serde_json::{Value, json};

use super::{event, keyed, ops, read, sold};
use crate::support::api::{Place, small_event};
use crate::support::eventually;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bookings_are_listed_found_and_shown_everywhere() {
    let place = Place::shared();
    let api = keyed(&place).await;
    let _worker = place.worker_at_work(&[]).await;
    let id = event(&api, small_event()).await;
    let sold = sold(&api, "ann", id, &[1, 2]).await;
    let sold_id = sold["id"].as_str().unwrap();
    let held = api.held("bob", id, &[9]).await;
    let list = format!("events/{id}/bookings");
    let mut listed = Value::Null;
    eventually("both are archived", Duration::from_secs(60), async || {
        listed = read(&api, &list).await;
        let bookings = listed["bookings"].as_array().unwrap();
        bookings.len() == 2 && bookings[1]["confirmed_at"].is_string()
    })
    .await;
    let (newest, oldest) = (&listed["bookings"][0], &listed["bookings"][1]);
    assert_eq!((&newest["booking_id"], &newest["status"]), (&held["id"], &json!("HOLD")));
    let facts = ["booking_id", "user_id", "status", "outcome", "total_amount", "currency"];
    assert_eq!(
        facts.map(|name| oldest[name].clone()),
        [
            json!(sold_id),
            json!("ann"),
            json!("CONFIRMED"),
            json!("sold"),
            json!(10_000),
            json!("EUR")
        ]
    );
    let seat =
        json!({ "seat_id": 2, "label": "A-2", "section": "Stalls", "row": "A", "price": 5_000 });
    assert_eq!(oldest["seats"][1], seat);
    assert!(super::super::is_time(&listed["as_of"]) && super::super::is_time(&oldest["paid_at"]));
    for (query, expected) in [
        ("status=CONFIRMED", json!([sold_id])),
        ("status=EXPIRED", json!([])),
        ("user_id=bob", json!([held["id"]])),
    ] {
        let listed = read(&api, &format!("{list}?{query}")).await;
        let ids =
            listed["bookings"].as_array().unwrap().iter().map(|one| one["booking_id"].clone());
        assert_eq!(ids.collect::<Value>(), expected, "{query}");
    }
    let first = read(&api, &format!("{list}?page_size=1")).await;
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = read(&api, &format!("{list}?page_size=1&cursor={cursor}")).await;
    assert_eq!(second["bookings"][0]["booking_id"], sold_id);
    assert_eq!(second["next_cursor"], Value::Null);

    details_are_shown(&api, &sold, &held).await;
    text_is_found(&api, id, &sold).await;
    wrong_requests_are_refused(&api, id).await;
    api.stop().await;
}

async fn details_are_shown(api: &crate::support::api::Api, sold: &Value, held: &Value) {
    let shown = read(api, &format!("bookings/{}", sold["id"].as_str().unwrap())).await;
    assert_eq!((&shown["is_agreed"], &shown["differences"]), (&json!(true), &json!([])));
    assert_eq!((&shown["status"], &shown["event_name"]), (&json!("CONFIRMED"), &json!("Gala")));
    assert_eq!(
        (&shown["redis"]["state"], &shown["archive"]["state"]),
        (&json!("found"), &json!("found"))
    );
    assert_eq!(shown["redis"]["record"]["status"], "CONFIRMED");
    assert_eq!(shown["archive"]["outcome"], "sold");
    let provider = &shown["provider"];
    let facts = ["state", "provider", "status", "amount", "currency", "refunded_amount"];
    assert_eq!(
        facts.map(|name| provider[name].clone()),
        [json!("found"), json!("simulated"), json!("paid"), json!(10_000), json!("EUR"), json!(0)]
    );
    assert_eq!(provider["payment_id"], shown["redis"]["record"]["payment_id"]);
    let claims: Vec<&Value> =
        shown["seats"].as_array().unwrap().iter().map(|seat| &seat["is_own_claim"]).collect();
    assert_eq!(claims, [&json!(true), &json!(true)]);
    let steps: Vec<&str> = shown["timeline"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| step["step"].as_str().unwrap())
        .collect();
    assert_eq!(steps, ["held", "paying", "sold", "confirmed"]);
    assert_eq!(shown["timeline"][0]["after_ms"], 0);
    assert_eq!(shown["ledger"].as_array().unwrap().len(), 4);
    assert_eq!(shown["ledger"][0]["kind"], "hold");

    let shown = read(api, &format!("bookings/{}", held["id"].as_str().unwrap())).await;
    assert_eq!((&shown["provider"]["state"], &shown["status"]), (&json!("none"), &json!("HOLD")));
}

async fn text_is_found(api: &crate::support::api::Api, event: u64, sold: &Value) {
    let hits = async |query: &str| {
        let found = read(api, &format!("search?{query}")).await;
        found["hits"].as_array().unwrap().clone()
    };
    let by_id = hits(&format!("q={}", sold["id"].as_str().unwrap())).await;
    assert_eq!((by_id.len(), &by_id[0]["type"]), (1, &json!("booking")));
    assert_eq!(by_id[0]["booking"]["booking_id"], sold["id"]);
    let by_user = hits("q=ann").await;
    assert_eq!(by_user[0], json!({ "type": "user", "user_id": "ann", "bookings": 1 }));
    assert_eq!(by_user[1]["booking"]["user_id"], "ann");
    let seat = json!({
        "type": "seat", "event_id": event, "event_name": "Gala", "seat_id": 2, "label": "A-2",
        "section": "Stalls", "row": "A", "price": 5_000, "state": "BOOKED", "booking_id": sold["id"],
    });
    for query in
        [format!("q=a-2&event_id={event}"), "q=Stalls%20A-2".to_owned(), format!("q={event}:2")]
    {
        assert_eq!(hits(&query).await[0], seat, "{query}");
    }
    let free = hits(&format!("q={event}:4")).await;
    assert_eq!((&free[0]["state"], &free[0]["booking_id"]), (&json!("AVAILABLE"), &Value::Null));
    assert_eq!(hits(&format!("q={event}:99")).await.len(), 0);
    assert_eq!(hits("q=nobody-of-this-name").await.len(), 0);
}

async fn wrong_requests_are_refused(api: &crate::support::api::Api, event: u64) {
    for (path, status, code) in [
        ("events/4000000000/bookings".to_owned(), 404, "event_unknown"),
        (format!("events/{event}/bookings?status=SOLD"), 400, "invalid_parameter"),
        (format!("events/{event}/bookings?page_size=201"), 400, "invalid_parameter"),
        (format!("events/{event}/bookings?cursor=x"), 400, "invalid_parameter"),
        ("bookings/x".to_owned(), 400, "invalid_parameter"),
        ("bookings/019b3c5e-0a4c-8f00-8000-000040e1f2a3".to_owned(), 404, "booking_unknown"),
        ("search".to_owned(), 400, "invalid_parameter"),
        ("search?q=%20".to_owned(), 400, "invalid_parameter"),
        (format!("search?q={}", "x".repeat(201)), 400, "invalid_parameter"),
        ("search?q=A-1&event_id=4000000000".to_owned(), 404, "event_unknown"),
    ] {
        let reply = ops(api.get(&format!("/api/v1/admin/{path}"))).await;
        reply.problem(status, code);
    }
    // Reads of users' data are recorded.
    let acts = read(api, "audit?who=ops&page_size=200").await;
    let acts: Vec<&str> =
        acts["acts"].as_array().unwrap().iter().map(|act| act["act"].as_str().unwrap()).collect();
    for verb in ["bookings_list", "booking_details", "search"] {
        assert!(acts.contains(&verb), "{verb}: {acts:?}");
    }
}
