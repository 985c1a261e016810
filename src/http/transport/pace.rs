//! How fast a client takes a response: the rule by which slow readers are ended.
//!
//! Only time in which the response waits for its client counts: neither the handler's nor the
//! archive's. Bytes count from the first wait on; what the system took before that was its own room.

use std::time::{Duration, Instant};

/// What a client has to take.
#[derive(Clone, Copy, Debug)]
pub struct PaceLimits {
    /// How long it may take nothing before its throughput is looked at.
    pub grace: Duration,
    /// The least throughput after that, bytes a second.
    pub bytes_per_second_min: u64,
    /// How long one response may wait for its client in all.
    pub waiting_max: Duration,
}

/// One response on its way to its client.
#[derive(Debug, Default)]
pub struct Pace {
    /// Since when the response waits.
    waits_since: Option<Instant>,
    /// For how long it has waited before that.
    waited: Duration,
    /// Bytes taken since the first wait.
    taken: u64,
    /// When the last wait was over.
    went_on: Option<Instant>,
}

/// How long a stream without an end has to go without a wait for those before to be forgotten.
const REST: Duration = Duration::from_secs(1);

impl Pace {
    /// The system took nothing: the client has to read first.
    pub fn waits(&mut self, now: Instant) {
        self.waits_since.get_or_insert(now);
    }

    /// The system took bytes, after a wait or without one.
    pub fn takes(&mut self, bytes: usize, now: impl FnOnce() -> Instant) {
        if let Some(since) = self.waits_since.take() {
            let now = now();
            self.waited += now.saturating_duration_since(since);
            self.went_on = Some(now);
        }
        if !self.waited.is_zero() {
            self.taken = self.taken.saturating_add(bytes as u64);
        }
    }

    /// Begins with another response; a wait goes on.
    pub fn restart(&mut self, now: impl FnOnce() -> Instant) {
        let waits_since = self.waits_since.map(|_| now());
        *self = Pace { waits_since, ..Pace::default() };
    }

    /// Whether there was no wait for so long that a stream without an end is measured anew.
    pub fn has_rested(&self, now: Instant) -> bool {
        let rested = |since: Instant| now.saturating_duration_since(since) >= REST;
        self.waits_since.is_none() && self.went_on.is_some_and(rested)
    }

    /// Whether the client has taken all there was without a wait.
    pub fn is_fresh(&self) -> bool {
        self.waits_since.is_none() && self.waited.is_zero()
    }

    /// Until when it has to take more; `None` while nothing waits for it.
    pub fn deadline(&self, limits: &PaceLimits) -> Option<Instant> {
        let since = self.waits_since?;
        let earned_ms = self.taken.saturating_mul(1_000) / limits.bytes_per_second_min.max(1);
        let allowed = limits.grace.saturating_add(Duration::from_millis(earned_ms));
        Some(since + allowed.min(limits.waiting_max).saturating_sub(self.waited))
    }

    /// How long it has waited in all, and its throughput meanwhile, bytes a second; `None` while
    /// nothing waits for it.
    pub fn slowness(&self, now: Instant) -> Option<(Duration, u64)> {
        let waited = self.waited + now.saturating_duration_since(self.waits_since?);
        let ms = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX).max(1);
        Some((waited, self.taken.saturating_mul(1_000) / ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const LIMITS: PaceLimits = PaceLimits {
        grace: SECOND,
        bytes_per_second_min: 1_000,
        waiting_max: Duration::from_secs(60),
    };

    #[test]
    fn reader_that_takes_nothing_has_the_grace() {
        let start = Instant::now();
        let mut pace = Pace::default();
        assert!(pace.is_fresh() && pace.deadline(&LIMITS).is_none());
        // What goes out before the first wait earns no time.
        pace.takes(1_000_000, || unreachable!("no wait has ended"));
        pace.waits(start);
        pace.waits(start + SECOND / 2);
        assert_eq!(pace.deadline(&LIMITS), Some(start + SECOND));
    }

    #[test]
    fn bytes_earn_time_and_waits_use_it_up() {
        let start = Instant::now();
        let mut pace = Pace::default();
        pace.waits(start);
        pace.takes(2_000, || start + SECOND);
        assert!(pace.deadline(&LIMITS).is_none() && !pace.is_fresh());
        pace.waits(start + 5 * SECOND);
        // One second of grace and two earned, one of them is used up.
        assert_eq!(pace.deadline(&LIMITS), Some(start + 7 * SECOND));
        assert_eq!(pace.slowness(start + 6 * SECOND), Some((2 * SECOND, 1_000)));
        pace.takes(1, || start + 6 * SECOND);
        assert_eq!([6, 7].map(|at| pace.has_rested(start + at * SECOND)), [false, true]);
    }

    #[test]
    fn waits_have_a_bound_in_all() {
        let start = Instant::now();
        let mut pace = Pace::default();
        pace.waits(start);
        pace.takes(1_000_000_000, || start + SECOND);
        pace.waits(start + SECOND);
        assert_eq!(pace.deadline(&LIMITS), Some(start + LIMITS.waiting_max));
    }
}
