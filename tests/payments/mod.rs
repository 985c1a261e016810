//! Payment providers: the guarantees of all, and the specifics of each.

use std::sync::Arc;
use std::time::Duration;

use holdfast::archive::{Archive, ArchiveConfig};
use holdfast::domain::{BookingId, EventId};
use holdfast::payments::{
    Charge, PaymentError, PaymentOrder, PaymentState, Provider, RefundOrder, RefundResult,
    Simulated, SimulatedSettings, Stripe, StripeSettings,
};

use crate::support::servers::{Server, shared_mongodb};
use crate::support::stripe::{Fault, KEY, StripeServer};
use crate::support::unique_name;

mod currencies;
mod promises;
mod refunds;
pub mod sale;
mod simulated;
mod stripe;
pub mod webhooks;

/// Timeout of calls that are answered.
const PATIENT: Duration = Duration::from_secs(30);
/// Timeout of calls without a response: the test waits for it.
const IMPATIENT: Duration = Duration::from_secs(3);

/// A provider with its backend.
pub struct Rig {
    pub provider: Arc<dyn Provider>,
    behind: Behind,
}

enum Behind {
    Archive(Archive),
    Server(StripeServer),
}

/// The money moved for one booking.
#[derive(Debug, PartialEq, Eq)]
pub struct Money {
    pub charges: u32,
    pub refunded: i64,
}

/// How a call can fail, by each provider's own means.
#[derive(Clone, Copy, Debug)]
pub enum CallFault {
    /// Nothing is done, and the caller gets an error that says so.
    Before,
    /// It is done, and the caller gets no response.
    After,
}

impl Rig {
    pub async fn simulated(timeout: Duration) -> Self {
        let archive = archive(shared_mongodb()).await;
        let settings = SimulatedSettings { timeout, ..SimulatedSettings::default() };
        let provider = Arc::new(Simulated::new(&archive, settings));
        Rig { provider, behind: Behind::Archive(archive) }
    }

    pub async fn stripe(timeout: Duration) -> Self {
        let server = StripeServer::start().await;
        let provider = Arc::new(stripe_at(&server.url(), timeout));
        Rig { provider, behind: Behind::Server(server) }
    }

    /// The Stripe stand-in.
    pub fn server(&self) -> &StripeServer {
        match &self.behind {
            Behind::Server(server) => server,
            Behind::Archive(_) => panic!("this is not Stripe"),
        }
    }

    /// The money moved, by the provider's own books.
    pub async fn money(&self, charge: &Charge) -> Money {
        let payment = &charge.payment;
        let (charges, refunded) = match &self.behind {
            Behind::Archive(archive) => {
                let found = archive.simulated_payments().find(charge.booking).await.unwrap();
                found.map_or((0, 0), |found| (found.charges, found.refunded))
            }
            Behind::Server(server) => {
                server.intent(payment).map_or((0, 0), |found| (found.charges, found.refunded))
            }
        };
        Money { charges, refunded }
    }

    /// A charge of the order's object, with a valid card.
    pub async fn ready(&self) -> Charge {
        let order = order();
        let payment = self.provider.create(&order).await.unwrap();
        charge_of(&order, &payment)
    }

    /// Charges while this fault happens.
    pub async fn charge_with_fault(
        &self,
        charge: &Charge,
        fault: CallFault,
    ) -> Result<PaymentState, PaymentError> {
        match (&self.behind, fault) {
            (Behind::Archive(_), CallFault::Before) => {
                self.provider.charge(&with_method(charge, "card_error")).await
            }
            (Behind::Archive(_), CallFault::After) => {
                self.provider.charge(&with_method(charge, "card_timeout")).await
            }
            (Behind::Server(server), fault) => {
                let fault = match fault {
                    CallFault::Before => Fault::TooMany,
                    CallFault::After => Fault::SilentAfter,
                };
                server.fail("/confirm", fault);
                self.provider.charge(charge).await
            }
        }
    }
}

pub async fn archive(server: &Server) -> Archive {
    let config = ArchiveConfig { url: server.url(), database: unique_name(), op_timeout_ms: 5_000 };
    Archive::connect(&config).await.unwrap()
}

pub fn stripe_at(url: &str, timeout: Duration) -> Stripe {
    Stripe::new(&StripeSettings { url, secret_key: KEY, timeout }).unwrap()
}

pub fn order() -> PaymentOrder {
    let booking = BookingId::new(EventId(7), 1_763_700_000_000, rand::random());
    PaymentOrder { booking, amount: 1_000, currency: "EUR".into() }
}

pub fn charge_of(order: &PaymentOrder, payment: &str) -> Charge {
    Charge {
        booking: order.booking,
        attempt: 1,
        payment: payment.to_owned(),
        amount: order.amount,
        currency: order.currency.clone(),
        method: "card_ok".into(),
    }
}

pub fn with_method(charge: &Charge, method: &str) -> Charge {
    Charge { method: method.into(), ..charge.clone() }
}

/// The first attempt to refund this amount of a charge.
pub fn refund_of(charge: &Charge, total: i64) -> RefundOrder {
    RefundOrder {
        booking: charge.booking,
        payment: charge.payment.clone(),
        currency: charge.currency.clone(),
        total,
        attempt: 1,
    }
}

pub fn attempt(charge: &Charge, attempt: u32) -> Charge {
    Charge { attempt, ..charge.clone() }
}

/// Defines one test per provider: `on_each_provider!(name, TIMEOUT, async |rig: Rig| { … })`.
#[macro_export]
macro_rules! on_each_provider {
    ($name:ident, $timeout:expr, $body:expr) => {
        mod $name {
            use super::*;
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn simulated() {
                let body = $body;
                body(Rig::simulated($timeout).await).await;
            }
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn stripe() {
                let body = $body;
                body(Rig::stripe($timeout).await).await;
            }
        }
    };
}
