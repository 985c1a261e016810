//! Bookings over HTTP: hold, read, extend, cancel; a booking is visible to its owner only.

use std::time::Duration;

use serde_json::{Value, json};

use super::is_time;
use crate::support::api::{places, shared_api, small_event};
use crate::support::eventually;

fn unix_ms(value: &Value) -> i64 {
    value.as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_millisecond()
}

#[tokio::test]
async fn hold_returns_seats_price_and_deadline() {
    let api = shared_api().await;
    let event = api.event(small_event()).await;
    let reply = api.hold("ann", event, &[9, 2]).await;
    let booking = reply.json(201);
    assert_eq!(reply.header("idempotent-replayed"), None);
    let expected = json!({
        "id": booking["id"], "user_id": "ann", "event_id": event, "status": "HOLD",
        "total_amount": 7000, "currency": "EUR", "hold_expires_at": booking["hold_expires_at"],
        "time_remaining_seconds": 300, "payment_id": null, "created_at": booking["created_at"],
        "confirmed_at": null, "cancelled_at": null, "expired_at": null, "version": 1,
        "durability": "accepted",
        "seats": [
            { "seat_id": 2, "section": "Stalls", "row_number": "A", "seat_number": 2,
              "seat_label": "A-2", "price_at_booking": 5000 },
            { "seat_id": 9, "section": "Floor", "row_number": null, "seat_number": 1,
              "seat_label": booking["seats"][1]["seat_label"], "price_at_booking": 2000 },
        ],
    });
    assert_eq!(booking, expected);
    assert!(is_time(&booking["created_at"]) && is_time(&booking["hold_expires_at"]));
    assert_eq!(unix_ms(&booking["hold_expires_at"]) - unix_ms(&booking["created_at"]), 300_000);
    let id: uuid::Uuid = booking["id"].as_str().unwrap().parse().unwrap();
    assert_eq!(id.get_version_num(), 8);

    let read = api.booking("ann", &booking).await.json(200);
    assert_eq!((&read["seats"], &read["status"]), (&booking["seats"], &booking["status"]));
}

#[tokio::test]
async fn refusal_for_taken_seats_lists_their_states() {
    let api = shared_api().await;
    let event = api.event(small_event()).await;
    api.held("ann", event, &[1, 2]).await;
    let problem = api.hold("bob", event, &[3, 2, 1]).await.problem(409, "seats_unavailable");
    assert_eq!(problem["detail"], "Seats 1, 2 are not available");
    let states = json!([
        { "id": 1, "status": "HOLD" }, { "id": 2, "status": "HOLD" },
        { "id": 3, "status": "AVAILABLE" },
    ]);
    assert_eq!(problem["seats"], states);
    api.counts_become(event, (10, 2, 0)).await;
}

#[tokio::test]
async fn seats_per_user_are_limited() {
    let api = shared_api().await;
    let mut event = places(10);
    event["max_seats_per_user"] = 3.into();
    let event = api.event(event).await;
    api.held("ann", event, &[1, 2]).await;
    let problem = api.hold("ann", event, &[3, 4]).await.problem(409, "user_limit");
    assert_eq!((&problem["seats_held"], &problem["max_seats_per_user"]), (&json!(2), &json!(3)));
    api.held("ann", event, &[3]).await;
    api.held("bob", event, &[4, 5]).await;
}

#[tokio::test]
async fn hold_is_extended_up_to_its_cap() {
    let api = shared_api().await;
    let mut event = places(10);
    event["hold_ttl_seconds"] = 60.into();
    event["max_hold_seconds"] = 60.into();
    let capped = api.event(event.clone()).await;
    event["max_hold_seconds"] = 90.into();
    let roomy = api.event(event).await;

    let booking = api.held("ann", roomy, &[1]).await;
    let extended = api.act("ann", &booking, "extend").await.json(200);
    assert_eq!((&extended["status"], &extended["version"]), (&json!("HOLD"), &json!(2)));
    assert!(unix_ms(&extended["hold_expires_at"]) > unix_ms(&booking["hold_expires_at"]));

    let booking = api.held("ann", capped, &[1]).await;
    let problem = api.act("ann", &booking, "extend").await.problem(409, "hold_cap_reached");
    assert_eq!(problem["hold_expires_at"], booking["hold_expires_at"]);
}

#[tokio::test]
async fn cancel_and_delete_free_the_seats() {
    let api = shared_api().await;
    let event = api.event(places(10)).await;
    for delete in [false, true] {
        let booking = api.held("ann", event, &[1, 2]).await;
        let path = format!("/api/v1/bookings/{}", booking["id"].as_str().unwrap());
        let cancel = async || match delete {
            true => api.ask(reqwest::Method::DELETE, &path).user("ann").send().await,
            false => api.act("ann", &booking, "cancel").await,
        };
        let cancelled = cancel().await.json(200);
        assert_eq!(cancelled["status"], "CANCELLED");
        assert_eq!(
            (&cancelled["version"], &cancelled["time_remaining_seconds"]),
            (&json!(2), &json!(0))
        );
        assert!(is_time(&cancelled["cancelled_at"]) && cancelled["expired_at"].is_null());
        api.counts_become(event, (10, 0, 0)).await;
        // A repetition returns the same.
        assert_eq!(cancel().await.json(200)["cancelled_at"], cancelled["cancelled_at"]);
        api.act("ann", &booking, "extend").await.problem(409, "booking_cancelled");
        api.act("ann", &booking, "confirm").await.problem(409, "booking_cancelled");
    }
}

