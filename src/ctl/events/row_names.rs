//! Row names in order: letters like the columns of a spreadsheet, or numbers.

use std::fmt::Display;

/// Number of letters.
const LETTERS: u32 = 26;
/// Maximum length of a letter name: enough for more rows than an event may have.
const LETTERS_MAX: usize = 4;

/// The name of a row in a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum RowName {
    /// `A`, `B`, … `Z`, `AA`, … as 0, 1, …
    Letters(u32),
    /// `1`, `2`, …
    Number(u32),
}

impl RowName {
    /// The first row name of a venue.
    pub const FIRST: Self = RowName::Letters(0);

    /// Parses `A`, `AF` or `12`.
    pub fn read(text: &str) -> Option<Self> {
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return text.parse().ok().map(RowName::Number);
        }
        let letters = (1..=LETTERS_MAX).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_uppercase());
        letters.then(|| {
            let digit = |byte: u8| u32::from(byte - b'A') + 1;
            RowName::Letters(text.bytes().fold(0, |sum, byte| sum * LETTERS + digit(byte)) - 1)
        })
    }

    /// Whether both are letters, or both numbers.
    pub fn is_like(self, other: RowName) -> bool {
        std::mem::discriminant(&self) == std::mem::discriminant(&other)
    }

    /// The number of rows after `first`; `None` if it is not after it.
    pub fn steps_from(self, first: RowName) -> Option<u32> {
        match (first, self) {
            (RowName::Letters(first), RowName::Letters(last))
            | (RowName::Number(first), RowName::Number(last)) => last.checked_sub(first),
            _ => None,
        }
    }

    /// The row this many rows later.
    pub fn plus(self, steps: usize) -> Self {
        // An event has far fewer rows than either number can count.
        let steps = u32::try_from(steps).unwrap_or(u32::MAX);
        match self {
            RowName::Letters(index) => RowName::Letters(index.saturating_add(steps)),
            RowName::Number(number) => RowName::Number(number.saturating_add(steps)),
        }
    }
}

impl Display for RowName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            RowName::Letters(index) => f.write_str(&row_name(*index)),
            RowName::Number(number) => number.fmt(f),
        }
    }
}

/// A, B, … Z, AA, AB, … for 0, 1, …
pub(super) fn row_name(index: u32) -> String {
    let letter = |index: u32| char::from(b'A' + (index % LETTERS) as u8);
    let mut name = letter(index).to_string();
    let mut rest = index / LETTERS;
    while rest > 0 {
        name.insert(0, letter(rest - 1));
        rest = (rest - 1) / LETTERS;
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_named_like_spreadsheet_columns() {
        let names = [
            (0, "A"),
            (25, "Z"),
            (26, "AA"),
            (51, "AZ"),
            (52, "BA"),
            (702, "AAA"),
            (475_253, "ZZZZ"),
        ];
        for (index, name) in names {
            assert_eq!(row_name(index), name);
            assert_eq!(RowName::read(name), Some(RowName::Letters(index)));
        }
        assert_eq!(RowName::read("12"), Some(RowName::Number(12)));
        for text in ["", "a", "A1", "1A", "AAAAA", "Ä", "99999999999", "-1"] {
            assert_eq!(RowName::read(text), None, "{text}");
        }
    }

    #[test]
    fn steps_are_counted_within_one_kind() {
        let steps =
            |first, last| RowName::read(last).unwrap().steps_from(RowName::read(first).unwrap());
        assert_eq!((steps("Y", "AB"), steps("3", "10")), (Some(3), Some(7)));
        assert_eq!((steps("B", "A"), steps("A", "1")), (None, None));
        assert_eq!(RowName::Letters(24).plus(3).to_string(), "AB");
        assert!(RowName::FIRST.is_like(RowName::Letters(5)));
        assert!(!RowName::FIRST.is_like(RowName::Number(5)));
    }
}
