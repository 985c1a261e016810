//! Hands entries to the archive until it has them, however long MongoDB is away or slow.
//!
//! Whenever MongoDB does not answer in time, and whenever one entry stops the others, the next
//! try is half as large; after a success it is twice as large again. So a MongoDB that is too
//! slow for a whole batch still gets it, piece by piece, and an entry that cannot be stored ends
//! up alone. Only then, and only if MongoDB answers, is it the entry that failed.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use tracing::{info, warn};

use super::Worker;
use super::backoff::Backoff;
use super::tasks::rest;
use crate::archive::{ArchiveError, StoreObserver, StoreStep, Stored, Verdict};
use crate::config::fault::FaultStep;
use crate::domain::{Entry, Kind, Partition};

/// Pauses between tries while MongoDB is away.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Why a piece was not stored.
enum Trouble {
    /// MongoDB does not answer; nothing is wrong with the entries.
    Away(ArchiveError),
    /// MongoDB answers: one of the entries is what stops them.
    Defect(String),
}

impl Worker {
    /// Stores entries. `None`: MongoDB was away when it was time to stop, and nothing is known of
    /// any entry.
    pub(super) async fn store(&self, entries: &[(Partition, Entry)]) -> Option<Stored> {
        let mut all = Stored::default();
        let mut size = entries.len();
        let mut begin = 0;
        let mut backoff = Backoff::new(PAUSE_MIN, PAUSE_MAX);
        let mut failures = 0_u64;
        // Each turn gets on or makes the next one smaller; at its smallest it waits for MongoDB.
        while begin < entries.len() {
            let end = (begin + size).min(entries.len());
            match self.try_store(&entries[begin..end]).await {
                Ok(stored) => {
                    let verdicts = stored.verdicts.into_iter();
                    all.verdicts.extend(verdicts.map(|v| Verdict { index: begin + v.index, ..v }));
                    let failed = stored.failed.into_iter();
                    all.failed.extend(failed.map(|(index, why)| (begin + index, why)));
                    begin = end;
                    size = size.saturating_mul(2).min(entries.len());
                    backoff = Backoff::new(PAUSE_MIN, PAUSE_MAX);
                    continue;
                }
                Err(Trouble::Defect(why)) if size == 1 => {
                    all.failed.push((begin, why));
                    begin = end;
                    continue;
                }
                Err(Trouble::Defect(why)) => warn!(why, size, "an entry stops its neighbours"),
                Err(Trouble::Away(error)) => {
                    failures += 1;
                    warn!(%error, failures, entries = entries.len(), size, "waiting for the archive");
                    self.metrics.archive_errors.with_label_values(&["store"]).inc();
                    if !rest(&self.shutdown, backoff.pause()).await {
                        return None;
                    }
                }
            }
            self.metrics.worker_retries.inc();
            size = (size / 2).max(1);
        }
        if failures > 0 {
            info!(failures, entries = entries.len(), "the archive has them");
        }
        Some(all)
    }

    async fn try_store(&self, entries: &[(Partition, Entry)]) -> Result<Stored, Trouble> {
        let has_sale = entries.iter().any(|(_, entry)| entry.kind == Kind::Sold);
        let steps = Steps { worker: self, has_sale };
        let attempt = async {
            // INVARIANT: generations before outcomes.
            for (_, sale) in entries.iter().filter(|(_, entry)| entry.kind == Kind::Sold) {
                if let Some(event) = sale.event {
                    self.generations.learn(&self.archive, event).await?;
                }
            }
            self.archive.store_observed(entries, &steps).await
        };
        match AssertUnwindSafe(attempt).catch_unwind().await {
            Ok(Ok(stored)) => Ok(stored),
            Ok(Err(ArchiveError::Corrupt(what))) => Err(Trouble::Defect(what)),
            Ok(Err(error)) => Err(Trouble::Away(error)),
            // The panic hook has logged and counted it.
            Err(_) => Err(Trouble::Defect("storing it panics".to_owned())),
        }
    }
}

/// Looks on while entries are stored.
struct Steps<'a> {
    worker: &'a Worker,
    has_sale: bool,
}

impl StoreObserver for Steps<'_> {
    fn done(&self, step: StoreStep, seconds: f64) {
        self.worker.metrics.archive_write.with_label_values(&[step.word()]).observe(seconds);
        if self.has_sale {
            self.worker.faults.reached(match step {
                StoreStep::Ledger => FaultStep::Ledger,
                StoreStep::States => FaultStep::States,
                StoreStep::Claims => FaultStep::Claims,
                StoreStep::Outcomes => FaultStep::Outcomes,
            });
        }
    }
}
