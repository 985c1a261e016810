//! Reading a request's body: bounded in bytes, in time and in depth, and JSON or nothing.

use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::header;
use actix_web::web::{BytesMut, Payload};
use futures_util::StreamExt;
use serde_json::{Map, Value};

use super::problem::{Code, Problem};

/// A JSON object.
pub type Object = Map<String, Value>;

/// Bytes reserved for a body before its length is known.
const BODY_BYTES_EXPECTED: usize = 1_024;

/// What a body may cost.
#[derive(Clone, Copy, Debug)]
pub struct BodyLimits {
    /// Its length, bytes.
    pub bytes_max: usize,
    /// How long it may take to arrive.
    pub timeout: Duration,
}

/// Reads a body that must be a JSON object.
pub async fn read_object(
    request: &HttpRequest,
    payload: Payload,
    limits: BodyLimits,
) -> Result<Object, Problem> {
    read_optional_object(request, payload, limits)
        .await?
        .ok_or_else(|| Problem::new(Code::InvalidJson, "The body is empty; send a JSON object"))
}

/// Reads a body that is a JSON object or empty.
pub async fn read_optional_object(
    request: &HttpRequest,
    payload: Payload,
    limits: BodyLimits,
) -> Result<Option<Object>, Problem> {
    let bytes = read(request, payload, limits).await?;
    if bytes.is_empty() {
        return Ok(None);
    }
    require_json(request)?;
    parse(&bytes).map(Some)
}

/// Reads a body as it is.
pub async fn read(
    request: &HttpRequest,
    mut payload: Payload,
    limits: BodyLimits,
) -> Result<BytesMut, Problem> {
    let too_large = || {
        let detail = format!("The body has more than {} bytes; send less", limits.bytes_max);
        Problem::new(Code::BodyTooLarge, detail)
    };
    // A wrong Content-Length is refused before it reaches us, so an unreadable one is absent.
    let declared = request.headers().get(header::CONTENT_LENGTH);
    let declared: Option<usize> = declared.and_then(|value| value.to_str().ok()?.parse().ok());
    if declared.is_some_and(|bytes| bytes > limits.bytes_max) {
        return Err(too_large());
    }
    let collect = async {
        let mut body = BytesMut::with_capacity(
            declared.unwrap_or(BODY_BYTES_EXPECTED).min(BODY_BYTES_EXPECTED),
        );
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|error| {
                Problem::new(Code::InvalidRequest, "The body broke off or is badly framed")
                    .caused_by(error.to_string())
            })?;
            if body.len() + chunk.len() > limits.bytes_max {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    };
    // The timer is armed only if the body is not here yet.
    tokio::time::timeout(limits.timeout, collect).await.unwrap_or_else(|_| {
        let seconds = limits.timeout.as_secs_f64();
        let detail = format!("The body did not arrive within {seconds} s; send it faster");
        Err(Problem::new(Code::BodyTimeout, detail).closing())
    })
}

fn require_json(request: &HttpRequest) -> Result<(), Problem> {
    let headers = request.headers();
    let media = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = media.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let essence = essence.to_ascii_lowercase();
    let json = essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"));
    if !json {
        return Err(Problem::new(
            Code::UnsupportedMediaType,
            "Send the body as JSON, with the header Content-Type: application/json",
        ));
    }
    let encoding = headers.get(header::CONTENT_ENCODING);
    if encoding.is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(Problem::new(
            Code::UnsupportedMediaType,
            "Send the body uncompressed, without Content-Encoding",
        ));
    }
    Ok(())
}

fn parse(bytes: &[u8]) -> Result<Object, Problem> {
    let invalid = |detail: String| Err(Problem::new(Code::InvalidJson, detail));
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let at = error.valid_up_to();
            return invalid(format!("The body is not UTF-8 (byte {at}); encode it as UTF-8"));
        }
    };
    match serde_json::from_str(text) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(other) => invalid(format!("The body must be a JSON object {{…}}, not {}", kind(&other))),
        Err(error) => invalid(format!("The body is not valid JSON: {error}")),
    }
}

/// What a value is, in words.
pub fn kind(value: &Value) -> &'static str {
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
    use super::*;

    #[test]
    fn only_objects_are_read() {
        assert_eq!(parse(br#"{"a": 1}"#).unwrap()["a"], 1);
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
            let problem = parse(bytes).unwrap_err();
            assert_eq!(problem.code, Code::InvalidJson);
            assert!(problem.detail.contains(expected), "{}", problem.detail);
        }
    }
}
