//! Faults in the log, at a bounded rate: a dependency that is away fails every request, and a
//! line for each would be a second outage.

use super::state::RequestContext;
use crate::http::problem::Problem;
use crate::telemetry::line_budget::LineBudget;

/// What is logged in ten seconds, in this process; the others are counted and told with the next.
static BUDGET: LineBudget = LineBudget::new(10);

/// Logs an answer that is our fault, with its cause.
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
