//! Layout files: an event's `sections` in JSON or TOML, as in the API, with shorthand for the rows of
//! large venues.
//!
//! ```toml
//! [[sections]]
//! name = "Stalls"
//! price = 4500
//! rows = { from = "A", to = "T", seats = 40, skip = ["I", "O"] }
//! ```
//!
//! `rows` is one item or a list of items, each one of
//!
//! * `{ row, seats }`: one row;
//! * `{ from, to, seats }`: rows `A` to `T`, `AA` to `AF`, or `1` to `20`;
//! * `{ count, seats }`: this many rows, from `A` or from `from` on;
//!
//! the latter two with `skip`, names that the venue does not use. An error names its position in the
//! file, and unknown fields are refused. Nothing is created before its size is checked.

use std::collections::HashSet;
use std::fmt::Display;
use std::io::Read;
use std::ops::RangeInclusive;
use std::path::Path;

use serde_json::{Map, Value};

use crate::domain::Layout;
use crate::domain::layout::{Row, Section};
use crate::domain::limits::{PRICE_MAX, ROWS_MAX, SEATS_PER_EVENT_MAX, SECTIONS_MAX};

use super::row_names::RowName;

/// Maximum length of a layout file, bytes, as in the API.
const FILE_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// The name of standard input.
const STDIN: &str = "-";

/// Reads the sections of a file, or of standard input for `-`. An error names file and position.
pub(super) fn read(path: &Path) -> Result<Vec<Section>, String> {
    let named = |error: &dyn Display| format!("layout {}: {error}", path.display());
    let text = read_text(path).map_err(|error| named(&error))?;
    parse(&text, format_of(path, &text)).map_err(|error| named(&error))
}

fn read_text(path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    // One more byte than allowed, to notice a file that is too long.
    let read = match path.as_os_str() == STDIN {
        true => std::io::stdin().take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes),
        false => std::fs::File::open(path)
            .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)),
    };
    read.map_err(|error| error.to_string())?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("longer than {FILE_BYTES_MAX} bytes; use ranges of rows"));
    }
    String::from_utf8(bytes).map_err(|_| "not a text in UTF-8".to_owned())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Json,
    Toml,
}

/// The format by the file's extension, or else by its first character: no TOML file begins with a
/// brace.
fn format_of(path: &Path, text: &str) -> Format {
    let extension = path.extension().and_then(|extension| extension.to_str());
    match extension.map(str::to_ascii_lowercase).as_deref() {
        Some("json") => Format::Json,
        Some("toml") => Format::Toml,
        _ if text.trim_start().starts_with('{') => Format::Json,
        _ => Format::Toml,
    }
}

fn parse(text: &str, format: Format) -> Result<Vec<Section>, String> {
    let value: Value = match format {
        Format::Json => serde_json::from_str(text).map_err(|error| error.to_string())?,
        Format::Toml => toml::from_str(text).map_err(|error| {
            let (line, column) = position(text, error.span().map_or(0, |span| span.start));
            format!("{} at line {line} column {column}", error.message())
        })?,
    };
    let root = Node { place: String::new(), value: &value };
    root.known(&["sections"])?;
    let sections = root.required("sections")?;
    let mut rows_left = ROWS_MAX;
    let items = sections.items(1..=SECTIONS_MAX)?;
    items.into_iter().map(|item| section(item, &mut rows_left)).collect()
}

/// Line and column, from 1, of a byte.
fn position(text: &str, byte: usize) -> (usize, usize) {
    let before = &text.as_bytes()[..byte.min(text.len())];
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
    (line, column)
}

fn section(mut node: Node<'_>, rows_left: &mut usize) -> Result<Section, String> {
    if let Some(Value::String(name)) = node.value.get("name") {
        node.place = format!("{} {name:?}", node.place);
    }
    node.known(&["name", "price", "rows", "capacity"])?;
    let name = node.required("name")?.text()?;
    let price = node.required("price")?.whole(0..=PRICE_MAX)?;
    let seats = 1..=i64::from(SEATS_PER_EVENT_MAX);
    let (rows, capacity) = match (node.field("rows"), node.field("capacity")) {
        (Some(rows), None) => (Some(self::rows(&rows, rows_left)?), None),
        // In range of a u32.
        (None, Some(capacity)) => (None, Some(capacity.whole(seats)? as u32)),
        _ => {
            return node.wrong(
                "give either `rows` for numbered seats or a `capacity` for general admission",
            );
        }
    };
    let section = Section { name, price, rows, capacity };
    // Errors of the layout are reported here, where the position is known.
    Layout::new(vec![section.clone()]).map_err(|error| format!("{}: {error}", node.place))?;
    Ok(section)
}

fn rows(node: &Node<'_>, rows_left: &mut usize) -> Result<Vec<Row>, String> {
    let items = match node.value {
        Value::Object(_) => vec![Node { place: node.place.clone(), value: node.value }],
        _ => node.items(1..=ROWS_MAX)?,
    };
    let mut rows = Vec::new();
    for item in items {
        let names = row_names(&item, rows_left)?;
        // In range of a u32.
        let seats = item.required("seats")?.whole(1..=i64::from(SEATS_PER_EVENT_MAX))? as u32;
        rows.extend(names.into_iter().map(|row| Row { row, seats }));
    }
    Ok(rows)
}

