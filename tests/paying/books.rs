//! Refunds that were made outside, as in the provider's dashboard: recorded once, and never paid twice.

use holdfast::domain::{BookingId, EventId, IntentState};
use holdfast::sale::ReconcileResult;
use mongodb::bson::doc;
use serde_json::{Value, json};

use super::SETTLED;
use super::refunds::{
    PRICE, Stage, bought, held, is_refunding, send_webhook, stripe_at, webhook_reply,
};
use crate::on_one_redis;
use crate::support::api::Place;
use crate::support::eventually;
use crate::support::servers::shared_mongodb;
use crate::support::stripe::{self, StripeServer};

impl Stage {
    /// A booking of this seat that was charged; nobody knows of it yet.
    pub async fn charged(&self, event: EventId, seat: u32) -> BookingId {
        let held = self.world.hold(&format!("u{seat}"), event, &[seat], None).await.unwrap();
        self.world.charge_by(&stripe_at(&self.server), &held.booking).await;
        held.booking.id
    }

    /// Sold bookings of these seats, archived by a worker that has ended.
    pub async fn sold(&self, event: EventId, seats: u32) -> Vec<BookingId> {
        let mut sold = Vec::new();
        for seat in 1..=seats {
            let id = self.charged(event, seat).await;
            assert_eq!(self.look(id).await, ReconcileResult::Committed);
            sold.push(id);
        }
        let worker = self.worker().start().await;
        for id in &sold {
            eventually("it is sold", SETTLED, async || {
                let intent = self.world.archive.intent(*id).await.ok().flatten();
                intent.is_some_and(|one| one.state == IntentState::Sold && one.due_ms.is_none())
            })
            .await;
        }
        assert!(worker.stop());
        sold
    }

    /// Kind and amount of each recorded movement.
    pub async fn movements(&self, id: BookingId) -> Vec<(String, i64)> {
        let movements = self.intent(id).await.movements;
        movements.iter().map(|one| (one.kind.as_str().to_owned(), one.amount)).collect()
    }

    /// A collection of the archive.
    pub async fn intents(&self) -> mongodb::Collection<mongodb::bson::Document> {
        let client = mongodb::Client::with_uri_str(shared_mongodb().url()).await.unwrap();
        client.database(&self.world.engine.settings().namespace).collection("intents")
    }
}

fn outside(amount: i64) -> (String, i64) {
    ("refund_outside".to_owned(), amount)
}

on_one_redis!(
    refund_from_outside_is_recorded_and_a_cancellation_refunds_the_rest,
    async |flavor| {
        let stage = Stage::new(flavor).await;
        let event = stage.world.event(4).await;
        let id = stage.sold(event, 1).await[0];
        let after_news = async || stage.payments.reconcile_refund(id).await.unwrap();
        // Nothing was refunded: nothing is written.
        let closed = stage.intent(id).await;
        assert_eq!(after_news().await, ReconcileResult::Done(IntentState::Sold));
        assert_eq!(stage.intent(id).await, closed);

        // On its way: looked at again until it has ended, by workers as well.
        let first = stage.server.refund_by_hand("pi_1", 40, "pending");
        assert!(is_refunding(&after_news().await));
        let watched = stage.intent(id).await;
        assert_eq!(
            (watched.outside_pending, watched.movements.len()),
            (40, 0),
            "not shown as done"
        );
        assert!(watched.due_ms.is_some());
        assert!(is_refunding(&stage.look(id).await));
        stage.server.settle_refund(&first, "failed");
        assert_eq!(stage.look(id).await, ReconcileResult::Done(IntentState::Sold));
        let ended = stage.intent(id).await;
        assert_eq!((ended.outside_pending, ended.due_ms, ended.movements.len()), (0, None, 0));

        stage.server.refund_by_hand("pi_1", 40, "succeeded");
        for _ in 0..3 {
            assert_eq!(after_news().await, ReconcileResult::Done(IntentState::Sold));
        }
        assert_eq!(stage.movements(id).await, [outside(-40)], "once");
        assert_eq!(stage.world.archive.booking(id).await.unwrap().unwrap().booking.amount, PRICE);

        let user = "u1".parse().unwrap();
        stage.world.sale.cancel(&user, id).await.unwrap();
        assert_eq!(stage.look(id).await, ReconcileResult::Done(IntentState::Refunded));
        let sent: Vec<i64> = stage.server.refunds("pi_1").iter().map(|one| one.amount).collect();
        assert_eq!((sent, stage.given_back()), (vec![40, 40, 60], PRICE));
        assert_eq!(stage.movements(id).await, [outside(-40), ("refund".to_owned(), -60)]);
        assert_eq!(stage.intent(id).await.refunded, PRICE);
        stage.world.stop().await;
    }
);

