//! Reads for a repair: whether an event is in Redis, in which state, and which bookings it lacks; and
//! the idempotency records of restored bookings.

use std::collections::HashMap;

use fred::types::Value;
use futures_util::{StreamExt, stream};

use super::engine::Engine;
use super::error::RedisError;
use super::log::entries;
use super::scan::parse_stored;
use super::value::{integer, list, text, unexpected};
use crate::domain::{Booking, BookingId, EventId, LogId, Partition};

/// Concurrent commands.
const RECORDS_AT_ONCE_MAX: usize = 64;

/// An event's state in Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventState {
    /// Whether it is open (else it is being loaded).
    pub open: bool,
    /// Its generation.
    pub generation: u64,
    /// Rises with every change of its settings.
    pub revision: u64,
    /// Names the load that brought it in.
    pub load_token: String,
}

impl Engine {
    /// Whether a partition is served by a master that replies. One that is still loading its data
    /// does not.
    pub async fn is_master(&self, partition: Partition) -> Result<bool, RedisError> {
        let role = list(Some(self.command("ROLE", partition, Vec::new()).await?))?;
        Ok(text(role.into_iter().next())? == "master")
    }

    /// The states of these events of one partition, in their order; `None`: Redis lacks
    /// the event.
    pub async fn event_states(
        &self,
        partition: Partition,
        events: &[EventId],
    ) -> Result<Vec<Option<EventState>>, RedisError> {
        let states = stream::iter(events.to_vec()).map(|event| async move {
            let key = self.keys().event_keys(event).swap_remove(0);
            let args = [key.as_str(), "state", "generation", "revision", "load_token"];
            let args = args.into_iter().map(Value::from).collect();
            let mut found = list(Some(self.command("HMGET", partition, args).await?))?.into_iter();
            let state = match found.next() {
                Some(Value::Null) | None => return Ok(None),
                state => text(state)?,
            };
            let generation = integer(&found.next().unwrap_or(Value::Null))? as u64;
            // An event that is being loaded has none yet.
            let revision = found.next().and_then(|found| integer(&found).ok()).unwrap_or(0) as u64;
            let load_token = text(found.next()).unwrap_or_default();
            Ok(Some(EventState { open: state == "open", generation, revision, load_token }))
        });
        let states: Vec<Result<Option<EventState>, RedisError>> =
            states.buffered(RECORDS_AT_ONCE_MAX).collect().await;
        states.into_iter().collect()
    }

    /// Identifies the run of a partition's server and its replication history: it changes with a
    /// restart, a failover, and another server.
    pub async fn incarnation(&self, partition: Partition) -> Result<String, RedisError> {
        let args = ["server", "replication"].into_iter().map(Value::from).collect();
        let info = text(Some(self.command("INFO", partition, args).await?))?;
        let field = |name: &str| {
            let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            value.map(str::trim).ok_or_else(|| unexpected(format!("INFO without {name}")))
        };
        Ok(format!("{} {}", field("run_id")?, field("master_replid")?))
    }

    /// Whether a log has this entry: at this position, with this tag.
    pub async fn has_entry(
        &self,
        partition: Partition,
        id: LogId,
        tag: &str,
    ) -> Result<bool, RedisError> {
        let found = self.range(partition, id, Some(id), 1).await?;
        Ok(found.first().is_some_and(|read| read.tag() == tag))
    }

    /// Position and tag of the newest entry at or below a position.
    pub async fn newest_entry_below(
        &self,
        partition: Partition,
        id: LogId,
    ) -> Result<Option<(LogId, String)>, RedisError> {
        let (log, id) = (self.keys().log(partition), id.to_string());
        let args = [log.as_str(), &id, "-", "COUNT", "1"].into_iter().map(Value::from).collect();
        let found = entries(partition, Some(self.command("XREVRANGE", partition, args).await?))?;
        Ok(found.first().map(|read| (read.id, read.tag())))
    }

    /// Those of these bookings that Redis has; `None` for an unreadable one.
    pub async fn bookings_by_id(
        &self,
        event: EventId,
        ids: &[BookingId],
    ) -> Result<HashMap<BookingId, Option<Booking>>, RedisError> {
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let mut args = vec![Value::from(self.keys().bookings(event))];
        args.extend(ids.iter().map(|id| Value::from(id.to_string())));
        let partition = self.keys().partition_of(event);
        let records = list(Some(self.command("HMGET", partition, args).await?))?;
        let mut found = HashMap::new();
        for (id, record) in ids.iter().zip(records) {
            if !matches!(record, Value::Null) {
                let record = text(Some(record))?;
                found.insert(*id, parse_stored(id.to_string(), &record).1.ok());
            }
        }
        Ok(found)
    }

    /// Writes the idempotency records of these bookings, as `hold` did, so that a repeated request
    /// finds its booking; each lives for the rest of `ttl_ms` since the booking was made. An existing
    /// record stays.
    pub async fn remember_requests(
        &self,
        bookings: &[Booking],
        ttl_ms: i64,
        now_ms: i64,
    ) -> Result<(), RedisError> {
        let record = |booking: &Booking| {
            let left_ms = booking.created_ms + ttl_ms - now_ms;
            let event = booking.id.event();
            let args = vec![
                Value::from(self.keys().idempotency(event, &booking.idempotency)),
                Value::from(format!("{} {}", booking.id, booking.fingerprint)),
                Value::from("NX"),
                Value::from("PX"),
                Value::from(left_ms),
            ];
            let is_kept = left_ms > 0 && !booking.idempotency.is_empty();
            is_kept.then(|| (self.keys().partition_of(event), args))
        };
        let records: Vec<(Partition, Vec<Value>)> = bookings.iter().filter_map(record).collect();
        let written = stream::iter(records).map(|(partition, args)| async move {
            self.command("SET", partition, args).await.map(drop)
        });
        let written: Vec<Result<(), RedisError>> =
            written.buffer_unordered(RECORDS_AT_ONCE_MAX).collect().await;
        written.into_iter().collect()
    }
}
