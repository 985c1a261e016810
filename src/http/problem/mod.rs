//! Error responses: `application/problem+json` (RFC 9457), each with a stable code.
//!
//! A handler returns a [`Problem`]. The endpoint adds the trace id, counts the problem and logs the
//! cause of server errors. `detail` says what is wrong with *this* request and how to correct it; it
//! never contains internals.

mod codes;

use std::borrow::Cow;
use std::fmt;

use actix_web::body::BoxBody;
use actix_web::http::header::{self, HeaderValue};
use actix_web::http::{ConnectionType, StatusCode};
use actix_web::web::Bytes;
use actix_web::{HttpResponse, ResponseError};
use serde_json::Value;

use super::headers::NO_STORE;
use crate::domain::{SeatId, SeatState};
use crate::telemetry::trace::TraceIdText;

pub use codes::Code;

/// Content type of every error.
pub const PROBLEM_JSON: &str = "application/problem+json";
/// Bytes reserved for a body; most bodies fit.
const BODY_BYTES_EXPECTED: usize = 512;
/// The detail of a refusal because a dependency is unavailable and nothing was changed.
pub const TRY_AGAIN: &str =
    "The service cannot do this at the moment; nothing was changed. Try again";

/// An additional member of a body.
#[derive(Debug)]
enum Member {
    Any(Value),
    /// The states of seats, written directly: refused holds are the most frequent response, and a
    /// tree of JSON values costs more than the rest of the body.
    Seats(Vec<(SeatId, SeatState)>),
}

