//! Parses JSON objects into structs, and the types of their fields.
//!
//! Each field type checks its bounds while it is deserialized. A refusal names the field, says what
//! it should be and repeats what it is: `` `seat_ids[2]` must be a whole number from 1 to 1000000;
//! got "3" ``. A field of an `Option` may be absent or `null`.

mod types;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use serde_path_to_error::{Path, Segment};

use super::problem::{Code, Problem};
pub use types::{Amount, Integer, List, OneOf, Record, Text, Time, Whole, Word, scalar};

/// A JSON object.
pub type Object = Map<String, Value>;

/// Characters of a wrong value that a refusal repeats.
const SHOWN_CHARS_MAX: usize = 40;
/// Length of a text that is too short for a number out of range or for too many levels, bytes.
const PLAIN_BYTES_MAX: usize = 256;

/// Parses a body. A correct one is parsed once; for a wrong one a tree of its values is built, from
/// which the refusal is made.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    parse_object(body, |_| {})
}

/// The same; `edit` removes fields that do not matter from an object that is not correct as it is.
pub fn parse_object<T: DeserializeOwned>(
    body: &[u8],
    edit: impl FnOnce(&mut Object),
) -> Result<T, Problem> {
    let text = std::str::from_utf8(body).map_err(|error| {
        let at = error.valid_up_to();
        invalid_json(format!("The body is not UTF-8 (byte {at}); encode it as UTF-8"))
    })?;
    if let Ok(Record(parsed)) = serde_json::from_str(text)
        && (is_plain(text) || serde_json::from_str::<Value>(text).is_ok())
    {
        return Ok(parsed);
    }
    match serde_json::from_str(text) {
        Ok(Value::Object(mut object)) => {
            edit(&mut object);
            from_object(object)
        }
        Ok(other) => {
            Err(invalid_json(format!("The body must be a JSON object {{…}}, not {}", kind(&other))))
        }
        Err(error) => Err(invalid_json(format!("The body is not valid JSON: {error}"))),
    }
}

/// Whether a JSON text that was skipped in part is surely valid in every part. Serde skips the values
/// of ignored fields without checking surrogates (`\\u`), the range of numbers (an exponent, or more
/// than 300 digits) and the depth (more than 127 brackets, twice).
fn is_plain(text: &str) -> bool {
    let mut before = b' ';
    let is_plain = |byte: u8| {
        let before = std::mem::replace(&mut before, byte);
        byte != b'\\' && !(matches!(byte, b'e' | b'E') && before.is_ascii_digit())
    };
    text.len() <= PLAIN_BYTES_MAX && text.bytes().all(is_plain)
}

/// Reads the fields of an object in a body.
pub fn from_object<T: DeserializeOwned>(object: Object) -> Result<T, Problem> {
    read(object).map_err(|(field, expected)| Problem::field(&field, expected))
}

/// Reads the parameters of a query, collected in an object.
pub fn from_parameters<T: DeserializeOwned>(object: Object) -> Result<T, Problem> {
    read(object).map_err(|(parameter, expected)| Problem::parameter(&parameter, expected))
}

/// Fails with the path of the wrong field, and what it should be.
fn read<T: DeserializeOwned>(object: Object) -> Result<T, (String, String)> {
    let tree = Value::Object(object);
    serde_path_to_error::deserialize(&tree)
        .map_err(|error| refusal(&tree, error.path(), &error.inner().to_string()))
}

/// The fields that are set, by their names.
pub fn to_object(fields: &impl Serialize) -> Object {
    match serde_json::to_value(fields) {
        Ok(Value::Object(mut object)) => {
            object.retain(|_, value| !value.is_null());
            object
        }
        // Field types serialize as the plain values they were parsed from.
        _ => Object::new(),
    }
}

fn invalid_json(detail: String) -> Problem {
    Problem::new(Code::InvalidJson, detail)
}

