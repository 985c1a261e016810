//! Errors as clients see them: `application/problem+json` (RFC 9457), each with a stable code.
//!
//! A handler returns a [`Problem`]; `endpoint` gives it the trace id, counts it
//! and logs the cause of what is our fault. `detail` tells the caller what is wrong with *this*
//! request and how to mend it, and never anything about our insides.

mod codes;
mod from_sale;

use std::borrow::Cow;
use std::fmt;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

pub use codes::Code;
pub use from_sale::event_unknown;

/// Content type of every error.
pub const PROBLEM_JSON: &str = "application/problem+json";
/// What `type` begins with; the code follows.
const TYPE_PREFIX: &str = "urn:holdfast:problem:";
/// What to do when a dependency is away and nothing was changed.
const TRY_AGAIN: &str = "The service cannot do this at the moment; nothing was changed. Try again";

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
    members: Vec<(&'static str, Value)>,
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

    /// The same refusal under a more telling code.
    fn recoded(mut self, code: Code) -> Self {
        self.code = code;
        self
    }

    /// Adds a member to the body.
    pub fn with(mut self, name: &'static str, value: Value) -> Self {
        self.members.push((name, value));
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
    pub fn render(&self, trace_id: Option<&str>) -> HttpResponse {
        let mut answer = HttpResponseBuilder::new(self.code.status());
        answer.content_type(PROBLEM_JSON);
        answer.insert_header((header::CACHE_CONTROL, "no-store"));
        if let Some(seconds) = self.retry_after_seconds {
            answer.insert_header((header::RETRY_AFTER, seconds));
        }
        if self.closes {
            answer.force_close();
        }
        for (name, value) in &self.headers {
            answer.insert_header((name.clone(), value.clone()));
        }
        let body = serde_json::to_vec(&Body { problem: self, trace_id });
        // Texts and JSON values always serialize.
        answer.body(body.unwrap_or_default())
    }
}

/// The members in their order.
struct Body<'a> {
    problem: &'a Problem,
    trace_id: Option<&'a str>,
}

impl Serialize for Body<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Problem { code, detail, members, .. } = self.problem;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", &format_args!("{TYPE_PREFIX}{}", code.word()))?;
        map.serialize_entry("title", code.title())?;
        map.serialize_entry("status", &code.status().as_u16())?;
        map.serialize_entry("detail", detail)?;
        map.serialize_entry("error", code.word())?;
        map.serialize_entry("trace_id", &self.trace_id)?;
        for (name, value) in members {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.word(), self.detail)
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

    fn rendered(problem: &Problem) -> (HttpResponse<()>, Value) {
        let (head, body) = problem.render(Some("t1")).into_parts();
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
                "detail": "why", "error": word, "trace_id": "t1",
            });
            assert_eq!(body, expected);
        }
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
