//! Finishes operations that a process started in MongoDB and could not complete in Redis, because it
//! crashed or Redis was unavailable: openings of events, changes of their settings, cancellations of
//! sales.
//!
//! MongoDB is written first and is authoritative. Every step is idempotent, and every worker runs
//! this task.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tracing::{error, info};

use super::Worker;
use super::log_changes::LogChanges;
use crate::archive::{ArchivedBooking, EventHead};
use crate::domain::{EventId, LoadState, Outcome};
use crate::redis::{Detail, SettleReply, Settlement};
use crate::sale::SaleError;
use crate::sale::opening::{OpenResult, open_event};
use crate::telemetry::warn_repeated;

/// Pause between two rounds.
const PAUSE: Duration = Duration::from_secs(2);
/// Operations younger than this may still be in progress, ms.
const IN_PROGRESS_MS: i64 = 5_000;
/// Openings and cancellations finished in one round; the next round continues.
const PER_ROUND_MAX: u32 = 100;
/// Events read at once.
const PAGE: u32 = 1_000;

/// Pages of cancellations in one round.
const CANCEL_PAGES_MAX: u32 = 20;

/// How long settings that were equal are not compared again while nothing changes: neither the
/// event's head in MongoDB nor the booking log in Redis, where every change of settings is recorded.
const COMPARE_AGAIN_AFTER: Duration = Duration::from_secs(30);

/// The events whose settings were equal in MongoDB and Redis.
#[derive(Default)]
struct SettingsCheck {
    log_changes: LogChanges,
    /// What MongoDB had, and when it was compared.
    equal: HashMap<EventId, (ComparedHead, Instant)>,
}

/// What is compared of an event.
#[derive(Clone, Copy, PartialEq, Eq)]
struct ComparedHead {
    revision: u64,
    generation: u64,
    load_state: LoadState,
}

impl From<&EventHead> for ComparedHead {
    fn from(head: &EventHead) -> Self {
        let EventHead { revision, generation, load_state, .. } = *head;
        ComparedHead { revision, generation, load_state }
    }
}

/// The result of several operations. An unavailable Redis node fails only its own events; the first
/// such error is kept while the others continue.
#[derive(Default)]
struct PartialResult {
    error: Option<SaleError>,
}

impl PartialResult {
    /// Adds the result of one operation.
    ///
    /// # Errors
    /// The operation's error, if it concerns all operations.
    fn add(&mut self, result: Result<(), SaleError>) -> Result<(), SaleError> {
        match result {
            Err(error) if error.is_redis_unavailable() => {
                self.error.get_or_insert(error);
                Ok(())
            }
            result => result,
        }
    }

    fn result(self) -> Result<(), SaleError> {
        self.error.map_or(Ok(()), Err)
    }
}

/// Finishes interrupted operations until shutdown.
pub(super) async fn run(worker: Worker) {
    let mut settings = SettingsCheck::default();
    while worker.shutdown.sleep_or_shutdown(PAUSE).await {
        for (what, result) in [
            ("openings", worker.finish_openings().await),
            ("settings", worker.finish_settings(&mut settings).await),
            ("cancellations", worker.finish_cancellations().await),
        ] {
            if let Err(error) = result {
                warn_repeated!(%error, what, "finishing interrupted operations failed; they are retried");
            }
        }
    }
}

impl Worker {
    /// Opens events that were created and never opened.
    async fn finish_openings(&self) -> Result<(), SaleError> {
        let before_ms = Timestamp::now().as_millisecond() - IN_PROGRESS_MS;
        let mut all = PartialResult::default();
        for head in self.archive.events_not_opened(before_ms, PER_ROUND_MAX).await? {
            all.add(self.open(head.id).await)?;
        }
        all.result()
    }

    async fn open(&self, id: EventId) -> Result<(), SaleError> {
        let Some(event) = self.archive.event(id).await? else { return Ok(()) };
        match open_event(&self.engine, &self.archive, &event).await? {
            OpenResult::OnSale => info!(event_id = id.0, "finished an interrupted opening"),
            OpenResult::Lost => {
                tracing::warn!(event_id = id.0, "redis has lost an event: it must be restored")
            }
        }
        Ok(())
    }

