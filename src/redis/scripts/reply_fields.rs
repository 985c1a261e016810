//! How each type is read from the fields of a reply.

use fred::types::Value;

use super::reply::{Fields, ReplyField};
use crate::domain::booking::parse_seats;
use crate::domain::waiting_room::Method;
use crate::domain::{
    Booking, BookingId, DrawState, Floors, Inventory, LogId, SeatId, SeatState, YoungBatch,
};
use crate::redis::error::RedisError;
use crate::redis::value::{integer, list, text, unexpected};

impl ReplyField for i64 {
    fn read(fields: &mut Fields) -> Result<Self, RedisError> {
        integer(&fields.next())
    }
}

macro_rules! counts {
    ($($type:ty),*) => {
        $(impl ReplyField for $type {
            fn read(fields: &mut Fields) -> Result<Self, RedisError> {
                let number = i64::read(fields)?;
                <$type>::try_from(number)
                    .map_err(|_| unexpected(format!("{number} where a count should be")))
            }
        })*
    };
}
counts!(u32, u64, usize);

impl ReplyField for String {
    fn read(fields: &mut Fields) -> Result<Self, RedisError> {
        text(Some(fields.next()))
    }
}

impl ReplyField for SeatId {
    fn read(fields: &mut Fields) -> Result<Self, RedisError> {
        u32::read(fields).map(SeatId)
    }
}

