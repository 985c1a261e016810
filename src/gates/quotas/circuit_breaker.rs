//! The partitions whose Redis does not answer: no request waits for them.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::domain::Partition;
use crate::redis::RedisError;
use crate::telemetry::warn_repeated;

/// One flag a partition: on a cluster each may live on another node.
pub(super) struct CircuitBreaker {
    partitions: Vec<AtomicBool>,
    /// How many are away: only the first and the last are logged.
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

    /// A call had no reply: requests make no more, until a probe of `flush` has one.
    pub(super) fn open(&self, partition: Partition, error: &RedisError) {
        let was_away = self.partitions[usize::from(partition.0)].swap(true, Ordering::Relaxed);
        if !was_away && self.count.fetch_add(1, Ordering::Relaxed) == 0 {
            warn_repeated!(%error, "limits go by each process' share: redis does not answer");
        }
    }

    /// Redis answers again.
    pub(super) fn close(&self, partition: Partition) {
        let was_away = self.partitions[usize::from(partition.0)].swap(false, Ordering::Relaxed);
        if was_away && self.count.fetch_sub(1, Ordering::Relaxed) == 1 {
            tracing::info!("limits are counted in redis again");
        }
    }
}
