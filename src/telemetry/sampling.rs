//! Which traces are recorded. Decided once, where a request enters; everything it causes follows that
//! decision, which travels as the `sampled` flag of the trace context.
//!
//! | the caller's `traceparent` | recorded |
//! |---|---|
//! | none, or invalid | `per_million` of all |
//! | not sampled | no: its caller decided so |
//! | sampled | as many a second as `caller_per_second`; beyond that `per_million` of all |
//!
//! So a caller sees its own traces, and a crowd that sets the flag cannot make this process record all
//! of its requests. The draw beyond the bound is ours: callers choose trace ids, too.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::trace::TraceContext;

/// The share that means all.
pub const ALL_PER_MILLION: u32 = 1_000_000;

/// Decides which traces are recorded.
#[derive(Debug)]
pub struct Sampler {
    /// Draws below this are recorded; `None`: all are.
    threshold: Option<u64>,
    callers: PerSecond,
}

impl Sampler {
    /// Records this share of new traces, and this many a second that callers have sampled.
    pub fn new(per_million: u32, caller_per_second: u32) -> Self {
        let share = u64::MAX / u64::from(ALL_PER_MILLION) * u64::from(per_million);
        let threshold = (per_million < ALL_PER_MILLION).then_some(share);
        Sampler { threshold, callers: PerSecond::new(caller_per_second) }
    }

    /// Whether a request is recorded that arrived `now` with this context, if any.
    pub fn records(&self, caller: Option<&TraceContext>, now: Instant) -> bool {
        match caller {
            Some(caller) if !caller.is_sampled() => false,
            Some(_) if self.callers.take(now) => true,
            _ => self.threshold.is_none_or(|below| rand::random::<u64>() < below),
        }
    }
}

/// Allows a number of things a second, over all threads.
#[derive(Debug)]
struct PerSecond {
    max: u32,
    origin: Instant,
    /// The second since the origin in the upper half, the number in it in the lower.
    state: AtomicU64,
}

impl PerSecond {
    fn new(max: u32) -> Self {
        PerSecond { max, origin: Instant::now(), state: AtomicU64::new(0) }
    }

    fn take(&self, now: Instant) -> bool {
        // Truncated after a century.
        let second = now.saturating_duration_since(self.origin).as_secs() as u32;
        let next = |state: u64| {
            let used = if (state >> 32) as u32 == second { state as u32 } else { 0 };
            (used < self.max).then(|| u64::from(second) << 32 | u64::from(used + 1))
        };
        self.state.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn caller(is_sampled: bool) -> TraceContext {
        TraceContext::new_root().sampled(is_sampled)
    }

    #[test]
    fn share_of_new_traces_is_recorded() {
        let now = Instant::now();
        let count = |per_million| {
            let sampler = Sampler::new(per_million, 0);
            (0..10_000).filter(|_| sampler.records(None, now)).count()
        };
        assert_eq!((count(0), count(ALL_PER_MILLION)), (0, 10_000));
        let half = count(ALL_PER_MILLION / 2);
        assert!((4_500..5_500).contains(&half), "{half}");
    }

    #[test]
    fn caller_decides_within_its_bound() {
        let (sampler, now) = (Sampler::new(0, 3), Instant::now());
        assert!(!sampler.records(Some(&caller(false)), now));
        let recorded = |now| (0..5).filter(|_| sampler.records(Some(&caller(true)), now)).count();
        assert_eq!((recorded(now), recorded(now)), (3, 0));
        assert_eq!(recorded(now + Duration::from_secs(1)), 3);
    }

    #[test]
    fn caller_that_does_not_record_is_followed() {
        let sampler = Sampler::new(ALL_PER_MILLION, 3);
        assert!(!sampler.records(Some(&caller(false)), Instant::now()));
        assert!(sampler.records(None, Instant::now()));
    }
}
