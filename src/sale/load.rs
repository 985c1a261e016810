//! Loading: an unloaded event comes back from the archive, as it left: closed.
//!
//! ```text
//! compare-and-set unloaded → loading, generation + 1 (MongoDB)
//!   → open_event `load` (Redis: `loading`, every seat free, a token)
//!   → read the archive, place what it has (Redis: `loading`)
//!   → compare-and-set loading → opened in this generation, with the token (MongoDB)
//!   → open_event `open` with the token (Redis: `open`)
//! ```
//!
//! The archive is read only when Redis says `loading`. From then on, a cancellation that comes
//! after the reading finds an event that it cannot settle *yet*, and is settled once it is open;
//! one that finds no event, and so nothing to settle, came before the reading.
//!
//! * *A crash anywhere before `opened`*: the event is `loading`, clients get 503. `load` again
//!   raises the generation again and begins anew: Redis replaces a load of an earlier generation,
//!   and refuses its calls.
//! * *A crash after `opened`*: the load is whole and its token recorded. The worker opens it, or
//!   `load` again does.
//! * *Two at once*: the second raises the generation. The first one's calls are refused by Redis
//!   (another generation, another token), or its second compare-and-set by MongoDB, whichever it
//!   comes to; it ends with an error and has harmed nothing. Only a load that MongoDB recorded
//!   with `opened` is ever opened, and of a generation that is one.
//! * *An operator*: cannot resume the event before it is `opened`; other changes reach Redis as
//!   ever, by the worker's `mend`.
//! * *An unloading that was cut off*: Redis still has the event. It is put back (see `unload`) if it
//!   stands exactly at the version that was verified then, and is found the same as the archive once
//!   more.
//! * *A failover brings the event back that had been taken out*: as it was, or in an earlier state.
//!   That is never trusted: a sale that was cancelled meanwhile is sold there, and what was sold later
//!   is missing. It is taken out again under the next generation, or merged where it is not at rest;
//!   either way the archive decides.
//!
//! The work itself is `restore`'s; so is taking over from a load that does not end.

use std::time::Duration;

use super::opening::{Opened, open_event};
use super::restore::{Restorer, Silent, overtaken};
use super::unload::{is_verified, state};
use super::{Events, SaleError, verify};
use crate::archive::LoadFacts;
use crate::domain::{Event, EventId, LoadState};
use crate::redis::Detail;

/// How long the archive may take to have what the log had, before an event is put back.
const VERIFY_WAIT: Duration = Duration::from_secs(10);

/// What `load` found to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loading {
    /// The event is back.
    Done {
        /// How many sold bookings it has.
        bookings: u64,
        /// How many seats the house keeps back.
        blocked: u64,
    },
    /// It was there.
    DoneBefore,
}

impl Events {
    /// Brings an unloaded event back into Redis; it stays closed until its operator resumes it.
    /// Again is harmless, also after a crash, and takes over from a load that does not end.
    ///
    /// # Errors
    /// [`SaleError::EventState`] says why the event cannot be loaded, or that another was quicker.
    pub async fn load(&self, id: EventId) -> Result<Loading, SaleError> {
        let facts = self.archive.load_facts(id).await?.ok_or(SaleError::EventUnknown(id))?;
        match facts.load_state {
            LoadState::New => return Err(state(id, "it was never opened: the worker opens it")),
            // Boxed, as what follows: they are large, and those who wait for them are deep.
            LoadState::Opened => return Box::pin(self.open_loaded(id)).await,
            LoadState::Unloaded => {
                if let Some(token) = Box::pin(self.still_open(id, &facts)).await?
                    && Box::pin(self.is_as_unloaded(id, &facts)).await?
                {
                    return Box::pin(self.put_back(id, &token)).await;
                }
            }
            LoadState::Loading => tracing::info!(event_id = %id, "a load is begun anew"),
        }
        let event = self.begin_load(id, &facts).await?;
        Box::pin(self.take_out_older(&event)).await?;
        let (engine, archive) = (self.engine.clone(), self.archive.clone());
        let restorer = Restorer::new(engine, archive, &self.settings);
        let restored = Box::pin(restorer.bring_back(&event, &Silent)).await?;
        Box::pin(self.open_loaded(id)).await?;
        Ok(Loading::Done { bookings: restored.sold, blocked: restored.blocked })
    }

    /// Opens the load that MongoDB recorded, unless it is open.
    async fn open_loaded(&self, id: EventId) -> Result<Loading, SaleError> {
        let event = self.archive.event(id).await?.ok_or(SaleError::EventUnknown(id))?;
        let opened = open_event(&self.engine, &self.archive, &event).await?;
        self.catalogue.put(event);
        match opened {
            Opened::OnSale => Ok(Loading::DoneBefore),
            Opened::Lost => Err(state(id, "Redis has lost it: that asks for more than a load")),
        }
    }

    /// Whether what Redis has of an unloaded event is exactly what was verified when it was unloaded,
    /// and the archive has changed nothing of it since.
    async fn is_as_unloaded(&self, id: EventId, facts: &LoadFacts) -> Result<bool, SaleError> {
        let Some(stands) = self.engine.snapshot(id, Detail::Counts).await? else {
            return Ok(false);
        };
        if Some(stands.version) != facts.unload_version || stands.generation != facts.generation {
            return Ok(false);
        }
        let group = &self.settings.worker_group;
        let report = verify::event(&self.engine, &self.archive, group, id, VERIFY_WAIT).await?;
        Ok(is_verified(&report))
    }

    async fn put_back(&self, id: EventId, token: &str) -> Result<Loading, SaleError> {
        match self.archive.undo_unload(id, token).await? {
            true => Ok(Loading::DoneBefore),
            false => Err(overtaken(id)),
        }
    }

    async fn begin_load(&self, id: EventId, facts: &LoadFacts) -> Result<Event, SaleError> {
        let began = self.archive.begin_load(id, facts).await?.ok_or_else(|| overtaken(id))?;
        let event = self.archive.event(id).await?.ok_or(SaleError::EventUnknown(id))?;
        // Raised again before we could read it?
        (event.generation == began).then_some(event).ok_or_else(|| overtaken(id))
    }

    /// Takes out what a failover brought back: closed and at rest, as when it was unloaded. What
    /// cannot be taken out is merged.
    async fn take_out_older(&self, event: &Event) -> Result<(), SaleError> {
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
