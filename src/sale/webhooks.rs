//! Handles webhooks of the payment provider: each reconciles the booking's payment, as the worker
//! does. So webhooks may arrive twice, late, in any order, or never.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::{ReconcileResult, Sale, SaleError};
use crate::payments::webhook::{WebhookSubject, is_about_refund};
use crate::telemetry::trace;

/// Webhooks that one process handles at a time: each may query the provider. Further ones are
/// refused, and the provider sends them again.
pub(super) const AT_ONCE_MAX: usize = 64;

/// The result of a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebhookResult {
    /// The booking's payment was reconciled.
    Handled,
    /// It was handled before.
    Duplicate,
    /// It concerns no payment of this deployment: another system uses the same account.
    Foreign,
}

impl Sale {
    /// Handles a webhook about a booking or its payment. It is recorded as handled afterwards, so
    /// that a crash in between lets it be handled again.
    ///
    /// # Errors
    /// If it could not be handled: the provider should send it again.
    pub async fn handle_webhook(
        &self,
        id: String,
        kind: String,
        subject: WebhookSubject,
    ) -> Result<WebhookResult, SaleError> {
        let permits = Arc::clone(&self.inner.webhook_permits);
        let permit = permits.try_acquire_owned().map_err(|_| SaleError::Unavailable {
            dependency: "webhooks",
            reason: format!("{AT_ONCE_MAX} are being handled"),
            unknown: false,
        })?;
        let sale = self.clone();
        // Its own task: a provider that hangs up does not stop it half-way.
        let task = trace::spawn(async move {
            let _permit = permit;
            sale.process_webhook(&id, &kind, subject).await
        });
        task.await.unwrap_or_else(|error| Err(SaleError::Internal(error.to_string())))
    }

    async fn process_webhook(
        &self,
        id: &str,
        kind: &str,
        subject: WebhookSubject,
    ) -> Result<WebhookResult, SaleError> {
        let archive = &self.inner.archive;
        if archive.webhook_is_handled(id).await? {
            return Ok(WebhookResult::Duplicate);
        }
        let booking = match subject {
            WebhookSubject::Booking(booking) => Some(booking),
            WebhookSubject::Payment(payment) => self.inner.payments.booking_of(&payment).await?,
        };
        let Some(booking) = booking else { return Ok(WebhookResult::Foreign) };
        // INVARIANT: an intent is written before anything is charged.
        if archive.intent(booking).await?.is_none() {
            return Ok(WebhookResult::Foreign);
        }
        // A result that is not final stays due and a worker reconciles it: webhooks are optional.
        let payments = &self.inner.payments;
        let reconciled = match is_about_refund(kind) {
            true => payments.reconcile_refund(booking).await?,
            false => payments.reconcile(booking).await?,
        };
        tracing::info!(booking_id = %booking, kind, result = reconciled.as_str(), "webhook");
        // A refund from outside is recorded only once the archive has decided, and no task queries the provider
        // for it afterwards: refused, so that the provider delivers the webhook again.
        let is_unseen =
            matches!(reconciled, ReconcileResult::Waiting(_) | ReconcileResult::Committed);
        if is_about_refund(kind) && is_unseen {
            let reason = "the refund is not recorded yet".to_owned();
            return Err(SaleError::Unavailable { dependency: "payments", reason, unknown: false });
        }
        archive.record_webhook(id, kind, booking).await?;
        Ok(WebhookResult::Handled)
    }
}

/// The permits of one process.
pub(super) fn permits() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(AT_ONCE_MAX))
}
