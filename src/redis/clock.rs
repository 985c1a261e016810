//! An estimate of Redis' clock: an interval that contains the offset between Redis' time and this
//! process' monotonic clock, narrowed by every reply.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::time::Instant;

/// When a call is too late to run, by Redis' clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAfter(pub i64);

/// How fast two clocks may drift apart, in milliseconds per second: the interval widens by this.
const DRIFT_MS_PER_S: f64 = 0.5;

/// Estimates one Redis node's clock. Offsets are `Redis' Unix ms − our monotonic ms`.
#[derive(Debug)]
pub struct RedisClock {
    origin: Instant,
    bounds: Mutex<Option<Bounds>>,
    /// A copy of `bounds` that is read without a lock. `turn` is odd during a change, 0 before the
    /// first.
    turn: AtomicU64,
    shown: [AtomicU64; 3],
}

/// Reads that may overlap a change before the lock is taken.
const READS_MAX: u32 = 8;

#[derive(Clone, Copy, Debug)]
struct Bounds {
    low_ms: f64,
    high_ms: f64,
    /// When they were last narrowed, our monotonic ms.
    at_ms: f64,
}

impl Default for RedisClock {
    fn default() -> Self {
        RedisClock {
            origin: Instant::now(),
            bounds: Mutex::new(None),
            turn: AtomicU64::new(0),
            shown: Default::default(),
        }
    }
}

impl RedisClock {
    /// Narrows the interval by one reply: Redis' time was `redis_ms` between `sent` and `received`.
    pub fn observe(&self, sent: Instant, received: Instant, redis_ms: i64) {
        // Redis rounds down to a millisecond.
        let low_ms = redis_ms as f64 - self.monotonic_ms(received);
        let high_ms = redis_ms as f64 + 1.0 - self.monotonic_ms(sent);
        let at_ms = self.monotonic_ms(received);
        let mut bounds = self.lock();
        let fresh = Bounds { low_ms, high_ms, at_ms };
        *bounds = Some(match *bounds {
            Some(old) => {
                let old = old.widened(at_ms);
                let both = Bounds {
                    low_ms: old.low_ms.max(low_ms),
                    high_ms: old.high_ms.min(high_ms),
                    at_ms,
                };
                // No overlap: Redis' clock was set, or another node answers. The new interval replaces the old one.
                if both.low_ms <= both.high_ms { both } else { fresh }
            }
            None => fresh,
        });
        if let Some(Bounds { low_ms, high_ms, at_ms }) = *bounds {
            self.show([low_ms, high_ms, at_ms]);
        }
    }

    /// Publishes these bounds to readers. The caller has the lock.
    fn show(&self, values: [f64; 3]) {
        let turn = self.turn.load(Ordering::Relaxed);
        self.turn.store(turn + 1, Ordering::Relaxed);
        fence(Ordering::Release);
        for (shown, value) in self.shown.iter().zip(values) {
            shown.store(value.to_bits(), Ordering::Relaxed);
        }
        self.turn.store(turn + 2, Ordering::Release);
    }

    /// Drops the estimate: another Redis replies from now on.
    pub fn forget(&self) {
        let mut bounds = self.lock();
        *bounds = None;
        self.show([f64::NAN; 3]);
    }

    /// A consistent copy of the bounds.
    fn bounds(&self) -> Option<Bounds> {
        for _ in 0..READS_MAX {
            let turn = self.turn.load(Ordering::Acquire);
            if turn == 0 {
                return None;
            }
            let [low_ms, high_ms, at_ms] =
                std::array::from_fn(|n| f64::from_bits(self.shown[n].load(Ordering::Relaxed)));
            fence(Ordering::Acquire);
            if turn.is_multiple_of(2) && turn == self.turn.load(Ordering::Relaxed) {
                // Forgotten, if they are no numbers.
                return (!low_ms.is_nan()).then_some(Bounds { low_ms, high_ms, at_ms });
            }
        }
        *self.lock()
    }

    /// Redis' time now, Unix ms, at the least: a deadline built on it is never late by Redis'
    /// clock. `None` before the first reply.
    pub fn now_at_least_ms(&self) -> Option<i64> {
        let now_ms = self.monotonic_ms(Instant::now());
        let bounds = self.bounds()?.widened(now_ms);
        Some((now_ms + bounds.low_ms).floor() as i64)
    }

    /// Redis' time now, Unix ms, at the most. `None` before the first reply.
    pub fn now_at_most_ms(&self) -> Option<i64> {
        self.at_most_ms(Instant::now())
    }

    /// Redis' time at another moment, Unix ms, at the most.
    pub fn at_most_ms(&self, now: Instant) -> Option<i64> {
        let now_ms = self.monotonic_ms(now);
        let bounds = self.bounds()?.widened(now_ms);
        Some((now_ms + bounds.high_ms).ceil() as i64)
    }

    fn monotonic_ms(&self, at: Instant) -> f64 {
        at.saturating_duration_since(self.origin).as_secs_f64() * 1000.0
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Bounds>> {
        // Nothing under this lock panics; a poisoned value would still be a whole one.
        self.bounds.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Bounds {
    fn widened(self, now_ms: f64) -> Bounds {
        let drift_ms = (now_ms - self.at_ms).max(0.0) / 1000.0 * DRIFT_MS_PER_S;
        Bounds { low_ms: self.low_ms - drift_ms, high_ms: self.high_ms + drift_ms, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// With replies of two clocks far apart, in turn, a reader gets one of the two.
    #[test]
    fn readers_meet_no_half_changed_bounds() {
        let clock = RedisClock::default();
        let at = clock.origin + Duration::from_millis(1);
        clock.observe(at, at, 1_000_000);
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                for _ in 0..200_000 {
                    let Bounds { low_ms, high_ms, .. } = clock.bounds().unwrap();
                    assert!((0.5..=1.5).contains(&(high_ms - low_ms)), "{low_ms} {high_ms}");
                }
            });
            let mut redis_ms = 1_000_000;
            while !reader.is_finished() {
                redis_ms = 6_000_000 - redis_ms;
                clock.observe(at, at, redis_ms);
            }
        });
    }

    #[test]
    fn narrows_with_replies_and_follows_a_clock_that_was_set() {
        let clock = RedisClock::default();
        assert_eq!(clock.now_at_least_ms(), None);
        let start = clock.origin;
        let at = |ms| start + Duration::from_millis(ms);
        clock.observe(at(0), at(100), 1_000_050);
        let wide = clock.lock().unwrap();
        clock.observe(at(100), at(102), 1_000_101);
        let narrow = clock.lock().unwrap();
        assert!(narrow.high_ms - narrow.low_ms < 4.0);
        assert!(narrow.low_ms >= wide.low_ms - 1.0 && narrow.high_ms <= wide.high_ms + 1.0);
        assert!(narrow.low_ms <= 1_000_000.0 && 1_000_000.0 <= narrow.high_ms);
        clock.observe(at(200), at(202), 5_000_201);
        let set = clock.lock().unwrap();
        assert!(set.low_ms <= 5_000_000.0 && 5_000_000.0 <= set.high_ms);
        clock.forget();
        assert_eq!((clock.now_at_least_ms(), clock.now_at_most_ms()), (None, None));
        clock.observe(at(300), at(302), 7_000_301);
        assert!(clock.now_at_most_ms().unwrap() >= 7_000_000);
    }
}
