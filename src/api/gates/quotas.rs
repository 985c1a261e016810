//! The limits that all processes count together.

use actix_web::HttpRequest;
use actix_web::http::header::{HeaderName, HeaderValue};

use super::{Caller, OVER, Verdict};
use crate::api::problem::Problem;
use crate::domain::{Policy, Rule};
use crate::redis::Engine;
use crate::telemetry::Metrics;

/// Counts in Redis.
pub struct Quotas {}

impl Quotas {
    /// Counts on this Redis.
    pub fn new(_: Engine, _: &Metrics) -> Self {
        Quotas {}
    }

    /// Whether Redis has said lately that this caller is over a limit.
    pub fn check_blocked(&self, _: &Policy, _: &Caller) -> Result<Verdict, Problem> {
        Ok(Verdict::Passed)
    }

    /// Counts a request under all rules that are about it.
    pub async fn count(&self, _: &Policy, _: &Caller, _: &HttpRequest) -> Result<Verdict, Problem> {
        Ok(Verdict::Passed)
    }

    /// Counts a request that was refused in this process.
    pub fn note_refused(&self, _: &Policy, _: &Caller) {}

    /// Forgives what rules about looking have counted.
    pub fn note_booked(&self, _: &Policy, _: &Caller) {}
}

/// The refusal of a caller that is over a rule's limit, with so many requests left (below what
/// was asked for) and the limit whole enough for another after so long.
pub fn over(rule: &Rule, remaining: u32, wait_ms: u64) -> Problem {
    let seconds = u32::try_from(wait_ms.div_ceil(1_000)).unwrap_or(u32::MAX).max(1);
    let detail = match &rule.detail {
        Some(detail) => detail.clone(),
        None => format!("Too many requests: {}. Try again in {seconds} s", rule.limit),
    };
    let (name, quota) = (&rule.name, rule.limit.quota());
    let window_seconds = rule.limit.window_ms().div_ceil(1_000);
    let policy = format!("\"{name}\";q={quota};w={window_seconds}");
    let state = format!("\"{name}\";r={remaining};t={seconds}");
    let mut problem =
        Problem::new(OVER, detail).with("rule", name.as_str().into()).retry_after(seconds);
    for (header, text) in [("ratelimit-policy", policy), ("ratelimit", state)] {
        // A rule's name is small letters, digits and `_`.
        if let Ok(value) = HeaderValue::try_from(text) {
            problem = problem.with_header(HeaderName::from_static(header), value);
        }
    }
    problem
}
