//! A request before its body is read.

use std::time::Instant;

use actix_web::HttpRequest;
use actix_web::http::header::HeaderName;

use crate::telemetry::{TraceContext, TraceState, spans};

/// The header with the client's trace.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// The header with what other systems add to it.
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// A request's head, with its trace and its time of arrival.
#[derive(Clone)]
pub struct RequestHead {
    /// Method, path, query and headers.
    pub http: HttpRequest,
    /// The client's trace, or a new one.
    pub trace: TraceContext,
    /// The client's span in that trace; 0 if the trace is new.
    pub caller_span_id: u64,
    /// What the client's systems keep in that trace.
    pub trace_state: Option<TraceState>,
    /// When the head arrived.
    pub started: Instant,
}

impl RequestHead {
    /// A request whose head has just arrived.
    pub fn new(http: HttpRequest) -> Self {
        let started = Instant::now();
        let caller = http.headers().get(TRACEPARENT);
        let caller = caller.and_then(|value| TraceContext::from_traceparent(value.to_str().ok()?));
        let trace_state = caller.and_then(|_| {
            TraceState::of_lines(http.headers().get_all(TRACESTATE).map(|line| line.as_bytes()))
        });
        let caller_span_id = caller.map_or(0, |caller| caller.span_id());
        let trace = spans::context_of_request(caller, started);
        RequestHead { http, trace, caller_span_id, trace_state, started }
    }

    /// The text of a header; `None` if it is absent or not visible ASCII.
    pub fn header(&self, name: &HeaderName) -> Option<&str> {
        self.http.headers().get(name)?.to_str().ok()
    }

    /// Runs a closure within the request's trace.
    pub fn in_trace<R>(&self, work: impl FnOnce() -> R) -> R {
        self.trace.scope_now_with(self.trace_state.as_ref(), work)
    }

    /// Milliseconds since the head arrived, for the log.
    pub fn elapsed_ms(&self) -> f64 {
        self.started.elapsed().as_micros() as f64 / 1_000.0
    }
}
