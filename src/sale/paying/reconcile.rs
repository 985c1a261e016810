//! Reconciles one booking's payment: compares the archive, Redis and the provider and takes the
//! next safe step. Any process may do so at any time, repeatedly.
//!
//! | outcome | intent | provider | Redis | step |
//! |---|---|---|---|---|
//! | `sold` | | | | close it; if a refund may have been made outside, record it ([`super::outside`]) |
//! | `refund`, `cancelled` | | paid | | refund it ([`super::refund`]), close it |
//! | none | none | | lapsed lease | write `idle` under our lease, release |
//! | none | open, idle | paid | | commit it; if its seats are taken: outcome `refund` |
//! | none | open, idle | processing | | wait |
//! | none | open | open | hold, live lease, or before the deadline | wait |
//! | none | idle | open | lapsed lease | fence it, release |
//! | none | open, idle | open | over | cancel the object for good, then release and close |

use super::reconciled::{ReconcileResult, wait, wait_until};
use super::refund::Retry;
use super::{PaymentService, RETRY_DELAY_MS};
use crate::archive::ArchivedBooking;
use crate::domain::{Booking, BookingId, Intent, IntentState, Outcome, Status};
use crate::faults::FaultStep;
use crate::payments::PaymentState;
use crate::redis::{
    AbortMode, ConfirmAbortReply, ConfirmLateReply, ConfirmTakeoverReply, EventReply,
    GetBookingReply, RedisError, ScriptReply, Timed, new_nonce,
};
use crate::sale::{SaleError, unix_now_ms};
use crate::telemetry::spans::{Span, SpanKind};
use crate::telemetry::{TraceContext, trace};

/// Calls of one script: the first, and one under the generation that Redis names.
const CALLS_MAX: u32 = 2;

/// The trace of the request that caused the refund, or else of the one that made the booking.
fn trace_of(intent: &Intent) -> Option<TraceContext> {
    let of_refund = TraceContext::from_traceparent(&intent.refund_trace);
    of_refund.or_else(|| TraceContext::from_traceparent(&intent.trace))
}

/// A booking's presence in Redis.
enum RedisBooking {
    /// Present, as of this time by Redis' clock.
    Found(Box<Booking>, i64),
    /// Absent for good.
    Gone,
    /// Its event is being loaded or restored.
    NotLoaded,
}

impl PaymentService {
    /// Reconciles one booking's payment and takes the next safe step.
    ///
    /// # Errors
    /// If Redis, MongoDB or the provider does not answer: retry later.
    pub async fn reconcile(&self, id: BookingId) -> Result<ReconcileResult, SaleError> {
        self.reconcile_with(id, Retry::WhenDue).await
    }

    /// Like [`PaymentService::reconcile`], for a person: a failed refund is retried now, also after
    /// the last automatic attempt.
    ///
    /// # Errors
    /// As for [`PaymentService::reconcile`].
    pub async fn reconcile_now(&self, id: BookingId) -> Result<ReconcileResult, SaleError> {
        self.reconcile_with(id, Retry::Now).await
    }

    pub(super) async fn reconcile_with(
        &self,
        id: BookingId,
        retry: Retry,
    ) -> Result<ReconcileResult, SaleError> {
        // INVARIANT: the intent before the outcome. A cancellation sets the outcome first and then
        // changes the intent's `rev`, so closing by an older outcome fails.
        let intent = self.archive.intent(id).await?;
        // A worker, or the operator's tool, does this for the request that caused the refund or made the
        // booking; a request does it for itself.
        let request = match TraceContext::current() {
            Some(_) => None,
            None => intent.as_ref().and_then(trace_of),
        };
        let mut span = Span::none();
        if let Some(request) = request {
            span = Span::within(request, "reconcile", SpanKind::Internal);
            span.set_text("holdfast.booking.id", &id);
        }
        let reconcile = self.reconcile_known(id, intent, retry);
        trace::scope_if(span.context().or(request), reconcile).await
    }

    async fn reconcile_known(
        &self,
        id: BookingId,
        intent: Option<Intent>,
        retry: Retry,
    ) -> Result<ReconcileResult, SaleError> {
        let archived = self.archive.booking(id).await?;
        let reconciled = self.step(id, intent.as_ref(), archived.as_ref(), retry).await;
        let until_ms = match &reconciled {
            Ok(ReconcileResult::Waiting(wait)) => wait.until_ms,
            Ok(ReconcileResult::Refunding { until_ms }) => Some(*until_ms),
            // The archive decides next, or an error that may last: retried after the others.
            Ok(ReconcileResult::Committed) | Err(_) => None,
            Ok(_) => return reconciled,
        };
        if let Some(intent) = &intent {
            self.schedule_retry(intent, until_ms).await;
        }
        reconciled
    }

