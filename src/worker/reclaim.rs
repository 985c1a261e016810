//! Takes over entries that were delivered and not acknowledged for longer than any write takes:
//! their worker is dead, frozen or stuck, or they failed and are due for another try.
//!
//! Claiming raises an entry's delivery count, so nothing is claimed while MongoDB is away: then
//! an entry's failure would not be its own.

use std::time::Duration;

use futures_util::future::join_all;
use tracing::info;

use super::Worker;
use super::batch::{Batch, Source};
use super::chain::no_link_open;
use crate::domain::{LogId, Partition};
use crate::redis::{RedisError, WORKER_GROUP, new_nonce};
use crate::telemetry::warn_repeated;

/// Looks within one idle time.
const LOOKS_PER_IDLE: u32 = 4;
/// Longest pause between two looks.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// Claims of one partition in one turn; what is left has its next turn.
const CLAIMS_MAX: u32 = 100;

/// Reclaims until told to stop.
pub(super) async fn reclaim(worker: Worker) {
    let pause = (worker.reclaim_idle() / LOOKS_PER_IDLE).min(PAUSE_MAX);
    while worker.shutdown.sleep_or_shutdown(pause).await {
        if let Err(error) = worker.archive.ping().await {
            warn_repeated!(%error, "nothing is reclaimed while the archive is away");
            continue;
        }
        // All at the same time: a node that is slow or gone holds up its own partitions alone.
        let partitions = worker.engine.keys().all_partitions();
        join_all(partitions.map(async |partition| {
            if let Err(error) = worker.reclaim_from(partition).await {
                warn_repeated!(%error, partition = partition.0, "cannot reclaim");
            }
        }))
        .await;
    }
}

impl Worker {
    async fn reclaim_from(&self, partition: Partition) -> Result<(), RedisError> {
        let idle_ms = self.config.worker_reclaim_idle_ms;
        let count = u64::from(self.config.worker_batch_entries);
        let mut start = LogId::default();
        for _ in 0..CLAIMS_MAX {
            let idle = self.engine.pending(partition, WORKER_GROUP, idle_ms, count).await?;
            if idle.is_empty() || self.shutdown.is_requested() {
                break;
            }
            // First the place, then the claim: what is claimed is carried at once. The semaphore
            // is never closed.
            let Ok(_place) = self.places.acquire().await else { break };
            let (reads, next) = self
                .engine
                .claim(partition, WORKER_GROUP, &self.consumer, idle_ms, start, count)
                .await?;
            if !reads.is_empty() {
                info!(partition = partition.0, entries = reads.len(), "reclaimed");
                let deliveries = idle.iter().map(|one| ((partition, one.id), one.deliveries + 1));
                let deliveries = deliveries.collect();
                let (source, reader, link_check) = (Source::Reclaimed, new_nonce(), no_link_open());
                self.process_batch(Batch { source, reader, link_check, reads, deliveries }).await;
            }
            if next == LogId::default() {
                break;
            }
            start = next;
        }
        Ok(())
    }
}
