//! Reads request bodies: bounded in bytes and in time, and JSON.

use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::header;
use actix_web::web::{Bytes, BytesMut, Payload};
use futures_util::StreamExt;
use serde::de::DeserializeOwned;

use super::fields::parse;
use super::problem::{Code, Problem};
use super::transport::Exchange;

/// Bounds of a request body.
#[derive(Clone, Copy, Debug)]
pub struct BodyLimits {
    /// Its length, bytes.
    pub bytes_max: usize,
    /// How long it may take to arrive.
    pub timeout: Duration,
}

/// Reads a body that must be a JSON object.
pub async fn read_object<T: DeserializeOwned>(
    request: &HttpRequest,
    payload: Payload,
    limits: BodyLimits,
) -> Result<T, Problem> {
    parse(&read_json(request, payload, limits).await?.ok_or_else(missing)?)
}

/// Reads a body that is a JSON object or empty.
pub async fn read_optional_object<T: DeserializeOwned>(
    request: &HttpRequest,
    payload: Payload,
    limits: BodyLimits,
) -> Result<Option<T>, Problem> {
    let body = read_json(request, payload, limits).await?;
    body.map(|body| parse(&body)).transpose()
}

/// The problem of a required body that is empty.
pub fn missing() -> Problem {
    Problem::new(Code::InvalidJson, "The body is empty; send a JSON object")
}

/// Reads a body that is declared as JSON, without parsing it; `None` if it is empty.
pub async fn read_json(
    request: &HttpRequest,
    payload: Payload,
    limits: BodyLimits,
) -> Result<Option<Bytes>, Problem> {
    let body = read(request, payload, limits).await?;
    if body.is_empty() {
        return Ok(None);
    }
    require_json(request)?;
    Ok(Some(body))
}

/// Reads a body of any type.
pub async fn read(
    request: &HttpRequest,
    payload: Payload,
    limits: BodyLimits,
) -> Result<Bytes, Problem> {
    // actix refuses a malformed Content-Length, so an unreadable one is absent.
    let declared = request.headers().get(header::CONTENT_LENGTH);
    let declared: Option<usize> = declared.and_then(|value| value.to_str().ok()?.parse().ok());
    if declared.is_some_and(|bytes| bytes > limits.bytes_max) {
        return Err(too_large(limits.bytes_max));
    }
    let mut body = pin!(collect(payload, limits.bytes_max));
    // Most bodies arrive with their head, and need neither a wake-up nor a timer: the dispatcher polls a
    // handler when it has read the head, and again in the same turn when it has read the body.
    let exchange = request.conn_data::<Rc<Exchange>>();
    let mut is_first = true;
    let early = std::future::poll_fn(|context| {
        if !std::mem::take(&mut is_first) {
            exchange.inspect(|exchange| exchange.note_handler_polled());
            return Poll::Ready(match body.as_mut().poll(context) {
                Poll::Ready(body) => Some(body),
                Poll::Pending => None,
            });
        }
        if let Poll::Ready(body) = body.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return Poll::Ready(Some(body));
        }
        match exchange {
            Some(exchange) => exchange.poll_handler_again(context.waker()),
            None => context.waker().wake_by_ref(),
        }
        Poll::Pending
    });
    if let Some(body) = early.await {
        return body;
    }
    // Boxed because a timer is larger than the rest of this future, and seldom needed.
    Box::pin(tokio::time::timeout(limits.timeout, body)).await.unwrap_or_else(|_| {
        let seconds = limits.timeout.as_secs_f64();
        let detail = format!("The body did not arrive within {seconds} s; send it faster");
        Err(Problem::new(Code::BodyTimeout, detail).closing())
    })
}

/// Collects a body. A body of one piece, as most are, is not copied; actix's own
/// `to_bytes_limited` copies every body into a new buffer of 32 KiB.
async fn collect(mut payload: Payload, bytes_max: usize) -> Result<Bytes, Problem> {
    let mut body = Bytes::new();
    while let Some(piece) = payload.next().await {
        let piece = piece.map_err(|error| {
            let detail = "The body broke off or is badly framed";
            Problem::new(Code::InvalidRequest, detail).caused_by(error.to_string())
        })?;
        if body.len() + piece.len() > bytes_max {
            return Err(too_large(bytes_max));
        }
        body = match body.is_empty() {
            true => piece,
            false => {
                let mut joined = BytesMut::from(body);
                joined.extend_from_slice(&piece);
                joined.freeze()
            }
        };
    }
    Ok(body)
}

fn too_large(bytes_max: usize) -> Problem {
    let detail = format!("The body has more than {bytes_max} bytes; send less");
    Problem::new(Code::BodyTooLarge, detail)
}

fn require_json(request: &HttpRequest) -> Result<(), Problem> {
    let headers = request.headers();
    let media = headers.get(header::CONTENT_TYPE);
    if !media.is_some_and(|media| is_json(media.as_bytes())) {
        return Err(Problem::new(
            Code::UnsupportedMediaType,
            "Send the body as JSON, with the header Content-Type: application/json",
        ));
    }
    let encoding = headers.get(header::CONTENT_ENCODING);
    if encoding.is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(Problem::new(
            Code::UnsupportedMediaType,
            "Send the body uncompressed, without Content-Encoding",
        ));
    }
    Ok(())
}

fn is_json(media: &[u8]) -> bool {
    if media == b"application/json" {
        return true;
    }
    let Ok(media) = std::str::from_utf8(media) else { return false };
    let essence = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}
