//! Stores entries in the archive, retrying for as long as MongoDB is unavailable or slow.
//!
//! After a timeout, or when one entry makes the write fail, the next attempt is half as large; after
//! a success it doubles again. So a MongoDB too slow for a whole batch still stores it piece by
//! piece, and an entry that cannot be stored ends up alone in its piece. Only then, and only if
//! MongoDB responds, does the entry count as failed.

use std::ops::Range;
use std::time::Duration;

use tracing::{info, warn};

use super::Worker;
use super::chain::GapCheck;
use super::entry_spans::EntrySpans;
use crate::archive::{ArchiveError, LogHead, StoreObserver, StoreStep};
use crate::backoff::Backoff;
use crate::domain::{Entry, Kind, Partition};
use crate::faults::FaultStep;
use crate::sale::archiving::{StoreError, StoreResult};
use crate::telemetry::warn_repeated;

/// Pauses between attempts while MongoDB is unavailable.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// The heads that a batch raises: entries that the log must contain from now on.
pub(super) struct HeadUpdate {
    pub gap_check: GapCheck,
    pub heads: Vec<LogHead>,
}

impl Worker {
    /// Stores entries. Returns `None` if MongoDB was unavailable until shutdown; the state of every
    /// entry is then unknown.
    pub(super) async fn store(
        &self,
        entries: &[(Partition, Entry)],
        update: &HeadUpdate,
        spans: &EntrySpans,
    ) -> Option<StoreResult> {
        let mut all = StoreResult::default();
        let mut pieces = Pieces::new(entries.len());
        let mut backoff = Backoff::new(PAUSE_MIN, PAUSE_MAX);
        let mut failures = 0_u64;
        while let Some(piece) = pieces.current() {
            let begin = piece.start;
            match self.try_store(entries, &piece, update, spans).await {
                Ok(stored) => {
                    let settlements = stored.settlements.into_iter();
                    all.settlements.extend(settlements.map(|one| one.offset_by(begin)));
                    let failed = stored.failed.into_iter();
                    all.failed.extend(failed.map(|(index, why)| (begin + index, why)));
                    pieces.done();
                    backoff = Backoff::new(PAUSE_MIN, PAUSE_MAX);
                }
                Err(StoreError::Defect(why)) if piece.len() == 1 => {
                    all.failed.push((begin, why));
                    pieces.done();
                }
                Err(StoreError::Defect(why)) => {
                    warn!(
                        why,
                        entries = piece.len(),
                        "one entry makes its batch fail: halving the batch"
                    );
                    self.metrics.worker_retries.inc();
                    pieces.halve();
                }
                Err(StoreError::Unavailable(error)) => {
                    failures += 1;
                    warn_repeated!(%error, failures, entries = piece.len(), "waiting for the archive");
                    self.metrics.archive_errors.with_label_values(&["store"]).inc();
                    if !self.shutdown.sleep_or_shutdown(backoff.pause()).await {
                        return None;
                    }
                    self.metrics.worker_retries.inc();
                    pieces.halve();
                }
            }
        }
        if failures > 0 {
            info!(failures, entries = entries.len(), "stored a batch after failures");
        }
        Some(all)
    }

    async fn try_store(
        &self,
        entries: &[(Partition, Entry)],
        piece: &Range<usize>,
        update: &HeadUpdate,
        spans: &EntrySpans,
    ) -> Result<StoreResult, StoreError> {
        let entries = &entries[piece.clone()];
        let has_sale = entries.iter().any(|(_, entry)| entry.kind == Kind::Sold);
        // Concurrent with the other writes, so it costs no round trip, and before any sale is decided.
        let raise_heads = async {
            if !update.heads.is_empty() && !update.gap_check.clone().await {
                let reason = "a gap of the log could not be checked before shutdown".to_owned();
                return Err(ArchiveError::Unavailable(reason));
            }
            self.archive.raise_heads(&update.heads).await
        };
        let observer = StepObserver { worker: self, has_sale, piece, spans };
        self.archiver.store_with(entries, &observer, raise_heads).await
    }
}

/// Splits a batch into pieces that adapt to failures.
#[derive(Debug)]
struct Pieces {
    entries: usize,
    begin: usize,
    size: usize,
}

impl Pieces {
    /// Starts with all entries in one piece.
    fn new(entries: usize) -> Self {
        Pieces { entries, begin: 0, size: entries }
    }

    /// The piece to store now; `None` when all are done.
    fn current(&self) -> Option<Range<usize>> {
        let end = self.begin.saturating_add(self.size).min(self.entries);
        (self.begin < end).then_some(self.begin..end)
    }

    /// Moves behind the piece; the next one may be twice as large.
    fn done(&mut self) {
        self.begin += self.size;
        self.size = self.size.saturating_mul(2).min(self.entries);
    }

    /// Halves the piece.
    fn halve(&mut self) {
        self.size = (self.size / 2).max(1);
    }
}

/// Measures the steps of storing, and is where fault points strike.
struct StepObserver<'a> {
    worker: &'a Worker,
    has_sale: bool,
    piece: &'a Range<usize>,
    spans: &'a EntrySpans,
}

impl StoreObserver for StepObserver<'_> {
    fn done(&self, step: StoreStep, seconds: f64) {
        self.worker.metrics.archive_write.with_label_values(&[step.as_str()]).observe(seconds);
        self.spans.stored(self.piece, step, seconds);
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Stores pieces until all are done; returns the attempts and the entries that failed alone.
    fn run(
        entries: usize,
        succeeds: impl Fn(&Range<usize>) -> bool,
    ) -> (Vec<Range<usize>>, Vec<usize>) {
        let (mut pieces, mut attempts, mut alone) = (Pieces::new(entries), Vec::new(), Vec::new());
        while let Some(piece) = pieces.current() {
            attempts.push(piece.clone());
            match succeeds(&piece) {
                true => pieces.done(),
                false if piece.len() == 1 => {
                    alone.push(piece.start);
                    pieces.done();
                }
                false => pieces.halve(),
            }
        }
        (attempts, alone)
    }

    #[test]
    fn batch_is_stored_in_one_piece_when_nothing_fails() {
        for (entries, attempts) in [(500, 1), (1, 1), (0, 0)] {
            let ran = run(entries, |_| true);
            assert_eq!((ran.0.len(), ran.1.len()), (attempts, 0));
        }
    }

    #[test]
    fn defective_entry_is_isolated() {
        for culprit in [0, 1, 250, 498, 499] {
            let (attempts, alone) = run(500, |piece| !piece.contains(&culprit));
            assert_eq!(alone, [culprit]);
            assert!(attempts.len() <= 50, "{} attempts", attempts.len());
        }
        let (_, alone) = run(100, |piece| !piece.contains(&3) && !piece.contains(&4));
        assert_eq!(alone, [3, 4]);
    }

    #[test]
    fn slow_archive_gets_smaller_pieces() {
        let (attempts, alone) = run(500, |piece| piece.len() <= 60);
        assert!(alone.is_empty());
        let stored: usize = attempts.iter().filter(|piece| piece.len() <= 60).map(Range::len).sum();
        assert_eq!(stored, 500);
    }
}
