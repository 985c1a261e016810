//! Drains the booking log: reads what no worker has seen yet and carries it, several batches at a
//! time.
//!
//! One task and one blocking connection a lane. What was delivered to this consumer before the
//! task began (a crash, a lost reply, a lost connection) is carried first. A group that was lost
//! is created anew from the log's beginning. When it is time to stop, reading ends first; then
//! what is under way is finished.

use std::collections::HashMap;
use std::time::Duration;

use tokio::task::JoinSet;
use tracing::info;

use super::Worker;
use super::batch::{Batch, Source};
use super::chain::{ChainGap, ChainTracker, LinkCheck, no_link_open};
use crate::backoff::Backoff;
use crate::domain::{LogId, Partition};
use crate::redis::{LaneReader, Read, RedisError, WORKER_GROUP, new_nonce};
use crate::telemetry::warn_repeated;

/// Longest wait of one read, ms.
const BLOCK_MS: u64 = 1_000;
/// Pauses between tries while Redis is away.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Drains one lane until told to stop.
pub(super) async fn drain(worker: Worker, lane: usize, partitions: Vec<Partition>) {
    let mut lane = Lane {
        worker,
        lane,
        partitions,
        reader: new_nonce(),
        links: ChainTracker::default(),
        link_check: no_link_open(),
        batches: JoinSet::new(),
    };
    let shutdown = lane.worker.shutdown.clone();
    let mut backoff = Backoff::new(PAUSE_MIN, PAUSE_MAX);
    while !shutdown.is_requested() {
        match lane.read_connected().await {
            Ok(()) => break,
            Err((error, had_read)) => {
                warn_repeated!(%error, lane = lane.lane, "the drain lost its log");
                // It is not stuck: its Redis is gone, which health tells by itself.
                lane.worker.vitals.lane_turned(lane.lane);
                if had_read {
                    backoff = Backoff::new(PAUSE_MIN, PAUSE_MAX);
                }
            }
        }
        if !shutdown.sleep_or_shutdown(backoff.pause()).await {
            break;
        }
        // What is left over can be told from what is under way only when nothing is.
        lane.finish().await;
    }
    // Whoever waits for this task bounds the wait.
    lane.finish().await;
}

struct Lane {
    worker: Worker,
    /// Its number, for the vitals.
    lane: usize,
    partitions: Vec<Partition>,
    /// Names this life of the lane among the log's readers: what it has read is known to it alone.
    reader: String,
    /// What was read last, over all connections.
    links: ChainTracker,
    link_check: LinkCheck,
    batches: JoinSet<()>,
}

impl Lane {
    /// Reads over one connection until told to stop. An error says whether any read succeeded.
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
        self.read_left_over(reader).await?;
        while !self.worker.shutdown.is_requested() {
            let count = self.entries_max() as u64;
            // Not given up when it is time to stop, which is a second at most: what Redis hands out at
            // that very moment would stay with nobody until it is reclaimed.
            let reads = reader.group(WORKER_GROUP, &self.worker.consumer, count).await?;
            *had_read = true;
            let seams = self.links.follow(&reads);
            self.look_at(seams).await;
            self.begin(Source::New, reads).await;
        }
        Ok(())
    }

    /// Carries what this consumer was given and has not acknowledged.
    async fn read_left_over(&mut self, reader: &LaneReader) -> Result<(), RedisError> {
        let mut after = vec![LogId::default(); self.partitions.len()];
        // Ends: every read but the last goes on behind the one before.
        while !self.worker.shutdown.is_requested() {
            let (count, consumer) = (self.entries_max() as u64, &self.worker.consumer);
            let reads = reader.own_pending(WORKER_GROUP, consumer, &after, count).await?;
            if reads.is_empty() {
                break;
            }
            info!(entries = reads.len(), lane = self.lane, "carrying what was left over");
            for read in &reads {
                let place = self.partitions.iter().position(|one| *one == read.partition);
                if let Some(position) = place.and_then(|place| after.get_mut(place)) {
                    *position = read.id.max(*position);
                }
            }
            self.begin(Source::LeftOver, reads).await;
        }
        Ok(())
    }

    /// Begins to carry what was read, in batches, each as soon as there is a place for it.
    async fn begin(&mut self, source: Source, reads: Vec<Read>) {
        self.worker.vitals.lane_turned(self.lane);
        let mut reads = reads.into_iter().peekable();
        while reads.peek().is_some() {
            let reads: Vec<Read> = reads.by_ref().take(self.entries_max()).collect();
            // The semaphore is never closed.
            let Ok(place) = self.worker.places.clone().acquire_owned().await else { return };
            let worker = self.worker.clone();
            let (reader, link_check) = match source {
                Source::New => (self.reader.clone(), self.link_check.clone()),
                // Read before, perhaps by an earlier process of this name: a reader of their own.
                Source::LeftOver | Source::Reclaimed => (new_nonce(), no_link_open()),
            };
            let deliveries = HashMap::new();
            self.batches.spawn(async move {
                worker.process_batch(Batch { source, reader, link_check, reads, deliveries }).await;
                drop(place);
            });
            self.worker.vitals.lane_turned(self.lane);
        }
        // A batch that panicked was logged by the panic hook; its entries are reclaimed.
        while self.batches.try_join_next().is_some() {}
    }

    /// Has seams looked at, beside the carrying; each of these looks takes a place of a batch.
    async fn look_at(&mut self, seams: Vec<ChainGap>) {
        if seams.is_empty() {
            return;
        }
        self.link_check = self.worker.check_links(self.link_check.clone(), seams);
        // The semaphore is never closed. Batches that hold all places drive the check themselves.
        let Ok(place) = self.worker.places.clone().acquire_owned().await else { return };
        let check = self.link_check.clone();
        self.batches.spawn(async move {
            check.await;
            drop(place);
        });
    }

    async fn finish(&mut self) {
        while self.batches.join_next().await.is_some() {}
    }

    fn entries_max(&self) -> usize {
        self.worker.config.worker_batch_entries as usize
    }
}
