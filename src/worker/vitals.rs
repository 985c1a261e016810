//! How the worker is: what its dependencies said last, and whether the drain gets on.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prometheus::IntGauge;

use crate::sale::Readiness;

/// The worker's vital signs, shared by its tasks and its health routes.
pub(super) struct Vitals {
    origin: Instant,
    /// When each lane last read something or began a batch, ms after `origin`.
    turns_ms: Vec<AtomicU64>,
    readiness: Mutex<Readiness>,
    /// How long Redis took to answer the last time, ms.
    redis_ms: AtomicU64,
    batches: IntGauge,
}

/// One batch under way; over when dropped.
pub(super) struct UnderWay<'a>(&'a IntGauge);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Vitals {
    /// Vitals of a worker with so many lanes, whose dependencies have just answered.
    pub fn new(lanes: usize, batches: IntGauge) -> Self {
        Vitals {
            origin: Instant::now(),
            turns_ms: (0..lanes).map(|_| AtomicU64::new(0)).collect(),
            readiness: Mutex::new(Readiness { redis: Ok(()), mongodb: Ok(()) }),
            redis_ms: AtomicU64::new(0),
            batches,
        }
    }

    /// A batch is under way as long as the result lives.
    pub fn batch_begins(&self) -> UnderWay<'_> {
        self.batches.inc();
        UnderWay(&self.batches)
    }

    /// A lane has read, or begun a batch.
    pub fn lane_turned(&self, lane: usize) {
        if let Some(turn) = self.turns_ms.get(lane) {
            turn.store(self.now_ms(), Ordering::Relaxed);
        }
    }

    /// How long the slowest lane has not got on.
    pub fn stalled_for(&self) -> Duration {
        let turns = self.turns_ms.iter().map(|turn| turn.load(Ordering::Relaxed));
        let oldest = turns.min().unwrap_or_else(|| self.now_ms());
        Duration::from_millis(self.now_ms().saturating_sub(oldest))
    }

    /// How long the worker has been running.
    pub fn uptime(&self) -> Duration {
        self.origin.elapsed()
    }

    /// The dependencies were asked.
    pub fn asked(&self, readiness: Readiness) {
        *self.lock() = readiness;
    }

    /// Redis took so long to answer.
    pub fn redis_answered(&self, took: Duration) {
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        self.redis_ms.store(took_ms, Ordering::Relaxed);
    }

    /// How long Redis took to answer the last time, ms.
    pub fn redis_ms(&self) -> u64 {
        self.redis_ms.load(Ordering::Relaxed)
    }

    /// What the dependencies said last.
    pub fn readiness(&self) -> Readiness {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Readiness> {
        // Nothing under this lock panics half-way through a change.
        self.readiness.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> u64 {
        self.origin.elapsed().as_millis() as u64
    }
}
