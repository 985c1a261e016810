//! `event unload` and `event load`: a sold event is removed from Redis and loaded again.

use serde_json::json;

use super::Shop;
use crate::on_one_redis;

on_one_redis!(closed_event_is_unloaded_and_loaded, async |flavor| {
    let shop = Shop::new(flavor).await;
    let _worker = shop.worker().await;
    let event = shop.world.event(4).await;
    let sold = shop.buy(event, "ann", &[1, 2]).await;
    let refused = shop.ctl(&format!("event unload {event}")).await;
    assert!(refused.refusal().contains("close it first"), "{refused:?}");

    shop.ctl(&format!("event close {event} --json")).await.json(0);
    let unloaded = shop.ctl(&format!("event unload {event} --wait-seconds 60 --json")).await;
    assert_eq!(unloaded.json(0), json!({ "event": event, "state": "unloaded", "before": false }));
    let again = shop.ctl(&format!("event unload {event} --json")).await.json(0);
    assert_eq!(again["before"], true);
    let shown = shop.ctl(&format!("bookings show {sold} --json")).await;
    assert!(shown.stdout.contains("CONFIRMED"), "{shown:?}");

    let loaded = shop.ctl(&format!("event load {event} --json")).await.json(0);
    let expected = json!({
        "event": event, "state": "loaded", "before": false, "bookings": 1, "blocked": 0,
    });
    assert_eq!(loaded, expected);
    assert_eq!(shop.ctl(&format!("event load {event} --json")).await.json(0)["before"], true);
    shop.ctl(&format!("event resume {event} --json")).await.json(0);
    assert_eq!(shop.world.free(event).await, Some(2));
});
