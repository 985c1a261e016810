//! Restores an event that Redis lost, or has in a past state, from the archive.
//!
//! ```text
//! compare-and-set opened → loading, generation + 1 (MongoDB)
//!   → Redis lacks it                              → Redis has it open, in an older generation
//!     open_event `load` (`loading`, a token)        raise_generation (logged)
//!     read the archive, place its bookings          settle outcomes, restore what is missing
//!     seal the load, prove that it is complete
//!   → require the log's newest entry (MongoDB); check that Redis has not restarted or failed over
//!   → compare-and-set loading → opened in this generation, with the token or the seal (MongoDB)
//!   → open_event `open` with it (Redis; no effect if the event was open)
//!   → if the event was loaded, settle outcomes again: some may have been decided meanwhile
//!   → require the log's newest entry again; check Redis again
//!   → finish the load (MongoDB)
//! ```
//!
//! Seats are assigned in this order: bookings sold in the archive; bookings paid in the archive (their
//! sales are decided now); undecided owners of claims, open intents and payments in progress
//! (CONFIRMING, with a lapsed lease); holds with a future deadline, oldest first; blocks. A hold that
//! gets no seats is ended (EXPIRED or CANCELLED, `restore`) by its own transition, so that it does not
//! stay HOLD in the archive.
//!
//! | what may happen between the steps | result |
//! |---|---|
//! | two repairers | One wins the first compare-and-set. If the other takes over later, it raises the generation again; Redis refuses the calls of the first (generation, token), or MongoDB its second compare-and-set. |
//! | a crash anywhere before `opened` | MongoDB says `loading`. A repairer shows its progress in `load_beat`; once that has not changed for [`TAKE_OVER_AFTER`], another starts over. A partial load is replaced; merging again is idempotent. |
//! | a crash after `opened` | The worker's `finish_interrupted` opens the load, which is complete; it stays unfinished, so another repairer merges it once the beat stops. |
//! | a suspended repairer resumes | As with two repairers. Its view of the archive may be old: in a load its token is gone, in an open event its generation. |
//! | calls from before the loss | They name the older generation and have no effect. Their senders read the event again and decide again. |
//! | entries from before the loss, not yet archived | A state of an older generation ranks below what is written here in the new one. An outcome ranks above all states, and its settlement rereads generation, then outcome. |
//! | a sale is decided during the restore | In a load it is settled after the opening, in an open event by the process that decided it. |
//! | a cancellation during the restore | In a load it cannot be settled before the event is open; then `finish_interrupted` settles it (`cancel_unsettled_ms`). In an open event it is settled at once. |
//! | the event was not lost after all (a failover back) | `load` finds it open, and it is merged. |
//! | it is lost again | The calls find nothing, the repair fails and starts over. |
//! | Redis falls back again and has the event as `loading`, or partly merged | A load is proved complete after sealing (`proof`). A merge relies on the server's incarnation: falling back takes a restart or a failover. It is compared *after* the newest entry is required, so a later fall-back shows as a missing log entry (`watch`). |
//! | the sale continues during a merge | Every step is a script that validates against the current state. A seat sold anew since the fork is taken from a hold (which is cancelled as a whole), never from a confirmed sale in the archive: both cannot be sold there. |
//! | an operator changes the event | Changes of status are refused while MongoDB says `loading`, except closing, which reaches Redis through `finish_interrupted`. |

mod loss_tracker;
mod merge;
mod plan;
mod proof;
mod rebuild;
mod settle;
mod undecided;
mod watch;

use std::time::Duration;

use super::opening::{OpenResult, open_event};
use super::unload::wrong_state;
use super::{SaleError, SaleSettings, archiving::Archiver};
use crate::archive::Archive;
use crate::domain::{Booking, Event, EventId, Inventory, LoadState};
use crate::redis::{Engine, NotAfter, OpenEventReply, RaiseGenerationReply, ScriptReply};
use crate::telemetry::warn_repeated;

pub use loss_tracker::{Loss, LossTracker, MISSING_FOR};
pub use watch::{BrokenLog, LogAcceptance, LogCheck};

/// Documents read at once.
const PAGE: u32 = 1_000;
/// Bookings written by one call: at most ten times as many seats.
const BOOKINGS_PER_CALL: usize = 100;
/// How often a repairer shows its progress.
const BEAT: Duration = Duration::from_secs(3);
/// A load whose beat has not changed for this long may be taken over. Longer than a beat and a slow
/// write.
pub const TAKE_OVER_AFTER: Duration = Duration::from_secs(15);
/// Changes between a lost and a present event that one repair follows.
const ROUNDS_MAX: u32 = 3;
/// Longest time between reading an outcome and applying it to an open event, ms.
const OUTCOME_TTL_MS_MAX: i64 = 60_000;

