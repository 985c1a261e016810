//! Payments: the only place where a sale calls its payment provider. [`charge`] serves the
//! confirmation (create → intent → charge), [`reconcile`] finds out the state of a payment that no
//! confirmation handles any more and takes the next safe step, [`check`] does so for all.
//!
//! These may work on one booking at once: confirmations in several API processes, some of them
//! suspended for a day; reconcilers of several workers; a webhook; an operator. The following keeps
//! them from charging twice and from selling what is not paid:
//!
//! ```text
//!   confirm_begin (Redis: lease L) → create → intent open(n) under L (MongoDB) → charge booking:n
//!      → confirm_commit under L (Redis) → sold → claims → outcome → settle
//! ```
//!
//! * *Suspended before its intent is written*: meanwhile its lease lapsed and another process has
//!   L+1. If that one has written the intent, this one's insert fails and its claim is `Stale`. If
//!   not, this one opens attempt 1 under L; the other takes the intent over, queries the provider and
//!   sends the same attempt under the same key: one charge. The commit under L is refused.
//! * *Suspended before its charge is sent*: as above; the same key charges once. If the object was
//!   cancelled for good meanwhile, the provider refuses the charge.
//! * *No confirmation follows*: the reconciler takes a lapsed lease over and releases the booking only
//!   if no money can move any more: there is no open intent, and an `idle` one under its own lease
//!   excludes suspended processes (`abandon`, `release`); or the provider has cancelled the object
//!   for good.
//! * *Paid, and the process that knew it has died*: a reconciler commits it (`confirm_late`), at any
//!   later time and however often: an object is paid once, so it is the same sale. If its seats are
//!   taken, the archive's outcome becomes `refund`, by compare-and-set against `sold`; only then is
//!   the money returned.
//! * *A crash between any two steps*: the intent stays due until it is closed, so the reconciler finds
//!   it. Closing names the `rev` that was read, so a concurrent cancellation keeps it due.
//! * *A lost reply of MongoDB* while the intent is written: this process does not charge and returns
//!   its lease. The open intent is found by the next confirmation, or by the reconciler once the
//!   booking is over.

mod charge;
mod check;
mod mark_paid;
mod outside;
mod reconcile;
mod reconciled;
mod refund;

use std::sync::Arc;

use super::archiving::Archiver;
use super::{Breakers, SaleError, SaleObserver, SaleSettings, unix_now_ms};
use crate::archive::Archive;
use crate::domain::{BookingId, Intent, LoadState};
use crate::faults::Faults;
use crate::payments::{PaymentError, Provider};
use crate::redis::Engine;
use crate::telemetry::warn_repeated;

pub(super) use charge::ChargeResult;
pub use check::{
    CheckOptions, DifferenceKind, MendedPayment, MoneyTotals, PaymentDifference, PaymentsReport,
};
pub use mark_paid::{MarkPaid, MarkedPaid};
pub use reconciled::{ReconcileResult, WaitReason};

/// Delay before an intent is reconciled again, unless its wait has a known end, ms.
const RETRY_DELAY_MS: i64 = 5_000;
/// The maximum of that delay, ms, and the part of the time since the hold's deadline in between.
const RETRY_DELAY_MAX_MS: i64 = 300_000;
const RETRY_DELAY_PART: i64 = 10;

/// Charges, reconciles and refunds bookings. Cheap to clone.
#[derive(Clone)]
pub struct PaymentService {
    engine: Engine,
    archive: Archive,
    provider: Arc<dyn Provider>,
    archiver: Archiver,
    observer: Arc<dyn SaleObserver>,
    faults: Arc<Faults>,
    lease_ms: i64,
}

impl PaymentService {
    /// Creates the service.
    pub fn new(
        engine: Engine,
        archive: Archive,
        provider: Arc<dyn Provider>,
        settings: &SaleSettings,
        observer: Arc<dyn SaleObserver>,
        faults: Arc<Faults>,
    ) -> Self {
        let archiver = Archiver::new(engine.clone(), archive.clone(), settings.ended_keep_seconds);
        let lease_ms = settings.confirm_lease_ms;
        PaymentService { engine, archive, provider, archiver, observer, faults, lease_ms }
    }

    /// The payment provider.
    pub(super) fn provider(&self) -> &dyn Provider {
        &*self.provider
    }

    /// Returns the booking that the provider names for a payment object.
    pub(super) async fn booking_of(&self, payment: &str) -> Result<Option<BookingId>, SaleError> {
        Ok(self.provider.get(payment).await?.and_then(|payment| payment.booking))
    }

    /// The circuit breakers of everything that a payment needs.
    pub fn breakers(&self) -> Breakers {
        [
            ("redis", self.engine.breaker()),
            ("mongodb", self.archive.breaker()),
            ("payments", self.provider.breaker()),
        ]
    }

    /// The dependency without answers for which a new payment would be refused now.
    pub(super) fn refusing_dependency(&self) -> Option<&'static str> {
        match self.archive.refuses() {
            true => Some("mongodb"),
            false => self.provider.refuses().then_some("payments"),
        }
    }

    fn counted(&self, what: &'static str) {
        self.observer.payment(what);
    }

    /// Whether the booking's event was unloaded by an operator (or never loaded).
    async fn is_unloaded(&self, id: BookingId) -> Result<bool, SaleError> {
        let facts = self.archive.load_facts(id.event()).await?;
        Ok(facts.is_none_or(|facts| facts.load_state == LoadState::Unloaded))
    }

    /// Schedules the next reconciliation of an intent. A concurrent change of it schedules one, too.
    async fn schedule_retry(&self, intent: &Intent, until_ms: Option<i64>) {
        let now_ms = unix_now_ms();
        let due_ms = until_ms.unwrap_or(0).max(now_ms + retry_delay_ms(intent.deadline_ms, now_ms));
        if let Err(error) = self.archive.change_intent(&intent.due(due_ms)).await {
            warn_repeated!(booking_id = %intent.booking, %error, "an intent is not rescheduled and stays due");
        }
    }
}

impl From<PaymentError> for SaleError {
    fn from(error: PaymentError) -> Self {
        if let PaymentError::Impossible(reason) = error {
            return SaleError::PaymentImpossible(reason);
        }
        let unknown = matches!(error, PaymentError::Unknown(_));
        SaleError::Unavailable { dependency: "payments", reason: error.to_string(), unknown }
    }
}

/// The delay before the next reconciliation if nothing else determines it. It grows with the time
/// that a payment has been unsettled, so that a state that does not change costs ever less.
fn retry_delay_ms(deadline_ms: i64, now_ms: i64) -> i64 {
    ((now_ms - deadline_ms) / RETRY_DELAY_PART).clamp(RETRY_DELAY_MS, RETRY_DELAY_MAX_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_delay_grows_with_the_time_unsettled() {
        let delays =
            [-60_000, 0, 40_000, 600_000, 86_400_000].map(|age_ms| retry_delay_ms(0, age_ms));
        assert_eq!(delays, [5_000, 5_000, 5_000, 60_000, 300_000]);
    }
}
