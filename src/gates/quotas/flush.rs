//! Brings notes to Redis at short intervals, in one call a partition, and asks whether a Redis that
//! was away is back. Nothing is sent twice: what may have arrived keeps its place in the ledger.

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::Quotas;
use super::ledger::Due;
use crate::domain::Partition;
use crate::lifecycle::Shutdown;
use crate::redis::{LimitCheck, RedisError, Standing};

/// How often notes are brought to Redis.
const FLUSH_INTERVAL: Duration = Duration::from_millis(200);
/// Most subjects of one call: about a millisecond of Redis.
const FLUSH_SUBJECTS_MAX: usize = 200;
/// How often what is over is forgotten, in turns.
const SWEEP_TURNS: u32 = 5;

impl Quotas {
    /// Flushes and forgets until shutdown is requested, then flushes once more.
    pub async fn keep_flushed(self, shutdown: Shutdown) {
        let partitions = self.inner.engine.keys().all_partitions();
        // Each by itself: a node that is slow or gone holds up its own partitions alone.
        let flushes =
            join_all(partitions.map(|partition| self.keep_partition(partition, &shutdown)));
        tokio::join!(flushes, self.keep_tidy(&shutdown));
    }

    /// Flushes one partition until shutdown is requested, then once more.
    async fn keep_partition(&self, partition: Partition, shutdown: &Shutdown) {
        while shutdown.sleep_or_shutdown(FLUSH_INTERVAL).await {
            self.flush_partition(partition).await;
        }
        self.flush_partition(partition).await;
    }

    /// Forgets what is over until shutdown is requested.
    async fn keep_tidy(&self, shutdown: &Shutdown) {
        let entries = |kind| self.inner.metrics.limiter_entries.with_label_values(&[kind]);
        let (blocks, notes) = (entries("blocks"), entries("notes"));
        let mut turn = 0_u32;
        while shutdown.sleep_or_shutdown(FLUSH_INTERVAL).await {
            turn = turn.wrapping_add(1);
            if turn.is_multiple_of(SWEEP_TURNS) {
                self.inner.blocks.sweep(Instant::now());
                self.inner.ledger.sweep(Instant::now());
            }
            let gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
            blocks.set(gauge(self.inner.blocks.len()));
            notes.set(gauge(self.inner.ledger.len()));
            let unforgiven = self.inner.ledger.take_unforgiven();
            if unforgiven > 0 {
                tracing::warn!(
                    unforgiven,
                    "too many booked at once to forgive what they looked at"
                );
            }
        }
    }

    async fn flush_partition(&self, partition: Partition) {
        let inner = &self.inner;
        if inner.away.is_away(partition) {
            // Its failure is no news.
            if inner.engine.redis_time_ms(partition).await.is_err() {
                return;
            }
            inner.away.note_back(partition);
        }
        let due = inner.ledger.due(partition, FLUSH_SUBJECTS_MAX);
        if due.is_empty() {
            return;
        }
        let checks: Vec<LimitCheck<'_>> = due.iter().map(check).collect();
        match inner.engine.limit(&checks).await {
            Ok(standings) => self.learn(partition, &due, &standings),
            Err(error) => {
                if !error.is_overloaded() {
                    inner.away.note(partition, &error);
                }
                if matches!(error, RedisError::NotRun(_)) {
                    self.give_back(partition, due);
                }
            }
        }
    }

    fn learn(&self, partition: Partition, due: &[Due], standings: &[Standing]) {
        let now = Instant::now();
        for (one, standing) in due.iter().zip(standings) {
            self.inner.ledger.counted(partition, &one.subject, &one.rule, standing.taken);
            if standing.is_over && one.enforced {
                let (rule, limit) = (&one.rule, one.limit);
                self.inner.blocks.add(&one.subject, rule, limit, standing.wait_ms, now);
            } else if one.forgives || !one.uncounted.is_empty() {
                // Who asked before Redis knew of it was blocked once more.
                self.inner.blocks.forgive(&one.subject, &one.rule);
            }
        }
    }

    fn give_back(&self, partition: Partition, due: Vec<Due>) {
        for one in due {
            let forgives = one.forgives;
            let again = Due { noted: 0, uncounted: Vec::new(), ..one.clone() };
            self.inner.ledger.give_back(partition, one);
            if forgives {
                self.inner.ledger.forgive_again(partition, again);
            }
        }
    }
}

fn check(due: &Due) -> LimitCheck<'_> {
    LimitCheck {
        subject: &due.subject,
        rule: &due.rule,
        limit: due.limit,
        enforced: due.enforced,
        asks: false,
        noted: due.noted,
        forgives: due.forgives,
        uncounted: &due.uncounted,
    }
}
