//! The confirm saga: begin under a lease → create, intent, charge ([`super::paying`]) → commit → wait
//! for the archive's word.
//!
//! It runs as a task of its own: a caller who hangs up does not stop it half-way. After the charge
//! was sent, nothing that goes wrong here is told as a failure: the answer is 200, 402 if the
//! provider surely took nothing, or 202, and what is unfinished is finished by
//! [`super::compensation`] or, if this process dies, by the worker's reconciler.
//!
//! On the way of a sale lie, one after another, three writes to MongoDB: the intent here, then in
//! the worker the claims (beside ledger and states), then the outcome. Nothing on it polls: the
//! worker and this process's tail sleep in Redis until an entry comes, and this task sleeps in
//! `live::settlements` until the tail wakes it.

use std::sync::Arc;

use super::compensation::Call;
use super::paying::Charged;
use super::request_key::RequestKey;
use super::{BookingView, ConfirmRequest, Confirmed, Sale, SaleError};
use crate::domain::{Booking, BookingId, Event, IntentState, Status};
use crate::faults::FaultStep;
use crate::live::Waiter;
use crate::redis::{
    AbortMode, ConfirmAbortReply, ConfirmBeginReply, ConfirmCommitReply, NotAfter, RedisError,
    Timed, new_nonce,
};
use crate::telemetry::trace;
use crate::telemetry::warn_repeated;

/// Commit calls of one confirmation: the first, and again under a newer generation. After a lost
/// reply [`super::compensation`] goes on.
const COMMIT_TRIES_MAX: u32 = 2;
/// Begin calls of one confirmation: the first, and again after a refreshed event.
const BEGIN_TRIES_MAX: u32 = 2;

/// What `begin` found.
enum Begun {
    /// A lease is ours: charge and commit.
    Leased(Booking),
    /// Paid before; the archive is awaited.
    Committed(Booking),
    /// Settled before: the same receipt again.
    Confirmed(Booking, i64),
}

