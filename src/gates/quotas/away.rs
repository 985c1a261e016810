//! Which partitions' Redis does not answer: while it does not, no request waits for it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::domain::Partition;
use crate::redis::RedisError;
use crate::telemetry::warn_repeated;

/// One flag a partition: on a cluster each may live on another node.
pub(super) struct CircuitBreaker {
    partitions: Vec<AtomicBool>,
    /// How many are away: the log tells of the first and the last alone.
    count: AtomicUsize,
}

impl CircuitBreaker {
    pub(super) fn new(partitions: u16) -> Self {
        let partitions = (0..partitions).map(|_| AtomicBool::new(false)).collect();
        CircuitBreaker { partitions, count: AtomicUsize::new(0) }
    }

    pub(super) fn is_away(&self, partition: Partition) -> bool {
        self.partitions[usize::from(partition.0)].load(Ordering::Relaxed)
    }

    /// A call had no answer: no more are made until one of `flush` has.
    pub(super) fn note(&self, partition: Partition, error: &RedisError) {
        let was_away = self.partitions[usize::from(partition.0)].swap(true, Ordering::Relaxed);
        if !was_away && self.count.fetch_add(1, Ordering::Relaxed) == 0 {
            warn_repeated!(%error, "limits go by each process' share: redis does not answer");
        }
    }

    /// It answers.
    pub(super) fn note_back(&self, partition: Partition) {
        let was_away = self.partitions[usize::from(partition.0)].swap(false, Ordering::Relaxed);
        if was_away && self.count.fetch_sub(1, Ordering::Relaxed) == 1 {
            tracing::info!("limits are counted in redis again");
        }
    }
}
