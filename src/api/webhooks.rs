//! `POST /webhooks/payments`: notices of a payment provider. The signature authenticates them; the state
//! of a payment is never taken from a notice but fetched from the provider.

use actix_web::http::StatusCode;
use actix_web::http::header::HeaderName;
use actix_web::web::Payload;
use serde::Serialize;
use utoipa::ToSchema;

use super::openapi::WebhookProblems;
use super::state::RequestContext;
use crate::http::HandlerResult;
use crate::http::body::{self, BodyLimits};
use crate::http::problem::{Code, Problem};
use crate::http::reply::json;
use crate::http::words;
use crate::payments::webhook::{self, SignatureError};
use crate::sale::WebhookResult;

/// Bytes of a webhook: Stripe's have about ten thousand.
const BYTES_MAX: usize = 256 * 1024;
/// Headers with the signature, in order of preference.
const SIGNATURE_HEADERS: [HeaderName; 2] =
    [HeaderName::from_static("stripe-signature"), HeaderName::from_static("holdfast-signature")];
/// `Retry-After` of a webhook that could not be handled, seconds.
const RETRY_SECONDS: u32 = 5;

/// The result of a webhook.
#[derive(Serialize, ToSchema)]
pub struct WebhookBody {
    /// `handled`; `duplicate`: it was handled before; `ignored`: it concerns no booking.
    #[schema(value_type = words::WebhookResult)]
    result: &'static str,
}

/// Payment webhook
///
/// For the payment provider only: it must be signed with the shared secret over the raw body
/// (`t=<Unix seconds>,v1=<hex HMAC-SHA256 of "t.body">`). Webhooks may be repeated and in any order.
#[utoipa::path(
    post, operation_id = "handle_payment_webhook", path = "/webhooks/payments", tag = "operations",
    params(
        ("Stripe-Signature" = String, Header, description = "The signature; `Holdfast-Signature` as well"),
    ),
    request_body(content = Object, description = "An event: `id`, `type`, `data.object.metadata.booking_id` or `data.object.payment_intent`"),
    responses((status = 200, description = "Accepted", body = WebhookBody), WebhookProblems),
)]
pub async fn payments(context: RequestContext, payload: Payload) -> HandlerResult {
    let handled = handle(&context, payload).await;
    let result = match &handled {
        Ok(result) => result,
        Err(problem) => match problem.code {
            Code::WebhookSignatureInvalid => "signature_invalid",
            Code::WebhookStale => "stale",
            Code::WebhooksOff => "off",
            Code::ServiceUnavailable => "failed",
            _ => "unreadable",
        },
    };
    context.state.metrics.webhooks.with_label_values(&[result]).inc();
    json(StatusCode::OK, &WebhookBody { result: handled? })
}

async fn handle(context: &RequestContext, payload: Payload) -> Result<&'static str, Problem> {
    let secret = context.state.config.load().payment_webhook_secret.clone();
    if secret.is_empty() {
        let detail = "Webhooks are off here; the setting payment_webhook_secret turns them on";
        return Err(Problem::new(Code::WebhooksOff, detail));
    }
    let limits = BodyLimits { bytes_max: BYTES_MAX, ..context.state.body_limits() };
    let body = body::read(&context.http, payload, limits).await?;
    let signature = SIGNATURE_HEADERS.iter().find_map(|name| context.header(name));
    let now_seconds = jiff::Timestamp::now().as_second();
    webhook::verify(secret.expose(), signature.unwrap_or_default(), &body, now_seconds)
        .map_err(invalid_signature)?;
    let notice = webhook::read(&body).map_err(|error| {
        Problem::new(Code::InvalidJson, format!("The body is not an event: {error}"))
    })?;
    let Some(subject) = notice.subject else { return Ok("ignored") };
    match context.state.sale.handle_webhook(notice.id, notice.kind, subject).await {
        Ok(WebhookResult::Handled) => Ok("handled"),
        Ok(WebhookResult::Duplicate) => Ok("duplicate"),
        Ok(WebhookResult::Foreign) => Ok("ignored"),
        Err(error) => {
            let detail = "The webhook could not be handled now; send it again";
            Err(Problem::new(Code::ServiceUnavailable, detail)
                .retry_after(RETRY_SECONDS)
                .caused_by(error.to_string()))
        }
    }
}

fn invalid_signature(error: SignatureError) -> Problem {
    let code = match error {
        SignatureError::Signature => Code::WebhookSignatureInvalid,
        SignatureError::Stale => Code::WebhookStale,
    };
    let detail = format!("The webhook is refused: {error}; sign the raw body anew");
    Problem::new(code, detail)
}
