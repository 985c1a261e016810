//! Processes one batch of log entries: stores it in the archive, settles the decided sales in Redis,
//! acknowledges the entries.
//!
//! An entry is acknowledged only after a majority of MongoDB has journalled it, and a sale only in
//! the step that settles it. After a failure in between, the entry stays pending and is delivered
//! again, to this worker or another. An entry that fails alone becomes a dead letter after too many
//! deliveries; the other entries of its batch are not affected.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use tokio::time::sleep;
use tracing::error;

use super::Worker;
use super::chain::GapCheck;
use super::entry_spans::EntrySpans;
use super::store::HeadUpdate;
use crate::archive::LogHead;
use crate::backoff::Backoff;
use crate::domain::{Kind, LogId, Outcome, Partition};
use crate::faults::FaultStep;
use crate::redis::{Read, WORKER_GROUP};
use crate::sale::archiving::{SettleResult, UnsettledSale};
use crate::telemetry::{TraceContext, trace, warn_repeated};

/// Concurrent settlements of one batch.
const SETTLES_AT_ONCE_MAX: usize = 64;
/// Attempts of one acknowledgement. If all fail, the entry is delivered again, which is harmless.
const ACKNOWLEDGE_TRIES_MAX: u32 = 4;
const ACKNOWLEDGE_PAUSE_MIN: Duration = Duration::from_millis(20);
const ACKNOWLEDGE_PAUSE_MAX: Duration = Duration::from_millis(500);

/// How a batch reached this worker: a metrics label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BatchSource {
    /// Delivered for the first time.
    New,
    /// Delivered to this consumer before it restarted or reconnected.
    LeftOver,
    /// Claimed from a consumer that is too slow or dead.
    Reclaimed,
}

impl BatchSource {
    fn as_str(self) -> &'static str {
        match self {
            BatchSource::New => "new",
            BatchSource::LeftOver => "left_over",
            BatchSource::Reclaimed => "reclaimed",
        }
    }
}

/// Entries that are processed together.
pub(super) struct Batch {
    pub source: BatchSource,
    /// The reader whose heads this batch raises.
    pub reader: String,
    /// Resolves once the gaps before this batch, of the same reader, are explained or recorded.
    pub gap_check: GapCheck,
    pub reads: Vec<Read>,
    /// Delivery counts; an absent entry was delivered once.
    pub deliveries: HashMap<(Partition, LogId), i64>,
}

/// Index in the batch of an entry that cannot be read, stored or settled, and the reason.
type Failure = (usize, String);

impl Worker {
    /// Stores, settles and acknowledges a batch, as far as the services allow.
    pub(super) async fn process_batch(&self, batch: Batch) {
        let _in_flight = self.health.batch_begins();
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
        // Maps an index in `entries` to the index in the batch.
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
        let log_of = |partition| self.engine.keys().log(partition);
        let spans = EntrySpans::begin(&entries, log_of);
        let update = HeadUpdate { gap_check: batch.gap_check.clone(), heads: heads(&batch) };
        let Some(stored) = self.store(&entries, &update, &spans).await else { return };
        failures.extend(stored.failed.into_iter().map(|(entry, why)| (indexes[entry], why)));
        self.count(&batch, &failures);

        let mut done: Vec<bool> = vec![true; batch.reads.len()];
        for (index, settled) in self.settle_all(&batch, &indexes, stored.settlements, &spans).await
        {
            // `settle` acknowledges a sale itself.
            done[index] = false;
            if let SettleResult::Impossible(why) = settled {
                failures.push((index, why));
            }
        }
        if has_sale {
            self.faults.reached(FaultStep::Settle);
        }
        for (index, why) in failures {
            done[index] = self.park_if_exhausted(&batch, index, &why).await;
        }
        self.acknowledge(batch.reads.iter().zip(done).filter(|(_, done)| *done).map(|pair| pair.0))
            .await;
    }

