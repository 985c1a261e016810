//! `load_bookings`, `seal_load`, `raise_generation`, `restore_bookings`: bringing an event back from
//! the archive.

use super::Script;
use super::call::new_nonce;
use super::call::{EVENT_KEYS, script_call};
use super::reply::{Timed, event_reply};
use crate::domain::{Booking, Event, EventId, SeatId};
use crate::redis::clock::NotAfter;
use crate::redis::engine::Engine;
use crate::redis::error::RedisError;

script_call! {
    /// Places sold bookings and blocked seats into a load.
    pub(in crate::redis) struct LoadBookingsCall<'a>(
        /// The event.
        event: EventId,
    ) => LoadBookingsReply by Script::LoadBookings, not_after {
        generation: u64,
        nonce: &'a str,
        token: &'a str,
        bookings: &'a [Booking],
        blocked: &'a [SeatId],
    }
    keys |call| EVENT_KEYS of call.event;
}

event_reply! {
    /// What the placing of bookings came to.
    pub enum LoadBookingsReply {
        /// All are placed.
        "ok" => Placed {
            /// How many bookings.
            placed: u64,
        },
        /// Two bookings have this seat; nothing was placed.
        "seats_lost" => SeatsLost {
            /// The seat.
            seat: SeatId,
        },
    }
}

script_call! {
    /// Gives a complete load the token by which it is opened.
    pub(in crate::redis) struct SealLoadCall<'a>(
        /// The event.
        event: EventId,
    ) => SealLoadReply by Script::SealLoad, not_after {
        generation: u64,
        nonce: &'a str,
        token: &'a str,
        seal: &'a str,
    }
    keys |call| EVENT_KEYS of call.event;
}

event_reply! {
    /// What the sealing of a load came to.
    pub enum SealLoadReply {
        /// The load has its new token.
        "ok" => Sealed,
    }
}

script_call! {
    /// Lets an open event continue under a newer generation.
    pub(in crate::redis) struct RaiseGenerationCall<'a>(
        /// The event.
        event: EventId,
    ) => RaiseGenerationReply by Script::RaiseGeneration, not_after {
        generation: u64,
        nonce: &'a str,
    }
    keys |call| EVENT_KEYS of call.event;
}

event_reply! {
    /// What the raising of a generation came to.
    pub enum RaiseGenerationReply {
        /// The event has the generation.
        "ok" => Raised {
            /// Names the load that brought the event in.
            load_token: String,
        },
    }
}

script_call! {
    /// Brings live bookings that Redis lost into a load or an open event.
    pub(in crate::redis) struct RestoreBookingsCall<'a>(
        /// The event.
        event: EventId,
    ) => RestoreBookingsReply by Script::RestoreBookings, not_after {
        generation: u64,
        nonce: &'a str,
        token: &'a str,
        bookings: &'a [Booking],
    }
    keys |call| EVENT_KEYS of call.event;
}

event_reply! {
    /// What the restoring of bookings came to.
    pub enum RestoreBookingsReply {
        /// Each is as wanted, or has ended.
        "ok" => Restored {
            /// How many live.
            restored: u64,
            /// How many have ended.
            ended: u64,
        },
    }
}

impl Engine {
    /// Runs `load_bookings` on the load with this token. The caller bounds both lists.
    pub async fn load_bookings(
        &self,
        event: &Event,
        token: &str,
        sold: &[Booking],
        blocked: &[SeatId],
    ) -> Result<Timed<LoadBookingsReply>, RedisError> {
        let call = LoadBookingsCall {
            event: event.id,
            generation: event.generation,
            nonce: &new_nonce(),
            token,
            bookings: sold,
            blocked,
        };
        self.call(&call).await
    }

    /// Runs `seal_load`: the load of this token is complete; its token becomes `seal`.
    pub async fn seal_load(
        &self,
        event: EventId,
        generation: u64,
        token: &str,
        seal: &str,
    ) -> Result<Timed<SealLoadReply>, RedisError> {
        let nonce = &new_nonce();
        self.call(&SealLoadCall { event, generation, nonce, token, seal }).await
    }

    /// Runs `raise_generation`: the event continues under this generation.
    pub async fn raise_generation(
        &self,
        event: EventId,
        generation: u64,
    ) -> Result<Timed<RaiseGenerationReply>, RedisError> {
        self.call(&RaiseGenerationCall { event, generation, nonce: &new_nonce() }).await
    }

    /// Runs `restore_bookings`: each booking is to get the status that it has in the list, which
    /// the caller bounds. `token` is empty for an event that is open. Replies `too_late` after
    /// `valid_until`.
    pub async fn restore_bookings(
        &self,
        event: EventId,
        generation: u64,
        token: &str,
        bookings: &[Booking],
        valid_until: NotAfter,
    ) -> Result<Timed<RestoreBookingsReply>, RedisError> {
        let nonce = &new_nonce();
        let call = RestoreBookingsCall { event, generation, nonce, token, bookings };
        self.call_until(&call, valid_until).await
    }
}
