//! Refunds that do not succeed at once: pending, failed, returned weeks later; repeated, raced, and
//! interrupted at every step. Stripe's stand-in is the reference for the money.

use std::sync::Arc;

use futures_util::future::join_all;
use holdfast::archive::Archive;
use holdfast::config::Config;
use holdfast::config::values::PaymentProvider;
use holdfast::domain::{BookingId, Intent, IntentState, RefundCounts, RefundState};
use holdfast::faults::Faults;
use holdfast::payments::{Stripe, StripeSettings};
use holdfast::sale::{PaymentService, ReconcileResult, SaleError};
use serde_json::{Value, json};

use super::SETTLED;
use crate::on_one_redis;
use crate::payments::webhooks::signed;
use crate::support::api::{Api, Place, places};
use crate::support::http::Reply;
use crate::support::servers::{shared_mongodb, shared_redis};
use crate::support::stripe::{self, KEY, StripeServer};
use crate::support::worker::WorkerSpec;
use crate::support::world::{World, impatient};
use crate::support::{Flavor, eventually};

pub(super) const SECRET: &str = "whsec_of_the_tests";
/// Timeout of one provider call: the provider is available.
const PATIENT: std::time::Duration = std::time::Duration::from_secs(20);
/// The price of a seat.
pub(super) const PRICE: i64 = 100;
/// Concurrent reconcilers.
const AT_ONCE: usize = 8;
/// Failures after which a refund waits for a person.
const ATTEMPTS_MAX: u32 = holdfast::domain::refund::ATTEMPTS_MAX;

pub(super) fn stripe_at(server: &StripeServer) -> Stripe {
    let (url, secret_key) = (&server.url(), KEY);
    Stripe::new(&StripeSettings { url, secret_key, timeout: PATIENT }).unwrap()
}

/// A sale with Stripe's stand-in as provider.
pub(super) struct Stage {
    pub world: World,
    pub server: StripeServer,
    pub payments: PaymentService,
}

impl Stage {
    pub async fn new(flavor: Flavor) -> Self {
        let world = World::with(shared_redis(flavor), shared_mongodb(), impatient()).await;
        let server = StripeServer::start().await;
        let payments = PaymentService::new(
            world.engine.clone(),
            world.archive.clone(),
            Arc::new(stripe_at(&server)),
            &impatient(),
            world.counts.clone(),
            Arc::new(Faults::default()),
        );
        Stage { world, server, payments }
    }

    /// A paid and cancelled booking, to be refunded.
    pub async fn to_be_refunded(&self) -> BookingId {
        let event = self.world.event(4).await;
        let held = self.world.hold("ann", event, &[1], None).await.unwrap();
        self.world.charge_by(&stripe_at(&self.server), &held.booking).await;
        self.world.sale.cancel(&held.booking.user, held.booking.id).await.unwrap();
        held.booking.id
    }

    /// Reconciles like a worker, when due.
    pub async fn look(&self, id: BookingId) -> ReconcileResult {
        self.payments.reconcile(id).await.unwrap()
    }

    pub async fn intent(&self, id: BookingId) -> Intent {
        self.world.archive.intent(id).await.unwrap().expect("it was charged")
    }

    /// State, next attempt and failures of its refund, and whether the intent is closed.
    async fn recorded(&self, id: BookingId) -> (RefundState, u32, u32, bool) {
        let intent = self.intent(id).await;
        let refund = intent.refund.expect("it is recorded");
        (refund.state, refund.attempt, refund.failures, intent.due_ms.is_none())
    }

    /// The attempts at Stripe, each with its status.
    fn attempts(&self) -> Vec<(u32, &'static str)> {
        let refunds = self.server.refunds("pi_1");
        refunds.iter().map(|one| (one.attempt().expect("one of ours"), one.status)).collect()
    }

    pub fn given_back(&self) -> i64 {
        self.server.intent("pi_1").unwrap().refunded
    }

    pub fn worker(&self) -> WorkerSpec {
        WorkerSpec::new(&self.world, shared_mongodb())
            .with("payment_provider", "stripe")
            .with("stripe_url", &self.server.url())
            .with("stripe_secret_key", KEY)
    }

