//! What a payment provider's webhook sets in motion: a look at the booking's payment, the same one
//! that a worker takes. So webhooks may come twice, late, in any order, or never.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::{Sale, SaleError};
use crate::payments::webhook::About;
use crate::telemetry::trace;

/// Webhooks that one process handles at a time: each may ask the provider. More are refused, and
/// the provider sends them again.
pub(super) const AT_ONCE_MAX: usize = 64;

/// What became of a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebhookResult {
    /// The booking's payment was looked at.
    Handled,
    /// It was handled before.
    Duplicate,
    /// We never had this booking paid: it belongs to somebody else on the same account.
    Foreign,
}

impl Sale {
    /// Handles a webhook about a booking or its payment. It is recorded as handled only after it was, so that a
    /// crash in between lets it be handled again.
    ///
    /// # Errors
    /// If it could not be handled: it should be sent again.
    pub async fn notice(
        &self,
        id: String,
        kind: String,
        about: About,
    ) -> Result<WebhookResult, SaleError> {
        let places = Arc::clone(&self.inner.notices);
        let place = places.try_acquire_owned().map_err(|_| SaleError::Unavailable {
            dependency: "webhooks",
            reason: format!("{AT_ONCE_MAX} are being handled"),
            unknown: false,
        })?;
        let sale = self.clone();
        // A task of its own: a provider that hangs up does not stop it half-way.
        let task = trace::spawn(async move {
            let _place = place;
            sale.notice_to_the_end(&id, &kind, about).await
        });
        task.await.unwrap_or_else(|error| Err(SaleError::Internal(error.to_string())))
    }

    async fn notice_to_the_end(
        &self,
        id: &str,
        kind: &str,
        about: About,
    ) -> Result<WebhookResult, SaleError> {
        let archive = &self.inner.archive;
        if archive.webhook_is_handled(id).await? {
            return Ok(WebhookResult::Duplicate);
        }
        let booking = match about {
            About::Booking(booking) => Some(booking),
            About::Payment(payment) => self.inner.payments.booking_of(&payment).await?,
        };
        let Some(booking) = booking else { return Ok(WebhookResult::Foreign) };
        // INVARIANT: an intent is written before anything is charged.
        if archive.intent(booking).await?.is_none() {
            return Ok(WebhookResult::Foreign);
        }
        // What is not final yet stays due, and a worker looks again: nothing depends on this one.
        let reconciled = self.inner.payments.reconcile(booking).await?;
        tracing::info!(booking_id = %booking, kind, result = reconciled.as_str(), "webhook");
        archive.record_webhook(id, kind, booking).await?;
        Ok(WebhookResult::Handled)
    }
}

/// Places for the webhooks of one process.
pub(super) fn places() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(AT_ONCE_MAX))
}
