//! What this process knows of Redis' clock: an interval that surely holds the offset between
//! Redis' time and our own monotonic clock, narrowed by every reply.

use std::sync::Mutex;
use std::time::Instant;

/// How fast two clocks may drift apart, in milliseconds per second: the interval widens by this.
const DRIFT_MS_PER_S: f64 = 0.5;

/// Estimates one Redis node's clock. Offsets are `Redis' Unix ms − our monotonic ms`.
#[derive(Debug)]
pub struct RedisClock {
    origin: Instant,
    bounds: Mutex<Option<Bounds>>,
}

#[derive(Clone, Copy, Debug)]
struct Bounds {
    low_ms: f64,
    high_ms: f64,
    /// When they were last narrowed, our monotonic ms.
    at_ms: f64,
}

impl Default for RedisClock {
    fn default() -> Self {
        RedisClock { origin: Instant::now(), bounds: Mutex::new(None) }
    }
}

impl RedisClock {
    /// Learns from one reply: Redis said `redis_ms` somewhere between `sent` and `received`.
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
                // No overlap: Redis' clock was set, or another node answers. Believe the news.
                if both.low_ms <= both.high_ms { both } else { fresh }
            }
            None => fresh,
        });
    }

    /// Redis' time now, Unix ms, at the least: a deadline built on it is never late by Redis'
    /// clock. `None` before the first reply.
    pub fn now_at_least_ms(&self) -> Option<i64> {
        let now_ms = self.monotonic_ms(Instant::now());
        let bounds = (*self.lock())?.widened(now_ms);
        Some((now_ms + bounds.low_ms).floor() as i64)
    }

    /// Redis' time now, Unix ms, at the most. `None` before the first reply.
    pub fn now_at_most_ms(&self) -> Option<i64> {
        let now_ms = self.monotonic_ms(Instant::now());
        let bounds = (*self.lock())?.widened(now_ms);
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
    }
}
