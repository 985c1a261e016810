//! A seat is held and paid in one trace: what each part of the system keeps of it.

use super::*;
use crate::support::api::places;
use crate::support::ctl::holdfastctl;
use crate::support::eventually;
use crate::support::http::Client;
use crate::support::otlp::SeenSpan;
use crate::support::stripe::{KEY, StripeServer};

const API: &str = "holdfast-api";
const WORKER: &str = "holdfast-worker";

/// The only span of this name (of one service) whose attribute has this value.
fn span<'a>(spans: &'a [SeenSpan], service: &str, name: &str) -> &'a SeenSpan {
    let found = spans.iter().find(|span| span.service == service && span.name == name);
    found.unwrap_or_else(|| panic!("{service} {name} among {spans:#?}"))
}

/// Whether one span is the other's ancestor, or that of one of its links in the chain of parents.
fn is_within(spans: &[SeenSpan], inner: &SeenSpan, outer: &SeenSpan) -> bool {
    let mut parent = inner.parent_span_id.as_str();
    for _ in 0..spans.len() {
        if parent == outer.span_id {
            return true;
        }
        match spans.iter().find(|span| span.span_id == parent) {
            Some(span) => parent = &span.parent_span_id,
            None => return false,
        }
    }
    false
}

struct Journey {
    place: Place,
    api: Api,
    worker: crate::support::process::Process,
    collector: Collector,
    stripe: StripeServer,
    event: u64,
    booking: Value,
}

