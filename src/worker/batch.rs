//! One batch on its way: from the log into the archive, verdicts back into Redis, then
//! acknowledged.
//!
//! An entry is acknowledged only after a majority of MongoDB has journalled it, and a sale only
//! together with its settlement. Whatever fails in between stays pending and is delivered again,
//! here or to another worker. An entry that fails by itself is parked once it was delivered too
//! often; its neighbours do not notice.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use tokio::time::sleep;
use tracing::error;

use super::Worker;
use super::chain::LinkCheck;
use super::store::Demand;
use crate::archive::LogHead;
use crate::backoff::Backoff;
use crate::domain::{Kind, LogId, Outcome, Partition};
use crate::faults::FaultStep;
use crate::redis::{Read, WORKER_GROUP};
use crate::sale::archiving::{Judged, Settled};
use crate::telemetry::warn_repeated;

/// Settlements of one batch under way at a time.
const SETTLES_AT_ONCE_MAX: usize = 64;
/// Tries of one acknowledgement; an entry that is delivered again for lack of it changes nothing.
const ACKNOWLEDGE_TRIES_MAX: u32 = 4;
const ACKNOWLEDGE_PAUSE_MIN: Duration = Duration::from_millis(20);
const ACKNOWLEDGE_PAUSE_MAX: Duration = Duration::from_millis(500);

/// Where a batch comes from; the word labels metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// Delivered for the first time.
    New,
    /// Delivered to this consumer before it was started (or connected) anew.
    LeftOver,
    /// Taken over from a consumer that was too slow, or is dead.
    Reclaimed,
}

impl Source {
    fn as_str(self) -> &'static str {
        match self {
            Source::New => "new",
            Source::LeftOver => "left_over",
            Source::Reclaimed => "reclaimed",
        }
    }
}

/// Entries that are carried together.
pub(super) struct Batch {
    pub source: Source,
    /// Who read it: names its heads.
    pub reader: String,
    /// Whether what was read before it, by the same reader, is known to be in the log.
    pub link_check: LinkCheck,
    pub reads: Vec<Read>,
    /// How often each was delivered; once, where nothing is said.
    pub deliveries: HashMap<(Partition, LogId), i64>,
}

/// An entry that cannot be read, stored or settled: its index in the batch, and why.
type Failure = (usize, String);

impl Worker {
    /// Carries a batch as far as it goes.
    pub(super) async fn process_batch(&self, batch: Batch) {
        let _under_way = self.vitals.batch_begins();
        let has_sale = batch.reads.iter().any(is_sale);
        if has_sale {
            self.faults.reached(FaultStep::Read);
        }
        let entries_count = batch.reads.len() as f64;
        self.metrics
            .batch_entries
            .with_label_values(&[batch.source.as_str()])
            .observe(entries_count);
        let mut failures: Vec<Failure> = Vec::new();
        let mut entries = Vec::with_capacity(batch.reads.len());
        // Of each entry handed to the archive, its index in the batch.
        let mut indexes = Vec::with_capacity(batch.reads.len());
        for (index, read) in batch.reads.iter().enumerate() {
            match &read.entry {
                Ok(entry) => {
                    entries.push((read.partition, entry.clone()));
                    indexes.push(index);
                }
                Err(error) => failures.push((index, error.to_string())),
            }
        }
        let demand = Demand { link_check: batch.link_check.clone(), heads: heads(&batch) };
        let Some(stored) = self.store(&entries, &demand).await else { return };
        failures.extend(stored.failed.into_iter().map(|(entry, why)| (indexes[entry], why)));
        self.count(&batch, &failures);

        let mut done: Vec<bool> = vec![true; batch.reads.len()];
        for (index, settled) in self.settle_all(&batch, &indexes, stored.judged).await {
            // Done or not, it is not for us to acknowledge.
            done[index] = false;
            if let Settled::Never(why) = settled {
                failures.push((index, why));
            }
        }
        if has_sale {
            self.faults.reached(FaultStep::Settle);
        }
        for (index, why) in failures {
            done[index] = self.failed(&batch, index, &why).await;
        }
        self.acknowledge(batch.reads.iter().zip(done).filter(|(_, done)| *done).map(|pair| pair.0))
            .await;
    }