/// Two values: the booking's id and its record.
impl ReplyField for Booking {
    fn names(_: &'static str) -> Vec<&'static str> {
        vec!["id", "record"]
    }

    fn read(fields: &mut Fields) -> Result<Self, RedisError> {
        let id = String::read(fields)?;
        let id: BookingId = id.parse().map_err(|_| unexpected(format!("booking id {id:?}")))?;
        let record = String::read(fields)?;
        Booking::from_record(id, &record).map_err(|e| unexpected(format!("booking {id}: {e}")))
    }

    fn booking(&self) -> Option<&Booking> {
        Some(self)
    }

    fn into_booking(self) -> Option<Booking> {
        Some(self)
    }
}

/// `seat,...`; empty for none.
impl ReplyField for Vec<SeatId> {
    fn read(fields: &mut Fields) -> Result<Self, RedisError> {
        parse_seats(&String::read(fields)?).map_err(|e| unexpected(e.to_string()))
    }
}

/// `seat:state,...`.
impl ReplyField for Vec<(SeatId, SeatState)> {
    fn read(fields: &mut Fields) -> Result<Self, RedisError> {
        let list = String::read(fields)?;
        let bad = || unexpected(format!("seat states {list:?}"));
        let pair = |pair: &str| {
            let (seat, state) = pair.split_once(':').ok_or_else(bad)?;
            let seat = SeatId(seat.parse().map_err(|_| bad())?);
            let byte = state.bytes().next().ok_or_else(bad)?;
            Ok((seat, SeatState::from_byte(byte).ok_or_else(bad)?))
        };
        list.split(',').map(pair).collect()
    }
}

/// The booking, if any field is left.
impl ReplyField for Option<Booking> {
    fn names(field: &'static str) -> Vec<&'static str> {
        Booking::names(field)
    }

    fn read(fields: &mut Fields) -> Result<Self, RedisError> {
        fields.has_more().then(|| Booking::read(fields)).transpose()
    }

    fn booking(&self) -> Option<&Booking> {
        self.as_ref()
    }

    fn into_booking(self) -> Option<Booking> {
        self
    }
}

/// 1 or 0.
impl ReplyField for bool {
    fn read(fields: &mut Fields) -> Result<Self, RedisError> {
        Ok(i64::read(fields)? == 1)
    }
}

/// Negative for none.
impl ReplyField for Option<i64> {
    fn read(fields: &mut Fields) -> Result<Self, RedisError> {
        let number = i64::read(fields)?;
        Ok((number >= 0).then_some(number))
    }
}

impl ReplyField for LogId {
    fn read(fields: &mut Fields) -> Result<Self, RedisError> {
        position(&String::read(fields)?)
    }
}

/// `position tag`, or empty.
impl ReplyField for Option<(LogId, String)> {
    fn read(fields: &mut Fields) -> Result<Self, RedisError> {
        let link = String::read(fields)?;
        let parts = link.split_once(' ');
        parts.map(|(id, tag)| Ok((position(id)?, tag.to_owned()))).transpose()
    }
}

fn position(id: &str) -> Result<LogId, RedisError> {
    id.parse().map_err(|_| unexpected(format!("log position {id:?}")))
}

/// The inventory's bytes, or empty.
impl ReplyField for Option<Inventory> {
    fn read(fields: &mut Fields) -> Result<Self, RedisError> {
        let bytes = fields.next().into_owned_bytes().unwrap_or_default();
        let inventory = (!bytes.is_empty()).then(|| Inventory::from_bytes(bytes));
        inventory.transpose().map_err(|e| unexpected(e.to_string()))
    }
}

/// A list `seat, booking, ...`.
impl ReplyField for Vec<(SeatId, BookingId)> {
    fn read(fields: &mut Fields) -> Result<Self, RedisError> {
        pairs(fields, |seat, booking| Some((SeatId(seat.parse().ok()?), booking.parse().ok()?)))
    }
}

/// A list `user, count, ...`.
impl ReplyField for Vec<(String, i64)> {
    fn read(fields: &mut Fields) -> Result<Self, RedisError> {
        pairs(fields, |user, count| Some((user.to_owned(), count.parse().ok()?)))
    }
}

/// A list `id, record, ...`.
impl ReplyField for Vec<Booking> {
    fn read(fields: &mut Fields) -> Result<Self, RedisError> {
        let records =
            pairs(fields, |id, record| Some((id.parse::<BookingId>().ok()?, record.to_owned())))?;
        let booking = |(id, record): (BookingId, String)| {
            Booking::from_record(id, &record).map_err(|e| unexpected(format!("booking {id}: {e}")))
        };
        records.into_iter().map(booking).collect()
    }
}

/// Reads a list of pairs.
fn pairs<T>(
    fields: &mut Fields,
    read: impl Fn(&str, &str) -> Option<T>,
) -> Result<Vec<T>, RedisError> {
    let values = list(Some(fields.next()))?;
    let pair = |pair: &[Value]| {
        let (first, second) = (pair[0].as_str(), pair.get(1).and_then(|value| value.as_str()));
        let both = first.zip(second);
        let read = both.and_then(|(first, second)| read(&first, &second));
        read.ok_or_else(|| unexpected(format!("pair {pair:?}")))
    };
    values.chunks(2).map(pair).collect()
}

/// `number,...`; empty for none.
impl ReplyField for Vec<u64> {
    fn read(fields: &mut Fields) -> Result<Self, RedisError> {
        let list = String::read(fields)?;
        let number = |number: &str| number.parse().map_err(|_| unexpected(format!("{list:?}")));
        list.split(',').filter(|number| !number.is_empty()).map(number).collect()
    }
}

/// `opened:first place,...`; empty for none.
impl ReplyField for Vec<YoungBatch> {
    fn read(fields: &mut Fields) -> Result<Self, RedisError> {
        let list = String::read(fields)?;
        let batch = |pair: &str| {
            let parts = pair.split_once(':').and_then(|(at, first)| {
                Some(YoungBatch { opened_ms: at.parse().ok()?, first: first.parse().ok()? })
            });
            parts.ok_or_else(|| unexpected(format!("young batches {list:?}")))
        };
        list.split(',').filter(|pair| !pair.is_empty()).map(batch).collect()
    }
}

impl ReplyField for Floors {
    fn names(_: &'static str) -> Vec<&'static str> {
        vec!["joined", "served"]
    }

    fn read(fields: &mut Fields) -> Result<Self, RedisError> {
        Ok(Floors { joined: u64::read(fields)?, served: u64::read(fields)? })
    }
}

impl ReplyField for Method {
    fn read(fields: &mut Fields) -> Result<Self, RedisError> {
        let word = String::read(fields)?;
        word.parse().map_err(|()| unexpected(format!("waiting room method {word:?}")))
    }
}

impl ReplyField for DrawState {
    fn read(fields: &mut Fields) -> Result<Self, RedisError> {
        let word = String::read(fields)?;
        word.parse().map_err(|()| unexpected(format!("draw state {word:?}")))
    }
}
