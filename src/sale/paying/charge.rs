//! Charges a booking: create → intent → charge, and determines the result.

use super::PaymentService;
use crate::domain::intent::ClaimDecision;
use crate::domain::{Booking, Intent, IntentState};
use crate::faults::FaultStep;
use crate::payments::{Charge, PaymentError, PaymentOrder, PaymentState};
use crate::sale::{SaleError, unix_now_ms};
use crate::telemetry::warn_repeated;

/// Attempts to claim an intent that others change concurrently.
const CLAIMS_MAX: u32 = 4;
/// Payment attempts of one confirmation: a taken-over one that was declined, and its own.
const ATTEMPTS_MAX: u32 = 2;
/// How often one attempt is sent, under one key, while its result is unknown.
const SENDS_MAX: u32 = 2;

/// The result of a charge.
#[derive(Clone, Debug)]
pub(in crate::sale) enum ChargeResult {
    /// The object is paid.
    Paid {
        /// The provider's payment object.
        payment: String,
    },
    /// This attempt ended without money; the text is for the buyer.
    Declined(String),
    /// It may be paid, now or later; the reconciler will find out.
    Unknown,
    /// Nothing was sent and nothing will be, for this reason.
    NotSent(SaleError),
    /// Nothing was sent: the lease was superseded, or the payment is settled.
    Overtaken,
}

/// Whether this process may charge the intent.
enum IntentClaim {
    /// Yes; its attempt was never sent before.
    Fresh(Intent),
    /// Yes; its attempt may have been sent by another process.
    TakenOver(Intent),
    /// No; a newer lease owns it.
    Stale,
    /// No; it is closed.
    Closed,
}

impl PaymentService {
    /// Has a booking paid. The caller holds its confirmation lease.
    pub(in crate::sale) async fn charge(&self, booking: &Booking, method: &str) -> ChargeResult {
        if booking.amount == 0 {
            // Nothing to pay: no object and no intent.
            return ChargeResult::Paid { payment: format!("free_{}", booking.id.uuid().simple()) };
        }
        let order = PaymentOrder {
            booking: booking.id,
            amount: booking.amount,
            currency: booking.currency.clone(),
        };
        let payment = match self.provider.create(&order).await {
            Ok(payment) => payment,
            Err(error) => {
                if let PaymentError::Impossible(reason) = &error {
                    self.counted("impossible");
                    let (booking_id, currency) = (booking.id, &booking.currency);
                    tracing::error!(%booking_id, currency, reason, "ALARM: a payment is not possible");
                }
                return ChargeResult::NotSent(not_sent(error.into()));
            }
        };
        self.faults.reached(FaultStep::Create);
        let mut declined = None;
        for _ in 0..ATTEMPTS_MAX {
            let (intent, is_fresh) = match self.claim(booking, &payment).await {
                Ok(IntentClaim::Fresh(intent)) => (intent, true),
                Ok(IntentClaim::TakenOver(intent)) => (intent, false),
                Ok(IntentClaim::Stale | IntentClaim::Closed) => return ChargeResult::Overtaken,
                Err(error) => {
                    let not_sent = || ChargeResult::NotSent(not_sent(error));
                    return declined.map_or_else(not_sent, ChargeResult::Declined);
                }
            };
            self.faults.reached(FaultStep::Intent);
            if !is_fresh && let Some(known) = self.result_at_provider(&intent).await {
                return known;
            }
            let charged = self.send(&intent, method, !is_fresh).await;
            self.faults.reached(FaultStep::Charge);
            let ChargeResult::Declined(reason) = charged else { return charged };
            self.record_decline(&intent).await;
            self.faults.reached(FaultStep::Decline);
            if is_fresh {
                return ChargeResult::Declined(reason);
            }
            // The decline concerns the earlier confirmation's card; ours was not sent yet.
            declined = Some(reason);
        }
        ChargeResult::Declined(declined.unwrap_or_default())
    }