/// The path of a wrong field and what it should be, from serde's message about it.
fn refusal(tree: &Value, path: &Path, message: &str) -> (String, String) {
    if let Some(name) = message.strip_prefix("missing field `") {
        let name = name.trim_end_matches('`');
        let field = match path.iter().next() {
            None => name.to_owned(),
            Some(_) => format!("{path}.{name}"),
        };
        return (field, "is missing".to_owned());
    }
    if let Some((name, known)) =
        message.strip_prefix("unknown field `").and_then(|rest| rest.rsplit_once("`, expected "))
    {
        let known = known.trim_start_matches("one of ").replace('`', "").replace(" or ", ", ");
        // The path ends with the name.
        let field = path.to_string();
        let parent = field.strip_suffix(name).unwrap_or(&field);
        return (
            format!("{parent}{}", shorten(name)),
            format!("is not a field; there are {known}"),
        );
    }
    let Some((_, expected)) = message.rsplit_once(", expected ") else {
        return (path.to_string(), message.to_owned());
    };
    let expected = match (value_at(tree, path), expected.strip_prefix("a list of ")) {
        (Value::Array(items), Some(bounds)) => {
            format!("must have {bounds}; it has {}", items.len())
        }
        (got, _) => {
            let expected = if expected == "a boolean" { "true or false" } else { expected };
            format!("must be {expected}; got {}", shown(got))
        }
    };
    (path.to_string(), expected)
}

/// The value at a path of the tree.
fn value_at<'a>(tree: &'a Value, path: &Path) -> &'a Value {
    path.iter().fold(tree, |value, segment| match segment {
        Segment::Map { key } => &value[key.as_str()],
        Segment::Seq { index } => &value[*index],
        Segment::Enum { .. } | Segment::Unknown => value,
    })
}

/// A wrong value in a message.
fn shown(value: &Value) -> String {
    match value {
        Value::Array(_) | Value::Object(_) => kind(value).to_owned(),
        plain => match plain.to_string() {
            text if text.chars().count() > SHOWN_CHARS_MAX => format!("{}…", shorten(&text)),
            text => text,
        },
    }
}

fn shorten(text: &str) -> String {
    text.chars().take(SHOWN_CHARS_MAX).collect()
}

