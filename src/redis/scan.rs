//! An event's lists in pages, for tools that must not block Redis: each page is one short command,
//! so a whole list is of no single instant, and an element may be returned twice.

use fred::types::Value;

use super::engine::Engine;
use super::error::RedisError;
use super::value::{integer, list, text, unexpected};
use crate::domain::{Booking, BookingId, EventId, RecordError, SeatId};

/// Elements per page; Redis may return a few more.
const PAGE: &str = "1000";

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// Its elements.
    pub items: Vec<T>,
    /// The position of the next page; `None` after the last one.
    pub next: Option<Cursor>,
}

/// A position in a list; the default is its beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor(String);

impl Default for Cursor {
    fn default() -> Self {
        Cursor("0".to_owned())
    }
}

/// A booking stored in Redis: its id, and its record or the reason why that is unreadable.
pub type StoredBooking = (String, Result<Booking, RecordError>);

/// Reads a booking's id and record.
pub(super) fn parse_stored(id: String, record: &str) -> StoredBooking {
    let parsed: Result<BookingId, _> = id.parse().map_err(|_| RecordError("booking id"));
    let booking = parsed.and_then(|id| Booking::from_record(id, record));
    (id, booking)
}

impl Engine {
    /// Some of an event's bookings.
    pub async fn bookings_page(
        &self,
        event: EventId,
        cursor: Cursor,
    ) -> Result<Page<StoredBooking>, RedisError> {
        let page = self.scan_page("HSCAN", event, self.keys().bookings(event), cursor).await?;
        Ok(page.map(|(id, record)| parse_stored(id, &record)))
    }

    /// The booking that has a seat; `None` if it is free or kept back.
    pub async fn holder(&self, event: EventId, seat: SeatId) -> Result<Option<String>, RedisError> {
        let args = vec![Value::from(self.keys().holders(event)), Value::from(seat.to_string())];
        let reply = self.command("HGET", self.keys().partition_of(event), args).await?;
        if reply.is_null() { Ok(None) } else { text(Some(reply)).map(Some) }
    }

    /// Some of an event's taken seats with their bookings; ids as stored.
    pub async fn holders_page(
        &self,
        event: EventId,
        cursor: Cursor,
    ) -> Result<Page<(SeatId, String)>, RedisError> {
        let page = self.scan_page("HSCAN", event, self.keys().holders(event), cursor).await?;
        page.try_map(|(seat, booking)| {
            let seat = seat.parse().map_err(|_| unexpected(format!("seat {seat:?}")))?;
            Ok((SeatId(seat), booking))
        })
    }

    /// Some of an event's users with the number of seats each holds or owns.
    pub async fn users_page(
        &self,
        event: EventId,
        cursor: Cursor,
    ) -> Result<Page<(String, i64)>, RedisError> {
        let page = self.scan_page("HSCAN", event, self.keys().users(event), cursor).await?;
        page.try_map(|(user, count)| Ok((user, integer(&Value::from(count))?)))
    }

    /// Some of a sorted set's members with their scores.
    pub(super) async fn sorted_set_page(
        &self,
        event: EventId,
        key: String,
        cursor: Cursor,
    ) -> Result<Page<(String, i64)>, RedisError> {
        let page = self.scan_page("ZSCAN", event, key, cursor).await?;
        page.try_map(|(member, score)| Ok((member, integer(&Value::from(score))?)))
    }

    async fn scan_page(
        &self,
        command: &'static str,
        event: EventId,
        key: String,
        cursor: Cursor,
    ) -> Result<Page<(String, String)>, RedisError> {
        let args = [key, cursor.0, "COUNT".to_owned(), PAGE.to_owned()];
        let args = args.into_iter().map(Value::from).collect();
        let reply = self.command(command, self.keys().partition_of(event), args).await?;
        let mut reply = list(Some(reply))?.into_iter();
        let next = Cursor(text(reply.next())?);
        let mut flat = list(reply.next())?.into_iter();
        let mut items = Vec::with_capacity(flat.len() / 2);
        while let (Some(name), Some(value)) = (flat.next(), flat.next()) {
            items.push((text(Some(name))?, text(Some(value))?));
        }
        Ok(Page { items, next: (next != Cursor::default()).then_some(next) })
    }
}

impl<T> Page<T> {
    fn map<U>(self, change: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(change).collect(), next: self.next }
    }

    fn try_map<U>(
        self,
        change: impl FnMut(T) -> Result<U, RedisError>,
    ) -> Result<Page<U>, RedisError> {
        let items: Result<Vec<U>, RedisError> = self.items.into_iter().map(change).collect();
        Ok(Page { items: items?, next: self.next })
    }
}
