//! Cursors: opaque list positions that clients pass to get the next page. A cursor names the last
//! item of a page by the fields that order the list, so concurrent insertions and removals neither
//! repeat nor skip an item.

use std::fmt::Display;

use data_encoding::BASE64URL_NOPAD;

/// Maximum length of an accepted cursor, bytes; ours are shorter.
pub const CURSOR_BYTES_MAX: usize = 200;
/// Format of all cursors.
const FORMAT: &str = "1";
const SEPARATOR: char = ' ';

/// Encodes a cursor of the named list, after the item with these fields. No field has a space.
pub fn encode(list: &str, fields: &[&dyn Display]) -> String {
    let mut text = format!("{FORMAT}{SEPARATOR}{list}");
    for field in fields {
        text.push(SEPARATOR);
        text.push_str(&field.to_string());
    }
    BASE64URL_NOPAD.encode(text.as_bytes())
}

/// Decodes the fields of a cursor of the named list; `None` if it is not one.
pub fn decode<const N: usize>(list: &str, cursor: &str) -> Option<[String; N]> {
    if cursor.len() > CURSOR_BYTES_MAX {
        return None;
    }
    let text = String::from_utf8(BASE64URL_NOPAD.decode(cursor.as_bytes()).ok()?).ok()?;
    let mut parts = text.split(SEPARATOR);
    let is_ours = parts.next() == Some(FORMAT) && parts.next() == Some(list);
    let fields: Vec<String> = parts.map(str::to_owned).collect();
    is_ours.then_some(fields)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursor_is_accepted_by_its_own_list_only() {
        let cursor = encode("bookings", &[&17, &"abc"]);
        assert!(cursor.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
        assert_eq!(decode("bookings", &cursor), Some(["17".to_owned(), "abc".to_owned()]));
        assert_eq!(decode::<2>("events", &cursor), None);
        assert_eq!(decode::<1>("bookings", &cursor), None);
        for bad in ["", "x", "====", &cursor[1..], &"A".repeat(CURSOR_BYTES_MAX + 1)] {
            assert_eq!(decode::<2>("bookings", bad), None, "{bad}");
        }
    }
}
