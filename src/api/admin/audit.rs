//! `/api/v1/admin/audit`: the recorded acts of admins and operators.

use actix_web::http::StatusCode;
use actix_web::web::Payload;
use serde::Serialize;
use utoipa::ToSchema;

use super::booking_body::text;
use super::{PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX};
use crate::api::openapi::AdminProblems;
use crate::api::state::RequestContext;
use crate::domain::time::iso8601;
use crate::http::HandlerResult;
use crate::http::params::Query;
use crate::http::reply::json;
use crate::sale::{AuditEntry, audit_cursor, audit_position};

/// A page of acts.
#[derive(Serialize, ToSchema)]
pub struct AuditBody {
    /// Newest first.
    acts: Vec<ActBody>,
    /// Send it as `cursor` for older ones; null if there are none.
    #[schema(required = true)]
    next_cursor: Option<String>,
}

/// An act.
#[derive(Serialize, ToSchema)]
pub struct ActBody {
    /// When it began.
    #[schema(format = DateTime)]
    at: String,
    /// The name of the admin key, or `ctl:user@host`.
    #[schema(example = "ops")]
    who: String,
    /// What was done.
    #[schema(example = "event_change")]
    act: String,
    /// To what.
    #[schema(example = "event 1")]
    target: String,
    /// Its particulars.
    detail: String,
    /// The request's trace; null for the operator's tool.
    #[schema(required = true)]
    trace_id: Option<String>,
    /// `ok`, or the error; null while it is in progress, or if its process ended.
    #[schema(example = "ok", required = true)]
    result: Option<String>,
}

/// List recorded acts
///
/// Newest first: every change by admins and operators, and reads that show users' data.
#[utoipa::path(
    get, operation_id = "list_audit", path = "/api/v1/admin/audit", tag = "admin",
    params(
        ("who" = Option<String>, Query, description = "Only this actor's"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
        ("page_size" = Option<u32>, Query, minimum = 1, maximum = 200, description = "Acts a page, 1 to 200; 50 if absent"),
    ),
    responses((status = 200, description = "One page", body = AuditBody), AdminProblems),
)]
pub async fn list(context: RequestContext, _: Payload) -> HandlerResult {
    context.gates().pass_admin(&context.head).await?;
    let query = Query::of(&context.http)?;
    let who = query.get("who")?;
    let before = query.cursor(audit_position)?;
    let size = query.page_size(PAGE_SIZE_MAX)?.unwrap_or(PAGE_SIZE_DEFAULT);
    // One more, to learn whether there are more.
    let mut acts = context.state.sale.audit().entries(who, before, size + 1).await?;
    let has_more = acts.len() > size as usize;
    acts.truncate(size as usize);
    let last = acts.last().filter(|_| has_more).map(AuditEntry::position);
    let next_cursor = last.map(|last| audit_cursor(&last));
    let body = |act: AuditEntry| ActBody {
        at: iso8601(act.at_ms),
        who: act.who,
        act: act.act,
        target: act.target,
        detail: act.detail,
        trace_id: text(&act.trace_id),
        result: act.result,
    };
    json(StatusCode::OK, &AuditBody { acts: acts.into_iter().map(body).collect(), next_cursor })
}
