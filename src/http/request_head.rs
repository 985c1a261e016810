//! A request before its body is read.

use std::time::Instant;

use actix_web::HttpRequest;
use actix_web::http::header::HeaderName;

use crate::telemetry::TraceContext;

/// The header with the client's trace.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// A request's head, with its trace and its time of arrival.
#[derive(Clone)]
pub struct RequestHead {
    /// Method, path, query and headers.
    pub http: HttpRequest,
    /// The client's trace, or a new one.
    pub trace: TraceContext,
    /// When the head arrived.
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

    /// The text of a header; `None` if it is absent or not visible ASCII.
    pub fn header(&self, name: &HeaderName) -> Option<&str> {
        self.http.headers().get(name)?.to_str().ok()
    }

    /// Milliseconds since the head arrived, for the log.
    pub fn elapsed_ms(&self) -> f64 {
        self.started.elapsed().as_micros() as f64 / 1_000.0
    }
}
