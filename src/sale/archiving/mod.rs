//! From the booking log into the archive, and the archive's verdicts back into Redis: the one way
//! of an entry, whoever carries it. The worker goes it batch by batch, a replay of dead letters
//! entry by entry; both may go it with the same entry, at once and as often as they like.

mod generations;
mod settle;

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;

use crate::archive::{Archive, ArchiveError, StoreObserver, Verdict};
use crate::domain::{Entry, Kind, Partition};
use crate::redis::{Engine, NotAfter};

use generations::Generations;
pub use settle::Settled;

/// How long after it was read an outcome may be told at most, ms. Less where `ended_keep_seconds`
/// is less: a booking that ends after the reading is not forgotten before.
const TOLD_WITHIN_MS_MAX: i64 = 60_000;

/// Carries entries into the archive and verdicts back. Cheap to clone.
#[derive(Clone)]
pub struct Archiver {
    engine: Engine,
    archive: Archive,
    generations: Arc<Generations>,
    /// How long after it was read an outcome may be told, ms.
    told_within_ms: i64,
}

/// What became of entries in the archive.
#[derive(Debug, Default)]
pub struct StoreResult {
    /// One for each sale that was decided.
    pub judged: Vec<Judged>,
    /// Index and reason of each entry that could not be stored.
    pub failed: Vec<(usize, String)>,
}

/// A verdict, and until when it may be told without reading it anew.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The verdict.
    pub verdict: Verdict,
    /// By Redis' clock; `None`: not at all.
    tell_until: Option<NotAfter>,
    /// The event's, read before the outcome; `None`: it is not in the catalogue.
    generation: Option<u64>,
}

impl Judged {
    /// The same, of a batch that begins `begin` entries earlier.
    pub fn after(mut self, begin: usize) -> Self {
        self.verdict.index += begin;
        self
    }
}

/// Why entries were not stored.
#[derive(Debug)]
pub enum Trouble {
    /// MongoDB does not answer; nothing is wrong with the entries.
    Unavailable(ArchiveError),
    /// MongoDB answers: one of the entries is what stops them.
    Defect(String),
}

impl Archiver {
    /// Carries between these two, where Redis keeps bookings that ended for so long.
    pub fn new(engine: Engine, archive: Archive, ended_keep_seconds: u64) -> Self {
        // A setting is bounded by a year.
        let told_within_ms = TOLD_WITHIN_MS_MAX.min(ended_keep_seconds as i64 * 1_000);
        Archiver { engine, archive, generations: Arc::default(), told_within_ms }
    }

    /// Stores entries, all in one try. With `Err` nothing is known of any of them.
    pub async fn store(
        &self,
        entries: &[(Partition, Entry)],
        observer: &dyn StoreObserver,
    ) -> Result<StoreResult, Trouble> {
        self.store_beside(entries, observer, std::future::ready(Ok(()))).await
    }

    /// The same, with another write to the archive beside it: no sale is decided before it is done.
    pub async fn store_beside(
        &self,
        entries: &[(Partition, Entry)],
        observer: &dyn StoreObserver,
        beside: impl Future<Output = Result<(), ArchiveError>>,
    ) -> Result<StoreResult, Trouble> {
        // INVARIANT: before the outcomes are read.
        let tell_until: HashMap<Partition, Option<NotAfter>> = entries
            .iter()
            .filter(|(_, entry)| entry.kind == Kind::Sold)
            .map(|(partition, _)| (*partition, self.tell_until(*partition)))
            .collect();
        let attempt = async {
            // INVARIANT: generations before outcomes.
            let mut generations = HashMap::new();
            for (_, sale) in entries.iter().filter(|(_, entry)| entry.kind == Kind::Sold) {
                if let Some(event) = sale.event {
                    let learnt = self.generations.learn(&self.archive, event).await?;
                    generations.extend(learnt.map(|generation| (event, generation)));
                }
            }
            let stored = self.archive.store_beside(entries, observer, beside).await?;
            let judged = |verdict: Verdict| {
                let partition = entries[verdict.index].0;
                let tell_until = tell_until.get(&partition).copied().flatten();
                let generation = generations.get(&verdict.booking.id.event()).copied();
                Judged { verdict, tell_until, generation }
            };
            let judged = stored.verdicts.into_iter().map(judged).collect();
            Ok(StoreResult { judged, failed: stored.failed })
        };
        match AssertUnwindSafe(attempt).catch_unwind().await {
            Ok(Ok(carried)) => Ok(carried),
            Ok(Err(ArchiveError::Corrupt(what))) => Err(Trouble::Defect(what)),
            Ok(Err(error)) => Err(Trouble::Unavailable(error)),
            // The panic hook has logged and counted it.
            Err(_) => Err(Trouble::Defect("storing it panics".to_owned())),
        }
    }

    /// Until when an outcome that is read from now on may be told to Redis: `sold` can become
    /// `cancelled`, and once Redis has forgotten the cancelled booking, nothing there would refuse
    /// the old outcome. `None` while Redis' clock is not known.
    fn tell_until(&self, partition: Partition) -> Option<NotAfter> {
        let now_ms = self.engine.clock(partition).now_at_least_ms()?;
        Some(NotAfter(now_ms + self.told_within_ms))
    }
}
