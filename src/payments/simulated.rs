//! A simulated provider: keeps books without moving money, and fails in every way a real one does.
//!
//! * An object's id contains all that a provider would record at `create`:
//!   `sim_<booking>_<amount>_<currency>`. So `create` writes nothing: an object enters the books when
//!   it is first charged or cancelled, under its booking, so that a booking has one.
//! * `charge` is one guarded write in the usual case; the guard keeps the guarantees of
//!   [`super::Provider`] between any number of processes.
//!
//! Payment methods: `card_ok`; `card_declined`; `card_timeout`, which is charged without a response;
//! `card_error`, which fails before charging. Any other acts as `card_ok`.

use std::time::Duration;

use super::{
    Charge, Payment, PaymentError, PaymentOrder, PaymentState, Provider, ProviderFuture,
    RefundOrder, RefundResult,
};
use crate::archive::{
    Archive, ArchiveError, SimulatedObject, SimulatedPayment, SimulatedPayments, SimulatedState,
};

/// Attempts of one step. A further one is needed only where the guard and a majority read disagree,
/// because the conflicting write has no majority yet.
const TRIES_MAX: u32 = 10;
/// Pause between two attempts.
const PAUSE: Duration = Duration::from_millis(20);

/// The message to a buyer whose card is declined.
const DECLINED: &str = "The card was declined";

/// Settings of the simulated provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimulatedSettings {
    /// Minimum duration of each call.
    pub latency: Duration,
    /// Maximum duration of each call; a charge without a response ends here.
    pub timeout: Duration,
    /// Share of charges that are declined, percent.
    pub decline_percent: u32,
    /// Share of charges that succeed without a response, percent.
    pub timeout_percent: u32,
    /// Share of charges that fail before anything is charged, percent.
    pub error_percent: u32,
}

impl Default for SimulatedSettings {
    fn default() -> Self {
        SimulatedSettings {
            latency: Duration::ZERO,
            timeout: Duration::from_secs(5),
            decline_percent: 0,
            timeout_percent: 0,
            error_percent: 0,
        }
    }
}

/// The simulated provider.
#[derive(Clone, Debug)]
pub struct Simulated {
    books: SimulatedPayments,
    settings: SimulatedSettings,
}

/// The outcome of one charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ChargeOutcome {
    Paid,
    Declined,
    /// Paid, without a response.
    Unanswered,
    /// Not paid, with an error that says so.
    Failed,
}

impl Simulated {
    /// Creates a provider with its books in this archive.
    pub fn new(archive: &Archive, settings: SimulatedSettings) -> Self {
        Simulated { books: archive.simulated_payments(), settings }
    }

    /// Runs a call with the configured latency and bound.
    async fn call<T>(
        &self,
        work: impl Future<Output = Result<T, PaymentError>>,
    ) -> Result<T, PaymentError> {
        let slow = async {
            tokio::time::sleep(self.settings.latency).await;
            work.await
        };
        // A timeout here drops no operation of the driver: the archive completes each.
        let bound = self.settings.timeout;
        tokio::time::timeout(bound, slow).await.unwrap_or_else(|_| {
            Err(PaymentError::Unknown(format!("no answer within {} ms", bound.as_millis())))
        })
    }

    async fn charge_now(&self, charge: &Charge) -> Result<PaymentState, PaymentError> {
        let object = object_of(&charge.payment)?;
        if (charge.amount, &charge.currency) != (object.amount, &object.currency) {
            return Err(PaymentError::NotDone("the payment has another amount".to_owned()));
        }
        let outcome = self.settings.outcome(&charge.method, rand::random_range(0..100));
        if outcome == ChargeOutcome::Failed {
            return Err(PaymentError::NotDone("simulated failure before charging".to_owned()));
        }
        for _ in 0..TRIES_MAX {
            let entered = match outcome {
                ChargeOutcome::Declined => self.books.decline(&object, charge.attempt).await,
                _ => self.books.pay(&object, charge.attempt).await,
            };
            match (entered.map_err(unknown)?, outcome) {
                (true, ChargeOutcome::Declined) => return Err(declined()),
                // Ends by the bound of the call.
                (true, ChargeOutcome::Unanswered) => std::future::pending().await,
                (true, _) => return Ok(PaymentState::Paid),
                (false, _) => {}
            }
            // An earlier result exists: return that.
            match self.find(&object).await? {
                Some(found) if found.state == SimulatedState::Paid => {
                    return Ok(PaymentState::Paid);
                }
                Some(found) if found.state == SimulatedState::Cancelled => {
                    return Ok(PaymentState::Cancelled);
                }
                Some(found) if found.declined.contains(&charge.attempt) => return Err(declined()),
                _ => tokio::time::sleep(PAUSE).await,
            }
        }
        Err(undecided())
    }

