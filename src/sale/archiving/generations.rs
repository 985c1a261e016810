//! A cache of the events' generations in MongoDB. `settle` passes the generation to Redis, which
//! refuses an outcome that was read before a loss.
//!
//! INVARIANT: a generation is read before the outcome that is settled with it. A cached generation
//! satisfies this. If it is outdated, Redis refuses it, and generation and outcome are read again, in
//! this order. The caller keeps the generation that it read with an outcome: the cache may have a
//! newer one by then.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::archive::{Archive, ArchiveError};
use crate::domain::EventId;

/// The cached generations: one number an event with sales.
#[derive(Debug, Default)]
pub struct Generations(Mutex<HashMap<EventId, u64>>);

impl Generations {
    fn cached(&self, event: EventId) -> Option<u64> {
        self.lock().get(&event).copied()
    }

    /// Returns an event's generation, from the cache or MongoDB; `None` if the event is not in the
    /// catalogue.
    pub async fn get(
        &self,
        archive: &Archive,
        event: EventId,
    ) -> Result<Option<u64>, ArchiveError> {
        match self.cached(event) {
            Some(generation) => Ok(Some(generation)),
            None => self.reread(archive, event).await,
        }
    }

    /// Reads an event's generation from MongoDB and caches it.
    pub async fn reread(
        &self,
        archive: &Archive,
        event: EventId,
    ) -> Result<Option<u64>, ArchiveError> {
        let generation = archive.event_head(event).await?.map(|head| head.generation);
        if let Some(generation) = generation {
            self.lock().insert(event, generation);
        }
        Ok(generation)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<EventId, u64>> {
        // Poisoning can be ignored: no code under this lock panics halfway through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
