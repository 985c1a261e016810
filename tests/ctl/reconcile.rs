//! `holdfastctl reconcile`: Redis, the archive and the provider held against each other.

use serde_json::json;

use super::{ARCHIVED_WITHIN, Shop};
use crate::on_each_redis;
use crate::support::eventually;

on_each_redis!(money_without_a_sale_is_found_and_mended, async |flavor| {
    let shop = Shop::new(flavor).await;
    let worker = shop.worker().await;
    let event = shop.world.event_of(10, Some(2)).await;
    shop.buy(event, "ann", &[1, 2]).await;
    let report = shop.ctl("reconcile --json --wait-seconds 60").await.json(0);
    assert_eq!(report["totals"], json!({ "EUR": { "sold": 200, "charged": 200, "refunded": 0 } }));
    assert_eq!((&report["clean"], &report["payments"]), (&json!(true), &json!(1)));
    let cancelled = shop.buy(event, "bob", &[3]).await;
    shop.cancel("bob", cancelled).await;
    let report = shop.ctl("reconcile --json --wait-seconds 60").await.json(0);
    assert_eq!(
        report["totals"],
        json!({ "EUR": { "sold": 200, "charged": 300, "refunded": 100 } })
    );

    // Money that no worker is there to look after: its hold has lapsed.
    assert!(worker.stop());
    let held = shop.world.hold("cid", event, &[4], None).await.unwrap();
    shop.world.charge_unseen(&held.booking).await;
    let id = held.booking.id;
    eventually("it has lapsed", ARCHIVED_WITHIN, async || {
        shop.world.status(id).await == Some(holdfast::domain::Status::Expired)
    })
    .await;
    let report = shop.ctl("reconcile --json --wait-seconds 0").await.json(1);
    let expected = json!({ "booking": id, "problem": "paid, and neither sold nor given back" });
    assert_eq!(report["differences"], json!([expected]), "{report}");
    let text = shop.ctl(&format!("reconcile --wait-seconds 0 --event {event}")).await;
    assert!(text.code == 1 && text.stdout.contains("NOT CLEAN: 3 payments, 1 diff"), "{text:?}");

    let _worker = shop.worker().await;
    let report = shop.ctl("reconcile --json --fix --wait-seconds 60").await.json(0);
    let mended = json!([{ "booking": id, "result": "committed" }]);
    assert!(report["mended"] == mended || report["mended"] == json!([]), "{report}");
    assert_eq!(shop.world.free(event).await, Some(7));
    shop.ctl("reconcile --event 999999").await.refusal();
});