    async fn settle_all(
        &self,
        batch: &Batch,
        indexes: &[usize],
        settlements: Vec<UnsettledSale>,
        spans: &EntrySpans,
    ) -> Vec<(usize, SettleResult)> {
        let settling = stream::iter(settlements).map(|settlement| {
            let mut span = spans.settle(settlement.sale.index);
            span.set("holdfast.outcome", settlement.sale.outcome.as_str());
            // Also of a trace that is not recorded: for log lines.
            let request = || TraceContext::from_traceparent(&settlement.sale.booking.trace);
            let context = span.context().or_else(request);
            let index = indexes[settlement.sale.index];
            trace::scope_if(context, async move {
                let settled = self.settle_one(batch, index, &settlement).await;
                drop(span);
                (index, settled)
            })
        });
        settling.buffer_unordered(SETTLES_AT_ONCE_MAX).collect().await
    }

    async fn settle_one(
        &self,
        batch: &Batch,
        index: usize,
        settlement: &UnsettledSale,
    ) -> SettleResult {
        let sale = &settlement.sale;
        let id = sale.booking.id;
        self.metrics.verdicts.with_label_values(&[sale.outcome.as_str()]).inc();
        if sale.outcome == Outcome::Refund {
            self.metrics.double_sales_prevented.inc();
            error!(booking_id = %id, "ALARM: a seat was sold before: the sale is refunded");
        }
        let count = |code| self.metrics.settled.with_label_values(&[code]).inc();
        let entry = Some(batch.reads[index].id);
        let settled = self.archiver.settle(entry, settlement, count).await;
        if sale.outcome == Outcome::Refund {
            // Settling it may have recorded a loss.
            self.wake_repairer.notify_one();
            // Refunds now rather than when the lease of the intent lapses.
            let now_ms = Timestamp::now().as_millisecond();
            if let Err(error) = self.archive.intent_due(id, now_ms).await {
                warn_repeated!(booking_id = %id, %error, "a refund is delayed until its lease lapses");
            }
        }
        tracing::debug!(booking_id = %id, outcome = sale.outcome.as_str(), ?settled, "settled");
        settled
    }

    /// Parks a failed entry as a dead letter if it was delivered too often; returns whether it did.
    async fn park_if_exhausted(&self, batch: &Batch, index: usize, why: &str) -> bool {
        let read = &batch.reads[index];
        let deliveries = batch.deliveries.get(&(read.partition, read.id)).copied().unwrap_or(1);
        let (partition, id) = (read.partition.0, read.id);
        if deliveries < i64::from(self.config.load().worker_deliveries_max) {
            warn_repeated!(partition, %id, deliveries, why, "an entry failed and is retried");
            return false;
        }
        match self.engine.park(read.partition, read, why).await {
            Ok(()) => {
                error!(partition, %id, deliveries, why, "ALARM: an entry is parked as a dead letter");
                true
            }
            Err(error) => {
                warn_repeated!(partition, %id, %error, "parking an entry failed; it is retried");
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
                        warn_repeated!(%error, attempt, partition = partition.0, "acknowledging failed");
                        sleep(backoff.pause()).await;
                    }
                }
            }
        }
    }

    /// Counts the archived entries.
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

/// The newest entry of the batch in each partition, which the log must contain from now on. Beats
/// are not archived and do not count.
fn heads(batch: &Batch) -> Vec<LogHead> {
    let mut heads: BTreeMap<Partition, LogHead> = BTreeMap::new();
    let is_archived = |read: &&Read| read.entry.as_ref().is_ok_and(|one| one.kind != Kind::Beat);
    for read in batch.reads.iter().filter(is_archived) {
        let (partition, reader) = (read.partition, batch.reader.clone());
        let head = LogHead { partition, reader, id: read.id, tag: read.tag() };
        let newest = heads.entry(partition).or_insert_with(|| head.clone());
        if head.id > newest.id {
            *newest = head;
        }
    }
    heads.into_values().collect()
}

fn is_sale(read: &Read) -> bool {
    read.entry.as_ref().is_ok_and(|entry| entry.kind == Kind::Sold)
}