/// What kind of value it is, in words.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Default, Deserialize, Serialize)]
    #[serde(default, deny_unknown_fields)]
    struct Body {
        n: Option<Whole<1, 9>>,
        amount: Option<Amount<100>>,
        s: Option<Text<1, 9>>,
        b: Option<bool>,
        when: Option<Time>,
        items: Option<List<Record<Item>, 1, 2>>,
    }

    #[derive(Debug, Deserialize, Serialize)]
    #[serde(deny_unknown_fields)]
    struct Item {
        price: Amount<100>,
        count: Whole<1, 9>,
    }

    fn detail(body: Value) -> String {
        parse::<Body>(body.to_string().as_bytes()).unwrap_err().detail.into_owned()
    }

    #[test]
    fn wrong_field_is_named_with_its_remedy() {
        let number = "`n` must be a whole number from 1 to 9; got";
        let item = |item: Value| json!({ "items": [{ "price": 1, "count": 1 }, item] });
        let cases = [
            (json!({ "n": 1.5 }), format!("{number} 1.5")),
            (json!({ "n": "7" }), format!("{number} \"7\"")),
            (json!({ "n": -1 }), format!("{number} -1")),
            (json!({ "n": 10 }), format!("{number} 10")),
            (json!({ "n": u64::MAX }), format!("{number} 18446744073709551615")),
            (json!({ "n": 1e30 }), format!("{number} 1e+30")),
            (
                json!({ "amount": 101 }),
                "`amount` must be a whole number from 0 to 100; got 101".into(),
            ),
            (
                json!({ "s": "" }),
                "`s` must be a text of 1 to 9 bytes, no control characters; got \"\"".into(),
            ),
            (json!({ "s": "a\u{0}" }), "no control characters; got \"a\\u0000\"".into()),
            (json!({ "s": "x".repeat(99) }), "xxx…".into()),
            (json!({ "b": 1 }), "`b` must be true or false; got 1".into()),
            (json!({ "when": "soon" }), "2026-03-01T18:00:00Z".into()),
            (json!({ "items": [] }), "`items` must have 1 to 2 items; it has 0".into()),
            (
                json!({ "items": {} }),
                "`items` must be a list of 1 to 2 items; got an object".into(),
            ),
            (json!({ "nn": 1 }), "`nn` is not a field; there are n, amount, s".into()),
            (item(json!(3)), "`items[1]` must be an object; got 3".into()),
            // Derived structs would take lists for objects.
            (item(json!([1, 1])), "`items[1]` must be an object; got a list".into()),
            (item(json!({ "price": "x" })), "`items[1].price` must be a whole number".into()),
            (item(json!({ "price": 1 })), "`items[1].count` is missing".into()),
            (item(json!({ "price": null, "count": 1 })), "`items[1].price` must be".into()),
            (
                item(json!({ "cost": 1 })),
                "`items[1].cost` is not a field; there are price, count".into(),
            ),
        ];
        for (body, expected) in cases {
            let detail = detail(body.clone());
            assert!(detail.contains(&expected), "{body}: {detail}");
        }
        let many = vec![json!({ "price": 1, "count": 1 }); 3];
        assert_eq!(detail(json!({ "items": many })), "`items` must have 1 to 2 items; it has 3");
    }

    #[test]
    fn null_is_absent_and_the_last_of_two_counts() {
        let body: Body = parse(br#"{"n": 1, "s": null, "n": 2, "b": false}"#).unwrap();
        assert_eq!((body.n, body.s, body.b), (Some(Whole(2)), None, Some(false)));
        let body: Body = parse(br#"{"n": 3, "when": "1970-01-01T00:00:01Z"}"#).unwrap();
        let shown = Value::Object(to_object(&body));
        assert_eq!(shown, json!({ "n": 3, "when": "1970-01-01T00:00:01.000Z" }));
    }

    #[test]
    fn invalid_value_of_an_ignored_field_is_invalid_json() {
        #[derive(Debug, Deserialize)]
        struct Lenient {
            _n: Option<Whole<1, 9>>,
        }
        let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(200), "]".repeat(200));
        let long = format!(r#"{{"a":{}}}"#, "9".repeat(400));
        for body in [r#"{"a": "\ud800"}"#, r#"{"a": 1e999}"#, r#"{"a": [1E999]}"#, &deep, &long] {
            let problem = parse::<Lenient>(body.as_bytes()).unwrap_err();
            assert_eq!(problem.code, Code::InvalidJson, "{body}");
        }
        for body in [r#"{"a": "\n", "_n": 1}"#, r#"{"a": 1e9}"#, r#"{"a1e": [{}]}"#] {
            parse::<Lenient>(body.as_bytes()).unwrap();
        }
    }

    #[test]
    fn body_that_is_not_an_object_is_invalid_json() {
        let deep = "[".repeat(100_000);
        let deep_object = format!("{{\"a\":{deep}");
        let cases: [(&[u8], &str); 8] = [
            (b"[1]", "must be a JSON object {…}, not a list"),
            (b"null", "not null"),
            (b"{", "EOF while parsing an object at line 1"),
            (b"{\"a\": 1,}", "trailing comma"),
            (b"{\"a\": 1} x", "trailing characters"),
            (b"{\"a\": \"\xff\"}", "not UTF-8 (byte 7)"),
            (b"{\"a\": 1e999}", "number out of range"),
            (deep_object.as_bytes(), "recursion limit exceeded"),
        ];
        for (bytes, expected) in cases {
            let problem = parse::<Body>(bytes).unwrap_err();
            assert_eq!(problem.code, Code::InvalidJson);
            assert!(problem.detail.contains(expected), "{}", problem.detail);
        }
    }
}
