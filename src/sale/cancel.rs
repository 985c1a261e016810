//! Cancels a booking: a hold, or a sale within the event's policy.

use std::sync::Arc;

use super::bookings::{archived_view, booking_view, replayed_view};
use super::catalogue::Catalogue;
use super::confirm::{refusal, too_late};
use super::hold::newer_event;
use super::losses::outcome_in_archive;
use super::{BookingView, Sale, SaleError, unix_now_ms};
use crate::archive::Archive;
use crate::domain::{BookingId, Event, Outcome, Status, UserId};
use crate::faults::{FaultStep, Faults};
use crate::redis::{CancelReply, Engine, SettleReply, Settlement, Timed};
use crate::telemetry::trace;
use crate::telemetry::warn_repeated;

/// Calls of one request: the first, and one after the event was refreshed.
const TRIES_MAX: u32 = 2;

/// Whether an event's cancellation policy applies to a sale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelPolicy {
    /// A sale is cancelled only while the policy allows it.
    Applied,
    /// An operator cancels it whatever the policy says.
    Waived,
}

/// Cancels bookings. Needs no background task, so that `holdfastctl` can use it outside an API process.
pub struct Cancellations {
    engine: Engine,
    archive: Archive,
    catalogue: Catalogue,
    faults: Arc<Faults>,
    policy: CancelPolicy,
    /// Called with an event of which Redis has an earlier generation.
    report_behind: Box<dyn Fn(&Event) + Send + Sync>,
}

impl Sale {
    /// Cancels a booking: a hold at once, a sold one once the archive has decided so. Repeating it is
    /// harmless.
    pub async fn cancel(&self, user: &UserId, id: BookingId) -> Result<BookingView, SaleError> {
        let (sale, user) = (self.clone(), user.clone());
        let cancellations = Cancellations {
            engine: self.inner.engine.clone(),
            archive: self.inner.archive.clone(),
            catalogue: self.inner.catalogue.clone(),
            faults: self.inner.faults.clone(),
            policy: CancelPolicy::Applied,
            report_behind: Box::new(move |event| sale.report_behind(event)),
        };
        // Its own task: a client that hangs up does not stop it between archive and Redis.
        let task = trace::spawn(async move { cancellations.cancel(&user, id).await });
        task.await.unwrap_or_else(|error| Err(SaleError::Internal(error.to_string())))
    }
}

impl Cancellations {
    /// Cancels for an operator's tool. Workers find by themselves what Redis has lost.
    pub fn new(
        engine: Engine,
        archive: Archive,
        faults: Arc<Faults>,
        policy: CancelPolicy,
    ) -> Self {
        let catalogue = Catalogue::new(archive.clone());
        let report_behind = Box::new(|_: &Event| ());
        Cancellations { engine, archive, catalogue, faults, policy, report_behind }
    }

    /// Cancels a booking of this user: a hold at once, a sold one once the archive has decided so.
    /// Repeating it is harmless, also after a crash at any point: the worker finishes what was begun.
    ///
    /// # Errors
    /// Why it is not cancelled; [`SaleError::Unavailable`] says whether it may be nevertheless.
    pub async fn cancel(&self, user: &UserId, id: BookingId) -> Result<BookingView, SaleError> {
        let mut event = self.event_of(id).await?;
        for _ in 0..TRIES_MAX {
            let Timed { reply, now_ms } = self.engine.cancel(&event, id, user).await?;
            match reply {
                // The hold is released; but if Redis has fallen back, it may be a sale.
                CancelReply::Cancelled { .. }
                | CancelReply::Replayed { .. }
                | CancelReply::BookingExpired { .. } => {
                    let decided = outcome_in_archive(&self.archive, id).await;
                    let is_sale = decided.is_some_and(|one| one.outcome == Some(Outcome::Sold));
                    return match reply {
                        _ if is_sale => self.cancel_sold(event, id, now_ms).await,
                        CancelReply::Cancelled { booking } => {
                            Ok(booking_view(booking, event, now_ms))
                        }
                        CancelReply::Replayed { booking } => {
                            Ok(replayed_view(booking, event, now_ms))
                        }
                        _ => Err(SaleError::BookingExpired(id)),
                    };
                }
                CancelReply::GenerationMismatch { .. } => event = self.newer_event(&event).await?,
                CancelReply::IsConfirmed { .. } => {
                    return self.cancel_sold(event, id, now_ms).await;
                }
                CancelReply::BookingUnknown | CancelReply::EventNotLoaded => {
                    let view = self.archived_booking(user, id).await?;
                    return match view.booking.status {
                        Status::Confirmed => self.cancel_sold(event, id, view.now_ms).await,
                        Status::Cancelled => Ok(BookingView { replayed: true, ..view }),
                        Status::Expired => Err(SaleError::BookingExpired(id)),
                        Status::Voided => Err(SaleError::SaleVoided(id)),
                        _ => Err(SaleError::EventNotLoaded(event.id)),
                    };
                }
                CancelReply::InFlight { booking }
                | CancelReply::IsCommitted { booking }
                | CancelReply::SaleVoided { booking } => return Err(refusal(&booking)),
                CancelReply::TooLate => return Err(too_late()),
            }
        }
        Err(SaleError::EventNotLoaded(event.id))
    }

