//! Measures how fast a client reads a response, and when a slow reader is disconnected.
//!
//! Only time in which the response waits for its client counts, not the handler's or the archive's.
//! Bytes count from the first wait on: bytes before that went into the socket's send buffer.

use std::time::{Duration, Instant};

/// The least speed at which clients have to read.
#[derive(Clone, Copy, Debug)]
pub struct PaceLimits {
    /// How long a client may read nothing before its throughput counts.
    pub grace: Duration,
    /// The least throughput after that, bytes a second.
    pub bytes_per_second_min: u64,
    /// How long one response may wait for its client in total.
    pub waiting_max: Duration,
}

/// The pace of one response.
#[derive(Debug, Default)]
pub struct Pace {
    /// Start of the current wait.
    waits_since: Option<Instant>,
    /// Total of the earlier waits.
    waited: Duration,
    /// Bytes written since the first wait.
    taken: u64,
    /// End of the last wait.
    resumed_at: Option<Instant>,
}

/// After so long without a wait, an endless stream is measured anew.
const REST: Duration = Duration::from_secs(1);

impl Pace {
    /// Records that the send buffer is full: the client has to read first.
    pub fn waits(&mut self, now: Instant) {
        self.waits_since.get_or_insert(now);
    }

    /// Records bytes that went into the send buffer, which ends a wait.
    pub fn takes(&mut self, bytes: usize, now: impl FnOnce() -> Instant) {
        if let Some(since) = self.waits_since.take() {
            let now = now();
            self.waited += now.saturating_duration_since(since);
            self.resumed_at = Some(now);
        }
        if !self.waited.is_zero() {
            self.taken = self.taken.saturating_add(bytes as u64);
        }
    }

    /// Starts measuring the next response; a current wait continues.
    pub fn restart(&mut self, now: impl FnOnce() -> Instant) {
        let waits_since = self.waits_since.map(|_| now());
        *self = Pace { waits_since, ..Pace::default() };
    }

    /// Whether an endless stream has had no wait for [`REST`].
    pub fn has_rested(&self, now: Instant) -> bool {
        let rested = |since: Instant| now.saturating_duration_since(since) >= REST;
        self.waits_since.is_none() && self.resumed_at.is_some_and(rested)
    }

    /// Whether there was no wait at all.
    pub fn is_fresh(&self) -> bool {
        self.waits_since.is_none() && self.waited.is_zero()
    }

    /// When the client is too slow, unless it reads on; `None` while no response waits.
    pub fn deadline(&self, limits: &PaceLimits) -> Option<Instant> {
        let since = self.waits_since?;
        let earned_ms = self.taken.saturating_mul(1_000) / limits.bytes_per_second_min.max(1);
        let allowed = limits.grace.saturating_add(Duration::from_millis(earned_ms));
        Some(since + allowed.min(limits.waiting_max).saturating_sub(self.waited))
    }

    /// The total wait, and the throughput in it, bytes a second; `None` while no response waits.
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
    fn reader_that_reads_nothing_has_the_grace_period() {
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
    fn bytes_extend_the_deadline_and_waits_use_it_up() {
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
    fn total_wait_is_bounded() {
        let start = Instant::now();
        let mut pace = Pace::default();
        pace.waits(start);
        pace.takes(1_000_000_000, || start + SECOND);
        pace.waits(start + SECOND);
        assert_eq!(pace.deadline(&LIMITS), Some(start + LIMITS.waiting_max));
    }
}
