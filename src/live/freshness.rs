//! The age of what a tail has read, by Redis' clock, for one partition.
//!
//! INVARIANT: a view is used only while the newest entry of its partition that this process has
//! read is younger than `live_staleness_ms`. An entry that was not read yet is younger than that
//! one, so the view was correct that short a time ago. Silence proves nothing: a quiet partition needs
//! `beat` entries.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::redis::RedisClock;

/// Nothing was read, or requested, yet.
const NEVER: u64 = 0;

/// The age of one partition's newest entry, and whether requests need it.
#[derive(Debug)]
pub(super) struct Freshness {
    origin: Instant,
    /// When the newest entry was appended, by Redis' clock, Unix ms.
    newest_ms: AtomicI64,
    /// When it was read, ms after `origin`.
    read_at_ms: AtomicU64,
    /// When a request last needed it, ms after `origin`.
    requested_at_ms: AtomicU64,
}

impl Freshness {
    pub fn new() -> Self {
        Freshness {
            origin: Instant::now(),
            newest_ms: AtomicI64::new(0),
            read_at_ms: AtomicU64::new(NEVER),
            requested_at_ms: AtomicU64::new(NEVER),
        }
    }

    /// Records an entry that was read and applied to the views.
    pub fn note_entry(&self, time_ms: i64) {
        self.newest_ms.store(time_ms, Ordering::Relaxed);
        self.read_at_ms.store(self.now_ms(), Ordering::Release);
    }

    /// Makes the partition stale: the tail lost its position.
    pub fn forget(&self) {
        self.read_at_ms.store(NEVER, Ordering::Release);
    }

    /// Whether the newest entry is younger than `staleness`. Records that a request needs the partition.
    pub fn is_within(&self, staleness: Duration, clock: &RedisClock, now: Instant) -> bool {
        let now_ms = self.at_ms(now);
        // Written in steps, so that threads do not contend for the cache line on every request.
        let requested_at_ms = self.requested_at_ms.load(Ordering::Relaxed);
        if requested_at_ms == NEVER || requested_at_ms + REQUESTED_STEP_MS < now_ms {
            self.requested_at_ms.store(now_ms, Ordering::Relaxed);
        }
        let read_at_ms = self.read_at_ms.load(Ordering::Acquire);
        if read_at_ms == NEVER {
            return false;
        }
        let staleness_ms = staleness.as_millis() as u64;
        // Checked by the local clock, too: Redis' clock may be set back.
        let since_read_ms = now_ms.saturating_sub(read_at_ms);
        let age_ms =
            clock.at_most_ms(now).map(|at_most| at_most - self.newest_ms.load(Ordering::Relaxed));
        let is_young = age_ms
            .and_then(|age_ms| u64::try_from(age_ms).ok())
            .is_some_and(|age_ms| age_ms < staleness_ms);
        is_young && since_read_ms < staleness_ms
    }

    /// How long ago the newest entry was read; `None` if none was.
    pub fn since_read(&self) -> Option<Duration> {
        let read_at_ms = Some(self.read_at_ms.load(Ordering::Acquire)).filter(|at| *at != NEVER)?;
        Some(Duration::from_millis(self.now_ms().saturating_sub(read_at_ms)))
    }

    /// Whether a request needed the partition within this time.
    pub fn is_requested(&self, within: Duration) -> bool {
        let requested_at_ms = self.requested_at_ms.load(Ordering::Relaxed);
        let since_ms = self.now_ms().saturating_sub(requested_at_ms);
        requested_at_ms != NEVER && u128::from(since_ms) < within.as_millis()
    }

    fn now_ms(&self) -> u64 {
        self.at_ms(Instant::now())
    }

    fn at_ms(&self, now: Instant) -> u64 {
        // At least 1: 0 means never.
        now.saturating_duration_since(self.origin).as_millis() as u64 + 1
    }
}

/// Resolution of the time of the last request, ms.
const REQUESTED_STEP_MS: u64 = 50;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partition_is_fresh_only_while_its_newest_entry_is_young() {
        let (freshness, clock) = (Freshness::new(), RedisClock::default());
        let staleness = Duration::from_secs(1);
        let now = Instant::now();
        let is_fresh = || freshness.is_within(staleness, &clock, Instant::now());
        assert!(!is_fresh(), "nothing was read");
        freshness.note_entry(50_000);
        assert!(!is_fresh(), "the time is unknown");
        clock.observe(now, now, 50_100);
        assert!(is_fresh());
        freshness.note_entry(48_000);
        assert!(!is_fresh(), "too old by Redis' time");
        freshness.note_entry(90_000);
        assert!(!is_fresh(), "from a clock that was set back");
        freshness.note_entry(50_000);
        freshness.forget();
        assert!(!is_fresh(), "the tail lost its position");
        assert!(freshness.is_requested(staleness) && freshness.since_read().is_none());
    }
}