impl Sale {
    /// Pays for a hold and sells its seats; answers once the archive has confirmed, or after
    /// `confirm_wait` that it is still awaited.
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
        // Before the commit: the settlement could come before we listen.
        let waiter = self.inner.settlements.expect(request.booking);
        match self.begin(&event, &request).await? {
            Begun::Confirmed(booking, now_ms) => Ok(Confirmed::Settled(BookingView {
                booking,
                event,
                replayed: true,
                left_alone: Vec::new(),
                archived: false,
                now_ms,
            })),
            Begun::Committed(booking) => self.settled(waiter, booking, event, true).await,
            Begun::Leased(booking) => {
                self.inner.faults.reached(FaultStep::Begin);
                self.pay(waiter, booking, event, &request.payment_method).await
            }
        }
    }

    /// Under a lease of ours: charge, commit, and wait.
    async fn pay(
        &self,
        waiter: Waiter,
        booking: Booking,
        event: Arc<Event>,
        payment_method: &str,
    ) -> Result<Confirmed, SaleError> {
        match self.inner.payments.charge(&booking, payment_method).await {
            Charged::Paid { payment } => {
                let committed = self.commit(&event, &booking, &payment).await;
                self.inner.faults.reached(FaultStep::Commit);
                self.settled(waiter, committed.unwrap_or(booking), event, false).await
            }
            Charged::Unknown => {
                self.inner.unfinished.finish(Call::Payment { booking: booking.id });
                self.settled(waiter, booking, event, false).await
            }
            Charged::Declined(reason) => {
                self.give_back(&event, &booking).await;
                Err(SaleError::PaymentDeclined(reason))
            }
            Charged::NotSent(error) => {
                self.give_back(&event, &booking).await;
                Err(error)
            }
            // A newer lease has the payment, or it is settled: the money's facts say which.
            Charged::Overtaken => match self.inner.payments.reconcile(booking.id).await {
                Ok(reconciled) if reconciled.is_final() => {
                    self.settled(waiter, booking, event, true).await
                }
                _ => Err(SaleError::InFlight),
            },
        }
    }

    /// The booking is held again, with the deadline that it had. Should Redis not follow now, the
    /// lease ends by itself, and the worker gives the hold back then.
    async fn give_back(&self, event: &Event, booking: &Booking) {
        // By its nonce: Redis may have lost the lease's number and given it to another.
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
    ) -> Result<Begun, SaleError> {
        let mut event = event.clone();
        for _ in 0..BEGIN_TRIES_MAX {
            let Timed { reply, now_ms } = self.begin_once(&event, request).await?;
            let id = request.booking;
            return match reply {
                ConfirmBeginReply::Leased { booking } => Ok(Begun::Leased(booking)),
                ConfirmBeginReply::IsCommitted { booking } => Ok(Begun::Committed(booking)),
                ConfirmBeginReply::IsConfirmed { booking } => Ok(Begun::Confirmed(booking, now_ms)),
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
                    self.begun_in_archive(&request.user, id).await
                }
                // Redis may have fallen back to the hold, and let it lapse there.
                ConfirmBeginReply::BookingExpired { .. }
                    if self.outcome_in_archive(id).await.is_some() =>
                {
                    self.begun_in_archive(&request.user, id).await
                }
                ConfirmBeginReply::BookingExpired { booking }
                | ConfirmBeginReply::BookingCancelled { booking }
                | ConfirmBeginReply::SaleVoided { booking } => Err(refusal(&booking)),
                ConfirmBeginReply::TooLate => Err(too_late()),
            };
        }
        Err(SaleError::EventNotLoaded(event.id))
    }

    /// One call. If its reply is lost, the lease is given back.
    async fn begin_once(
        &self,
        event: &Event,
        request: &ConfirmRequest,
    ) -> Result<Timed<ConfirmBeginReply>, SaleError> {
        let (engine, settings) = (&self.inner.engine, &self.inner.settings);
        let (id, nonce) = (request.booking, new_nonce());
        let key = RequestKey::of_payment(request, settings);
        let partition = engine.keys().partition_of(event.id);
        // At or after the call's own deadline, whichever of its tries runs.
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
                    self.inner.unfinished.finish(Call::Begin { booking: id, nonce, not_before });
                }
                Err(error.into())
            }
        }
    }

    /// Redis does not know the booking: perhaps its event was unloaded after the sale.
    async fn begun_in_archive(
        &self,
        user: &crate::domain::UserId,
        id: BookingId,
    ) -> Result<Begun, SaleError> {
        let view = self.archived_booking(user, id).await?;
        match view.booking.status {
            Status::Confirmed => Ok(Begun::Confirmed(view.booking, view.now_ms)),
            Status::Expired => Err(SaleError::BookingExpired(id)),
            Status::Cancelled => Err(SaleError::BookingCancelled(id)),
            Status::Voided => Err(SaleError::SaleVoided(id)),
            _ => Err(SaleError::EventNotLoaded(id.event())),
        }
    }

    /// Sells the seats. `None`: not yet; it will be done behind our back, since it is paid.
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
                // Another caller has the lease, or Redis has lost the booking. Paid is paid.
                Ok(_) | Err(_) => break,
            }
        }
        self.inner.unfinished.finish(Call::Payment { booking: id });
        None
    }

    /// Waits for the settlement, then tells what Redis (following the archive) says.
    async fn settled(
        &self,
        mut waiter: Waiter,
        committed: Booking,
        event: Arc<Event>,
        replayed: bool,
    ) -> Result<Confirmed, SaleError> {
        waiter.settled(self.inner.settings.confirm_wait).await;
        let Ok(answer) = self.inner.engine.get_booking(committed.id).await else {
            return self.pending(committed, event);
        };
        let now_ms = answer.now_ms;
        // Charged is charged: what cannot be read here is no failure.
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
            // Redis has lost the confirmation (a failover): the money is looked after.
            Status::Hold | Status::Expired => self.pending(committed, event),
            Status::Confirmed => Ok(Confirmed::Settled(BookingView {
                booking,
                event,
                replayed,
                left_alone: Vec::new(),
                archived: false,
                now_ms,
            })),
            Status::Voided => Err(SaleError::SaleVoided(booking.id)),
            Status::Cancelled => Err(SaleError::BookingCancelled(booking.id)),
            _ => self.pending(booking, event),
        }
    }

    /// Whether the archive, too, knows that no money comes of what was sent. That Redis shows no
    /// payment proves nothing: it may be in a past state.
    async fn is_surely_unpaid(&self, id: BookingId) -> bool {
        let intent = self.inner.archive.intent(id).await.ok().flatten();
        let state = intent.map(|intent| intent.state);
        matches!(state, Some(IntentState::Idle | IntentState::Cancelled))
    }

    fn pending(&self, booking: Booking, event: Arc<Event>) -> Result<Confirmed, SaleError> {
        let now_ms = super::unix_now_ms();
        Ok(Confirmed::Pending(BookingView {
            booking,
            event,
            replayed: false,
            left_alone: Vec::new(),
            archived: false,
            now_ms,
        }))
    }

    /// The event of a booking id; an id that names no event names no booking.
    pub(super) async fn event_of(&self, booking: BookingId) -> Result<Arc<Event>, SaleError> {
        let event = self.inner.catalogue.get(booking.event()).await?;
        event.ok_or(SaleError::BookingUnknown(booking))
    }
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
        Status::Hold => SaleError::Internal(format!("{id} is a hold, and was refused as none")),
    }
}

/// The refusal of a call that reached Redis after its `not_after`.
pub(super) fn too_late() -> SaleError {
    SaleError::Unavailable {
        dependency: "redis",
        reason: "the call came too late".into(),
        unknown: false,
    }
}
