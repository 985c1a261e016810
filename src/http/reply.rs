//! JSON responses.

use actix_web::HttpResponse;
use actix_web::HttpResponseBuilder;
use actix_web::http::StatusCode;
use serde::Serialize;

use super::HandlerResult;
use super::problem::Problem;

/// The header of a response that repeats the result of an earlier request.
pub const IDEMPOTENT_REPLAYED: &str = "Idempotent-Replayed";

/// A JSON response to which headers may be added.
pub fn json_with(status: StatusCode, body: &impl Serialize) -> Result<JsonResponse, Problem> {
    let body = serde_json::to_vec(body)
        .map_err(|error| Problem::internal(format!("a response does not serialize: {error}")))?;
    let mut builder = HttpResponse::build(status);
    builder.content_type("application/json");
    Ok(JsonResponse { builder, body })
}

/// A JSON response.
pub fn json(status: StatusCode, body: &impl Serialize) -> HandlerResult {
    Ok(json_with(status, body)?.send())
}

/// A JSON response under construction.
pub struct JsonResponse {
    builder: HttpResponseBuilder,
    body: Vec<u8>,
}

impl JsonResponse {
    /// Adds a header.
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.builder.insert_header((name, value));
        self
    }

    /// The response.
    pub fn send(mut self) -> HttpResponse {
        self.builder.body(self.body)
    }
}
