//! A Redis that lost its last writes: sockets receive a gap and the new state.

use serde_json::json;

use crate::support::api::{Api, Place, places};
use crate::support::followers::{Follower, Subscription};
use crate::support::servers::{Flavor, available, private_redis, shared_mongodb};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_writes_are_sent_as_a_gap() {
    let flavor = if available(Flavor::Redis) { Flavor::Redis } else { Flavor::Valkey };
    let redis = private_redis(flavor);
    let api = Api::here(Place::new(&redis, shared_mongodb()).config()).await.patient();
    let event = api.event(places(20)).await;
    let mut subscription = Subscription::Socket(api.socket(event).await);
    let mut follower = Follower::default();
    follower.apply(&subscription.next_message().await);
    let saved = redis.saved_writes();
    api.held("bob", event, &[5]).await;
    follower.apply(&subscription.next_message().await);
    let lost = follower.at().unwrap();
    redis.kill();
    redis.put_back_writes(&saved);
    tokio::task::block_in_place(|| redis.restart());
    // The new history has the same version, with another content.
    api.held("zed", event, &[10]).await;
    while follower.bytes_at(10) != Some(b'h') {
        follower.apply(&subscription.next_message().await);
    }
    assert_eq!(follower.bytes_at(5), Some(b'a'));
    assert!(follower.at().unwrap().1 >= lost.1);
    assert!(follower.count("gap") >= 1, "{:?}", follower.heard);
    // Later changes are sent as usual.
    let held = api.held("eve", event, &[5]).await;
    let update = subscription.next_message().await;
    assert_eq!((&update["status"], &update["seat_ids"]), (&json!("HOLD"), &json!([5])), "{held}");
    api.stop().await;
}
