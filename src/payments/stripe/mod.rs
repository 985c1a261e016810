//! Stripe, or whatever speaks its API: one `PaymentIntent` a booking.
//!
//! * Nothing is charged twice: an intent succeeds once whatever is sent, and every call that
//!   creates something carries an idempotency key (`booking:create`, `booking:attempt`,
//!   `object:refund:total`, from its second attempt on `object:refund:total:attempt`). Stripe keeps
//!   keys for a day at least.
//! * What Stripe refused before doing anything is `NotDone`; what was sent and not plainly
//!   answered is `Unknown`. In doubt the intent is looked up, and how it stands is the answer.
//! * Steps beyond a payment method (3-D Secure) are not possible here: such a charge is declined.

mod amounts;
mod http;
mod objects;
mod refunds;

use std::time::Duration;

use tokio::time::Instant;

use self::http::{Call, Failure, Http, Refused};
use self::objects::{Intent, Refund, Returned};
use super::{Answer, Charge, Order, Payment, PaymentError, Provider, RefundOrder, Refunded, State};

/// What a buyer is told whose payment needs a step that does not exist here.
const NEEDS_ACTION: &str = "This payment method needs a further step; use another one";
/// What a buyer is told where Stripe gives no reason.
const DECLINED: &str = "The payment was declined";

/// How to reach Stripe.
pub struct StripeSettings<'a> {
    /// `https://api.stripe.com`, or a server of the same shapes.
    pub url: &'a str,
    /// The secret API key.
    pub secret_key: &'a str,
    /// Bound of each call, all its requests together.
    pub timeout: Duration,
}

/// Settings with which Stripe cannot be called.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StripeUnusable(String);

/// The Stripe provider.
#[derive(Debug)]
pub struct Stripe {
    http: Http,
    timeout: Duration,
}

impl Stripe {
    /// A client for this account. Connects when it is first asked.
    ///
    /// # Errors
    /// If the address or the key cannot stand in a request.
    pub fn new(settings: &StripeSettings<'_>) -> Result<Self, StripeUnusable> {
        let http = Http::new(settings.url, settings.secret_key, settings.timeout)?;
        Ok(Stripe { http, timeout: settings.timeout })
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }

    async fn create_now(&self, order: &Order) -> Result<String, PaymentError> {
        let amount = amounts::to_charge(&order.currency, order.amount);
        let amount = amount.map_err(PaymentError::Impossible)?;
        let call = Call::post("/v1/payment_intents".to_owned())
            .key(format!("{}:create", order.booking))
            .field("amount", amount)
            .field("currency", order.currency.to_lowercase())
            .field("confirm", false)
            .field("metadata[booking_id]", order.booking)
            // Whatever the account accepts that needs no visit to another page.
            .field("automatic_payment_methods[enabled]", true)
            .field("automatic_payment_methods[allow_redirects]", "never");
        let created = self.http.send::<Intent>(call, self.deadline()).await;
        let intent = match created {
            Ok(reply) => reply.body,
            // It depends on nothing but the order and the account.
            Err(Failure::Refused(refused)) if refused.is_permanent() => {
                return Err(PaymentError::Impossible(refused.into_message()));
            }
            Err(failure) => {
                return Err(match failure.into_error() {
                    // Nothing was charged, so nothing was declined.
                    PaymentError::Declined(reason) => PaymentError::NotDone(reason),
                    error => error,
                });
            }
        };
        if !is_for(&intent, order.amount, &order.currency) {
            let Intent { id, .. } = &intent;
            let reason = format!("payment {id} was created for another amount or currency");
            return Err(PaymentError::NotDone(reason));
        }
        Ok(intent.id)
    }

