//! Exponential backoff with jitter: each pause is twice as long as the one before, up to a cap, and
//! randomised so that processes that failed together do not retry together.

use std::time::Duration;

/// The pauses of one series of failures.
#[derive(Debug)]
pub struct Backoff {
    next: Duration,
    max: Duration,
}

impl Backoff {
    /// Pauses that begin at about `min` and double up to `max`.
    pub fn new(min: Duration, max: Duration) -> Self {
        Backoff { next: min, max }
    }

    /// The next pause: a random duration between half of the current length and all of it.
    pub fn pause(&mut self) -> Duration {
        let whole = self.next;
        self.next = (whole * 2).min(self.max);
        whole.mul_f64(rand::random_range(0.5..=1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_cap() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(300));
        for whole_ms in [100, 200, 300, 300] {
            let whole = Duration::from_millis(whole_ms);
            let pause = backoff.pause();
            assert!((whole / 2..=whole).contains(&pause), "{pause:?} of {whole:?}");
        }
    }
}
