//! Restoring: an event that Redis lost, or has in a past state, goes on as the archive knows it.
//!
//! ```text
//! compare-and-set opened → loading, generation + 1 (MongoDB)
//!   → Redis lacks it                              → Redis has it open, in an older generation
//!     open_event `load` (`loading`, a token)        raise_generation (logged)
//!     read the archive, place what it has           settle outcomes, restore what is missing
//!     seal it, prove that it is whole
//!   → the log's newest entry is demanded (MongoDB); Redis is still the one it was at the beginning
//!   → compare-and-set loading → opened in this generation, with the token or the seal (MongoDB)
//!   → open_event `open` with it (Redis; nothing to do where it was open)
//!   → outcomes once more, where it was loaded: some may have been decided meanwhile
//!   → the log's newest entry is demanded once more; Redis is still the same
//!   → the load is finished (MongoDB)
//! ```
//!
//! Rights to a seat, in this order: bookings that the archive has sold; those that it knows as paid
//! (their sales are judged now); undecided owners of claims, open intents and payments that had
//! begun (CONFIRMING, under a lease that has lapsed); holds whose deadline is ahead, oldest first;
//! the house. A hold that gets nothing is ended (EXPIRED or CANCELLED, `restore`), by a transition
//! of its own, so that it does not stay HOLD in the archive.
//!
//! What comes between the steps:
//!
//! * *Two repairers*: one wins the first compare-and-set. If the other takes over later, it raises
//!   the generation again; the first one's calls are refused by Redis (another generation, another
//!   token), or its second compare-and-set by MongoDB.
//! * *A crash anywhere before `opened`*: MongoDB says `loading`. Whoever repairs shows that it is
//!   at work (`load_beat`); once that stands still for [`TAKE_OVER_AFTER`], another begins anew. A
//!   half-placed load is replaced; what was merged is merged again, which changes nothing.
//! * *A crash after `opened`*: `mend` opens the load, which is whole; it stays unfinished, so once
//!   the beat stands still another merges it.
//! * *A repairer that slept*: see *two repairers*. Its reading of the archive may be old: in a load
//!   its token is gone, in an open event its generation.
//! * *Calls of the lost past*: they name the older generation, and change nothing. Their senders
//!   read the event anew and decide anew.
//! * *Entries of the lost past*, still on their way into the archive: a state of an older generation
//!   is outranked by what is written here, which names the new one; an outcome outranks all, and
//!   its settlement rereads generation, then outcome.
//! * *A sale that is decided while we read*: in a load, it is settled after the opening; in an open
//!   event, by whoever decided it.
//! * *A cancellation while we read*: the event cannot be settled before it is open, and `mend`
//!   settles it then (`cancel_unsettled_ms`); in an open event it is settled at once.
//! * *The event was not lost after all* (a failover back): `load` finds it open, and it is merged.
//! * *It is lost again meanwhile*: the calls find nothing, the repair fails, and is begun anew.
//! * *Redis falls back again meanwhile, and has the event as `loading`, or merged in part*: a load is
//!   proved whole after it was sealed (`proof`). Otherwise the server's incarnation tells: a fall
//!   back takes a restart or a failover. It is compared *after* the newest entry is demanded, so one
//!   that comes later is missed by the log (`watch`).
//! * *The sale goes on while it is merged*: every step is a script that validates against what
//!   stands. A seat that was sold anew since the fork is taken back from a hold (which is cancelled
//!   whole), never from a confirmed sale that the archive knows: both cannot be sold there.
//! * *An operator*: changes of status are refused while MongoDB says `loading`; closing is not, and
//!   reaches Redis by `mend`.

mod merge;
mod plan;
mod proof;
mod rebuild;
mod settle;
mod sightings;
mod undecided;
mod watch;

use std::time::Duration;

use super::opening::{Opened, open_event};
use super::unload::state;
use super::{SaleError, SaleSettings, archiving::Archiver};
use crate::archive::Archive;
use crate::domain::{Booking, Event, EventId, Inventory, LoadState};
use crate::redis::{Engine, NotAfter, OpenEventReply, RaiseGenerationReply, ScriptReply};
use crate::telemetry::warn_repeated;

pub use sightings::{Broken, MISSING_FOR, Sightings};
pub use watch::{Accepted, BrokenLog, LogCheck};

/// Documents read at once.
const PAGE: u32 = 1_000;
/// Bookings written by one call: at most ten times as many seats.
const BOOKINGS_PER_CALL: usize = 100;
/// How often a repairer shows that it is at work.
const BEAT: Duration = Duration::from_secs(3);
/// A load whose beat stands still for so long is anybody's. Longer than a beat and a slow write.
pub const TAKE_OVER_AFTER: Duration = Duration::from_secs(15);
/// Changes between a lost and a present event that one repair follows.
const TURNS_MAX: u32 = 3;
/// How old an outcome may be that is told to an open event, ms.
const TOLD_WITHIN_MS_MAX: i64 = 60_000;

