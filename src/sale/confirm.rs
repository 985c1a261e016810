//! Confirms a booking: begin under a lease → create, intent, charge ([`super::paying`]) → commit →
//! wait for the archive's decision.
//!
//! Runs as its own task: a client that hangs up does not stop it half-way. Once the charge was
//! sent, no later error is reported as a failure: the response is 200, 402 if the provider surely
//! took nothing, or 202. Unfinished steps are completed by [`super::compensation`] or, if this
//! process dies, by the worker's reconciler.
//!
//! A sale takes three sequential writes to MongoDB: the intent here, then in the worker the claims
//! (in parallel with the ledger), then the outcome together with the booking's state. Nothing polls: the worker and this
//! process' tail block in Redis until an entry arrives, and this task waits in
//! `live::settlements` until the tail wakes it.

use std::sync::Arc;

use super::compensation::Compensation;
use super::paying::ChargeResult;
use super::request_key::RequestKey;
use super::{BookingView, ConfirmRequest, Confirmed, Sale, SaleError};
use crate::domain::{Booking, BookingId, Event, IntentState, Status};
use crate::faults::FaultStep;
use crate::live::{Settled, Waiter};
use crate::redis::{
    AbortMode, ConfirmAbortReply, ConfirmBeginReply, ConfirmCommitReply, NotAfter, RedisError,
    Timed, new_nonce,
};
use crate::telemetry::spans::{Span, SpanKind};
use crate::telemetry::warn_repeated;
use crate::telemetry::{TraceContext, trace};

/// Commit calls of one confirmation: the first, and one under a newer generation. After a lost
/// reply [`super::compensation`] continues.
const COMMIT_TRIES_MAX: u32 = 2;
/// Begin calls of one confirmation: the first, and one after the event was refreshed.
const BEGIN_TRIES_MAX: u32 = 2;

/// The result of `begin`.
enum BeginResult {
    /// This confirmation holds the lease: charge and commit.
    Leased(Booking),
    /// Paid before, not archived yet.
    Committed(Booking),
    /// Settled before: the response is the same receipt.
    Confirmed(Booking, i64),
}

impl Sale {
    /// Pays for a hold and sells its seats. Responds once the archive has confirmed the sale, or
    /// `Pending` after `confirm_wait`.
    pub async fn confirm(&self, request: ConfirmRequest) -> Result<Confirmed, SaleError> {
        let sale = self.clone();
        let task = trace::spawn(async move { sale.confirm_to_the_end(request).await });
        task.await.unwrap_or_else(|error| Err(SaleError::Internal(error.to_string())))
    }

    async fn confirm_to_the_end(&self, request: ConfirmRequest) -> Result<Confirmed, SaleError> {
        let event = self.event_of(request.booking).await?;
        if let Some(got) = request.amount {
            let booking = self.booking(&request.user, request.booking).await?.booking;
            if booking.amount != got {
                return Err(SaleError::AmountMismatch { expected: booking.amount, got });
            }
        }
        self.refuse_if_unpayable(&request).await?;
        // Registered before the commit, so that a settlement right after it is not missed.
        let waiter = self.inner.settlements.expect(request.booking);
        match self.begin(&event, &request).await? {
            BeginResult::Confirmed(booking, now_ms) => {
                Ok(Confirmed::Settled(sold_view(booking, event, true, now_ms)))
            }
            BeginResult::Committed(booking) => self.settled(waiter, booking, event, true).await,
            BeginResult::Leased(booking) => {
                self.inner.faults.reached(FaultStep::Begin);
                self.pay(waiter, booking, event, &request.payment_method).await
            }
        }
    }

