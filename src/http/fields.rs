//! Typed fields out of a JSON object, with messages that say which field is wrong and what it
//! should be. `null` counts as absent.

use std::fmt::Display;
use std::ops::RangeInclusive;

use serde_json::Value;

use super::body::{Object, kind};
use super::problem::Problem;
use crate::domain::time::parse_iso8601;

/// Characters of a wrong value that a message repeats.
const SHOWN_CHARS_MAX: usize = 40;

/// An object and where it is in the body.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    object: &'a Object,
    /// `sections[2].`, or empty for the body itself.
    prefix: String,
}

impl<'a> Fields<'a> {
    /// The body itself.
    pub fn new(object: &'a Object) -> Self {
        Fields { object, prefix: String::new() }
    }

    /// The object that is item `index` of the list `name`.
    pub fn item(&self, name: &str, index: usize, value: &'a Value) -> Result<Self, Problem> {
        let path = self.item_path(name, index);
        match value {
            Value::Object(object) => Ok(Fields { object, prefix: format!("{path}.") }),
            other => Err(wrong(&path, "an object", other)),
        }
    }

    /// Refuses fields other than these: a misspelt rule must not be silently ignored.
    pub fn only(&self, known: &[&str]) -> Result<(), Problem> {
        match self.object.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) => {
                let name: String = name.chars().take(SHOWN_CHARS_MAX).collect();
                let known = known.join(", ");
                Err(Problem::field(&self.path(&name), format!("is not a field; there are {known}")))
            }
            None => Ok(()),
        }
    }

    /// A field's value, unless absent.
    pub fn value(&self, name: &str) -> Option<&'a Value> {
        self.object.get(name).filter(|value| !value.is_null())
    }

    /// A whole number within a range.
    pub fn integer(&self, name: &str, range: RangeInclusive<i64>) -> Result<Option<i64>, Problem> {
        let Some(value) = self.value(name) else { return Ok(None) };
        integer(value, &range)
            .map(Some)
            .ok_or_else(|| wrong(&self.path(name), whole_number(&range), value))
    }

    /// A whole number from 1 on that fits an id or a count.
    pub fn count(&self, name: &str, max: u32) -> Result<Option<u32>, Problem> {
        // The range keeps it within a u32.
        Ok(self.integer(name, 1..=i64::from(max))?.map(|number| number as u32))
    }

    /// A text of so many bytes, without control characters other than line breaks and tabs.
    pub fn text(
        &self,
        name: &str,
        bytes: RangeInclusive<usize>,
    ) -> Result<Option<String>, Problem> {
        let Some(value) = self.value(name) else { return Ok(None) };
        let stray = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
        match value {
            Value::String(text) if bytes.contains(&text.len()) && !text.contains(stray) => {
                Ok(Some(text.clone()))
            }
            other => {
                let (min, max) = (bytes.start(), bytes.end());
                let expected = format!("a text of {min} to {max} bytes, no control characters");
                Err(wrong(&self.path(name), expected, other))
            }
        }
    }

    /// True or false.
    pub fn boolean(&self, name: &str) -> Result<Option<bool>, Problem> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(*value)),
            Some(other) => Err(wrong(&self.path(name), "true or false", other)),
        }
    }

    /// A time in ISO 8601, as Unix ms.
    pub fn time(&self, name: &str) -> Result<Option<i64>, Problem> {
        let Some(value) = self.value(name) else { return Ok(None) };
        value.as_str().and_then(parse_iso8601).map(Some).ok_or_else(|| {
            let expected =
                "a time with its offset, ±18:00 at most, such as \"2026-03-01T18:00:00Z\"";
            wrong(&self.path(name), expected, value)
        })
    }

    /// A list of `min..=max` items.
    pub fn list(
        &self,
        name: &str,
        items: RangeInclusive<usize>,
    ) -> Result<Option<&'a [Value]>, Problem> {
        let (min, max) = (items.start(), items.end());
        match self.value(name) {
            None => Ok(None),
            Some(Value::Array(list)) if items.contains(&list.len()) => Ok(Some(list)),
            Some(Value::Array(list)) => {
                let expected = format!("must have {min} to {max} items; it has {}", list.len());
                Err(Problem::field(&self.path(name), expected))
            }
            Some(other) => {
                Err(wrong(&self.path(name), format!("a list of {min} to {max} items"), other))
            }
        }
    }

    /// The value of a field that must be there.
    pub fn required<T>(&self, name: &str, value: Option<T>) -> Result<T, Problem> {
        value.ok_or_else(|| Problem::field(&self.path(name), "is missing"))
    }

    /// A field's place in the body.
    pub fn path(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// A list item's place in the body.
    pub fn item_path(&self, name: &str, index: usize) -> String {
        format!("{}{name}[{index}]", self.prefix)
    }
}

/// The whole number in a JSON value; neither fractions nor texts are taken for one.
pub fn integer(value: &Value, range: &RangeInclusive<i64>) -> Option<i64> {
    value.as_i64().filter(|number| range.contains(number))
}

/// What a whole number must be, for a message.
pub fn whole_number(range: &RangeInclusive<i64>) -> String {
    format!("a whole number from {} to {}", range.start(), range.end())
}

/// The refusal of a wrong value.
pub fn wrong(path: &str, expected: impl Display, got: &Value) -> Problem {
    let got = match got {
        Value::Array(_) | Value::Object(_) => kind(got).to_owned(),
        plain => {
            let text = plain.to_string();
            match text.char_indices().nth(SHOWN_CHARS_MAX) {
                Some((cut, _)) => format!("{}…", &text[..cut]),
                None => text,
            }
        }
    };
    Problem::field(path, format_args!("must be {expected}; got {got}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn detail<T: std::fmt::Debug>(result: Result<T, Problem>) -> String {
        result.unwrap_err().detail.into_owned()
    }

    #[test]
    fn wrong_fields_are_named() {
        let body = json!({
            "n": 1.5, "s": "7", "neg": -1, "huge": 1e30, "none": null, "long": "x".repeat(99),
            "list": [1, 2], "when": "soon", "o": {},
        });
        let fields = Fields::new(body.as_object().unwrap());
        let number = "must be a whole number from 1 to 9; got";
        for (name, got) in [("n", "1.5"), ("s", "\"7\""), ("neg", "-1"), ("huge", "1e+30")] {
            assert_eq!(detail(fields.count(name, 9)), format!("`{name}` {number} {got}"));
        }
        assert_eq!(fields.count("none", 9).unwrap(), None);
        assert_eq!(detail(fields.required("none", None::<u32>)), "`none` is missing");
        assert!(detail(fields.text("long", 1..=9)).ends_with("x…"));
        assert_eq!(detail(fields.list("list", 3..=9)), "`list` must have 3 to 9 items; it has 2");
        assert_eq!(
            detail(fields.list("o", 0..=1)),
            "`o` must be a list of 0 to 1 items; got an object"
        );
        assert!(detail(fields.time("when")).contains("2026-03-01T18:00:00Z"));
        assert!(detail(fields.only(&["n", "s"])).ends_with("is not a field; there are n, s"));
    }

    #[test]
    fn items_know_their_place() {
        let body = json!({ "sections": [{ "price": "x" }, 3] });
        let fields = Fields::new(body.as_object().unwrap());
        let list = fields.list("sections", 1..=2).unwrap().unwrap();
        let item = fields.item("sections", 0, &list[0]).unwrap();
        assert!(detail(item.integer("price", 0..=1)).starts_with("`sections[0].price` must be"));
        assert_eq!(
            detail(fields.item("sections", 1, &list[1])),
            "`sections[1]` must be an object; got 3"
        );
    }
}