/// Receives the progress of a repair, for operators' tools and logs.
pub trait Progress: Send + Sync {
    /// Reports a step of the repair of this event.
    fn report(&self, event: EventId, what: &str);
}

/// Discards the progress.
pub struct NoProgress;

impl Progress for NoProgress {
    fn report(&self, _: EventId, _: &str) {}
}

/// What a repair did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct RestoreReport {
    /// Whether Redis had the event, in a past state.
    pub merged: bool,
    /// Sold bookings that were placed or settled.
    pub sold: u64,
    /// Bookings refunded or cancelled in the archive that Redis showed otherwise.
    pub undone: u64,
    /// Holds and payments that continue.
    pub live: u64,
    /// Holds that were ended: overdue, or their seats were not free.
    pub ended: u64,
    /// Seats that were blocked.
    pub blocked: u64,
}

/// Restores events. Cheap to clone.
#[derive(Clone)]
pub struct Restorer {
    engine: Engine,
    archive: Archive,
    archiver: Archiver,
    idempotency_ttl_ms: i64,
    outcome_ttl_ms: i64,
}

/// Where bookings are written.
#[derive(Clone, Copy, Debug)]
enum Target<'a> {
    /// To the load with this token.
    Load(&'a str),
    /// To the open event.
    Open,
}

/// One repair in progress: the event in its new generation.
struct Restoration<'a> {
    engine: &'a Engine,
    archive: &'a Archive,
    archiver: &'a Archiver,
    restorer: &'a Restorer,
    event: &'a Event,
    plan: proof::Plan,
    progress: &'a dyn Progress,
    idempotency_ttl_ms: i64,
    outcome_ttl_ms: i64,
}

impl Restorer {
    /// A restorer from the archive into Redis, with the settings of this sale.
    pub fn new(engine: Engine, archive: Archive, settings: &SaleSettings) -> Self {
        let (ended_keep_seconds, idempotency_ttl_ms) =
            (settings.ended_keep_seconds, settings.idempotency_ttl_ms);
        let archiver = Archiver::new(engine.clone(), archive.clone(), ended_keep_seconds);
        // The setting is at most a year.
        let outcome_ttl_ms = OUTCOME_TTL_MS_MAX.min(ended_keep_seconds as i64 * 1_000);
        Restorer { engine, archive, archiver, idempotency_ttl_ms, outcome_ttl_ms }
    }

    /// Restores an event that Redis lost or has in a past state, or takes over a repair that does not
    /// end. Idempotent. Returns `None` if another process was first.
    ///
    /// # Errors
    /// [`SaleError::EventState`] if the event needs another operation, or another process took over.
    pub async fn restore(
        &self,
        id: EventId,
        progress: &dyn Progress,
    ) -> Result<Option<RestoreReport>, SaleError> {
        let facts = self.archive.load_facts(id).await?.ok_or(SaleError::EventUnknown(id))?;
        match facts.load_state {
            LoadState::Opened | LoadState::Loading => {}
            LoadState::New => {
                return Err(wrong_state(id, "it was never opened: the worker opens it"));
            }
            LoadState::Unloaded => {
                let text = format!("it is unloaded: holdfastctl event load {id}");
                return Err(wrong_state(id, &text));
            }
        }
        let Some(began) = self.archive.begin_load(id, &facts).await? else { return Ok(None) };
        let event = self.archive.event(id).await?.ok_or(SaleError::EventUnknown(id))?;
        if event.generation != began {
            return Ok(None);
        }
        self.restore_loading(&event, progress).await.map(Some)
    }