    /// While MongoDB or the payment provider does not answer, refuses bookings that have to be paid
    /// before they get a lease: each lease is one of the booking's attempts.
    async fn refuse_if_unpayable(&self, request: &ConfirmRequest) -> Result<(), SaleError> {
        let Some(dependency) = self.inner.payments.refusing_dependency() else { return Ok(()) };
        let booking = self.booking(&request.user, request.booking).await?.booking;
        let needs_lease = matches!(booking.status, Status::Hold | Status::Confirming);
        if !needs_lease || booking.amount == 0 {
            return Ok(());
        }
        let reason = "it has not answered for a moment, and nothing was charged".to_owned();
        Err(SaleError::Unavailable { dependency, reason, unknown: false })
    }

    /// Charges, commits and waits, under this confirmation's lease.
    async fn pay(
        &self,
        waiter: Waiter,
        booking: Booking,
        event: Arc<Event>,
        payment_method: &str,
    ) -> Result<Confirmed, SaleError> {
        match self.inner.payments.charge(&booking, payment_method).await {
            ChargeResult::Paid { payment } => {
                let committed = self.commit(&event, &booking, &payment).await;
                self.inner.faults.reached(FaultStep::Commit);
                self.settled(waiter, committed.unwrap_or(booking), event, false).await
            }
            ChargeResult::Unknown => {
                self.inner.compensations.enqueue(Compensation::Payment { booking: booking.id });
                self.settled(waiter, booking, event, false).await
            }
            ChargeResult::Declined(reason) => {
                self.release_lease(&event, &booking).await;
                Err(SaleError::PaymentDeclined(reason))
            }
            ChargeResult::NotSent(error) => {
                self.release_lease(&event, &booking).await;
                Err(error)
            }
            // A newer lease owns the payment, or it is settled: reconciling finds out which.
            ChargeResult::Overtaken => match self.inner.payments.reconcile(booking.id).await {
                Ok(reconciled) if reconciled.is_final() => {
                    self.settled(waiter, booking, event, true).await
                }
                _ => Err(SaleError::InFlight),
            },
        }
    }

    /// Returns the booking to HOLD with its former deadline. If Redis does not carry this out, the
    /// lease expires and the worker releases it.
    async fn release_lease(&self, event: &Event, booking: &Booking) {
        // By nonce: after a loss Redis may have given the same lease number to another attempt.
        let (nonce, not_before) = (booking.nonce.clone(), NotAfter(0));
        let mode = AbortMode::Nonce { nonce, not_before };
        let aborted = self.inner.engine.confirm_abort(event.generation, booking.id, &mode).await;
        let is_ended = |timed: &Timed<ConfirmAbortReply>| {
            matches!(timed.reply, ConfirmAbortReply::Ended { .. })
        };
        if !aborted.as_ref().is_ok_and(is_ended) {
            warn_repeated!(booking_id = %booking.id, ?aborted, "an unused lease stays");
        }
    }

    async fn begin(
        &self,
        event: &Arc<Event>,
        request: &ConfirmRequest,
    ) -> Result<BeginResult, SaleError> {
        let mut event = event.clone();
        for _ in 0..BEGIN_TRIES_MAX {
            let Timed { reply, now_ms } = self.begin_once(&event, request).await?;
            let id = request.booking;
            return match reply {
                ConfirmBeginReply::Leased { booking } => Ok(BeginResult::Leased(booking)),
                ConfirmBeginReply::IsCommitted { booking } => Ok(BeginResult::Committed(booking)),
                ConfirmBeginReply::IsConfirmed { booking } => {
                    Ok(BeginResult::Confirmed(booking, now_ms))
                }
                ConfirmBeginReply::GenerationMismatch { .. } => {
                    event = self.newer_event(&event).await?;
                    continue;
                }
                ConfirmBeginReply::InFlight { .. } => Err(SaleError::InFlight),
                ConfirmBeginReply::IdempotencyMismatch => Err(SaleError::IdempotencyMismatch),
                ConfirmBeginReply::AttemptsExhausted { .. } => {
                    Err(SaleError::AttemptsExhausted(id))
                }
                ConfirmBeginReply::EventNotLoaded | ConfirmBeginReply::BookingUnknown => {
                    self.begin_from_archive(&request.user, id).await
                }
                // After a fallback Redis may have expired a hold that the archive has decided.
                ConfirmBeginReply::BookingExpired { .. }
                    if self.outcome_in_archive(id).await.is_some() =>
                {
                    self.begin_from_archive(&request.user, id).await
                }
                ConfirmBeginReply::BookingExpired { booking }
                | ConfirmBeginReply::BookingCancelled { booking }
                | ConfirmBeginReply::SaleVoided { booking } => Err(refusal(&booking)),
                ConfirmBeginReply::TooLate => Err(too_late()),
            };
        }
        Err(SaleError::EventNotLoaded(event.id))
    }

