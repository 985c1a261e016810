//! `bookings cancel` and `bookings refund`.

use holdfast::domain::{BookingId, EventId};
use serde_json::{Value, json};

use super::{ARCHIVED_WITHIN, Shop};
use crate::support::eventually;

async fn status_of(shop: &Shop, id: BookingId) -> Value {
    shop.ctl(&format!("bookings show {id} --json")).await.json(0)
}

async fn free_seats(shop: &Shop, event: EventId) -> Value {
    let status = shop.ctl("status --json").await.json(0);
    let events = status["events"]["on_sale"].as_array().unwrap().clone();
    events.into_iter().find(|one| one["id"] == event.0).unwrap()["free"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hold_is_cancelled_once_and_only_when_confirmed() {
    let shop = Shop::any().await;
    let event = shop.world.event(4).await;
    let id = shop.hold(event, "ann", &[1, 2]).await;
    let cancel = format!("bookings cancel {id} --reason phone");
    // Standard input is no terminal.
    let ran = shop.ctl(&cancel).await;
    assert!(ran.code == 2 && ran.stderr.contains("add --yes"), "{ran:?}");
    assert!(ran.stderr.contains("of ann (HOLD): event 1, seats 1,2"), "{ran:?}");
    assert_eq!(free_seats(&shop, event).await, 2);
    assert_eq!(shop.ctl("audit --json").await.json(0)["acts"], json!([]), "nothing was done");

    let done = shop.ctl(&format!("{cancel} --yes --json")).await.json(0);
    assert_eq!((&done["status"], &done["replayed"]), (&json!("CANCELLED"), &json!(false)));
    assert_eq!((&done["refund"], &done["user"]), (&Value::Null, &json!("ann")), "{done}");
    assert_eq!(free_seats(&shop, event).await, 4);
    let again = shop.ctl(&format!("{cancel} --yes --json")).await.json(0);
    assert_eq!((&again["status"], &again["replayed"]), (&json!("CANCELLED"), &json!(true)));
    let act = shop.ctl("audit --json").await.json(0)["acts"][0].clone();
    assert_eq!((&act["act"], &act["result"]), (&json!("ctl bookings cancel"), &json!("ok")));
    assert_eq!(act["target"], json!(format!("booking {id}")));
    assert!(act["detail"].as_str().unwrap().contains("--reason phone"), "{act}");

    let refund = format!("bookings refund {id} --reason x --yes");
    let ran = shop.ctl(&refund).await;
    assert!(ran.code == 2 && ran.stderr.contains("has decided nothing"), "{ran:?}");
    let unknown = "bookings cancel 019a8f6e-5f2c-8a31-8000-0001c0000000 --reason x --yes";
    let ran = shop.ctl(unknown).await;
    assert!(ran.code == 2 && ran.stderr.contains("neither in Redis nor in the archive"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sale_is_cancelled_and_refunded_once() {
    let shop = Shop::any().await;
    let _worker = shop.worker().await;
    let event = shop.world.event(4).await;
    let id = shop.buy(event, "ann", &[1, 2]).await;
    shop.archived().await;
    let refund = format!("bookings refund {id} --reason x --yes");
    let ran = shop.ctl(&refund).await;
    assert!(ran.code == 2 && ran.stderr.contains("is sold: its money goes back when"), "{ran:?}");

    let cancel = format!("bookings cancel {id} --reason asked --yes");
    let text = shop.ctl(&cancel).await;
    assert!(text.stdout.contains("is cancelled; seats 1,2 are free."), "{text:?}");
    assert!(text.stdout.contains(" EUR: given back"), "{text:?}");
    assert_eq!(free_seats(&shop, event).await, 4);
    let shown = status_of(&shop, id).await;
    let (taken, back) = (&shown["provider"]["amount"], &shown["provider"]["refunded"]);
    assert!(taken == back && taken.as_i64().unwrap() > 0, "{shown}");
    // Twice gives nothing back twice.
    for line in [&cancel, &refund] {
        let again = shop.ctl(&format!("{line} --json")).await.json(0);
        assert_eq!(again["refund"], json!({ "is_done": true, "result": "given back" }), "{again}");
    }
    assert_eq!(status_of(&shop, id).await["provider"]["refunded"], *back);
    // The seats can be sold again.
    shop.buy(event, "bob", &[1, 2]).await;
    shop.archived().await;
    eventually("all agrees", ARCHIVED_WITHIN, async || shop.ctl("verify").await.code == 0).await;
    shop.ctl("reconcile").await.ended(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policy_of_the_event_applies_unless_it_is_waived() {
    let shop = Shop::any().await;
    let _worker = shop.worker().await;
    let event = shop.world.event(2).await;
    shop.ctl(&format!("event change {event} --cancellation not_allowed")).await.ended(0);
    let id = shop.buy(event, "ann", &[1]).await;
    shop.archived().await;
    let cancel = format!("bookings cancel {id} --reason x --yes");
    let ran = shop.ctl(&cancel).await;
    assert!(ran.code == 2 && !ran.stderr.is_empty(), "{ran:?}");
    assert_eq!(free_seats(&shop, event).await, 1);
    let act = shop.ctl("audit --json").await.json(0)["acts"][0].clone();
    assert_eq!(act["act"], "ctl bookings cancel");
    assert_ne!(act["result"], "ok", "{act}");
    shop.ctl(&format!("{cancel} --waive-policy")).await.ended(0);
    assert_eq!(free_seats(&shop, event).await, 2);
}
