//! A circuit breaker: after failures in a row, calls to a dependency are refused at once instead of
//! waiting for it one after the other.
//!
//! ```text
//!             failures in a row                 pause over
//!   closed ──────────────────────► open ─────────────────────► half-open
//!     ▲                             ▲                              │
//!     │                             └──────── a call failed ───────┤
//!     └───────────────────────────────────── calls succeeded ──────┘
//! ```
//!
//! Half-open lets a few calls through (probes). Results of all calls count, also of calls that do
//! not ask for permission: health checks, and upkeep that has to be tried anyway. So a dependency that
//! is back is noticed even if nobody requests anything.
//!
//! INVARIANT: a refused call was not sent, so it has no effect.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// When a breaker opens, and how it closes.
#[derive(Clone, Copy, Debug)]
pub struct BreakerSettings {
    /// The dependency, in logs and metrics.
    pub dependency: &'static str,
    /// It opens after so many failures without a success in between.
    pub failures_max: u32,
    /// How long it refuses calls before it lets probes through; also how long it waits for their
    /// results before it lets others through.
    pub pause: Duration,
    /// Probes at a time, and successes that close it.
    pub probes: u32,
}

/// The state of a breaker; the greater, the worse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum BreakerState {
    /// Calls are made.
    #[default]
    Closed,
    /// A few calls are made, to find out whether the dependency is back.
    HalfOpen,
    /// Calls are refused.
    Open,
}

impl BreakerState {
    /// The state in words.
    pub fn as_str(self) -> &'static str {
        match self {
            BreakerState::Closed => "closed",
            BreakerState::HalfOpen => "half_open",
            BreakerState::Open => "open",
        }
    }

    /// The state in metrics: 0 closed, 1 half-open, 2 open.
    pub fn as_number(self) -> i64 {
        match self {
            BreakerState::Closed => 0,
            BreakerState::HalfOpen => 1,
            BreakerState::Open => 2,
        }
    }
}

/// After so long without any result a breaker that is not closed knows nothing: it closes, and the next
/// failure opens it again. Otherwise one without calls of its own would stay half-open until somebody buys.
const FORGET_AFTER: Duration = Duration::from_secs(25);

/// The breaker of one dependency.
#[derive(Debug)]
pub struct CircuitBreaker {
    settings: BreakerSettings,
    /// Closed, and the last call succeeded: nearly always, and then no lock is taken.
    is_calm: AtomicBool,
    inner: Mutex<Inner>,
    opened: AtomicU64,
    refused: AtomicU64,
}

#[derive(Debug)]
struct Inner {
    phase: Phase,
    /// When the last result was reported.
    heard_at: Instant,
    /// When it opened, until it closes.
    away_since: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Closed { failures: u32 },
    Open { until: Instant },
    HalfOpen { probes_left: u32, successes: u32, renewed_at: Instant },
}

/// A breaker's state and counts since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BreakerReport {
    /// The state.
    pub state: BreakerState,
    /// How often it opened.
    pub opened: u64,
    /// Calls that it refused.
    pub refused: u64,
}

impl BreakerReport {
    /// Both as one: the worse state, and the sum of the counts.
    pub fn and(self, other: BreakerReport) -> Self {
        BreakerReport {
            state: self.state.max(other.state),
            opened: self.opened + other.opened,
            refused: self.refused + other.refused,
        }
    }
}

