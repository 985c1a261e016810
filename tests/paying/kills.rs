//! Processes killed between any two steps of a payment.

use futures_util::future::join_all;
use holdfast::domain::Status;
use serde_json::{Value, json};

use super::{SETTLED, SHORT, Totals, api, booking_id, books_agree};
use crate::support::api::{Api, Place, places};
use crate::support::eventually;

/// A hold that ends soon, but not before it is confirmed on a busy machine.
const SHORT_HOLD_SECONDS: u32 = 4;
/// The price of a seat.
const PRICE: i64 = 100;

/// A step of the API after which it is killed, the card, and whether money has moved by then.
const STEPS: [(&str, &str, bool); 6] = [
    ("after_begin", "card_ok", false),
    ("after_create", "card_ok", false),
    ("after_intent", "card_ok", false),
    ("after_charge", "card_ok", true),
    ("after_commit", "card_ok", true),
    ("after_decline", "card_declined", false),
];

/// Holds a seat, and confirms it in a process that is killed at this step.
async fn killed_at(place: &Place, step: &str, card: &str, hold_seconds: u32) -> (u64, Value) {
    let victim = api(place, &format!("{step}:kill")).await;
    let mut event = places(2);
    event["hold_ttl_seconds"] = hold_seconds.into();
    let event = victim.event(event).await;
    let held = victim.held("ann", event, &[1]).await;
    let path = format!("/api/v1/bookings/{}/confirm", held["id"].as_str().unwrap());
    let confirm = async || {
        let call = victim.post(&path).user("ann").json(json!({ "payment_method": card }));
        call.try_send().await
    };
    // On a busy machine a service may time out before this step is reached.
    eventually(&format!("{step}: it dies"), SETTLED, async || match confirm().await {
        Err(_) => true,
        Ok(reply) => {
            let is_late = reply.status == 503 || reply.any_problem()["error"] == "in_flight";
            assert!(is_late, "{step}: {}", reply.text());
            false
        }
    })
    .await;
    victim.process().ended(SETTLED).await;
    (event, held)
}

async fn status(api: &Api, booking: &Value) -> String {
    let reply = api.booking("ann", booking).await;
    match reply.status {
        200 => reply.json(200)["status"].as_str().expect("a status").to_owned(),
        _ => String::new(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn returning_buyer_pays_once() {
    let place = Place::shared();
    let survivor = api(&place, "").await;
    let _worker = place.worker_with(&SHORT);
    let (_, archive) = place.services().await;
    let runs = STEPS.map(async |(step, card, _)| {
        let (event, held) = killed_at(&place, step, card, 300).await;
        eventually(&format!("{step}: confirmed"), SETTLED, async || {
            let reply = survivor.act("ann", &held, "confirm").await;
            assert!(reply.status < 500 || reply.status == 503, "{step}: {}", reply.text());
            reply.status == 200
        })
        .await;
        survivor.counts_become(event, (1, 0, 1)).await;
        let expected = Totals { sold: PRICE, charged: PRICE, refunded: 0 };
        assert_eq!(books_agree(&archive, &[event]).await, expected, "{step}");
    });
    join_all(runs).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn abandoned_payment_is_settled_or_refunded() {
    let place = Place::shared();
    let survivor = api(&place, "").await;
    let _worker = place.worker_with(&SHORT);
    let (_, archive) = place.services().await;
    let runs = STEPS.map(async |(step, card, is_paid)| {
        let (event, held) = killed_at(&place, step, card, SHORT_HOLD_SECONDS).await;
        let end = if is_paid { "CONFIRMED" } else { "EXPIRED" };
        eventually(&format!("{step}: {end}"), SETTLED, async || {
            status(&survivor, &held).await == end
        })
        .await;
        let paid = i64::from(is_paid) * PRICE;
        let expected = Totals { sold: paid, charged: paid, refunded: 0 };
        assert_eq!(books_agree(&archive, &[event]).await, expected, "{step}");
        let (sold, free) = if is_paid { (1, 1) } else { (0, 2) };
        survivor.counts_become(event, (free, 0, sold)).await;
    });
    join_all(runs).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn suspended_process_does_not_charge_again() {
    let place = Place::shared();
    let survivor = api(&place, "").await;
    let _worker = place.worker_with(&SHORT);
    let (engine, archive) = place.services().await;
    let runs = ["after_begin", "after_create", "after_intent", "after_charge"].map(async |step| {
        let sleeper = api(&place, &format!("{step}:stop")).await;
        let event = survivor.event(places(2)).await;
        let held = sleeper.held("ann", event, &[1]).await;
        let asleep = sleeper.act("ann", &held, "confirm");
        let awake = async {
            eventually(&format!("{step}: confirmed"), SETTLED, async || {
                survivor.act("ann", &held, "confirm").await.status == 200
            })
            .await;
            sleeper.process().thaw();
        };
        let (late, ()) = tokio::join!(asleep, awake);
        // Suspended for seconds, its calls may have timed out: before the charge it may report that.
        let may_fail = ["after_begin", "after_create"].contains(&step) && late.status == 503;
        let is_fine = may_fail || [200, 202, 409].contains(&late.status);
        assert!(is_fine, "{step}: {}", late.text());
        let expected = Totals { sold: PRICE, charged: PRICE, refunded: 0 };
        assert_eq!(books_agree(&archive, &[event]).await, expected, "{step}");
        let booking = engine.get_booking(booking_id(&held)).await.unwrap();
        assert_eq!(booking.into_booking().unwrap().status, Status::Confirmed, "{step}");
    });
    join_all(runs).await;
}
