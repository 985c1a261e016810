//! Faults in the log, at a bounded rate: a dependency that is away fails every request, and a
//! line for each would be a second outage.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::problem::Problem;
use super::state::Call;

/// Lines of one period; the others are counted and told with the next one.
const LINES_MAX: u32 = 10;
/// The period.
const PERIOD: Duration = Duration::from_secs(10);

/// What was logged in the current period, in this process.
static BUDGET: Mutex<Budget> = Mutex::new(Budget { since: None, lines: 0, unlogged: 0 });

struct Budget {
    since: Option<Instant>,
    lines: u32,
    unlogged: u64,
}

impl Budget {
    /// The number of faults that went unlogged before, if this one may be logged.
    fn take(&mut self, now: Instant) -> Option<u64> {
        if self.since.is_none_or(|since| now.duration_since(since) >= PERIOD) {
            self.since = Some(now);
            self.lines = 0;
        }
        if self.lines >= LINES_MAX {
            self.unlogged += 1;
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.unlogged))
    }
}

/// Logs an answer that is our fault, with its cause.
pub fn record(call: &Call, problem: &Problem) {
    // A poisoned lock only means that a thread died while counting.
    let budget =
        BUDGET.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take(call.started);
    if let Some(unlogged) = budget {
        tracing::warn!(
            duration_ms = call.elapsed_ms(),
            method = %call.request.method(),
            path = call.request.path(),
            error = problem.code.word(),
            cause = problem.cause.as_deref().unwrap_or_default(),
            unlogged_before = unlogged,
            "request failed"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_bounded_and_the_rest_is_told() {
        let mut budget = Budget { since: None, lines: 0, unlogged: 0 };
        let start = Instant::now();
        for _ in 0..LINES_MAX {
            assert_eq!(budget.take(start), Some(0));
        }
        assert_eq!((budget.take(start), budget.take(start)), (None, None));
        assert_eq!(budget.take(start + PERIOD), Some(2));
    }
}
