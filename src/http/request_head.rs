//! What is known of a request before its body is read.

use std::time::Instant;

use actix_web::HttpRequest;
use actix_web::http::header::HeaderName;

use crate::telemetry::TraceContext;

/// The header with the caller's trace.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// A request's head, with its trace and its time of arrival.
#[derive(Clone)]
pub struct RequestHead {
    /// Method, path, query and headers.
    pub http: HttpRequest,
    /// The caller's trace, or a new one.
    pub trace: TraceContext,
    /// When the head had arrived.
    pub started: Instant,
}

impl RequestHead {
    /// A request whose head has just arrived.
    pub fn new(http: HttpRequest) -> Self {
        let started = Instant::now();
        let caller_trace = http.headers().get(TRACEPARENT);
        let trace = caller_trace
            .and_then(|value| TraceContext::from_traceparent(value.to_str().ok()?))
            .unwrap_or_else(TraceContext::new_root);
        RequestHead { http, trace, started }
    }

    /// A header's text; `None` if absent or not plain text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.http.headers().get(name)?.to_str().ok()
    }

    /// Milliseconds since the head had arrived, for the log.
    pub fn elapsed_ms(&self) -> f64 {
        self.started.elapsed().as_micros() as f64 / 1_000.0
    }
}