    /// Waits until the intent is closed with the whole amount refunded, by one succeeded refund.
    async fn is_given_back(&self, id: BookingId) {
        eventually("the money is back", SETTLED, async || {
            let intent = self.world.archive.intent(id).await;
            let intent = intent.ok().flatten();
            intent.is_some_and(|one| one.due_ms.is_none() && one.state == IntentState::Refunded)
        })
        .await;
        assert_eq!((self.intent(id).await.refunded, self.given_back()), (PRICE, PRICE));
    }
}

pub(super) fn is_refunding(reconciled: &ReconcileResult) -> bool {
    matches!(reconciled, ReconcileResult::Refunding { .. })
}

on_one_redis!(pending_refund_stays_due_until_it_succeeds, async |flavor| {
    let stage = Stage::new(flavor).await;
    let id = stage.to_be_refunded().await;
    stage.server.next_refunds(&["pending"]);
    for _ in 0..3 {
        assert!(is_refunding(&stage.look(id).await));
        assert_eq!(stage.recorded(id).await, (RefundState::Pending, 1, 0, false));
    }
    let counts = stage.world.archive.refund_counts(i64::MAX / 2).await.unwrap();
    assert_eq!(counts, RefundCounts { pending: 1, overdue: 1, retrying: 0, failed: 0 });
    stage.server.settle_refund("re_1", "succeeded");
    assert_eq!(stage.look(id).await, ReconcileResult::Done(IntentState::Refunded));
    assert_eq!(stage.recorded(id).await, (RefundState::Done, 1, 0, true));
    assert_eq!((stage.attempts(), stage.given_back()), (vec![(1, "succeeded")], PRICE));
    stage.world.stop().await;
});

on_one_redis!(failed_refund_is_retried_and_then_waits_for_a_person, async |flavor| {
    let stage = Stage::new(flavor).await;
    let id = stage.to_be_refunded().await;
    stage.server.refunds_are("failed");
    assert!(is_refunding(&stage.look(id).await));
    assert_eq!(stage.recorded(id).await, (RefundState::Failed, 2, 1, false));
    // Not before its pause is over.
    assert!(is_refunding(&stage.look(id).await));
    assert_eq!(stage.attempts(), [(1, "failed")]);
    for failures in 2..=ATTEMPTS_MAX {
        assert!(is_refunding(&stage.payments.reconcile_now(id).await.unwrap()));
        let recorded = stage.recorded(id).await;
        assert_eq!(recorded, (RefundState::Failed, failures + 1, failures, false));
    }
    let counts = stage.world.archive.refund_counts(0).await.unwrap();
    assert_eq!(counts, RefundCounts { failed: 1, ..RefundCounts::default() });
    let worker = stage.worker().start().await;
    let failed = r#"holdfast_refunds_unsettled{state="failed"}"#;
    eventually("the worker shows it", SETTLED, async || worker.metric(failed).await == 1.0).await;
    assert!(worker.stop());
    // Only a person retries, at any time.
    let stuck = stage.intent(id).await;
    assert!(stuck.refund_waits_until(i64::MAX / 2).is_some());
    stage.server.refunds_are("succeeded");
    assert!(is_refunding(&stage.look(id).await));
    assert_eq!(stage.attempts().len() as u32, ATTEMPTS_MAX);
    let done = stage.payments.reconcile_now(id).await.unwrap();
    assert_eq!(done, ReconcileResult::Done(IntentState::Refunded));
    assert_eq!(stage.given_back(), PRICE);
    let counts = stage.world.archive.refund_counts(0).await.unwrap();
    assert_eq!(counts, RefundCounts::default());
    stage.world.stop().await;
});

on_one_redis!(manual_refund_ends_the_alarm, async |flavor| {
    let stage = Stage::new(flavor).await;
    let id = stage.to_be_refunded().await;
    stage.server.next_refunds(&["refused"]);
    assert!(is_refunding(&stage.look(id).await));
    assert_eq!(stage.recorded(id).await, (RefundState::Failed, 2, 1, false));
    let reason = stage.intent(id).await.refund.unwrap().reason;
    assert!(reason.contains("the charge is disputed"), "{reason}");
    stage.server.refund_by_hand("pi_1", PRICE, "succeeded");
    assert_eq!(stage.look(id).await, ReconcileResult::Done(IntentState::Refunded));
    assert_eq!(stage.server.refunds("pi_1").len(), 1);
    stage.world.stop().await;
});

