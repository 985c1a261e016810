//! Types of fields, each with its bounds.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::domain::time::{iso8601, parse_iso8601};

/// A whole number from `MIN` to `MAX`, such as an id or a count. Neither fractions nor texts are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Whole<const MIN: u32, const MAX: u32>(pub u32);

/// A whole number from 0 to `MAX`, such as an amount in the currency's minor unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Amount<const MAX: i64>(pub i64);

/// A whole number whose range depends on the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Integer(pub i64);

/// A text of `MIN` to `MAX` bytes, without control characters other than line breaks and tabs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Text<const MIN: usize, const MAX: usize>(pub String);

/// A time in ISO 8601 with its offset, as Unix ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time(pub i64);

/// One of a set of words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OneOf<T>(pub T);

/// A list of `MIN` to `MAX` items.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct List<T, const MIN: usize, const MAX: usize>(pub Vec<T>);

/// A JSON object: a derived struct alone would take a list of its fields' values, too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Record<T>(pub T);

/// A type of which each value has a word.
pub trait Word: Sized {
    /// The value of a word.
    fn parse(word: &str) -> Option<Self>;
    /// The word of the value.
    fn as_str(&self) -> &'static str;
    /// All words, for refusals.
    fn words() -> Vec<&'static str>;
}

/// A number or a text.
pub enum Scalar<'a> {
    /// A whole number.
    Number(i64),
    /// A text.
    Text(&'a str),
}

/// Deserializes a number or a text that `accept` accepts; `expected` describes those for refusals.
pub fn scalar<'de, D: Deserializer<'de>, T>(
    from: D,
    expected: impl Fn(&mut fmt::Formatter<'_>) -> fmt::Result,
    accept: impl Fn(Scalar<'_>) -> Option<T>,
) -> Result<T, D::Error> {
    from.deserialize_any(ScalarVisitor { expected, accept, accepted: PhantomData })
}

struct ScalarVisitor<X, A, T> {
    expected: X,
    accept: A,
    accepted: PhantomData<T>,
}

impl<X, A, T> Visitor<'_> for ScalarVisitor<X, A, T>
where
    X: Fn(&mut fmt::Formatter<'_>) -> fmt::Result,
    A: Fn(Scalar<'_>) -> Option<T>,
{
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (self.expected)(f)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        let invalid = || E::invalid_value(Unexpected::Signed(number), &self);
        (self.accept)(Scalar::Number(number)).ok_or_else(invalid)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        match i64::try_from(number) {
            Ok(number) => self.visit_i64(number),
            Err(_) => Err(E::invalid_value(Unexpected::Unsigned(number), &self)),
        }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        let invalid = || E::invalid_value(Unexpected::Str(text), &self);
        (self.accept)(Scalar::Text(text)).ok_or_else(invalid)
    }
}

impl<'a> Scalar<'a> {
    fn number(&self) -> Option<i64> {
        match self {
            Scalar::Number(number) => Some(*number),
            Scalar::Text(_) => None,
        }
    }

    /// The text, if it is one.
    pub fn text(&self) -> Option<&'a str> {
        match self {
            Scalar::Number(_) => None,
            Scalar::Text(text) => Some(text),
        }
    }
}

impl<'de, const MIN: u32, const MAX: u32> Deserialize<'de> for Whole<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let expected = |f: &mut fmt::Formatter<'_>| write!(f, "a whole number from {MIN} to {MAX}");
        scalar(from, expected, |scalar| {
            let number = u32::try_from(scalar.number()?).ok()?;
            (MIN..=MAX).contains(&number).then_some(Whole(number))
        })
    }
}

impl<'de, const MAX: i64> Deserialize<'de> for Amount<MAX> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let expected = |f: &mut fmt::Formatter<'_>| write!(f, "a whole number from 0 to {MAX}");
        scalar(from, expected, |scalar| {
            scalar.number().filter(|number| (0..=MAX).contains(number)).map(Amount)
        })
    }
}

impl<'de> Deserialize<'de> for Integer {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        scalar(from, |f| f.write_str("a whole number"), |scalar| scalar.number().map(Integer))
    }
}

impl<'de, const MIN: usize, const MAX: usize> Deserialize<'de> for Text<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let expected = |f: &mut fmt::Formatter<'_>| {
            write!(f, "a text of {MIN} to {MAX} bytes, no control characters")
        };
        let is_control = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
        scalar(from, expected, |scalar| {
            let text = scalar.text()?;
            let is_text = (MIN..=MAX).contains(&text.len()) && !text.contains(is_control);
            is_text.then(|| Text(text.to_owned()))
        })
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let expected = |f: &mut fmt::Formatter<'_>| {
            f.write_str("a time with its offset, ±18:00 at most, such as \"2026-03-01T18:00:00Z\"")
        };
        scalar(from, expected, |scalar| parse_iso8601(scalar.text()?).map(Time))
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&iso8601(self.0))
    }
}

impl<'de, T: Word> Deserialize<'de> for OneOf<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let expected = |f: &mut fmt::Formatter<'_>| write!(f, "one of {}", T::words().join(", "));
        scalar(from, expected, |scalar| T::parse(scalar.text()?).map(OneOf))
    }
}

impl<T: Word> Serialize for OneOf<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.0.as_str())
    }
}

impl<'de, T: Deserialize<'de>, const MIN: usize, const MAX: usize> Deserialize<'de>
    for List<T, MIN, MAX>
{
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_seq(ListOf::<T, MIN, MAX>(PhantomData)).map(List)
    }
}

struct ListOf<T, const MIN: usize, const MAX: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MIN: usize, const MAX: usize> Visitor<'de>
    for ListOf<T, MIN, MAX>
{
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match MAX {
            usize::MAX => f.write_str("a list"),
            _ => write!(f, "a list of {MIN} to {MAX} items"),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
        let mut list = Vec::new();
        while list.len() < MAX {
            match items.next_element()? {
                Some(item) => list.push(item),
                None if list.len() >= MIN => return Ok(list),
                None => return Err(Error::invalid_length(list.len(), &self)),
            }
        }
        // The number of the others does not matter: the refusal counts them.
        match items.next_element::<IgnoredAny>()? {
            None => Ok(list),
            Some(_) => Err(Error::invalid_length(list.len() + 1, &self)),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Record<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(RecordOf(PhantomData)).map(Record)
    }
}

struct RecordOf<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for RecordOf<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}