    async fn charge_now(&self, charge: &Charge) -> Result<State, PaymentError> {
        let deadline = self.deadline();
        let path = path_of(&charge.payment).ok_or_else(no_such)?;
        let call = Call::post(format!("{path}/confirm"))
            .key(format!("{}:{}", charge.booking, charge.attempt))
            .field("payment_method", &charge.method)
            .field("error_on_requires_action", true);
        match self.http.send::<Intent>(call, deadline).await {
            Ok(reply) => match reply.body.state() {
                Some(State::Paid) => paid(&reply.body, charge),
                // A saved answer tells of then, not of now.
                _ if reply.replayed => self.charged(&path, deadline, charge, declined_by).await,
                Some(State::Open) => Err(declined_by(&reply.body)),
                Some(state) => Ok(state),
                None => Err(strange(&reply.body)),
            },
            Err(Failure::Refused(refused)) => {
                self.refused_charge(&path, deadline, charge, refused).await
            }
            Err(failure) => Err(failure.into_error()),
        }
    }

    async fn refused_charge(
        &self,
        path: &str,
        deadline: Instant,
        charge: &Charge,
        refused: Refused,
    ) -> Result<State, PaymentError> {
        if refused.unexpected_state() {
            let not_now = |_: &Intent| PaymentError::NotDone(refused.to_string());
            return self.charged(path, deadline, charge, not_now).await;
        }
        // The attempt was sent before with something else in it, or is being sent right now.
        if refused.kind == "idempotency_error" {
            let in_flight = refused.in_flight();
            let otherwise = |intent: &Intent| match intent.decline() {
                Some(reason) if !in_flight => PaymentError::Declined(reason),
                _ => PaymentError::Unknown(refused.to_string()),
            };
            return self.charged(path, deadline, charge, otherwise).await;
        }
        // A saved answer: another attempt may have paid since.
        if refused.replayed {
            let otherwise = |_: &Intent| refused.into_error();
            return self.charged(path, deadline, charge, otherwise).await;
        }
        Err(refused.into_error())
    }

    /// How a charge that Stripe did not carry out now stands; `open` says what it means that the
    /// intent can still be charged.
    async fn charged(
        &self,
        path: &str,
        deadline: Instant,
        charge: &Charge,
        open: impl FnOnce(&Intent) -> PaymentError,
    ) -> Result<State, PaymentError> {
        let found = self.look_up(path, deadline).await.map_err(in_doubt)?;
        let (intent, _) = found.ok_or_else(no_such)?;
        match intent.state() {
            Some(State::Open) => Err(open(&intent)),
            Some(State::Paid) => paid(&intent, charge),
            Some(state) => Ok(state),
            None => Err(strange(&intent)),
        }
    }

    async fn get_now(&self, payment: &str) -> Result<Option<Payment>, PaymentError> {
        let Some(path) = path_of(payment) else { return Ok(None) };
        let found = self.look_up(&path, self.deadline()).await?;
        let Some((intent, refunds)) = found else { return Ok(None) };
        let state = intent.state().ok_or_else(|| strange(&intent))?;
        let returned = Returned::of(&refunds);
        let currency = intent.currency.to_uppercase();
        let minor = |amount| amounts::from_stripe(&currency, amount);
        Ok(Some(Payment {
            state,
            amount: minor(intent.amount()).ok_or_else(|| strange(&intent))?,
            refunded: minor(returned.succeeded).ok_or_else(|| strange(&intent))?,
            refund_pending: minor(returned.undecided).ok_or_else(|| strange(&intent))?,
            currency,
            booking: intent.booking(),
            id: intent.id,
        }))
    }

