//! Refunds. INVARIANT: money is returned only if the archive's outcome says so, and a refund is
//! done only when the provider shows that it succeeded.
//!
//! Attempts and their states are those of `domain::refund`. What may happen between the steps
//! (query the provider → send attempt n → reply → record it in the intent):
//!
//! | between | consequence |
//! |---|---|
//! | two workers, both send attempt n | one key: one refund; both record it, one by compare-and-set |
//! | both see attempt n fail, both record n+1 | one succeeds; the other finds the intent changed and retries |
//! | suspended before sending n, meanwhile n failed and n+1 was recorded or sent | the provider's list has n as failed, or covers the total: nothing is sent; its write fails on `rev` |
//! | killed between the reply and the write | the intent is still due; the list has attempt n, by its metadata |
//! | the reply is lost, or is an error that Stripe saves under the key | as above; if the list has no attempt n, it is over, and n+1 may follow |
//! | a webhook before our own result is recorded | it reconciles and records `pending` or closes; our write fails on `rev` |
//! | a webhook before the refund shows in the list | no conclusion: `unknown`, sent again, queried again |
//! | pending, then failed | the webhook, or the next poll, finds attempt n failed: n+1 after a pause |
//! | succeeded and closed, then returned by the bank | the webhook or `reconcile` opens it again with n+1 |
//! | refunded by hand at the provider, wholly or in part | it counts: only the missing amount is sent |
//! | returned by another way, and marked so | [`super::mark_paid`]: nothing is sent for it any more |
//! | every attempt fails | after the last one a person must act; it shows in `status`, `reconcile` and metrics |

use std::time::{Duration, Instant};

use super::reconciled::wait;
use super::{PaymentService, RETRY_DELAY_MS, ReconcileResult, retry_delay_ms};
use crate::archive::ArchivedBooking;
use crate::domain::{Booking, Intent, IntentState, Outcome, SeenRefunds};
use crate::faults::FaultStep;
use crate::payments::{Payment, PaymentState, RefundOrder, RefundResult};
use crate::sale::archiving::SettleResult;
use crate::sale::{SaleError, unix_now_ms};

/// Queries of an object that is paid just when it was to be cancelled.
const QUERIES_MAX: u32 = 2;

/// When to retry a failed refund.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Retry {
    /// After its pause, up to the maximum number of attempts.
    WhenDue,
    /// The same; but a sold booking may have been refunded outside.
    WhenDueAfterNews,
    /// Now, on an operator's request.
    Now,
}

/// The state of a booking's refund.
enum RefundOutcome {
    /// What was taken has been returned; the provider's part of that.
    Complete(SeenRefunds),
    /// It is pending at the provider and may still fail.
    Pending,
    /// The attempt failed for this reason.
    Failed(String),
    /// The next attempt must not start before this time, Unix ms.
    NotBefore(i64),
    /// It cannot proceed now, for this reason.
    Blocked(&'static str),
}

impl PaymentService {
    /// Decides in the archive that a paid booking without its seats is refunded, unless another
    /// outcome was decided before, and begins the refund.
    pub(super) async fn decide_refund(
        &self,
        intent: &Intent,
        booking: &Booking,
    ) -> Result<ReconcileResult, SaleError> {
        let id = intent.booking;
        let now_ms = unix_now_ms();
        let paid = Booking { payment: intent.payment.clone(), paid_ms: now_ms, ..booking.clone() };
        let generation = match self.archive.event_head(id.event()).await? {
            Some(head) => head.generation,
            None => 0,
        };
        let outcome = self.archive.decide_refund(&paid, generation).await?;
        self.faults.reached(FaultStep::RefundDecided);
        match outcome {
            Some(Outcome::Refund) => {
                tracing::warn!(booking_id = %id, "a late payment finds its seats taken: refunded");
                self.counted("late_refunded");
                let follows = self.archiver.settle_current(id).await;
                match self.archive.booking(id).await? {
                    Some(archived) => {
                        self.refund(&archived, Some(intent), &follows, Retry::WhenDue).await
                    }
                    None => Ok(wait("its outcome is not readable yet")),
                }
            }
            _ => Ok(wait("it was decided concurrently")),
        }
    }

