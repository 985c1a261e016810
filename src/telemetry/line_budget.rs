//! Rate-limits log lines: a number per period; suppressed ones are counted and reported with the next.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The period.
const PERIOD: Duration = Duration::from_secs(10);

/// The rate limit of one kind of lines, in this process.
#[derive(Debug)]
pub struct LineBudget {
    lines_max: u32,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    since: Option<Instant>,
    lines: u32,
    unlogged: u64,
}

impl LineBudget {
    /// Allows this many lines in ten seconds.
    pub const fn new(lines_max: u32) -> Self {
        LineBudget { lines_max, state: Mutex::new(State { since: None, lines: 0, unlogged: 0 }) }
    }

    /// Whether a line may be logged now, and if so how many were suppressed before it.
    pub fn take(&self, now: Instant) -> Option<u64> {
        // A poisoned lock only means that a thread panicked while counting.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.since.is_none_or(|since| now.saturating_duration_since(since) >= PERIOD) {
            state.since = Some(now);
            state.lines = 0;
        }
        if state.lines >= self.lines_max {
            state.unlogged += 1;
            return None;
        }
        state.lines += 1;
        Some(std::mem::take(&mut state.unlogged))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_bounded_and_suppressed_ones_are_counted() {
        const LINES_MAX: u32 = 10;
        let budget = LineBudget::new(LINES_MAX);
        let start = Instant::now();
        for _ in 0..LINES_MAX {
            assert_eq!(budget.take(start), Some(0));
        }
        assert_eq!((budget.take(start), budget.take(start)), (None, None));
        assert_eq!(budget.take(start + PERIOD), Some(2));
    }
}
