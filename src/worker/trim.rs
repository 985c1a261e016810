//! Trims the booking log: drops entries that are archived and old.
//!
//! Only strictly below the watermark, so nothing pending or unread is ever dropped, and only what
//! is older than `log_keep_seconds` by Redis' time, so that tails which fell behind find their
//! place; age does not matter once the log is half as long as it may be. While the archive stands
//! still, so does the watermark, and nothing is trimmed. The log's mark (`sale/restore/watch.rs`)
//! stays, so that its absence proves a loss.

use std::time::Duration;

use futures_util::future::join_all;
use tracing::debug;

use super::Worker;
use crate::domain::{LogId, Partition};
use crate::redis::{RedisError, WORKER_GROUP};
use crate::telemetry::warn_repeated;

/// Pause between two turns.
const PAUSE: Duration = Duration::from_secs(5);

/// Trims until told to stop.
pub(super) async fn trim(worker: Worker) {
    while worker.shutdown.sleep_or_shutdown(PAUSE).await {
        let marks = match worker.archive.log_marks().await {
            Ok(marks) => marks,
            Err(error) => {
                warn_repeated!(%error, "trimmed later");
                continue;
            }
        };
        // All at the same time: a node that is slow or gone holds up its own partitions alone.
        let partitions = worker.engine.keys().all_partitions();
        join_all(partitions.map(async |partition| {
            let mark = marks.get(&partition).map_or_else(LogId::default, |mark| mark.id);
            if let Err(error) = worker.trim_partition(partition, mark).await {
                warn_repeated!(%error, partition = partition.0, "trimmed later");
            }
        }))
        .await;
    }
}

impl Worker {
    async fn trim_partition(&self, partition: Partition, mark: LogId) -> Result<(), RedisError> {
        let now_ms = self.engine.redis_time_ms(partition).await?;
        let state = self.engine.log_state(partition, WORKER_GROUP).await?;
        // A log that fills up stops holds: then what is archived goes at once.
        let filling = state.length > self.config.log_entries_max / 2;
        let keep_seconds = if filling { 0 } else { self.config.log_keep_seconds };
        let below = trim_position(state.watermark(), now_ms, keep_seconds).min(mark);
        if below == LogId::default() {
            return Ok(());
        }
        let trimmed = self.engine.trim_below(partition, below).await?;
        if trimmed > 0 {
            debug!(partition = partition.0, trimmed, %below, "trimmed");
            self.metrics.log_trimmed.inc_by(trimmed);
        }
        Ok(())
    }
}

/// Everything below this may go.
fn trim_position(watermark: LogId, now_ms: i64, keep_seconds: u64) -> LogId {
    let keep_ms = keep_seconds.saturating_mul(1_000);
    let oldest_kept = u64::try_from(now_ms).unwrap_or(0).saturating_sub(keep_ms);
    watermark.min(LogId { ms: oldest_kept, seq: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_young_entries_nor_unarchived_ones_go() {
        let id = |ms, seq| LogId { ms, seq };
        let cases = [
            // Archived long ago: the age decides.
            (id(90_000, 3), 100_000, 60, id(40_000, 0)),
            // Not archived: the watermark decides, however old.
            (id(10_000, 3), 100_000, 60, id(10_000, 3)),
            // No group, nothing delivered, or a clock at its beginning: nothing goes.
            (id(0, 0), 100_000, 60, id(0, 0)),
            (id(90_000, 0), 100_000, u64::MAX, id(0, 0)),
            (id(90_000, 0), -1, 60, id(0, 0)),
        ];
        for (watermark, now_ms, keep_seconds, below) in cases {
            assert_eq!(trim_position(watermark, now_ms, keep_seconds), below);
        }
    }
}
