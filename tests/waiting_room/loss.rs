//! Redis loses its data, and nobody loses their place.

use serde_json::json;

use super::SOON;
use crate::support::api::{Api, Place, number_in, places};
use crate::support::eventually;
use crate::support::servers::{Flavor, available, private_redis, shared_mongodb};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn places_survive_a_loss_of_redis() {
    let flavor = if available(Flavor::Redis) { Flavor::Redis } else { Flavor::Valkey };
    let redis = private_redis(flavor);
    let place = Place::new(&redis, shared_mongodb());
    let api = Api::program(&place, &[]).await.patient();
    let event = api.event(places(50)).await;
    let room = json!({ "max_concurrent": 2, "session_duration": 600, "claim_window": 3 });
    api.enable_room(event, room).await;
    let mut tokens = Vec::new();
    for n in 0..6 {
        tokens.push(api.joined(event, &format!("user-{n}")).await);
    }
    let worker = place.worker();
    for token in &tokens[..2] {
        api.admitted(event, token).await;
    }
    let position = async || {
        let status = api.room_status(event, &tokens[5]).await.json(200);
        status["position"].as_u64().unwrap_or_else(|| panic!("no position: {status}"))
    };
    // Positions are those of a moment ago.
    eventually("two are let in", SOON, async || position().await == 4).await;
    redis.command(&["FLUSHALL"]);
    // The event is restored with its room on: at no moment can anybody book without a session.
    eventually("the event is back", SOON, async || {
        let reply = api.client().hold("eve", event, &[40]).await;
        assert_ne!(reply.status, 201, "a hold without a session");
        reply.status == 403
    })
    .await;
    // Numbers are not reused, and nobody moved back: the newcomer is last.
    let newcomer = api.joined(event, "new").await;
    let numbers = [&tokens[5], &newcomer].map(|token| number_in(token));
    assert_eq!(numbers, [6, 7]);
    let after = position().await;
    assert!(after <= 4, "{after} after 4");
    // Owners of lost sessions are admitted again, by their tokens, once those served meanwhile do not
    // claim.
    for (n, token) in tokens[..2].iter().enumerate() {
        api.admitted(event, token).await;
        let user = format!("user-{n}");
        api.hold_in_room(&user, event, &[n as u32 + 1], token).await.json(201);
    }
    drop(worker);
}
