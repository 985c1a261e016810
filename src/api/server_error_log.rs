//! Logs server errors at a bounded rate: while a dependency is unavailable every request fails, and
//! one line per request would overload the log.

use super::state::RequestContext;
use crate::http::problem::Problem;
use crate::telemetry::line_budget::LineBudget;

/// At most ten lines in ten seconds per process; the next line reports how many were omitted.
static BUDGET: LineBudget = LineBudget::new(10);

/// Logs a server error with its cause.
pub fn record(context: &RequestContext, problem: &Problem) {
    if let Some(unlogged) = BUDGET.take(context.started) {
        tracing::warn!(
            duration_ms = context.elapsed_ms(),
            method = %context.http.method(),
            path = context.http.path(),
            error = problem.code.as_str(),
            cause = problem.cause.as_deref().unwrap_or_default(),
            unlogged_before = unlogged,
            "request failed"
        );
    }
}
