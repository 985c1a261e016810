//! Looks at the booking log from outside the drain, so that a drain that stands still is seen as
//! well: gauges, and an alarm when dead letters grow.

use std::time::Duration;

use futures_util::future::join_all;
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
        worker.gauge(&mut dead_letters, redis_answers).await;
        if !worker.shutdown.sleep_or_shutdown(PAUSE).await {
            return;
        }
    }
}

impl Worker {
    /// Sets the gauges of every partition, and takes away those of partitions that do not answer:
    /// what was true then would be told as if it were true now.
    async fn gauge(&self, dead_letters: &mut [u64], redis_answers: bool) {
        let mut lag_seconds = 0.0_f64;
        // All at the same time: a node that is slow or gone holds up its own partitions alone.
        let partitions = self.engine.keys().all_partitions().zip(dead_letters);
        let looks = partitions.map(async |(partition, known)| match redis_answers {
            true => (partition, Some(self.gauge_partition(partition, known).await)),
            false => (partition, None),
        });
        for (partition, looked) in join_all(looks).await {
            match looked {
                Some(Ok(lag)) => lag_seconds = lag_seconds.max(lag),
                Some(Err(error)) => {
                    warn_repeated!(%error, "the log cannot be looked at");
                    self.forget_gauges(partition);
                }
                None => self.forget_gauges(partition),
            }
        }
        self.vitals.log_lags(lag_seconds);
    }

    /// Sets the gauges of one; how far it lags, seconds.
    async fn gauge_partition(
        &self,
        partition: Partition,
        dead_letters: &mut u64,
    ) -> Result<f64, RedisError> {
        let state = self.engine.log_state(partition, WORKER_GROUP).await?;
        let caught_up = state.pending == 0 && state.watermark() >= state.newest;
        let lag = if caught_up { 0.0 } else { self.lag(partition, state.watermark()).await? };
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
        Ok(lag)
    }

    fn forget_gauges(&self, partition: Partition) {
        let label = partition.to_string();
        let label = [label.as_str()];
        // An error says that it is not there.
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
        // A position's first part is Redis' time of the entry, far below an i64's bound.
        Ok((now_ms - oldest.id.ms as i64).max(0) as f64 / 1_000.0)
    }
}
