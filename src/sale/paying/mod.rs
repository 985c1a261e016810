//! Money: the one place where a sale speaks to its payment provider. Two parts: [`charge`] is the
//! confirmation's way (create → intent → charge), [`reconcile`] finds out what became of a payment
//! that nobody looks after any more and takes the next safe step, [`check`] does so for all.
//!
//! Who may be at work on one booking at once: confirmations of several API processes, some of them
//! asleep since yesterday; reconcilers of several workers; a webhook; an operator. What keeps them
//! from charging twice, or from selling what is not paid:
//!
//! ```text
//!   confirm_begin (Redis: lease L) → create → intent open(n) under L (MongoDB) → charge booking:n
//!      → confirm_commit under L (Redis) → sold → claims → outcome → settle
//! ```
//!
//! * *Asleep before its intent is written*: meanwhile its lease lapsed and another has L+1. If that
//!   one has written the intent, this one's insert fails and it finds itself `Stale`. If not, this
//!   one opens attempt 1 under L; the other takes the intent over, asks the provider, and sends the
//!   same attempt under the same key: one charge. The sleeper's commit is refused by its lease.
//! * *Asleep before its charge is sent*: as above; the same key charges once. Was the object
//!   cancelled for good meanwhile, the provider refuses the charge.
//! * *Nobody came*: the reconciler takes a lapsed lease over and releases a booking only if no money
//!   can come any more: there is no open intent, and an `idle` one under its own lease keeps sleepers
//!   out (`abandon`, `release`); or the provider has cancelled the object for good.
//! * *Paid, and whoever knew of it is gone*: a reconciler commits it (`confirm_late`), at any later
//!   time and however often: an object is paid once, so it is the same sale. If its seats are gone,
//!   the archive's outcome becomes `refund`, by compare-and-set against `sold`; only after that does
//!   money go back.
//! * *A crash between any two steps*: everything is found again from the intent, which stays due
//!   until it is closed. Closing names the `rev` that was seen, so a cancellation that comes
//!   meanwhile keeps it due.
//! * *A lost reply of MongoDB* while the intent is written: this process does not charge, and gives
//!   its lease back. The open intent is met by the next confirmation, or by the reconciler once
//!   the booking is over.

mod charge;
mod check;
mod reconcile;
mod reconciled;
mod refund;

use std::sync::Arc;

use super::archiving::Archiver;
use super::{SaleError, SaleObserver, SaleSettings, unix_now_ms};
use crate::archive::Archive;
use crate::domain::{BookingId, Intent, LoadState};
use crate::faults::Faults;
use crate::payments::{PaymentError, Provider};
use crate::redis::Engine;
use crate::telemetry::warn_repeated;

pub(super) use charge::Charged;
pub use check::{CheckOptions, Difference, Mended, MoneyTotals, PaymentsReport};
pub use reconciled::{Reconciled, Wait};

/// How soon an intent is looked at again that waits for something without a time of its own, ms.
const LOOK_AGAIN_MS: i64 = 5_000;
/// The same after a long time, ms, and the part of the time since its hold's deadline in between.
const LOOK_AGAIN_MAX_MS: i64 = 300_000;
const LOOK_AGAIN_PART: i64 = 10;

/// What is needed to see to a booking's money. Cheap to clone.
#[derive(Clone)]
pub struct PaymentService {
    engine: Engine,
    archive: Archive,
    provider: Arc<dyn Provider>,
    carrier: Archiver,
    observer: Arc<dyn SaleObserver>,
    faults: Arc<Faults>,
    lease_ms: i64,
}

impl PaymentService {
    /// A cashier between these.
    pub fn new(
        engine: Engine,
        archive: Archive,
        provider: Arc<dyn Provider>,
        settings: &SaleSettings,
        observer: Arc<dyn SaleObserver>,
        faults: Arc<Faults>,
    ) -> Self {
        let carrier = Archiver::new(engine.clone(), archive.clone(), settings.ended_keep_seconds);
        let lease_ms = settings.confirm_lease_ms;
        PaymentService { engine, archive, provider, carrier, observer, faults, lease_ms }
    }

    /// The booking that the provider has this payment object for.
    pub(super) async fn booking_of(&self, payment: &str) -> Result<Option<BookingId>, SaleError> {
        Ok(self.provider.get(payment).await?.and_then(|payment| payment.booking))
    }

    fn counted(&self, what: &'static str) {
        self.observer.payment(what);
    }

    /// Whether the booking's event was taken out of Redis by its operator (or never was).
    async fn is_unloaded(&self, id: BookingId) -> Result<bool, SaleError> {
        let facts = self.archive.load_facts(id.event()).await?;
        Ok(facts.is_none_or(|facts| facts.load_state == LoadState::Unloaded))
    }

    /// Has an intent looked at again in a while. Another's change of it is as good.
    async fn look_again(&self, intent: &Intent, until_ms: Option<i64>) {
        let now_ms = unix_now_ms();
        let due_ms = until_ms.unwrap_or(0).max(now_ms + pause_ms(intent.deadline_ms, now_ms));
        if let Err(error) = self.archive.change_intent(&intent.due(due_ms)).await {
            warn_repeated!(booking_id = %intent.booking, %error, "an intent stays due");
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

/// How long to wait with another look where nothing says when: what has been unsettled for long is
/// looked at ever more seldom, as an answer that does not change would be asked for for ever.
fn pause_ms(deadline_ms: i64, now_ms: i64) -> i64 {
    ((now_ms - deadline_ms) / LOOK_AGAIN_PART).clamp(LOOK_AGAIN_MS, LOOK_AGAIN_MAX_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_unsettled_is_looked_at_ever_more_seldom() {
        let pauses = [-60_000, 0, 40_000, 600_000, 86_400_000].map(|age_ms| pause_ms(0, age_ms));
        assert_eq!(pauses, [5_000, 5_000, 5_000, 60_000, 300_000]);
    }
}
