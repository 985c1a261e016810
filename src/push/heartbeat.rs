//! A WebSocket's timers: when to ping, when an idle client is given up, and how many frames it may send.

use std::time::{Duration, Instant};

/// Frames that one client may send per second. Regular clients send a few per minute.
pub const FRAMES_PER_SECOND_MAX: u32 = 10;

/// One socket's timers.
pub struct Heartbeat {
    ping_interval: Duration,
    idle_timeout: Duration,
    ping_at: Instant,
    received_at: Instant,
    /// The start of the current second, and the frames received in it.
    window: (Instant, u32),
}

/// What to do when a timer is due.
#[derive(Debug, PartialEq, Eq)]
pub enum HeartbeatAction {
    /// Nothing yet: the client sent a frame in the meantime.
    None,
    /// Send a ping.
    Ping,
    /// Close the socket: the client was silent for too long.
    TimedOut,
}

impl Heartbeat {
    /// Starts the timers. `spread` in 0..1 brings the first ping forward, so that clients that connected
    /// together are not pinged together.
    pub fn new(now: Instant, ping_interval: Duration, idle_timeout: Duration, spread: f64) -> Self {
        let ping_at = now + ping_interval.mul_f64(1.0 - spread.clamp(0.0, 1.0));
        Heartbeat { ping_interval, idle_timeout, ping_at, received_at: now, window: (now, 0) }
    }

    /// When to call [`Heartbeat::next_action`]: never earlier than an earlier result.
    pub fn due_at(&self) -> Instant {
        self.ping_at.min(self.received_at + self.idle_timeout)
    }

    /// What to do now. After `Ping` the next ping is due an interval later.
    pub fn next_action(&mut self, now: Instant) -> HeartbeatAction {
        if now >= self.received_at + self.idle_timeout {
            return HeartbeatAction::TimedOut;
        }
        if now < self.ping_at {
            return HeartbeatAction::None;
        }
        self.ping_at = now + self.ping_interval;
        HeartbeatAction::Ping
    }

    /// Records a received frame; returns false if there are too many.
    pub fn record_frame(&mut self, now: Instant) -> bool {
        self.received_at = now;
        let (since, count) = &mut self.window;
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
    fn silent_client_is_pinged_then_timed_out() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::new(start, 2 * SECOND, 5 * SECOND, 0.0);
        assert_eq!(heartbeat.due_at(), start + 2 * SECOND);
        assert_eq!(heartbeat.next_action(start + 2 * SECOND), HeartbeatAction::Ping);
        assert_eq!(heartbeat.next_action(start + 4 * SECOND), HeartbeatAction::Ping);
        assert_eq!(heartbeat.due_at(), start + 5 * SECOND);
        assert_eq!(heartbeat.next_action(start + 5 * SECOND), HeartbeatAction::TimedOut);
    }

    #[test]
    fn received_frame_restarts_the_idle_timeout() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::new(start, 2 * SECOND, 5 * SECOND, 0.5);
        assert_eq!(heartbeat.due_at(), start + SECOND);
        assert_eq!(heartbeat.next_action(start + SECOND), HeartbeatAction::Ping);
        assert!(heartbeat.record_frame(start + 4 * SECOND));
        assert_eq!(heartbeat.next_action(start + 5 * SECOND), HeartbeatAction::Ping);
        // The idle timeout since the start has passed.
        assert_eq!(heartbeat.next_action(start + 6 * SECOND), HeartbeatAction::None);
        assert_eq!(heartbeat.next_action(start + 9 * SECOND), HeartbeatAction::TimedOut);
    }

    #[test]
    fn frames_are_limited_per_second() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::new(start, SECOND, 5 * SECOND, 0.0);
        for _ in 0..FRAMES_PER_SECOND_MAX {
            assert!(heartbeat.record_frame(start));
        }
        assert!(!heartbeat.record_frame(start + SECOND / 2));
        assert!(heartbeat.record_frame(start + SECOND));
    }
}
