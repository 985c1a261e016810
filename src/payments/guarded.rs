//! A provider behind a circuit breaker: while it does not answer, no new payment is begun.
//!
//! Only [`Provider::create`], the first call of every payment, obeys the breaker: a payment that is under
//! way is finished or undone whether or not the provider seems to be there. The results of all calls
//! count.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{
    Charge, Payment, PaymentError, PaymentOrder, PaymentState, Provider, ProviderFuture,
    RefundOrder, RefundResult,
};
use crate::circuit_breaker::{BreakerReport, BreakerSettings, CircuitBreaker};

/// Opens after so many calls in a row that were not carried out or not answered.
const BREAKER: BreakerSettings = BreakerSettings {
    dependency: "payments",
    failures_max: 5,
    pause: Duration::from_secs(2),
    probes: 2,
};

/// A provider behind a circuit breaker. Cheap to clone.
#[derive(Clone)]
pub struct GuardedProvider {
    provider: Arc<dyn Provider>,
    breaker: Arc<CircuitBreaker>,
}

impl GuardedProvider {
    /// Guards a provider.
    pub fn new(provider: Arc<dyn Provider>) -> Self {
        GuardedProvider { provider, breaker: Arc::new(CircuitBreaker::new(BREAKER)) }
    }

    /// Reports a call's result to the breaker.
    fn observed<'a, T: Send + 'a>(&'a self, call: ProviderFuture<'a, T>) -> ProviderFuture<'a, T> {
        Box::pin(async move {
            let result = call.await;
            match &result {
                Err(PaymentError::Unknown(_)) => self.breaker.failed(Instant::now()),
                // The object's state may be the reason, or the connection.
                Err(PaymentError::NotDone(_)) => {}
                // A refusal is an answer.
                Ok(_) | Err(PaymentError::Declined(_) | PaymentError::Impossible(_)) => {
                    self.breaker.succeeded(Instant::now());
                }
            }
            result
        })
    }
}

impl Provider for GuardedProvider {
    fn name(&self) -> &'static str {
        self.provider.name()
    }

    fn breaker(&self) -> BreakerReport {
        self.breaker.report(Instant::now())
    }

    fn refuses(&self) -> bool {
        self.breaker.refuses(Instant::now())
    }

    fn create<'a>(&'a self, order: &'a PaymentOrder) -> ProviderFuture<'a, String> {
        if !self.breaker.allows(Instant::now()) {
            let reason = "it has not answered for a moment".to_owned();
            return Box::pin(async move { Err(PaymentError::NotDone(reason)) });
        }
        Box::pin(async move {
            let created = self.observed(self.provider.create(order)).await;
            // There is no object yet that could be the reason.
            if let Err(PaymentError::NotDone(_)) = created {
                self.breaker.failed(Instant::now());
            }
            created
        })
    }

    fn charge<'a>(&'a self, charge: &'a Charge) -> ProviderFuture<'a, PaymentState> {
        self.observed(self.provider.charge(charge))
    }

    fn get<'a>(&'a self, payment: &'a str) -> ProviderFuture<'a, Option<Payment>> {
        self.observed(self.provider.get(payment))
    }

    fn cancel<'a>(&'a self, payment: &'a str) -> ProviderFuture<'a, PaymentState> {
        self.observed(self.provider.cancel(payment))
    }

    fn refund<'a>(&'a self, order: &'a RefundOrder) -> ProviderFuture<'a, RefundResult> {
        self.observed(self.provider.refund(order))
    }
}
