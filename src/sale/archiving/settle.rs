//! Brings one verdict of the archive back into Redis. Repeated, late or beside another process it
//! changes nothing that was settled.

use std::time::Duration;

use tokio::time::sleep;
use tracing::{error, info};

use super::{Archiver, Judged};
use crate::archive::{ArchivedBooking, Verdict};
use crate::backoff::Backoff;
use crate::domain::{Booking, BookingId, EventId, LogId, Outcome, Status};
use crate::redis::{Detail, RedisError, ScriptReply, SettleReply, Settlement, WORKER_GROUP};
use crate::telemetry::warn_repeated;

/// Tries of one settlement; with the pauses between them a few seconds.
const TRIES_MAX: u32 = 8;
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// What became of a settlement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// Redis follows the archive; the entry is acknowledged, if that was asked for.
    Done,
    /// Redis does not have the event. Lost, it is rebuilt from the archive, outcome and all, and
    /// the entry is acknowledged. Being rebuilt, it may have been read before this outcome: then
    /// the entry is not, and the verdict must be settled once more.
    NotLoaded,
    /// Not now: to be settled once more.
    Later,
    /// It cannot be: why.
    Never(String),
}

impl Archiver {
    /// Settles a sale. Redis acknowledges the entry at `acknowledge` in the same step. Each answer
    /// of Redis is told by its word.
    pub async fn settle(
        &self,
        acknowledge: Option<LogId>,
        judged: &Judged,
        told: impl Fn(&'static str),
    ) -> Settled {
        let mut booking = judged.verdict.booking.clone();
        let mut outcome = judged.verdict.outcome;
        let (mut tell_until, mut generation) = (judged.tell_until, judged.generation);
        let id = booking.id;
        if outcome == Outcome::Refund && !self.settle_owners(&booking).await {
            // The event may have been restored since its generation was read: once more, so that
            // the buyer need not wait until the entry is delivered again.
            let reread = self.generations.reread(&self.archive, id.event()).await;
            if reread.is_err() || !self.settle_owners(&booking).await {
                return Settled::Later;
            }
        }
        // The entry is older than a cancellation, or is not the sale that was judged (there is
        // another of this booking, paid at another time): the archive knows more of the booking.
        let mut is_stale =
            tell_until.is_none() || outcome == Outcome::Cancelled || judged.verdict.is_adopted;
        let mut backoff = Backoff::new(PAUSE_MIN, PAUSE_MAX);
        let mut is_reported = false;
        for _ in 0..TRIES_MAX {
            if is_stale {
                let Some(newer) = self.judged_anew(id).await else { return Settled::Later };
                (booking, outcome) = (newer.verdict.booking, newer.verdict.outcome);
                (tell_until, generation) = (newer.tell_until, newer.generation);
                is_stale = false;
            }
            let Some(generation) = generation else {
                return Settled::Never(format!("event {} is not in the archive", id.event()));
            };
            let settlement = Settlement {
                generation,
                outcome: outcome.as_str(),
                valid_until: tell_until,
                acknowledge: acknowledge.map(|entry| (WORKER_GROUP, entry)),
                booking: &booking,
            };
            let reply = self.engine.settle(&settlement).await.map(|timed| timed.reply);
            if let Ok(SettleReply::GenerationMismatch { generation: other }) = reply
                && other < generation
                && !is_reported
            {
                // Redis has fallen back: nothing can be settled there before it is repaired.
                let reported = self.archive.report_loss(id.event(), generation).await;
                is_reported = reported.is_ok();
            }
            told(reply.as_ref().map_or("unavailable", SettleReply::code));
            match reply {
                Ok(SettleReply::Settled { .. }) => return Settled::Done,
                Ok(SettleReply::EventNotLoaded) => {
                    let outcome = outcome.as_str();
                    info!(booking_id = %id, outcome, "redis lacks a judged sale's event");
                    return Settled::NotLoaded;
                }
                Ok(SettleReply::SettledOtherwise { booking: here }) => {
                    self.look_into(&booking, outcome, Some(here)).await;
                    return Settled::Done;
                }
                // Another generation, a seat that another confirmed sale holds in Redis (that one
                // may be cancelled, and Redis behind), or whoever carries this slept on it: what
                // does the archive say by now?
                Ok(
                    SettleReply::GenerationMismatch { .. }
                    | SettleReply::SeatsLost { .. }
                    | SettleReply::TooLate,
                ) => is_stale = true,
                Err(_) => {}
            }
            sleep(backoff.pause()).await;
        }
        warn_repeated!(booking_id = %id, outcome = outcome.as_str(), "a verdict is settled later");
        Settled::Later
    }

    /// Brings what the archive says of a booking by now into Redis, where it has decided.
    pub async fn follow(&self, id: BookingId) -> Settled {
        let Some(judged) = self.judged_anew(id).await else { return Settled::Later };
        self.settle(None, &judged, |_| {}).await
    }

    /// Gives the seats of a refused booking back to the bookings that the archive has sold them
    /// to, before the refusal frees what is left: Redis may have lost those sales, and must not
    /// offer their seats once more. Whether all of them have theirs.
    async fn settle_owners(&self, refused: &Booking) -> bool {
        let event = refused.id.event();
        let tell_until = self.tell_until(self.engine.keys().partition_of(event));
        // INVARIANT: before the owners' outcomes. Seats are sold twice after a loss, and a loss
        // raises the generation: the one that is remembered would be refused each time.
        let Ok(Some(generation)) = self.generations.reread(&self.archive, event).await else {
            return false;
        };
        let Ok(owners) = self.archive.sold_owners(refused).await else { return false };
        if tell_until.is_none() && !owners.is_empty() {
            return false;
        }
        // INVARIANT: before an owner is settled, which would take the only trace of the loss away.
        let Ok(is_lost) = self.lacks_any(event, &owners).await else { return false };
        if is_lost {
            let partition = self.engine.keys().partition_of(event);
            warn_repeated!(event_id = %event, booking_id = %refused.id, "redis has lost a sale: to be repaired");
            if self.archive.suspect_log(partition).await.is_err() {
                return false;
            }
        }
        for owner in owners {
            let settlement = Settlement {
                generation,
                outcome: Outcome::Sold.as_str(),
                valid_until: tell_until,
                acknowledge: None,
                booking: &owner.booking,
            };
            match self.engine.settle(&settlement).await.map(|timed| timed.reply) {
                Ok(SettleReply::Settled { .. } | SettleReply::EventNotLoaded) => {}
                // Another try would find the same, and the refusal frees none of its seats.
                Ok(SettleReply::SettledOtherwise { .. }) => {
                    let booking_id = owner.booking.id;
                    error!(%booking_id, "ALARM: redis shows a sold booking as voided or cancelled");
                }
                other => {
                    warn_repeated!(booking_id = %owner.booking.id, ?other, "an owner gets its seat later");
                    return false;
                }
            }
        }
        true
    }

    /// Whether Redis, which has sold a seat of theirs again, does not show these sold bookings as
    /// sold: it has lost them, and perhaps others.
    async fn lacks_any(
        &self,
        event: EventId,
        sold: &[ArchivedBooking],
    ) -> Result<bool, RedisError> {
        let ids: Vec<BookingId> = sold.iter().map(|one| one.booking.id).collect();
        let here = self.engine.bookings_by_id(event, &ids).await?;
        let is_sold = |id| match here.get(id).and_then(Option::as_ref) {
            Some(here) => matches!(here.status, Status::Committed | Status::Confirmed),
            None => false,
        };
        if ids.iter().all(is_sold) {
            return Ok(false);
        }
        // One that is being loaded, or is unloaded, lacks nothing.
        Ok(self.engine.snapshot(event, Detail::Counts).await?.is_some_and(|event| event.open))
    }

    /// The clock and the event's generation, then the booking and its outcome: in this order.
    async fn judged_anew(&self, id: BookingId) -> Option<Judged> {
        let partition = self.engine.keys().partition_of(id.event());
        if self.tell_until(partition).is_none() {
            // Asking sets the clock.
            self.engine.redis_time_ms(partition).await.ok()?;
        }
        let tell_until = self.tell_until(partition)?;
        let generation = self.generations.reread(&self.archive, id.event()).await.ok()?;
        let found = self.archive.booking(id).await.ok()??;
        let (booking, outcome) = (found.booking, found.outcome?);
        let verdict = Verdict { index: 0, booking, outcome, is_adopted: false };
        Some(Judged { verdict, tell_until: Some(tell_until), generation })
    }

    /// Redis shows another end than the one to settle. That is right if the archive has moved on
    /// meanwhile (the sale was cancelled while this worker slept); else it is an alarm.
    async fn look_into(&self, booking: &Booking, outcome: Outcome, standing: Option<Booking>) {
        let in_redis = standing.map(|standing| standing.status);
        let now = self.archive.booking(booking.id).await.ok().flatten();
        let archived = now.and_then(|found| found.outcome).unwrap_or(outcome);
        if in_redis == Some(archived.status()) {
            info!(booking_id = %booking.id, outcome = archived.as_str(), "a late verdict was overtaken");
            return;
        }
        error!(
            booking_id = %booking.id,
            outcome = archived.as_str(),
            ?in_redis,
            "ALARM: redis and the archive disagree about a sale"
        );
    }
}
