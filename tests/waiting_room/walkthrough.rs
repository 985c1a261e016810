//! From switching a room on to a purchase, as a client does it.

use serde_json::json;

use super::{SOON, TOKEN};
use crate::support::api::{Api, Place, places};
use crate::support::eventually;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn join_poll_admitted_book() {
    let place = Place::shared();
    let api = Api::program(&place, &[]).await.patient();
    let _worker = place.worker();
    let event = api.event(places(10)).await;
    // Without a room there is nothing to join, and no token is required.
    api.join_room(event, "early").await.problem(409, "waiting_room_off");
    api.held("early", event, &[10]).await;

    let path = format!("/api/v1/events/{event}/waiting-room/enable");
    let path = format!("{path}?max_concurrent=100&session_duration=300");
    let enabled = api.post(&path).send().await.json(200);
    assert_eq!(enabled["message"], "Waiting room enabled");
    assert_eq!(enabled["max_concurrent_users"], 100);
    assert_eq!(enabled["session_duration_seconds"], 300);

    let refused = api.hold("ann", event, &[1]).await.problem(403, "waiting_room_required");
    assert!(refused["detail"].as_str().unwrap().contains("waiting-room/join"), "{refused}");

    let joined = api.join_room(event, "ann").await.json(200);
    assert!(joined["position"].is_u64() && joined["estimated_wait_seconds"].is_u64(), "{joined}");
    let token = joined["token"].as_str().unwrap();
    let again = api.join_room(event, "ann").await.json(200);
    assert!(again["token"].is_string());
    assert_eq!(api.room_stats(event).await["joined"], 1, "joining again gives no other place");

    let status = api.admitted(event, token).await;
    assert_eq!(status["message"], "You can now proceed to book tickets");
    assert_eq!(status["status"], "admitted");
    assert!(status["session_seconds_left"].as_u64().unwrap() > 200, "{status}");
    let stats = api.room_stats(event).await;
    let shown = |name: &str| stats[name].as_u64().unwrap();
    assert_eq!(shown("event_id"), event);
    assert_eq!(["queue_size", "active_sessions", "max_concurrent"].map(shown), [0, 1, 100]);
    assert_eq!(shown("slots_available"), 99);
    assert!(shown("session_duration_seconds") >= 200, "{stats}");

    // Another user's token is refused, even for somebody without one.
    api.hold_in_room("bob", event, &[1], token).await.problem(403, "waiting_room_token_invalid");
    let booking = api.hold_in_room("ann", event, &[1], token).await.json(201);
    // The session ends with the purchase.
    eventually("it is paid", SOON, async || {
        api.act("ann", &booking, "confirm").await.status == 200
    })
    .await;
    let refused = api.hold_in_room("ann", event, &[2], token).await;
    refused.problem(403, "waiting_room_required");
    let over = api.room_status(event, token).await.problem(403, "waiting_room_token_invalid");
    assert_eq!(over["reason"], "session_ended");
    assert_eq!(api.room_stats(event).await["active_sessions"], 0);

    let path = format!("/api/v1/events/{event}/waiting-room/disable");
    api.post(&path).send().await.json(200);
    // A process learns of it with its next refresh.
    let bobs = async || api.hold("bob", event, &[2]).await.status == 201;
    eventually("nobody needs a token", SOON, bobs).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hold_outlives_its_session() {
    let place = Place::shared();
    let api = Api::program(&place, &[]).await.patient();
    let _worker = place.worker();
    let event = api.event(places(10)).await;
    api.enable_room(event, json!({ "session_duration": 2, "max_concurrent": 5 })).await;
    let token = api.joined(event, "ann").await;
    api.admitted(event, &token).await;
    let hold = async || api.hold_in_room("ann", event, &[1], &token).await;
    let booking = hold().await.json(201);
    eventually("the session is over", SOON, async || {
        api.room_status(event, &token).await.status == 403
    })
    .await;
    api.hold_in_room("ann", event, &[2], &token).await.problem(403, "waiting_room_required");
    // The same request again returns the booking, and the hold can be paid.
    let again = hold().await;
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.json(201)["id"], booking["id"]);
    eventually("it is paid", SOON, async || {
        api.act("ann", &booking, "confirm").await.status == 200
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn methods_and_a_sold_out_event() {
    let place = Place::shared();
    let api = Api::program(&place, &[]).await.patient();
    let worker = place.worker();
    let event = api.event(places(1)).await;
    api.enable_room(event, json!({ "method": "reject" })).await;
    api.join_room(event, "ann").await.problem(403, "waiting_room_closed");
    api.hold("ann", event, &[1]).await.problem(403, "waiting_room_required");
    api.enable_room(event, json!({ "method": "passthrough" })).await;
    let open = api.join_room(event, "ann").await.json(200);
    assert_eq!((&open["token"], &open["admitted"]), (&json!(null), &json!(true)));
    // A process learns of it with its next refresh.
    let lets_pass = async || api.hold("ann", event, &[1]).await.status == 201;
    eventually("everybody is let through", SOON, lets_pass).await;
    let booking = api.held("ann", event, &[1]).await;
    api.enable_room(event, json!({ "method": "fifo" })).await;
    // Everything is held: people wait, since seats may become free.
    let token = api.joined(event, "bob").await;
    eventually("it is paid", SOON, async || {
        api.act("ann", &booking, "confirm").await.status == 200
    })
    .await;
    eventually("who waits is message that all is sold", SOON, async || {
        api.room_status(event, &token).await.json(200)["status"] == "sold_out"
    })
    .await;
    api.join_room(event, "cid").await.problem(409, "sold_out");
    drop(worker);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queue_status_is_pushed() {
    let place = Place::shared();
    let api = Api::program(&place, &[]).await.patient();
    let event = api.event(places(10)).await;
    api.enable_room(event, json!({ "max_concurrent": 1, "session_duration": 2 })).await;
    let tokens = [api.joined(event, "ann").await, api.joined(event, "bob").await];
    let mut sockets = [api.socket(event).await, api.socket(event).await];
    for (socket, token) in sockets.iter_mut().zip(&tokens) {
        socket.say(&json!({ "type": "register_waiting_room", "token": token }).to_string()).await;
        assert_eq!(socket.json().await["type"], "registration_confirmed");
    }
    let [ann, bob] = &mut sockets;
    let positions = [ann.json().await, bob.json().await];
    assert_eq!(positions.map(|message| message["position"].as_u64().unwrap()), [1, 2]);
    let worker = place.worker();
    let admitted = ann.json().await;
    assert_eq!((&admitted["type"], &admitted["token"]), (&json!("admitted"), &json!(tokens[0])));
    // Bob moves forward, and is admitted when Ann's session is over.
    let message = bob.json().await;
    assert!(["position", "admitted"].contains(&message["type"].as_str().unwrap()), "{message}");
    if message["type"] == "position" {
        assert_eq!(message["position"], 1);
        assert_eq!(bob.json().await["type"], "admitted");
    }
    api.hold_in_room("bob", event, &[1], &tokens[1]).await.json(201);
    drop(worker);
}

#[tokio::test]
async fn token_is_accepted_in_every_form() {
    let place = Place::shared();
    let api = Api::program(&place, &[]).await.patient();
    let event = api.event(places(10)).await;
    api.enable_room(event, json!({})).await;
    let token = api.joined(event, "ann").await;
    let path = format!("/api/v1/events/{event}/waiting-room/status");
    let by_header = api.get(&path).header(TOKEN, &token).header("Accept", "application/json");
    let message = by_header.send().await.json(200);
    assert_eq!(message["cfWaitingRoom"]["inWaitingRoom"], true, "{message}");
    let message = api.get(&format!("{path}?token={token}")).header("Accept", "*/*").send().await;
    assert_eq!(message.json(200).get("cfWaitingRoom"), None);
    api.get(&path).send().await.problem(400, "invalid_parameter");
    let leave = format!("/api/v1/events/{event}/waiting-room/leave");
    api.post(&leave).json(json!({ "token": token })).send().await.json(200);
}