    /// Restores an event that MongoDB has as `loading` in this generation, and shows the progress
    /// meanwhile.
    pub(super) async fn restore_loading(
        &self,
        event: &Event,
        progress: &dyn Progress,
    ) -> Result<RestoreReport, SaleError> {
        let restoration = Restoration {
            engine: &self.engine,
            archive: &self.archive,
            archiver: &self.archiver,
            restorer: self,
            event,
            plan: proof::Plan::default(),
            progress,
            idempotency_ttl_ms: self.idempotency_ttl_ms,
            outcome_ttl_ms: self.outcome_ttl_ms,
        };
        // On the heap: the future is too large for a thread's stack.
        let mut run = Box::pin(restoration.run());
        let mut beat = tokio::time::interval(BEAT);
        loop {
            tokio::select! {
                done = &mut run => return done,
                _ = beat.tick() => {
                    // If another process has taken over, the steps of the restoration fail.
                    if let Err(error) = self.archive.beat_load(event.id, event.generation).await {
                        warn_repeated!(event_id = %event.id, %error, "recording the beat of a repair failed");
                    }
                }
            }
        }
    }
}

impl Restoration<'_> {
    async fn run(&self) -> Result<RestoreReport, SaleError> {
        let id = self.event.id;
        let began = self.incarnation().await?;
        let (token, mut restored) = self.place_or_merge().await?;
        self.check_incarnation(&began).await?;
        if !self.archive.mark_loaded(id, self.event.generation, &token).await? {
            return Err(overtaken(id));
        }
        let event = self.archive.event(id).await?.ok_or(SaleError::EventUnknown(id))?;
        if open_event(self.engine, self.archive, &event).await? == OpenResult::Lost {
            return Err(self.lost_again());
        }
        if !restored.merged {
            self.settle_outcomes(&mut restored).await?;
        }
        self.check_incarnation(&began).await?;
        self.archive.finish_load(id, event.generation).await?;
        Ok(restored)
    }

    async fn incarnation(&self) -> Result<String, SaleError> {
        let partition = self.engine.keys().partition_of(self.event.id);
        Ok(self.engine.incarnation(partition).await?)
    }

    /// Requires the log's current newest entry, then checks that Redis has not restarted or failed over
    /// since `began`.
    ///
    /// INVARIANT: in this order. A loss in between makes the comparison fail; a later loss shows as a
    /// missing log entry.
    async fn check_incarnation(&self, began: &str) -> Result<(), SaleError> {
        let (id, generation) = (self.event.id, self.event.generation);
        let partition = self.engine.keys().partition_of(id);
        self.restorer.require_newest(partition, format!("repair-{id}-{generation}")).await?;
        if self.incarnation().await? == began {
            return Ok(());
        }
        Err(SaleError::Unavailable {
            dependency: "redis",
            reason: "it restarted or failed over during a repair, which starts over".into(),
            unknown: true,
        })
    }

    /// Rebuilds or merges the event in Redis; returns the token that MongoDB must record.
    async fn place_or_merge(&self) -> Result<(String, RestoreReport), SaleError> {
        let (id, inventory) = (self.event.id, Inventory::free(&self.event.layout));
        for _ in 0..ROUNDS_MAX {
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
                // The event is gone by now, or the call was late.
                RaiseGenerationReply::EventNotLoaded | RaiseGenerationReply::TooLate => {}
            }
        }
        Err(self.lost_again())
    }

    fn report(&self, what: &str) {
        self.progress.report(self.event.id, what);
    }

    /// The error for an event that Redis does not have as this repair left it.
    fn lost_again(&self) -> SaleError {
        wrong_state(self.event.id, "this load is not in Redis any more: load it again")
    }

    async fn now_ms(&self) -> Result<i64, SaleError> {
        let partition = self.engine.keys().partition_of(self.event.id);
        Ok(self.engine.redis_time_ms(partition).await?)
    }

    /// Until when archive data that is read from now on may be applied to an open event: a booking that
    /// ends after the reading does not leave Redis before.
    async fn valid_until(&self) -> Result<NotAfter, SaleError> {
        Ok(NotAfter(self.now_ms().await? + self.outcome_ttl_ms))
    }

    /// Restores the idempotency keys of these bookings, with the lifetime that `hold` gives them.
    async fn restore_request_keys(&self, bookings: &[Booking]) -> Result<(), SaleError> {
        let now_ms = self.now_ms().await?;
        let ttl_ms = self.idempotency_ttl_ms.max(self.event.max_hold_ms);
        Ok(self.engine.remember_requests(bookings, ttl_ms, now_ms).await?)
    }
}

/// The error for a repair or load that another one has overtaken.
pub(super) fn overtaken(id: EventId) -> SaleError {
    wrong_state(id, "another load of it has begun: wait for that one")
}

fn too_late() -> SaleError {
    SaleError::Unavailable {
        dependency: "redis",
        reason: "no call of this load came in time".into(),
        unknown: false,
    }
}