/// Told how far a repair has come; operators' tools and logs hang here.
pub trait Progress: Send + Sync {
    /// This event has come so far.
    fn tell(&self, event: EventId, what: &str);
}

/// Nobody looks on.
pub struct Silent;

impl Progress for Silent {
    fn tell(&self, _: EventId, _: &str) {}
}

/// What a repair did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Restored {
    /// Whether Redis had the event, in a past state.
    pub merged: bool,
    /// Sold bookings that were placed or settled.
    pub sold: u64,
    /// Bookings refused or cancelled by the archive that Redis showed otherwise.
    pub undone: u64,
    /// Holds and payments that live on.
    pub live: u64,
    /// Holds that were ended: overdue, or their seats were not free.
    pub ended: u64,
    /// Seats kept back by the house that were placed, or blocked anew.
    pub blocked: u64,
}

/// Restores events. Cheap to clone.
#[derive(Clone)]
pub struct Restorer {
    engine: Engine,
    archive: Archive,
    carrier: Archiver,
    idempotency_ttl_ms: i64,
    told_within_ms: i64,
}

/// Where bookings are put.
#[derive(Clone, Copy, Debug)]
enum Target<'a> {
    /// The load of this token.
    Load(&'a str),
    /// The event as it is open.
    Open,
}

/// One repair under way: the event in its new generation.
struct Work<'a> {
    engine: &'a Engine,
    archive: &'a Archive,
    carrier: &'a Archiver,
    restorer: &'a Restorer,
    event: &'a Event,
    plan: proof::Plan,
    progress: &'a dyn Progress,
    idempotency_ttl_ms: i64,
    told_within_ms: i64,
}

impl Restorer {
    /// Restores between these two, under the rules of this sale.
    pub fn new(engine: Engine, archive: Archive, settings: &SaleSettings) -> Self {
        let (ended_keep_seconds, idempotency_ttl_ms) =
            (settings.ended_keep_seconds, settings.idempotency_ttl_ms);
        let carrier = Archiver::new(engine.clone(), archive.clone(), ended_keep_seconds);
        // A setting is bounded by a year.
        let told_within_ms = TOLD_WITHIN_MS_MAX.min(ended_keep_seconds as i64 * 1_000);
        Restorer { engine, archive, carrier, idempotency_ttl_ms, told_within_ms }
    }

    /// Brings an event to what the archive knows, whether Redis lost it or has it in a past state;
    /// or takes over from a repair that does not end. Again is harmless. `None`: another was
    /// quicker.
    ///
    /// # Errors
    /// [`SaleError::EventState`] where the event needs something else, or another took over.
    pub async fn restore(
        &self,
        id: EventId,
        progress: &dyn Progress,
    ) -> Result<Option<Restored>, SaleError> {
        let facts = self.archive.load_facts(id).await?.ok_or(SaleError::EventUnknown(id))?;
        match facts.load_state {
            LoadState::Opened | LoadState::Loading => {}
            LoadState::New => return Err(state(id, "it was never opened: the worker opens it")),
            LoadState::Unloaded => {
                let text = format!("it is unloaded: holdfastctl event load {id}");
                return Err(state(id, &text));
            }
        }
        let Some(began) = self.archive.begin_load(id, &facts).await? else { return Ok(None) };
        let event = self.archive.event(id).await?.ok_or(SaleError::EventUnknown(id))?;
        if event.generation != began {
            return Ok(None);
        }
        self.bring_back(&event, progress).await.map(Some)
    }

    /// Does the work for an event that MongoDB has as `loading` in this generation, and shows
    /// meanwhile that it is being done.
    pub(super) async fn bring_back(
        &self,
        event: &Event,
        progress: &dyn Progress,
    ) -> Result<Restored, SaleError> {
        let work = Work {
            engine: &self.engine,
            archive: &self.archive,
            carrier: &self.carrier,
            restorer: self,
            event,
            plan: proof::Plan::default(),
            progress,
            idempotency_ttl_ms: self.idempotency_ttl_ms,
            told_within_ms: self.told_within_ms,
        };
        // On the heap: with all that it awaits it is too large for a thread's stack.
        let mut work = Box::pin(work.run());
        let mut beat = tokio::time::interval(BEAT);
        loop {
            tokio::select! {
                done = &mut work => return done,
                _ = beat.tick() => {
                    // Whether another has begun is for the work's own steps to find out.
                    if let Err(error) = self.archive.beat_load(event.id, event.generation).await {
                        warn_repeated!(event_id = %event.id, %error, "a repair shows no beat");
                    }
                }
            }
        }
    }
}

