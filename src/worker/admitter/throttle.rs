//! Limits admissions under load: additive increase, multiplicative decrease. The share of the
//! operator's limit halves in each second in which the services are overloaded and rises step by step
//! otherwise. Pure.

/// Greatest age of an unarchived log entry, seconds.
const LAG_SECONDS_MAX: f64 = 10.0;
/// Greatest latency of Redis, as a divisor of its timeout.
const LATENCY_DIVISOR: u64 = 4;
/// Increase of the share per second without overload.
const RISE: f64 = 0.1;
/// Lowest share: a room never stops for good.
const SHARE_MIN: f64 = 0.01;

/// Signals of overload.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct LoadSignals {
    /// Age of the oldest log entry that is not archived, seconds.
    pub lag_seconds: f64,
    /// Latency of the last check of Redis, ms.
    pub redis_ms: u64,
    /// Timeout of Redis calls, ms.
    pub redis_timeout_ms: u64,
    /// Failures so far: writes to the archive and rounds of rooms.
    pub errors: u64,
    /// Whether Redis and MongoDB responded to their last checks.
    pub services_respond: bool,
}

/// The share of the operator's limit that may be admitted.
#[derive(Debug)]
pub(super) struct AdmissionThrottle {
    share: f64,
    errors: u64,
}

impl Default for AdmissionThrottle {
    fn default() -> Self {
        AdmissionThrottle { share: 1.0, errors: 0 }
    }
}

impl AdmissionThrottle {
    /// Adapts the share. Called once a second.
    pub fn update(&mut self, signals: LoadSignals) {
        let failed = signals.errors > self.errors;
        self.errors = signals.errors;
        let is_slow = signals.redis_ms > signals.redis_timeout_ms / LATENCY_DIVISOR;
        let is_behind = signals.lag_seconds > LAG_SECONDS_MAX;
        if failed || is_slow || is_behind || !signals.services_respond {
            self.share = (self.share / 2.0).max(SHARE_MIN);
        } else {
            self.share = (self.share + RISE).min(1.0);
        }
    }

    /// The share, from 0 to 1.
    pub fn share(&self) -> f64 {
        self.share
    }

    /// How many sessions and open places there may be, out of `max_concurrent`; at least one.
    pub fn places_of(&self, max_concurrent: u32) -> u32 {
        ((f64::from(max_concurrent) * self.share).ceil() as u32).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NORMAL: LoadSignals = LoadSignals {
        lag_seconds: 0.5,
        redis_ms: 2,
        redis_timeout_ms: 400,
        errors: 3,
        services_respond: true,
    };

    #[test]
    fn share_halves_under_each_overload_and_rises_otherwise() {
        for overload in [
            LoadSignals { lag_seconds: 11.0, ..NORMAL },
            LoadSignals { redis_ms: 101, ..NORMAL },
            LoadSignals { errors: 4, ..NORMAL },
            LoadSignals { services_respond: false, ..NORMAL },
        ] {
            let mut throttle = AdmissionThrottle { share: 1.0, errors: 3 };
            throttle.update(NORMAL);
            assert_eq!(throttle.places_of(1_000), 1_000);
            throttle.update(overload);
            assert_eq!(throttle.places_of(1_000), 500, "{overload:?}");
            throttle.update(LoadSignals { errors: overload.errors, ..NORMAL });
            assert_eq!(throttle.places_of(1_000), 600, "errors count once");
        }
    }

    #[test]
    fn share_never_reaches_zero() {
        let mut throttle = AdmissionThrottle::default();
        (0..50).for_each(|_| throttle.update(LoadSignals { services_respond: false, ..NORMAL }));
        assert_eq!((throttle.places_of(10), throttle.places_of(1_000)), (1, 10));
        (0..10).for_each(|_| throttle.update(LoadSignals { errors: 3, ..NORMAL }));
        assert_eq!(throttle.places_of(1_000), 1_000);
    }
}
