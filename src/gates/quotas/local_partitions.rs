//! The partitions whose limits are counted in this process alone, because their Redis did not answer.
//!
//! Unlike the circuit breaker of a node ([`crate::circuit_breaker`]), one call without an answer is
//! enough: a limit has an answer of its own without Redis, so no request waits twice.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::domain::Partition;
use crate::redis::RedisError;
use crate::telemetry::warn_repeated;

/// One flag a partition: on a cluster each may live on another node.
pub(super) struct LocalPartitions {
    partitions: Vec<AtomicBool>,
    /// How many are set: only the first and the last are logged.
    count: AtomicUsize,
}

impl LocalPartitions {
    pub(super) fn new(partitions: u16) -> Self {
        let partitions = (0..partitions).map(|_| AtomicBool::new(false)).collect();
        LocalPartitions { partitions, count: AtomicUsize::new(0) }
    }

    pub(super) fn contains(&self, partition: Partition) -> bool {
        self.partitions[usize::from(partition.0)].load(Ordering::Relaxed)
    }

    /// A call had no reply: requests make no more, until a probe of `flush` has one.
    pub(super) fn add(&self, partition: Partition, error: &RedisError) {
        let was_local = self.partitions[usize::from(partition.0)].swap(true, Ordering::Relaxed);
        if !was_local && self.count.fetch_add(1, Ordering::Relaxed) == 0 {
            warn_repeated!(%error, "limits go by each process' share: redis does not answer");
        }
    }

    /// Redis answers again.
    pub(super) fn remove(&self, partition: Partition) {
        let was_local = self.partitions[usize::from(partition.0)].swap(false, Ordering::Relaxed);
        if was_local && self.count.fetch_sub(1, Ordering::Relaxed) == 1 {
            tracing::info!("limits are counted in redis again");
        }
    }
}