    /// Updates events whose settings in Redis are older than in MongoDB.
    async fn finish_settings(&self, check: &mut SettingsCheck) -> Result<(), SaleError> {
        // INVARIANT: before the events are compared; a later change is found in the next round.
        let changed = check.log_changes.find(&self.engine).await;
        let partition_of = |event: &EventId| self.engine.keys().partition_of(*event);
        check.equal.retain(|event, one| {
            !changed.contains(&partition_of(event)) && one.1.elapsed() < COMPARE_AGAIN_AFTER
        });
        let in_redis = self.loaded_events().await.events;
        let (mut after, mut all) = (EventId(0), PartialResult::default());
        while !self.shutdown.is_requested() {
            let heads = self.archive.event_heads(after, PAGE).await?;
            let Some(last) = heads.last() else { break };
            after = last.id;
            // Redis has an unloaded event only after falling back to an older copy of its data. The
            // event must not be sold from there.
            let is_in_redis = |head: &&EventHead| match head.load_state {
                LoadState::Opened => true,
                LoadState::Unloaded => in_redis.contains(&head.id),
                LoadState::New | LoadState::Loading => false,
            };
            let is_equal = |head: &&EventHead| {
                check.equal.get(&head.id).is_some_and(|one| one.0 == ComparedHead::from(*head))
            };
            let differing: Vec<&EventHead> =
                heads.iter().filter(|head| is_in_redis(head) && !is_equal(head)).collect();
            for head in differing {
                let found = self.finish_settings_of(head).await;
                if let Ok(true) = found {
                    check.equal.insert(head.id, (head.into(), Instant::now()));
                }
                all.add(found.map(drop))?;
            }
        }
        all.result()
    }

    /// Returns whether Redis was found to have these settings.
    async fn finish_settings_of(&self, head: &EventHead) -> Result<bool, SaleError> {
        let partition = self.engine.keys().partition_of(head.id);
        let states = self.engine.event_states(partition, &[head.id]).await?;
        let Some(in_redis) = states.into_iter().next().flatten() else { return Ok(false) };
        if in_redis.generation < head.generation {
            // Redis is in a past state: the repairer restores the event.
            if self.archive.report_loss(head.id, head.generation).await? {
                self.wake_repairer.notify_one();
            }
            return Ok(false);
        }
        if !in_redis.open {
            // The process that loaded it crashed between marking it as opened and opening it. Its
            // load is complete: only a complete load is marked.
            if head.generation == in_redis.generation && head.load_state == LoadState::Opened {
                self.open(head.id).await?;
            }
            return Ok(false);
        }
        if in_redis.revision < head.revision {
            if let Some(event) = self.archive.event(head.id).await? {
                let code = self.engine.update_event(&event).await?.code();
                info!(event_id = head.id.0, code, "updated an event's settings in Redis");
            }
            return Ok(false);
        }
        Ok(true)
    }

    /// Settles sales that are cancelled in the archive and not known to be so in Redis.
    async fn finish_cancellations(&self) -> Result<(), SaleError> {
        let before_ms = Timestamp::now().as_millisecond() - IN_PROGRESS_MS;
        let (mut skipped, mut all) = (0_u64, PartialResult::default());
        for _ in 0..CANCEL_PAGES_MAX {
            let page = self.archive.cancels_unsettled(before_ms, skipped, PER_ROUND_MAX);
            let page = page.await?;
            for cancelled in &page {
                let settled = self.finish_cancellation(cancelled).await;
                // A cancellation whose Redis node is unavailable does not delay the others.
                skipped += u64::from(!matches!(settled, Ok(true)));
                all.add(settled.map(drop))?;
            }
            if page.len() < PER_ROUND_MAX as usize || self.shutdown.is_requested() {
                break;
            }
        }
        all.result()
    }

    /// Returns whether the cancellation is complete.
    async fn finish_cancellation(&self, cancelled: &ArchivedBooking) -> Result<bool, SaleError> {
        let id = cancelled.booking.id;
        // Triggers the refund: the process that cancelled may have crashed before doing so.
        self.archive.intent_due(id, Timestamp::now().as_millisecond()).await?;
        let is_settled = self.settle_cancelled(cancelled).await?;
        if is_settled {
            self.archive.cancel_settled(id).await?;
            info!(booking_id = %id, "settled a cancellation");
        }
        Ok(is_settled)
    }

    /// Returns whether nothing is left to settle.
    async fn settle_cancelled(&self, cancelled: &ArchivedBooking) -> Result<bool, SaleError> {
        let event = cancelled.booking.id.event();
        // Read after the outcome, which is final and cannot change any more, and before Redis is
        // queried: a load that begins later reads the outcome itself.
        let Some(head) = self.archive.event_head(event).await? else { return Ok(false) };
        let answer = self
            .engine
            .settle(&Settlement {
                generation: head.generation,
                outcome: Outcome::Cancelled.as_str(),
                valid_until: None,
                acknowledge: None,
                booking: &cancelled.booking,
            })
            .await?;
        self.metrics.settled.with_label_values(&[answer.code()]).inc();
        Ok(match answer.reply {
            SettleReply::Settled { .. } => true,
            // A load in progress may have read the archive before this outcome. A later load reads
            // the outcome; the event may also stay unloaded for good.
            SettleReply::EventNotLoaded => {
                let is_out = head.load_state != LoadState::Loading;
                is_out && self.engine.snapshot(event, Detail::Counts).await?.is_none()
            }
            SettleReply::SettledOtherwise { .. } => {
                let booking_id = cancelled.booking.id;
                error!(%booking_id, "ALARM: redis shows a cancelled sale as voided");
                true
            }
            _ => false,
        })
    }
}
