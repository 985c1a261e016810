//! Reconciling: what the archive, Redis and the provider say of one booking's money, and the next
//! safe step. Anybody may do it at any time, as often as they like.
//!
//! | outcome | intent | provider | Redis | step |
//! |---|---|---|---|---|
//! | `sold` | | | | close it |
//! | `refund`, `cancelled` | | paid | | give it back ([`super::refund`]), close it |
//! | none | none | | lapsed lease | write `idle` under a lease of ours, release |
//! | none | open, idle | paid | | commit it; its seats are gone: outcome `refund` |
//! | none | open, idle | processing | | wait |
//! | none | open | open | hold, live lease, or before the deadline | wait |
//! | none | idle | open | lapsed lease | fence it, release |
//! | none | open, idle | open | over | cancel the object for good, then release and close |

use super::reconciled::{Reconciled, wait, wait_until};
use super::refund::Retry;
use super::{LOOK_AGAIN_MS, PaymentService};
use crate::archive::ArchivedBooking;
use crate::domain::{Booking, BookingId, Intent, IntentState, Outcome, Status};
use crate::faults::FaultStep;
use crate::payments::State;
use crate::redis::{
    AbortMode, ConfirmAbortReply, ConfirmLateReply, ConfirmTakeoverReply, EventReply,
    GetBookingReply, RedisError, ScriptReply, Timed, new_nonce,
};
use crate::sale::{SaleError, unix_now_ms};

/// Calls of one script: the first, and again under the generation that Redis names.
const CALLS_MAX: u32 = 2;

/// A booking in Redis.
enum Standing {
    /// It is there, as of this time by Redis' clock.
    There(Box<Booking>, i64),
    /// It is not, and never will be again by itself.
    Gone,
    /// Its event is being loaded, or has to be restored.
    NotLoaded,
}

impl PaymentService {
    /// Looks at one booking's money and takes the next safe step.
    ///
    /// # Errors
    /// If Redis, MongoDB or the provider does not answer: look again later.
    pub async fn reconcile(&self, id: BookingId) -> Result<Reconciled, SaleError> {
        self.look_at(id, Retry::WhenDue).await
    }

    /// The same for a person: a refund that failed is tried again now, also after the last attempt
    /// that is made by itself.
    ///
    /// # Errors
    /// As for [`PaymentService::reconcile`].
    pub async fn reconcile_now(&self, id: BookingId) -> Result<Reconciled, SaleError> {
        self.look_at(id, Retry::Now).await
    }

    async fn look_at(&self, id: BookingId, retry: Retry) -> Result<Reconciled, SaleError> {
        // INVARIANT: the intent before the outcome. A cancellation sets the outcome first and then
        // changes the intent's `rev`, so a closing that goes by an older outcome fails.
        let intent = self.archive.intent(id).await?;
        let archived = self.archive.booking(id).await?;
        let reconciled = self.step(id, intent.as_ref(), archived.as_ref(), retry).await;
        let until_ms = match &reconciled {
            Ok(Reconciled::Waiting(wait)) => wait.until_ms,
            Ok(Reconciled::Refunding { until_ms }) => Some(*until_ms),
            // The archive's turn, or an error that may last: looked at again behind the others.
            Ok(Reconciled::Committed) | Err(_) => None,
            Ok(_) => return reconciled,
        };
        if let Some(intent) = &intent {
            self.look_again(intent, until_ms).await;
        }
        reconciled
    }

    async fn step(
        &self,
        id: BookingId,
        intent: Option<&Intent>,
        archived: Option<&ArchivedBooking>,
        retry: Retry,
    ) -> Result<Reconciled, SaleError> {
        match (archived, archived.and_then(|archived| archived.outcome)) {
            (Some(archived), Some(outcome)) => {
                let follows = self.carrier.follow(id).await;
                match (outcome, intent) {
                    (Outcome::Sold, Some(intent)) => self.close(intent, IntentState::Sold, 0).await,
                    (Outcome::Sold, None) => Ok(Reconciled::Nothing),
                    _ => self.give_back(archived, intent, &follows, retry).await,
                }
            }
            _ => match intent {
                None => self.abandon(id).await,
                Some(intent) if intent.state.may_move() => self.resolve(intent, archived).await,
                Some(intent) if intent.state == IntentState::Cancelled => {
                    self.cancelled(intent).await
                }
                Some(intent) => {
                    let state = intent.state.as_str();
                    tracing::error!(booking_id = %id, state, "ALARM: a closed intent without outcome");
                    Ok(wait("its intent is closed, and it has no outcome"))
                }
            },
        }
    }

    /// Nobody knows of a payment: whoever began before us must not write one any more.
    async fn abandon(&self, id: BookingId) -> Result<Reconciled, SaleError> {
        let Some(leased) = self.take_over(id).await? else { return Ok(Reconciled::Nothing) };
        // Looked at again when the booking is over.
        let due_ms = leased.deadline_ms.max(unix_now_ms()) + LOOK_AGAIN_MS;
        let abandoned = Intent::first(&leased, "", IntentState::Idle, due_ms);
        if !self.archive.insert_intent(&abandoned).await? {
            return Ok(wait("its intent was written just now"));
        }
        self.counted("abandoned");
        self.give_up_lease(&leased).await
    }

