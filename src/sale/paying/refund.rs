//! Giving money back. INVARIANT: only where the archive's outcome says so, and done only when the
//! provider says that it succeeded.
//!
//! Attempts and their states are those of `domain::refund`. What may happen between the steps
//! (look at the provider → send attempt n → answer → write it into the intent):
//!
//! | between | what follows |
//! |---|---|
//! | two workers, both send attempt n | one key: one refund; both write, one by compare-and-set |
//! | both see attempt n fail, both write n+1 | one wins; the other finds the intent changed, and comes again |
//! | asleep before sending n, meanwhile n failed and n+1 was recorded or sent | the provider's list has n as failed, or covers the total: nothing is sent; its write fails on `rev` |
//! | killed between the answer and the write | the intent is still due; the list has attempt n, by its metadata |
//! | the answer is lost, or is an error that Stripe saves under the key | as above; if the list has no attempt n, it is over, and n+1 may follow |
//! | a webhook before our own answer is written | it looks, and writes `pending` or closes; our write fails on `rev` |
//! | a webhook before the refund shows in the list | nothing is concluded: `unknown`, sent again, asked again |
//! | pending, then failed | the webhook, or the next poll, finds attempt n failed: n+1 after a pause |
//! | succeeded and closed, then sent back by the bank | the webhook or `reconcile` opens it again with n+1 |
//! | given back by hand at the provider, wholly or in part | it counts: only what is missing is sent |
//! | every attempt fails | after the last one it waits for a person, and shows in `status`, `reconcile` and metrics |

use super::reconciled::wait;
use super::{LOOK_AGAIN_MS, PaymentService, Reconciled};
use crate::archive::ArchivedBooking;
use crate::domain::{Booking, Intent, IntentState, Outcome};
use crate::faults::FaultStep;
use crate::payments::{RefundOrder, Refunded, State};
use crate::sale::archiving::Settled;
use crate::sale::{SaleError, unix_now_ms};

/// Looks at an object that is paid just when it was to be cancelled.
const LOOKS_MAX: u32 = 2;

/// When a refund that failed is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Retry {
    /// After its pause, and only so often.
    WhenDue,
    /// Now: a person says so.
    Now,
}