/// Holds and pays in one trace.
async fn journey() -> Journey {
    let (collector, stripe) = (Collector::start().await, StripeServer::start().await);
    let place = Place::shared();
    let mut settings = exporting(&collector.url(), 1);
    let (name, url) = (|name: &str| name.to_owned(), stripe.url());
    settings.extend([
        (name("HOLDFAST_PAYMENT_PROVIDER"), name("stripe")),
        (name("HOLDFAST_STRIPE_URL"), url),
        (name("HOLDFAST_STRIPE_SECRET_KEY"), name(KEY)),
    ]);
    let worker = place.worker_at_work(&borrowed(&settings)).await;
    let api = Api::program(&place, &borrowed(&settings)).await.patient();
    let event = api.event(places(5)).await;
    let sampled = traceparent(TRACE, "01");
    let booking = hold(&api, event, 1, &sampled).await;
    let path = format!("/api/v1/bookings/{}/confirm", booking["id"].as_str().unwrap());
    let body = json!({ "payment_method": "card_visa" });
    let confirmed = in_trace(&api, &path, body, &sampled).await.json(200);
    assert_eq!(confirmed["status"], "CONFIRMED");
    Journey { place, api, worker, collector, stripe, event, booking }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_trace_leads_from_the_click_to_the_archive() {
    let journey = journey().await;
    let collector = &journey.collector;
    // The worker's spans end last.
    eventually("all spans are exported", BOUND, async || {
        let spans = collector.spans_of(TRACE);
        ["process confirmed", "wait for outcome", "settle", "process sold"]
            .iter()
            .all(|name| spans.iter().any(|span| span.name == *name))
    })
    .await;
    let serves = |line: &Value| line["message"] == "serving health and metrics";
    let serving = journey.worker.log_line("its address", serves).await;
    let worker = Client::new(&format!("http://{}", serving["address"].as_str().unwrap()));
    eventually("the worker's are counted", BOUND, async || {
        worker.metric("holdfast_spans_exported_total").await >= 4.0
    })
    .await;
    let spans = collector.spans_of(TRACE);
    let held = span(&spans, API, "POST /api/v1/bookings");
    let paid = span(&spans, API, "POST /api/v1/bookings/{booking_id}/confirm");
    for (request, status) in [(held, "201"), (paid, "200")] {
        assert_eq!((request.kind, request.parent_span_id.as_str()), (2, CALLER_SPAN));
        assert_eq!(request.attributes["http.response.status_code"], status);
        assert_eq!(request.attributes["http.request.method"], "POST");
        assert!(request.attributes["http.route"].starts_with("/api/v1/bookings"));
        assert!(request.began_ns < request.ended_ns);
    }
    for (service, name, kind, outer) in [
        (API, "gates", 1, held),
        (API, "EVALSHA hold", 3, held),
        (API, "EVALSHA confirm_begin", 3, paid),
        (API, "payment create", 1, paid),
        (API, "payment charge", 1, paid),
        (API, "POST", 3, paid),
        (API, "EVALSHA confirm_commit", 3, paid),
        (API, "wait for outcome", 1, paid),
        (WORKER, "log wait", 1, held),
        (WORKER, "process hold", 5, held),
        (WORKER, "process sold", 5, held),
        (WORKER, "ledger", 3, held),
        (WORKER, "claims", 3, held),
        (WORKER, "outcomes", 3, held),
        (WORKER, "settle", 1, held),
        (WORKER, "EVALSHA settle", 3, held),
    ] {
        let inner = span(&spans, service, name);
        assert_eq!(inner.kind, kind, "{inner:?}");
        assert!(is_within(&spans, inner, outer), "{inner:?} is not within {outer:?}");
        assert!(inner.began_ns <= inner.ended_ns, "{inner:?}");
    }
    assert_eq!(span(&spans, API, "wait for outcome").linked_traces, [TRACE], "that of the hold");
    let charge = span(&spans, API, "payment charge");
    let sent = spans.iter().filter(|span| span.name == "POST");
    assert!(sent.clone().any(|one| is_within(&spans, one, charge)), "{spans:#?}");
    let shown = sent.map(|one| one.attributes["url.full"].as_str()).collect::<Vec<_>>();
    assert!(shown.iter().any(|url| url.contains("/v1/payment_intents")), "{shown:?}");
    let settled = span(&spans, WORKER, "EVALSHA settle");
    assert_eq!(settled.attributes["db.system.name"], "redis");
    assert_eq!(settled.attributes["db.stored_procedure.name"], "settle");
    let processed = span(&spans, WORKER, "process sold");
    assert_eq!(processed.attributes["messaging.operation.type"], "process");
    assert_eq!(processed.attributes["holdfast.booking.id"], journey.booking["id"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_trace_is_in_logs_provider_calls_log_entries_and_documents() {
    let journey = journey().await;
    let (api, worker) = (journey.api.process(), &journey.worker);
    let is_of_trace = |line: &Value| line["trace_id"] == TRACE;
    for (process, message) in
        [(api, "booking created"), (api, "booking confirmed"), (worker, "settled")]
    {
        let found = |line: &Value| line["message"] == message && is_of_trace(line);
        process.log_line(message, found).await;
    }
    // The provider got the trace, each call as a span of its own.
    let seen = journey.stripe.seen();
    let mut parents: Vec<&str> = Vec::new();
    for call in &seen {
        let parent = call.traceparent.as_deref().expect("a traceparent");
        assert!(parent.starts_with(&format!("00-{TRACE}-")) && parent.ends_with("-01"), "{call:?}");
        assert!(!parent.contains(CALLER_SPAN), "{call:?}");
        assert_eq!(call.tracestate.as_deref(), Some("shop=17"));
        parents.push(parent);
    }
    let calls = parents.len();
    parents.sort_unstable();
    parents.dedup();
    assert!(calls >= 2 && parents.len() == calls, "{parents:?}");

    let (_, archive): (_, Archive) = journey.place.services().await;
    let id = booking_id(&journey.booking);
    let trace = archive.booking(id).await.unwrap().expect("an archived booking").booking.trace;
    assert!(trace.starts_with(&format!("00-{TRACE}-")), "{trace}");
    assert_eq!(archive.intent(id).await.unwrap().unwrap().trace, trace);

    let settings = journey.place.environment(&[]);
    let file = crate::support::servers::state_dir().join(crate::support::unique_name());
    std::fs::write(&file, api.log_text() + &worker.log_text()).unwrap();
    let arguments = ["trace", TRACE, "--json", "--logs", file.to_str().unwrap()];
    let report = holdfastctl(&arguments, &settings, "").await.json(0);
    let kinds = |list: &Value| -> Vec<String> {
        let kinds = list.as_array().unwrap().iter();
        kinds.map(|one| one["kind"].as_str().unwrap().to_owned()).collect()
    };
    let logged = kinds(&report["log_entries"]);
    for kind in ["hold", "confirm_begin", "sold", "confirmed"] {
        assert!(logged.iter().any(|one| one == kind), "{report:#}");
    }
    let booking = &report["bookings"][0];
    assert_eq!(booking["id"], journey.booking["id"], "{report:#}");
    assert_eq!((&booking["status"], &booking["outcome"]), (&json!("CONFIRMED"), &json!("sold")));
    assert_eq!(booking["event"], journey.event);
    assert!(kinds(&booking["history"]).contains(&"sold".to_owned()), "{report:#}");
    assert!(booking["payment"]["id"].as_str().unwrap().starts_with("pi_"), "{report:#}");
    let lines = report["log_lines"].as_array().unwrap();
    assert!(lines.iter().any(|line| line["service"] == API), "{report:#}");
    assert!(lines.iter().any(|line| line["service"] == WORKER), "{report:#}");
    assert!(report["look_also"].is_null() && report["log_is_cut"] == false, "{report:#}");
}
