//! Charging: create → intent → charge, and what is known afterwards.

use super::PaymentService;
use crate::domain::intent::Claim;
use crate::domain::{Booking, Intent, IntentState};
use crate::faults::FaultStep;
use crate::payments::{Charge, Order, PaymentError, State};
use crate::sale::{SaleError, unix_now_ms};
use crate::telemetry::warn_repeated;

/// Looks at an intent that others change meanwhile.
const CLAIMS_MAX: u32 = 4;
/// Attempts of one confirmation: one that it took over and that was declined, and its own.
const ATTEMPTS_MAX: u32 = 2;
/// Times that one attempt is sent, under one key, while its answer is not known.
const SENDS_MAX: u32 = 2;

/// What became of a charge.
#[derive(Clone, Debug)]
pub(in crate::sale) enum Charged {
    /// The object is paid.
    Paid {
        /// The provider's payment object.
        payment: String,
    },
    /// This attempt is over without money; the text is for the buyer.
    Declined(String),
    /// It may be paid, now or later; the reconciler knows of it.
    Unknown,
    /// Nothing was sent, and nothing will be: why.
    NotSent(SaleError),
    /// Nothing was sent, and the lease is not ours any more, or the money is settled.
    Overtaken,
}

/// An intent that this process may charge.
enum Claimed {
    /// Its attempt was never sent before.
    Fresh(Intent),
    /// Its attempt may have been sent by another.
    TakenOver(Intent),
    Stale,
    Closed,
}

impl PaymentService {
    /// Has a booking paid that is under a lease of ours.
    pub(in crate::sale) async fn charge(&self, booking: &Booking, method: &str) -> Charged {
        if booking.amount == 0 {
            // Nothing to pay: no object, no intent, and nothing to give back.
            return Charged::Paid { payment: format!("free_{}", booking.id.uuid().simple()) };
        }
        let order = Order {
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
                return Charged::NotSent(not_sent(error.into()));
            }
        };
        self.faults.reached(FaultStep::Create);
        let mut declined = None;
        for _ in 0..ATTEMPTS_MAX {
            let (intent, is_fresh) = match self.claim(booking, &payment).await {
                Ok(Claimed::Fresh(intent)) => (intent, true),
                Ok(Claimed::TakenOver(intent)) => (intent, false),
                Ok(Claimed::Stale | Claimed::Closed) => return Charged::Overtaken,
                Err(error) => {
                    let not_sent = || Charged::NotSent(not_sent(error));
                    return declined.map_or_else(not_sent, Charged::Declined);
                }
            };
            self.faults.reached(FaultStep::Intent);
            if !is_fresh && let Some(known) = self.look(&intent).await {
                return known;
            }
            let charged = self.send(&intent, method, !is_fresh).await;
            self.faults.reached(FaultStep::Charge);
            let Charged::Declined(reason) = charged else { return charged };
            self.record_decline(&intent).await;
            self.faults.reached(FaultStep::Decline);
            if is_fresh {
                return Charged::Declined(reason);
            }
            // That was the answer to an earlier confirmation's card; ours is yet to come.
            declined = Some(reason);
        }
        Charged::Declined(declined.unwrap_or_default())
    }

    /// INVARIANT: nobody charges without having written the open intent under its own lease.
    async fn claim(&self, booking: &Booking, payment: &str) -> Result<Claimed, SaleError> {
        // When its lease will have lapsed, by our own clock: it decides nothing.
        let due_ms = unix_now_ms() + self.lease_ms;
        let first = Intent::first(booking, payment, IntentState::Open, due_ms);
        let archive = self.archive.promptly();
        if archive.insert_intent(&first).await? {
            return Ok(Claimed::Fresh(first));
        }
        for _ in 0..CLAIMS_MAX {
            let Some(standing) = archive.intent(booking.id).await? else { continue };
            let (next, is_fresh) = match standing.claim(booking, payment, due_ms) {
                Claim::Mine => return Ok(Claimed::TakenOver(standing)),
                Claim::Next(next) => (*next, true),
                Claim::TakeOver(next) => (*next, false),
                Claim::Stale => return Ok(Claimed::Stale),
                Claim::Closed => return Ok(Claimed::Closed),
            };
            if archive.change_intent(&next).await? {
                return Ok(if is_fresh { Claimed::Fresh(next) } else { Claimed::TakenOver(next) });
            }
        }
        Ok(Claimed::Stale)
    }

    /// What the provider says of an attempt that another may have sent; `None`: send it.
    async fn look(&self, intent: &Intent) -> Option<Charged> {
        match self.provider.get(&intent.payment).await {
            Ok(Some(payment)) => match payment.state {
                State::Paid => Some(Charged::Paid { payment: intent.payment.clone() }),
                State::Processing => Some(Charged::Unknown),
                State::Cancelled => Some(Charged::Overtaken),
                State::Open => None,
            },
            Ok(None) => None,
            // Perhaps it is paid: to say that nothing happened would be a guess.
            Err(_) => Some(Charged::Unknown),
        }
    }

    /// Sends an attempt. `was_sent`: perhaps by another before, who may not have its answer yet.
    async fn send(&self, intent: &Intent, method: &str, was_sent: bool) -> Charged {
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
                Ok(State::Paid) => {
                    self.counted("charged");
                    return Charged::Paid { payment: intent.payment.clone() };
                }
                Ok(State::Cancelled) => return Charged::Overtaken,
                Ok(State::Open | State::Processing) => {}
                Err(PaymentError::Declined(reason)) => {
                    self.counted("declined");
                    return Charged::Declined(reason);
                }
                // That this sending did nothing says nothing of one before it.
                Err(PaymentError::NotDone(_) | PaymentError::Impossible(_)) if may_be_charged => {
                    break;
                }
                Err(PaymentError::Impossible(reason)) => {
                    self.counted("impossible");
                    return Charged::Declined(reason);
                }
                Err(PaymentError::NotDone(reason)) => {
                    self.counted("not_done");
                    warn_repeated!(booking_id = %id, reason, "a charge was not done");
                    return Charged::Declined("the payment could not be made".to_owned());
                }
                Err(PaymentError::Unknown(reason)) => {
                    warn_repeated!(booking_id = %id, reason, "the answer to a charge is not known");
                }
            }
            may_be_charged = true;
            if let Some(known) = self.look(intent).await {
                return known;
            }
        }
        self.counted("unknown");
        Charged::Unknown
    }

    /// Failing to record it costs the next card one question to the provider, no more.
    async fn record_decline(&self, intent: &Intent) {
        let recorded = self.archive.promptly().change_intent(&intent.idle()).await;
        if !matches!(recorded, Ok(true)) {
            warn_repeated!(booking_id = %intent.booking, ?recorded, "a decline is not recorded");
        }
    }
}

/// Whatever became of what failed, this confirmation charges nothing.
fn not_sent(error: SaleError) -> SaleError {
    error.of_nothing_done()
}
