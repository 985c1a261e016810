//! Rate-limits warnings that a dependency causes repeatedly. Each location in the code logs the first
//! at once, then at most one per [`PERIOD`], which says how many were left out before it; all
//! left-out warnings are counted in `holdfast_warnings_left_out_total`.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Shortest time between two warnings of one location in the code.
const PERIOD: Duration = Duration::from_secs(10);

/// Before the first warning.
const NEVER: u64 = 0;

/// Warnings left out so far, in the whole process, since logs are per process.
static LEFT_OUT: AtomicU64 = AtomicU64::new(0);

/// The number of warnings left out since the process began.
pub(super) fn left_out() -> u64 {
    LEFT_OUT.load(Ordering::Relaxed)
}

/// The rate limit of one location in the code.
#[derive(Debug)]
pub struct Limit {
    /// When the last one was logged, ms; [`NEVER`] before the first.
    logged_at_ms: AtomicU64,
    left_out: AtomicU64,
}

impl Limit {
    /// Creates a limit without a logged warning.
    #[allow(clippy::new_without_default, reason = "only ever a static")]
    pub const fn new() -> Self {
        Limit { logged_at_ms: AtomicU64::new(NEVER), left_out: AtomicU64::new(0) }
    }

    /// Whether a warning may be logged now, and if so how many were left out before it; `Some(None)`
    /// if none was.
    pub fn due(&self) -> Option<Option<u64>> {
        static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
        self.due_at(ORIGIN.elapsed())
    }

    fn due_at(&self, now: Duration) -> Option<Option<u64>> {
        // Never `NEVER`.
        let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX).saturating_add(1);
        let logged_at_ms = self.logged_at_ms.load(Ordering::Relaxed);
        let is_due = logged_at_ms == NEVER
            || u128::from(now_ms.saturating_sub(logged_at_ms)) >= PERIOD.as_millis();
        let takes = |limit: &AtomicU64| {
            let (order, now) = (Ordering::Relaxed, now_ms);
            limit.compare_exchange(logged_at_ms, now, order, order).is_ok()
        };
        if is_due && takes(&self.logged_at_ms) {
            return Some(Some(self.left_out.swap(0, Ordering::Relaxed)).filter(|count| *count > 0));
        }
        self.left_out.fetch_add(1, Ordering::Relaxed);
        LEFT_OUT.fetch_add(1, Ordering::Relaxed);
        None
    }
}

/// Like `tracing::warn!`, for warnings that a dependency may cause repeatedly; see [`super::repeated`].
macro_rules! warn_repeated {
    ($($what:tt)+) => {{
        static LIMIT: $crate::telemetry::repeated::Limit =
            $crate::telemetry::repeated::Limit::new();
        if let Some(left_out) = LIMIT.due() {
            tracing::warn!(left_out, $($what)+);
        }
    }};
}
pub(crate) use warn_repeated;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_warnings_are_counted_not_logged() {
        let limit = Limit::new();
        let at = |ms| limit.due_at(Duration::from_millis(ms));
        let before = left_out();
        assert_eq!(at(0), Some(None));
        assert_eq!((at(1), at(9_999)), (None, None));
        assert_eq!(at(10_000), Some(Some(2)));
        assert_eq!(at(10_001), None);
        assert_eq!(at(30_000), Some(Some(1)));
        assert_eq!(at(60_000), Some(None));
        assert!(left_out() >= before + 3);
    }
}
