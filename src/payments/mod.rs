//! Payment providers: the interface that a sale requires, and its implementations.
//!
//! Every provider guarantees, for repeated, late and concurrent calls:
//!
//! * A booking has one payment object; creating it again returns the same one.
//! * The object is paid at most once, by any number of charges of any attempt.
//! * Repeating a charge of one attempt (`booking:attempt`) returns the result of the first, or `Paid`
//!   if the object is paid by now.
//! * Once `cancel` has returned [`PaymentState::Cancelled`], the object is never paid.
//! * A refund names a total and an attempt: one attempt refunds at most once, and all of them together
//!   no more than the total.
//! * Completed and pending refunds are distinguished, as far as the provider knows.
//!
//! Every call is bounded in time by its provider.

mod guarded;
mod simulated;
mod stripe;
mod traced;
pub mod webhook;

use std::future::Future;
use std::pin::Pin;

use crate::circuit_breaker::BreakerReport;
use crate::domain::{BookingId, SeenRefunds};

pub use guarded::GuardedProvider;
pub use simulated::{Simulated, SimulatedSettings};
pub use stripe::{Stripe, StripeSettings, StripeUnusable};
pub use traced::Traced;

/// The pending result of a provider call.
pub type ProviderFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, PaymentError>> + Send + 'a>>;

/// A payment to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentOrder {
    /// The booking; it names the payment object, so that creating it twice creates one.
    pub booking: BookingId,
    /// The amount, in the currency's minor unit.
    pub amount: i64,
    /// ISO 4217 code.
    pub currency: String,
}

/// One attempt to have a payment object paid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    /// The booking; with `attempt` it names the charge, so that sending it twice charges once.
    pub booking: BookingId,
    /// The attempt, from 1: rises only after a decline was recorded.
    pub attempt: u32,
    /// The booking's payment object.
    pub payment: String,
    /// The amount, in the currency's minor unit: that of the object.
    pub amount: i64,
    /// ISO 4217 code.
    pub currency: String,
    /// The client's payment method: a card, a token.
    pub method: String,
}

/// The state of a payment object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PaymentState {
    /// Not paid; it may be charged.
    Open,
    /// A charge is in progress; it will be paid or open again.
    Processing,
    /// Paid.
    Paid,
    /// Cancelled for good: it will never be paid.
    Cancelled,
}

impl PaymentState {
    /// The state in words.
    pub fn as_str(self) -> &'static str {
        match self {
            PaymentState::Open => "open",
            PaymentState::Processing => "processing",
            PaymentState::Paid => "paid",
            PaymentState::Cancelled => "cancelled",
        }
    }
}

/// A payment object as shown by its provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payment {
    /// Its id.
    pub id: String,
    /// Its state.
    pub state: PaymentState,
    /// Its amount, minor units.
    pub amount: i64,
    /// ISO 4217 code.
    pub currency: String,
    /// The refunded amount, minor units: succeeded refunds only.
    pub refunded: i64,
    /// Of the refunded amount: what was not sent by Holdfast, as from the provider's dashboard.
    pub refunded_outside: i64,
    /// The amount of pending refunds, minor units: they may still fail.
    pub refund_pending: i64,
    /// The booking that it was created for, if the provider knows.
    pub booking: Option<BookingId>,
}

impl Payment {
    /// Its refunds.
    pub fn seen_refunds(&self) -> SeenRefunds {
        SeenRefunds {
            refunded: self.refunded,
            outside: self.refunded_outside,
            pending: self.refund_pending,
        }
    }
}

/// One attempt to refund.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefundOrder {
    /// The booking.
    pub booking: BookingId,
    /// Its paid object.
    pub payment: String,
    /// ISO 4217 code of the object.
    pub currency: String,
    /// The total to be refunded, minor units, including refunds by others.
    pub total: i64,
    /// The attempt, from 1: rises only after a failure was recorded. With the total it names the
    /// refund, so that sending it twice refunds once.
    pub attempt: u32,
}

/// The result of a refund.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefundResult {
    /// This amount is refunded in all, which is enough. A bank may return it even weeks later.
    Succeeded(i64),
    /// Completed and pending refunds together are enough; the pending ones may still fail.
    Pending,
    /// This attempt ended without the money, for good; another may succeed. The text is the provider's
    /// reason.
    Failed(String),
}

/// Why a provider did not carry out a call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PaymentError {
    /// The provider refused the payment method, finally for this attempt; another may work. The
    /// text is for the buyer.
    #[error("{0}")]
    Declined(String),
    /// The provider will never carry this out: it does not charge the currency or the amount, or the
    /// account may not. Nothing was done. The text is for the buyer.
    #[error("{0}")]
    Impossible(String),
    /// The call surely had no effect and has none later: it was never sent, or was refused.
    #[error("the payment provider did nothing: {0}")]
    NotDone(String),
    /// Whether the call had an effect is unknown: query [`Provider::get`], or send it again.
    #[error("the payment provider's answer is not known: {0}")]
    Unknown(String),
}

/// A payment provider.
pub trait Provider: Send + Sync {
    /// The provider's name in logs, metrics and `status`.
    fn name(&self) -> &'static str;

    /// The circuit breaker before it; closed if there is none.
    fn breaker(&self) -> BreakerReport {
        BreakerReport::default()
    }

    /// Whether [`Provider::create`] would be refused now, because calls had no answers.
    fn refuses(&self) -> bool {
        false
    }

    /// Creates the booking's payment object, not yet charged, and returns its id. Never
    /// [`PaymentError::Declined`].
    fn create<'a>(&'a self, order: &'a PaymentOrder) -> ProviderFuture<'a, String>;

    /// Charges a payment object: [`PaymentState::Paid`] or [`PaymentState::Processing`]. An object
    /// that was paid before, by any attempt, returns `Paid`, and a cancelled one
    /// [`PaymentState::Cancelled`].
    fn charge<'a>(&'a self, charge: &'a Charge) -> ProviderFuture<'a, PaymentState>;

    /// Returns the object; `None` if there is none with this id.
    fn get<'a>(&'a self, payment: &'a str) -> ProviderFuture<'a, Option<Payment>>;

    /// Cancels the object for good, unless it is paid: [`PaymentState::Cancelled`], or its other state
    /// ([`PaymentState::Paid`], [`PaymentState::Processing`]).
    fn cancel<'a>(&'a self, payment: &'a str) -> ProviderFuture<'a, PaymentState>;

    /// Refunds a paid object up to the order's total. The existing refunds are queried first, and only
    /// the missing amount is sent.
    fn refund<'a>(&'a self, order: &'a RefundOrder) -> ProviderFuture<'a, RefundResult>;
}