    async fn resolve(
        &self,
        intent: &Intent,
        archived: Option<&ArchivedBooking>,
    ) -> Result<Reconciled, SaleError> {
        match self.money(intent).await? {
            Some(State::Paid) => self.commit_paid(intent, archived).await,
            Some(State::Processing) => Ok(wait("its payment is under way")),
            Some(State::Cancelled) => self.cancelled(intent).await,
            Some(State::Open) => self.unpaid(intent, archived).await,
            None => Ok(wait("the provider's facts are not ours")),
        }
    }

    /// How the payment object stands; `None` where the provider's facts cannot be ours.
    async fn money(&self, intent: &Intent) -> Result<Option<State>, SaleError> {
        if intent.payment.is_empty() {
            return Ok(Some(State::Open));
        }
        // One that the provider does not know was surely not paid; cancelling it tells the rest.
        let Some(payment) = self.provider.get(&intent.payment).await? else {
            return Ok(Some(State::Open));
        };
        let is_ours = payment.amount == intent.amount
            && payment.currency == intent.currency
            && payment.booking.is_none_or(|booking| booking == intent.booking);
        if payment.state == State::Paid && !is_ours {
            let (booking_id, ours, theirs) = (intent.booking, intent.amount, payment.amount);
            tracing::error!(%booking_id, ours, theirs, "ALARM: a payment of another amount");
            return Ok(None);
        }
        Ok(Some(payment.state))
    }

    async fn unpaid(
        &self,
        intent: &Intent,
        archived: Option<&ArchivedBooking>,
    ) -> Result<Reconciled, SaleError> {
        let (booking, now_ms) = match self.standing(intent.booking).await? {
            Standing::There(booking, now_ms) => (booking, now_ms),
            Standing::Gone => return self.cancel_for_good(intent, archived).await,
            Standing::NotLoaded => return Ok(wait("its event is not loaded")),
        };
        match booking.status {
            Status::Hold => Ok(wait_until("it is held", booking.deadline_ms)),
            Status::Confirming if booking.lease_until_ms > now_ms => {
                Ok(wait_until("a confirmation is under way", booking.lease_until_ms))
            }
            Status::Confirming if intent.state == IntentState::Idle => self.release(intent).await,
            // Its buyer may come again: the object can still be paid.
            Status::Confirming if booking.deadline_ms > now_ms => {
                Ok(wait_until("its buyer may pay until the deadline", booking.deadline_ms))
            }
            Status::Confirming => match self.take_over(intent.booking).await? {
                Some(_) => {
                    self.faults.reached(FaultStep::Takeover);
                    self.cancel_for_good(intent, archived).await
                }
                None => Ok(wait("a confirmation is under way")),
            },
            Status::Committed | Status::Confirmed => {
                let booking_id = intent.booking;
                tracing::error!(%booking_id, "ALARM: sold, and the provider says it is not paid");
                Ok(wait("sold, and not paid"))
            }
            Status::Expired | Status::Cancelled | Status::Voided => {
                self.cancel_for_good(intent, archived).await
            }
        }
    }

    /// A declined or abandoned attempt whose lease lapsed: back to HOLD, once no older lease can
    /// open the intent any more.
    async fn release(&self, intent: &Intent) -> Result<Reconciled, SaleError> {
        let Some(leased) = self.take_over(intent.booking).await? else {
            return Ok(wait("a confirmation is under way"));
        };
        self.faults.reached(FaultStep::Takeover);
        let fenced = intent.fenced(leased.lease, &leased.nonce);
        if !self.archive.change_intent(&fenced).await? {
            return Ok(wait("it was changed meanwhile"));
        }
        self.give_up_lease(&leased).await
    }

    async fn cancel_for_good(
        &self,
        intent: &Intent,
        archived: Option<&ArchivedBooking>,
    ) -> Result<Reconciled, SaleError> {
        if intent.payment.is_empty() {
            return self.cancelled(intent).await;
        }
        match self.provider.cancel(&intent.payment).await? {
            State::Cancelled => {
                self.faults.reached(FaultStep::FinalCancel);
                self.counted("cancelled");
                self.cancelled(intent).await
            }
            State::Paid => self.commit_paid(intent, archived).await,
            State::Open | State::Processing => Ok(wait("its payment is under way")),
        }
    }

    /// The object is cancelled for good: so is the intent, and the booking is let go.
    async fn cancelled(&self, intent: &Intent) -> Result<Reconciled, SaleError> {
        let released = self.let_go(intent).await?;
        if !released.is_final() {
            return Ok(released);
        }
        self.close(intent, IntentState::Cancelled, 0).await
    }

