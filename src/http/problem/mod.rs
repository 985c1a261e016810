//! Errors as clients see them: `application/problem+json` (RFC 9457), each with a stable code.
//!
//! A handler returns a [`Problem`]; `endpoint` gives it the trace id, counts it
//! and logs the cause of what is our fault. `detail` tells the caller what is wrong with *this*
//! request and how to mend it, and never anything about our insides.

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
/// What `type` begins with; the code follows.
const TYPE_PREFIX: &str = "urn:holdfast:problem:";
/// Bytes that are reserved for a body: more than most have.
const BODY_BYTES_EXPECTED: usize = 512;
/// What to do when a dependency is away and nothing was changed.
pub const TRY_AGAIN: &str =
    "The service cannot do this at the moment; nothing was changed. Try again";

/// A further member of a body.
#[derive(Debug)]
enum Member {
    Any(Value),
    /// Refused holds by the hundred thousand tell of seats: no trees of values are built for them.
    Seats(Vec<(SeatId, SeatState)>),
}

impl Member {
    fn write(&self, body: &mut Vec<u8>) -> serde_json::Result<()> {
        let seats = match self {
            Member::Any(value) => return serde_json::to_writer(body, value),
            Member::Seats(seats) => seats,
        };
        let mut before = r#"[{"id":"#;
        for (seat, state) in seats {
            body.extend_from_slice(before.as_bytes());
            body.extend_from_slice(itoa::Buffer::new().format(seat.0).as_bytes());
            append(body, [r#","status":""#, state.as_str(), r#""}"#]);
            before = r#",{"id":"#;
        }
        append(body, [if seats.is_empty() { "[" } else { "" }, "]"]);
        Ok(())
    }
}

/// Words of ours stand in JSON as they are.
fn append<const N: usize>(body: &mut Vec<u8>, parts: [&str; N]) {
    parts.into_iter().for_each(|part| body.extend_from_slice(part.as_bytes()));
}

/// A refusal, as the client will see it.
#[derive(Debug)]
pub struct Problem {
    /// What was refused.
    pub code: Code,
    /// What is wrong with this request and how to mend it.
    pub detail: Cow<'static, str>,
    /// When to try again, seconds.
    pub retry_after_seconds: Option<u32>,
    /// Further members of the body, such as the states of seats.
    members: Vec<(&'static str, Member)>,
    /// Further headers, such as `Allow`.
    headers: Vec<(header::HeaderName, header::HeaderValue)>,
    /// Whether the connection ends with this answer.
    closes: bool,
    /// What happened inside: for the log, never for the client.
    pub cause: Option<String>,
}

impl Problem {
    /// A refusal with its explanation.
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

    /// A field of the body is wrong.
    pub fn field(field: &str, expected: impl fmt::Display) -> Self {
        Problem::new(Code::ValidationFailed, format!("`{field}` {expected}"))
            .with("field", field.into())
    }

    /// A parameter of the path, the query or a header is wrong.
    pub fn parameter(parameter: &str, expected: impl fmt::Display) -> Self {
        Problem::new(Code::InvalidParameter, format!("`{parameter}` {expected}"))
            .with("parameter", parameter.into())
    }

    /// A defect of ours; the cause goes to the log alone.
    pub fn internal(cause: impl Into<String>) -> Self {
        let problem = Problem::new(
            Code::Internal,
            "Something went wrong on our side; the trace id helps us to find it",
        );
        Problem { cause: Some(cause.into()), ..problem }
    }

    /// The same refusal of a request that only reads: there is no outcome to be unsure of.
    pub fn of_a_read(self) -> Self {
        match self.code {
            Code::OutcomeUnknown => {
                Problem { detail: TRY_AGAIN.into(), ..self.recoded(Code::ServiceUnavailable) }
            }
            _ => self,
        }
    }

    /// Replaces the text that says what is wrong and how to mend it.
    pub fn with_detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.detail = detail.into();
        self
    }

    /// Replaces the code.
    pub fn recoded(mut self, code: Code) -> Self {
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

    /// Adds a header to the answer.
    pub fn with_header(mut self, name: header::HeaderName, value: header::HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Ends the connection: what is still to come on it cannot be told from a next request.
    pub fn closing(mut self) -> Self {
        self.closes = true;
        self
    }

    /// Says when to try again.
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_seconds = Some(seconds);
        self
    }

    /// Says what happened inside, for the log.
    pub fn caused_by(mut self, cause: impl Into<String>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// The answer, with the trace id of its request.
    pub fn render(&self, trace_id: Option<&TraceIdText>) -> HttpResponse {
        let mut body = Vec::with_capacity(BODY_BYTES_EXPECTED);
        // Texts and JSON values always serialize, and memory takes all that is written to it.
        let _ = self.write(&mut body, trace_id);
        let body = BoxBody::new(Bytes::from(body));
        let mut answer = HttpResponse::with_body(self.code.status(), body);
        if self.closes {
            answer.head_mut().set_connection_type(ConnectionType::Close);
        }
        let headers = answer.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(NO_STORE));
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        for (name, value) in &self.headers {
            headers.insert(name.clone(), value.clone());
        }
        answer
    }

    /// Writes the body, its members in their order. What is a word of ours stands in it as it is.
    fn write(&self, body: &mut Vec<u8>, trace_id: Option<&TraceIdText>) -> serde_json::Result<()> {
        let (word, title) = (self.code.as_str(), self.code.title());
        append(body, [r#"{"type":""#, TYPE_PREFIX, word, r#"","title":""#, title]);
        append(body, [r#"","status":"#, self.code.status().as_str(), r#","detail":"#]);
        serde_json::to_writer(&mut *body, &self.detail)?;
        append(body, [r#","error":""#, word, r#"","trace_id":"#]);
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
    fn every_code_is_rendered_in_full() {
        for (code, word, status, title) in CODES {
            let (head, body) = rendered(&Problem::new(*code, "why"));
            assert_eq!(head.status().as_u16(), *status);
            assert_eq!(head.headers().get("content-type").unwrap(), PROBLEM_JSON);
            let expected = serde_json::json!({
                "type": format!("urn:holdfast:problem:{word}"), "title": title, "status": status,
                "detail": "why", "error": word, "trace_id": trace_id().as_str(),
            });
            assert_eq!(body, expected);
        }
    }

    /// They are written as they are.
    #[test]
    fn no_word_or_title_needs_an_escape() {
        for (_, word, _, title) in CODES {
            for text in [word, title] {
                assert_eq!(serde_json::to_string(text).unwrap(), format!("\"{text}\""));
            }
        }
    }

    #[test]
    fn members_stand_in_their_order_and_details_are_escaped() {
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
    fn members_and_headers_are_added_and_causes_kept_back() {
        let problem = Problem::internal("secret").with("seats", 1.into()).retry_after(2);
        let (head, body) = rendered(&problem);
        assert_eq!(head.headers().get("retry-after").unwrap(), "2");
        assert_eq!(body["seats"], 1);
        assert!(!body.to_string().contains("secret"));
    }

    #[test]
    fn the_body_is_complete_when_the_answer_is() {
        let size = Problem::new(Code::InFlight, "x").render(None).body().size();
        assert!(matches!(size, body::BodySize::Sized(bytes) if bytes > 0));
    }
}
