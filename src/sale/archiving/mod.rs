//! From the booking log into the archive, and the archive's verdicts back into Redis: the one way
//! of an entry, whoever carries it. The worker goes it batch by batch, a replay of dead letters
//! entry by entry; both may go it with the same entry, at once and as often as they like.

mod generations;
mod settle;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;

use crate::archive::{Archive, ArchiveError, StoreObserver, Stored};
use crate::domain::{Entry, Kind, Partition};
use crate::redis::Engine;

use generations::Generations;
pub use settle::Settled;

/// Carries entries into the archive and verdicts back. Cheap to clone.
#[derive(Clone)]
pub struct Carrier {
    engine: Engine,
    archive: Archive,
    generations: Arc<Generations>,
}

/// Why entries were not stored.
#[derive(Debug)]
pub enum Trouble {
    /// MongoDB does not answer; nothing is wrong with the entries.
    Away(ArchiveError),
    /// MongoDB answers: one of the entries is what stops them.
    Defect(String),
}

impl Carrier {
    /// Carries between these two.
    pub fn new(engine: Engine, archive: Archive) -> Self {
        Carrier { engine, archive, generations: Arc::default() }
    }

    /// Stores entries, all in one try. With `Err` nothing is known of any of them.
    pub async fn store(
        &self,
        entries: &[(Partition, Entry)],
        observer: &dyn StoreObserver,
    ) -> Result<Stored, Trouble> {
        let attempt = async {
            // INVARIANT: generations before outcomes.
            for (_, sale) in entries.iter().filter(|(_, entry)| entry.kind == Kind::Sold) {
                if let Some(event) = sale.event {
                    self.generations.learn(&self.archive, event).await?;
                }
            }
            self.archive.store_observed(entries, observer).await
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