on_one_redis!(whole_refund_from_outside_leaves_nothing_to_refund, async |flavor| {
    let stage = Stage::new(flavor).await;
    let event = stage.world.event(4).await;
    let id = stage.sold(event, 1).await[0];
    stage.server.refund_by_hand("pi_1", PRICE, "succeeded");
    // No webhook was delivered: the cancellation queries the provider.
    stage.world.sale.cancel(&"u1".parse().unwrap(), id).await.unwrap();
    assert_eq!(stage.look(id).await, ReconcileResult::Done(IntentState::Refunded));
    assert_eq!(stage.server.refunds("pi_1").len(), 1);
    assert_eq!(stage.movements(id).await, [outside(-PRICE)]);
    stage.world.stop().await;
});

on_one_redis!(intent_of_an_older_version_is_read_and_goes_on, async |flavor| {
    let stage = Stage::new(flavor).await;
    let id = stage.to_be_refunded().await;
    stage.server.next_refunds(&["failed"]);
    assert!(is_refunding(&stage.look(id).await));
    // As a version wrote it that knew nothing of movements and announcements.
    let unset = doc! { "refund.sending_until_ms": "", "movements": "", "outside_pending": "" };
    let by_id = doc! { "_id": id.to_string() };
    stage.intents().await.update_one(by_id.clone(), doc! { "$unset": unset }).await.unwrap();
    let old = stage.intent(id).await;
    assert_eq!((old.movements.len(), old.outside_pending), (0, 0));
    let done = stage.payments.reconcile_now(id).await.unwrap();
    assert_eq!(done, ReconcileResult::Done(IntentState::Refunded));
    assert_eq!(stage.movements(id).await, [("refund".to_owned(), -PRICE)]);
    // A closed one, of which only the sum is known.
    let unset = doc! { "$unset": { "movements": "" } };
    stage.intents().await.update_one(by_id, unset).await.unwrap();
    let closed = stage.intent(id).await;
    assert_eq!(closed.refunded_at_provider(), PRICE);
    assert_eq!(stage.payments.reconcile_now(id).await.unwrap(), done);
    assert_eq!(stage.intent(id).await, closed, "nothing is new");
    stage.world.stop().await;
});

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webhook_records_a_refund_from_outside_of_a_sold_booking() {
    let (place, server) = (Place::shared(), StripeServer::start().await);
    let (api, archive, held) = bought(&place, &server).await;
    let id = super::booking_id(&held);
    let by_hand = server.refund_by_hand("pi_1", 30, "succeeded");
    assert_eq!(send_webhook(&api, &refund_event("evt_1", "charge.refunded")).await, "handled");
    let intent = archive.intent(id).await.unwrap().unwrap();
    assert_eq!((intent.state, intent.refunded_outside()), (IntentState::Sold, 30));
    assert_eq!(send_webhook(&api, &refund_event("evt_1", "charge.refunded")).await, "duplicate");
    assert_eq!(send_webhook(&api, &refund_event("evt_2", "refund.created")).await, "handled");
    assert_eq!(archive.intent(id).await.unwrap().unwrap(), intent, "recorded once");
    // The bank sends it back.
    server.settle_refund(&by_hand, "failed");
    assert_eq!(send_webhook(&api, &refund_event("evt_3", "refund.failed")).await, "handled");
    let back = archive.intent(id).await.unwrap().unwrap();
    assert_eq!(
        (back.state, back.refunded_outside(), back.movements.len()),
        (IntentState::Sold, 0, 2)
    );
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webhook_about_a_refund_is_refused_until_the_sale_is_decided() {
    let (place, server) = (Place::shared(), StripeServer::start().await);
    let (api, held) = held(&place, &server).await;
    eventually("it is paid, and no worker archives it", SETTLED, async || {
        api.act("ann", &held, "confirm").await.status == 202
    })
    .await;
    server.refund_by_hand("pi_1", 30, "succeeded");
    let event = refund_event("evt_1", "charge.refunded");
    assert_eq!(webhook_reply(&api, &event).await.status, 503);
    let worker = place.worker_with(&stripe::settings(&server.url()));
    // The provider delivers it again.
    eventually("it is recorded", SETTLED, async || webhook_reply(&api, &event).await.status == 200)
        .await;
    let (_, archive) = place.services().await;
    let intent = archive.intent(super::booking_id(&held)).await.unwrap().unwrap();
    assert_eq!((intent.state, intent.refunded_outside()), (IntentState::Sold, 30));
    worker.terminate();
    eventually("the worker has ended", SETTLED, async || worker.exited().is_some()).await;
    api.stop().await;
}

/// A webhook about a refund of the first payment that names nothing: it was made by hand.
fn refund_event(id: &str, kind: &str) -> Value {
    let object = json!({ "id": "ch_1", "payment_intent": "pi_1", "metadata": {} });
    json!({ "id": id, "type": kind, "data": { "object": object } })
}
