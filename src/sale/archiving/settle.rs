//! Settles one decided sale in Redis. Repeated, late or concurrent settling changes nothing that is
//! already settled.

use std::time::Duration;

use tokio::time::sleep;
use tracing::{error, info};

use super::{Archiver, UnsettledSale};
use crate::archive::{ArchivedBooking, DecidedSale};
use crate::backoff::Backoff;
use crate::domain::{Booking, BookingId, EventId, LogId, Outcome, Status};
use crate::redis::{Detail, RedisError, ScriptReply, SettleReply, Settlement, WORKER_GROUP};
use crate::telemetry::warn_repeated;

/// Attempts of one settlement; with the pauses between them a few seconds.
const ATTEMPTS_MAX: u32 = 8;
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// The result of a settlement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettleResult {
    /// Redis has the outcome; the entry is acknowledged, if requested.
    Done,
    /// Redis does not have the event. If the event is lost, it is restored from the archive with this
    /// outcome, and the entry is acknowledged. If a restore is in progress, it may have read the
    /// archive before this outcome: the entry stays pending and is settled again.
    NotLoaded,
    /// It failed for now and must be retried.
    Retry,
    /// It can never succeed; the reason.
    Impossible(String),
}

impl Archiver {
    /// Settles a sale. Redis acknowledges the entry at `acknowledge` in the same step. `count` is
    /// called with the code of each reply of Redis.
    pub async fn settle(
        &self,
        acknowledge: Option<LogId>,
        settlement: &UnsettledSale,
        count: impl Fn(&'static str),
    ) -> SettleResult {
        let mut booking = settlement.sale.booking.clone();
        let mut outcome = settlement.sale.outcome;
        let (mut valid_until, mut generation) = (settlement.valid_until, settlement.generation);
        let id = booking.id;
        if outcome == Outcome::Refund && !self.settle_owners(&booking).await {
            // The event may have been restored since its generation was read. A second attempt spares
            // the buyer the wait until the entry is delivered again.
            let reread = self.generations.reread(&self.archive, id.event()).await;
            if reread.is_err() || !self.settle_owners(&booking).await {
                return SettleResult::Retry;
            }
        }
        // The archive has newer data than the entry if the sale was cancelled since, or if
        // another sale of this booking, paid at another time, was the one decided.
        let mut is_stale =
            valid_until.is_none() || outcome == Outcome::Cancelled || settlement.sale.is_adopted;
        let mut backoff = Backoff::new(PAUSE_MIN, PAUSE_MAX);
        let mut is_reported = false;
        for _ in 0..ATTEMPTS_MAX {
            if is_stale {
                let Some(newer) = self.read_settlement(id).await else {
                    return SettleResult::Retry;
                };
                (booking, outcome) = (newer.sale.booking, newer.sale.outcome);
                (valid_until, generation) = (newer.valid_until, newer.generation);
                is_stale = false;
            }
            let Some(generation) = generation else {
                let reason = format!("event {} is not in the archive", id.event());
                return SettleResult::Impossible(reason);
            };
            let settlement = Settlement {
                generation,
                outcome: outcome.as_str(),
                valid_until,
                acknowledge: acknowledge.map(|entry| (WORKER_GROUP, entry)),
                booking: &booking,
            };
            let reply = self.engine.settle(&settlement).await.map(|timed| timed.reply);
            if let Ok(SettleReply::GenerationMismatch { generation: other }) = reply
                && other < generation
                && !is_reported
            {
                // Redis has fallen back to a past state: nothing can be settled before the repair.
                let reported = self.archive.report_loss(id.event(), generation).await;
                is_reported = reported.is_ok();
            }
            count(reply.as_ref().map_or("unavailable", SettleReply::code));
            match reply {
                Ok(SettleReply::Settled { .. }) => return SettleResult::Done,
                Ok(SettleReply::EventNotLoaded) => {
                    let outcome = outcome.as_str();
                    info!(booking_id = %id, outcome, "redis lacks the event of a decided sale");
                    return SettleResult::NotLoaded;
                }
                Ok(SettleReply::SettledOtherwise { booking: in_redis }) => {
                    self.check_difference(&booking, outcome, Some(in_redis)).await;
                    return SettleResult::Done;
                }
                // Another generation, a seat of another confirmed sale in Redis (which may be
                // cancelled in the archive), or the outcome expired: read the archive again.
                Ok(
                    SettleReply::GenerationMismatch { .. }
                    | SettleReply::SeatsLost { .. }
                    | SettleReply::TooLate,
                ) => is_stale = true,
                Err(_) => {}
            }
            sleep(backoff.pause()).await;
        }
        warn_repeated!(booking_id = %id, outcome = outcome.as_str(), "settling an outcome failed; it is retried");
        SettleResult::Retry
    }

    /// Settles the current outcome of a booking in the archive, if it is decided.
    pub async fn settle_current(&self, id: BookingId) -> SettleResult {
        let Some(settlement) = self.read_settlement(id).await else { return SettleResult::Retry };
        self.settle(None, &settlement, |_| {}).await
    }

    /// Settles the sold owners of a refunded booking's seats before the refund frees the remaining
    /// seats: Redis may have lost those sales and must not offer their seats again. Returns whether
    /// all of them are settled.
    async fn settle_owners(&self, refused: &Booking) -> bool {
        let event = refused.id.event();
        let valid_until = self.outcome_valid_until(self.engine.keys().partition_of(event));
        // INVARIANT: read before the owners' outcomes, and not from the cache. Seats are sold twice
        // after a loss, and a loss raises the generation: a cached one would always be refused.
        let Ok(Some(generation)) = self.generations.reread(&self.archive, event).await else {
            return false;
        };
        let Ok(owners) = self.archive.sold_owners(refused).await else { return false };
        if valid_until.is_none() && !owners.is_empty() {
            return false;
        }
        // INVARIANT: before an owner is settled, which removes the only evidence of the loss.
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
                valid_until,
                acknowledge: None,
                booking: &owner.booking,
            };
            match self.engine.settle(&settlement).await.map(|timed| timed.reply) {
                Ok(SettleReply::Settled { .. } | SettleReply::EventNotLoaded) => {}
                // A retry would find the same, and the refund frees none of the owner's seats.
                Ok(SettleReply::SettledOtherwise { .. }) => {
                    let booking_id = owner.booking.id;
                    error!(%booking_id, "ALARM: redis shows a sold booking as voided or cancelled");
                }
                other => {
                    warn_repeated!(booking_id = %owner.booking.id, ?other, "settling the owner of a seat failed; it is retried");
                    return false;
                }
            }
        }
        true
    }

    /// Whether Redis does not show some of these sold bookings as sold, though it sold their seats
    /// again: it has lost them, and perhaps others.
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
        // An event that is being loaded or is unloaded has lost nothing.
        Ok(self.engine.snapshot(event, Detail::Counts).await?.is_some_and(|event| event.open))
    }

    /// Reads the clock and the event's generation, then the booking and its outcome, in this order.
    async fn read_settlement(&self, id: BookingId) -> Option<UnsettledSale> {
        let partition = self.engine.keys().partition_of(id.event());
        if self.outcome_valid_until(partition).is_none() {
            // This call also sets the clock.
            self.engine.redis_time_ms(partition).await.ok()?;
        }
        let valid_until = self.outcome_valid_until(partition)?;
        let generation = self.generations.reread(&self.archive, id.event()).await.ok()?;
        let found = self.archive.booking(id).await.ok()??;
        let (booking, outcome) = (found.booking, found.outcome?);
        let sale = DecidedSale { index: 0, booking, outcome, is_adopted: false };
        Some(UnsettledSale { sale, valid_until: Some(valid_until), generation })
    }

    /// Handles a booking that Redis has settled with another outcome. This is correct if the archive
    /// has the same outcome by now (the sale was cancelled meanwhile); otherwise it raises an alarm.
    async fn check_difference(
        &self,
        booking: &Booking,
        outcome: Outcome,
        in_redis: Option<Booking>,
    ) {
        let in_redis = in_redis.map(|found| found.status);
        let now = self.archive.booking(booking.id).await.ok().flatten();
        let archived = now.and_then(|found| found.outcome).unwrap_or(outcome);
        if in_redis == Some(archived.status()) {
            info!(booking_id = %booking.id, outcome = archived.as_str(), "redis already has a newer outcome");
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
