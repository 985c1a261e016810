//! For programs: `/openapi.json` and `/metrics`. They need neither Redis nor MongoDB, so they are
//! available when those are not. (Pages for people are in `web` and `docs`.)

use actix_web::HttpResponse;
use actix_web::body::MessageBody;
use actix_web::web::Payload;

use super::docs;
use super::endpoint::route_unknown;
use super::openapi::{DocsProblems, MetricsProblems};
use super::state::RequestContext;
use crate::http::HandlerResult;
use crate::http::monitoring::{METRICS_TEXT, Monitored};
use crate::http::outgoing::Slices;

/// This document
///
/// OpenAPI 3.1.
#[utoipa::path(
    get, operation_id = "get_openapi", path = "/openapi.json", tag = "operations",
    responses((status = 200, description = "OpenAPI 3.1", body = Object), DocsProblems),
)]
pub async fn openapi(context: RequestContext, _: Payload) -> HandlerResult {
    docs::enter(&context)?;
    let document = Slices::of_shared(context.state.openapi.clone());
    Ok(HttpResponse::Ok().content_type("application/json").body(document.boxed()))
}

/// Metrics for Prometheus
///
/// In the text format, where the setting `metrics_public` is on; by default only `metrics_listen`, another
/// port, serves them.
#[utoipa::path(
    get, operation_id = "get_metrics", path = "/metrics", tag = "operations",
    responses(
        (status = 200, description = "All metrics", body = String, content_type = "text/plain"),
        MetricsProblems,
    ),
)]
pub async fn metrics(context: RequestContext, _: Payload) -> HandlerResult {
    let state = &context.state;
    if !state.config.load().metrics_public {
        return Err(route_unknown(&context));
    }
    Ok(HttpResponse::Ok().content_type(METRICS_TEXT).body(state.metrics()))
}
