//! Monitors the booking log independently of the drain, so that a stalled drain is visible: sets
//! gauges and raises an alarm when the number of dead letters grows.
//!
//! Each round looks for changed logs with one command a lane, and reads the state of those, and of
//! logs that are not archived to their end. A log at rest is read again only from time to time
//! ([`super::known_logs`]). An entry becomes a dead letter before it is acknowledged, so a log at
//! rest whose newest entry is unchanged has no new dead letters of a worker.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tracing::error;

use super::Worker;
use super::log_changes::LogChanges;
use super::redis_memory::RedisMemory;
use crate::domain::{LogId, Partition};
use crate::redis::{RedisError, WORKER_GROUP};
use crate::telemetry::warn_repeated;

/// Pause between two rounds.
const PAUSE: Duration = Duration::from_secs(1);

/// Monitors the logs until shutdown.
pub(super) async fn run(worker: Worker) {
    // Dead letters from before this start raise one alarm.
    let mut dead_letters = vec![0; usize::from(worker.engine.keys().partitions())];
    let mut log_changes = LogChanges::default();
    let mut memory = RedisMemory::default();
    loop {
        // While Redis is known to be unavailable, querying it would only repeat that in the log.
        let redis_responds = worker.dependencies.readiness().redis.is_ok();
        // INVARIANT: before the states are read; a later change is found in the next round.
        let changed = match redis_responds {
            true => log_changes.find(&worker.engine).await,
            false => HashSet::new(),
        };
        worker.set_gauges(&mut dead_letters, &changed, redis_responds).await;
        memory.show(&worker, redis_responds).await;
        if !worker.shutdown.sleep_or_shutdown(PAUSE).await {
            return;
        }
    }
}

impl Worker {
    /// Sets the gauges of every partition and removes those of partitions that do not respond, whose
    /// last values would otherwise look current.
    async fn set_gauges(
        &self,
        dead_letters: &mut [u64],
        changed: &HashSet<Partition>,
        redis_responds: bool,
    ) {
        let (mut lag_seconds, now) = (0.0_f64, Instant::now());
        let rests =
            |partition| !changed.contains(&partition) && self.known_logs.is_at_rest(partition, now);
        // Concurrently: a slow or unavailable node delays only its own partitions.
        let partitions = self.engine.keys().all_partitions().zip(dead_letters);
        let results = partitions.map(async |(partition, known)| match redis_responds {
            true if rests(partition) => (partition, Some(Ok(0.0))),
            true => (partition, Some(self.set_partition_gauges(partition, known).await)),
            false => (partition, None),
        });
        for (partition, result) in join_all(results).await {
            match result {
                Some(Ok(lag)) => lag_seconds = lag_seconds.max(lag),
                Some(Err(error)) => {
                    warn_repeated!(%error, "reading the state of a log failed");
                    self.remove_gauges(partition);
                }
                None => self.remove_gauges(partition),
            }
        }
        self.health.set_lag(lag_seconds);
        self.show_log_fill();
    }

    /// Sets the gauges of one partition; returns its lag, seconds.
    async fn set_partition_gauges(
        &self,
        partition: Partition,
        dead_letters: &mut u64,
    ) -> Result<f64, RedisError> {
        let read_at = Instant::now();
        let state = self.engine.log_state(partition, WORKER_GROUP).await?;
        let lag = match state.is_caught_up() {
            true => 0.0,
            false => self.lag(partition, state.watermark()).await?,
        };
        let label = partition.to_string();
        let label = [label.as_str()];
        let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        self.metrics.log_length.with_label_values(&label).set(count(state.length));
        self.metrics.log_pending.with_label_values(&label).set(count(state.pending));
        self.metrics.dead_letters.with_label_values(&label).set(count(state.dead_letters));
        self.metrics.log_lag.with_label_values(&label).set(lag);
        if state.dead_letters > *dead_letters {
            let (now, partition) = (state.dead_letters, partition.0);
            error!(partition, before = *dead_letters, now, "ALARM: dead letters");
        }
        *dead_letters = state.dead_letters;
        self.known_logs.set(partition, Some(state), read_at);
        Ok(lag)
    }

    /// Shows how full the longest log is; nothing while no log is known.
    fn show_log_fill(&self) {
        let partitions = self.engine.keys().all_partitions();
        let lengths =
            partitions.filter_map(|partition| Some(self.known_logs.get(partition)?.length));
        match lengths.max() {
            Some(length) => {
                let ratio = length as f64 / self.config.load().log_entries_max.max(1) as f64;
                self.metrics.log_fill.with_label_values::<&str>(&[]).set(ratio);
            }
            None => self.metrics.log_fill.reset(),
        }
    }

    fn remove_gauges(&self, partition: Partition) {
        self.known_logs.set(partition, None, Instant::now());
        let label = partition.to_string();
        let label = [label.as_str()];
        // An error means that the gauge does not exist.
        let _ = self.metrics.log_length.remove_label_values(&label);
        let _ = self.metrics.log_pending.remove_label_values(&label);
        let _ = self.metrics.dead_letters.remove_label_values(&label);
        let _ = self.metrics.log_lag.remove_label_values(&label);
    }

    /// Age of the oldest entry above the watermark, seconds.
    async fn lag(&self, partition: Partition, watermark: LogId) -> Result<f64, RedisError> {
        let above = LogId { ms: watermark.ms, seq: watermark.seq.saturating_add(1) };
        let Some(oldest) = self.engine.range(partition, above, None, 1).await?.pop() else {
            return Ok(0.0);
        };
        let now_ms = self.engine.redis_time_ms(partition).await?;
        // The first part of a position is Redis' time of the entry, which fits an i64.
        Ok((now_ms - oldest.id.ms as i64).max(0) as f64 / 1_000.0)
    }
}
