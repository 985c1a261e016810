//! Sends local counts to Redis in batches, and probes whether a Redis that was away is back.

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::count::{Due, TURN};
use super::{Inner, Quotas};
use crate::domain::Partition;
use crate::lifecycle::Shutdown;
use crate::redis::{LimitAction, LimitCheck, RedisError};
use crate::telemetry::repeated::warn_repeated;

/// Longest that a refused request waits to be sent, give or take [`TURNS_OF_SWEEP`].
pub(super) const FLUSH_INTERVAL: Duration = Duration::from_secs(3);
/// How many turns apart all counts are looked through, whether or not something is urgent.
const TURNS_OF_SWEEP: u32 = 5;
/// Most counts of one call: about a millisecond of Redis. A larger batch is sent as several calls,
/// one after the other, so that others are served in between.
const CALL_COUNTS_MAX: usize = 200;

impl Quotas {
    /// Flushes until shutdown is requested, then once more.
    pub async fn keep_flushed(self, shutdown: Shutdown) {
        let partitions = self.inner.engine.keys().all_partitions();
        // Each by itself: a node that is slow or gone holds up its own partitions alone.
        let flushes =
            join_all(partitions.map(|partition| self.keep_partition(partition, &shutdown)));
        tokio::join!(flushes, self.keep_reported(&shutdown));
    }

    async fn keep_partition(&self, partition: Partition, shutdown: &Shutdown) {
        // Spreads the partitions over the turns.
        let mut turn = u32::from(partition.0);
        while shutdown.sleep_or_shutdown(TURN).await {
            turn = turn.wrapping_add(1);
            let sweeps = turn.is_multiple_of(TURNS_OF_SWEEP);
            if sweeps {
                self.inner.counts.sweep(partition, Instant::now());
            }
            if self.is_back(partition).await && (sweeps || self.inner.counts.is_urgent(partition)) {
                self.flush(partition, FLUSH_INTERVAL).await;
            }
        }
        if self.is_back(partition).await {
            self.flush(partition, Duration::ZERO).await;
        }
    }

    /// Whether a partition's Redis answers; probes it if it was away.
    async fn is_back(&self, partition: Partition) -> bool {
        let Inner { local, engine, .. } = &*self.inner;
        if local.contains(partition) {
            if engine.redis_time_ms(partition).await.is_err() {
                return false;
            }
            local.remove(partition);
        }
        true
    }

    /// Sets the gauges until shutdown is requested.
    async fn keep_reported(&self, shutdown: &Shutdown) {
        let entries = |kind| self.inner.metrics.limiter_entries.with_label_values(&[kind]);
        let (blocks, notes) = (entries("blocks"), entries("notes"));
        let gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        while shutdown.sleep_or_shutdown(TURN).await {
            blocks.set(gauge(self.inner.counts.blocked()));
            notes.set(gauge(self.inner.counts.pending()));
            let uncounted = self.inner.counts.take_uncounted();
            if uncounted > 0 {
                warn_repeated!(
                    uncounted,
                    "too many callers at once: requests were not counted toward limits"
                );
            }
        }
    }

    /// Sends what is due to one partition; requests from this age on.
    async fn flush(&self, partition: Partition, age_min: Duration) {
        let counts = &self.inner.counts;
        let mut due = counts.due(partition, age_min, Instant::now()).into_iter();
        loop {
            let call: Vec<Due> = due.by_ref().take(CALL_COUNTS_MAX).collect();
            if call.is_empty() {
                return;
            }
            if !self.send(partition, call).await {
                due.by_ref().for_each(|one| counts.not_sent(partition, one));
            }
        }
    }

    /// Makes one call; returns whether Redis has answered.
    async fn send(&self, partition: Partition, due: Vec<Due>) -> bool {
        let inner = &self.inner;
        let checks: Vec<LimitCheck<'_>> = due.iter().map(check).collect();
        let error = match inner.engine.limit(&checks).await {
            Ok(standings) => {
                let now = Instant::now();
                for (one, standing) in due.iter().zip(&standings) {
                    inner.counts.sent(partition, one, standing, now);
                }
                return true;
            }
            Err(error) => error,
        };
        drop(checks);
        if !error.is_overloaded() {
            inner.local.add(partition, &error);
        }
        let is_lost = !matches!(error, RedisError::NotRun(_));
        for one in due {
            match is_lost {
                true => inner.counts.lost(partition, &one),
                false => inner.counts.not_sent(partition, one),
            }
        }
        false
    }
}

fn check(due: &Due) -> LimitCheck<'_> {
    LimitCheck {
        subject: &due.subject,
        rule: &due.rule,
        limit: due.limit,
        action: if due.forgives { LimitAction::Forget } else { LimitAction::Note },
        noted: due.pending,
        uncounted: &due.take_back,
    }
}
