//! `confirm_*`: a hold under a lease while it is paid for, and the sale of its seats.

use fred::types::Value;

use super::Script;
use super::booking::Attempt;
use super::call::new_nonce;
use super::call::{Argument, EVENT_KEYS, argument_group, script_call};
use super::reply::{Timed, event_reply};
use crate::domain::{Booking, BookingId, Event, SeatId, UserId};
use crate::redis::clock::NotAfter;
use crate::redis::engine::Engine;
use crate::redis::error::RedisError;

script_call! {
    /// Puts a hold under a confirmation lease.
    pub(in crate::redis) struct ConfirmBeginCall<'a>(
        /// Digest of the idempotency record.
        idempotency: &'a str,
    ) => ConfirmBeginReply by Script::ConfirmBegin, not_after {
        generation: u64,
        nonce: &'a str,
        booking: BookingId,
        user: &'a UserId,
        lease_ms: i64,
        attempts_max: i64,
        fingerprint: &'a str,
        idempotency_ttl_ms: i64,
    }
    keys |call| EVENT_KEYS, "idempotency" of call.booking.event(), idempotency call.idempotency;
}

event_reply! {
    /// What the beginning of a confirmation came to.
    pub enum ConfirmBeginReply {
        /// The booking is under the caller's lease.
        "ok" => Leased {
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
        /// The hold has expired.
        "booking_expired" => BookingExpired {
            /// The booking.
            booking: Booking,
        },
        /// The booking was cancelled, or lost a seat to a restored sale.
        "booking_cancelled" => BookingCancelled {
            /// The booking.
            booking: Booking,
        },
        /// The archive has refused the sale.
        "sale_voided" => SaleVoided {
            /// The booking.
            booking: Booking,
        },
        /// Another attempt has the lease.
        "in_flight" => InFlight {
            /// The booking.
            booking: Booking,
        },
        /// The booking had as many leases as it may have.
        "attempts_exhausted" => AttemptsExhausted {
            /// The booking.
            booking: Booking,
        },
        /// The idempotency key was used for another payment of this booking, which is sold.
        "idempotency_mismatch" => IdempotencyMismatch,
        /// The user has no such booking.
        "booking_unknown" => BookingUnknown,
    }
}

script_call! {
    /// Sells a paid booking's seats.
    pub(in crate::redis) struct ConfirmCommitCall<'a>() => ConfirmCommitReply
        by Script::ConfirmCommit, not_after
    {
        generation: u64,
        nonce: &'a str,
        booking: BookingId,
        lease: u64,
        payment: &'a str,
    }
    keys |call| EVENT_KEYS, "room_sessions" of call.booking.event();
}

event_reply! {
    /// What a commit came to.
    pub enum ConfirmCommitReply {
        /// The seats are sold.
        "ok" => Committed {
            /// The booking.
            booking: Booking,
        },
        /// The lease is not the current one.
        "lease_stale" => LeaseStale {
            /// The booking.
            booking: Booking,
        },
        /// Redis does not have the booking.
        "booking_unknown" => BookingUnknown,
    }
}

/// Which confirmation `confirm_abort` ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AbortMode {
    /// The one with this lease number.
    Lease(u64),
    /// The one begun by this attempt, whose reply was lost.
    Nonce {
        /// The lost attempt.
        nonce: String,
        /// Its `not_after`.
        not_before: NotAfter,
    },
}

argument_group! {
    /// A mode as the script reads it.
    struct AbortModeArguments<'a> {
        mode: &'a str,
        value: String,
        not_before: i64,
    }
}

impl Argument for &AbortMode {
    fn names(field: &'static str) -> Vec<&'static str> {
        AbortModeArguments::names(field)
    }

    fn push(&self, arguments: &mut Vec<Value>) {
        let group = match self {
            AbortMode::Lease(lease) => {
                AbortModeArguments { mode: "lease", value: lease.to_string(), not_before: 0 }
            }
            AbortMode::Nonce { nonce, not_before } => {
                AbortModeArguments { mode: "nonce", value: nonce.clone(), not_before: not_before.0 }
            }
        };
        group.push(arguments);
    }
}

script_call! {
    /// Ends a confirmation without a sale.
    pub(in crate::redis) struct ConfirmAbortCall<'a>() => ConfirmAbortReply
        by Script::ConfirmAbort, not_after
    {
        generation: u64,
        nonce: &'a str,
        booking: BookingId,
        mode: &'a AbortMode,
    }
    keys |call| EVENT_KEYS of call.booking.event();
}

event_reply! {
    /// What the end of a confirmation came to.
    pub enum ConfirmAbortReply {
        /// The confirmation has ended: the booking is a hold again, or has ended.
        "ok" => Ended {
            /// The booking.
            booking: Booking,
        },
        /// There is no such confirmation.
        "nothing" => Nothing {
            /// The booking.
            booking: Booking,
        },
        /// The lost call could still run.
        "too_early" => TooEarly,
        /// Redis does not have the booking.
        "booking_unknown" => BookingUnknown,
    }
}

script_call! {
    /// Puts a confirmation whose lease has lapsed under a new one.
    pub(in crate::redis) struct ConfirmTakeoverCall<'a>() => ConfirmTakeoverReply
        by Script::ConfirmTakeover, not_after
    {
        generation: u64,
        nonce: &'a str,
        booking: BookingId,
        lease_ms: i64,
    }
    keys |call| EVENT_KEYS of call.booking.event();
}

event_reply! {
    /// What a takeover came to.
    pub enum ConfirmTakeoverReply {
        /// The booking is under the caller's lease.
        "ok" => Leased {
            /// The booking.
            booking: Booking,
        },
        /// There is no lapsed confirmation.
        "nothing" => Nothing {
            /// The booking.
            booking: Booking,
        },
        /// Redis does not have the booking.
        "booking_unknown" => BookingUnknown,
    }
}

argument_group! {
    /// What a booking holds: for scripts that may have to write the booking anew.
    pub(in crate::redis) struct HeldArguments<'a> {
        version: u64,
        user: &'a str,
        seats: &'a [SeatId],
        amount: i64,
        currency: &'a str,
        created_ms: i64,
        deadline_ms: i64,
    }
}

