//! `restore`: restores what Redis lost.

use serde_json::json;

use holdfast::domain::{EventId, Status};

use super::Shop;
use crate::on_one_redis;

/// Redis loses one event: only its keys are gone.
async fn lose(shop: &Shop, event: EventId) {
    let keys = shop.world.engine.keys().event_keys(event);
    let mut words = vec!["DEL"];
    words.extend(keys[..8].iter().map(String::as_str));
    shop.redis.command(&words);
}

on_one_redis!(lost_events_are_restored_by_a_command, async |flavor| {
    let shop = Shop::new(flavor).await;
    let settings = [("restore_on_loss", "false")];
    let _worker = shop.worker_with(&settings).await;
    let (kept, lost) = (shop.world.event(4).await, shop.world.event(6).await);
    shop.buy(kept, "ann", &[1]).await;
    let sold = shop.buy(lost, "ann", &[1, 2]).await;
    let held = shop.hold(lost, "bob", &[4]).await;
    shop.world.verified().await;
    let nothing = shop.ctl("restore").await;
    nothing.ended(0);
    assert!(nothing.stdout.contains("Nothing is lost."), "{nothing:?}");

    lose(&shop, lost).await;
    shop.ctl("verify --wait-seconds 0").await.ended(1);
    let restored = shop.ctl("restore --json").await;
    assert!(restored.stderr.contains(&format!("event {lost}: 1 sold bookings")), "{restored:?}");
    let mut restored = restored.json(0);
    let seconds = restored["events"][0].as_object_mut().unwrap().remove("seconds");
    assert!(seconds.unwrap().as_f64().unwrap() > 0.0);
    let expected = json!({
        "events": [{
            "event": lost, "result": "loaded", "merged": false,
            "sold": 1, "undone": 0, "live": 1, "ended": 0, "blocked": 0,
        }],
        "logs": [],
    });
    assert_eq!(restored, expected);
    assert_eq!(shop.world.status(sold).await, Some(Status::Confirmed));
    assert_eq!(shop.world.status(held).await, Some(Status::Hold));
    shop.world.verified().await;

    // An existing event is merged; a failure is reported.
    let merged = shop.ctl(&format!("restore --event {kept} --json")).await.json(0);
    assert_eq!(merged["events"][0]["result"], "merged", "{merged}");
    shop.world.verified().await;
    let unknown = shop.ctl("restore --event 999").await;
    unknown.ended(2);
    assert!(unknown.stdout.contains("does not exist"), "{unknown:?}");
    shop.ctl(&format!("event close {kept}")).await.ended(0);
    shop.ctl(&format!("event unload {kept} --wait-seconds 60")).await.ended(0);
    let unloaded = shop.ctl(&format!("restore --event {kept} --json")).await.json(2);
    let error = unloaded["events"][0]["error"].as_str().unwrap();
    assert!(error.contains(&format!("holdfastctl event load {kept}")), "{error}");
});
