//! A client's idempotency key for one operation on one booking, and the record that the
//! operation's script keeps of it.
//!
//! Without a key there is no record. Confirmations and cancellations need none: the booking itself
//! shows that they happened and is the response. Each extension without a key extends the hold.

use super::{ConfirmRequest, SaleSettings};
use crate::domain::idempotency::{Scope, explicit_digest, payment_fingerprint};
use crate::domain::{BookingId, UserId};
use crate::redis::{Attempt, IdempotencyRecord};

/// The fields of an idempotency record.
pub(super) struct RequestKey {
    digest: String,
    fingerprint: String,
    ttl_ms: i64,
}

impl RequestKey {
    /// The key of an extension, if the caller sent one.
    pub(super) fn of_extension(
        user: &UserId,
        booking: BookingId,
        key: Option<&str>,
        settings: &SaleSettings,
    ) -> Option<Self> {
        // An extension has no parameters.
        RequestKey::new("extend", user, booking, key, String::new(), settings)
    }

    /// The key of a confirmation, if the caller sent one.
    pub(super) fn of_payment(request: &ConfirmRequest, settings: &SaleSettings) -> Option<Self> {
        let ConfirmRequest { user, booking, key, .. } = request;
        let fingerprint = payment_fingerprint(&request.payment_method, request.amount);
        RequestKey::new("confirm", user, *booking, key.as_deref(), fingerprint, settings)
    }

    fn new(
        operation: &'static str,
        user: &UserId,
        booking: BookingId,
        key: Option<&str>,
        fingerprint: String,
        settings: &SaleSettings,
    ) -> Option<Self> {
        let digest = explicit_digest(user, Scope::Booking(operation, booking), key?);
        Some(RequestKey { digest, fingerprint, ttl_ms: settings.idempotency_ttl_ms })
    }

    /// Creates an attempt, under this key if there is one.
    pub(super) fn attempt<'a>(key: Option<&'a Self>, nonce: &'a str) -> Attempt<'a> {
        let record = key.map(|RequestKey { digest, fingerprint, ttl_ms }| IdempotencyRecord {
            digest,
            fingerprint,
            ttl_ms: *ttl_ms,
        });
        Attempt { nonce, record }
    }
}
