//! Refunds of sold bookings that were made outside, as in the provider's dashboard. The booking stays
//! sold: what was refunded is recorded, and a later cancellation refunds only the rest.
//!
//! The provider is queried only where a refund may be found: after a webhook about a refund, by
//! `reconcile --fix`, and while a recorded refund may still fail. An ordinary sale costs no query.
//!
//! | between | consequence |
//! |---|---|
//! | two processes record the same refund | one by compare-and-set; the other finds it recorded |
//! | a cancellation while it is recorded | it raises `rev`: one of both fails, and the intent stays due |
//! | killed before it is recorded | the webhook is sent again; else `reconcile` reports it |
//! | an older worker closes the intent meanwhile | the movements stay; they rank above the sum that it resets |

use super::reconciled::wait;
use super::refund::Retry;
use super::{PaymentService, ReconcileResult};
use crate::archive::ArchivedBooking;
use crate::domain::movement::OUTSIDE_POLL_MS;
use crate::domain::{BookingId, Intent, IntentState};
use crate::payments::{Payment, PaymentState};
use crate::sale::{SaleError, unix_now_ms};

impl PaymentService {
    /// Like [`PaymentService::reconcile`], after word of a refund: one that was made outside is recorded.
    ///
    /// # Errors
    /// As for [`PaymentService::reconcile`].
    pub async fn reconcile_refund(&self, id: BookingId) -> Result<ReconcileResult, SaleError> {
        self.reconcile_with(id, Retry::WhenDueAfterNews).await
    }

    /// Closes the intent of a sold booking, and records refunds from outside where there may be some.
    pub(super) async fn close_sold(
        &self,
        intent: &Intent,
        retry: Retry,
    ) -> Result<ReconcileResult, SaleError> {
        if retry == Retry::WhenDue && intent.outside_pending == 0 || intent.payment.is_empty() {
            return self.close(intent, IntentState::Sold).await;
        }
        match self.provider.get(&intent.payment).await? {
            Some(paid) if paid.state == PaymentState::Paid => {
                self.record_outside(intent, &paid).await
            }
            // `check` reports it.
            _ => self.close(intent, IntentState::Sold).await,
        }
    }

    async fn record_outside(
        &self,
        intent: &Intent,
        paid: &Payment,
    ) -> Result<ReconcileResult, SaleError> {
        let (seen, now_ms) = (paid.seen_refunds(), unix_now_ms());
        if let Some(next) = intent.sold_with(seen, now_ms) {
            if !self.archive.change_intent(&next).await? {
                return Ok(wait("it was changed concurrently"));
            }
            if intent.differs_from(seen) {
                let (booking_id, refunded) = (intent.booking, seen.refunded);
                tracing::warn!(%booking_id, refunded, "a sold booking was refunded outside");
                self.counted("refunded_outside");
            }
        }
        Ok(match seen.pending {
            0 => ReconcileResult::Done(IntentState::Sold),
            _ => ReconcileResult::Refunding { until_ms: now_ms + OUTSIDE_POLL_MS },
        })
    }

    /// Writes the lost intent of a sold booking whose payment the provider shows, on an operator's request.
    pub(super) async fn recreate_sold(
        &self,
        archived: &ArchivedBooking,
        retry: Retry,
    ) -> Result<ReconcileResult, SaleError> {
        let booking = &archived.booking;
        if retry != Retry::Now || booking.amount == 0 || booking.payment.is_empty() {
            return Ok(ReconcileResult::Nothing);
        }
        let Some(paid) = self.provider.get(&booking.payment).await? else {
            return Ok(ReconcileResult::Nothing);
        };
        let is_its_own = paid.state == PaymentState::Paid
            && (paid.amount, &paid.currency) == (booking.amount, &booking.currency)
            && paid.booking.is_none_or(|of| of == booking.id);
        if !is_its_own {
            return Ok(ReconcileResult::Nothing);
        }
        let now_ms = unix_now_ms();
        let lost = Intent::first(booking, &booking.payment, IntentState::Sold, now_ms);
        self.archive.insert_intent(&lost).await?;
        match self.archive.intent(booking.id).await? {
            Some(intent) => self.record_outside(&intent, &paid).await,
            None => Ok(wait("its intent is not readable yet")),
        }
    }
}
