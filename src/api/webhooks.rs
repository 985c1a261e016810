//! `POST /webhooks/payments`: what a payment provider has to tell. Its signature is all that lets
//! it in; what it says about money is not believed, but looked up.

use actix_web::http::StatusCode;
use actix_web::web::Payload;
use serde::Serialize;
use utoipa::ToSchema;

use super::endpoint::Answer;
use super::openapi::WebhookProblems;
use super::state::RequestContext;
use crate::http::body::{self, BodyLimits};
use crate::http::problem::{Code, Problem};
use crate::http::reply::json;
use crate::payments::webhook::{self, NotGenuine};
use crate::sale::WebhookResult;

/// Bytes of a webhook: Stripe's have about ten thousand.
const BYTES_MAX: usize = 256 * 1024;
/// The headers that may hold the signature, in the order they are looked for.
const SIGNATURE_HEADERS: [&str; 2] = ["Stripe-Signature", "Holdfast-Signature"];
/// When to send a webhook again that could not be handled, seconds.
const RETRY_SECONDS: u32 = 5;

/// What became of a webhook.
#[derive(Serialize, ToSchema)]
pub struct WebhookBody {
    /// `handled`; `duplicate`: it was handled before; `ignored`: it is no business of a sale.
    #[schema(example = "handled")]
    result: &'static str,
}

/// Payment webhook
///
/// For the payment provider alone: it must be signed with the shared secret over the raw body
/// (`t=<Unix seconds>,v1=<hex HMAC-SHA256 of "t.body">`). Sending one again, and any order, is fine.
#[utoipa::path(
    post, path = "/webhooks/payments", tag = "operations",
    params(
        ("Stripe-Signature" = String, Header, description = "The signature; `Holdfast-Signature` as well"),
    ),
    request_body(content = Object, description = "An event: `id`, `type`, `data.object.metadata.booking_id` or `data.object.payment_intent`"),
    responses((status = 200, description = "Taken", body = WebhookBody), WebhookProblems),
)]
pub async fn payments(context: RequestContext, payload: Payload) -> Answer {
    let taken = take(&context, payload).await;
    let result = match &taken {
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
    json(StatusCode::OK, &WebhookBody { result: taken? })
}

async fn take(context: &RequestContext, payload: Payload) -> Result<&'static str, Problem> {
    let secret = &context.state.config.payment_webhook_secret;
    if secret.is_empty() {
        let detail = "Webhooks are off here; the setting payment_webhook_secret turns them on";
        return Err(Problem::new(Code::WebhooksOff, detail));
    }
    let limits = BodyLimits { bytes_max: BYTES_MAX, ..context.state.body_limits() };
    let body = body::read(&context.http, payload, limits).await?;
    let signature = SIGNATURE_HEADERS.into_iter().find_map(|name| context.header(name));
    let now_seconds = jiff::Timestamp::now().as_second();
    webhook::verify(secret.expose(), signature.unwrap_or_default(), &body, now_seconds)
        .map_err(not_genuine)?;
    let notice = webhook::read(&body).map_err(|error| {
        Problem::new(Code::InvalidJson, format!("The body is not an event: {error}"))
    })?;
    let Some(about) = notice.about else { return Ok("ignored") };
    match context.state.sale.notice(notice.id, notice.kind, about).await {
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

fn not_genuine(error: NotGenuine) -> Problem {
    let code = match error {
        NotGenuine::Signature => Code::WebhookSignatureInvalid,
        NotGenuine::Stale => Code::WebhookStale,
    };
    let detail = format!("The webhook is not taken: {error}; sign the raw body anew");
    Problem::new(code, detail)
}
