//! The waiting room over sockets and streams: positions, admission, invalid tokens.

use serde_json::{Value, json};

use crate::support::api::{Api, Place, places};
use crate::support::http::Client;
use crate::support::sockets::{BOUND, Socket};

/// The state of an admitted user is read again when the session ends, so the test waits this long.
const SESSION_SECONDS: u64 = 20;

/// A room that admits one at a time.
async fn room(api: &Client) -> u64 {
    let event = api.event(places(4)).await;
    let path = format!("/api/v1/events/{event}/waiting-room/enable");
    let settings = json!({ "max_concurrent": 1, "session_duration": SESSION_SECONDS });
    api.post(&path).json(settings).send().await.json(200);
    event
}

async fn join(api: &Client, event: u64, user: &str) -> String {
    let path = format!("/api/v1/events/{event}/waiting-room/join");
    let ticket = api.post(&path).user(user).send().await.json(200);
    ticket["token"].as_str().expect("a token").to_owned()
}

async fn register(socket: &mut Socket, token: &str) -> Value {
    let command = json!({ "type": "register_waiting_room", "token": token });
    socket.say(&command.to_string()).await;
    socket.json().await
}

/// The first message of this type; earlier ones must be of type `between`.
async fn first_of(socket: &mut Socket, kind: &str, between: &str) -> Value {
    loop {
        let message = socket.json().await;
        if message["type"] == kind {
            return message;
        }
        assert_eq!(message["type"], between, "{message}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_user_gets_positions_and_admission_pushed() {
    let place = Place::shared();
    let api = Api::here(place.config()).await.patient();
    let _worker = place.worker_at_work(&[]).await;
    let event = room(&api).await;
    let (ann, bob) = (join(&api, event, "ann").await, join(&api, event, "bob").await);
    let mut first = api.socket(event).await;
    let confirmed = register(&mut first, &ann).await;
    let expected = ("registration_confirmed".into(), event.into());
    assert_eq!((&confirmed["type"], &confirmed["event_id"]), (&expected.0, &expected.1));
    let admitted = first_of(&mut first, "admitted", "position").await;
    assert_eq!(admitted["token"], ann);
    assert_eq!(admitted["message"], "You can now proceed to book tickets");
    let ends: jiff::Timestamp = admitted["session_expires_at"].as_str().unwrap().parse().unwrap();
    assert!(ends > jiff::Timestamp::now());
    // Bob waits behind Ann, over an event stream.
    let request = format!(
        "GET /api/v1/events/{event}/stream?waiting_room_token={bob} HTTP/1.1\r\nHost: localhost\r\n\r\n"
    );
    let mut stream = api.raw(request.as_bytes()).await;
    let has = |read: &[u8], text: &str| String::from_utf8_lossy(read).contains(text);
    // Positions may be a moment old.
    let read = stream.until(BOUND, |read| has(read, r#""position":1,"#)).await;
    assert!(has(&read, "event: registration_confirmed\n") && has(&read, "event: position\n"));
    let hold = |user: &'static str, token: String, seat: u32| {
        let body = json!({ "event_id": event, "seat_ids": [seat] });
        let request = api.post("/api/v1/bookings").user(user).json(body);
        request.header("X-Waiting-Room-Token", &token).send()
    };
    hold("bob", bob.clone(), 1).await.problem(403, "waiting_room_required");
    hold("ann", ann.clone(), 1).await.json(201);
    // Ann leaves; Bob is admitted and notified.
    let leave = format!("/api/v1/events/{event}/waiting-room/leave");
    let left = api.post(&leave).user("ann").json(json!({ "token": ann })).send().await;
    left.json(200);
    stream.until(BOUND, |read| has(read, "event: admitted\n")).await;
    hold("bob", bob, 2).await.json(201);
    // Ann's session has ended, and her token with it.
    let over = first_of(&mut first, "error", "admitted").await;
    assert_eq!(over["error"], "waiting_room_token_invalid");
    api.stop().await;
}

#[tokio::test]
async fn token_is_valid_for_its_event_and_user_only() {
    let api = Api::here(Place::shared().config()).await.patient();
    let (event, other) = (room(&api).await, room(&api).await);
    let token = join(&api, event, "ann").await;
    let mut altered = token.clone();
    let last = if altered.pop() == Some('A') { 'E' } else { 'A' };
    altered.push(last);
    let as_bob = [("x-user-id", "bob")];
    for (event, headers, token) in
        [(other, &[][..], &token), (event, &as_bob[..], &token), (event, &[][..], &altered)]
    {
        let mut socket = api.try_socket(event, headers).await.expect("an open socket");
        assert_eq!(socket.json().await["type"], "connected");
        let refused = register(&mut socket, token).await;
        assert_eq!(refused["error"], "waiting_room_token_invalid", "{refused}");
    }
    let stream = |event: u64, user: &'static str| {
        let path = format!("/api/v1/events/{event}/stream");
        api.get(&path).user(user).header("X-Waiting-Room-Token", &token).send()
    };
    stream(other, "ann").await.problem(403, "waiting_room_token_invalid");
    stream(event, "bob").await.problem(403, "waiting_room_token_invalid");
    api.stop().await;
}
