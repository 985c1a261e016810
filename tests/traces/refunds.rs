//! A refund belongs to the trace of the request that caused it, not to that of the hold.

use super::*;
use crate::support::api::places;
use crate::support::eventually;
use crate::support::stripe::{KEY, StripeServer};

/// The trace of the cancellation.
const CANCEL_TRACE: &str = "5bf92f3577b34da6a3ce929d0e0e4737";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refund_has_the_trace_of_its_cancellation() {
    let (collector, stripe) = (Collector::start().await, StripeServer::start().await);
    let place = Place::shared();
    let (url, mut settings) = (stripe.url(), exporting(&collector.url(), 1));
    let pair = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    settings.extend(
        [
            ("HOLDFAST_PAYMENT_PROVIDER", "stripe"),
            ("HOLDFAST_STRIPE_URL", &url),
            ("HOLDFAST_STRIPE_SECRET_KEY", KEY),
            ("HOLDFAST_RECONCILE_INTERVAL_MS", "200"),
        ]
        .map(pair),
    );
    let worker = place.worker_at_work(&borrowed(&settings)).await;
    let api = Api::program(&place, &borrowed(&settings)).await.patient();
    let event = api.event(places(5)).await;
    let booking = hold(&api, event, 1, &traceparent(TRACE, "01")).await;
    let path = |verb| format!("/api/v1/bookings/{}/{verb}", booking["id"].as_str().unwrap());
    let body = json!({ "payment_method": "card_visa" });
    let sampled = traceparent(TRACE, "01");
    in_trace(&api, &path("confirm"), body, &sampled).await.json(200);
    let sampled = traceparent(CANCEL_TRACE, "01");
    let cancel = api.post(&path("cancel")).user("ann").header("traceparent", &sampled);
    cancel.send().await.json(200);

    let is_refund = |call: &crate::support::stripe::Seen| call.line == "POST /v1/refunds";
    eventually("money goes back", BOUND, async || stripe.seen().iter().any(is_refund)).await;
    let seen = stripe.seen();
    let parent = seen.iter().find(|call| is_refund(call)).unwrap().traceparent.clone().unwrap();
    assert!(parent.starts_with(&format!("00-{CANCEL_TRACE}-")), "{parent}");

    let refunded = |line: &Value| {
        line["message"] == "a booking is refunded" && line["trace_id"] == CANCEL_TRACE
    };
    worker.log_line("a refund", refunded).await;
    let (_, archive) = place.services().await;
    let intent = archive.intent(booking_id(&booking)).await.unwrap().unwrap();
    assert!(intent.refund_trace.starts_with(&format!("00-{CANCEL_TRACE}-")), "{intent:?}");
    assert!(intent.trace.starts_with(&format!("00-{TRACE}-")), "{intent:?}");
    eventually("its spans are exported", BOUND, async || {
        let spans = collector.spans_of(CANCEL_TRACE);
        ["reconcile", "payment refund"].iter().all(|name| {
            spans.iter().any(|span| span.name == *name && span.service == "holdfast-worker")
        })
    })
    .await;
}
