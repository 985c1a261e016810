//! Stripe, or a server with its API: one `PaymentIntent` per booking.
//!
//! * Nothing is charged twice: an intent succeeds once, and every call that creates something carries
//!   an idempotency key (`booking:create`, `booking:attempt`, `object:refund:total`, from its second
//!   attempt on `object:refund:total:attempt`). Stripe keeps keys for at least a day.
//! * A request that Stripe refused before doing anything is `NotDone`; one without a conclusive
//!   response is `Unknown`. In doubt the intent is queried, and its state is the result.
//! * Steps beyond a payment method (3-D Secure) are not supported: such a charge is declined.

mod amounts;
mod http;
mod objects;
mod refunds;

use std::time::Duration;

use tokio::time::Instant;

use self::http::{ApiError, ApiRequest, Failure, Http};
use self::objects::{Intent, Refund, RefundSums};
use super::{
    Charge, Payment, PaymentError, PaymentOrder, PaymentState, Provider, ProviderFuture,
    RefundOrder, RefundResult,
};

/// The message to a buyer whose payment needs an unsupported step.
const NEEDS_ACTION: &str = "This payment method needs a further step; use another one";
/// The message to a buyer where Stripe gives no reason.
const DECLINED: &str = "The payment was declined";

/// The connection to Stripe.
pub struct StripeSettings<'a> {
    /// `https://api.stripe.com`, or a server with the same API.
    pub url: &'a str,
    /// The secret API key.
    pub secret_key: &'a str,
    /// Bound of each call, including all its requests.
    pub timeout: Duration,
}