/// The names of one item's rows, subtracted from the rows that the file may still have.
fn row_names(item: &Node<'_>, rows_left: &mut usize) -> Result<Vec<String>, String> {
    item.known(&["row", "from", "to", "count", "skip", "seats"])?;
    let too_many = || item.wrong(format_args!("an event has at most {ROWS_MAX} rows"));
    let [row, from, to, count, skip] =
        ["row", "from", "to", "count", "skip"].map(|name| item.field(name));
    if let Some(row) = row {
        if from.is_some() || to.is_some() || count.is_some() || skip.is_some() {
            return row.wrong("is the name of one row; leave out `from`, `to`, `count`, `skip`");
        }
        let name = row.text()?;
        let Some(left) = rows_left.checked_sub(1) else { return too_many() };
        *rows_left = left;
        return Ok(vec![name]);
    }
    let first = from.as_ref().map_or(Ok(RowName::FIRST), Node::row_name)?;
    let mut skipped = skip.map_or(Ok(HashSet::new()), |skip| skip.skipped(first))?;
    // The number of names to enumerate, including skipped ones.
    let span = match (to, count) {
        (Some(to), None) if from.is_some() => match to.row_name()?.steps_from(first) {
            Some(steps) => steps as usize + 1,
            None => return to.wrong(format_args!("is not a row that comes after {first}")),
        },
        (None, Some(count)) => {
            // In range of a usize.
            count.whole(1..=ROWS_MAX as i64)? as usize + skipped.len()
        }
        _ => {
            return item.wrong(
                "give `row` for one row, `from` and `to`, or `count` (with `from` or without)",
            );
        }
    };
    let Some(left) = rows_left.checked_sub(span.saturating_sub(skipped.len())) else {
        return too_many();
    };
    *rows_left = left;
    let names = (0..span).map(|step| first.plus(step)).filter(|name| !skipped.remove(name));
    let names = names.map(|name| name.to_string()).collect();
    match skipped.is_empty() {
        true => Ok(names),
        false => item.wrong("`skip` names a row that is not among these"),
    }
}

/// A value with its position in the file.
struct Node<'a> {
    /// Empty for the file as a whole.
    place: String,
    value: &'a Value,
}

impl<'a> Node<'a> {
    fn wrong<T>(&self, what: impl Display) -> Result<T, String> {
        match self.place.is_empty() {
            true => Err(what.to_string()),
            false => Err(format!("{}: {what}", self.place)),
        }
    }

    fn object(&self) -> Result<&'a Map<String, Value>, String> {
        match self.value {
            Value::Object(map) => Ok(map),
            other => self.wrong(format_args!("must be a table with fields; got {}", brief(other))),
        }
    }

    /// Refuses fields that are not in the list.
    fn known(&self, names: &[&str]) -> Result<(), String> {
        match self.object()?.keys().find(|name| !names.contains(&name.as_str())) {
            Some(name) => {
                self.wrong(format_args!("{name:?} is not a field; there are {}", names.join(", ")))
            }
            None => Ok(()),
        }
    }

    fn field(&self, name: &str) -> Option<Node<'a>> {
        let place = match self.place.as_str() {
            "" => name.to_owned(),
            place if place.ends_with('"') => format!("{place} {name}"),
            place => format!("{place}.{name}"),
        };
        self.value.get(name).map(|value| Node { place, value })
    }

    fn required(&self, name: &str) -> Result<Node<'a>, String> {
        self.field(name).map_or_else(|| self.wrong(format_args!("`{name}` is missing")), Ok)
    }

    fn items(&self, count: RangeInclusive<usize>) -> Result<Vec<Node<'a>>, String> {
        let Value::Array(items) = self.value else {
            return self.wrong(format_args!("must be a list; got {}", brief(self.value)));
        };
        if !count.contains(&items.len()) {
            let (min, max) = (count.start(), count.end());
            return self.wrong(format_args!("must have {min} to {max} items"));
        }
        let item = |(index, value)| Node { place: format!("{}[{index}]", self.place), value };
        Ok(items.iter().enumerate().map(item).collect())
    }

    fn text(&self) -> Result<String, String> {
        match self.value {
            Value::String(text) => Ok(text.clone()),
            // A row that is called 1.
            Value::Number(number) if number.is_u64() => Ok(number.to_string()),
            other => self.wrong(format_args!("must be a name; got {}", brief(other))),
        }
    }

    fn whole(&self, range: RangeInclusive<i64>) -> Result<i64, String> {
        let number = self.value.as_i64().filter(|number| range.contains(number));
        let (min, max) = (range.start(), range.end());
        number.map_or_else(
            || {
                let got = brief(self.value);
                self.wrong(format_args!("must be a whole number from {min} to {max}; got {got}"))
            },
            Ok,
        )
    }

    fn row_name(&self) -> Result<RowName, String> {
        let text = self.text()?;
        RowName::read(&text).map_or_else(
            || self.wrong(format_args!("{text:?} begins no range; use such as \"A\", \"AA\", 1")),
            Ok,
        )
    }

    /// The rows to skip, of the same kind as `first`, without duplicates.
    fn skipped(&self, first: RowName) -> Result<HashSet<RowName>, String> {
        let mut names = HashSet::new();
        for node in self.items(0..=ROWS_MAX)? {
            let name = node.row_name()?;
            if !name.is_like(first) || !names.insert(name) {
                return node.wrong(format_args!("is not a row like {first}, or occurs twice"));
            }
        }
        Ok(names)
    }
}

/// Formats a value for messages.
fn brief(value: &Value) -> String {
    match value {
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a table".to_owned(),
        other => other.to_string().chars().take(40).collect(),
    }
}

#[cfg(test)]
mod tests;
