//! `cancel`, `extend`, `abort`, `get_booking`, `expire`, `forget`: holds and what becomes of them
//! without a payment.

use super::Script;
use super::call::{EVENT_KEYS, new_nonce, script_call};
use super::reply::{Timed, event_reply, script_reply};
use crate::domain::{Booking, BookingId, Event, EventId, UserId};
use crate::redis::clock::NotAfter;
use crate::redis::engine::Engine;
use crate::redis::error::RedisError;

/// An attempt of a caller: its nonce, and the idempotency record of the caller's own key.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// Names the attempt.
    pub nonce: &'a str,
    /// The record; `None` if the caller sent no key.
    pub record: Option<IdempotencyRecord<'a>>,
}

/// The idempotency record of a caller's own key for one operation on one booking.
#[derive(Clone, Copy, Debug)]
pub struct IdempotencyRecord<'a> {
    /// Its name: a digest of user, operation, booking and key.
    pub digest: &'a str,
    /// Fingerprint of the request.
    pub fingerprint: &'a str,
    /// How long it lives.
    pub ttl_ms: i64,
}

/// An attempt without a key.
impl<'a> From<&'a str> for Attempt<'a> {
    fn from(nonce: &'a str) -> Self {
        Attempt { nonce, record: None }
    }
}

/// An attempt without a key.
impl<'a> From<&'a String> for Attempt<'a> {
    fn from(nonce: &'a String) -> Self {
        Attempt { nonce, record: None }
    }
}

impl<'a> Attempt<'a> {
    /// Names the record's key. Its scripts declare one in any case: without a record it is a key
    /// that never exists.
    pub(super) fn digest(&self) -> &'a str {
        self.record.map_or("none", |record| record.digest)
    }

    /// How long the record lives; 0 without one.
    pub(super) fn ttl_ms(&self) -> i64 {
        self.record.map_or(0, |record| record.ttl_ms)
    }
}

script_call! {
    /// Gives up a hold.
    pub(in crate::redis) struct CancelCall<'a>() => CancelReply by Script::Cancel, not_after {
        generation: u64,
        nonce: &'a str,
        booking: BookingId,
        user: &'a UserId,
    }
    keys |call| EVENT_KEYS of call.booking.event();
}

event_reply! {
    /// What a cancellation of a hold came to.
    pub enum CancelReply {
        /// The hold has ended; its seats are free.
        "ok" => Cancelled {
            /// The booking.
            booking: Booking,
        },
        /// The booking was cancelled before.
        "replayed" => Replayed {
            /// The booking.
            booking: Booking,
        },
        /// The user has no such booking.
        "booking_unknown" => BookingUnknown,
        /// The hold has expired.
        "booking_expired" => BookingExpired {
            /// The booking.
            booking: Booking,
        },
        /// A confirmation is under way.
        "in_flight" => InFlight {
            /// The booking.
            booking: Booking,
        },
        /// The booking is paid; the archive has not decided the sale yet.
        "is_committed" => IsCommitted {
            /// The booking.
            booking: Booking,
        },
        /// The booking is sold.
        "is_confirmed" => IsConfirmed {
            /// The booking.
            booking: Booking,
        },
        /// The archive has refused the sale.
        "sale_voided" => SaleVoided {
            /// The booking.
            booking: Booking,
        },
    }
}

script_call! {
    /// Gives a hold a full hold time from now.
    pub(in crate::redis) struct ExtendCall<'a>(
        /// Digest of the idempotency record.
        idempotency: &'a str,
    ) => ExtendReply by Script::Extend, not_after {
        generation: u64,
        nonce: &'a str,
        booking: BookingId,
        user: &'a UserId,
        log_entries_max: u64,
        idempotency_ttl_ms: i64,
    }
    keys |call| EVENT_KEYS, "idempotency" of call.booking.event(), idempotency call.idempotency;
}

event_reply! {
    /// What an extension came to.
    pub enum ExtendReply {
        /// The hold has its new deadline.
        "ok" => Extended {
            /// The booking.
            booking: Booking,
        },
        /// The same request was granted before.
        "replayed" => Replayed {
            /// The booking.
            booking: Booking,
        },
        /// The user has no such booking.
        "booking_unknown" => BookingUnknown,
        /// Sales have ended.
        "event_closed" => EventClosed,
        /// The hold lasts its longest already.
        "hold_cap_reached" => HoldCapReached {
            /// The booking.
            booking: Booking,
        },
        /// The hold has expired.
        "booking_expired" => BookingExpired {
            /// The booking.
            booking: Booking,
        },
        /// The booking was cancelled.
        "booking_cancelled" => BookingCancelled {
            /// The booking.
            booking: Booking,
        },
        /// The archive has refused the sale.
        "sale_voided" => SaleVoided {
            /// The booking.
            booking: Booking,
        },
        /// A confirmation is under way.
        "in_flight" => InFlight {
            /// The booking.
            booking: Booking,
        },
        /// The booking is paid; the archive has not decided the sale yet.
        "is_committed" => IsCommitted {
            /// The booking.
            booking: Booking,
        },
        /// The booking is sold.
        "is_confirmed" => IsConfirmed {
            /// The booking.
            booking: Booking,
        },
        /// The booking log has `log_entries_max` entries.
        "log_full" => LogFull,
    }
}

