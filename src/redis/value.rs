//! Reading the client library's values.

use fred::types::Value;

use super::error::RedisError;

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

/// Arguments of a plain command.
macro_rules! args {
    ($($value:expr),* $(,)?) => { vec![$(fred::types::Value::from($value)),*] };
}
pub(super) use args;
