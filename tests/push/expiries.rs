//! Expired holds: their owners are notified, and no other user.

use serde_json::{Value, json};

use crate::support::api::{Api, Place, places};
use crate::support::followers::EventStream;
use crate::support::http::Client;

/// An event whose holds last a second.
async fn event_with_short_holds(api: &Client) -> u64 {
    let mut event = places(8);
    event["hold_ttl_seconds"] = 1.into();
    api.event(event).await
}

async fn expiry(stream: &mut EventStream) -> Value {
    loop {
        let message = stream.next_message().await;
        if message["type"] == "booking_expired" {
            return message;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expired_hold_is_sent_to_its_owner_only() {
    let place = Place::shared();
    let api = Api::here(place.config()).await.patient();
    let _worker = place.worker_at_work(&[]).await;
    let (event, other) = (event_with_short_holds(&api).await, event_with_short_holds(&api).await);
    let (as_ann, as_bob) = (&[("x-user-id", "ann")], &[("x-user-id", "bob")]);
    let mut ann = api.socket_with(event, "", as_ann).await;
    let mut again = api.stream_with(event, "", as_ann).await;
    let mut elsewhere = api.socket_with(other, "", as_ann).await;
    let mut bob = api.socket_with(event, "?user_id=bob", &[]).await;
    let mut nobody = api.socket(event).await;
    let held = api.held("ann", event, &[1, 2]).await;
    let expired = ann.json().await;
    let expected = json!({
        "type": "booking_expired", "event_id": event, "booking_id": held["id"],
        "seat_ids": [1, 2], "timestamp": expired["timestamp"],
        "message": "Your hold has expired; the seats are free again",
    });
    assert_eq!(expired, expected);
    assert_eq!(expiry(&mut again).await, expected);
    // A hold that its owner cancels is not sent.
    let cancelled = api.held("bob", event, &[3]).await;
    api.act("bob", &cancelled, "cancel").await.json(200);
    let held = api.held("bob", event, &[4]).await;
    assert_eq!(bob.json().await["booking_id"], held["id"]);
    let mut late = api.socket_with(event, "", as_bob).await;
    // An earlier message would arrive before the pong.
    for socket in [&mut ann, &mut elsewhere, &mut nobody, &mut late] {
        socket.say(r#"{"type":"ping"}"#).await;
        assert_eq!(socket.json().await["type"], "pong");
    }
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_room_token_identifies_the_owner_of_holds() {
    let place = Place::shared();
    let api = Api::here(place.config()).await.patient();
    let _worker = place.worker_at_work(&[]).await;
    let event = event_with_short_holds(&api).await;
    let room = format!("/api/v1/events/{event}/waiting-room");
    let settings = json!({ "max_concurrent": 1, "session_duration": 300 });
    api.post(&format!("{room}/enable")).json(settings).send().await.json(200);
    let ticket = api.post(&format!("{room}/join")).user("ann").send().await.json(200);
    let token = ticket["token"].as_str().unwrap();
    let mut socket = api.socket(event).await;
    let register = json!({ "type": "register_waiting_room", "token": token });
    socket.say(&register.to_string()).await;
    while socket.json().await["type"] != "admitted" {}
    let body = json!({ "event_id": event, "seat_ids": [1] });
    let request = api.post("/api/v1/bookings").user("ann").json(body);
    let held = request.header("X-Waiting-Room-Token", token).send().await.json(201);
    let expired = loop {
        let message = socket.json().await;
        if message["type"] == "booking_expired" {
            break message;
        }
    };
    assert_eq!(expired["booking_id"], held["id"]);
    api.stop().await;
}
