//! Types of fields, each with its bounds.

use std::fmt;
use std::marker::PhantomData;
use std::ops::RangeInclusive;

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

impl<'de, const MIN: u32, const MAX: u32> Deserialize<'de> for Whole<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let number = from.deserialize_i64(InRange(i64::from(MIN)..=i64::from(MAX)))?;
        // The range keeps it within a u32.
        Ok(Whole(number as u32))
    }
}

impl<'de, const MAX: i64> Deserialize<'de> for Amount<MAX> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_i64(InRange(0..=MAX)).map(Amount)
    }
}

impl<'de> Deserialize<'de> for Integer {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_i64(InRange(i64::MIN..=i64::MAX)).map(Integer)
    }
}

struct InRange(RangeInclusive<i64>);

impl Visitor<'_> for InRange {
    type Value = i64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (*self.0.start(), *self.0.end()) {
            (i64::MIN, i64::MAX) => f.write_str("a whole number"),
            (min, max) => write!(f, "a whole number from {min} to {max}"),
        }
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<i64, E> {
        match self.0.contains(&number) {
            true => Ok(number),
            false => Err(E::invalid_value(Unexpected::Signed(number), &self)),
        }
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<i64, E> {
        match i64::try_from(number) {
            Ok(number) => self.visit_i64(number),
            Err(_) => Err(E::invalid_value(Unexpected::Unsigned(number), &self)),
        }
    }
}

impl<'de, const MIN: usize, const MAX: usize> Deserialize<'de> for Text<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_str(TextOf(MIN..=MAX)).map(Text)
    }
}

struct TextOf(RangeInclusive<usize>);

impl Visitor<'_> for TextOf {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (min, max) = (self.0.start(), self.0.end());
        write!(f, "a text of {min} to {max} bytes, no control characters")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        let is_control = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
        match self.0.contains(&text.len()) && !text.contains(is_control) {
            true => Ok(text.to_owned()),
            false => Err(E::invalid_value(Unexpected::Str(text), &self)),
        }
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Iso8601;

        impl Visitor<'_> for Iso8601 {
            type Value = i64;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "a time with its offset, ±18:00 at most, such as \"2026-03-01T18:00:00Z\"",
                )
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<i64, E> {
                let invalid = || E::invalid_value(Unexpected::Str(text), &self);
                parse_iso8601(text).ok_or_else(invalid)
            }
        }

        from.deserialize_str(Iso8601).map(Time)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&iso8601(self.0))
    }
}

impl<'de, T: Word> Deserialize<'de> for OneOf<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_str(WordOf(PhantomData)).map(OneOf)
    }
}

struct WordOf<T>(PhantomData<T>);

impl<T: Word> Visitor<'_> for WordOf<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "one of {}", T::words().join(", "))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        T::parse(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
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
