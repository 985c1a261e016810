//! Reads request bodies: bounded in bytes and in time, and JSON.

use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::header;
use actix_web::web::{Bytes, BytesMut, Payload};
use futures_util::StreamExt;
use serde::de::DeserializeOwned;

use super::fields::parse;
use super::problem::{Code, Problem};

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
    // Most bodies arrive with their head: the first poll finds the head read, and the second the
    // body. They need no timer.
    let mut polls = 0;
    let early = std::future::poll_fn(|context| match body.as_mut().poll(context) {
        Poll::Ready(body) => Poll::Ready(Some(body)),
        Poll::Pending if polls == 0 => {
            polls += 1;
            context.waker().wake_by_ref();
            Poll::Pending
        }
        Poll::Pending => Poll::Ready(None),
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
    let media = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if !media.is_some_and(is_json) {
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

fn is_json(media: &str) -> bool {
    if media == "application/json" {
        return true;
    }
    let essence = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}
