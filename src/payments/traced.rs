//! A provider whose calls are spans.

use std::sync::Arc;

use super::{
    Charge, Payment, PaymentError, PaymentOrder, PaymentState, Provider, ProviderFuture,
    RefundOrder, RefundResult,
};
use crate::domain::BookingId;
use crate::telemetry::spans::{Span, SpanKind};

/// Another provider, with a span around each call.
pub struct Traced(Arc<dyn Provider>);

impl Traced {
    /// Wraps a provider.
    pub fn new(provider: Arc<dyn Provider>) -> Self {
        Traced(provider)
    }

    fn span(&self, name: &'static str, booking: Option<BookingId>, payment: &str) -> Span {
        let mut span = Span::child(name, SpanKind::Internal);
        if span.is_recorded() {
            span.set("holdfast.payment.provider", self.0.name());
            if let Some(booking) = booking {
                span.set_text("holdfast.booking.id", &booking);
            }
            if !payment.is_empty() {
                span.set("holdfast.payment.id", payment.to_owned());
            }
        }
        span
    }
}

fn within<'a, T: Send + 'a>(mut span: Span, call: ProviderFuture<'a, T>) -> ProviderFuture<'a, T> {
    if !span.is_recorded() {
        return call;
    }
    Box::pin(async move {
        let result = span.scope(call).await;
        if let Err(error) = &result {
            span.fail(match error {
                PaymentError::Declined(_) => "declined",
                PaymentError::Impossible(_) => "impossible",
                PaymentError::NotDone(_) => "not_done",
                PaymentError::Unknown(_) => "unknown",
            });
        }
        result
    })
}

impl Provider for Traced {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn create<'a>(&'a self, order: &'a PaymentOrder) -> ProviderFuture<'a, String> {
        within(self.span("payment create", Some(order.booking), ""), self.0.create(order))
    }

    fn charge<'a>(&'a self, charge: &'a Charge) -> ProviderFuture<'a, PaymentState> {
        let span = self.span("payment charge", Some(charge.booking), &charge.payment);
        within(span, self.0.charge(charge))
    }

    fn get<'a>(&'a self, payment: &'a str) -> ProviderFuture<'a, Option<Payment>> {
        within(self.span("payment get", None, payment), self.0.get(payment))
    }

    fn cancel<'a>(&'a self, payment: &'a str) -> ProviderFuture<'a, PaymentState> {
        within(self.span("payment cancel", None, payment), self.0.cancel(payment))
    }

    fn refund<'a>(&'a self, order: &'a RefundOrder) -> ProviderFuture<'a, RefundResult> {
        let span = self.span("payment refund", Some(order.booking), &order.payment);
        within(span, self.0.refund(order))
    }
}
