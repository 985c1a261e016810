//! Reading what scripts answer.

use fred::types::Value;

use super::codes::Code;
use super::error::RedisError;
use crate::domain::{Booking, BookingId, SeatId, SeatState};

/// A script's answer: its code, Redis' time, and what the code brings along.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// What was decided.
    pub code: Code,
    /// Redis' time of the decision, Unix ms.
    pub now_ms: i64,
    /// What comes with the code.
    pub body: Body,
}

/// What comes with a code.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// Nothing.
    Empty,
    /// A booking as the script left it.
    Booking(Box<Booking>),
    /// Numbers, as the script's header says.
    Numbers(Vec<i64>),
    /// States of the seats asked for.
    SeatStates(Vec<(SeatId, SeatState)>),
    /// Anything else.
    Raw(Vec<Value>),
}

impl Answer {
    /// The code, as in the script's header.
    pub fn code(&self) -> &'static str {
        self.code.as_str()
    }

    /// The booking, where there is one.
    pub fn booking(&self) -> Option<&Booking> {
        match &self.body {
            Body::Booking(booking) => Some(booking),
            _ => None,
        }
    }

    /// The booking of an answer that must have one.
    pub fn into_booking(self) -> Result<Booking, RedisError> {
        match self.body {
            Body::Booking(booking) => Ok(*booking),
            other => {
                Err(unexpected(format!("{} without a booking: {other:?}", self.code.as_str())))
            }
        }
    }

    /// All that came along, as numbers.
    pub(super) fn numbers(&self) -> Result<Vec<i64>, RedisError> {
        match &self.body {
            Body::Empty => Ok(Vec::new()),
            Body::Numbers(numbers) => Ok(numbers.clone()),
            Body::Raw(values) => values.iter().map(integer).collect(),
            other => Err(unexpected(format!("{other:?} where numbers should be"))),
        }
    }

    /// The n-th number; 0 where there is none.
    pub fn number(&self, index: usize) -> i64 {
        match &self.body {
            Body::Numbers(numbers) => numbers.get(index).copied().unwrap_or_default(),
            _ => 0,
        }
    }
}

/// Reads `[code, now, ...]`. Lists inside the rest make it `Raw`.
pub(super) fn parse(reply: Value) -> Result<Answer, RedisError> {
    let Value::Array(values) = reply else {
        return Err(unexpected(format!("a reply that is no list: {reply:?}")));
    };
    let mut values = values.into_iter();
    let code_word = text(values.next())?;
    let code =
        code_word.parse::<Code>().map_err(|()| unexpected(format!("reply code {code_word:?}")))?;
    let now_ms = integer(&values.next().unwrap_or(Value::Null))?;
    let rest: Vec<Value> = values.collect();
    Ok(Answer { code, now_ms, body: parse_body(code, rest)? })
}

fn parse_body(code: Code, rest: Vec<Value>) -> Result<Body, RedisError> {
    if rest.is_empty() {
        return Ok(Body::Empty);
    }
    if rest.len() > 3 {
        return Ok(Body::Raw(rest));
    }
    match code {
        Code::SeatsUnavailable => {
            return Ok(Body::SeatStates(seat_states(&text(rest.into_iter().next())?)?));
        }
        _ => {}
    }
    if let [id, record] = rest.as_slice()
        && let (Some(id), Some(record)) = (id.as_str(), record.as_str())
        && record.contains('\t')
    {
        let id: BookingId = id.parse().map_err(|_| unexpected(format!("booking id {:?}", &*id)))?;
        let booking = Booking::from_record(id, &record)
            .map_err(|e| unexpected(format!("booking {id}: {e}")))?;
        let booking = Box::new(booking);
        return Ok(Body::Booking(booking));
    }
    match rest.iter().map(integer).collect() {
        Ok(numbers) => Ok(Body::Numbers(numbers)),
        Err(_) => Ok(Body::Raw(rest)),
    }
}

fn seat_states(list: &str) -> Result<Vec<(SeatId, SeatState)>, RedisError> {
    let bad = || unexpected(format!("seat states {list:?}"));
    list.split(',')
        .map(|pair| {
            let (seat, state) = pair.split_once(':').ok_or_else(bad)?;
            let seat = SeatId(seat.parse().map_err(|_| bad())?);
            let byte = state.bytes().next().ok_or_else(bad)?;
            Ok((seat, SeatState::from_byte(byte).ok_or_else(bad)?))
        })
        .collect()
}

/// A text value.
pub(super) fn text(value: Option<Value>) -> Result<String, RedisError> {
    let value = value.unwrap_or(Value::Null);
    value.as_string().ok_or_else(|| unexpected(format!("{value:?} where a text should be")))
}

/// An integer, given as one or as decimal text.
pub(super) fn integer(value: &Value) -> Result<i64, RedisError> {
    let parsed = match value {
        Value::Integer(number) => Some(*number),
        other => other.as_str().and_then(|text| text.parse().ok()),
    };
    parsed.ok_or_else(|| unexpected(format!("{value:?} where a number should be")))
}

/// A list.
pub(super) fn list(value: Option<Value>) -> Result<Vec<Value>, RedisError> {
    match value {
        Some(Value::Array(values)) => Ok(values),
        Some(Value::Null) | None => Ok(Vec::new()),
        other => Err(unexpected(format!("{other:?} where a list should be"))),
    }
}

pub(super) fn unexpected(text: String) -> RedisError {
    RedisError::Unexpected(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(values: &[&str]) -> Value {
        Value::Array(values.iter().map(|text| Value::from(*text)).collect())
    }

    #[test]
    fn reads_each_shape() {
        assert_eq!(parse(reply(&["too_late", "5"])).unwrap().body, Body::Empty);
        let limit = parse(reply(&["user_limit", "5", "3", "4"])).unwrap();
        assert_eq!((limit.now_ms, limit.number(0), limit.number(1)), (5, 3, 4));
        let states = parse(reply(&["seats_unavailable", "5", "3:h,4:b"])).unwrap();
        let expected = vec![(SeatId(3), SeatState::Hold), (SeatId(4), SeatState::Booked)];
        assert_eq!(states.body, Body::SeatStates(expected));
    }

    #[test]
    fn refuses_what_it_cannot_read() {
        assert!(parse(Value::Null).is_err());
        assert!(parse(reply(&["no_such_code", "5"])).is_err());
        assert!(parse(reply(&["ok"])).is_err());
    }
}