script_call! {
    /// Undoes a hold whose reply was lost.
    pub(in crate::redis) struct AbortCall<'a>(
        /// The event.
        event: EventId,
        /// Digest of the hold's idempotency record.
        idempotency: &'a str,
    ) => AbortReply by Script::Abort, not_after {
        generation: u64,
        nonce: &'a str,
        lost_nonce: &'a str,
        not_before: NotAfter,
    }
    keys |call| EVENT_KEYS, "idempotency" of call.event, idempotency call.idempotency;
}

event_reply! {
    /// What the undoing of a hold came to.
    pub enum AbortReply {
        /// The hold has ended.
        "ok" => Undone {
            /// The booking.
            booking: Booking,
        },
        /// There was nothing to undo, or another attempt keeps the hold.
        "nothing" => Nothing {
            /// The request's booking, if it has one.
            booking: Option<Booking>,
        },
        /// The lost call could still run.
        "too_early" => TooEarly,
    }
}

script_call! {
    /// Shows a booking.
    pub(in crate::redis) struct GetBookingCall<'a>() => GetBookingReply by Script::GetBooking {
        nonce: &'a str,
        booking: BookingId,
    }
    keys |call| EVENT_KEYS of call.booking.event();
}

script_reply! {
    /// A booking as Redis has it.
    pub enum GetBookingReply {
        /// Redis has it; an overdue hold has expired first.
        "ok" => Found {
            /// The booking.
            booking: Box<Booking>,
        },
        /// Redis does not have it.
        "booking_unknown" => BookingUnknown,
        /// Redis does not have its event open.
        "event_not_loaded" => EventNotLoaded,
    }
}

script_call! {
    /// Ends overdue holds.
    pub(in crate::redis) struct ExpireCall<'a>(
        /// The event.
        event: EventId,
    ) => ExpireReply by Script::Expire, not_after {
        generation: u64,
        nonce: &'a str,
        overdue_batch: i64,
    }
    keys |call| EVENT_KEYS of call.event;
}

event_reply! {
    /// What the ending of overdue holds came to.
    pub enum ExpireReply {
        /// As many as there were, or as the batch allows, have ended.
        "ok" => Expired {
            /// How many ended.
            released: i64,
            /// The earliest deadline of the other holds, Unix ms.
            next_deadline_ms: Option<i64>,
        },
    }
}

script_call! {
    /// Drops archived bookings that ended long ago.
    pub(in crate::redis) struct ForgetCall<'a>(
        /// The event.
        event: EventId,
    ) => ForgetReply by Script::Forget, not_after {
        generation: u64,
        nonce: &'a str,
        keep_ms: i64,
        bookings: &'a [(BookingId, u64)],
    }
    keys |call| EVENT_KEYS of call.event;
}

event_reply! {
    /// What the dropping of ended bookings came to.
    pub enum ForgetReply {
        /// Those that ended long enough ago, in the versions that were named, are dropped.
        "ok" => Dropped {
            /// How many.
            forgotten: u64,
        },
    }
}

impl Engine {
    /// Runs `cancel`: gives up a hold.
    pub async fn cancel(
        &self,
        event: &Event,
        booking: BookingId,
        user: &UserId,
    ) -> Result<Timed<CancelReply>, RedisError> {
        let (generation, nonce) = (event.generation, &new_nonce());
        self.call(&CancelCall { generation, nonce, booking, user }).await
    }

    /// Runs `extend`: gives a hold a full hold time from now, unless the log has
    /// `log_entries_max` entries.
    pub async fn extend(
        &self,
        event: &Event,
        booking: BookingId,
        user: &UserId,
        attempt: impl Into<Attempt<'_>>,
        log_entries_max: u64,
    ) -> Result<Timed<ExtendReply>, RedisError> {
        let attempt = attempt.into();
        let call = ExtendCall {
            idempotency: attempt.digest(),
            generation: event.generation,
            nonce: attempt.nonce,
            booking,
            user,
            log_entries_max,
            idempotency_ttl_ms: attempt.ttl_ms(),
        };
        self.call(&call).await
    }

    /// Runs `abort`: undoes a hold whose reply was lost. `not_before` is the lost call's
    /// `not_after`.
    pub async fn abort(
        &self,
        event: EventId,
        generation: u64,
        idempotency: &str,
        lost_nonce: &str,
        not_before: NotAfter,
    ) -> Result<Timed<AbortReply>, RedisError> {
        let nonce = &new_nonce();
        let call = AbortCall { event, idempotency, generation, nonce, lost_nonce, not_before };
        self.call(&call).await
    }

    /// Runs `get_booking`.
    pub async fn get_booking(
        &self,
        booking: BookingId,
    ) -> Result<Timed<GetBookingReply>, RedisError> {
        self.call(&GetBookingCall { nonce: &new_nonce(), booking }).await
    }

    /// Runs `expire`: ends at most `overdue_batch` overdue holds.
    pub async fn expire(
        &self,
        event: EventId,
        generation: u64,
        overdue_batch: i64,
    ) -> Result<Timed<ExpireReply>, RedisError> {
        let nonce = &new_nonce();
        self.call(&ExpireCall { event, generation, nonce, overdue_batch }).await
    }

    /// Runs `forget`: drops bookings that ended at least `keep_ms` ago and still have these
    /// versions. The caller bounds the list and has seen each version archived.
    pub async fn forget(
        &self,
        event: EventId,
        generation: u64,
        keep_ms: i64,
        bookings: &[(BookingId, u64)],
    ) -> Result<Timed<ForgetReply>, RedisError> {
        let nonce = &new_nonce();
        self.call(&ForgetCall { event, generation, nonce, keep_ms, bookings }).await
    }
}
