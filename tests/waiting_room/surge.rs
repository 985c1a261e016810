//! A room switches on when many people come, and off when they have gone.

use futures_util::future::join_all;
use serde_json::json;

use super::SOON;
use crate::support::api::{Api, Place, places};
use crate::support::eventually;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn surge_switches_the_room_on_and_calm_off() {
    let place = Place::shared();
    let apis =
        [Api::program(&place, &[]).await.patient(), Api::program(&place, &[]).await.patient()];
    let worker = place.worker();
    let event = apis[0].event(places(5)).await;
    let path = format!("/api/v1/events/{event}/waiting-room/enable");
    let wishes = json!({
        "automatic": true, "surge_per_second": 10, "calm_per_second": 5, "max_concurrent": 50,
    });
    apis[0].post(&path).json(wishes).send().await.json(200);
    let booking = apis[0].held("first", event, &[1]).await;
    assert_eq!(apis[0].room_stats(event).await["enabled"], false);
    let mut round = 0;
    eventually("a surge switches it on", SOON, async || {
        round += 1;
        let asks = (0..10).map(|n| {
            let user = format!("user-{round}-{n}");
            let api = &apis[n % 2];
            async move { api.hold(&user, event, &[1]).await.status }
        });
        join_all(asks).await.contains(&403)
    })
    .await;
    let stats = apis[1].room_stats(event).await;
    assert_eq!((&stats["enabled"], &stats["by_surge"]), (&json!(true), &json!(true)));
    let token = apis[1].joined(event, "late").await;
    apis[1].admitted(event, &token).await;
    apis[0].hold_in_room("late", event, &[2], &token).await.json(201);
    // Calm for a minute, and nobody waits.
    eventually("it goes off again", SOON * 3, async || {
        apis[0].room_stats(event).await["enabled"] == false
    })
    .await;
    apis[0].held("after", event, &[3]).await;
    drop((worker, booking));
}
