//! Generations of events, as MongoDB has them: what `settle` is told so that Redis can refuse an
//! outcome that was read before a loss.
//!
//! INVARIANT: a generation is read before the outcome that it goes with. A remembered one was; if
//! it is old, Redis says so, and then it is read anew, the outcome after it. Who has read an
//! outcome keeps the generation that he had then: what is remembered may be newer by now.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::archive::{Archive, ArchiveError};
use crate::domain::EventId;

/// The generations read so far: one number an event that sells.
#[derive(Debug, Default)]
pub struct Generations(Mutex<HashMap<EventId, u64>>);

impl Generations {
    fn known(&self, event: EventId) -> Option<u64> {
        self.lock().get(&event).copied()
    }

    /// Reads an event's generation unless it is remembered. An event that is not in the
    /// catalogue has none.
    pub async fn learn(
        &self,
        archive: &Archive,
        event: EventId,
    ) -> Result<Option<u64>, ArchiveError> {
        match self.known(event) {
            Some(generation) => Ok(Some(generation)),
            None => self.reread(archive, event).await,
        }
    }

    /// Reads an event's generation anew.
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
        // Nothing under this lock panics half-way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
