//! Trims the booking log: removes entries that are archived and old.
//!
//! Only entries strictly below the watermark are removed, so no pending or unread entry ever is, and
//! only entries older than `log_keep_seconds` by Redis' clock, so that a tail that fell behind finds
//! its position. Age is ignored once the log has half of its maximal length. While the archive makes
//! no progress, neither does the watermark, and nothing is trimmed. The log's mark
//! (`sale/restore/watch.rs`) is never trimmed, so its absence proves a loss.
//!
//! A log whose oldest entry is too young, or is its mark, is not asked about.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tracing::debug;

use super::Worker;
use crate::domain::{LogId, Partition};
use crate::redis::{RedisError, WORKER_GROUP};
use crate::telemetry::warn_repeated;

/// Pause between two rounds.
const PAUSE: Duration = Duration::from_secs(5);

/// Trims until shutdown.
pub(super) async fn run(worker: Worker) {
    // The oldest entry of each log after it was trimmed.
    let mut oldest: HashMap<Partition, LogId> = HashMap::new();
    while worker.shutdown.sleep_or_shutdown(PAUSE).await {
        let marks = match worker.archive.log_marks().await {
            Ok(marks) => marks,
            Err(error) => {
                warn_repeated!(%error, "trimming the logs failed; it is retried");
                continue;
            }
        };
        // Concurrently: a slow or unavailable node delays only its own partitions.
        let partitions = worker.engine.keys().all_partitions();
        let trims = partitions.filter_map(|partition| {
            let mark = marks.get(&partition).map_or_else(LogId::default, |mark| mark.id);
            let oldest = oldest.get(&partition).copied().unwrap_or_default();
            worker.may_trim(partition, mark, oldest).then_some((partition, mark))
        });
        let trimmed = join_all(trims.map(async |(partition, mark)| {
            (partition, worker.trim_partition(partition, mark).await)
        }));
        for (partition, result) in trimmed.await {
            match result {
                Ok(found) => drop(oldest.insert(partition, found)),
                Err(error) => {
                    warn_repeated!(%error, partition = partition.0, "trimming a log failed; it is retried");
                }
            }
        }
    }
}

impl Worker {
    /// Whether a log that began with the entry at `oldest` may have entries to remove. The mark is
    /// archived, so the watermark need not be known.
    fn may_trim(&self, partition: Partition, mark: LogId, oldest: LogId) -> bool {
        let now_ms = self.engine.clock(partition).now_at_most_ms().unwrap_or(i64::MAX);
        let length = self.known_logs.get(partition).map_or(u64::MAX, |known| known.length);
        oldest < trim_position(mark, now_ms, self.keep_seconds(length))
    }

    /// How long archived entries of a log of this length are kept.
    fn keep_seconds(&self, length: u64) -> u64 {
        // A full log stops holds: once it fills up, archived entries are removed at any age.
        let is_filling = length > self.config.load().log_entries_max / 2;
        if is_filling { 0 } else { self.config.load().log_keep_seconds }
    }

    /// Trims a log; returns the position of its oldest entry.
    async fn trim_partition(&self, partition: Partition, mark: LogId) -> Result<LogId, RedisError> {
        let now_ms = self.engine.redis_time_ms(partition).await?;
        let state = self.engine.log_state(partition, WORKER_GROUP).await?;
        let keep_seconds = self.keep_seconds(state.length);
        let below = trim_position(state.watermark(), now_ms, keep_seconds).min(mark);
        if below > LogId::default() {
            let trimmed = self.engine.trim_below(partition, below).await?;
            if trimmed > 0 {
                debug!(partition = partition.0, trimmed, %below, "trimmed a log");
                self.metrics.log_trimmed.inc_by(trimmed);
                self.known_logs.set(partition, None, Instant::now());
            }
        }
        let oldest = self.engine.range(partition, LogId::default(), None, 1).await?;
        Ok(oldest.first().map_or_else(LogId::default, |oldest| oldest.id))
    }
}

/// The position below which entries may be removed.
fn trim_position(watermark: LogId, now_ms: i64, keep_seconds: u64) -> LogId {
    let keep_ms = keep_seconds.saturating_mul(1_000);
    let oldest_kept = u64::try_from(now_ms).unwrap_or(0).saturating_sub(keep_ms);
    watermark.min(LogId { ms: oldest_kept, seq: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trim_position_keeps_young_and_unarchived_entries() {
        let id = |ms, seq| LogId { ms, seq };
        let cases = [
            // Archived long ago: the age decides.
            (id(90_000, 3), 100_000, 60, id(40_000, 0)),
            // Not archived: the watermark decides, however old.
            (id(10_000, 3), 100_000, 60, id(10_000, 3)),
            // No group, nothing delivered, or an invalid clock: nothing is trimmed.
            (id(0, 0), 100_000, 60, id(0, 0)),
            (id(90_000, 0), 100_000, u64::MAX, id(0, 0)),
            (id(90_000, 0), -1, 60, id(0, 0)),
        ];
        for (watermark, now_ms, keep_seconds, below) in cases {
            assert_eq!(trim_position(watermark, now_ms, keep_seconds), below);
        }
    }
}
