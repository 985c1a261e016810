//! Finishes what a process began in MongoDB and Redis and did not end, because it died or Redis
//! was away: openings of events, changes of their settings, cancellations of sales.
//!
//! MongoDB, written first, says what should be; everything here can be repeated, and is done by
//! every worker.

use std::time::Duration;

use jiff::Timestamp;
use tracing::{error, info};

use super::Worker;
use crate::archive::{ArchivedBooking, EventHead};
use crate::domain::{EventId, LoadState, Outcome};
use crate::redis::{Detail, SettleReply, Settlement};
use crate::sale::SaleError;
use crate::sale::opening::{Opened, open_event};
use crate::telemetry::warn_repeated;

/// Pause between two turns.
const PAUSE: Duration = Duration::from_secs(2);
/// What is younger may still be under way, ms.
const UNDER_WAY_MS: i64 = 5_000;
/// Openings and cancellations of one turn; what is left has the next turn.
const MENDED_AT_ONCE_MAX: u32 = 100;
/// Events read at once.
const PAGE: u32 = 1_000;

/// Pages of cancellations of one turn.
const CANCEL_PAGES_MAX: u32 = 20;

/// What came of several. Of Redis, the node of one may be gone: the others go on.
#[derive(Default)]
struct Mended {
    error: Option<SaleError>,
}

impl Mended {
    /// One more.
    ///
    /// # Errors
    /// Its own, if it is about all of them.
    fn add(&mut self, one: Result<(), SaleError>) -> Result<(), SaleError> {
        match one {
            Err(error) if error.is_redis_unavailable() => {
                self.error.get_or_insert(error);
                Ok(())
            }
            one => one,
        }
    }

    fn result(self) -> Result<(), SaleError> {
        self.error.map_or(Ok(()), Err)
    }
}

/// Mends until told to stop.
pub(super) async fn finish_interrupted(worker: Worker) {
    while worker.shutdown.sleep_or_shutdown(PAUSE).await {
        for (what, mended) in [
            ("openings", worker.mend_openings().await),
            ("settings", worker.mend_settings().await),
            ("cancellations", worker.mend_cancellations().await),
        ] {
            if let Err(error) = mended {
                warn_repeated!(%error, what, "mended later");
            }
        }
    }
}

impl Worker {
    /// Events that were created and never opened.
    async fn mend_openings(&self) -> Result<(), SaleError> {
        let before_ms = Timestamp::now().as_millisecond() - UNDER_WAY_MS;
        let mut all = Mended::default();
        for head in self.archive.events_not_opened(before_ms, MENDED_AT_ONCE_MAX).await? {
            all.add(self.open(head.id).await)?;
        }
        all.result()
    }

    async fn open(&self, id: EventId) -> Result<(), SaleError> {
        let Some(event) = self.archive.event(id).await? else { return Ok(()) };
        match open_event(&self.engine, &self.archive, &event).await? {
            Opened::OnSale => info!(event_id = id.0, "an interrupted opening is finished"),
            Opened::Lost => {
                tracing::warn!(event_id = id.0, "redis has lost an event: it must be restored")
            }
        }
        Ok(())
    }

    /// Events whose settings in Redis are older than in MongoDB.
    async fn mend_settings(&self) -> Result<(), SaleError> {
        let in_redis = self.loaded_events().await.events;
        let (mut after, mut all) = (EventId(0), Mended::default());
        while !self.shutdown.is_requested() {
            let heads = self.archive.event_heads(after, PAGE).await?;
            let Some(last) = heads.last() else { break };
            after = last.id;
            // One that is unloaded is not there, unless Redis has fallen back to a copy of before:
            // what it had of the event must not be sold.
            let is_there = |head: &&EventHead| match head.load_state {
                LoadState::Opened => true,
                LoadState::Unloaded => in_redis.contains(&head.id),
                LoadState::New | LoadState::Loading => false,
            };
            for head in heads.iter().filter(is_there) {
                all.add(self.mend_event(head).await)?;
            }
        }
        all.result()
    }

    async fn mend_event(&self, head: &EventHead) -> Result<(), SaleError> {
        let Some(snapshot) = self.engine.snapshot(head.id, Detail::Counts).await? else {
            return Ok(());
        };
        if snapshot.generation < head.generation {
            // Redis is in a past state: it is repaired, not changed.
            if self.archive.report_loss(head.id, head.generation).await? {
                self.look_now.notify_one();
            }
            return Ok(());
        }
        if !snapshot.open {
            // Marked as opened, and then whoever opened or loaded it died. Its load is whole, or
            // it would not have been marked.
            if head.generation == snapshot.generation && head.load_state == LoadState::Opened {
                self.open(head.id).await?;
            }
            return Ok(());
        }
        if snapshot.revision < head.revision
            && let Some(event) = self.archive.event(head.id).await?
        {
            let code = self.engine.update_event(&event).await?.code();
            info!(event_id = head.id.0, code, "an event's settings follow");
        }
        Ok(())
    }

    /// Sales that the archive says are cancelled and Redis was not seen to follow.
    async fn mend_cancellations(&self) -> Result<(), SaleError> {
        let before_ms = Timestamp::now().as_millisecond() - UNDER_WAY_MS;
        let (mut passed_over, mut all) = (0_u64, Mended::default());
        for _ in 0..CANCEL_PAGES_MAX {
            let page = self.archive.cancels_unsettled(before_ms, passed_over, MENDED_AT_ONCE_MAX);
            let page = page.await?;
            for cancelled in &page {
                let settled = self.mend_cancellation(cancelled).await;
                // What cannot be settled now, its node being gone, keeps no other waiting.
                passed_over += u64::from(!matches!(settled, Ok(true)));
                all.add(settled.map(drop))?;
            }
            if page.len() < MENDED_AT_ONCE_MAX as usize || self.shutdown.is_requested() {
                break;
            }
        }
        all.result()
    }

    /// Whether all is done about it.
    async fn mend_cancellation(&self, cancelled: &ArchivedBooking) -> Result<bool, SaleError> {
        let id = cancelled.booking.id;
        // Its money goes back; whoever cancelled it may have died before saying so.
        self.archive.intent_due(id, Timestamp::now().as_millisecond()).await?;
        let is_settled = self.settle_cancelled(cancelled).await?;
        if is_settled {
            self.archive.cancel_settled(id).await?;
            info!(booking_id = %id, "a cancellation is settled");
        }
        Ok(is_settled)
    }

    /// Whether nothing is left to settle.
    async fn settle_cancelled(&self, cancelled: &ArchivedBooking) -> Result<bool, SaleError> {
        let event = cancelled.booking.id.event();
        // Read after the outcome, which is final here: it cannot have become another since. And
        // before Redis is asked: a load that begins after this reads the outcome.
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
            // A load that has begun may have read the outcome before. One that has not will read
            // it, if there is one: the event may be unloaded for good.
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
