//! A WebSocket's clock: when to ping, when silence is too long, and how much a client may say.

use std::time::{Duration, Instant};

/// Frames that one client may send in a second. Those that are meant to be sent by people and their
/// programs are some a minute.
pub const FRAMES_PER_SECOND_MAX: u32 = 10;

/// One socket's clock.
pub struct Heartbeat {
    ping_interval: Duration,
    idle_timeout: Duration,
    ping_at: Instant,
    heard_at: Instant,
    /// Since when frames are counted, and how many there were.
    counted: (Instant, u32),
}

/// What is to be done when time has come.
#[derive(Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing yet: the client was heard meanwhile.
    Nothing,
    /// Ask whether the client is there.
    Ping,
    /// Give it up.
    Idle,
}

impl Heartbeat {
    /// A client that is there now. `spread` in 0..1 moves the first ping ahead, so that those who came
    /// together are not pinged together.
    pub fn new(now: Instant, ping_interval: Duration, idle_timeout: Duration, spread: f64) -> Self {
        let ping_at = now + ping_interval.mul_f64(1.0 - spread.clamp(0.0, 1.0));
        Heartbeat { ping_interval, idle_timeout, ping_at, heard_at: now, counted: (now, 0) }
    }

    /// When to look again: never sooner than was said before.
    pub fn due_at(&self) -> Instant {
        self.ping_at.min(self.heard_at + self.idle_timeout)
    }

    /// What to do at that time. After `Ping` the next one is due an interval later.
    pub fn due(&mut self, now: Instant) -> Due {
        if now >= self.heard_at + self.idle_timeout {
            return Due::Idle;
        }
        if now < self.ping_at {
            return Due::Nothing;
        }
        self.ping_at = now + self.ping_interval;
        Due::Ping
    }

    /// Notes a frame; false if it is one too many.
    pub fn hears(&mut self, now: Instant) -> bool {
        self.heard_at = now;
        let (since, count) = &mut self.counted;
        if now.duration_since(*since) >= Duration::from_secs(1) {
            (*since, *count) = (now, 0);
        }
        *count += 1;
        *count <= FRAMES_PER_SECOND_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn silence_is_pinged_and_then_given_up() {
        let start = Instant::now();
        let mut pulse = Heartbeat::new(start, 2 * SECOND, 5 * SECOND, 0.0);
        assert_eq!(pulse.due_at(), start + 2 * SECOND);
        assert_eq!(pulse.due(start + 2 * SECOND), Due::Ping);
        assert_eq!(pulse.due(start + 4 * SECOND), Due::Ping);
        assert_eq!(pulse.due_at(), start + 5 * SECOND);
        assert_eq!(pulse.due(start + 5 * SECOND), Due::Idle);
    }

    #[test]
    fn an_answer_starts_the_time_anew() {
        let start = Instant::now();
        let mut pulse = Heartbeat::new(start, 2 * SECOND, 5 * SECOND, 0.5);
        assert_eq!(pulse.due_at(), start + SECOND);
        assert_eq!(pulse.due(start + SECOND), Due::Ping);
        assert!(pulse.hears(start + 4 * SECOND));
        assert_eq!(pulse.due(start + 5 * SECOND), Due::Ping);
        // It would have been too long since the start.
        assert_eq!(pulse.due(start + 6 * SECOND), Due::Nothing);
        assert_eq!(pulse.due(start + 9 * SECOND), Due::Idle);
    }

    #[test]
    fn frames_are_counted_by_the_second() {
        let start = Instant::now();
        let mut pulse = Heartbeat::new(start, SECOND, 5 * SECOND, 0.0);
        for _ in 0..FRAMES_PER_SECOND_MAX {
            assert!(pulse.hears(start));
        }
        assert!(!pulse.hears(start + SECOND / 2));
        assert!(pulse.hears(start + SECOND));
    }
}