/// Whether a booking's money is back.
enum Back {
    /// So much was taken, and is back.
    All(i64),
    /// It is on its way and may still fail.
    OnItsWay,
    /// The attempt is over without it: why.
    Failed(String),
    /// No attempt is made before this time, Unix ms.
    NotBefore(i64),
    /// Why not.
    NotYet(&'static str),
}

impl PaymentService {
    /// A paid booking that cannot have its seats: the archive decides that its money goes back,
    /// unless it has decided otherwise before.
    pub(super) async fn refuse(
        &self,
        intent: &Intent,
        booking: &Booking,
    ) -> Result<Reconciled, SaleError> {
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
                let follows = self.carrier.follow(id).await;
                match self.archive.booking(id).await? {
                    Some(archived) => {
                        self.give_back(&archived, Some(intent), &follows, Retry::WhenDue).await
                    }
                    None => Ok(wait("its outcome cannot be read yet")),
                }
            }
            _ => Ok(wait("it was decided meanwhile")),
        }
    }

    /// Gives back what was paid for a booking whose outcome is `refund` or `cancelled`; `follows`
    /// says whether Redis shows that outcome.
    pub(super) async fn give_back(
        &self,
        archived: &ArchivedBooking,
        intent: Option<&Intent>,
        follows: &Settled,
        retry: Retry,
    ) -> Result<Reconciled, SaleError> {
        let booking = &archived.booking;
        if !archived.outcome.is_some_and(Outcome::frees_claims) {
            return Err(SaleError::Internal(format!("{} is not to be refunded", booking.id)));
        }
        let payment = intent.map_or(booking.payment.as_str(), |intent| intent.payment.as_str());
        let is_free = booking.amount == 0 || payment.is_empty();
        let intent = match intent {
            Some(intent) => intent,
            None if is_free => return Ok(Reconciled::Done(IntentState::Refunded)),
            None => return self.track(booking).await,
        };
        let back = match is_free {
            true => Back::All(0),
            false => self.give_back_now(booking, intent, retry).await?,
        };
        let total = booking.amount;
        match back {
            // Its money is back; it stays due until Redis shows it, too.
            Back::All(_) if *follows == Settled::Later => Ok(wait("redis follows later")),
            Back::All(refunded) => self.given_back(intent, refunded).await,
            Back::OnItsWay => self.note_pending(intent, total).await,
            Back::Failed(reason) => self.note_failed(intent, total, reason).await,
            Back::NotBefore(until_ms) => Ok(Reconciled::Refunding { until_ms }),
            Back::NotYet(why) => Ok(wait(why)),
        }
    }

    /// A booking whose intent is lost, and whose money is to go back: without one nobody would know
    /// which attempt is the next.
    async fn track(&self, booking: &Booking) -> Result<Reconciled, SaleError> {
        let due_ms = unix_now_ms();
        let lost = Intent::first(booking, &booking.payment, IntentState::Refunded, due_ms);
        self.archive.insert_intent(&lost).await?;
        Ok(wait("its intent was lost, and is written anew"))
    }

    async fn give_back_now(
        &self,
        booking: &Booking,
        intent: &Intent,
        retry: Retry,
    ) -> Result<Back, SaleError> {
        let (payment, total) = (intent.payment.as_str(), booking.amount);
        for _ in 0..LOOKS_MAX {
            let Some(standing) = self.provider.get(payment).await? else {
                let (booking_id, payment) = (booking.id, payment.to_owned());
                tracing::error!(%booking_id, payment, "ALARM: the provider does not know a payment");
                return Ok(Back::NotYet("the provider does not know its payment"));
            };
            match standing.state {
                State::Paid if standing.refunded >= total => {
                    return Ok(Back::All(standing.refunded));
                }
                State::Paid if standing.refunded + standing.refund_pending >= total => {
                    return Ok(Back::OnItsWay);
                }
                State::Paid => return self.send_refund(booking, intent, retry).await,
                State::Cancelled => return Ok(Back::All(0)),
                State::Processing => return Ok(Back::NotYet("its payment is under way")),
                State::Open => {
                    if self.provider.cancel(payment).await? == State::Cancelled {
                        return Ok(Back::All(0));
                    }
                }
            }
        }
        Ok(Back::NotYet("its payment changes just now"))
    }

    /// Sends the attempt that the intent says may be sent, if it is time.
    async fn send_refund(
        &self,
        booking: &Booking,
        intent: &Intent,
        retry: Retry,
    ) -> Result<Back, SaleError> {
        if retry == Retry::WhenDue
            && let Some(until_ms) = intent.refund_waits_until(unix_now_ms())
        {
            return Ok(Back::NotBefore(until_ms));
        }
        let order = RefundOrder {
            booking: booking.id,
            payment: intent.payment.clone(),
            currency: booking.currency.clone(),
            total: booking.amount,
            attempt: intent.refund_attempt(),
        };
        let refunded = self.provider.refund(&order).await?;
        self.faults.reached(FaultStep::Refund);
        Ok(match refunded {
            Refunded::Succeeded(refunded) => Back::All(refunded),
            Refunded::Pending => Back::OnItsWay,
            Refunded::Failed(reason) => Back::Failed(reason),
        })
    }

    async fn given_back(&self, intent: &Intent, refunded: i64) -> Result<Reconciled, SaleError> {
        let closed = self.close(intent, IntentState::Refunded, refunded).await?;
        if closed.is_final() && intent.due_ms.is_some() && refunded > 0 {
            tracing::info!(booking_id = %intent.booking, refunded, "money is given back");
            self.counted("refunded");
        }
        Ok(closed)
    }

    async fn note_pending(&self, intent: &Intent, total: i64) -> Result<Reconciled, SaleError> {
        let now_ms = unix_now_ms();
        if let Some(pending) = intent.refund_pending(total, now_ms) {
            if !self.archive.change_intent(&pending).await? {
                return Ok(wait("it was changed meanwhile"));
            }
            self.faults.reached(FaultStep::RefundRecorded);
            tracing::info!(booking_id = %intent.booking, "a refund is on its way");
            self.counted("refund_pending");
        }
        Ok(Reconciled::Refunding { until_ms: intent.refund_poll_at(now_ms) })
    }

    async fn note_failed(
        &self,
        intent: &Intent,
        total: i64,
        reason: String,
    ) -> Result<Reconciled, SaleError> {
        let now_ms = unix_now_ms();
        let failed = intent.refund_failed(total, reason, now_ms);
        if !self.archive.change_intent(&failed).await? {
            return Ok(wait("it was changed meanwhile"));
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
        let until_ms = failed.refund_waits_until(now_ms).unwrap_or(now_ms + LOOK_AGAIN_MS);
        Ok(Reconciled::Refunding { until_ms })
    }

    /// Closes an intent, unless somebody changed it since it was read: then it stays due.
    pub(super) async fn close(
        &self,
        intent: &Intent,
        state: IntentState,
        refunded: i64,
    ) -> Result<Reconciled, SaleError> {
        let is_closed = intent.due_ms.is_none() && intent.state == state;
        if is_closed || self.archive.change_intent(&intent.closed(state, refunded)).await? {
            return Ok(Reconciled::Done(state));
        }
        Ok(wait("it was changed meanwhile"))
    }
}