    /// INVARIANT: a process charges only after writing the open intent under its own lease.
    async fn claim(&self, booking: &Booking, payment: &str) -> Result<IntentClaim, SaleError> {
        // When the lease lapses, by this process' clock, which decides nothing.
        let due_ms = unix_now_ms() + self.lease_ms;
        let first = Intent::first(booking, payment, IntentState::Open, due_ms);
        let archive = self.archive.promptly();
        if archive.insert_intent(&first).await? {
            return Ok(IntentClaim::Fresh(first));
        }
        for _ in 0..CLAIMS_MAX {
            let Some(existing) = archive.intent(booking.id).await? else { continue };
            let (next, is_fresh) = match existing.claim(booking, payment, due_ms) {
                ClaimDecision::Mine => return Ok(IntentClaim::TakenOver(existing)),
                ClaimDecision::Next(next) => (*next, true),
                ClaimDecision::TakeOver(next) => (*next, false),
                ClaimDecision::Stale => return Ok(IntentClaim::Stale),
                ClaimDecision::Closed => return Ok(IntentClaim::Closed),
            };
            if archive.change_intent(&next).await? {
                return Ok(if is_fresh {
                    IntentClaim::Fresh(next)
                } else {
                    IntentClaim::TakenOver(next)
                });
            }
        }
        Ok(IntentClaim::Stale)
    }

    /// The result of an attempt that another process may have sent; `None` if it must be sent.
    async fn result_at_provider(&self, intent: &Intent) -> Option<ChargeResult> {
        match self.provider.get(&intent.payment).await {
            Ok(Some(payment)) => match payment.state {
                PaymentState::Paid => Some(ChargeResult::Paid { payment: intent.payment.clone() }),
                PaymentState::Processing => Some(ChargeResult::Unknown),
                PaymentState::Cancelled => Some(ChargeResult::Overtaken),
                PaymentState::Open => None,
            },
            Ok(None) => None,
            // It may be paid.
            Err(_) => Some(ChargeResult::Unknown),
        }
    }

    /// Sends an attempt. `was_sent`: another process may have sent it and still await the result.
    async fn send(&self, intent: &Intent, method: &str, was_sent: bool) -> ChargeResult {
        let charge = Charge {
            booking: intent.booking,
            attempt: intent.attempt,
            payment: intent.payment.clone(),
            method: method.to_owned(),
            amount: intent.amount,
            currency: intent.currency.clone(),
        };
        let id = intent.booking;
        let mut may_be_charged = was_sent;
        for _ in 0..SENDS_MAX {
            match self.provider.charge(&charge).await {
                Ok(PaymentState::Paid) => {
                    self.counted("charged");
                    return ChargeResult::Paid { payment: intent.payment.clone() };
                }
                Ok(PaymentState::Cancelled) => return ChargeResult::Overtaken,
                Ok(PaymentState::Open | PaymentState::Processing) => {}
                Err(PaymentError::Declined(reason)) => {
                    self.counted("declined");
                    return ChargeResult::Declined(reason);
                }
                // This request did nothing, but an earlier one may have.
                Err(PaymentError::NotDone(_) | PaymentError::Impossible(_)) if may_be_charged => {
                    break;
                }
                Err(PaymentError::Impossible(reason)) => {
                    self.counted("impossible");
                    return ChargeResult::Declined(reason);
                }
                Err(PaymentError::NotDone(reason)) => {
                    self.counted("not_done");
                    warn_repeated!(booking_id = %id, reason, "a charge was not carried out");
                    return ChargeResult::Declined("the payment could not be made".to_owned());
                }
                Err(PaymentError::Unknown(reason)) => {
                    warn_repeated!(booking_id = %id, reason, "the result of a charge is unknown");
                }
            }
            may_be_charged = true;
            if let Some(known) = self.result_at_provider(intent).await {
                return known;
            }
        }
        self.counted("unknown");
        ChargeResult::Unknown
    }

    /// Records a decline. If this fails, the next card costs one more request to the provider.
    async fn record_decline(&self, intent: &Intent) {
        let recorded = self.archive.promptly().change_intent(&intent.idle()).await;
        if !matches!(recorded, Ok(true)) {
            warn_repeated!(booking_id = %intent.booking, ?recorded, "a decline is not recorded");
        }
    }
}

/// Marks that this confirmation charges nothing, whatever the failed call did.
fn not_sent(error: SaleError) -> SaleError {
    error.without_effect()
}