    async fn get_now(&self, payment: &str) -> Result<Option<Payment>, PaymentError> {
        let Some(object) = read(payment) else { return Ok(None) };
        let found = self.find(&object).await?;
        let state = found.as_ref().map_or(PaymentState::Open, |found| match found.state {
            SimulatedState::Open => PaymentState::Open,
            SimulatedState::Paid => PaymentState::Paid,
            SimulatedState::Cancelled => PaymentState::Cancelled,
        });
        let (refunded, refunded_outside) =
            found.map_or((0, 0), |found| (found.refunded, found.refunded_outside));
        let SimulatedObject { booking, amount, currency } = object;
        Ok(Some(Payment {
            id: payment.to_owned(),
            state,
            amount,
            currency,
            refunded,
            refunded_outside,
            refund_pending: 0,
            booking: Some(booking),
        }))
    }

    async fn cancel_now(&self, payment: &str) -> Result<PaymentState, PaymentError> {
        let object = object_of(payment)?;
        for _ in 0..TRIES_MAX {
            if self.books.cancel(&object).await.map_err(unknown)? {
                return Ok(PaymentState::Cancelled);
            }
            match self.find(&object).await? {
                Some(found) if found.state == SimulatedState::Paid => {
                    return Ok(PaymentState::Paid);
                }
                _ => tokio::time::sleep(PAUSE).await,
            }
        }
        Err(undecided())
    }