#[tokio::test]
async fn lapsed_hold_is_expired() {
    let api = shared_api().await;
    let mut event = places(10);
    event["hold_ttl_seconds"] = 1.into();
    let event = api.event(event).await;
    let booking = api.held("ann", event, &[1]).await;
    eventually("the hold lapses", Duration::from_secs(60), async || {
        api.booking("ann", &booking).await.json(200)["status"] == "EXPIRED"
    })
    .await;
    let lapsed = api.booking("ann", &booking).await.json(200);
    assert!(is_time(&lapsed["expired_at"]), "{lapsed}");
    for verb in ["confirm", "extend", "cancel"] {
        api.act("ann", &booking, verb).await.problem(410, "booking_expired");
    }
}

#[tokio::test]
async fn booking_of_another_user_is_indistinguishable_from_an_unknown_one() {
    let api = shared_api().await;
    let event = api.event(places(10)).await;
    let booking = api.held("ann", event, &[1]).await;
    let theirs = booking["id"].as_str().unwrap();
    // The same event and time with other random digits: a plausible id that does not exist.
    let digit = if theirs.ends_with('0') { "1" } else { "0" };
    let unknown = format!("{}{digit}", &theirs[..theirs.len() - 1]);
    let routes = [
        ("GET", "", None),
        ("DELETE", "", None),
        ("POST", "/cancel", None),
        ("POST", "/extend", None),
        ("POST", "/confirm", None),
        ("POST", "/pay", Some(json!({ "amount": 1 }))),
        ("POST", "/confirm", Some(json!({ "amount": 100, "payment_method": "card_declined" }))),
    ];
    for (method, verb, body) in routes {
        let mut responses = Vec::new();
        for id in [theirs, &unknown] {
            let method: reqwest::Method = method.parse().unwrap();
            let request = api.ask(method, &format!("/api/v1/bookings/{id}{verb}")).user("bob");
            let request = match &body {
                Some(body) => request.json(body.clone()),
                None => request,
            };
            let reply = request.send().await;
            let mut problem = reply.problem(404, "booking_unknown");
            problem["trace_id"] = Value::Null;
            let mut names: Vec<String> = reply.headers.keys().map(ToString::to_string).collect();
            // Their order is random, and differs between the server's threads.
            names.sort_unstable();
            responses.push((problem.to_string().replace(id, "ID"), names));
        }
        assert_eq!(responses[0], responses[1], "{method} {verb}");
    }
    assert_eq!(api.booking("ann", &booking).await.json(200)["version"], 1);
}

#[tokio::test]
async fn user_is_named_in_a_header_or_the_query() {
    let api = shared_api().await;
    let event = api.event(places(10)).await;
    let body = json!({ "event_id": event, "seat_ids": [1] });
    let request = || api.post("/api/v1/bookings?user_id=42").json(body.clone());
    let booking = request().send().await.json(201);
    assert_eq!(booking["user_id"], "42");
    assert_eq!(request().user("42").send().await.json(201)["id"], booking["id"]);
    request().user("43").send().await.problem(400, "identity_conflict");
    api.post("/api/v1/bookings").json(body.clone()).send().await.problem(401, "identity_missing");
    let path = format!("/api/v1/bookings/{}?user_id=42", booking["id"].as_str().unwrap());
    assert_eq!(api.get(&path).send().await.json(200)["id"], booking["id"]);
}

#[tokio::test]
async fn payment_with_another_amount_is_refused() {
    let api = shared_api().await;
    let event = api.event(places(10)).await;
    let booking = api.held("ann", event, &[1, 2]).await;
    let path = format!("/api/v1/bookings/{}/confirm", booking["id"].as_str().unwrap());
    let pay = async |amount: u32| {
        let body = json!({ "payment_method": "card_ok", "amount": amount });
        api.post(&path).user("ann").json(body).send().await
    };
    let problem = pay(199).await.problem(422, "amount_mismatch");
    assert_eq!((&problem["field"], &problem["total_amount"]), (&json!("amount"), &json!(200)));
    // No worker runs: the booking is paid and awaits the archive.
    let paid = pay(200).await;
    let body = paid.json(202);
    assert_eq!(body["status"], "CONFIRMING");
    assert!(body["payment_id"].is_string() && body.get("receipt").is_none());
    assert_eq!(paid.header("retry-after"), Some("1"));
    let again = pay(200).await.json(202);
    assert_eq!(again["payment_id"], body["payment_id"], "repetitions charge nothing");
    api.act("ann", &booking, "cancel").await.problem(409, "booking_confirming");
}
