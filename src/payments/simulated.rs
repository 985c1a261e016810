//! A provider that moves no money and keeps books as if it did, with every way a real one fails.
//!
//! * An object's id says all that a provider would note at `create`: `sim_<booking>_<amount>_<currency>`.
//!   So `create` writes nothing: an object comes into the books when it is first charged or
//!   cancelled, under its booking, so that a booking has one.
//! * `charge` is one guarded write where nothing goes wrong; the guard is what keeps the promises
//!   of [`super::Provider`] between any number of processes.
//!
//! Payment methods it knows: `card_ok`; `card_declined`; `card_timeout`, which is charged and then
//! never answered; `card_error`, which fails before charging. Any other is `card_ok`.

use std::time::Duration;

use super::{Answer, Charge, Order, Payment, PaymentError, Provider, RefundOrder, Refunded, State};
use crate::archive::{
    Archive, ArchiveError, SimulatedBooks, SimulatedObject, SimulatedPayment, SimulatedState,
};

/// Tries of one step. Another one is needed only where the guard and a majority read disagree,
/// because what stands in the way has no majority yet.
const TRIES_MAX: u32 = 10;
/// Pause between two tries.
const PAUSE: Duration = Duration::from_millis(20);

/// What a buyer is told whose card is declined.
const DECLINED: &str = "The card was declined";

/// How the simulated provider behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimulatedSettings {
    /// How long each call takes at least.
    pub latency: Duration,
    /// Bound of each call; what was charged and never answered ends here.
    pub timeout: Duration,
    /// Share of charges that are declined, percent.
    pub decline_percent: u32,
    /// Share of charges that succeed and are never answered, percent.
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
    books: SimulatedBooks,
    settings: SimulatedSettings,
}

/// What becomes of one charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Paid,
    Declined,
    /// Paid, and nobody learns of it.
    Unanswered,
    /// Not paid, and the caller learns that nothing was done.
    Failed,
}

impl Simulated {
    /// A provider with its books in this archive.
    pub fn new(archive: &Archive, settings: SimulatedSettings) -> Self {
        Simulated { books: archive.simulated_books(), settings }
    }

    /// Runs a call with the latency and the bound that all calls have.
    async fn call<T>(
        &self,
        work: impl Future<Output = Result<T, PaymentError>>,
    ) -> Result<T, PaymentError> {
        let slow = async {
            tokio::time::sleep(self.settings.latency).await;
            work.await
        };
        // Giving up here drops no operation of the driver: the archive runs each to its end.
        let bound = self.settings.timeout;
        tokio::time::timeout(bound, slow).await.unwrap_or_else(|_| {
            Err(PaymentError::Unknown(format!("no answer within {} ms", bound.as_millis())))
        })
    }

