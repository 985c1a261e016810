//! Hands entries to the archive until it has them, however long MongoDB is away or slow.
//!
//! Whenever MongoDB does not answer in time, and whenever one entry stops the others, the next
//! try is half as large; after a success it is twice as large again. So a MongoDB that is too
//! slow for a whole batch still gets it, piece by piece, and an entry that cannot be stored ends
//! up alone. Only then, and only if MongoDB answers, is it the entry that failed.

use std::ops::Range;
use std::time::Duration;

use tracing::{info, warn};

use super::Worker;
use super::chain::LinkCheck;
use crate::archive::{ArchiveError, LogHead, StoreObserver, StoreStep};
use crate::backoff::Backoff;
use crate::domain::{Entry, Kind, Partition};
use crate::faults::FaultStep;
use crate::sale::archiving::{StoreResult, Trouble};
use crate::telemetry::warn_repeated;

/// Pauses between tries while MongoDB is away.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// What the log is to have from now on.
pub(super) struct Demand {
    pub link_check: LinkCheck,
    pub heads: Vec<LogHead>,
}

impl Worker {
    /// Stores entries. `None`: MongoDB was away when it was time to stop, and nothing is known of
    /// any entry.
    pub(super) async fn store(
        &self,
        entries: &[(Partition, Entry)],
        demand: &Demand,
    ) -> Option<StoreResult> {
        let mut all = StoreResult::default();
        let mut pieces = Pieces::of(entries.len());
        let mut backoff = Backoff::new(PAUSE_MIN, PAUSE_MAX);
        let mut failures = 0_u64;
        while let Some(piece) = pieces.current() {
            let begin = piece.start;
            match self.try_store(&entries[piece.clone()], demand).await {
                Ok(stored) => {
                    all.judged.extend(stored.judged.into_iter().map(|judged| judged.after(begin)));
                    let failed = stored.failed.into_iter();
                    all.failed.extend(failed.map(|(index, why)| (begin + index, why)));
                    pieces.done();
                    backoff = Backoff::new(PAUSE_MIN, PAUSE_MAX);
                }
                Err(Trouble::Defect(why)) if piece.len() == 1 => {
                    all.failed.push((begin, why));
                    pieces.done();
                }
                Err(Trouble::Defect(why)) => {
                    warn!(why, entries = piece.len(), "an entry stops its neighbours");
                    self.metrics.worker_retries.inc();
                    pieces.halve();
                }
                Err(Trouble::Unavailable(error)) => {
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
            info!(failures, entries = entries.len(), "the archive has them");
        }
        Some(all)
    }

    async fn try_store(
        &self,
        entries: &[(Partition, Entry)],
        demand: &Demand,
    ) -> Result<StoreResult, Trouble> {
        let has_sale = entries.iter().any(|(_, entry)| entry.kind == Kind::Sold);
        // Beside the other writes, which costs no round trip; and before any sale is decided.
        let beside = async {
            if !demand.heads.is_empty() && !demand.link_check.clone().await {
                let reason = "the links of the log could not be looked at".to_owned();
                return Err(ArchiveError::Unavailable(reason));
            }
            self.archive.raise_heads(&demand.heads).await
        };
        self.carrier.store_beside(entries, &Steps { worker: self, has_sale }, beside).await
    }
}

/// Which piece of a batch is tried next.
#[derive(Debug)]
struct Pieces {
    entries: usize,
    begin: usize,
    size: usize,
}

impl Pieces {
    /// All entries in one piece, at first.
    fn of(entries: usize) -> Self {
        Pieces { entries, begin: 0, size: entries }
    }

    /// The piece to try now; `None` when all are done.
    fn current(&self) -> Option<Range<usize>> {
        let end = self.begin.saturating_add(self.size).min(self.entries);
        (self.begin < end).then_some(self.begin..end)
    }

    /// The piece is done; the next one may be twice as large.
    fn done(&mut self) {
        self.begin += self.size;
        self.size = self.size.saturating_mul(2).min(self.entries);
    }

    /// Half as large, from where the piece began.
    fn halve(&mut self) {
        self.size = (self.size / 2).max(1);
    }
}

/// Looks on while entries are stored.
struct Steps<'a> {
    worker: &'a Worker,
    has_sale: bool,
}

impl StoreObserver for Steps<'_> {
    fn done(&self, step: StoreStep, seconds: f64) {
        self.worker.metrics.archive_write.with_label_values(&[step.as_str()]).observe(seconds);
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

    /// Tries pieces until all are done; the tries it took and those entries that failed alone.
    fn run(
        entries: usize,
        works: impl Fn(&Range<usize>) -> bool,
    ) -> (Vec<Range<usize>>, Vec<usize>) {
        let (mut pieces, mut tries, mut alone) = (Pieces::of(entries), Vec::new(), Vec::new());
        while let Some(piece) = pieces.current() {
            tries.push(piece.clone());
            match works(&piece) {
                true => pieces.done(),
                false if piece.len() == 1 => {
                    alone.push(piece.start);
                    pieces.done();
                }
                false => pieces.halve(),
            }
        }
        (tries, alone)
    }

    #[test]
    fn a_batch_is_one_piece_unless_something_is_wrong() {
        for (entries, tries) in [(500, 1), (1, 1), (0, 0)] {
            let ran = run(entries, |_| true);
            assert_eq!((ran.0.len(), ran.1.len()), (tries, 0));
        }
    }

    #[test]
    fn whoever_stops_the_others_ends_up_alone() {
        for culprit in [0, 1, 250, 498, 499] {
            let (tries, alone) = run(500, |piece| !piece.contains(&culprit));
            assert_eq!(alone, [culprit]);
            assert!(tries.len() <= 50, "{} tries", tries.len());
        }
        let (_, alone) = run(100, |piece| !piece.contains(&3) && !piece.contains(&4));
        assert_eq!(alone, [3, 4]);
    }

    #[test]
    fn a_slow_archive_gets_what_it_can_take() {
        let (tries, alone) = run(500, |piece| piece.len() <= 60);
        assert!(alone.is_empty());
        let taken: usize = tries.iter().filter(|piece| piece.len() <= 60).map(Range::len).sum();
        assert_eq!(taken, 500);
    }
}
