//! What people and monitoring look at: `/`, `/docs`, `/openapi.json`, `/metrics`. None of it asks
//! Redis or MongoDB, so it stays up when they do not.

use std::sync::{Arc, LazyLock};

use actix_web::HttpResponse;
use actix_web::http::header;
use actix_web::web::Payload;
use utoipa_swagger_ui::Config as SwaggerConfig;

use super::endpoint::Answer;
use super::problem::{Code, Problem};
use super::state::Call;

/// Prometheus' text format.
const METRICS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
const INDEX: &str = include_str!("index.html");

/// `/docs` reads our own document and nothing from elsewhere: it works offline.
static SWAGGER: LazyLock<Arc<SwaggerConfig<'static>>> = LazyLock::new(|| {
    Arc::new(SwaggerConfig::from("/openapi.json").validator_url("none").deep_linking(true))
});

/// The front page
#[utoipa::path(
    get, path = "/", tag = "operations",
    responses((status = 200, description = "A page with links", body = String, content_type = "text/html")),
)]
pub async fn index(_: Call, _: Payload) -> Answer {
    Ok(HttpResponse::Ok().content_type("text/html; charset=utf-8").body(INDEX))
}

/// This document
#[utoipa::path(
    get, path = "/openapi.json", tag = "operations",
    responses((status = 200, description = "OpenAPI 3.1", body = serde_json::Value)),
)]
pub async fn openapi(call: Call, _: Payload) -> Answer {
    Ok(HttpResponse::Ok().content_type("application/json").body(call.state.openapi.clone()))
}

/// Metrics for Prometheus
#[utoipa::path(
    get, path = "/metrics", tag = "operations",
    responses((status = 200, description = "All metrics", body = String, content_type = "text/plain")),
)]
pub async fn metrics(call: Call, _: Payload) -> Answer {
    let state = &call.state;
    state.metrics.redis_in_flight.set(state.sale.redis_in_flight() as i64);
    Ok(HttpResponse::Ok().content_type(METRICS_TEXT).body(state.metrics.render()))
}

/// This document, to try out
#[utoipa::path(
    get, path = "/docs", tag = "operations",
    responses((status = 308, description = "To `/docs/`")),
)]
pub async fn docs(_: Call, _: Payload) -> Answer {
    // Swagger UI's files are addressed relative to this folder.
    let location = (header::LOCATION, "/docs/");
    Ok(HttpResponse::PermanentRedirect().insert_header(location).finish())
}

/// A file of the documentation
#[utoipa::path(
    get, path = "/docs/{file}", tag = "operations",
    params(("file" = String, Path, description = "The file; empty for the page itself")),
    responses((status = 200, description = "The file", body = String, content_type = "text/html")),
)]
pub async fn docs_file(call: Call, _: Payload) -> Answer {
    let file = call.request.match_info().get("file").unwrap_or_default();
    let found = utoipa_swagger_ui::serve(file, SWAGGER.clone())
        .map_err(|error| Problem::internal(format!("/docs/{file}: {error}")))?;
    let found = found.ok_or_else(|| {
        Problem::new(Code::RouteUnknown, "The documentation has no such file; see /docs/")
    })?;
    let mut answer = HttpResponse::Ok();
    if found.gzpipped {
        answer.insert_header((header::CONTENT_ENCODING, "gzip"));
    }
    Ok(answer.content_type(found.content_type).body(found.bytes.into_owned()))
}
