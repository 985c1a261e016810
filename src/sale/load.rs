//! Loads an unloaded event from the archive back into Redis. The event stays closed.
//!
//! ```text
//! compare-and-set unloaded → loading, generation + 1 (MongoDB)
//!   → open_event `load` (Redis: `loading`, every seat free, a token)
//!   → read the archive, place its bookings (Redis: `loading`)
//!   → compare-and-set loading → opened in this generation, with the token (MongoDB)
//!   → open_event `open` with the token (Redis: `open`)
//! ```
//!
//! The archive is read only while Redis has the event as `loading`. A cancellation after the reading
//! finds an event that cannot be settled *yet*, and is settled once it is open; a cancellation that
//! finds no event, and so nothing to settle, came before the reading.
//!
//! | what may happen between the steps | result |
//! |---|---|
//! | crash anywhere before `opened` | The event is `loading`, clients get 503. Another `load` raises the generation and starts over: Redis replaces a load of an earlier generation and refuses its calls. |
//! | crash after `opened` | The load is complete and its token is recorded. The worker or another `load` opens it. |
//! | two loads at once | The second raises the generation. Redis refuses the calls of the first (generation, token), or MongoDB its second compare-and-set; it ends with an error and without effect. Only the one load that MongoDB recorded with `opened` is ever opened. |
//! | an operator changes the event | It cannot be resumed before it is `opened`; other changes reach Redis through the worker (`finish_interrupted`). |
//! | an interrupted unload | Redis still has the event. It is put back (see `unload`) if it has exactly the version that was verified then, and equals the archive once more. |
//! | a failover brings back the removed event, as it was or in an earlier state | It is never trusted: a sale cancelled meanwhile is sold there, and later sales are missing. It is removed again under the next generation, or merged if it is in use; either way the archive decides. |
//!
//! `restore` does the work, and takes over a load that does not end.

use std::time::Duration;

use super::opening::{OpenResult, open_event};
use super::restore::{NoProgress, Restorer, overtaken};
use super::unload::{is_verified, wrong_state};
use super::{Events, SaleError, verify};
use crate::archive::LoadFacts;
use crate::domain::{Event, EventId, LoadState};
use crate::redis::Detail;

/// How long the archive may take to catch up with the log before an event is put back.
const VERIFY_WAIT: Duration = Duration::from_secs(10);

/// The result of a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadResult {
    /// The event was loaded.
    Done {
        /// How many sold bookings it has.
        bookings: u64,
        /// How many seats are blocked.
        blocked: u64,
    },
    /// The event was already loaded.
    DoneBefore,
}

impl Events {
    /// Loads an unloaded event into Redis; it stays closed until its operator resumes it. Idempotent,
    /// also after a crash; takes over a load that does not end.
    ///
    /// # Errors
    /// [`SaleError::EventState`] says why the event cannot be loaded, or that another load won.
    pub async fn load(&self, id: EventId) -> Result<LoadResult, SaleError> {
        let facts = self.archive.load_facts(id).await?.ok_or(SaleError::EventUnknown(id))?;
        match facts.load_state {
            LoadState::New => {
                return Err(wrong_state(id, "it was never opened: the worker opens it"));
            }
            // Boxed here and below: these futures are large, and their callers are deeply nested.
            LoadState::Opened => return Box::pin(self.open_loaded(id)).await,
            LoadState::Unloaded => {
                if let Some(token) = Box::pin(self.still_open(id, &facts)).await?
                    && Box::pin(self.is_as_unloaded(id, &facts)).await?
                {
                    return Box::pin(self.put_back(id, &token)).await;
                }
            }
            LoadState::Loading => tracing::info!(event_id = %id, "starting a load over"),
        }
        let event = self.begin_load(id, &facts).await?;
        Box::pin(self.remove_older(&event)).await?;
        let (engine, archive) = (self.engine.clone(), self.archive.clone());
        let restorer = Restorer::new(engine, archive, &self.settings);
        let restored = Box::pin(restorer.restore_loading(&event, &NoProgress)).await?;
        Box::pin(self.open_loaded(id)).await?;
        Ok(LoadResult::Done { bookings: restored.sold, blocked: restored.blocked })
    }

    /// Opens the load that MongoDB recorded, unless it is already open.
    async fn open_loaded(&self, id: EventId) -> Result<LoadResult, SaleError> {
        let event = self.archive.event(id).await?.ok_or(SaleError::EventUnknown(id))?;
        let opened = open_event(&self.engine, &self.archive, &event).await?;
        self.catalogue.put(event);
        match opened {
            OpenResult::OnSale => Ok(LoadResult::DoneBefore),
            OpenResult::Lost => {
                Err(wrong_state(id, "Redis has lost it: restore it (holdfastctl restore)"))
            }
        }
    }

    /// Whether Redis has an unloaded event exactly as it was verified when it was unloaded, and the
    /// archive has not changed since.
    async fn is_as_unloaded(&self, id: EventId, facts: &LoadFacts) -> Result<bool, SaleError> {
        let Some(found) = self.engine.snapshot(id, Detail::Counts).await? else {
            return Ok(false);
        };
        if Some(found.version) != facts.unload_version || found.generation != facts.generation {
            return Ok(false);
        }
        let group = &self.settings.worker_group;
        let report = verify::event(&self.engine, &self.archive, group, id, VERIFY_WAIT).await?;
        Ok(is_verified(&report))
    }

    async fn put_back(&self, id: EventId, token: &str) -> Result<LoadResult, SaleError> {
        match self.archive.undo_unload(id, token).await? {
            true => Ok(LoadResult::DoneBefore),
            false => Err(overtaken(id)),
        }
    }

    async fn begin_load(&self, id: EventId, facts: &LoadFacts) -> Result<Event, SaleError> {
        let began = self.archive.begin_load(id, facts).await?.ok_or_else(|| overtaken(id))?;
        let event = self.archive.event(id).await?.ok_or(SaleError::EventUnknown(id))?;
        // Another load may have raised the generation before the event was read.
        (event.generation == began).then_some(event).ok_or_else(|| overtaken(id))
    }

    /// Removes an event that a failover brought back, if it is closed and not in use, as when it was
    /// unloaded. Otherwise it is merged.
    async fn remove_older(&self, event: &Event) -> Result<(), SaleError> {
        let id = event.id;
        let older = self.engine.snapshot(id, Detail::Counts).await?;
        let Some(older) = older.filter(|older| older.open) else { return Ok(()) };
        if older.generation >= event.generation {
            return Err(overtaken(id));
        }
        let not_after = self.engine.not_after(self.engine.keys().partition_of(id)).await?;
        let (generation, version) = (older.generation, older.version);
        let answer = self.engine.unload_event(id, generation, version, not_after).await?;
        tracing::warn!(
            event_id = %id, generation, code = answer.code(),
            "redis had an unloaded event open in an older generation",
        );
        Ok(())
    }
}
