//! The checks that operators start: `verify` and `reconcile`. A process runs one at a time. `verify`, which
//! only reads, ends with the request; `reconcile` runs to its end even if the client disconnects, and logs its result.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::verify::{Report, verify};
use super::{CheckOptions, PaymentsReport, Sale, SaleError};
use crate::domain::EventId;

/// Longest time of a check that only reads, seconds.
pub const CHECK_SECONDS_MAX: u64 = 120;

/// The one check that may run.
pub(super) struct CheckSlot(Arc<Semaphore>);

impl Default for CheckSlot {
    fn default() -> Self {
        CheckSlot(Arc::new(Semaphore::new(1)))
    }
}

impl CheckSlot {
    fn take(&self) -> Result<OwnedSemaphorePermit, SaleError> {
        self.0.clone().try_acquire_owned().map_err(|_| SaleError::InFlight)
    }
}

impl Sale {
    /// Compares Redis, the booking log and the archive; see [`verify`].
    ///
    /// # Errors
    /// `InFlight` while another check runs; if a service does not answer, or it takes too long.
    pub async fn verify(&self, only: Option<EventId>, wait: Duration) -> Result<Report, SaleError> {
        let _permit = self.inner.checks.take()?;
        let (inner, group) = (&self.inner, &self.inner.settings.worker_group);
        bounded(Box::pin(verify(&inner.engine, &inner.archive, group, only, wait))).await
    }

    /// Compares the archive, Redis and the payment provider. A check that repairs has no bound: what it
    /// begins it ends.
    ///
    /// # Errors
    /// `InFlight` while another check runs; if a service does not answer, or it takes too long.
    pub async fn reconcile(&self, options: CheckOptions) -> Result<PaymentsReport, SaleError> {
        let permit = self.inner.checks.take()?;
        let payments = self.payments().clone();
        let check = tokio::spawn(async move {
            let _permit = permit;
            let check = Box::pin(payments.check(options, |_| {}));
            if !options.mend {
                return bounded(check).await;
            }
            let result = check.await;
            // The client may have left.
            match &result {
                Ok(report) => tracing::info!(
                    fixed = report.mended.len(),
                    differences = report.differences.len(),
                    "payments reconciled"
                ),
                Err(error) => tracing::warn!(%error, "reconciling payments ended early"),
            }
            result
        });
        check.await.map_err(|error| SaleError::Internal(format!("reconcile: {error}")))?
    }
}

async fn bounded<T>(check: impl Future<Output = Result<T, SaleError>>) -> Result<T, SaleError> {
    let bound = Duration::from_secs(CHECK_SECONDS_MAX);
    tokio::time::timeout(bound, check).await.unwrap_or_else(|_| {
        let reason = format!("not ended within {CHECK_SECONDS_MAX} s");
        Err(SaleError::Unavailable { dependency: "check", reason, unknown: false })
    })
}