    /// Releases a booking that nobody can pay any more, if it still is under a lease.
    async fn let_go(&self, intent: &Intent) -> Result<Reconciled, SaleError> {
        let (booking, now_ms) = match self.standing(intent.booking).await? {
            Standing::There(booking, now_ms) => (booking, now_ms),
            Standing::Gone => return Ok(Reconciled::Released),
            Standing::NotLoaded => return Ok(wait("its event is not loaded")),
        };
        if booking.status != Status::Confirming {
            return Ok(Reconciled::Released);
        }
        if booking.lease_until_ms <= now_ms {
            return match self.take_over(booking.id).await? {
                Some(leased) => self.give_up_lease(&leased).await,
                None => Ok(wait("a confirmation is under way")),
            };
        }
        // Whoever has the lease, perhaps we, can have nothing charged with it.
        self.give_up_lease(&booking).await
    }

    async fn give_up_lease(&self, leased: &Booking) -> Result<Reconciled, SaleError> {
        let (id, mode) = (leased.id, &AbortMode::Lease(leased.lease));
        let abort = |generation| self.engine.confirm_abort(generation, id, mode);
        let is_over = matches!(
            self.call(id, abort).await?,
            ConfirmAbortReply::Ended { .. }
                | ConfirmAbortReply::Nothing { .. }
                | ConfirmAbortReply::BookingUnknown
        );
        Ok(if is_over { Reconciled::Released } else { wait("it could not be released") })
    }

    /// Sells a paid booking, whatever became of it; what cannot be sold is refused. What its owner
    /// gave up stays given up, also where Redis has forgotten it, or was rebuilt without it.
    async fn commit_paid(
        &self,
        intent: &Intent,
        archived: Option<&ArchivedBooking>,
    ) -> Result<Reconciled, SaleError> {
        let id = intent.booking;
        let booking = match archived {
            Some(archived) => archived.booking.clone(),
            None => intent.as_booking(Status::Expired, 0),
        };
        if matches!(booking.status, Status::Cancelled | Status::Voided) {
            // Redis decides where it has the booking: a loss may have undone what the archive has.
            // One that lives there is not forgotten before the call.
            match self.standing(id).await? {
                Standing::There(here, _) if here.status.is_live() => {}
                Standing::NotLoaded => return Ok(wait("its event is not loaded")),
                Standing::There(..) | Standing::Gone => return self.refuse(intent, &booking).await,
            }
        }
        let (paid, payment) = (&booking, intent.payment.as_str());
        let commit = |generation| self.engine.confirm_late(generation, paid, payment);
        let reply = self.call(id, commit).await?;
        match reply {
            ConfirmLateReply::Committed { .. } => {
                self.faults.reached(FaultStep::Commit);
                self.counted("committed_late");
                tracing::info!(booking_id = %id, "a paid booking is sold");
                Ok(Reconciled::Committed)
            }
            ConfirmLateReply::SeatsLost { .. }
            | ConfirmLateReply::BookingCancelled { .. }
            | ConfirmLateReply::SaleVoided { .. } => {
                let code = reply.code();
                tracing::warn!(booking_id = %id, code, "a paid booking cannot have its seats");
                self.refuse(intent, &booking).await
            }
            ConfirmLateReply::EventNotLoaded if self.is_unloaded(id).await? => {
                self.refuse(intent, &booking).await
            }
            ConfirmLateReply::EventNotLoaded => Ok(wait("its event is not loaded")),
            ConfirmLateReply::TooLate | ConfirmLateReply::GenerationMismatch { .. } => {
                Ok(wait("it could not be committed"))
            }
        }
    }

    /// Puts a lapsed confirmation under a lease of ours; `None` where there is none.
    async fn take_over(&self, id: BookingId) -> Result<Option<Booking>, SaleError> {
        let (nonce, lease_ms) = (&new_nonce(), self.lease_ms);
        let take_over = |generation| self.engine.confirm_takeover(generation, id, nonce, lease_ms);
        Ok(match self.call(id, take_over).await? {
            ConfirmTakeoverReply::Leased { booking } => Some(booking),
            _ => None,
        })
    }

    async fn standing(&self, id: BookingId) -> Result<Standing, SaleError> {
        let Timed { reply, now_ms } = self.engine.get_booking(id).await?;
        Ok(match reply {
            GetBookingReply::Found { booking } => Standing::There(booking, now_ms),
            GetBookingReply::BookingUnknown => Standing::Gone,
            _ if self.is_unloaded(id).await? => Standing::Gone,
            _ => Standing::NotLoaded,
        })
    }

    /// Runs a script under the event's generation: MongoDB's, which is read first, or the one that
    /// Redis reports if that is newer. Where Redis' is older, it has lost what we know.
    async fn call<R: EventReply, F: Future<Output = Result<Timed<R>, RedisError>>>(
        &self,
        id: BookingId,
        script: impl Fn(u64) -> F,
    ) -> Result<R, SaleError> {
        let head = self.archive.event_head(id.event()).await?;
        let mut generation = head.ok_or(SaleError::EventUnknown(id.event()))?.generation;
        let mut reply = script(generation).await?.reply;
        for _ in 1..CALLS_MAX {
            match reply.other_generation() {
                Some(newer) if newer > generation => generation = newer,
                _ => break,
            }
            reply = script(generation).await?.reply;
        }
        if reply.other_generation().is_some_and(|older| older < generation) {
            self.archive.report_loss(id.event(), generation).await?;
        }
        Ok(reply)
    }
}
