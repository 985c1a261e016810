//! The scripts that take a closed event out of Redis and bring it back, as typed calls.

use fred::types::Value;

use super::calls::{args, new_nonce, number};
use super::engine::{Engine, NotAfter};
use super::error::RedisError;
use super::reply::Answer;
use super::scripts::Script;
use crate::domain::booking::format_seats;
use crate::domain::{Booking, Event, EventId, SeatId};

impl Engine {
    /// `unload_event`: takes the event out if it stands at this version. The caller passes the
    /// `not_after` that it has recorded in MongoDB.
    pub async fn unload_event(
        &self,
        event: EventId,
        generation: u64,
        event_version: u64,
        not_after: NotAfter,
    ) -> Result<Answer, RedisError> {
        let partition = self.keys().partition_of(event);
        let mut keys = self.keys().event_keys(event);
        keys.push(self.keys().events(partition));
        let mut args = args![not_after.0];
        args.push(number(generation));
        args.push(Value::from(new_nonce()));
        args.push(number(event_version));
        self.run(Script::UnloadEvent, partition, keys, args).await
    }

    /// `load_bookings`: places sold bookings and blocked seats into the load with this token.
    /// The caller bounds both lists. Answers `[how many bookings]`.
    pub async fn load_bookings(
        &self,
        event: &Event,
        token: &str,
        sold: &[Booking],
        blocked: &[SeatId],
    ) -> Result<Answer, RedisError> {
        let lines: Vec<String> = sold
            .iter()
            .map(|booking| format!("{}\t{}\n", booking.id, booking.to_record()))
            .collect();
        let rest = args![token, lines.concat(), format_seats(blocked)];
        let nonce = new_nonce();
        self.mutate_event(Script::LoadBookings, event.id, event.generation, &nonce, rest).await
    }
}
