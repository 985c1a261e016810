//! How many people a sale takes at the moment: all that its operator allows while it is well, half
//! as many with each second in which it is not, and then more again, step by step. Pure.

/// Oldest entry that may wait for the archive, seconds.
const LAG_SECONDS_MAX: f64 = 10.0;
/// What a question to Redis may take, as a divisor of its time-out.
const LATENCY_DIVISOR: u64 = 4;
/// What is added in a second that is well.
const RISE: f64 = 0.1;
/// Where falling ends: a room never stands still for good.
const SHARE_MIN: f64 = 0.01;

/// What speaks against letting more people in.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Strain {
    /// Age of the oldest entry of the log that is not archived, seconds.
    pub lag_seconds: f64,
    /// What a question to Redis took last, ms.
    pub redis_ms: u64,
    /// What it may take, ms.
    pub redis_timeout_ms: u64,
    /// Failures so far, of writes to the archive and of looks at rooms.
    pub errors: u64,
    /// Whether Redis and MongoDB answered when they were asked last.
    pub services_answer: bool,
}

/// The share of what the operator allows.
#[derive(Debug)]
pub(super) struct Pace {
    share: f64,
    errors: u64,
}

impl Default for Pace {
    fn default() -> Self {
        Pace { share: 1.0, errors: 0 }
    }
}

impl Pace {
    /// Once a second.
    pub fn judge(&mut self, strain: Strain) {
        let failed = strain.errors > self.errors;
        self.errors = strain.errors;
        let is_slow = strain.redis_ms > strain.redis_timeout_ms / LATENCY_DIVISOR;
        let is_behind = strain.lag_seconds > LAG_SECONDS_MAX;
        if failed || is_slow || is_behind || !strain.services_answer {
            self.share = (self.share / 2.0).max(SHARE_MIN);
        } else {
            self.share = (self.share + RISE).min(1.0);
        }
    }

    /// 0 to 1.
    pub fn share(&self) -> f64 {
        self.share
    }

    /// Sessions and open places that there may be of so many; one at least.
    pub fn of(&self, max_concurrent: u32) -> u32 {
        ((f64::from(max_concurrent) * self.share).ceil() as u32).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WELL: Strain = Strain {
        lag_seconds: 0.5,
        redis_ms: 2,
        redis_timeout_ms: 400,
        errors: 3,
        services_answer: true,
    };

    #[test]
    fn each_strain_halves_and_wellness_raises() {
        for strained in [
            Strain { lag_seconds: 11.0, ..WELL },
            Strain { redis_ms: 101, ..WELL },
            Strain { errors: 4, ..WELL },
            Strain { services_answer: false, ..WELL },
        ] {
            let mut pace = Pace { share: 1.0, errors: 3 };
            pace.judge(WELL);
            assert_eq!(pace.of(1_000), 1_000);
            pace.judge(strained);
            assert_eq!(pace.of(1_000), 500, "{strained:?}");
            pace.judge(Strain { errors: strained.errors, ..WELL });
            assert_eq!(pace.of(1_000), 600, "errors count once");
        }
    }

    #[test]
    fn it_never_stands_still_for_good() {
        let mut pace = Pace::default();
        (0..50).for_each(|_| pace.judge(Strain { services_answer: false, ..WELL }));
        assert_eq!((pace.of(10), pace.of(1_000)), (1, 10));
        (0..10).for_each(|_| pace.judge(Strain { errors: 3, ..WELL }));
        assert_eq!(pace.of(1_000), 1_000);
    }
}
