//! Which traces are exported, and collectors that fail: no request is slower or fails for it.

use std::time::Instant;

use super::*;
use crate::support::api::places;
use crate::support::eventually;
use crate::support::otlp::Manner;

/// Requests whose answers must not wait for the collector, and the bound of all of them: far below one
/// timeout of the export.
const REQUESTS: u32 = 50;
const QUICK: Duration = Duration::from_secs(4);

/// Asks for events, all in sampled traces of this process.
async fn ask(api: &Api) {
    let began = Instant::now();
    for _ in 0..REQUESTS {
        api.get("/api/v1/events").send().await.json(200);
    }
    assert!(began.elapsed() < QUICK, "{:?}", began.elapsed());
}

async fn spans_dropped(api: &Api, reason: &str) -> f64 {
    let name = format!("holdfast_spans_dropped_total{{reason=\"{reason}\"}}");
    api.labelled_metric(&name).await
}

async fn exporting_api(url: &str, per_million: u32, more: &[(&str, &str)]) -> Api {
    let settings = exporting(url, per_million);
    let mut all = borrowed(&settings);
    all.extend(more);
    Api::program(&Place::shared(), &all).await
}

#[tokio::test]
async fn collector_that_fails_or_is_silent_or_away_slows_nothing_and_drops_are_counted() {
    let collector = Collector::start().await;
    for manner in [Manner::Fails, Manner::Silent] {
        collector.becomes(manner);
        let api = exporting_api(&collector.url(), 1_000_000, &[]).await;
        ask(&api).await;
        eventually("drops are counted", BOUND, async || {
            ask(&api).await;
            spans_dropped(&api, "export_failed").await > 0.0
        })
        .await;
        let is_warning =
            |line: &Value| line["message"] == "exporting traces failed: spans are dropped";
        api.process().log_line("a warning", is_warning).await;
        api.process().terminate();
        assert!(api.process().ended(BOUND).await.success(), "{manner:?}");
    }
    let away = exporting_api("http://127.0.0.1:1", 1_000_000, &[]).await;
    ask(&away).await;
    eventually("drops are counted", BOUND, async || {
        spans_dropped(&away, "export_failed").await > 0.0
    })
    .await;
}

#[tokio::test]
async fn taken_spans_are_counted() {
    let collector = Collector::start().await;
    let api = exporting_api(&collector.url(), 1_000_000, &[]).await;
    ask(&api).await;
    eventually("all are counted", BOUND, async || {
        api.metric("holdfast_spans_exported_total").await >= f64::from(2 * REQUESTS)
    })
    .await;
    assert!(collector.spans().len() >= 2 * REQUESTS as usize, "a request and its gates");
    assert_eq!(api.metric("holdfast_spans_dropped_total").await, 0.0);
}

#[tokio::test]
async fn last_spans_are_exported_at_shutdown() {
    let collector = Collector::start().await;
    let api = exporting_api(&collector.url_with("ann:p%40ss"), 1_000_000, &[]).await;
    let reply = api.get("/api/v1/events").send().await;
    let trace = reply.header("x-trace-id").unwrap().to_owned();
    api.process().terminate();
    assert!(api.process().ended(BOUND).await.success());
    let spans = collector.spans_of(&trace);
    assert!(spans.len() >= 2, "{spans:?}");
    assert!(
        spans
            .iter()
            .any(|span| span.name == "GET /api/v1/events" && span.parent_span_id.is_empty())
    );
    // printf %s ann:p@ss | base64
    assert_eq!(collector.authorization().as_deref(), Some("Basic YW5uOnBAc3M="));
}

#[tokio::test]
async fn share_of_zero_exports_nothing() {
    let collector = Collector::start().await;
    let api = exporting_api(&collector.url(), 0, &[]).await;
    let request = api.get("/api/v1/events").header("traceparent", &traceparent(TRACE, "01"));
    assert_eq!(request.send().await.header("x-trace-id"), Some(TRACE));
    api.process().terminate();
    assert!(api.process().ended(BOUND).await.success());
    assert_eq!(collector.requests(), 0);
}

#[tokio::test]
async fn callers_choose_a_bounded_number_of_traces() {
    let collector = Collector::start().await;
    let api =
        exporting_api(&collector.url(), 1, &[("HOLDFAST_TRACE_CALLER_PER_SECOND", "3")]).await;
    let began = Instant::now();
    for number in 1..=200_u32 {
        let header = traceparent(&format!("{number:032x}"), "01");
        api.get("/api/v1/events").header("traceparent", &header).send().await.json(200);
    }
    let seconds = began.elapsed().as_secs() + 1;
    let refused = traceparent(TRACE, "00");
    api.get("/api/v1/events").header("traceparent", &refused).send().await.json(200);
    api.process().terminate();
    assert!(api.process().ended(BOUND).await.success());
    let spans = collector.spans();
    let traces = spans.iter().filter(|span| span.name == "GET /api/v1/events").count() as u64;
    // One of a million besides.
    assert!((3..=3 * (seconds + 1) + 1).contains(&traces), "{traces} in {seconds} s");
    assert!(collector.spans_of(TRACE).is_empty(), "its caller did not sample it");
}

#[tokio::test]
async fn refusal_is_logged_at_debug_with_its_trace() {
    let settings = [("HOLDFAST_LOG_LEVEL", "info,holdfast::api::endpoint=debug")];
    let api = Api::program(&Place::shared(), &settings).await;
    let event = api.event(places(1)).await;
    let request = api.post("/api/v1/bookings").user("ann");
    let request = request.header("traceparent", &traceparent(TRACE, "00"));
    let body = json!({ "event_id": event, "seat_ids": [99] });
    request.json(body).send().await.problem(422, "seats_unknown");
    let refusal = |line: &Value| line["message"] == "refused" && line["trace_id"] == TRACE;
    let line = api.process().log_line("a refusal", refusal).await;
    assert_eq!((&line["level"], &line["error"]), (&json!("debug"), &json!("seats_unknown")));
    assert_eq!(line["route"], "/api/v1/bookings", "{line}");
}