    async fn charge_now(&self, charge: &Charge) -> Result<State, PaymentError> {
        let object = object_of(&charge.payment)?;
        if (charge.amount, &charge.currency) != (object.amount, &object.currency) {
            return Err(PaymentError::NotDone("the payment is of another amount".to_owned()));
        }
        let fate = self.settings.fate(&charge.method, rand::random_range(0..100));
        if fate == Fate::Failed {
            return Err(PaymentError::NotDone("simulated failure before charging".to_owned()));
        }
        for _ in 0..TRIES_MAX {
            let entered = match fate {
                Fate::Declined => self.books.decline(&object, charge.attempt).await,
                _ => self.books.pay(&object, charge.attempt).await,
            };
            match (entered.map_err(unknown)?, fate) {
                (true, Fate::Declined) => return Err(declined()),
                // The bound of the call ends this.
                (true, Fate::Unanswered) => std::future::pending().await,
                (true, _) => return Ok(State::Paid),
                (false, _) => {}
            }
            // Something stands there already: that is the answer.
            match self.find(&object).await? {
                Some(found) if found.state == SimulatedState::Paid => return Ok(State::Paid),
                Some(found) if found.state == SimulatedState::Cancelled => {
                    return Ok(State::Cancelled);
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
        let state = found.as_ref().map_or(State::Open, |found| match found.state {
            SimulatedState::Open => State::Open,
            SimulatedState::Paid => State::Paid,
            SimulatedState::Cancelled => State::Cancelled,
        });
        let refunded = found.map_or(0, |found| found.refunded);
        let SimulatedObject { booking, amount, currency } = object;
        let (id, booking) = (payment.to_owned(), Some(booking));
        Ok(Some(Payment { id, state, amount, currency, refunded, refund_pending: 0, booking }))
    }

    async fn cancel_now(&self, payment: &str) -> Result<State, PaymentError> {
        let object = object_of(payment)?;
        for _ in 0..TRIES_MAX {
            if self.books.cancel(&object).await.map_err(unknown)? {
                return Ok(State::Cancelled);
            }
            match self.find(&object).await? {
                Some(found) if found.state == SimulatedState::Paid => return Ok(State::Paid),
                _ => tokio::time::sleep(PAUSE).await,
            }
        }
        Err(undecided())
    }

    async fn refund_now(&self, order: &RefundOrder) -> Result<Refunded, PaymentError> {
        let (object, total) = (object_of(&order.payment)?, order.total);
        for _ in 0..TRIES_MAX {
            let found = self.find(&object).await?;
            let found = found.filter(|found| found.state == SimulatedState::Paid);
            let paid = found.ok_or_else(|| {
                PaymentError::NotDone("there is nothing to give back: it is not paid".to_owned())
            })?;
            if paid.refunded >= total {
                return Ok(Refunded::Succeeded(paid.refunded));
            }
            if total > paid.amount {
                let reason = format!("{total} is more than was paid, {}", paid.amount);
                return Err(PaymentError::NotDone(reason));
            }
            if self.books.refund(object.booking, total).await.map_err(unknown)? {
                return Ok(Refunded::Succeeded(total));
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
    /// What becomes of a charge by this method, `drawn` being 0 to 99.
    fn fate(&self, method: &str, drawn: u32) -> Fate {
        let failed = self.error_percent;
        let declined = failed + self.decline_percent;
        let unanswered = declined + self.timeout_percent;
        match method {
            "card_declined" => Fate::Declined,
            "card_timeout" => Fate::Unanswered,
            "card_error" => Fate::Failed,
            _ if drawn < failed => Fate::Failed,
            _ if drawn < declined => Fate::Declined,
            _ if drawn < unanswered => Fate::Unanswered,
            _ => Fate::Paid,
        }
    }
}

/// The id of a payment object.
fn id_of(object: &SimulatedObject) -> String {
    let SimulatedObject { booking, amount, currency } = object;
    format!("sim_{}_{amount}_{currency}", booking.uuid().simple())
}

/// What an id says; none if it is none of ours.
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

/// Whether MongoDB carried out what it did not answer is not known.
fn unknown(error: ArchiveError) -> PaymentError {
    PaymentError::Unknown(error.to_string())
}

impl Provider for Simulated {
    fn name(&self) -> &'static str {
        "simulated"
    }

    fn create<'a>(&'a self, order: &'a Order) -> Answer<'a, String> {
        let Order { booking, amount, currency } = order;
        let (booking, amount, currency) = (*booking, *amount, currency.clone());
        let id = id_of(&SimulatedObject { booking, amount, currency });
        Box::pin(self.call(async { Ok(id) }))
    }

    fn charge<'a>(&'a self, charge: &'a Charge) -> Answer<'a, State> {
        Box::pin(self.call(self.charge_now(charge)))
    }

    fn get<'a>(&'a self, payment: &'a str) -> Answer<'a, Option<Payment>> {
        Box::pin(self.call(self.get_now(payment)))
    }

    fn cancel<'a>(&'a self, payment: &'a str) -> Answer<'a, State> {
        Box::pin(self.call(self.cancel_now(payment)))
    }

    fn refund<'a>(&'a self, order: &'a RefundOrder) -> Answer<'a, Refunded> {
        Box::pin(self.call(self.refund_now(order)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{BookingId, EventId};

    #[test]
    fn ids_say_what_they_are_for_or_are_none() {
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
    fn methods_and_shares_decide() {
        let settings = SimulatedSettings {
            error_percent: 10,
            decline_percent: 20,
            timeout_percent: 30,
            ..SimulatedSettings::default()
        };
        let drawn = |drawn| settings.fate("card_ok", drawn);
        assert_eq!([drawn(0), drawn(9)], [Fate::Failed; 2]);
        assert_eq!([drawn(10), drawn(29)], [Fate::Declined; 2]);
        assert_eq!([drawn(30), drawn(59)], [Fate::Unanswered; 2]);
        assert_eq!([drawn(60), drawn(99)], [Fate::Paid; 2]);
        let plain = SimulatedSettings::default();
        let named = |method| plain.fate(method, 0);
        assert_eq!(named("card_declined"), Fate::Declined);
        assert_eq!(named("card_timeout"), Fate::Unanswered);
        assert_eq!(named("card_error"), Fate::Failed);
        assert_eq!([named("card_ok"), named("paypal")], [Fate::Paid; 2]);
    }
}
