//! Answers that are not refusals.

use actix_web::HttpResponse;
use actix_web::HttpResponseBuilder;
use actix_web::http::StatusCode;
use serde::Serialize;

use super::problem::Problem;
use crate::api::endpoint::Answer;

/// Says that the answer is the saved one of an earlier request.
pub const IDEMPOTENT_REPLAYED: &str = "Idempotent-Replayed";

/// A JSON answer under construction, and its body.
pub fn json_with(status: StatusCode, body: &impl Serialize) -> Result<JsonAnswer, Problem> {
    let body = serde_json::to_vec(body)
        .map_err(|error| Problem::internal(format!("an answer does not serialize: {error}")))?;
    let mut builder = HttpResponse::build(status);
    builder.content_type("application/json");
    Ok(JsonAnswer { builder, body })
}

/// A JSON answer.
pub fn json(status: StatusCode, body: &impl Serialize) -> Answer {
    Ok(json_with(status, body)?.send())
}

/// A JSON answer that may still get headers.
pub struct JsonAnswer {
    builder: HttpResponseBuilder,
    body: Vec<u8>,
}

impl JsonAnswer {
    /// Adds a header.
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.builder.insert_header((name, value));
        self
    }

    /// The answer.
    pub fn send(mut self) -> HttpResponse {
        self.builder.body(self.body)
    }
}
