//! `/api/v1/admin/access`: who is denied, and who is exempt from limits.

use actix_web::http::StatusCode;
use actix_web::web::Payload;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::openapi::AdminProblems;
use crate::api::state::RequestContext;
use crate::domain::policy::{Access, AccessEntry};
use crate::domain::time::iso8601;
use crate::http::HandlerResult;
use crate::http::reply::json;
use crate::http::words;
use crate::sale::SaleError;

/// The entries of both lists.
#[derive(Serialize, ToSchema)]
pub struct AccessBody {
    /// Oldest first, without those that have ended.
    entries: Vec<AccessEntryBody>,
}

/// One entry.
#[derive(Serialize, ToSchema)]
pub struct AccessEntryBody {
    /// `deny` or `allow`.
    #[schema(value_type = words::AccessKind)]
    access: &'static str,
    /// An address, a network, or `user:` and a user.
    #[schema(example = "203.0.113.0/24")]
    subject: String,
    /// Why.
    reason: String,
    /// Who made it.
    by: String,
    /// When.
    #[schema(format = DateTime)]
    at: String,
    /// When it ends; null is never.
    #[schema(format = DateTime, required = true)]
    until: Option<String>,
}

/// List who is denied and who is exempt
///
/// As `holdfastctl access list`.
#[utoipa::path(
    get, operation_id = "list_access", path = "/api/v1/admin/access", tag = "admin",
    responses((status = 200, description = "The entries", body = AccessBody), AdminProblems),
)]
pub async fn list(context: RequestContext, _: Payload) -> HandlerResult {
    context.gates().pass_admin(&context.head).await?;
    let stored = context.state.sale.policy().stored().await.map_err(SaleError::from)?;
    let now_ms = jiff::Timestamp::now().as_millisecond();
    let current = stored.live.access.iter().filter(|entry| entry.is_current(now_ms));
    let mut entries: Vec<&AccessEntry> = current.collect();
    entries.sort_by_key(|entry| entry.at_ms);
    let body = |entry: &AccessEntry| AccessEntryBody {
        access: match entry.access {
            Access::Deny => "deny",
            Access::Allow => "allow",
        },
        subject: entry.who.to_string(),
        reason: entry.reason.clone(),
        by: entry.by.clone(),
        at: iso8601(entry.at_ms),
        until: entry.until_ms.map(iso8601),
    };
    json(StatusCode::OK, &AccessBody { entries: entries.into_iter().map(body).collect() })
}
