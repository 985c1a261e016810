//! `settle`: brings the archive's outcome of a booking into Redis.

use super::Script;
use super::call::new_nonce;
use super::call::{EVENT_KEYS, script_call};
use super::confirm::HeldArguments;
use super::reply::{Timed, event_reply};
use crate::domain::{Booking, BookingId, LogId, Outcome, Status};
use crate::redis::clock::NotAfter;
use crate::redis::engine::Engine;
use crate::redis::error::RedisError;

script_call! {
    /// Brings an outcome in, and acknowledges the log entry that led to it.
    pub(in crate::redis) struct SettleCall<'a>() => SettleReply by Script::Settle, not_after {
        generation: u64,
        nonce: &'a str,
        booking: BookingId,
        outcome: &'a str,
        group: &'a str,
        entry: &'a str,
        held: HeldArguments<'a>,
        payment: &'a str,
        paid_ms: i64,
        confirmed_ms: i64,
        idempotency: &'a str,
        fingerprint: &'a str,
        trace: &'a str,
    }
    keys |call| EVENT_KEYS of call.booking.event();
}

event_reply! {
    /// What a settlement came to.
    pub enum SettleReply {
        /// Redis has the outcome.
        "ok" => Settled {
            /// The booking.
            booking: Booking,
        },
        /// The archive had ended the booking otherwise before.
        "settled_otherwise" => SettledOtherwise {
            /// The booking.
            booking: Booking,
        },
        /// Another confirmed booking has one of the seats.
        "seats_lost" => SeatsLost {
            /// The booking.
            booking: Booking,
        },
    }
}

/// An outcome to settle, with the archive's facts in case Redis has lost the booking.
#[derive(Clone, Debug)]
pub struct Settlement<'a> {
    /// The event's current generation; read before the outcome.
    pub generation: u64,
    /// `sold`, `refund` or `cancelled`.
    pub outcome: &'a str,
    /// When this outcome is too old to be settled, by Redis' clock: before Redis forgets a booking
    /// that ended after the outcome was read. `None` for outcomes that are final.
    pub valid_until: Option<NotAfter>,
    /// Consumer group and position of the log entry to acknowledge.
    pub acknowledge: Option<(&'a str, LogId)>,
    /// The booking as the archive has it; its status and lease are ignored.
    pub booking: &'a Booking,
}

impl Engine {
    /// Runs `settle`; replies `too_late` after [`Settlement::valid_until`].
    ///
    /// # Errors
    /// If the script did not run, or it is unknown whether it did.
    pub async fn settle(
        &self,
        settlement: &Settlement<'_>,
    ) -> Result<Timed<SettleReply>, RedisError> {
        let booking = settlement.booking;
        let entry = settlement.acknowledge.map(|(_, id)| id.to_string());
        // A sale's version in the archive, once confirmed there, is the one that settling gives it.
        let is_sold = settlement.outcome == Outcome::Sold.as_str();
        let is_counted = is_sold && booking.status == Status::Confirmed;
        let version = booking.version.saturating_sub(u64::from(is_counted));
        let call = SettleCall {
            generation: settlement.generation,
            nonce: &new_nonce(),
            booking: booking.id,
            outcome: settlement.outcome,
            group: settlement.acknowledge.map_or("", |(group, _)| group),
            entry: entry.as_deref().unwrap_or_default(),
            held: HeldArguments::from(booking).at_version(version),
            payment: &booking.payment,
            paid_ms: booking.paid_ms,
            confirmed_ms: booking.confirmed_ms,
            idempotency: &booking.idempotency,
            fingerprint: &booking.fingerprint,
            trace: &booking.trace,
        };
        self.call_until(&call, settlement.valid_until.unwrap_or(NotAfter(i64::MAX))).await
    }
}
