//! Declined cards, failing cards, lost responses, and the same card sent six times.

use futures_util::future::join_all;
use holdfast::domain::BookingId;
use serde_json::json;

use super::{SETTLED, SHORT, api, booking_id, books_agree, receipt};
use crate::on_one_redis;
use crate::support::api::{Api, Place, places};
use crate::support::eventually;
use crate::support::http::Reply;
use crate::support::servers::{shared_mongodb, shared_redis};

async fn pay(api: &Api, booking: BookingId, card: &str) -> Reply {
    let path = format!("/api/v1/bookings/{booking}/confirm");
    api.post(&path).user("ann").json(json!({ "payment_method": card })).send().await
}

on_one_redis!(six_concurrent_confirmations_charge_once, async |flavor| {
    let place = Place::new(shared_redis(flavor), shared_mongodb());
    let apis = [api(&place, "").await, api(&place, "").await];
    let _worker = place.worker();
    let (_, archive) = place.services().await;
    let event = apis[0].event(places(3)).await;
    let held = apis[0].held("ann", event, &[1, 2]).await;
    let calls = (0..6).map(|n| apis[n % 2].act("ann", &held, "confirm"));
    for reply in join_all(calls).await {
        match reply.status {
            200 | 202 => {}
            _ => drop(reply.problem(409, "in_flight")),
        }
    }
    let mut paid = None;
    eventually("it is confirmed", SETTLED, async || {
        let reply = apis[0].act("ann", &held, "confirm").await;
        paid = (reply.status == 200).then_some(reply);
        paid.is_some()
    })
    .await;
    let paid = paid.expect("eventually() saw it");
    let replays = (0..6).map(|n| apis[n % 2].act("ann", &held, "confirm"));
    for replay in join_all(replays).await {
        assert_eq!(receipt(&replay), receipt(&paid));
    }
    let totals = books_agree(&archive, &[event]).await;
    assert_eq!(
        (totals.sold, totals.charged),
        (held["total_amount"].as_i64().unwrap(), totals.sold)
    );
});

on_one_redis!(another_card_works_after_a_decline, async |flavor| {
    let place = Place::new(shared_redis(flavor), shared_mongodb());
    let api = api(&place, "").await;
    let worker = place.worker_with(&SHORT);
    let (_, archive) = place.services().await;
    let event = api.event(places(3)).await;
    let held = api.held("ann", event, &[1]).await;
    let id = booking_id(&held);
    for card in ["card_declined", "card_error", "card_declined"] {
        pay(&api, id, card).await.problem(402, "payment_declined");
        let now = api.booking("ann", &held).await.json(200);
        assert_eq!(now["status"], "HOLD");
        assert_eq!(now["hold_expires_at"], held["hold_expires_at"], "the deadline stays");
    }
    eventually("another card pays", SETTLED, async || pay(&api, id, "card_ok").await.status == 200)
        .await;
    let payment = archive.simulated_payments().find(id).await.unwrap();
    let payment = payment.expect("it was charged");
    // The failed second attempt left no trace at the provider.
    assert_eq!((payment.declined, payment.paid_attempt), (vec![1, 3], Some(4)));
    // A booking that is declined and then cancelled: its object is cancelled for good, its seats free.
    let other = api.held("ann", event, &[2]).await;
    pay(&api, booking_id(&other), "card_declined").await.problem(402, "payment_declined");
    api.act("ann", &other, "cancel").await.json(200);
    eventually("its object is cancelled", SETTLED, async || {
        archive.intent_due(booking_id(&other), 0).await.unwrap();
        let intent = archive.intent(booking_id(&other)).await.unwrap().expect("it was declined");
        intent.state == holdfast::domain::IntentState::Cancelled
    })
    .await;
    books_agree(&archive, &[event]).await;
    drop(worker);
});

on_one_redis!(charge_with_a_lost_response_charges_once, async |flavor| {
    let place = Place::new(shared_redis(flavor), shared_mongodb());
    let api = api(&place, "").await;
    let _worker = place.worker_with(&SHORT);
    let (_, archive) = place.services().await;
    let event = api.event(places(3)).await;
    let held = api.held("ann", event, &[1]).await;
    let id = booking_id(&held);
    let reply = pay(&api, id, "card_timeout").await;
    assert!([200, 202].contains(&reply.status), "{}", reply.text());
    eventually("it is confirmed", SETTLED, async || {
        let reply = pay(&api, id, "card_ok").await;
        assert!(reply.status < 500 && reply.status != 402, "{}", reply.text());
        reply.status == 200
    })
    .await;
    let totals = books_agree(&archive, &[event]).await;
    assert_eq!((totals.charged, totals.refunded), (100, 0));
});

on_one_redis!(cancelled_sale_is_refunded, async |flavor| {
    let place = Place::new(shared_redis(flavor), shared_mongodb());
    let api = api(&place, "").await;
    let _worker = place.worker_with(&SHORT);
    let (_, archive) = place.services().await;
    let event = api.event(places(3)).await;
    let held = api.held("ann", event, &[1, 3]).await;
    eventually("it is confirmed", SETTLED, async || {
        pay(&api, booking_id(&held), "card_ok").await.status == 200
    })
    .await;
    api.act("ann", &held, "cancel").await.json(200);
    let totals = books_agree(&archive, &[event]).await;
    assert_eq!((totals.sold, totals.charged, totals.refunded), (0, 200, 200));
    api.counts_become(event, (3, 0, 0)).await;
});
