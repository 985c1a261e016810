//! The driver's pool of connections, counted by its events, for metrics.
//!
//! An operation that is given up while it waits for a connection leaves the driver's queue without an event.
//! The queue is first in, first out: an older waiter that was not served has given up.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mongodb::event::EventHandler;
use mongodb::event::cmap::CmapEvent;

use crate::telemetry::Metrics;

/// Longer than any operation waits for a connection.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// Operations whose wait is tracked.
const WAITING_MAX: usize = 10_000;
/// How much later than the driver this process notes that an operation asked.
const NOTED_WITHIN: Duration = Duration::from_millis(1);

/// What the pool has done.
#[derive(Debug, Default)]
pub(super) struct PoolCounts {
    opened: AtomicU64,
    closed: AtomicU64,
    failed: AtomicU64,
    waiting: Mutex<Waiting>,
}

/// When each operation asked that has no connection yet, oldest first.
#[derive(Debug, Default)]
struct Waiting(VecDeque<Instant>);

/// The pool at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolState {
    /// Open connections.
    pub connections: u64,
    /// Operations that wait for one.
    pub waiting: u64,
    /// Operations that got none.
    pub failed: u64,
}

impl PoolCounts {
    /// The driver's handler, which counts here.
    pub fn handler(self: &Arc<Self>) -> EventHandler<CmapEvent> {
        let counts = self.clone();
        EventHandler::callback(move |event| counts.note(&event))
    }

    fn note(&self, event: &CmapEvent) {
        let now = Instant::now();
        match event {
            CmapEvent::ConnectionCreated(_) => drop(self.opened.fetch_add(1, Ordering::Relaxed)),
            CmapEvent::ConnectionClosed(_) => drop(self.closed.fetch_add(1, Ordering::Relaxed)),
            CmapEvent::ConnectionCheckoutStarted(_) => self.with_waiting(|all| all.asked(now)),
            CmapEvent::ConnectionCheckedOut(served) => {
                self.with_waiting(|all| all.served(now, served.duration));
            }
            CmapEvent::ConnectionCheckoutFailed(failed) => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                self.with_waiting(|all| all.served(now, failed.duration));
            }
            _ => {}
        }
    }

    fn with_waiting<T>(&self, change: impl FnOnce(&mut Waiting) -> T) -> T {
        // No code under this lock panics half-way through a change.
        change(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn state(&self) -> PoolState {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        // Before those that were opened: the difference is never below zero.
        let closed = read(&self.closed);
        PoolState {
            connections: read(&self.opened).saturating_sub(closed),
            waiting: self.with_waiting(|all| all.count(Instant::now())) as u64,
            failed: read(&self.failed),
        }
    }
}

impl Waiting {
    fn asked(&mut self, now: Instant) {
        if self.0.len() >= WAITING_MAX {
            self.0.pop_front();
        }
        self.0.push_back(now);
    }

    /// Removes the operation that waited for `waited`, and all that asked before it.
    fn served(&mut self, now: Instant, waited: Duration) {
        let asked = now.checked_sub(waited).unwrap_or(now) - NOTED_WITHIN;
        while self.0.pop_front().is_some_and(|at| at < asked) {}
    }

    fn count(&mut self, now: Instant) -> usize {
        while self.0.front().is_some_and(|at| now.duration_since(*at) > WAIT_MAX) {
            self.0.pop_front();
        }
        self.0.len()
    }
}

impl PoolState {
    /// Shows it in metrics.
    pub fn show(&self, metrics: &Metrics) {
        let gauge = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        metrics.db_pool_size.set(gauge(self.connections));
        metrics.db_pool_overflow.set(gauge(self.waiting));
        Metrics::raise(&metrics.db_check_outs_failed, self.failed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_that_left_before_others_were_served_do_not_wait() {
        let (mut waiting, start) = (Waiting::default(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        for ms in [0, 100, 200, 300] {
            waiting.asked(at(ms));
        }
        assert_eq!(waiting.count(at(300)), 4);
        // The third is served: the first two have left.
        waiting.served(at(400), Duration::from_millis(200));
        assert_eq!(waiting.count(at(400)), 1);
        waiting.served(at(500), Duration::from_millis(200));
        assert_eq!(waiting.count(at(500)), 0);
        // Nobody else is served any more.
        waiting.asked(at(600));
        assert_eq!(waiting.count(at(600) + WAIT_MAX + Duration::from_millis(1)), 0);
    }
}