    async fn refund_now(&self, order: &RefundOrder) -> Result<RefundResult, PaymentError> {
        let (object, total) = (object_of(&order.payment)?, order.total);
        for _ in 0..TRIES_MAX {
            let found = self.find(&object).await?;
            let found = found.filter(|found| found.state == SimulatedState::Paid);
            let paid = found.ok_or_else(|| {
                PaymentError::NotDone("there is nothing to give back: it is not paid".to_owned())
            })?;
            if paid.refunded >= total {
                return Ok(RefundResult::Succeeded(paid.refunded));
            }
            if total > paid.amount {
                let reason = format!("{total} is more than was paid, {}", paid.amount);
                return Err(PaymentError::NotDone(reason));
            }
            if self.books.refund(object.booking, total).await.map_err(unknown)? {
                return Ok(RefundResult::Succeeded(total));
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err(undecided())
    }

    async fn find(
        &self,
        object: &SimulatedObject,
    ) -> Result<Option<SimulatedPayment>, PaymentError> {
        self.books.find(object.booking).await.map_err(unknown)
    }
}

impl SimulatedSettings {
    /// The outcome of a charge by this method, `drawn` being 0 to 99.
    fn outcome(&self, method: &str, drawn: u32) -> ChargeOutcome {
        let failed = self.error_percent;
        let declined = failed + self.decline_percent;
        let unanswered = declined + self.timeout_percent;
        match method {
            "card_declined" => ChargeOutcome::Declined,
            "card_timeout" => ChargeOutcome::Unanswered,
            "card_error" => ChargeOutcome::Failed,
            _ if drawn < failed => ChargeOutcome::Failed,
            _ if drawn < declined => ChargeOutcome::Declined,
            _ if drawn < unanswered => ChargeOutcome::Unanswered,
            _ => ChargeOutcome::Paid,
        }
    }
}

/// The id of a payment object.
fn id_of(object: &SimulatedObject) -> String {
    let SimulatedObject { booking, amount, currency } = object;
    format!("sim_{}_{amount}_{currency}", booking.uuid().simple())
}

/// Parses an id; `None` if it is not one of ours.
fn read(payment: &str) -> Option<SimulatedObject> {
    let mut parts = payment.strip_prefix("sim_")?.splitn(3, '_');
    let object = SimulatedObject {
        booking: parts.next()?.parse().ok()?,
        amount: parts.next()?.parse().ok()?,
        currency: parts.next()?.to_owned(),
    };
    (id_of(&object) == payment).then_some(object)
}

fn object_of(payment: &str) -> Result<SimulatedObject, PaymentError> {
    read(payment).ok_or_else(|| PaymentError::NotDone("there is no such payment".to_owned()))
}

fn declined() -> PaymentError {
    PaymentError::Declined(DECLINED.to_owned())
}

fn undecided() -> PaymentError {
    PaymentError::Unknown(format!("its books disagreed {TRIES_MAX} times"))
}

/// Without a reply of MongoDB it is unknown whether the operation was carried out.
fn unknown(error: ArchiveError) -> PaymentError {
    PaymentError::Unknown(error.to_string())
}

impl Provider for Simulated {
    fn name(&self) -> &'static str {
        "simulated"
    }

    fn create<'a>(&'a self, order: &'a PaymentOrder) -> ProviderFuture<'a, String> {
        let PaymentOrder { booking, amount, currency } = order;
        let (booking, amount, currency) = (*booking, *amount, currency.clone());
        let id = id_of(&SimulatedObject { booking, amount, currency });
        Box::pin(self.call(async { Ok(id) }))
    }

    fn charge<'a>(&'a self, charge: &'a Charge) -> ProviderFuture<'a, PaymentState> {
        Box::pin(self.call(self.charge_now(charge)))
    }

    fn get<'a>(&'a self, payment: &'a str) -> ProviderFuture<'a, Option<Payment>> {
        Box::pin(self.call(self.get_now(payment)))
    }

    fn cancel<'a>(&'a self, payment: &'a str) -> ProviderFuture<'a, PaymentState> {
        Box::pin(self.call(self.cancel_now(payment)))
    }

    fn refund<'a>(&'a self, order: &'a RefundOrder) -> ProviderFuture<'a, RefundResult> {
        Box::pin(self.call(self.refund_now(order)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{BookingId, EventId};

    #[test]
    fn id_is_parsed_only_in_canonical_form() {
        let booking = BookingId::new(EventId(7), 1, 2);
        let object = SimulatedObject { booking, amount: 1_000, currency: "EUR".into() };
        assert_eq!(read(&id_of(&object)), Some(object));
        let simple = booking.uuid().simple();
        let uuid = booking.uuid();
        for foreign in [
            "".to_owned(),
            format!("sim_{simple}"),
            format!("sim_{simple}_x_EUR"),
            // One object has one id.
            format!("sim_{simple}_01000_EUR"),
            format!("sim_{uuid}_1000_EUR"),
            "sim_67e5504410b1426f9247bb680e5fe0c8_1000_EUR".to_owned(),
        ] {
            assert_eq!(read(&foreign), None, "{foreign}");
        }
    }

    #[test]
    fn method_and_shares_determine_the_outcome() {
        let settings = SimulatedSettings {
            error_percent: 10,
            decline_percent: 20,
            timeout_percent: 30,
            ..SimulatedSettings::default()
        };
        let drawn = |drawn| settings.outcome("card_ok", drawn);
        assert_eq!([drawn(0), drawn(9)], [ChargeOutcome::Failed; 2]);
        assert_eq!([drawn(10), drawn(29)], [ChargeOutcome::Declined; 2]);
        assert_eq!([drawn(30), drawn(59)], [ChargeOutcome::Unanswered; 2]);
        assert_eq!([drawn(60), drawn(99)], [ChargeOutcome::Paid; 2]);
        let plain = SimulatedSettings::default();
        let named = |method| plain.outcome(method, 0);
        assert_eq!(named("card_declined"), ChargeOutcome::Declined);
        assert_eq!(named("card_timeout"), ChargeOutcome::Unanswered);
        assert_eq!(named("card_error"), ChargeOutcome::Failed);
        assert_eq!([named("card_ok"), named("paypal")], [ChargeOutcome::Paid; 2]);
    }
}
