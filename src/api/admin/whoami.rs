//! `/api/v1/admin/whoami`: the key's name, and what kind of server this is.

use actix_web::http::StatusCode;
use actix_web::web::Payload;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::openapi::AdminProblems;
use crate::api::state::RequestContext;
use crate::config::values::{Auth, PaymentProvider};
use crate::domain::time::iso8601;
use crate::http::HandlerResult;
use crate::http::reply::json;
use crate::http::words;

/// The caller, and what kind of server this is.
#[derive(Serialize, ToSchema)]
pub struct WhoAmIBody {
    /// The name of the key; `loopback` without keys.
    #[schema(example = "ops")]
    name: String,
    /// Whether no keys are configured: requests from this machine need none.
    is_open: bool,
    /// Whether it is for development: open, and users are named without a proof.
    is_development: bool,
    /// `simulated` or `stripe`.
    #[schema(value_type = words::PaymentProviderName)]
    payment_provider: &'static str,
    /// Whether no money moves.
    is_payment_simulated: bool,
    /// The server's version.
    #[schema(example = "0.1.0")]
    version: &'static str,
    /// The server's time.
    #[schema(format = DateTime)]
    now: String,
}

/// Who an admin key belongs to
///
/// And what kind of server this is.
#[utoipa::path(
    get, operation_id = "get_whoami", path = "/api/v1/admin/whoami", tag = "admin",
    responses((status = 200, description = "The caller", body = WhoAmIBody), AdminProblems),
)]
pub async fn show(context: RequestContext, _: Payload) -> HandlerResult {
    let name = context.gates().pass_admin(&context.head).await?;
    let config = context.state.config.load();
    let is_open = config.admin_keys_sha256.is_empty();
    let is_payment_simulated = config.payment_provider == PaymentProvider::Simulated;
    let body = WhoAmIBody {
        name,
        is_open,
        is_development: is_open && config.auth == Auth::Trusted,
        payment_provider: if is_payment_simulated { "simulated" } else { "stripe" },
        is_payment_simulated,
        version: env!("CARGO_PKG_VERSION"),
        now: iso8601(jiff::Timestamp::now().as_millisecond()),
    };
    json(StatusCode::OK, &body)
}
