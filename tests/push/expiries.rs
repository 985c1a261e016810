//! Holds that lapse: their owners are told, and nobody else.

use serde_json::{Value, json};

use crate::support::api::{Api, Place, places};
use crate::support::followers::EventStream;
use crate::support::http::Client;

/// An event whose holds last a second.
async fn brief(api: &Client) -> u64 {
    let mut event = places(8);
    event["hold_ttl_seconds"] = 1.into();
    api.event(event).await
}

async fn told_by(stream: &mut EventStream) -> Value {
    loop {
        let message = stream.next_message().await;
        if message["type"] == "booking_expired" {
            return message;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lapsed_hold_is_told_to_its_owner_alone() {
    let place = Place::shared();
    let api = Api::here(place.config()).await.patient();
    let _worker = place.worker_at_work(&[]).await;
    let (event, other) = (brief(&api).await, brief(&api).await);
    let (as_ann, as_bob) = (&[("x-user-id", "ann")], &[("x-user-id", "bob")]);
    let mut ann = api.socket_with(event, "", as_ann).await;
    let mut again = api.stream_with(event, "", as_ann).await;
    let mut elsewhere = api.socket_with(other, "", as_ann).await;
    let mut bob = api.socket_with(event, "?user_id=bob", &[]).await;
    let mut nobody = api.socket(event).await;
    let held = api.held("ann", event, &[1, 2]).await;
    let told = ann.json().await;
    let expected = json!({
        "type": "booking_expired", "event_id": event, "booking_id": held["id"],
        "seat_ids": [1, 2], "timestamp": told["timestamp"],
        "message": "Your hold has expired; the seats are free again",
    });
    assert_eq!(told, expected);
    assert_eq!(told_by(&mut again).await, expected);
    // One that its owner gave up is no news to him.
    let cancelled = api.held("bob", event, &[3]).await;
    api.act("bob", &cancelled, "cancel").await.json(200);
    let held = api.held("bob", event, &[4]).await;
    assert_eq!(bob.json().await["booking_id"], held["id"]);
    let mut late = api.socket_with(event, "", as_bob).await;
    // Whatever they were told before would come first.
    for socket in [&mut ann, &mut elsewhere, &mut nobody, &mut late] {
        socket.say(r#"{"type":"ping"}"#).await;
        assert_eq!(socket.json().await["type"], "pong");
    }
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_of_the_waiting_room_names_its_owner() {
    let place = Place::shared();
    let api = Api::here(place.config()).await.patient();
    let _worker = place.worker_at_work(&[]).await;
    let event = brief(&api).await;
    let room = format!("/api/v1/events/{event}/waiting-room");
    let wishes = json!({ "max_concurrent": 1, "session_duration": 300 });
    api.post(&format!("{room}/enable")).json(wishes).send().await.json(200);
    let ticket = api.post(&format!("{room}/join")).user("ann").send().await.json(200);
    let token = ticket["token"].as_str().unwrap();
    let mut socket = api.socket(event).await;
    let register = json!({ "type": "register_waiting_room", "token": token });
    socket.say(&register.to_string()).await;
    while socket.json().await["type"] != "admitted" {}
    let body = json!({ "event_id": event, "seat_ids": [1] });
    let ask = api.post("/api/v1/bookings").user("ann").json(body);
    let held = ask.header("X-Waiting-Room-Token", token).send().await.json(201);
    let told = loop {
        let message = socket.json().await;
        if message["type"] == "booking_expired" {
            break message;
        }
    };
    assert_eq!(told["booking_id"], held["id"]);
    api.stop().await;
}