impl HeldArguments<'_> {
    /// The same with another version.
    pub(in crate::redis) fn at_version(self, version: u64) -> Self {
        HeldArguments { version, ..self }
    }
}

impl<'a> From<&'a Booking> for HeldArguments<'a> {
    fn from(booking: &'a Booking) -> Self {
        HeldArguments {
            version: booking.version,
            user: booking.user.as_str(),
            seats: &booking.seats,
            amount: booking.amount,
            currency: &booking.currency,
            created_ms: booking.created_ms,
            deadline_ms: booking.deadline_ms,
        }
    }
}

script_call! {
    /// Sells the seats of a booking that its provider reports as paid.
    pub(in crate::redis) struct ConfirmLateCall<'a>() => ConfirmLateReply
        by Script::ConfirmLate, not_after
    {
        generation: u64,
        nonce: &'a str,
        booking: BookingId,
        payment: &'a str,
        held: HeldArguments<'a>,
        lease: u64,
        idempotency: &'a str,
        fingerprint: &'a str,
        trace: &'a str,
    }
    keys |call| EVENT_KEYS of call.booking.event();
}

event_reply! {
    /// What a late commit came to.
    pub enum ConfirmLateReply {
        /// The seats are sold.
        "ok" => Committed {
            /// The booking.
            booking: Booking,
        },
        /// Another booking has one of the seats.
        "seats_lost" => SeatsLost {
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
    }
}

impl Engine {
    /// Runs `confirm_begin`: puts a hold under a lease.
    pub async fn confirm_begin(
        &self,
        event: &Event,
        booking: BookingId,
        user: &UserId,
        attempt: impl Into<Attempt<'_>>,
        lease_ms: i64,
        attempts_max: i64,
    ) -> Result<Timed<ConfirmBeginReply>, RedisError> {
        let attempt = attempt.into();
        let call = ConfirmBeginCall {
            idempotency: attempt.digest(),
            generation: event.generation,
            nonce: attempt.nonce,
            booking,
            user,
            lease_ms,
            attempts_max,
            fingerprint: attempt.record.map_or("", |record| record.fingerprint),
            idempotency_ttl_ms: attempt.ttl_ms(),
        };
        self.call(&call).await
    }

    /// Runs `confirm_commit`: sells a paid booking's seats.
    pub async fn confirm_commit(
        &self,
        generation: u64,
        booking: BookingId,
        lease: u64,
        payment: &str,
    ) -> Result<Timed<ConfirmCommitReply>, RedisError> {
        let nonce = &new_nonce();
        self.call(&ConfirmCommitCall { generation, nonce, booking, lease, payment }).await
    }

    /// Runs `confirm_abort`: ends a confirmation without a sale.
    pub async fn confirm_abort(
        &self,
        generation: u64,
        booking: BookingId,
        mode: &AbortMode,
    ) -> Result<Timed<ConfirmAbortReply>, RedisError> {
        let nonce = &new_nonce();
        self.call(&ConfirmAbortCall { generation, nonce, booking, mode }).await
    }

    /// Runs `confirm_takeover`: puts a confirmation whose lease has lapsed under a new one.
    pub async fn confirm_takeover(
        &self,
        generation: u64,
        booking: BookingId,
        nonce: &str,
        lease_ms: i64,
    ) -> Result<Timed<ConfirmTakeoverReply>, RedisError> {
        self.call(&ConfirmTakeoverCall { generation, nonce, booking, lease_ms }).await
    }

    /// Runs `confirm_late`: sells the seats of a paid booking. `booking` is what is known of it,
    /// in case Redis has lost it.
    pub async fn confirm_late(
        &self,
        generation: u64,
        booking: &Booking,
        payment: &str,
    ) -> Result<Timed<ConfirmLateReply>, RedisError> {
        let call = ConfirmLateCall {
            generation,
            nonce: &new_nonce(),
            booking: booking.id,
            payment,
            held: booking.into(),
            lease: booking.lease,
            idempotency: &booking.idempotency,
            fingerprint: &booking.fingerprint,
            trace: &booking.trace,
        };
        self.call(&call).await
    }
}
