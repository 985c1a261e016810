//! Stores log entries in the archive and settles the decided sales in Redis. The worker does this
//! batch by batch, the replay of dead letters entry by entry. Both may process the same entry
//! concurrently and repeatedly.

mod generations;
mod settle;

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;

use crate::archive::{Archive, ArchiveError, DecidedSale, StoreObserver};
use crate::domain::{Entry, Kind, Partition};
use crate::redis::{Engine, NotAfter};

use generations::Generations;
pub use settle::SettleResult;

/// Longest time between reading an outcome and settling it, ms. Also bounded by `ended_keep_seconds`:
/// a booking that ends after the outcome was read must not leave Redis before the outcome expires.
const OUTCOME_TTL_MS_MAX: i64 = 60_000;

/// Stores entries in the archive and settles sales in Redis. Cheap to clone.
#[derive(Clone)]
pub struct Archiver {
    engine: Engine,
    archive: Archive,
    generations: Arc<Generations>,
    /// How long after reading an outcome it may be settled, ms.
    outcome_ttl_ms: i64,
}

/// The result of storing entries.
#[derive(Debug, Default)]
pub struct StoreResult {
    /// One settlement for each decided sale.
    pub settlements: Vec<UnsettledSale>,
    /// Index and reason of each entry that could not be stored.
    pub failed: Vec<(usize, String)>,
}

/// A decided sale that must be settled in Redis, with what bounds the settlement.
#[derive(Clone, Debug)]
pub struct UnsettledSale {
    /// The sale and its outcome.
    pub sale: DecidedSale,
    /// Until when the outcome may be settled without reading it again, by Redis' clock; `None`: it
    /// must be read again.
    valid_until: Option<NotAfter>,
    /// The event's generation, read before the outcome; `None`: the event is not in the catalogue.
    generation: Option<u64>,
}

impl UnsettledSale {
    /// Adds `begin` to the index, for a piece that begins there in its batch.
    pub fn offset_by(mut self, begin: usize) -> Self {
        self.sale.index += begin;
        self
    }
}

/// Why entries were not stored.
#[derive(Debug)]
pub enum StoreError {
    /// MongoDB does not respond; the entries are not the cause.
    Unavailable(ArchiveError),
    /// MongoDB responds, and one of the entries makes the write fail.
    Defect(String),
}

impl Archiver {
    /// An archiver between Redis, which keeps ended bookings for `ended_keep_seconds`, and the archive.
    pub fn new(engine: Engine, archive: Archive, ended_keep_seconds: u64) -> Self {
        // The setting is at most a year.
        let outcome_ttl_ms = OUTCOME_TTL_MS_MAX.min(ended_keep_seconds as i64 * 1_000);
        Archiver { engine, archive, generations: Arc::default(), outcome_ttl_ms }
    }

    /// Stores entries in one attempt. After an error the state of every entry is unknown.
    pub async fn store(
        &self,
        entries: &[(Partition, Entry)],
        observer: &dyn StoreObserver,
    ) -> Result<StoreResult, StoreError> {
        self.store_with(entries, observer, std::future::ready(Ok(()))).await
    }

    /// [`Archiver::store`] with another, concurrent write to the archive; no sale is decided before
    /// that write has succeeded.
    pub async fn store_with(
        &self,
        entries: &[(Partition, Entry)],
        observer: &dyn StoreObserver,
        other_write: impl Future<Output = Result<(), ArchiveError>>,
    ) -> Result<StoreResult, StoreError> {
        // INVARIANT: computed before the outcomes are read.
        let valid_until: HashMap<Partition, Option<NotAfter>> = entries
            .iter()
            .filter(|(_, entry)| entry.kind == Kind::Sold)
            .map(|(partition, _)| (*partition, self.outcome_valid_until(*partition)))
            .collect();
        let attempt = async {
            // INVARIANT: generations are read before outcomes.
            let mut generations = HashMap::new();
            for (_, sale) in entries.iter().filter(|(_, entry)| entry.kind == Kind::Sold) {
                if let Some(event) = sale.event {
                    let found = self.generations.get(&self.archive, event).await?;
                    generations.extend(found.map(|generation| (event, generation)));
                }
            }
            let now_ms = |partition| self.engine.clock(partition).now_at_least_ms().unwrap_or(0);
            let stored = self.archive.store_with(entries, observer, now_ms, other_write).await?;
            let settlement = |sale: DecidedSale| {
                let partition = entries[sale.index].0;
                let valid_until = valid_until.get(&partition).copied().flatten();
                let generation = generations.get(&sale.booking.id.event()).copied();
                UnsettledSale { sale, valid_until, generation }
            };
            let settlements = stored.sales.into_iter().map(settlement).collect();
            Ok(StoreResult { settlements, failed: stored.failed })
        };
        match AssertUnwindSafe(attempt).catch_unwind().await {
            Ok(Ok(stored)) => Ok(stored),
            Ok(Err(ArchiveError::Corrupt(what))) => Err(StoreError::Defect(what)),
            Ok(Err(error)) => Err(StoreError::Unavailable(error)),
            // The panic hook has logged and counted it.
            Err(_) => Err(StoreError::Defect("storing it panics".to_owned())),
        }
    }

    /// Until when an outcome that is read from now on may be settled. `sold` can become `cancelled`,
    /// and once the cancelled booking has left Redis, nothing there would refuse the old outcome.
    /// `None` while Redis' clock is unknown.
    fn outcome_valid_until(&self, partition: Partition) -> Option<NotAfter> {
        let now_ms = self.engine.clock(partition).now_at_least_ms()?;
        Some(NotAfter(now_ms + self.outcome_ttl_ms))
    }
}
