//! Bookings that ended without a sale: listed by when they ended, and forgotten.

use fred::types::Value;

use super::engine::Engine;
use super::error::RedisError;
use super::scan::{Cursor, Page, parse_stored};
use super::value::{list, text};
use crate::domain::{Booking, EventId, RecordError};

/// What the index of ended bookings names, and what Redis has under that id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedBooking {
    /// The id in the index.
    pub id: String,
    /// The booking, or why it is unreadable; `None` where there is none.
    pub booking: Option<Result<Booking, RecordError>>,
}

impl Engine {
    /// At most `count` bookings of an event that ended no later than `until_ms` (Redis' time),
    /// oldest first, after the first `skip` of them. Two commands: what changes in between is
    /// handled by [`Engine::forget`].
    pub async fn ended_bookings(
        &self,
        event: EventId,
        until_ms: i64,
        skip: u64,
        count: u64,
    ) -> Result<Vec<EndedBooking>, RedisError> {
        let partition = self.keys().partition_of(event);
        let args = [
            self.keys().ended(event),
            "-inf".into(),
            until_ms.to_string(),
            "LIMIT".into(),
            skip.to_string(),
            count.to_string(),
        ];
        let args = args.into_iter().map(Value::from).collect();
        let reply = list(Some(self.command("ZRANGEBYSCORE", partition, args).await?))?;
        let ids: Result<Vec<String>, _> = reply.into_iter().map(|id| text(Some(id))).collect();
        let ids = ids?;
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut args = vec![Value::from(self.keys().bookings(event))];
        args.extend(ids.iter().map(|id| Value::from(id.as_str())));
        let records = list(Some(self.command("HMGET", partition, args).await?))?;
        let ended = |(id, record): (String, Value)| {
            let booking = match record {
                Value::Null => None,
                record => Some(parse_stored(id.clone(), &text(Some(record))?).1),
            };
            Ok(EndedBooking { id, booking })
        };
        ids.into_iter().zip(records).map(ended).collect()
    }

    /// Some of an event's index of ended bookings: ids as they stand there, and when each ended,
    /// Unix ms.
    pub async fn ended_page(
        &self,
        event: EventId,
        cursor: Cursor,
    ) -> Result<Page<(String, i64)>, RedisError> {
        self.sorted_set_page(event, self.keys().ended(event), cursor).await
    }
}
