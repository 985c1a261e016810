//! Hands entries to the archive until it has them, however long MongoDB is away or slow.
//!
//! Whenever MongoDB does not answer in time, and whenever one entry stops the others, the next
//! try is half as large; after a success it is twice as large again. So a MongoDB that is too
//! slow for a whole batch still gets it, piece by piece, and an entry that cannot be stored ends
//! up alone. Only then, and only if MongoDB answers, is it the entry that failed.

use std::collections::HashMap;
use std::ops::Range;
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
use crate::redis::NotAfter;

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
    pub(super) async fn store(&self, entries: &[(Partition, Entry)]) -> Option<Carried> {
        let mut all = Carried::default();
        let mut pieces = Pieces::of(entries.len());
        let mut backoff = Backoff::new(PAUSE_MIN, PAUSE_MAX);
        let mut failures = 0_u64;
        while let Some(piece) = pieces.current() {
            let begin = piece.start;
            // INVARIANT: before the outcomes are read.
            let tell_until = self.tell_until_of(&entries[piece.clone()]);
            match self.try_store(&entries[piece.clone()]).await {
                Ok(stored) => {
                    let verdicts = stored.verdicts.into_iter();
                    all.judged.extend(verdicts.map(|v| {
                        let index = begin + v.index;
                        let tell_until = tell_until.get(&entries[index].0).copied().flatten();
                        Judged { verdict: Verdict { index, ..v }, tell_until }
                    }));
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
                Err(Trouble::Away(error)) => {
                    failures += 1;
                    warn!(%error, failures, entries = piece.len(), "waiting for the archive");
                    self.metrics.archive_errors.with_label_values(&["store"]).inc();
                    if !rest(&self.shutdown, backoff.pause()).await {
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

    /// Until when outcomes that are read from now on may be told, for each partition with a sale.
    fn tell_until_of(
        &self,
        entries: &[(Partition, Entry)],
    ) -> HashMap<Partition, Option<NotAfter>> {
        let sales = entries.iter().filter(|(_, entry)| entry.kind == Kind::Sold);
        sales.map(|(partition, _)| (*partition, self.tell_until(*partition))).collect()
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

/// What became of a batch in the archive.
#[derive(Default)]
pub(super) struct Carried {
    /// One for each sale that was decided.
    pub judged: Vec<Judged>,
    /// Index and reason of each entry that could not be stored.
    pub failed: Vec<(usize, String)>,
}

/// A verdict, and until when it may be told without reading it anew.
pub(super) struct Judged {
    pub verdict: Verdict,
    pub tell_until: Option<NotAfter>,
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