    async fn event_of(&self, booking: BookingId) -> Result<Arc<Event>, SaleError> {
        let event = self.catalogue.get(booking.event()).await?;
        event.ok_or(SaleError::BookingUnknown(booking))
    }

    async fn newer_event(&self, event: &Arc<Event>) -> Result<Arc<Event>, SaleError> {
        newer_event(&self.catalogue, event, &self.report_behind).await
    }

    async fn archived_booking(
        &self,
        user: &UserId,
        id: BookingId,
    ) -> Result<BookingView, SaleError> {
        let archived = self.archive.booking(id).await?;
        let own = archived.filter(|archived| archived.booking.user == *user);
        let own = own.ok_or(SaleError::BookingUnknown(id))?;
        Ok(archived_view(own, self.event_of(id).await?, unix_now_ms()))
    }

    /// Refuses to cancel a sale at `now_ms` (Redis' time, or this process' where Redis does not have
    /// the booking) if the event's policy forbids it. A sale cancelled in time stays cancelled, even
    /// if Redis does not show it yet.
    async fn check_cancellable(&self, id: BookingId, now_ms: i64) -> Result<(), SaleError> {
        let archive = &self.archive;
        let head = archive.event_head(id.event()).await?.ok_or(SaleError::BookingUnknown(id))?;
        let policy = head.cancel_policy();
        if self.policy == CancelPolicy::Waived || policy.allows(now_ms) {
            return Ok(());
        }
        let archived = archive.booking(id).await?;
        match archived.and_then(|archived| archived.outcome) {
            Some(Outcome::Cancelled) => Ok(()),
            _ => Err(SaleError::CancellationClosed { booking: id, policy }),
        }
    }

    /// Cancels a sale: in the archive by compare-and-set, then in Redis. INVARIANT: its seats become
    /// free only after the archive's outcome is `cancelled`.
    async fn cancel_sold(
        &self,
        event: Arc<Event>,
        id: BookingId,
        now_ms: i64,
    ) -> Result<BookingView, SaleError> {
        self.check_cancellable(id, now_ms).await.map_err(SaleError::without_effect)?;
        let archive = &self.archive;
        match archive.cancel_sold(id, unix_now_ms()).await? {
            Some(Outcome::Cancelled) => self.faults.reached(FaultStep::Cancel),
            Some(Outcome::Refund) => return Err(SaleError::SaleVoided(id)),
            _ => return Err(SaleError::BookingConfirming(id)),
        }
        // It is decided: a breaker that opens now must not make it look refused.
        let archive = archive.patiently();
        // INVARIANT: before `cancel_settled`, which removes the mark that makes the worker finish the
        // cancellation if this process dies here.
        archive.intent_due(id, unix_now_ms()).await?;
        let archived = archive.booking(id).await?.ok_or(SaleError::BookingUnknown(id))?;
        let settlement = Settlement {
            generation: event.generation,
            outcome: Outcome::Cancelled.as_str(),
            valid_until: None,
            acknowledge: None,
            booking: &archived.booking,
        };
        // From here on it is cancelled. If Redis does not answer, the worker settles it.
        match self.engine.settle(&settlement).await {
            Ok(Timed { reply: SettleReply::Settled { booking }, now_ms }) => {
                if let Err(error) = archive.cancel_settled(id).await {
                    warn_repeated!(booking_id = %id, %error, "a settled cancellation is not recorded, so it is settled again");
                }
                Ok(booking_view(booking, event, now_ms))
            }
            other => {
                warn_repeated!(booking_id = %id, ?other, "a cancellation is settled in redis later");
                Ok(archived_view(archived, event, unix_now_ms()))
            }
        }
    }
}
