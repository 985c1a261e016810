//! Traces: one from the click to the archive, in spans, logs, log entries and documents; and a collector
//! that fails, which no request notices.

mod collectors;
mod journey;
mod refunds;

use std::time::Duration;

use holdfast::archive::Archive;
use holdfast::domain::BookingId;
use serde_json::{Value, json};

use crate::support::api::{Api, Place};
use crate::support::http::Reply;
use crate::support::otlp::Collector;

/// Bound of the tests' waits.
const BOUND: Duration = Duration::from_secs(60);
/// A caller's sampled trace.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER_SPAN: &str = "00f067aa0ba902b7";
/// Debug lines that show what happened to a trace.
const CHATTY: &str = "info,holdfast::worker=debug,holdfast::api=debug";

fn traceparent(trace_id: &str, flags: &str) -> String {
    format!("00-{trace_id}-{CALLER_SPAN}-{flags}")
}

/// The settings of a program that exports to this collector.
fn exporting(url: &str, per_million: u32) -> Vec<(String, String)> {
    let per_million = per_million.to_string();
    [
        ("HOLDFAST_OTLP_URL", url),
        ("HOLDFAST_TRACE_SAMPLE_PER_MILLION", &per_million),
        ("HOLDFAST_LOG_LEVEL", CHATTY),
        ("HOLDFAST_CONFIRM_WAIT_MS", "30000"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

fn borrowed(settings: &[(String, String)]) -> Vec<(&str, &str)> {
    settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

/// Sends a request of ann in this trace.
async fn in_trace(api: &Api, path: &str, body: Value, traceparent: &str) -> Reply {
    let request = api.post(path).user("ann").header("traceparent", traceparent);
    request.header("tracestate", "shop=17").json(body).send().await
}

/// Holds a seat in this trace; returns the booking.
async fn hold(api: &Api, event: u64, seat: u32, traceparent: &str) -> Value {
    let body = json!({ "event_id": event, "seat_ids": [seat] });
    in_trace(api, "/api/v1/bookings", body, traceparent).await.json(201)
}

fn booking_id(booking: &Value) -> BookingId {
    booking["id"].as_str().unwrap().parse().unwrap()
}
