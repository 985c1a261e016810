//! Redis forgets, and nobody loses their place.

use serde_json::json;

use super::SOON;
use crate::support::api::{Api, Place, places};
use crate::support::eventually;
use crate::support::servers::{Flavor, available, private_redis, shared_mongodb};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_keeps_the_place_when_redis_forgets() {
    let flavor = if available(Flavor::Redis) { Flavor::Redis } else { Flavor::Valkey };
    let redis = private_redis(flavor);
    let place = Place::new(&redis, shared_mongodb());
    let api = Api::program(&place, &[]).await.patient();
    let event = api.event(places(50)).await;
    let room = json!({ "max_concurrent": 2, "session_duration": 600, "claim_window": 60 });
    api.enable_room(event, room).await;
    let mut tokens = Vec::new();
    for n in 0..6 {
        tokens.push(api.joined(event, &format!("user-{n}")).await);
    }
    let worker = place.worker();
    for token in &tokens[..2] {
        api.admitted(event, token).await;
    }
    let before = api.room_status(event, &tokens[5]).await.json(200)["position"].as_u64().unwrap();
    assert_eq!(before, 4);
    redis.command(&["FLUSHALL"]);
    // The event comes back with its room on: at no moment somebody books without a session.
    eventually("the event is back", SOON, async || {
        let reply = api.client().hold("eve", event, &[40]).await;
        assert_ne!(reply.status, 201, "a hold without a session");
        reply.status == 403
    })
    .await;
    // Numbers are not given again, and nobody moved back.
    let newcomer = api.joined(event, "new").await;
    let position = |reply: serde_json::Value| reply["position"].as_u64().unwrap();
    assert_eq!(position(api.room_status(event, &newcomer).await.json(200)), 5);
    let after = position(api.room_status(event, &tokens[5]).await.json(200));
    assert!(after <= before, "{after} after {before}");
    // Those whose sessions were forgotten are let in again, by their tokens, before the others.
    for token in &tokens[..2] {
        api.admitted(event, token).await;
    }
    api.hold_in_room("user-0", event, &[1], &tokens[0]).await.json(201);
    let third = api.room_status(event, &tokens[2]).await.json(200);
    assert_eq!(third["admitted"], false, "{third}");
    drop(worker);
}
