//! Drains the booking log: reads entries that no worker has read and processes them, several batches
//! at a time.
//!
//! Each lane has one task and one blocking connection. Entries delivered to this consumer before the
//! task started (after a crash, a lost reply or a lost connection) are processed first. A lost
//! consumer group is created again from the log's beginning. At shutdown reading stops first, then
//! batches in flight finish.

use std::collections::HashMap;
use std::time::Duration;

use tokio::task::JoinSet;
use tracing::info;

use super::Worker;
use super::batch::{Batch, BatchSource};
use super::chain::{ChainGap, ChainTracker, GapCheck, no_gaps};
use crate::backoff::Backoff;
use crate::domain::{LogId, Partition};
use crate::redis::{LaneReader, Read, RedisError, WORKER_GROUP, new_nonce};
use crate::telemetry::warn_repeated;

/// Longest wait of one blocking read, ms.
const BLOCK_MS: u64 = 1_000;
/// Batches of a lane in flight while the log holds less than a full batch: what is appended meanwhile makes
/// the next batch larger, and a batch costs its commands whatever its size.
const SMALL_BATCHES_MAX: usize = 2;
/// Pauses between attempts while Redis is unavailable.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Drains one lane until shutdown.
pub(super) async fn run(worker: Worker, lane: usize, partitions: Vec<Partition>) {
    let mut lane = Lane {
        worker,
        lane,
        partitions,
        reader: new_nonce(),
        chain: ChainTracker::default(),
        gap_check: no_gaps(),
        batches: JoinSet::new(),
    };
    let shutdown = lane.worker.shutdown.clone();
    let mut backoff = Backoff::new(PAUSE_MIN, PAUSE_MAX);
    while !shutdown.is_requested() {
        match lane.read_connected().await {
            Ok(()) => break,
            Err((error, had_read)) => {
                warn_repeated!(%error, lane = lane.lane, "reading the log failed; it is retried");
                // Not counted as stalled: health reports an unavailable Redis separately.
                lane.worker.health.lane_progressed(lane.lane);
                if had_read {
                    backoff = Backoff::new(PAUSE_MIN, PAUSE_MAX);
                }
            }
        }
        if !shutdown.sleep_or_shutdown(backoff.pause()).await {
            break;
        }
        // Pending entries can be distinguished from entries in flight only when none is in flight.
        lane.finish().await;
    }
    // The supervisor bounds this wait.
    lane.finish().await;
}

struct Lane {
    worker: Worker,
    /// The lane's number, for health.
    lane: usize,
    partitions: Vec<Partition>,
    /// Names this start of the lane as a reader of the log; no other reader has the same name.
    reader: String,
    /// The entries read last, across connections.
    chain: ChainTracker,
    gap_check: GapCheck,
    batches: JoinSet<()>,
}

impl Lane {
    /// Reads over one connection until shutdown. An error carries whether any read succeeded.
    async fn read_connected(&mut self) -> Result<(), (RedisError, bool)> {
        let opened = tokio::select! {
            opened = self.open() => opened,
            () = self.worker.shutdown.requested() => return Ok(()),
        };
        let reader = opened.map_err(|error| (error, false))?;
        let mut had_read = false;
        let result = self.read_on(&reader, &mut had_read).await;
        reader.close().await;
        result.map_err(|error| (error, had_read))
    }

    async fn open(&self) -> Result<LaneReader, RedisError> {
        for partition in &self.partitions {
            self.worker.engine.ensure_group(*partition, WORKER_GROUP).await?;
        }
        self.worker.engine.lane_reader(&self.partitions, BLOCK_MS).await
    }

    async fn read_on(
        &mut self,
        reader: &LaneReader,
        had_read: &mut bool,
    ) -> Result<(), RedisError> {
        self.read_pending(reader).await?;
        while !self.worker.shutdown.is_requested() {
            let count = self.entries_max() as u64;
            // Not cancelled at shutdown; it lasts a second at most. Entries that Redis delivers at
            // that moment would otherwise stay pending until another worker claims them.
            let reads = reader.group(WORKER_GROUP, &self.worker.consumer, count).await?;
            *had_read = true;
            let gaps = self.chain.follow(&reads);
            self.check_gaps(gaps).await;
            let is_full = reads.len() >= self.entries_max();
            self.spawn_batches(BatchSource::New, reads).await;
            while !is_full && self.batches.len() >= SMALL_BATCHES_MAX {
                self.batches.join_next().await;
            }
        }
        Ok(())
    }

    /// Processes the entries that were delivered to this consumer and not acknowledged.
    async fn read_pending(&mut self, reader: &LaneReader) -> Result<(), RedisError> {
        let mut after = vec![LogId::default(); self.partitions.len()];
        // Terminates: each read continues after the one before.
        while !self.worker.shutdown.is_requested() {
            let (count, consumer) = (self.entries_max() as u64, &self.worker.consumer);
            let reads = reader.own_pending(WORKER_GROUP, consumer, &after, count).await?;
            if reads.is_empty() {
                break;
            }
            info!(
                entries = reads.len(),
                lane = self.lane,
                "processing pending entries of an earlier start"
            );
            for read in &reads {
                let index = self.partitions.iter().position(|one| *one == read.partition);
                if let Some(position) = index.and_then(|index| after.get_mut(index)) {
                    *position = read.id.max(*position);
                }
            }
            self.spawn_batches(BatchSource::LeftOver, reads).await;
        }
        Ok(())
    }

    /// Splits entries into batches and spawns each as soon as a permit is free.
    async fn spawn_batches(&mut self, source: BatchSource, reads: Vec<Read>) {
        self.worker.health.lane_progressed(self.lane);
        let mut reads = reads.into_iter().peekable();
        while reads.peek().is_some() {
            let reads: Vec<Read> = reads.by_ref().take(self.entries_max()).collect();
            // The semaphore is never closed.
            let Ok(permit) = self.worker.batch_permits.clone().acquire_owned().await else {
                return;
            };
            let worker = self.worker.clone();
            let (reader, gap_check) = match source {
                BatchSource::New => (self.reader.clone(), self.gap_check.clone()),
                // Read before, perhaps by an earlier process of this name: they get their own reader.
                BatchSource::LeftOver | BatchSource::Reclaimed => (new_nonce(), no_gaps()),
            };
            let deliveries = HashMap::new();
            self.batches.spawn(async move {
                worker.process_batch(Batch { source, reader, gap_check, reads, deliveries }).await;
                drop(permit);
            });
            self.worker.health.lane_progressed(self.lane);
        }
        // The panic hook has logged a batch that panicked; its entries are reclaimed.
        while self.batches.try_join_next().is_some() {}
    }

    /// Checks gaps concurrently with the batches; each check takes a batch permit.
    async fn check_gaps(&mut self, gaps: Vec<ChainGap>) {
        if gaps.is_empty() {
            return;
        }
        self.gap_check = self.worker.check_gaps(self.gap_check.clone(), gaps);
        // The semaphore is never closed. Batches that hold all permits poll the check themselves.
        let Ok(permit) = self.worker.batch_permits.clone().acquire_owned().await else { return };
        let check = self.gap_check.clone();
        self.batches.spawn(async move {
            check.await;
            drop(permit);
        });
    }

    async fn finish(&mut self) {
        while self.batches.join_next().await.is_some() {}
    }

    fn entries_max(&self) -> usize {
        self.worker.config.load().worker_batch_entries as usize
    }
}
