//! Reading a request's body: bounded in bytes, in time and in depth, and JSON or nothing.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::header;
use actix_web::web::{Bytes, BytesMut, Payload};
use futures_util::StreamExt;
use serde_json::{Map, Value};

use super::problem::{Code, Problem};

/// A JSON object.
pub type Object = Map<String, Value>;

/// Bytes reserved for a body in several pieces before more of it is here.
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
    read_optional_object(request, payload, limits).await?.ok_or_else(missing)
}

/// There is no body.
pub fn missing() -> Problem {
    Problem::new(Code::InvalidJson, "The body is empty; send a JSON object")
}

/// Reads a body that is a JSON object or empty.
pub async fn read_optional_object(
    request: &HttpRequest,
    payload: Payload,
    limits: BodyLimits,
) -> Result<Option<Object>, Problem> {
    let bytes = read_json(request, payload, limits).await?;
    bytes.map(|bytes| parse(&bytes)).transpose()
}

/// Reads a body that says it is JSON, or is empty; whether it is, [`parse`] tells.
pub async fn read_json(
    request: &HttpRequest,
    payload: Payload,
    limits: BodyLimits,
) -> Result<Option<Bytes>, Problem> {
    let bytes = read(request, payload, limits).await?;
    if bytes.is_empty() {
        return Ok(None);
    }
    require_json(request)?;
    Ok(Some(bytes))
}

/// Reads a body as it is.
pub async fn read(
    request: &HttpRequest,
    payload: Payload,
    limits: BodyLimits,
) -> Result<Bytes, Problem> {
    // A wrong Content-Length is refused before it reaches us, so an unreadable one is absent.
    let declared = request.headers().get(header::CONTENT_LENGTH);
    let declared: Option<usize> = declared.and_then(|value| value.to_str().ok()?.parse().ok());
    if declared.is_some_and(|bytes| bytes > limits.bytes_max) {
        return Err(too_large(limits.bytes_max));
    }
    let mut body = Incoming { payload, bytes_max: limits.bytes_max, first: None, all: None };
    if let Some(body) = at_once(|context| body.poll(context)).await {
        return body;
    }
    // Boxed: few bodies need a timer, which is larger than all else here.
    let rest =
        Box::pin(tokio::time::timeout(limits.timeout, poll_fn(|context| body.poll(context))));
    rest.await.unwrap_or_else(|_| {
        let seconds = limits.timeout.as_secs_f64();
        let detail = format!("The body did not arrive within {seconds} s; send it faster");
        Err(Problem::new(Code::BodyTimeout, detail).closing())
    })
}

fn too_large(bytes_max: usize) -> Problem {
    let detail = format!("The body has more than {bytes_max} bytes; send less");
    Problem::new(Code::BodyTooLarge, detail)
}

/// A body that is still coming.
struct Incoming {
    payload: Payload,
    bytes_max: usize,
    /// Most bodies come in one piece, which is not copied.
    first: Option<Bytes>,
    /// All pieces, from the second on.
    all: Option<BytesMut>,
}

impl Incoming {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Bytes, Problem>> {
        loop {
            let piece = match ready!(self.payload.poll_next_unpin(context)) {
                Some(Ok(piece)) => piece,
                Some(Err(error)) => {
                    let detail = "The body broke off or is badly framed";
                    let problem = Problem::new(Code::InvalidRequest, detail);
                    return Poll::Ready(Err(problem.caused_by(error.to_string())));
                }
                None => {
                    let all = self.all.take().map(BytesMut::freeze);
                    return Poll::Ready(Ok(all.or(self.first.take()).unwrap_or_default()));
                }
            };
            let length = self.all.as_ref().map_or(0, |all| all.len())
                + self.first.as_ref().map_or(0, |first| first.len());
            if length + piece.len() > self.bytes_max {
                return Poll::Ready(Err(too_large(self.bytes_max)));
            }
            match (&mut self.all, self.first.take()) {
                (Some(all), _) => all.extend_from_slice(&piece),
                (None, None) => self.first = Some(piece),
                (None, Some(first)) => {
                    let all = self.all.insert(BytesMut::with_capacity(BODY_BYTES_EXPECTED));
                    all.extend_from_slice(&first);
                    all.extend_from_slice(&piece);
                }
            }
        }
    }
}

/// What comes at the first or second poll. A handler is first polled when the server has
/// read a request's head, and again once it has taken the body that came with it off the wire:
/// most bodies are here then, and need no timer.
async fn at_once<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Option<T> {
    let mut is_first = true;
    poll_fn(|context| match poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if std::mem::replace(&mut is_first, false) => {
            context.waker().wake_by_ref();
            Poll::Pending
        }
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

fn require_json(request: &HttpRequest) -> Result<(), Problem> {
    let headers = request.headers();
    let media = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if !media.is_some_and(is_json) {
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

fn is_json(media: &str) -> bool {
    if media == "application/json" {
        return true;
    }
    let essence = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// The object that a body is.
pub fn parse(bytes: &[u8]) -> Result<Object, Problem> {
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
