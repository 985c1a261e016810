//! The client's own idempotency key: from `Idempotency-Key` (quoted, as in the draft standard, or
//! not), `X-Idempotency-Key`, or the body's `idempotencyKey`. The sale scopes it to user, operation and
//! event or booking.

use actix_web::http::header::{HeaderMap, HeaderName};

use crate::domain::limits::IDEMPOTENCY_KEY_BYTES_MAX;
use crate::http::fields::Text;
use crate::http::problem::Problem;

/// The headers: their names in header maps, and in messages.
const HEADERS: [(HeaderName, &str); 2] = [
    (HeaderName::from_static("idempotency-key"), "Idempotency-Key"),
    (HeaderName::from_static("x-idempotency-key"), "X-Idempotency-Key"),
];
/// The body's field.
const FIELD: &str = "idempotencyKey";

/// A key in a body.
pub type KeyText = Text<1, IDEMPOTENCY_KEY_BYTES_MAX>;

/// The key of a request, if it has one. Several keys must be equal.
pub fn key(headers: &HeaderMap, in_body: Option<KeyText>) -> Result<Option<String>, Problem> {
    let mut found: Option<String> = None;
    for (header, name) in HEADERS {
        for value in headers.get_all(header) {
            let key = value.to_str().map(unquoted).unwrap_or_default();
            if !is_key(key) {
                return Err(Problem::parameter(name, expected()));
            }
            add(&mut found, key)?;
        }
    }
    if let Some(Text(key)) = in_body {
        if !is_key(&key) {
            return Err(Problem::field(FIELD, expected()));
        }
        add(&mut found, &key)?;
    }
    Ok(found)
}

fn add(found: &mut Option<String>, key: &str) -> Result<(), Problem> {
    match found {
        Some(other) if other != key => {
            let expected = "differs from another idempotency key of this request; send one";
            Err(Problem::parameter(HEADERS[0].1, expected))
        }
        _ => {
            *found = Some(key.to_owned());
            Ok(())
        }
    }
}

fn unquoted(text: &str) -> &str {
    let text = text.trim();
    text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text)
}

fn is_key(key: &str) -> bool {
    (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&key.len()) && !key.chars().any(char::is_control)
}

fn expected() -> String {
    format!("must be 1 to {IDEMPOTENCY_KEY_BYTES_MAX} bytes without control characters")
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        map
    }

    #[test]
    fn key_is_found_in_headers_and_body() {
        let body = || Some(Text("k".into()));
        let cases = [
            (headers(&[]), None, None),
            (headers(&[("idempotency-key", "k")]), None, Some("k")),
            (headers(&[("idempotency-key", "\"k\"")]), None, Some("k")),
            (headers(&[("x-idempotency-key", "k")]), body(), Some("k")),
            (headers(&[]), body(), Some("k")),
        ];
        for (headers, body, expected) in cases {
            assert_eq!(key(&headers, body).unwrap().as_deref(), expected);
        }
    }

    #[test]
    fn bad_and_conflicting_keys_are_refused() {
        let long = "k".repeat(IDEMPOTENCY_KEY_BYTES_MAX + 1);
        for bad in ["", "\"\"", &long] {
            assert!(key(&headers(&[("idempotency-key", bad)]), None).is_err(), "{bad}");
        }
        let two = headers(&[("idempotency-key", "a"), ("x-idempotency-key", "b")]);
        assert!(key(&two, None).unwrap_err().detail.contains("differs"));
        let tab = key(&headers(&[]), Some(Text("a\tb".into()))).unwrap_err();
        assert!(tab.detail.starts_with("`idempotencyKey` must be"), "{}", tab.detail);
    }
}
