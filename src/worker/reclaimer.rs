//! Claims entries that have been pending for longer than any write takes: their worker is dead,
//! frozen or stuck, or they failed and are due for another attempt.
//!
//! Claiming raises an entry's delivery count, which decides whether the entry becomes a dead letter.
//! So nothing is claimed while MongoDB is unavailable: that failure is not the entry's.

use std::time::Duration;

use futures_util::future::join_all;
use tracing::info;

use super::Worker;
use super::batch::{Batch, BatchSource};
use super::chain::no_gaps;
use crate::domain::{LogId, Partition};
use crate::redis::{RedisError, WORKER_GROUP, new_nonce};
use crate::telemetry::warn_repeated;

/// Rounds within one idle time.
const ROUNDS_PER_IDLE: u32 = 4;
/// Longest pause between two rounds.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// Claims of one partition in one round; the next round continues.
const CLAIMS_MAX: u32 = 100;

/// Reclaims pending entries until shutdown.
pub(super) async fn run(worker: Worker) {
    let pause = (worker.reclaim_idle() / ROUNDS_PER_IDLE).min(PAUSE_MAX);
    while worker.shutdown.sleep_or_shutdown(pause).await {
        // The monitor has found nothing pending there a second ago at most, or longer while the log
        // was at rest.
        let may_be_pending = |partition: &Partition| {
            worker.known_logs.get(*partition).is_none_or(|known| !known.is_caught_up())
        };
        let partitions = worker.engine.keys().all_partitions().filter(may_be_pending);
        let partitions: Vec<Partition> = partitions.collect();
        if partitions.is_empty() {
            continue;
        }
        if let Err(error) = worker.archive.ping().await {
            warn_repeated!(%error, "nothing is reclaimed while the archive is unavailable");
            continue;
        }
        // Concurrently: a slow or unavailable node delays only its own partitions.
        join_all(partitions.into_iter().map(async |partition| {
            if let Err(error) = worker.reclaim_from(partition).await {
                warn_repeated!(%error, partition = partition.0, "reclaiming failed; it is retried");
            }
        }))
        .await;
    }
}

impl Worker {
    async fn reclaim_from(&self, partition: Partition) -> Result<(), RedisError> {
        let idle_ms = self.config.load().worker_reclaim_idle_ms;
        let count = u64::from(self.config.load().worker_batch_entries);
        let mut start = LogId::default();
        for _ in 0..CLAIMS_MAX {
            let idle = self.engine.pending(partition, WORKER_GROUP, idle_ms, count).await?;
            if idle.is_empty() || self.shutdown.is_requested() {
                break;
            }
            // The permit comes before the claim: claimed entries are processed at once. The semaphore
            // is never closed.
            let Ok(_permit) = self.batch_permits.acquire().await else { break };
            let (reads, next) = self
                .engine
                .claim(partition, WORKER_GROUP, &self.consumer, idle_ms, start, count)
                .await?;
            if !reads.is_empty() {
                info!(partition = partition.0, entries = reads.len(), "reclaimed pending entries");
                let deliveries = idle.iter().map(|one| ((partition, one.id), one.deliveries + 1));
                let deliveries = deliveries.collect();
                let (source, reader, gap_check) = (BatchSource::Reclaimed, new_nonce(), no_gaps());
                self.process_batch(Batch { source, reader, gap_check, reads, deliveries }).await;
            }
            if next == LogId::default() {
                break;
            }
            start = next;
        }
        Ok(())
    }
}
