//! The caller's own idempotency key: from `Idempotency-Key` (quoted, as the draft standard has
//! it, or not), `X-Idempotency-Key`, or the body's `idempotencyKey`. The sale scopes it to user,
//! operation and event or booking.

use actix_web::http::header::{HeaderMap, HeaderName};

use crate::domain::limits::IDEMPOTENCY_KEY_BYTES_MAX;

use crate::http::body::Object;
use crate::http::fields::Fields;
use crate::http::problem::Problem;

/// As maps have them, and as they are shown.
const HEADERS: [(HeaderName, &str); 2] = [
    (HeaderName::from_static("idempotency-key"), "Idempotency-Key"),
    (HeaderName::from_static("x-idempotency-key"), "X-Idempotency-Key"),
];
const FIELD: &str = "idempotencyKey";

/// The key, if one was sent. Sent in several places it must be the same.
pub fn key(headers: &HeaderMap, body: Option<&Object>) -> Result<Option<String>, Problem> {
    let mut found: Option<String> = None;
    for (header, name) in HEADERS {
        for value in headers.get_all(header) {
            let key = value.to_str().map(unquoted).unwrap_or_default();
            if !is_key(key) {
                return Err(Problem::parameter(name, expected()));
            }
            keep(&mut found, key)?;
        }
    }
    if let Some(body) = body {
        let text = Fields::new(body).text(FIELD, 1..=IDEMPOTENCY_KEY_BYTES_MAX)?;
        if let Some(key) = text {
            if !is_key(&key) {
                return Err(Problem::field(FIELD, expected()));
            }
            keep(&mut found, &key)?;
        }
    }
    Ok(found)
}

fn keep(found: &mut Option<String>, key: &str) -> Result<(), Problem> {
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
    use serde_json::json;

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        map
    }

    #[test]
    fn a_key_is_found_wherever_it_stands() {
        let body = json!({ "idempotencyKey": "k" });
        let body = body.as_object();
        let cases = [
            (headers(&[]), None, None),
            (headers(&[("idempotency-key", "k")]), None, Some("k")),
            (headers(&[("idempotency-key", "\"k\"")]), None, Some("k")),
            (headers(&[("x-idempotency-key", "k")]), body, Some("k")),
            (headers(&[]), body, Some("k")),
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
        let body = json!({ "idempotencyKey": 7 });
        assert!(key(&headers(&[]), body.as_object()).is_err());
    }
}
