//! For programs: `/openapi.json` and `/metrics`. They need neither Redis nor MongoDB, so they are
//! available when those are not. (Pages for people are in `web` and `docs`.)

use actix_web::HttpResponse;
use actix_web::body::MessageBody;
use actix_web::web::Payload;

use super::docs;
use super::openapi::{DocsProblems, OpenProblems};
use super::state::RequestContext;
use crate::http::HandlerResult;
use crate::http::outgoing::Slices;

/// Content type of Prometheus' text format.
const METRICS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

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
/// In the text format.
#[utoipa::path(
    get, operation_id = "get_metrics", path = "/metrics", tag = "operations",
    responses(
        (status = 200, description = "All metrics", body = String, content_type = "text/plain"),
        OpenProblems,
    ),
)]
pub async fn metrics(context: RequestContext, _: Payload) -> HandlerResult {
    let state = &context.state;
    state.metrics.redis_in_flight.set(state.sale.redis_in_flight() as i64);
    state.metrics.redis_thread_connections.set(state.sale.redis_thread_connections() as i64);
    Ok(HttpResponse::Ok().content_type(METRICS_TEXT).body(state.metrics.render()))
}
