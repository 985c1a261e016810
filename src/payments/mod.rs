//! Payment providers: what a sale asks of whoever moves the money.
//!
//! What every provider promises, whatever is repeated, late, or runs twice:
//!
//! * A booking has one payment object; creating it again gives the same one.
//! * The object is paid at most once, whoever charges it, however often, with whichever attempt.
//! * A charge of one attempt (`booking:attempt`) sent again has the answer of the first, or `Paid`
//!   if the object is paid by now.
//! * Once `cancel` has answered [`State::Cancelled`], the object is never paid.
//! * A refund names a total and an attempt: one attempt gives back at most once, and all of them
//!   together no more than the total.
//! * What is given back has arrived as far as the provider knows; what is on its way is told apart.
//!
//! Every call is bounded in time by its provider.

mod simulated;
mod stripe;
pub mod webhook;

use std::future::Future;
use std::pin::Pin;

use crate::domain::BookingId;

pub use simulated::{Simulated, SimulatedSettings};
pub use stripe::{Stripe, StripeSettings, StripeUnusable};

/// A provider's answer, on its way.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, PaymentError>> + Send + 'a>>;

/// What is to be paid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// For which booking; names the payment object, so that creating it twice creates one.
    pub booking: BookingId,
    /// How much, in the currency's minor unit.
    pub amount: i64,
    /// ISO 4217 code.
    pub currency: String,
}

/// One attempt to have a payment object paid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    /// The booking; with `attempt` it names the charge, so that sending it twice charges once.
    pub booking: BookingId,
    /// Which attempt, from 1: rises only after a decline was recorded.
    pub attempt: u32,
    /// The booking's payment object.
    pub payment: String,
    /// How much, in the currency's minor unit: what the object was created for.
    pub amount: i64,
    /// ISO 4217 code.
    pub currency: String,
    /// The client's word for how it pays: a card, a token.
    pub method: String,
}

/// How a payment object stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not paid; it may be charged.
    Open,
    /// A charge is under way; it will be paid or open again.
    Processing,
    /// Paid.
    Paid,
    /// Cancelled for good: it never will be paid.
    Cancelled,
}

/// A payment object as its provider shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payment {
    /// Its id.
    pub id: String,
    /// How it stands.
    pub state: State,
    /// What it is for, minor units.
    pub amount: i64,
    /// ISO 4217 code.
    pub currency: String,
    /// What was given back of it, minor units: refunds that succeeded, and no others.
    pub refunded: i64,
    /// What is on its way back, minor units: it may still fail.
    pub refund_pending: i64,
    /// The booking that it was created for, where the provider knows.
    pub booking: Option<BookingId>,
}

/// One attempt to give money back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefundOrder {
    /// The booking.
    pub booking: BookingId,
    /// Its paid object.
    pub payment: String,
    /// ISO 4217 code of the object.
    pub currency: String,
    /// How much is to be given back in all, minor units, by whomever and however often.
    pub total: i64,
    /// Which attempt, from 1: rises only after a failure was recorded. With the total it names the
    /// refund, so that sending it twice gives back once.
    pub attempt: u32,
}

/// Where a refund stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refunded {
    /// So much was given back in all, and that is enough. A bank may send it back even weeks later.
    Succeeded(i64),
    /// What was given back and what is on its way are enough together; what is may still fail.
    Pending,
    /// This attempt is over without the money, now and later; another may work. The text is the
    /// provider's reason.
    Failed(String),
}

/// Why a provider did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PaymentError {
    /// The provider refused the payment method, finally for this attempt; another may work. The
    /// text is for the buyer.
    #[error("{0}")]
    Declined(String),
    /// The provider will never do this, whoever asks and however often: it does not charge the
    /// currency or the amount, or the account must not. Nothing was done. The text is for the buyer.
    #[error("{0}")]
    Impossible(String),
    /// The call surely had no effect and has none later: it was never sent, or was refused.
    #[error("the payment provider did nothing: {0}")]
    NotDone(String),
    /// Nobody knows whether the call had an effect: ask [`Provider::get`], or send it again.
    #[error("the payment provider's answer is not known: {0}")]
    Unknown(String),
}

/// Moves money.
pub trait Provider: Send + Sync {
    /// The provider's name in logs, metrics and `status`.
    fn name(&self) -> &'static str;

    /// Creates the booking's payment object, not yet charged; its id. Never [`PaymentError::Declined`].
    fn create<'a>(&'a self, order: &'a Order) -> Answer<'a, String>;

    /// Charges a payment object: [`State::Paid`] or [`State::Processing`]; an object that was paid
    /// before, by any attempt, answers `Paid`, and one that was cancelled [`State::Cancelled`].
    fn charge<'a>(&'a self, charge: &'a Charge) -> Answer<'a, State>;

    /// The object as it stands; `None` if there is none of this id.
    fn get<'a>(&'a self, payment: &'a str) -> Answer<'a, Option<Payment>>;

    /// Cancels the object for good, unless it is paid: [`State::Cancelled`], or how it stands
    /// instead ([`State::Paid`], [`State::Processing`]).
    fn cancel<'a>(&'a self, payment: &'a str) -> Answer<'a, State>;

    /// Sees to it that the order's total has been given back of a paid object, or is on its way.
    /// What the provider has is looked up first, and only what is missing is sent.
    fn refund<'a>(&'a self, order: &'a RefundOrder) -> Answer<'a, Refunded>;
}