on_one_redis!(concurrent_reconcilers_send_each_attempt_once, async |flavor| {
    let stage = Stage::new(flavor).await;
    let id = stage.to_be_refunded().await;
    let all_at_once = async || {
        let looks = (0..AT_ONCE).map(|_| stage.payments.reconcile_now(id));
        for look in join_all(looks).await {
            // Another reconciler's attempt is being carried out.
            let fine = matches!(look, Ok(_) | Err(SaleError::Unavailable { .. }));
            assert!(fine, "{look:?}");
        }
    };
    stage.server.refunds_are("failed");
    for _ in 0..3 {
        all_at_once().await;
    }
    let attempts: Vec<u32> = stage.attempts().iter().map(|one| one.0).collect();
    let expected: Vec<u32> = (1..=attempts.len() as u32).collect();
    assert_eq!(attempts, expected, "each once, in order");
    let (state, next, failures, is_closed) = stage.recorded(id).await;
    assert_eq!((state, next, is_closed), (RefundState::Failed, failures + 1, false));
    // The last one may have been sent without being recorded.
    assert!([failures, failures + 1].contains(&(attempts.len() as u32)), "{attempts:?}");
    stage.server.refunds_are("succeeded");
    eventually("the money is back", SETTLED, async || {
        all_at_once().await;
        stage.intent(id).await.due_ms.is_none()
    })
    .await;
    let succeeded = stage.attempts().iter().filter(|one| one.1 == "succeeded").count();
    assert_eq!((succeeded, stage.given_back()), (1, PRICE));
    stage.world.stop().await;
});

on_one_redis!(refund_completes_after_a_kill_at_any_step, async |flavor| {
    for (point, first, attempts) in [
        ("after_refund:kill", "pending", 1),
        ("after_refund_recorded:kill", "pending", 1),
        ("after_refund:kill", "failed", 2),
        ("after_refund_recorded:kill", "failed", 2),
    ] {
        let stage = Stage::new(flavor).await;
        let id = stage.to_be_refunded().await;
        stage.server.next_refunds(&[first]);
        let mut victim = stage.worker().with("worker_fault_point", point).start().await;
        eventually(point, SETTLED, async || victim.has_ended()).await;
        assert_eq!(stage.given_back(), 0, "{point} {first}");
        if first == "pending" {
            stage.server.settle_refund("re_1", "succeeded");
        }
        let second = stage.worker().start().await;
        stage.is_given_back(id).await;
        assert_eq!(stage.attempts().len(), attempts, "{point} {first}");
        assert!(second.stop());
        stage.world.stop().await;
    }
});