    /// Refunds a booking whose outcome is `refund` or `cancelled`; `follows` says whether Redis
    /// shows that outcome.
    pub(super) async fn refund(
        &self,
        archived: &ArchivedBooking,
        intent: Option<&Intent>,
        follows: &SettleResult,
        retry: Retry,
    ) -> Result<ReconcileResult, SaleError> {
        let booking = &archived.booking;
        if !archived.outcome.is_some_and(Outcome::frees_claims) {
            return Err(SaleError::Internal(format!("{} is not to be refunded", booking.id)));
        }
        let payment = intent.map_or(booking.payment.as_str(), |intent| intent.payment.as_str());
        let is_free = booking.amount == 0 || payment.is_empty();
        let intent = match intent {
            Some(intent) => intent,
            None if is_free => return Ok(ReconcileResult::Done(IntentState::Refunded)),
            None => return self.recreate_intent(booking).await,
        };
        let (intent, outcome) = match is_free {
            true => (intent.clone(), RefundOutcome::Complete(SeenRefunds::default())),
            false => self.advance_refund(booking, intent, retry).await?,
        };
        let (intent, total) = (&intent, booking.amount - intent.marked_paid());
        match outcome {
            // The money is returned; the intent stays due until Redis shows the outcome, too.
            RefundOutcome::Complete(_) if *follows == SettleResult::Retry => {
                Ok(wait("redis does not show its outcome yet"))
            }
            RefundOutcome::Complete(seen) => self.close_refunded(intent, seen).await,
            RefundOutcome::Pending => self.record_pending(intent, total).await,
            RefundOutcome::Failed(reason) => self.record_failed(intent, total, reason).await,
            RefundOutcome::NotBefore(until_ms) => Ok(ReconcileResult::Refunding { until_ms }),
            RefundOutcome::Blocked(why) => Ok(wait(why)),
        }
    }

    /// Writes the lost intent of a booking to refund: it is needed to count the attempts.
    async fn recreate_intent(&self, booking: &Booking) -> Result<ReconcileResult, SaleError> {
        let due_ms = unix_now_ms();
        let lost = Intent::first(booking, &booking.payment, IntentState::Refunded, due_ms);
        self.archive.insert_intent(&lost).await?;
        Ok(wait("its lost intent was recreated"))
    }

    /// Takes the next step at the provider; returns the intent as it is now, with the refunds that were
    /// seen and are not written yet.
    async fn advance_refund(
        &self,
        booking: &Booking,
        intent: &Intent,
        retry: Retry,
    ) -> Result<(Intent, RefundOutcome), SaleError> {
        let payment = intent.payment.as_str();
        // What was returned by another way is not refunded again.
        let total = booking.amount - intent.marked_paid();
        let unchanged = |outcome| Ok((intent.clone(), outcome));
        for _ in 0..QUERIES_MAX {
            let Some(found) = self.provider.get(payment).await? else {
                let refunded = intent.refunded_at_provider();
                if intent.marked_paid() > 0 && refunded >= total {
                    let outside = intent.refunded_outside();
                    let seen = SeenRefunds { refunded, outside, pending: 0 };
                    return unchanged(RefundOutcome::Complete(seen));
                }
                let (booking_id, payment) = (booking.id, payment.to_owned());
                tracing::error!(%booking_id, payment, "ALARM: the provider does not know a payment");
                return unchanged(RefundOutcome::Blocked("the provider has no such payment"));
            };
            match found.state {
                PaymentState::Paid => {
                    return self.refund_paid(booking, intent, &found, retry).await;
                }
                PaymentState::Cancelled => {
                    return unchanged(RefundOutcome::Complete(found.seen_refunds()));
                }
                PaymentState::Processing => {
                    return unchanged(RefundOutcome::Blocked("its payment is in progress"));
                }
                PaymentState::Open => {
                    if self.provider.cancel(payment).await? == PaymentState::Cancelled {
                        return unchanged(RefundOutcome::Complete(SeenRefunds::default()));
                    }
                }
            }
        }
        unchanged(RefundOutcome::Blocked("its payment is changing"))
    }

    async fn refund_paid(
        &self,
        booking: &Booking,
        intent: &Intent,
        paid: &Payment,
        retry: Retry,
    ) -> Result<(Intent, RefundOutcome), SaleError> {
        let (seen, total) = (paid.seen_refunds(), booking.amount - intent.marked_paid());
        if seen.refunded > total && intent.marked_paid() > 0 {
            let (booking_id, refunded) = (intent.booking, seen.refunded);
            tracing::error!(%booking_id, refunded, "ALARM: money went back twice");
        }
        if seen.refunded >= total {
            return Ok((intent.clone(), RefundOutcome::Complete(seen)));
        }
        if seen.refunded + seen.pending >= total {
            return Ok((intent.with_seen(seen, unix_now_ms()), RefundOutcome::Pending));
        }
        if retry != Retry::Now
            && let Some(until_ms) = intent.refund_waits_until(unix_now_ms())
        {
            return Ok((intent.clone(), RefundOutcome::NotBefore(until_ms)));
        }
        self.send_refund(booking, intent, seen).await
    }