    async fn step(
        &self,
        id: BookingId,
        intent: Option<&Intent>,
        archived: Option<&ArchivedBooking>,
        retry: Retry,
    ) -> Result<ReconcileResult, SaleError> {
        match (archived, archived.and_then(|archived| archived.outcome)) {
            (Some(archived), Some(outcome)) => {
                let follows = self.archiver.settle_current(id).await;
                match (outcome, intent) {
                    (Outcome::Sold, Some(intent)) => self.close_sold(intent, retry).await,
                    (Outcome::Sold, None) => self.recreate_sold(archived, retry).await,
                    _ => self.refund(archived, intent, &follows, retry).await,
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

    /// No payment is known: excludes earlier confirmations from writing an intent, and releases.
    async fn abandon(&self, id: BookingId) -> Result<ReconcileResult, SaleError> {
        let Some(leased) = self.take_over(id).await? else { return Ok(ReconcileResult::Nothing) };
        // Reconciled again when the booking is over.
        let due_ms = leased.deadline_ms.max(unix_now_ms()) + RETRY_DELAY_MS;
        let abandoned = Intent::first(&leased, "", IntentState::Idle, due_ms);
        if !self.archive.insert_intent(&abandoned).await? {
            return Ok(wait("its intent was just written"));
        }
        self.counted("abandoned");
        self.give_up_lease(&leased).await
    }

    async fn resolve(
        &self,
        intent: &Intent,
        archived: Option<&ArchivedBooking>,
    ) -> Result<ReconcileResult, SaleError> {
        match self.payment_state(intent).await? {
            Some(PaymentState::Paid) => self.commit_paid(intent, archived).await,
            Some(PaymentState::Processing) => Ok(wait("its payment is in progress")),
            Some(PaymentState::Cancelled) => self.cancelled(intent).await,
            Some(PaymentState::Open) => self.unpaid(intent, archived).await,
            None => Ok(wait("the provider's payment does not match")),
        }
    }

    /// The state of the payment object; `None` if it does not match the intent.
    async fn payment_state(&self, intent: &Intent) -> Result<Option<PaymentState>, SaleError> {
        if intent.payment.is_empty() {
            return Ok(Some(PaymentState::Open));
        }
        // An object unknown to the provider was not paid; cancelling it settles the rest.
        let Some(payment) = self.provider.get(&intent.payment).await? else {
            return Ok(Some(PaymentState::Open));
        };
        let is_ours = payment.amount == intent.amount
            && payment.currency == intent.currency
            && payment.booking.is_none_or(|booking| booking == intent.booking);
        if payment.state == PaymentState::Paid && !is_ours {
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
    ) -> Result<ReconcileResult, SaleError> {
        let (booking, now_ms) = match self.redis_booking(intent.booking).await? {
            RedisBooking::Found(booking, now_ms) => (booking, now_ms),
            RedisBooking::Gone => return self.cancel_for_good(intent, archived).await,
            RedisBooking::NotLoaded => return Ok(wait("its event is not loaded")),
        };
        match booking.status {
            Status::Hold => Ok(wait_until("it is held", booking.deadline_ms)),
            Status::Confirming if booking.lease_until_ms > now_ms => {
                Ok(wait_until("a confirmation is in progress", booking.lease_until_ms))
            }
            Status::Confirming if intent.state == IntentState::Idle => self.release(intent).await,
            // The buyer may retry: the object can still be paid.
            Status::Confirming if booking.deadline_ms > now_ms => {
                Ok(wait_until("the buyer may pay until the deadline", booking.deadline_ms))
            }
            Status::Confirming => match self.take_over(intent.booking).await? {
                Some(_) => {
                    self.faults.reached(FaultStep::Takeover);
                    self.cancel_for_good(intent, archived).await
                }
                None => Ok(wait("a confirmation is in progress")),
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

    /// Returns a booking with a declined or abandoned attempt and a lapsed lease to HOLD, after
    /// excluding older leases from opening the intent.
    async fn release(&self, intent: &Intent) -> Result<ReconcileResult, SaleError> {
        let Some(leased) = self.take_over(intent.booking).await? else {
            return Ok(wait("a confirmation is in progress"));
        };
        self.faults.reached(FaultStep::Takeover);
        let fenced = intent.fenced(leased.lease, &leased.nonce);
        if !self.archive.change_intent(&fenced).await? {
            return Ok(wait("it was changed concurrently"));
        }
        self.give_up_lease(&leased).await
    }

    async fn cancel_for_good(
        &self,
        intent: &Intent,
        archived: Option<&ArchivedBooking>,
    ) -> Result<ReconcileResult, SaleError> {
        if intent.payment.is_empty() {
            return self.cancelled(intent).await;
        }
        match self.provider.cancel(&intent.payment).await? {
            PaymentState::Cancelled => {
                self.faults.reached(FaultStep::FinalCancel);
                self.counted("cancelled");
                self.cancelled(intent).await
            }
            PaymentState::Paid => self.commit_paid(intent, archived).await,
            PaymentState::Open | PaymentState::Processing => Ok(wait("its payment is in progress")),
        }
    }

    /// Closes the intent of an object that is cancelled for good, and releases the booking.
    async fn cancelled(&self, intent: &Intent) -> Result<ReconcileResult, SaleError> {
        let released = self.release_unpayable(intent).await?;
        if !released.is_final() {
            return Ok(released);
        }
        self.close(intent, IntentState::Cancelled).await
    }

    /// Releases a booking that can no longer be paid, if it still is under a lease.
    async fn release_unpayable(&self, intent: &Intent) -> Result<ReconcileResult, SaleError> {
        let (booking, now_ms) = match self.redis_booking(intent.booking).await? {
            RedisBooking::Found(booking, now_ms) => (booking, now_ms),
            RedisBooking::Gone => return Ok(ReconcileResult::Released),
            RedisBooking::NotLoaded => return Ok(wait("its event is not loaded")),
        };
        if booking.status != Status::Confirming {
            return Ok(ReconcileResult::Released);
        }
        if booking.lease_until_ms <= now_ms {
            return match self.take_over(booking.id).await? {
                Some(leased) => self.give_up_lease(&leased).await,
                None => Ok(wait("a confirmation is in progress")),
            };
        }
        // The holder of the lease, possibly this process, cannot charge with it any more.
        self.give_up_lease(&booking).await
    }

    async fn give_up_lease(&self, leased: &Booking) -> Result<ReconcileResult, SaleError> {
        let (id, mode) = (leased.id, &AbortMode::Lease(leased.lease));
        let abort = |generation| self.engine.confirm_abort(generation, id, mode);
        let is_over = matches!(
            self.call(id, abort).await?,
            ConfirmAbortReply::Ended { .. }
                | ConfirmAbortReply::Nothing { .. }
                | ConfirmAbortReply::BookingUnknown
        );
        Ok(if is_over { ReconcileResult::Released } else { wait("it could not be released") })
    }

    /// Sells a paid booking in any state; if it cannot be sold, it is refunded. A booking that its
    /// owner cancelled stays cancelled, also where Redis has forgotten it or was rebuilt without it.
    async fn commit_paid(
        &self,
        intent: &Intent,
        archived: Option<&ArchivedBooking>,
    ) -> Result<ReconcileResult, SaleError> {
        let id = intent.booking;
        let booking = match archived {
            Some(archived) => archived.booking.clone(),
            None => intent.as_booking(Status::Expired, 0),
        };
        if matches!(booking.status, Status::Cancelled | Status::Voided) {
            // Redis decides if it has the booking: a loss may have undone what the archive shows.
            // A live booking is not forgotten before the call.
            match self.redis_booking(id).await? {
                RedisBooking::Found(here, _) if here.status.is_live() => {}
                RedisBooking::NotLoaded => return Ok(wait("its event is not loaded")),
                RedisBooking::Found(..) | RedisBooking::Gone => {
                    return self.decide_refund(intent, &booking).await;
                }
            }
        }
        let (paid, payment) = (&booking, intent.payment.as_str());
        let commit = |generation| self.engine.confirm_late(generation, paid, payment);
        let reply = self.call(id, commit).await?;
        match reply {
            ConfirmLateReply::Committed { .. } => {
                self.faults.reached(FaultStep::Commit);
                self.counted("committed_late");
                tracing::info!(booking_id = %id, "a paid booking is sold late");
                Ok(ReconcileResult::Committed)
            }
            ConfirmLateReply::SeatsLost { .. }
            | ConfirmLateReply::BookingCancelled { .. }
            | ConfirmLateReply::SaleVoided { .. } => {
                let code = reply.code();
                tracing::warn!(booking_id = %id, code, "a paid booking cannot get its seats");
                self.decide_refund(intent, &booking).await
            }
            ConfirmLateReply::EventNotLoaded if self.is_unloaded(id).await? => {
                self.decide_refund(intent, &booking).await
            }
            ConfirmLateReply::EventNotLoaded => Ok(wait("its event is not loaded")),
            ConfirmLateReply::TooLate | ConfirmLateReply::GenerationMismatch { .. } => {
                Ok(wait("it could not be committed"))
            }
        }
    }

    /// Takes over a lapsed confirmation; `None` if there is none.
    async fn take_over(&self, id: BookingId) -> Result<Option<Booking>, SaleError> {
        let (nonce, lease_ms) = (&new_nonce(), self.lease_ms);
        let take_over = |generation| self.engine.confirm_takeover(generation, id, nonce, lease_ms);
        Ok(match self.call(id, take_over).await? {
            ConfirmTakeoverReply::Leased { booking } => Some(booking),
            _ => None,
        })
    }

    async fn redis_booking(&self, id: BookingId) -> Result<RedisBooking, SaleError> {
        let Timed { reply, now_ms } = self.engine.get_booking(id).await?;
        Ok(match reply {
            GetBookingReply::Found { booking } => RedisBooking::Found(booking, now_ms),
            GetBookingReply::BookingUnknown => RedisBooking::Gone,
            _ if self.is_unloaded(id).await? => RedisBooking::Gone,
            _ => RedisBooking::NotLoaded,
        })
    }

    /// Runs a script under the event's generation in MongoDB, or a newer one that Redis names. If
    /// Redis' generation is older, Redis has lost data, which is reported.
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