impl Member {
    fn write(&self, body: &mut Vec<u8>) -> serde_json::Result<()> {
        let seats = match self {
            Member::Any(value) => return serde_json::to_writer(body, value),
            Member::Seats(seats) => seats,
        };
        let mut separator = r#"[{"id":"#;
        for (seat, state) in seats {
            body.extend_from_slice(separator.as_bytes());
            body.extend_from_slice(itoa::Buffer::new().format(seat.0).as_bytes());
            append(body, [r#","status":""#, state.as_str(), r#""}"#]);
            separator = r#",{"id":"#;
        }
        append(body, [if seats.is_empty() { "[" } else { "" }, "]"]);
        Ok(())
    }
}

/// Appends texts that need no JSON escapes.
fn append<const N: usize>(body: &mut Vec<u8>, parts: [&str; N]) {
    parts.into_iter().for_each(|part| body.extend_from_slice(part.as_bytes()));
}

/// Appends a text as JSON. Few need escapes, which serde looks for byte by byte.
fn write_text(body: &mut Vec<u8>, text: &str) -> serde_json::Result<()> {
    let needs_escapes = |byte: u8| byte < b' ' || byte == b'"' || byte == b'\\';
    // Without a branch, so that the compiler compares many bytes at once.
    if text.bytes().fold(false, |any, byte| any | needs_escapes(byte)) {
        return serde_json::to_writer(body, text);
    }
    append(body, ["\"", text, "\""]);
    Ok(())
}

/// An error response.
#[derive(Debug)]
pub struct Problem {
    /// The error code.
    pub code: Code,
    /// What is wrong with this request and how to correct it.
    pub detail: Cow<'static, str>,
    /// `Retry-After`, seconds.
    pub retry_after_seconds: Option<u32>,
    /// Additional members of the body, such as the states of seats.
    members: Vec<(&'static str, Member)>,
    /// Additional headers, such as `Allow`.
    headers: Vec<(header::HeaderName, header::HeaderValue)>,
    /// Whether the connection is closed after this response.
    closes: bool,
    /// The internal cause, for the log only.
    pub cause: Option<String>,
}

impl Problem {
    /// A problem with a code and its detail.
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Problem {
            code,
            detail: detail.into(),
            retry_after_seconds: None,
            members: Vec::new(),
            headers: Vec::new(),
            closes: false,
            cause: None,
        }
    }

    /// An invalid field of the body.
    pub fn field(field: &str, expected: impl fmt::Display) -> Self {
        Problem::new(Code::ValidationFailed, format!("`{field}` {expected}"))
            .with("field", field.into())
    }

    /// An invalid parameter of the path or the query, or an invalid header.
    pub fn parameter(parameter: &str, expected: impl fmt::Display) -> Self {
        Problem::new(Code::InvalidParameter, format!("`{parameter}` {expected}"))
            .with("parameter", parameter.into())
    }

    /// An internal error; the cause is only logged.
    pub fn internal(cause: impl Into<String>) -> Self {
        let problem = Problem::new(
            Code::Internal,
            "Something went wrong on our side; the trace id helps us to find it",
        );
        Problem { cause: Some(cause.into()), ..problem }
    }

    /// The same problem for a request that only reads: an unknown outcome becomes
    /// `service_unavailable`.
    pub fn for_read(self) -> Self {
        match self.code {
            Code::OutcomeUnknown => {
                Problem { detail: TRY_AGAIN.into(), ..self.with_code(Code::ServiceUnavailable) }
            }
            _ => self,
        }
    }

    /// Replaces the detail.
    pub fn with_detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.detail = detail.into();
        self
    }

    /// Replaces the code.
    pub fn with_code(mut self, code: Code) -> Self {
        self.code = code;
        self
    }

    /// Adds a member to the body.
    pub fn with(mut self, name: &'static str, value: Value) -> Self {
        self.members.push((name, Member::Any(value)));
        self
    }

    /// Adds the states of seats to the body.
    pub fn with_seats(mut self, name: &'static str, states: Vec<(SeatId, SeatState)>) -> Self {
        self.members.push((name, Member::Seats(states)));
        self
    }

    /// Adds a header to the response.
    pub fn with_header(mut self, name: header::HeaderName, value: header::HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Closes the connection after the response: the rest of this request could be mistaken for the
    /// next one.
    pub fn closing(mut self) -> Self {
        self.closes = true;
        self
    }

    /// Sets `Retry-After`.
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_seconds = Some(seconds);
        self
    }

    /// Sets the internal cause, for the log.
    pub fn caused_by(mut self, cause: impl Into<String>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// Renders the response with the request's trace id.
    pub fn render(&self, trace_id: Option<&TraceIdText>) -> HttpResponse {
        let mut body = Vec::with_capacity(BODY_BYTES_EXPECTED);
        // Cannot fail: texts and JSON values always serialize, and so does writing to memory.
        let _ = self.write(&mut body, trace_id);
        let body = BoxBody::new(Bytes::from(body));
        let mut response = HttpResponse::with_body(self.code.status(), body);
        if self.closes {
            response.head_mut().set_connection_type(ConnectionType::Close);
        }
        let headers = response.headers_mut();
        // Appending costs a third of inserting.
        headers.append(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        headers.append(header::CACHE_CONTROL, HeaderValue::from_static(NO_STORE));
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        for (name, value) in &self.headers {
            headers.insert(name.clone(), value.clone());
        }
        response
    }

    /// Writes the body, members in insertion order. Codes and titles need no escapes.
    fn write(&self, body: &mut Vec<u8>, trace_id: Option<&TraceIdText>) -> serde_json::Result<()> {
        let (before, after) = self.code.around_detail();
        append(body, [before]);
        write_text(body, &self.detail)?;
        append(body, [after]);
        match trace_id {
            Some(trace_id) => append(body, ["\"", trace_id.as_str(), "\""]),
            None => append(body, ["null"]),
        }
        for (name, value) in &self.members {
            append(body, [",\"", name, "\":"]);
            value.write(body)?;
        }
        body.extend_from_slice(b"}");
        Ok(())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.detail)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.code.status()
    }
    fn error_response(&self) -> HttpResponse {
        self.render(None)
    }
}

#[cfg(test)]
mod tests {
    use actix_web::body::{self, MessageBody};

    use super::codes::CODES;
    use super::*;
    use crate::telemetry::TraceContext;

    fn trace_id() -> TraceIdText {
        let header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        TraceContext::from_traceparent(header).unwrap().trace_id().text()
    }

    fn rendered(problem: &Problem) -> (HttpResponse<()>, Value) {
        let (head, body) = problem.render(Some(&trace_id())).into_parts();
        let bytes = body.try_into_bytes().unwrap();
        (head.set_body(()), serde_json::from_slice(&bytes).unwrap())
    }

    #[test]
    fn every_code_renders_all_members() {
        for (code, name, status, title) in CODES {
            let (head, body) = rendered(&Problem::new(*code, "why"));
            assert_eq!(head.status().as_u16(), *status);
            assert_eq!(head.headers().get("content-type").unwrap(), PROBLEM_JSON);
            let expected = serde_json::json!({
                "type": format!("urn:holdfast:problem:{name}"), "title": title, "status": status,
                "detail": "why", "error": name, "trace_id": trace_id().as_str(),
            });
            assert_eq!(body, expected);
        }
    }

    /// Codes and titles are written without escaping.
    #[test]
    fn codes_and_titles_need_no_escapes() {
        for (_, name, _, title) in CODES {
            for text in [name, title] {
                assert_eq!(serde_json::to_string(text).unwrap(), format!("\"{text}\""));
            }
        }
    }

    #[test]
    fn members_keep_their_order_and_details_are_escaped() {
        let seats = vec![(SeatId(1), SeatState::Hold), (SeatId(2), SeatState::Available)];
        let problem = Problem::new(Code::SeatsUnavailable, "a \"b\"\n");
        let problem = problem.with("n", 1.into()).with_seats("seats", seats);
        let mut body = Vec::new();
        problem.write(&mut body, None).unwrap();
        let expected = concat!(
            r#"{"type":"urn:holdfast:problem:seats_unavailable","title":"Seats are not available","#,
            r#""status":409,"detail":"a \"b\"\n","error":"seats_unavailable","trace_id":null,"n":1,"#,
            r#""seats":[{"id":1,"status":"HOLD"},{"id":2,"status":"AVAILABLE"}]}"#,
        );
        assert_eq!(String::from_utf8(body).unwrap(), expected);
    }

    #[test]
    fn members_and_headers_are_rendered_and_causes_are_not() {
        let problem = Problem::internal("secret").with("seats", 1.into()).retry_after(2);
        let (head, body) = rendered(&problem);
        assert_eq!(head.headers().get("retry-after").unwrap(), "2");
        assert_eq!(body["seats"], 1);
        assert!(!body.to_string().contains("secret"));
    }

    #[test]
    fn rendered_body_has_a_known_size() {
        let size = Problem::new(Code::InFlight, "x").render(None).body().size();
        assert!(matches!(size, body::BodySize::Sized(bytes) if bytes > 0));
    }
}