/// Invalid settings for Stripe.
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
    /// Creates a client for this account. It connects with the first request.
    ///
    /// # Errors
    /// If the address or the key is invalid in a request.
    pub fn new(settings: &StripeSettings<'_>) -> Result<Self, StripeUnusable> {
        let http = Http::new(settings.url, settings.secret_key, settings.timeout)?;
        Ok(Stripe { http, timeout: settings.timeout })
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }

    async fn create_now(&self, order: &PaymentOrder) -> Result<String, PaymentError> {
        let amount = amounts::to_charge(&order.currency, order.amount);
        let amount = amount.map_err(PaymentError::Impossible)?;
        let call = ApiRequest::post("/v1/payment_intents".to_owned())
            .key(format!("{}:create", order.booking))
            .field("amount", amount)
            .field("currency", order.currency.to_lowercase())
            .field("confirm", false)
            .field("metadata[booking_id]", order.booking)
            // Any method of the account that needs no redirect.
            .field("automatic_payment_methods[enabled]", true)
            .field("automatic_payment_methods[allow_redirects]", "never");
        let created = self.http.send::<Intent>(call, self.deadline()).await;
        let intent = match created {
            Ok(reply) => reply.body,
            // The refusal depends only on the order and the account.
            Err(Failure::ApiError(refused)) if refused.is_permanent() => {
                return Err(PaymentError::Impossible(refused.into_message()));
            }
            Err(failure) => {
                return Err(match failure.into_error() {
                    // Nothing was charged: this is not a decline.
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

    async fn charge_now(&self, charge: &Charge) -> Result<PaymentState, PaymentError> {
        let deadline = self.deadline();
        let path = path_of(&charge.payment).ok_or_else(no_such)?;
        let call = ApiRequest::post(format!("{path}/confirm"))
            .key(format!("{}:{}", charge.booking, charge.attempt))
            .field("payment_method", &charge.method)
            .field("error_on_requires_action", true);
        match self.http.send::<Intent>(call, deadline).await {
            Ok(reply) => match reply.body.state() {
                Some(PaymentState::Paid) => paid(&reply.body, charge),
                // A saved response shows a past state.
                _ if reply.replayed => self.charged(&path, deadline, charge, declined_by).await,
                Some(PaymentState::Open) => Err(declined_by(&reply.body)),
                Some(state) => Ok(state),
                None => Err(strange(&reply.body)),
            },
            Err(Failure::ApiError(refused)) => {
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
        refused: ApiError,
    ) -> Result<PaymentState, PaymentError> {
        if refused.unexpected_state() {
            let not_now = |_: &Intent| PaymentError::NotDone(refused.to_string());
            return self.charged(path, deadline, charge, not_now).await;
        }
        // The attempt was sent before with other parameters, or is being sent right now.
        if refused.kind == "idempotency_error" {
            let in_flight = refused.in_flight();
            let otherwise = |intent: &Intent| match intent.decline() {
                Some(reason) if !in_flight => PaymentError::Declined(reason),
                _ => PaymentError::Unknown(refused.to_string()),
            };
            return self.charged(path, deadline, charge, otherwise).await;
        }
        // A saved response: another attempt may have paid since.
        if refused.replayed {
            let otherwise = |_: &Intent| refused.into_error();
            return self.charged(path, deadline, charge, otherwise).await;
        }
        Err(refused.into_error())
    }

    /// The state of a charge that Stripe did not carry out now; `open` maps an intent that can still be
    /// charged to its error.
    async fn charged(
        &self,
        path: &str,
        deadline: Instant,
        charge: &Charge,
        open: impl FnOnce(&Intent) -> PaymentError,
    ) -> Result<PaymentState, PaymentError> {
        let found = self.look_up(path, deadline).await.map_err(in_doubt)?;
        let (intent, _) = found.ok_or_else(no_such)?;
        match intent.state() {
            Some(PaymentState::Open) => Err(open(&intent)),
            Some(PaymentState::Paid) => paid(&intent, charge),
            Some(state) => Ok(state),
            None => Err(strange(&intent)),
        }
    }

    async fn get_now(&self, payment: &str) -> Result<Option<Payment>, PaymentError> {
        let Some(path) = path_of(payment) else { return Ok(None) };
        let found = self.look_up(&path, self.deadline()).await?;
        let Some((intent, refunds)) = found else { return Ok(None) };
        let state = intent.state().ok_or_else(|| strange(&intent))?;
        let returned = RefundSums::of(&refunds);
        let currency = intent.currency.to_uppercase();
        let minor = |amount| amounts::from_stripe(&currency, amount);
        Ok(Some(Payment {
            state,
            amount: minor(intent.amount()).ok_or_else(|| strange(&intent))?,
            refunded: minor(returned.succeeded).ok_or_else(|| strange(&intent))?,
            refunded_outside: minor(returned.outside).ok_or_else(|| strange(&intent))?,
            refund_pending: minor(returned.undecided).ok_or_else(|| strange(&intent))?,
            currency,
            booking: intent.booking(),
            id: intent.id,
        }))
    }

    async fn cancel_now(&self, payment: &str) -> Result<PaymentState, PaymentError> {
        let deadline = self.deadline();
        let path = path_of(payment).ok_or_else(no_such)?;
        let call = ApiRequest::post(format!("{path}/cancel"));
        match self.http.send::<Intent>(call, deadline).await {
            Ok(reply) => match reply.body.state() {
                Some(PaymentState::Cancelled) => Ok(PaymentState::Cancelled),
                _ => Err(strange(&reply.body)),
            },
            Err(Failure::ApiError(refused)) if refused.unexpected_state() => {
                let found = self.look_up(&path, deadline).await.map_err(in_doubt)?;
                let (intent, _) = found.ok_or_else(no_such)?;
                match intent.state() {
                    Some(PaymentState::Open) => Err(PaymentError::NotDone(refused.to_string())),
                    Some(state) => Ok(state),
                    None => Err(strange(&intent)),
                }
            }
            Err(failure) => Err(failure.into_error()),
        }
    }

    /// Returns the intent with its refunds; `None` if there is none with this id.
    async fn look_up(
        &self,
        path: &str,
        deadline: Instant,
    ) -> Result<Option<(Intent, Vec<Refund>)>, PaymentError> {
        let call = ApiRequest::get(format!("{path}?expand%5B%5D=latest_charge.refunds"));
        let mut intent: Intent = match self.http.send(call, deadline).await {
            Ok(reply) => reply.body,
            Err(Failure::ApiError(refused)) if refused.missing() => return Ok(None),
            Err(failure) => return Err(failure.into_error()),
        };
        let refunds = match intent.refunds() {
            Some(refunds) => refunds,
            None => self.all_refunds(&intent, deadline).await?,
        };
        Ok(Some((intent, refunds)))
    }
}

/// The path of a payment object; `None` if the id is invalid.
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

/// Whether the intent has this amount and currency.
fn is_for(intent: &Intent, amount: i64, currency: &str) -> bool {
    let expected = amounts::to_stripe(currency, amount);
    expected == Ok(intent.amount()) && intent.currency.eq_ignore_ascii_case(currency)
}

/// Checks that a paid charge has the right amount; otherwise its meaning is unknown.
fn paid(intent: &Intent, charge: &Charge) -> Result<PaymentState, PaymentError> {
    if is_for(intent, charge.amount, &charge.currency) {
        return Ok(PaymentState::Paid);
    }
    let (id, amount, currency) = (&intent.id, intent.amount(), &intent.currency);
    Err(PaymentError::Unknown(format!("payment {id} was paid with {amount} {currency}")))
}

/// Maps an error of a query after something was sent: the effect of that is unknown.
fn in_doubt(error: PaymentError) -> PaymentError {
    PaymentError::Unknown(error.to_string())
}

/// The error for an intent in an unknown state.
fn strange(intent: &Intent) -> PaymentError {
    PaymentError::Unknown(format!("payment {} is {:?}", intent.id, intent.status))
}

impl Provider for Stripe {
    fn name(&self) -> &'static str {
        "stripe"
    }

    fn create<'a>(&'a self, order: &'a PaymentOrder) -> ProviderFuture<'a, String> {
        Box::pin(self.create_now(order))
    }

    fn charge<'a>(&'a self, charge: &'a Charge) -> ProviderFuture<'a, PaymentState> {
        Box::pin(self.charge_now(charge))
    }

    fn get<'a>(&'a self, payment: &'a str) -> ProviderFuture<'a, Option<Payment>> {
        Box::pin(self.get_now(payment))
    }

    fn cancel<'a>(&'a self, payment: &'a str) -> ProviderFuture<'a, PaymentState> {
        Box::pin(self.cancel_now(payment))
    }

    fn refund<'a>(&'a self, order: &'a RefundOrder) -> ProviderFuture<'a, RefundResult> {
        Box::pin(self.refund_now(order))
    }
}
