//! Stripe, or whatever speaks its API: one `PaymentIntent` a booking.
//!
//! * Nothing is charged twice: an intent succeeds once whatever is sent, and every call that
//!   creates something carries an idempotency key (`booking:create`, `booking:attempt`,
//!   `object:refund:total`). Stripe keeps keys for a day at least.
//! * What Stripe refused before doing anything is `NotDone`; what was sent and not plainly
//!   answered is `Unknown`. In doubt the intent is looked up, and how it stands is the answer.
//! * Steps beyond a payment method (3-D Secure) are not possible here: such a charge is declined.

mod http;
mod objects;

use std::time::Duration;

use tokio::time::Instant;

use self::http::{Call, Failure, Http, Refused};
use self::objects::{Intent, Refund};
use super::{Answer, Charge, Order, Payment, PaymentError, Provider, State};

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
        let call = Call::post("/v1/payment_intents".to_owned())
            .key(format!("{}:create", order.booking))
            .field("amount", order.amount)
            .field("currency", order.currency.to_lowercase())
            .field("confirm", false)
            .field("metadata[booking_id]", order.booking)
            // Whatever the account accepts that needs no visit to another page.
            .field("automatic_payment_methods[enabled]", true)
            .field("automatic_payment_methods[allow_redirects]", "never");
        let created = self.http.send::<Intent>(call, self.deadline()).await;
        created.map(|reply| reply.body.id).map_err(|failure| match failure.into_error() {
            // Nothing was charged, so nothing was declined.
            PaymentError::Declined(reason) => PaymentError::NotDone(reason),
            error => error,
        })
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
                Some(State::Paid) => Ok(State::Paid),
                // A saved answer tells of then, not of now.
                _ if reply.replayed => self.charged(&path, deadline, declined_by).await,
                Some(State::Open) => Err(declined_by(&reply.body)),
                Some(state) => Ok(state),
                None => Err(strange(&reply.body)),
            },
            Err(Failure::Refused(refused)) => self.refused_charge(&path, deadline, refused).await,
            Err(failure) => Err(failure.into_error()),
        }
    }

    async fn refused_charge(
        &self,
        path: &str,
        deadline: Instant,
        refused: Refused,
    ) -> Result<State, PaymentError> {
        if refused.unexpected_state() {
            let not_now = |_: &Intent| PaymentError::NotDone(refused.to_string());
            return self.charged(path, deadline, not_now).await;
        }
        // The attempt was sent before with something else in it, or is being sent right now.
        if refused.kind == "idempotency_error" {
            let in_flight = refused.in_flight();
            let otherwise = |intent: &Intent| match intent.decline() {
                Some(reason) if !in_flight => PaymentError::Declined(reason),
                _ => PaymentError::Unknown(refused.to_string()),
            };
            return self.charged(path, deadline, otherwise).await;
        }
        // A saved answer: another attempt may have paid since.
        if refused.replayed {
            return self.charged(path, deadline, |_| refused.into_error()).await;
        }
        Err(refused.into_error())
    }

    /// How a charge that Stripe did not carry out now stands; `open` says what it means that the
    /// intent can still be charged.
    async fn charged(
        &self,
        path: &str,
        deadline: Instant,
        open: impl FnOnce(&Intent) -> PaymentError,
    ) -> Result<State, PaymentError> {
        let intent = self.look_up(path, deadline).await.map_err(in_doubt)?.ok_or_else(no_such)?;
        match intent.state() {
            Some(State::Open) => Err(open(&intent)),
            Some(state) => Ok(state),
            None => Err(strange(&intent)),
        }
    }

    async fn get_now(&self, payment: &str) -> Result<Option<Payment>, PaymentError> {
        let Some(path) = path_of(payment) else { return Ok(None) };
        let Some(intent) = self.look_up(&path, self.deadline()).await? else { return Ok(None) };
        let state = intent.state().ok_or_else(|| strange(&intent))?;
        let refunded = intent.refunded().ok_or_else(|| strange(&intent))?;
        let Intent { id, amount, currency, .. } = intent;
        Ok(Some(Payment { id, state, amount, currency: currency.to_uppercase(), refunded }))
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
                let intent = self.look_up(&path, deadline).await.map_err(in_doubt)?;
                let intent = intent.ok_or_else(no_such)?;
                match intent.state() {
                    Some(State::Open) => Err(PaymentError::NotDone(refused.to_string())),
                    Some(state) => Ok(state),
                    None => Err(strange(&intent)),
                }
            }
            Err(failure) => Err(failure.into_error()),
        }
    }

    async fn refund_now(&self, payment: &str, total: i64) -> Result<i64, PaymentError> {
        let deadline = self.deadline();
        let path = path_of(payment).ok_or_else(no_such)?;
        // Nothing was sent yet but a question.
        let looked_up = self.missing(&path, deadline, total).await;
        let missing = match looked_up.map_err(|error| PaymentError::NotDone(error.to_string()))? {
            Missing::Nothing { refunded } => return Ok(refunded),
            Missing::Some(missing) => missing,
        };
        let call = Call::post("/v1/refunds".to_owned())
            // Without what was given back before: one total gives back once, whoever looked when.
            .key(format!("{payment}:refund:{total}"))
            .field("payment_intent", payment)
            .field("amount", missing);
        match self.http.send::<Refund>(call, deadline).await {
            Ok(reply) if reply.body.goes_through() => {
                // A saved answer may be of another amount.
                match reply.replayed || reply.body.amount != missing {
                    true => self.refunded(&path, deadline, total, None).await,
                    false => Ok(total),
                }
            }
            Ok(reply) => Err(PaymentError::Unknown(format!("the refund is {}", reply.body.status))),
            // Given back by somebody else meanwhile, perhaps: then that is what was asked for.
            Err(Failure::Refused(refused)) => {
                self.refunded(&path, deadline, total, Some(refused)).await
            }
            Err(failure) => Err(failure.into_error()),
        }
    }

    /// What has been given back, if it is `total`; else why not.
    async fn refunded(
        &self,
        path: &str,
        deadline: Instant,
        total: i64,
        refused: Option<Refused>,
    ) -> Result<i64, PaymentError> {
        match self.missing(path, deadline, total).await.map_err(in_doubt)? {
            Missing::Nothing { refunded } => Ok(refunded),
            Missing::Some(missing) => Err(match refused {
                Some(refused) => refused.into_error(),
                None => PaymentError::Unknown(format!("{missing} are not given back yet")),
            }),
        }
    }

    /// How much of a paid object is missing until `total` has been given back.
    async fn missing(
        &self,
        path: &str,
        deadline: Instant,
        total: i64,
    ) -> Result<Missing, PaymentError> {
        let intent = self.look_up(path, deadline).await?.ok_or_else(no_such)?;
        if intent.state() != Some(State::Paid) {
            let status = &intent.status;
            let reason = format!("there is nothing to give back: the payment is {status}");
            return Err(PaymentError::NotDone(reason));
        }
        let refunded = intent.refunded().ok_or_else(|| strange(&intent))?;
        if refunded >= total {
            return Ok(Missing::Nothing { refunded });
        }
        if total > intent.amount {
            let reason = format!("{total} is more than was paid, {}", intent.amount);
            return Err(PaymentError::NotDone(reason));
        }
        Ok(Missing::Some(total - refunded))
    }

    /// The intent with what was given back of it; `None` if there is none of this id.
    async fn look_up(&self, path: &str, deadline: Instant) -> Result<Option<Intent>, PaymentError> {
        let call = Call::get(format!("{path}?expand%5B%5D=latest_charge"));
        match self.http.send(call, deadline).await {
            Ok(reply) => Ok(Some(reply.body)),
            Err(Failure::Refused(refused)) if refused.missing() => Ok(None),
            Err(failure) => Err(failure.into_error()),
        }
    }
}

/// What is left to give back.
enum Missing {
    Nothing { refunded: i64 },
    Some(i64),
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

    fn refund<'a>(&'a self, payment: &'a str, total: i64) -> Answer<'a, i64> {
        Box::pin(self.refund_now(payment, total))
    }
}
