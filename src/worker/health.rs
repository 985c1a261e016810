//! How the worker is: whether the drain gets on, and what is under way.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use prometheus::IntGauge;

/// The worker's vital signs, shared by its tasks and its health routes.
pub(super) struct WorkerHealth {
    origin: Instant,
    /// When each lane last read something or began a batch, ms after `origin`.
    turns_ms: Vec<AtomicU64>,
    /// Age of the oldest entry of the log that is not archived, ms.
    lag_ms: AtomicU64,
    batches: IntGauge,
}

/// One batch under way; over when dropped.
pub(super) struct UnderWay<'a>(&'a IntGauge);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl WorkerHealth {
    /// WorkerHealth of a worker with so many lanes.
    pub fn new(lanes: usize, batches: IntGauge) -> Self {
        WorkerHealth {
            origin: Instant::now(),
            turns_ms: (0..lanes).map(|_| AtomicU64::new(0)).collect(),
            lag_ms: AtomicU64::new(0),
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

    /// The oldest entry of the log that is not archived is so old.
    pub fn log_lags(&self, seconds: f64) {
        self.lag_ms.store((seconds * 1_000.0) as u64, Ordering::Relaxed);
    }

    /// How old it was the last time, seconds.
    pub fn lag_seconds(&self) -> f64 {
        self.lag_ms.load(Ordering::Relaxed) as f64 / 1_000.0
    }

    fn now_ms(&self) -> u64 {
        self.origin.elapsed().as_millis() as u64
    }
}