on_one_redis!(worker_suspended_through_a_refund_changes_nothing, async |flavor| {
    let stage = Stage::new(flavor).await;
    let id = stage.to_be_refunded().await;
    stage.server.next_refunds(&["failed"]);
    // It learns that the attempt failed, and is suspended before it records that.
    let sleeper = stage.worker().with("worker_fault_point", "after_refund:stop").start().await;
    eventually("it sleeps", SETTLED, async || sleeper.is_frozen()).await;
    let second = stage.worker().start().await;
    stage.is_given_back(id).await;
    assert_eq!(second.metric(r#"holdfast_payments_total{what="refunded"}"#).await, 1.0);
    let reconciled = second.metric(r#"holdfast_reconciled_total{result="refunded"}"#).await;
    assert!(reconciled >= 1.0, "{reconciled}");
    let closed = stage.intent(id).await;
    sleeper.thaw();
    // Its write has failed, or found MongoDB silent, once it has counted that.
    eventually("it works", SETTLED, async || {
        let metrics = sleeper.get("/metrics").await;
        let ends = ["waiting", "error"].map(|end| format!(r#"reconciled_total{{result="{end}"}}"#));
        metrics.is_some_and(|(_, text)| ends.iter().any(|end| text.contains(end)))
    })
    .await;
    assert_eq!(stage.intent(id).await, closed);
    assert_eq!(stage.attempts(), [(1, "failed"), (2, "succeeded")]);
    assert!(sleeper.stop() && second.stop());
    stage.world.stop().await;
});

/// A Stripe event about a refund.
fn refund_event(id: &str, kind: &str, refund: &str, metadata: Value) -> Value {
    let object = json!({
        "id": refund, "object": "refund", "payment_intent": "pi_1", "metadata": metadata,
    });
    json!({ "id": id, "type": kind, "data": { "object": object } })
}

pub(super) async fn send_webhook(api: &Api, event: &Value) -> String {
    let reply = webhook_reply(api, event).await.json(200);
    reply["result"].as_str().unwrap().to_owned()
}

pub(super) async fn webhook_reply(api: &Api, event: &Value) -> Reply {
    let body = event.to_string();
    let (body, signature) = (body.as_bytes(), signed(SECRET, body.as_bytes()));
    let request = api.post("/webhooks/payments").body(body);
    request.header("Stripe-Signature", &signature).send().await
}

/// A sold booking, cancelled by its owner while no worker runs.
async fn bought_and_cancelled(place: &Place, server: &StripeServer) -> (Api, Archive, BookingId) {
    let (api, archive, held) = bought(place, server).await;
    api.act("ann", &held, "cancel").await.json(200);
    (api, archive, super::booking_id(&held))
}

/// An API process with this provider, and a hold.
pub(super) async fn held(place: &Place, server: &StripeServer) -> (Api, Value) {
    let config = Config {
        payment_provider: PaymentProvider::Stripe,
        stripe_url: server.url().as_str().into(),
        stripe_secret_key: KEY.into(),
        payment_webhook_secret: SECRET.into(),
        ..place.config()
    };
    let api = Api::here(config).await;
    let event = api.event(places(2)).await;
    let held = api.held("ann", event, &[1]).await;
    (api, held)
}

/// A sold booking; its worker has ended.
pub(super) async fn bought(place: &Place, server: &StripeServer) -> (Api, Archive, Value) {
    let (api, held) = held(place, server).await;
    let worker = place.worker_with(&stripe::settings(&server.url()));
    eventually("it is confirmed", SETTLED, async || {
        api.act("ann", &held, "confirm").await.status == 200
    })
    .await;
    let (_, archive) = place.services().await;
    worker.terminate();
    eventually("the worker has ended", SETTLED, async || worker.exited().is_some()).await;
    (api, archive, held)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webhook_reports_a_failed_refund_even_weeks_later() {
    let (place, server) = (Place::shared(), StripeServer::start().await);
    let (api, archive, id) = bought_and_cancelled(&place, &server).await;
    let refund = async || archive.intent(id).await.unwrap().unwrap();
    let ours = json!({ "booking_id": id });
    server.next_refunds(&["pending"]);
    let created = refund_event("evt_1", "refund.created", "re_1", ours.clone());
    assert_eq!(send_webhook(&api, &created).await, "handled");
    assert_eq!(refund().await.refund.unwrap().state, RefundState::Pending);
    assert!(refund().await.due_ms.is_some(), "it is not done");

    server.settle_refund("re_1", "failed");
    let failed = refund_event("evt_2", "refund.failed", "re_1", ours.clone());
    assert_eq!(send_webhook(&api, &failed).await, "handled");
    let after = refund().await.refund.unwrap();
    assert_eq!((after.state, after.attempt, after.failures), (RefundState::Failed, 2, 1));
    assert_eq!(send_webhook(&api, &failed).await, "duplicate");

    // After the pause a worker sends the next attempt.
    let _worker = place.worker_with(&stripe::settings(&server.url()));
    eventually("the money is back", SETTLED, async || refund().await.due_ms.is_none()).await;
    assert_eq!((refund().await.state, refund().await.refunded), (IntentState::Refunded, PRICE));
    let refunds = server.refunds("pi_1");
    let (last, attempts) = (refunds.last().unwrap().id.clone(), refunds.len());
    assert_eq!((attempts, server.intent("pi_1").unwrap().refunded), (2, PRICE));

    // The bank returns it: the intent is opened again, even if nothing names its booking.
    server.settle_refund(&last, "failed");
    let sent_back = refund_event("evt_3", "charge.refund.updated", &last, json!({}));
    assert_eq!(send_webhook(&api, &sent_back).await, "handled");
    let again = refund().await;
    assert_eq!((again.refund.unwrap().failures, again.due_ms.is_some()), (2, true));
    let unknown = refund_event("evt_4", "refund.failed", "re_9", json!({ "order": "4711" }));
    let foreign = unknown.to_string().replace("pi_1", "pi_of_another_shop");
    let foreign: Value = serde_json::from_str(&foreign).unwrap();
    assert_eq!(send_webhook(&api, &foreign).await, "ignored");
    api.stop().await;
}
