//! Giving money back. INVARIANT: only where the archive's outcome says so.

use super::reconcile::wait;
use super::{Cashier, Reconciled};
use crate::archive::ArchivedBooking;
use crate::config::fault::FaultStep;
use crate::domain::{Booking, Intent, IntentState, Outcome};
use crate::payments::State;
use crate::sale::archiving::Settled;
use crate::sale::{SaleError, unix_now_ms};

/// Looks at an object that is paid just when it was to be cancelled.
const LOOKS_MAX: u32 = 2;

/// Whether a booking's money is back.
enum Back {
    /// So much was taken, and is back.
    All(i64),
    /// Why not.
    NotYet(&'static str),
}

impl Cashier {
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
                    Some(archived) => self.give_back(&archived, Some(intent), &follows).await,
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
    ) -> Result<Reconciled, SaleError> {
        let given_back = self.give_back_now(archived, intent).await?;
        match (given_back, intent) {
            // Its money is back; it stays due until Redis shows it, too.
            (Back::All(_), Some(_)) if *follows == Settled::Later => {
                Ok(wait("redis follows later"))
            }
            (Back::All(refunded), Some(intent)) => {
                self.close(intent, IntentState::Refunded, refunded).await
            }
            (Back::All(_), None) => Ok(Reconciled::Done(IntentState::Refunded)),
            (Back::NotYet(why), _) => Ok(wait(why)),
        }
    }

    async fn give_back_now(
        &self,
        archived: &ArchivedBooking,
        intent: Option<&Intent>,
    ) -> Result<Back, SaleError> {
        let booking = &archived.booking;
        if !archived.outcome.is_some_and(Outcome::frees_claims) {
            return Err(SaleError::Internal(format!("{} is not to be refunded", booking.id)));
        }
        let payment = intent.map_or(booking.payment.as_str(), |intent| intent.payment.as_str());
        if booking.amount == 0 || payment.is_empty() {
            return Ok(Back::All(0));
        }
        for _ in 0..LOOKS_MAX {
            let Some(standing) = self.provider.get(payment).await? else {
                let (booking_id, payment) = (booking.id, payment.to_owned());
                tracing::error!(%booking_id, payment, "ALARM: the provider does not know a payment");
                return Ok(Back::NotYet("the provider does not know its payment"));
            };
            match standing.state {
                State::Paid => {
                    let refunded = self.provider.refund(payment, booking.amount).await?;
                    self.faults.reached(FaultStep::Refund);
                    if refunded < booking.amount {
                        return Ok(Back::NotYet("it is given back in part"));
                    }
                    tracing::info!(booking_id = %booking.id, refunded, "money is given back");
                    self.counted("refunded");
                    return Ok(Back::All(refunded));
                }
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
