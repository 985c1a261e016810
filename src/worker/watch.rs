//! Looks at the booking log from outside the drain, so that a drain that stands still is seen as
//! well: gauges, and an alarm when dead letters grow.

use std::time::Duration;

use tracing::error;

use super::Worker;
use crate::domain::{LogId, Partition};
use crate::redis::{RedisError, WORKER_GROUP};
use crate::telemetry::warn_repeated;

/// Pause between two looks.
const PAUSE: Duration = Duration::from_secs(1);

/// Watches until told to stop.
pub(super) async fn watch(worker: Worker) {
    // Those that were there before this worker are told once.
    let mut dead_letters = vec![0; usize::from(worker.engine.keys().partitions())];
    loop {
        // Its silence is no news.
        let redis_answers = worker.dependencies.readiness().redis.is_ok();
        if redis_answers && let Err(error) = worker.gauge(&mut dead_letters).await {
            warn_repeated!(%error, "the log cannot be looked at");
        }
        if !worker.shutdown.rest(PAUSE).await {
            return;
        }
    }
}

impl Worker {
    /// Sets the gauges of every partition.
    async fn gauge(&self, dead_letters: &mut [u64]) -> Result<(), RedisError> {
        for (partition, known) in self.engine.keys().all_partitions().zip(dead_letters) {
            let state = self.engine.log_state(partition, WORKER_GROUP).await?;
            let label = partition.to_string();
            let label = [label.as_str()];
            let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
            self.metrics.log_length.with_label_values(&label).set(count(state.length));
            self.metrics.log_pending.with_label_values(&label).set(count(state.pending));
            self.metrics.dead_letters.with_label_values(&label).set(count(state.dead_letters));
            let caught_up = state.pending == 0 && state.watermark() >= state.newest;
            let lag = if caught_up { 0.0 } else { self.lag(partition, state.watermark()).await? };
            self.metrics.log_lag.with_label_values(&label).set(lag);
            if state.dead_letters > *known {
                let (now, partition) = (state.dead_letters, partition.0);
                error!(partition, before = *known, now, "ALARM: dead letters");
            }
            *known = state.dead_letters;
        }
        Ok(())
    }

    /// Age of the oldest entry above the watermark, seconds.
    async fn lag(&self, partition: Partition, watermark: LogId) -> Result<f64, RedisError> {
        let above = LogId { ms: watermark.ms, seq: watermark.seq.saturating_add(1) };
        let Some(oldest) = self.engine.range(partition, above, None, 1).await?.pop() else {
            return Ok(0.0);
        };
        let now_ms = self.engine.redis_time_ms(partition).await?;
        // A position's first part is Redis' time of the entry, far below an i64's bound.
        Ok((now_ms - oldest.id.ms as i64).max(0) as f64 / 1_000.0)
    }
}
