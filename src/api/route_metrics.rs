//! Metrics of one route and method.

use std::cell::{OnceCell, RefCell};

use actix_web::http::StatusCode;

use crate::http::problem::Code;
use crate::telemetry::Metrics;
use crate::telemetry::spans::Span;
use crate::telemetry::striped::{StripedCounter, StripedHistogram};

use super::state::RequestContext;

/// The metrics, with counters cached by status and problem code. One per HTTP thread, so unlocked.
pub struct RouteMetrics {
    metrics: Metrics,
    /// The label of the method.
    pub method: String,
    /// The label of the route.
    pub route: String,
    /// Created on first use: most routes are never called.
    duration: OnceCell<StripedHistogram>,
    by_status: RefCell<Vec<(StatusCode, StripedCounter)>>,
    by_problem: RefCell<Vec<(Code, StripedCounter)>>,
}

impl RouteMetrics {
    /// Metrics with these labels.
    pub fn new(metrics: &Metrics, method: &str, route: &str) -> Self {
        RouteMetrics {
            metrics: metrics.clone(),
            method: method.to_owned(),
            route: route.to_owned(),
            duration: OnceCell::new(),
            by_status: RefCell::default(),
            by_problem: RefCell::default(),
        }
    }

    /// Counts a request as in flight, until [`RouteMetrics::leave`].
    pub fn enter(&self) {
        self.metrics.http_in_flight.inc();
    }

    /// Counts a request as no longer in flight.
    pub fn leave(&self) {
        self.metrics.http_in_flight.dec();
    }

    /// Counts a problem.
    pub fn note_problem(&self, code: Code) {
        count(&self.by_problem, code, || self.metrics.problems.with_label_values(&[code.as_str()]));
    }

    /// Counts, times and logs a response.
    pub fn observe(&self, context: &RequestContext, status: StatusCode) {
        let labels = [self.method.as_str(), &self.route];
        let duration =
            self.duration.get_or_init(|| self.metrics.http_duration.with_label_values(&labels));
        duration.observe(context.started.elapsed().as_secs_f64());
        count(&self.by_status, status, || {
            let labels = [self.method.as_str(), &self.route, status.as_str()];
            self.metrics.http_requests.with_label_values(&labels)
        });
        tracing::debug!(
            trace_id = %context.trace.trace_id(),
            duration_ms = context.elapsed_ms(),
            method = %context.http.method(),
            route = self.route,
            status = status.as_u16(),
            "request"
        );
    }
}

/// Characters of a request's path in its span.
const PATH_CHARS_MAX: usize = 256;
/// Why a request has no response.
const CLIENT_GONE: &str = "client_gone";

impl RouteMetrics {
    /// Completes a request's span by the semantic conventions of HTTP servers; `None`: the client was gone
    /// before there was a response.
    pub fn describe(&self, mut span: Span, context: &RequestContext, status: Option<StatusCode>) {
        let Some(record) = span.record() else { return };
        record.name = format!("{} {}", self.method, self.route).into();
        span.set("http.request.method", self.method.clone());
        span.set("http.route", self.route.clone());
        // Clients choose the path: its beginning is enough, and bounds the memory of waiting spans.
        let path: String = context.http.path().chars().take(PATH_CHARS_MAX).collect();
        span.set("url.path", path);
        span.set("url.scheme", "http");
        match status {
            None => span.fail(CLIENT_GONE),
            Some(status) => {
                span.set("http.response.status_code", i64::from(status.as_u16()));
                if status.is_server_error() {
                    span.fail(status.canonical_reason().unwrap_or("server error"));
                }
            }
        }
    }
}

/// Increments the counter of a key; it is looked up once.
fn count<K: Copy + PartialEq>(
    cached: &RefCell<Vec<(K, StripedCounter)>>,
    key: K,
    counter: impl FnOnce() -> StripedCounter,
) {
    let mut cached = cached.borrow_mut();
    match cached.iter().find(|(of, _)| *of == key) {
        Some((_, counter)) => counter.inc(),
        None => {
            let counter = counter();
            counter.inc();
            cached.push((key, counter));
        }
    }
}
