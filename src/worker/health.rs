//! The worker's health: progress of the drain, lag of the archive, batches in flight.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use prometheus::IntGauge;

/// Health figures, written by the worker's tasks and read by its health routes.
pub(super) struct WorkerHealth {
    origin: Instant,
    /// When each lane last read entries or started a batch, ms after `origin`.
    progress_ms: Vec<AtomicU64>,
    /// Age of the oldest log entry that is not archived, ms.
    lag_ms: AtomicU64,
    batches: IntGauge,
}

/// Counts a batch as in flight until dropped.
pub(super) struct BatchGuard<'a>(&'a IntGauge);

impl Drop for BatchGuard<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl WorkerHealth {
    /// The health of a worker with this many lanes.
    pub fn new(lanes: usize, batches: IntGauge) -> Self {
        WorkerHealth {
            origin: Instant::now(),
            progress_ms: (0..lanes).map(|_| AtomicU64::new(0)).collect(),
            lag_ms: AtomicU64::new(0),
            batches,
        }
    }

    /// Counts a batch as in flight while the guard lives.
    pub fn batch_begins(&self) -> BatchGuard<'_> {
        self.batches.inc();
        BatchGuard(&self.batches)
    }

    /// Records that a lane read entries or started a batch.
    pub fn lane_progressed(&self, lane: usize) {
        if let Some(progress) = self.progress_ms.get(lane) {
            progress.store(self.now_ms(), Ordering::Relaxed);
        }
    }

    /// Time since the slowest lane made progress.
    pub fn stalled_for(&self) -> Duration {
        let progress = self.progress_ms.iter().map(|at| at.load(Ordering::Relaxed));
        let oldest = progress.min().unwrap_or_else(|| self.now_ms());
        Duration::from_millis(self.now_ms().saturating_sub(oldest))
    }

    /// How long the worker has been running.
    pub fn uptime(&self) -> Duration {
        self.origin.elapsed()
    }

    /// Records the age of the oldest log entry that is not archived.
    pub fn set_lag(&self, seconds: f64) {
        self.lag_ms.store((seconds * 1_000.0) as u64, Ordering::Relaxed);
    }

    /// The age recorded last, seconds.
    pub fn lag_seconds(&self) -> f64 {
        self.lag_ms.load(Ordering::Relaxed) as f64 / 1_000.0
    }

    fn now_ms(&self) -> u64 {
        self.origin.elapsed().as_millis() as u64
    }
}