impl Work<'_> {
    async fn run(&self) -> Result<Restored, SaleError> {
        let id = self.event.id;
        let began = self.incarnation().await?;
        let (token, mut restored) = self.place_or_merge().await?;
        self.still_there(&began).await?;
        if !self.archive.mark_loaded(id, self.event.generation, &token).await? {
            return Err(overtaken(id));
        }
        let event = self.archive.event(id).await?.ok_or(SaleError::EventUnknown(id))?;
        if open_event(self.engine, self.archive, &event).await? == Opened::Lost {
            return Err(self.gone());
        }
        if !restored.merged {
            self.settle_outcomes(&mut restored).await?;
        }
        self.still_there(&began).await?;
        self.archive.finish_load(id, event.generation).await?;
        Ok(restored)
    }

    async fn incarnation(&self) -> Result<String, SaleError> {
        let partition = self.engine.keys().partition_of(self.event.id);
        Ok(self.engine.incarnation(partition).await?)
    }

    /// Demands what the log has by now, and finds that Redis has lost nothing since `began`.
    /// INVARIANT: in this order. What is lost in between makes the comparison fail, and what is lost
    /// later is missed by the log.
    async fn still_there(&self, began: &str) -> Result<(), SaleError> {
        let (id, generation) = (self.event.id, self.event.generation);
        let partition = self.engine.keys().partition_of(id);
        self.restorer.demand_log(partition, format!("repair-{id}-{generation}")).await?;
        if self.incarnation().await? == began {
            return Ok(());
        }
        Err(SaleError::Unavailable {
            dependency: "redis",
            reason: "it was started again, or taken over, during a repair: it begins anew".into(),
            unknown: true,
        })
    }

    /// Brings Redis to what the archive knows; the token that MongoDB is to record.
    async fn place_or_merge(&self) -> Result<(String, Restored), SaleError> {
        let (id, inventory) = (self.event.id, Inventory::free(&self.event.layout));
        for _ in 0..TURNS_MAX {
            match self.engine.load_event(self.event, &inventory).await? {
                OpenEventReply::Done { token } => {
                    let restored = self.rebuild(&token).await?;
                    return Ok((self.seal(&token).await?, restored));
                }
                OpenEventReply::EventExists => {}
                OpenEventReply::GenerationMismatch { .. } => return Err(overtaken(id)),
                refusal => {
                    let text = format!("open_event replied {}", refusal.code());
                    return Err(SaleError::Internal(text));
                }
            }
            let raised = self.engine.raise_generation(id, self.event.generation).await?;
            match raised.reply {
                RaiseGenerationReply::Raised { load_token } => {
                    let restored = self.merge().await?;
                    return Ok((load_token, restored));
                }
                RaiseGenerationReply::GenerationMismatch { .. } => return Err(overtaken(id)),
                // It is gone now, or the call was late.
                RaiseGenerationReply::EventNotLoaded | RaiseGenerationReply::TooLate => {}
            }
        }
        Err(self.gone())
    }

    fn tell(&self, what: &str) {
        self.progress.tell(self.event.id, what);
    }

    /// This repair's event is not there as this repair left it.
    fn gone(&self) -> SaleError {
        state(self.event.id, "this load is not in Redis any more: load it again")
    }

    async fn now_ms(&self) -> Result<i64, SaleError> {
        let partition = self.engine.keys().partition_of(self.event.id);
        Ok(self.engine.redis_time_ms(partition).await?)
    }

    /// Until when what is read from now on may be told to an open event: nothing that ends after
    /// the reading is forgotten before.
    async fn tell_until(&self) -> Result<NotAfter, SaleError> {
        Ok(NotAfter(self.now_ms().await? + self.told_within_ms))
    }

    /// Remembers the requests of these bookings, as long as `hold` would have.
    async fn remember(&self, bookings: &[Booking]) -> Result<(), SaleError> {
        let now_ms = self.now_ms().await?;
        let ttl_ms = self.idempotency_ttl_ms.max(self.event.max_hold_ms);
        Ok(self.engine.remember_requests(bookings, ttl_ms, now_ms).await?)
    }
}

/// Another repair or load of this event is ahead of ours.
pub(super) fn overtaken(id: EventId) -> SaleError {
    state(id, "another load of it has begun: wait for that one")
}

fn too_late() -> SaleError {
    SaleError::Unavailable {
        dependency: "redis",
        reason: "no call of this load came in time".into(),
        unknown: false,
    }
}