    async fn settle_all(
        &self,
        batch: &Batch,
        indexes: &[usize],
        judged: Vec<Judged>,
    ) -> Vec<(usize, Settled)> {
        let settlements = stream::iter(judged).map(|judged| async move {
            let verdict = &judged.verdict;
            let (id, index) = (verdict.booking.id, indexes[verdict.index]);
            self.metrics.verdicts.with_label_values(&[verdict.outcome.as_str()]).inc();
            if verdict.outcome == Outcome::Refund {
                self.metrics.double_sales_prevented.inc();
                error!(booking_id = %id, "ALARM: a seat was sold before: the sale is refunded");
            }
            let told = |word| self.metrics.settled.with_label_values(&[word]).inc();
            let settled = self.carrier.settle(Some(batch.reads[index].id), &judged, told).await;
            if verdict.outcome == Outcome::Refund {
                // It may have told of a loss.
                self.look_now.notify_one();
                // It is due in any case, once its lease has lapsed: this is sooner.
                let now_ms = Timestamp::now().as_millisecond();
                if let Err(error) = self.archive.intent_due(id, now_ms).await {
                    warn_repeated!(booking_id = %id, %error, "its money goes back later");
                }
            }
            (index, settled)
        });
        settlements.buffer_unordered(SETTLES_AT_ONCE_MAX).collect().await
    }

    /// An entry failed by itself. Parks it if it was delivered too often; says whether it is done
    /// with, that is, parked.
    async fn failed(&self, batch: &Batch, index: usize, why: &str) -> bool {
        let read = &batch.reads[index];
        let deliveries = batch.deliveries.get(&(read.partition, read.id)).copied().unwrap_or(1);
        let (partition, id) = (read.partition.0, read.id);
        if deliveries < i64::from(self.config.worker_deliveries_max) {
            warn_repeated!(partition, %id, deliveries, why, "an entry failed and is tried again");
            return false;
        }
        match self.engine.park(read.partition, read, why).await {
            Ok(()) => {
                error!(partition, %id, deliveries, why, "ALARM: an entry is parked as a dead letter");
                true
            }
            Err(error) => {
                warn_repeated!(partition, %id, %error, "an entry cannot be parked now");
                false
            }
        }
    }

    async fn acknowledge(&self, done: impl Iterator<Item = &Read>) {
        let mut ids: BTreeMap<Partition, Vec<LogId>> = BTreeMap::new();
        for read in done {
            ids.entry(read.partition).or_default().push(read.id);
        }
        for (partition, ids) in ids {
            let mut backoff = Backoff::new(ACKNOWLEDGE_PAUSE_MIN, ACKNOWLEDGE_PAUSE_MAX);
            for attempt in 1..=ACKNOWLEDGE_TRIES_MAX {
                match self.engine.acknowledge(partition, WORKER_GROUP, &ids).await {
                    Ok(_) => break,
                    Err(error) => {
                        warn_repeated!(%error, attempt, partition = partition.0, "no acknowledgement");
                        sleep(backoff.pause()).await;
                    }
                }
            }
        }
    }

    /// Counts what was archived.
    fn count(&self, batch: &Batch, failures: &[Failure]) {
        let failed: Vec<usize> = failures.iter().map(|failure| failure.0).collect();
        let stored = batch.reads.iter().enumerate().filter(|(index, _)| !failed.contains(index));
        for kind in stored.filter_map(|(_, read)| Some(read.entry.as_ref().ok()?.kind)) {
            self.metrics.worker_entries.with_label_values(&[kind.as_str()]).inc();
            if kind == Kind::Expired {
                self.metrics.bookings_expired.inc();
            }
        }
    }
}

/// The newest entry of each partition that is archived: what the log must have from now on.
fn heads(batch: &Batch) -> Vec<LogHead> {
    let mut heads: BTreeMap<Partition, LogHead> = BTreeMap::new();
    let is_archived = |read: &&Read| read.entry.as_ref().is_ok_and(|one| one.kind != Kind::Beat);
    for read in batch.reads.iter().filter(is_archived) {
        let (partition, reader) = (read.partition, batch.reader.clone());
        let head = LogHead { partition, reader, id: read.id, tag: read.tag().to_owned() };
        let kept = heads.entry(partition).or_insert_with(|| head.clone());
        if head.id > kept.id {
            *kept = head;
        }
    }
    heads.into_values().collect()
}

fn is_sale(read: &Read) -> bool {
    read.entry.as_ref().is_ok_and(|entry| entry.kind == Kind::Sold)
}
