//! Brings one verdict of the archive back into Redis. Repeated, late or beside another process it
//! changes nothing that was settled.

use std::time::Duration;

use tokio::time::sleep;
use tracing::{error, info, warn};

use super::Carrier;
use crate::archive::{ArchiveError, Verdict};
use crate::backoff::Backoff;
use crate::domain::{Booking, LogId, Outcome};
use crate::redis::{Code, SettleCall, WORKER_GROUP};

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

impl Carrier {
    /// Settles a sale. Redis acknowledges the entry at `acknowledge` in the same step. Each answer
    /// of Redis is told by its word.
    pub async fn settle(
        &self,
        acknowledge: Option<LogId>,
        verdict: &Verdict,
        told: impl Fn(&'static str),
    ) -> Settled {
        let mut booking = verdict.booking.clone();
        let mut outcome = verdict.outcome;
        let id = booking.id;
        if outcome == Outcome::Refund && !self.settle_owners(&booking).await {
            return Settled::Later;
        }
        let mut backoff = Backoff::new(PAUSE_MIN, PAUSE_MAX);
        for _ in 0..TRIES_MAX {
            let Some(generation) = self.generations.known(id.event()) else {
                return Settled::Never(format!("event {} is not in the archive", id.event()));
            };
            let call = SettleCall {
                generation,
                outcome: outcome.word(),
                acknowledge: acknowledge.map(|entry| (WORKER_GROUP, entry)),
                booking: &booking,
            };
            let answer = self.engine.settle(&call).await;
            let code = answer.as_ref().map(|answer| answer.code);
            told(code.as_ref().map_or("unavailable", |code| code.word()));
            match code {
                Ok(Code::Ok) => return Settled::Done,
                Ok(Code::EventNotLoaded) => {
                    warn!(booking_id = %id, outcome = outcome.word(), "redis lacks a judged sale's event");
                    return Settled::NotLoaded;
                }
                Ok(Code::SettledOtherwise) => {
                    let standing = answer.ok().and_then(|answer| answer.into_booking().ok());
                    self.look_into(&booking, outcome, standing).await;
                    return Settled::Done;
                }
                // Another generation, or a seat that another confirmed sale holds in Redis (that
                // one may be cancelled, and Redis behind): what does the archive say by now?
                Ok(Code::GenerationMismatch | Code::SeatsLost) => {
                    match self.judged_anew(&booking).await {
                        Ok(Some((newer, standing))) => (booking, outcome) = (newer, standing),
                        Ok(None) => {}
                        Err(_) => return Settled::Later,
                    }
                }
                Ok(_) | Err(_) => {}
            }
            sleep(backoff.pause()).await;
        }
        warn!(booking_id = %id, outcome = outcome.word(), "a verdict is settled later");
        Settled::Later
    }

    /// Gives the seats of a refused booking back to the bookings that the archive has sold them
    /// to, before the refusal frees what is left: Redis may have lost those sales, and must not
    /// offer their seats once more. Whether all of them have theirs.
    async fn settle_owners(&self, refused: &Booking) -> bool {
        let Ok(owners) = self.archive.sold_owners(refused).await else { return false };
        for owner in owners {
            let Some(generation) = self.generations.known(refused.id.event()) else { return false };
            let call = SettleCall {
                generation,
                outcome: Outcome::Sold.word(),
                acknowledge: None,
                booking: &owner.booking,
            };
            match self.engine.settle(&call).await {
                Ok(answer) if matches!(answer.code, Code::Ok | Code::EventNotLoaded) => {}
                other => {
                    warn!(booking_id = %owner.booking.id, ?other, "an owner gets its seat later");
                    return false;
                }
            }
        }
        true
    }

    /// The event's generation, then the booking and its outcome: in this order.
    async fn judged_anew(
        &self,
        booking: &Booking,
    ) -> Result<Option<(Booking, Outcome)>, ArchiveError> {
        self.generations.reread(&self.archive, booking.id.event()).await?;
        let found = self.archive.booking(booking.id).await?;
        Ok(found.and_then(|found| Some((found.booking, found.outcome?))))
    }

    /// Redis shows another end than the one to settle. That is right if the archive has moved on
    /// meanwhile (the sale was cancelled while this worker slept); else it is an alarm.
    async fn look_into(&self, booking: &Booking, outcome: Outcome, standing: Option<Booking>) {
        let in_redis = standing.map(|standing| standing.status);
        let now = self.archive.booking(booking.id).await.ok().flatten();
        let archived = now.and_then(|found| found.outcome).unwrap_or(outcome);
        if in_redis == Some(archived.status()) {
            info!(booking_id = %booking.id, outcome = archived.word(), "a late verdict was overtaken");
            return;
        }
        error!(
            booking_id = %booking.id,
            outcome = archived.word(),
            ?in_redis,
            "ALARM: redis and the archive disagree about a sale"
        );
    }
}