    /// Sends one call. If its reply is lost, the lease is queued for compensation.
    async fn begin_once(
        &self,
        event: &Event,
        request: &ConfirmRequest,
    ) -> Result<Timed<ConfirmBeginReply>, SaleError> {
        let (engine, settings) = (&self.inner.engine, &self.inner.settings);
        let (id, nonce) = (request.booking, new_nonce());
        let key = RequestKey::of_payment(request, settings);
        let partition = engine.keys().partition_of(event.id);
        // Computed at or after the call's own deadline, whichever attempt runs.
        let called = engine
            .confirm_begin(
                event,
                id,
                &request.user,
                RequestKey::attempt(key.as_ref(), &nonce),
                settings.confirm_lease_ms,
                settings.confirm_attempts_max,
            )
            .await;
        match called {
            Ok(answer) => Ok(answer),
            Err(error @ RedisError::NotRun(_)) => Err(error.into()),
            Err(error) => {
                if let Ok(not_before) = engine.not_after(partition).await {
                    self.inner.compensations.enqueue(Compensation::Begin {
                        booking: id,
                        nonce,
                        not_before,
                    });
                }
                Err(error.into())
            }
        }
    }

    /// Looks a booking up that Redis does not have, for example because its event was unloaded.
    async fn begin_from_archive(
        &self,
        user: &crate::domain::UserId,
        id: BookingId,
    ) -> Result<BeginResult, SaleError> {
        let view = self.archived_booking(user, id).await?;
        match view.booking.status {
            Status::Confirmed => Ok(BeginResult::Confirmed(view.booking, view.now_ms)),
            Status::Expired => Err(SaleError::BookingExpired(id)),
            Status::Cancelled => Err(SaleError::BookingCancelled(id)),
            Status::Voided => Err(SaleError::SaleVoided(id)),
            _ => Err(SaleError::EventNotLoaded(id.event())),
        }
    }

    /// Sells the seats. `None`: not yet; since it is paid, the compensation queue completes it.
    async fn commit(
        &self,
        event: &Arc<Event>,
        booking: &Booking,
        payment: &str,
    ) -> Option<Booking> {
        let (engine, id) = (&self.inner.engine, booking.id);
        let mut generation = event.generation;
        for _ in 0..COMMIT_TRIES_MAX {
            let committed = engine.confirm_commit(generation, id, booking.lease, payment).await;
            match committed.map(|timed| timed.reply) {
                Ok(ConfirmCommitReply::Committed { booking }) => return Some(booking),
                Ok(ConfirmCommitReply::GenerationMismatch { generation: other }) => {
                    generation = other;
                }
                // Another attempt holds the lease, or Redis has lost the booking; it is paid.
                Ok(_) | Err(_) => break,
            }
        }
        self.inner.compensations.enqueue(Compensation::Payment { booking: id });
        None
    }