    async fn cancel_now(&self, payment: &str) -> Result<State, PaymentError> {
        let deadline = self.deadline();
        let path = path_of(payment).ok_or_else(no_such)?;
        let call = Call::post(format!("{path}/cancel"));
        match self.http.send::<Intent>(call, deadline).await {
            Ok(reply) => match reply.body.state() {
                Some(State::Cancelled) => Ok(State::Cancelled),
                _ => Err(strange(&reply.body)),
            },
            Err(Failure::Refused(refused)) if refused.unexpected_state() => {
                let found = self.look_up(&path, deadline).await.map_err(in_doubt)?;
                let (intent, _) = found.ok_or_else(no_such)?;
                match intent.state() {
                    Some(State::Open) => Err(PaymentError::NotDone(refused.to_string())),
                    Some(state) => Ok(state),
                    None => Err(strange(&intent)),
                }
            }
            Err(failure) => Err(failure.into_error()),
        }
    }

    /// The intent with its refunds; `None` if there is none of this id.
    async fn look_up(
        &self,
        path: &str,
        deadline: Instant,
    ) -> Result<Option<(Intent, Vec<Refund>)>, PaymentError> {
        let call = Call::get(format!("{path}?expand%5B%5D=latest_charge.refunds"));
        let mut intent: Intent = match self.http.send(call, deadline).await {
            Ok(reply) => reply.body,
            Err(Failure::Refused(refused)) if refused.missing() => return Ok(None),
            Err(failure) => return Err(failure.into_error()),
        };
        let refunds = match intent.refunds() {
            Some(refunds) => refunds,
            None => self.all_refunds(&intent, deadline).await?,
        };
        Ok(Some((intent, refunds)))
    }
}

/// The address of a payment object; none if this cannot be the id of one.
fn path_of(payment: &str) -> Option<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let is_id = (1..=255).contains(&payment.len()) && payment.bytes().all(plain);
    is_id.then(|| format!("/v1/payment_intents/{payment}"))
}

fn no_such() -> PaymentError {
    PaymentError::NotDone("there is no such payment".to_owned())
}

fn declined_by(intent: &Intent) -> PaymentError {
    let why = match intent.status.as_str() {
        "requires_action" => Some(NEEDS_ACTION.to_owned()),
        _ => intent.decline(),
    };
    PaymentError::Declined(why.unwrap_or_else(|| DECLINED.to_owned()))
}

/// Whether the intent is of this amount and currency.
fn is_for(intent: &Intent, amount: i64, currency: &str) -> bool {
    let expected = amounts::to_stripe(currency, amount);
    expected == Ok(intent.amount()) && intent.currency.eq_ignore_ascii_case(currency)
}

/// A charge that was paid: of what was to be paid, or nobody knows what that means.
fn paid(intent: &Intent, charge: &Charge) -> Result<State, PaymentError> {
    if is_for(intent, charge.amount, &charge.currency) {
        return Ok(State::Paid);
    }
    let (id, amount, currency) = (&intent.id, intent.amount(), &intent.currency);
    Err(PaymentError::Unknown(format!("payment {id} was paid with {amount} {currency}")))
}

/// A question that failed after something was sent: what became of that is not known.
fn in_doubt(error: PaymentError) -> PaymentError {
    PaymentError::Unknown(error.to_string())
}

/// An intent whose state this build does not know.
fn strange(intent: &Intent) -> PaymentError {
    PaymentError::Unknown(format!("payment {} is {:?}", intent.id, intent.status))
}

impl Provider for Stripe {
    fn name(&self) -> &'static str {
        "stripe"
    }

    fn create<'a>(&'a self, order: &'a Order) -> Answer<'a, String> {
        Box::pin(self.create_now(order))
    }

    fn charge<'a>(&'a self, charge: &'a Charge) -> Answer<'a, State> {
        Box::pin(self.charge_now(charge))
    }

    fn get<'a>(&'a self, payment: &'a str) -> Answer<'a, Option<Payment>> {
        Box::pin(self.get_now(payment))
    }

    fn cancel<'a>(&'a self, payment: &'a str) -> Answer<'a, State> {
        Box::pin(self.cancel_now(payment))
    }

    fn refund<'a>(&'a self, order: &'a RefundOrder) -> Answer<'a, Refunded> {
        Box::pin(self.refund_now(order))
    }
}
