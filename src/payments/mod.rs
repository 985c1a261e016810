//! Payment providers: what a sale asks of whoever moves the money.
//!
//! One payment object a booking: it succeeds at most once, however often it is charged.

use std::future::Future;
use std::pin::Pin;

use crate::domain::BookingId;

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

/// Why no money moved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PaymentError {
    /// The provider refused the payment method; another may work.
    #[error("{0}")]
    Declined(String),
}

/// Moves money.
pub trait Provider: Send + Sync {
    /// Creates the booking's payment object, not yet charged; its id.
    fn create<'a>(&'a self, order: &'a Order) -> Answer<'a, String>;

    /// Charges a payment object with a payment method.
    fn charge<'a>(&'a self, payment: &'a str, payment_method: &'a str) -> Answer<'a, ()>;
}

/// A provider without money: every charge succeeds.
#[derive(Clone, Copy, Debug, Default)]
pub struct AlwaysYes;

impl Provider for AlwaysYes {
    fn create<'a>(&'a self, order: &'a Order) -> Answer<'a, String> {
        Box::pin(async { Ok(format!("pay_{}", order.booking.uuid().simple())) })
    }

    fn charge<'a>(&'a self, _payment: &'a str, _payment_method: &'a str) -> Answer<'a, ()> {
        Box::pin(async { Ok(()) })
    }
}