    /// Waits for the settlement. A confirmed sale is answered as its log entry has it, which only the
    /// archive's decision makes; otherwise the state in Redis is read, which follows the archive.
    async fn settled(
        &self,
        mut waiter: Waiter,
        committed: Booking,
        event: Arc<Event>,
        replayed: bool,
    ) -> Result<Confirmed, SaleError> {
        let mut span = Span::child("wait for outcome", SpanKind::Internal);
        span.set_text("holdfast.booking.id", &committed.id);
        if let Some(record) = span.record() {
            // The hold may have been another trace.
            record.link = TraceContext::from_traceparent(&committed.trace);
        }
        let settled = waiter.settled(self.inner.settings.confirm_wait).await;
        drop(span);
        if let Some(Settled::Confirmed(booking, now_ms)) = settled {
            let booking = Booking::clone(&booking);
            return Ok(Confirmed::Settled(sold_view(booking, event, replayed, now_ms)));
        }
        let Ok(answer) = self.inner.engine.get_booking(committed.id).await else {
            return self.pending(committed, event);
        };
        let now_ms = answer.now_ms;
        // The charge succeeded: an unreadable reply is not a failure.
        let Ok(booking) = answer.into_booking() else {
            return self.pending(committed, event);
        };
        let booking = match self.decided_in_archive(&booking).await {
            Some(decided) => decided.booking,
            None => booking,
        };
        match booking.status {
            Status::Hold | Status::Expired if self.is_surely_unpaid(booking.id).await => {
                Err(SaleError::PaymentDeclined("the payment was not made".to_owned()))
            }
            // Redis has lost the confirmation (a failover): the reconciler completes it.
            Status::Hold | Status::Expired => self.pending(committed, event),
            Status::Confirmed => {
                Ok(Confirmed::Settled(sold_view(booking, event, replayed, now_ms)))
            }
            Status::Voided => Err(SaleError::SaleVoided(booking.id)),
            Status::Cancelled => Err(SaleError::BookingCancelled(booking.id)),
            _ => self.pending(booking, event),
        }
    }

    /// Whether the archive, too, shows that no money can move. A missing payment in Redis proves
    /// nothing: Redis may have fallen back.
    async fn is_surely_unpaid(&self, id: BookingId) -> bool {
        let intent = self.inner.archive.intent(id).await.ok().flatten();
        let state = intent.map(|intent| intent.state);
        matches!(state, Some(IntentState::Idle | IntentState::Cancelled))
    }

    fn pending(&self, booking: Booking, event: Arc<Event>) -> Result<Confirmed, SaleError> {
        let now_ms = super::unix_now_ms();
        Ok(Confirmed::Pending(sold_view(booking, event, false, now_ms)))
    }

    /// The event of a booking id; `BookingUnknown` if there is no such event.
    pub(super) async fn event_of(&self, booking: BookingId) -> Result<Arc<Event>, SaleError> {
        let event = self.inner.catalogue.get(booking.event()).await?;
        event.ok_or(SaleError::BookingUnknown(booking))
    }
}

fn sold_view(booking: Booking, event: Arc<Event>, replayed: bool, now_ms: i64) -> BookingView {
    BookingView { booking, event, replayed, left_alone: Vec::new(), archived: false, now_ms }
}

/// The refusal of an operation that needs a hold, by the booking's status.
pub(super) fn refusal(booking: &Booking) -> SaleError {
    let id = booking.id;
    match booking.status {
        Status::Confirming => SaleError::InFlight,
        Status::Committed => SaleError::BookingConfirming(id),
        Status::Confirmed => SaleError::BookingConfirmed(id),
        Status::Expired => SaleError::BookingExpired(id),
        Status::Cancelled => SaleError::BookingCancelled(id),
        Status::Voided => SaleError::SaleVoided(id),
        Status::Hold => {
            SaleError::Internal(format!("{id} is a hold, but was refused as not being one"))
        }
    }
}

/// The refusal of a call that reached Redis after its `not_after`.
pub(super) fn too_late() -> SaleError {
    SaleError::Unavailable {
        dependency: "redis",
        reason: "the call arrived after its deadline".into(),
        unknown: false,
    }
}