    /// Sends the attempt that the intent allows.
    async fn send_refund(
        &self,
        booking: &Booking,
        intent: &Intent,
        seen: SeenRefunds,
    ) -> Result<(Intent, RefundOutcome), SaleError> {
        let began = Instant::now();
        let send_within = Duration::from_millis(self.lease_ms.unsigned_abs());
        // An attempt takes less than a lease, and begins within one.
        let now_ms = unix_now_ms();
        let due_ms = now_ms + retry_delay_ms(intent.deadline_ms, now_ms);
        let announced = intent.refund_sending(now_ms + 2 * self.lease_ms, due_ms);
        if let Some(announced) = &announced
            && !self.archive.change_intent(announced).await?
        {
            let outcome = RefundOutcome::Blocked("it was changed concurrently");
            return Ok((intent.clone(), outcome));
        }
        let intent = announced.as_ref().unwrap_or(intent);
        let order = RefundOrder {
            booking: booking.id,
            payment: intent.payment.clone(),
            currency: booking.currency.clone(),
            total: booking.amount - intent.marked_paid(),
            attempt: intent.refund_attempt(),
        };
        // By two clocks: one stands still while the machine is suspended, the other may be set.
        let is_late = began.elapsed() > send_within || unix_now_ms() > now_ms + self.lease_ms;
        if announced.is_some() && is_late {
            let outcome = RefundOutcome::Blocked("this process was suspended before a refund");
            return Ok((intent.clone(), outcome));
        }
        let refunded = self.provider.refund(&order).await?;
        self.faults.reached(FaultStep::Refund);
        let now_ms = unix_now_ms();
        Ok(match refunded {
            RefundResult::Succeeded(refunded) => {
                (intent.clone(), RefundOutcome::Complete(SeenRefunds { refunded, ..seen }))
            }
            RefundResult::Pending => (intent.with_seen(seen, now_ms), RefundOutcome::Pending),
            RefundResult::Failed(reason) => {
                (intent.with_seen(seen, now_ms), RefundOutcome::Failed(reason))
            }
        })
    }

    async fn close_refunded(
        &self,
        intent: &Intent,
        seen: SeenRefunds,
    ) -> Result<ReconcileResult, SaleError> {
        let refunded = seen.refunded;
        let is_known = intent.state == IntentState::Refunded && !intent.differs_from(seen);
        let closed = match is_known {
            true => self.close(intent, IntentState::Refunded).await?,
            false => {
                let next = intent.closed_with(IntentState::Refunded, seen, unix_now_ms());
                match self.archive.change_intent(&next).await? {
                    true => ReconcileResult::Done(IntentState::Refunded),
                    false => wait("it was changed concurrently"),
                }
            }
        };
        if closed.is_final() && intent.due_ms.is_some() && refunded > 0 {
            tracing::info!(booking_id = %intent.booking, refunded, "a booking is refunded");
            self.counted("refunded");
        }
        Ok(closed)
    }

    async fn record_pending(
        &self,
        intent: &Intent,
        total: i64,
    ) -> Result<ReconcileResult, SaleError> {
        let now_ms = unix_now_ms();
        if let Some(pending) = intent.refund_pending(total, now_ms) {
            if !self.archive.change_intent(&pending).await? {
                return Ok(wait("it was changed concurrently"));
            }
            self.faults.reached(FaultStep::RefundRecorded);
            tracing::info!(booking_id = %intent.booking, "a refund is pending");
            self.counted("refund_pending");
        }
        Ok(ReconcileResult::Refunding { until_ms: intent.refund_poll_at(now_ms) })
    }

    async fn record_failed(
        &self,
        intent: &Intent,
        total: i64,
        reason: String,
    ) -> Result<ReconcileResult, SaleError> {
        let now_ms = unix_now_ms();
        let failed = intent.refund_failed(total, reason, now_ms);
        if !self.archive.change_intent(&failed).await? {
            return Ok(wait("it was changed concurrently"));
        }
        self.faults.reached(FaultStep::RefundRecorded);
        self.counted("refund_failed");
        if let Some(refund) = &failed.refund {
            let (booking_id, failures, reason) = (intent.booking, refund.failures, &refund.reason);
            match refund.needs_person() {
                true => tracing::error!(%booking_id, failures, reason, "ALARM: a refund fails"),
                false => tracing::warn!(%booking_id, failures, reason, "a refund failed"),
            }
        }
        let until_ms = failed.refund_waits_until(now_ms).unwrap_or(now_ms + RETRY_DELAY_MS);
        Ok(ReconcileResult::Refunding { until_ms })
    }

    /// Closes an intent, unless it was changed since it was read: then it stays due.
    pub(super) async fn close(
        &self,
        intent: &Intent,
        state: IntentState,
    ) -> Result<ReconcileResult, SaleError> {
        let is_closed = intent.due_ms.is_none() && intent.state == state;
        let closed = intent.closed(state, intent.refunded);
        if is_closed || self.archive.change_intent(&closed).await? {
            return Ok(ReconcileResult::Done(state));
        }
        Ok(wait("it was changed concurrently"))
    }
}