impl CircuitBreaker {
    /// A closed breaker.
    pub fn new(settings: BreakerSettings) -> Self {
        CircuitBreaker {
            settings,
            is_calm: AtomicBool::new(true),
            inner: Mutex::new(Inner {
                phase: Phase::Closed { failures: 0 },
                heard_at: Instant::now(),
                away_since: None,
            }),
            opened: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// Whether a call may be made now. If so, report its result; one that is not reported costs a probe
    /// for the length of a pause.
    pub fn allows(&self, now: Instant) -> bool {
        if self.is_calm.load(Ordering::Relaxed) {
            return true;
        }
        let allows = self.allows_slow(now);
        if !allows {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        allows
    }

    fn allows_slow(&self, now: Instant) -> bool {
        let BreakerSettings { pause, probes, .. } = self.settings;
        let mut inner = self.lock(now);
        match &mut inner.phase {
            Phase::Closed { .. } => true,
            Phase::Open { until } if now < *until => false,
            Phase::Open { .. } => {
                let probes_left = probes.saturating_sub(1);
                inner.phase = Phase::HalfOpen { probes_left, successes: 0, renewed_at: now };
                true
            }
            Phase::HalfOpen { probes_left, renewed_at, .. } => {
                if now.saturating_duration_since(*renewed_at) >= pause {
                    (*probes_left, *renewed_at) = (probes, now);
                }
                let has_left = *probes_left > 0;
                *probes_left = probes_left.saturating_sub(1);
                has_left
            }
        }
    }

    /// Whether a call would be refused now, which counts as a refusal. Asking takes no probe: for
    /// callers that have something to do before the call.
    pub fn refuses(&self, now: Instant) -> bool {
        if self.is_calm.load(Ordering::Relaxed) {
            return false;
        }
        let refuses = match self.lock(now).phase {
            Phase::Closed { .. } => false,
            Phase::Open { until } => now < until,
            Phase::HalfOpen { probes_left, renewed_at, .. } => {
                probes_left == 0 && now.saturating_duration_since(renewed_at) < self.settings.pause
            }
        };
        if refuses {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        refuses
    }

    /// Records that the dependency answered.
    pub fn succeeded(&self, now: Instant) {
        if self.is_calm.load(Ordering::Relaxed) {
            return;
        }
        let BreakerSettings { dependency, probes, .. } = self.settings;
        let mut inner = self.lock(now);
        inner.heard_at = now;
        let (probes_left, successes, renewed_at) = match inner.phase {
            Phase::Closed { .. } => (0, probes, now),
            Phase::Open { .. } => (probes, 1, now),
            Phase::HalfOpen { probes_left, successes, renewed_at } => {
                (probes_left, successes + 1, renewed_at)
            }
        };
        if successes < probes {
            inner.phase = Phase::HalfOpen { probes_left, successes, renewed_at };
            return;
        }
        if inner.away_since.take().is_some() {
            let refused = self.refused.load(Ordering::Relaxed);
            tracing::info!(dependency, refused, "the circuit breaker closes");
        }
        inner.phase = Phase::Closed { failures: 0 };
        self.is_calm.store(true, Ordering::Relaxed);
    }

    /// Records a call without an answer.
    pub fn failed(&self, now: Instant) {
        self.failed_as(1, now);
    }

    /// Records that the dependency is surely away: opens at once.
    pub fn trip(&self, now: Instant) {
        self.failed_as(self.settings.failures_max, now);
    }

    fn failed_as(&self, weight: u32, now: Instant) {
        let BreakerSettings { dependency, failures_max, pause, .. } = self.settings;
        let mut inner = self.lock(now);
        inner.heard_at = now;
        self.is_calm.store(false, Ordering::Relaxed);
        let until = now + pause;
        match &mut inner.phase {
            Phase::Closed { failures } => {
                *failures = failures.saturating_add(weight);
                if *failures >= failures_max {
                    inner.phase = Phase::Open { until };
                    inner.away_since = Some(now);
                    self.opened.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(dependency, "the circuit breaker opens: no answers");
                }
            }
            Phase::HalfOpen { .. } => inner.phase = Phase::Open { until },
            // A call that began before: the pause is not prolonged, or upkeep that fails all the time
            // would keep it open.
            Phase::Open { .. } => {}
        }
    }

    /// The state. An open breaker whose pause is over is half-open: the next call is a probe.
    pub fn state(&self, now: Instant) -> BreakerState {
        if self.is_calm.load(Ordering::Relaxed) {
            return BreakerState::Closed;
        }
        match self.lock(now).phase {
            Phase::Closed { .. } => BreakerState::Closed,
            Phase::Open { until } if now < until => BreakerState::Open,
            Phase::Open { .. } | Phase::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// For how long the dependency has given no answers; `None` while the breaker is closed.
    pub fn away_for(&self, now: Instant) -> Option<Duration> {
        if self.is_calm.load(Ordering::Relaxed) {
            return None;
        }
        self.lock(now).away_since.map(|since| now.saturating_duration_since(since))
    }

    /// The state and the counts.
    pub fn report(&self, now: Instant) -> BreakerReport {
        BreakerReport {
            state: self.state(now),
            opened: self.opened.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
        }
    }

    fn lock(&self, now: Instant) -> MutexGuard<'_, Inner> {
        // Nothing under this lock panics half-way through a change.
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(inner.heard_at) > FORGET_AFTER {
            // One that was open opens at the next failure; a few failures long ago say nothing.
            let was_open = inner.away_since.take().is_some();
            let failures = if was_open { self.settings.failures_max.saturating_sub(1) } else { 0 };
            inner.phase = Phase::Closed { failures };
            inner.heard_at = now;
        }
        inner
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_millis(500);

    fn breaker() -> CircuitBreaker {
        CircuitBreaker::new(BreakerSettings {
            dependency: "test",
            failures_max: 3,
            pause: PAUSE,
            probes: 2,
        })
    }

    #[test]
    fn breaker_opens_after_failures_in_a_row_only() {
        let (breaker, now) = (breaker(), Instant::now());
        for _ in 0..5 {
            breaker.failed(now);
            breaker.failed(now);
            assert!(breaker.allows(now));
            breaker.succeeded(now);
        }
        assert_eq!(breaker.report(now), BreakerReport::default());
        (0..3).for_each(|_| breaker.failed(now));
        assert_eq!(breaker.state(now), BreakerState::Open);
        assert!(!breaker.allows(now));
        let report = breaker.report(now);
        assert_eq!((report.opened, report.refused), (1, 1));
    }

    #[test]
    fn half_open_breaker_lets_a_few_probes_through_and_closes_when_they_succeed() {
        let (breaker, now) = (breaker(), Instant::now());
        breaker.trip(now);
        let later = now + PAUSE;
        assert_eq!(breaker.state(later), BreakerState::HalfOpen);
        let allowed = (0..10).filter(|_| breaker.allows(later)).count();
        assert_eq!(allowed, 2);
        breaker.succeeded(later);
        assert_eq!(breaker.state(later), BreakerState::HalfOpen);
        breaker.succeeded(later);
        assert_eq!(breaker.state(later), BreakerState::Closed);
        assert!((0..10).all(|_| breaker.allows(later)));
    }

    #[test]
    fn failed_probe_opens_again_for_a_whole_pause() {
        let (breaker, now) = (breaker(), Instant::now());
        breaker.trip(now);
        let later = now + PAUSE;
        assert!(breaker.allows(later));
        breaker.succeeded(later);
        breaker.failed(later);
        assert!(!breaker.allows(later + PAUSE / 2));
        assert!(breaker.allows(later + PAUSE));
        assert_eq!(breaker.report(later).opened, 1, "it was never closed in between");
    }

    #[test]
    fn probes_without_a_result_are_replaced_after_a_pause() {
        let (breaker, now) = (breaker(), Instant::now());
        breaker.trip(now);
        let later = now + PAUSE;
        assert_eq!((0..10).filter(|_| breaker.allows(later)).count(), 2);
        assert!(!breaker.allows(later + PAUSE / 2));
        assert!(breaker.allows(later + PAUSE));
    }

    #[test]
    fn failures_while_open_do_not_prolong_it_and_unasked_successes_close_it() {
        let (breaker, now) = (breaker(), Instant::now());
        breaker.trip(now);
        breaker.failed(now + PAUSE * 3 / 4);
        assert!(breaker.allows(now + PAUSE));
        breaker.failed(now + PAUSE);
        breaker.succeeded(now + PAUSE);
        breaker.succeeded(now + PAUSE);
        assert_eq!(breaker.state(now + PAUSE), BreakerState::Closed);
    }

    #[test]
    fn asking_whether_it_refuses_takes_no_probe() {
        let (breaker, now) = (breaker(), Instant::now());
        assert!(!breaker.refuses(now));
        breaker.trip(now);
        assert!(breaker.refuses(now));
        let later = now + PAUSE;
        assert!((0..10).all(|_| !breaker.refuses(later)));
        assert_eq!((0..10).filter(|_| breaker.allows(later)).count(), 2);
        assert!(breaker.refuses(later) && !breaker.refuses(later + PAUSE));
    }

    #[test]
    fn breaker_without_calls_closes_and_one_failure_opens_it_again() {
        let (breaker, now) = (breaker(), Instant::now());
        breaker.trip(now);
        assert_eq!(breaker.away_for(now + PAUSE), Some(PAUSE));
        let later = now + FORGET_AFTER + PAUSE;
        assert_eq!((breaker.state(later), breaker.away_for(later)), (BreakerState::Closed, None));
        breaker.failed(later);
        assert_eq!(breaker.state(later), BreakerState::Open);
    }

    #[test]
    fn reports_add_up_to_the_worse_state() {
        let one = BreakerReport { state: BreakerState::HalfOpen, opened: 1, refused: 2 };
        let other = BreakerReport { state: BreakerState::Closed, opened: 3, refused: 0 };
        let both = BreakerReport { state: BreakerState::HalfOpen, opened: 4, refused: 2 };
        assert_eq!(one.and(other), both);
    }
}
