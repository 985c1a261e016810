//! Bodies of responses: bounded in memory, sent in slices, and reported to their connection.

use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use actix_http::ConnectionType;
use actix_web::HttpResponse;
use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::{Service, ServiceRequest, ServiceResponse};
use actix_web::http::header;
use actix_web::web::Bytes;
use futures_util::TryFutureExt;

use super::problem::{Code, Problem};
use super::response_memory::{Charge, ResponseMemory};
use super::transport::Exchange;

/// Content type of an event stream.
pub const EVENT_STREAM: &str = "text/event-stream";
/// Content type of a stream of JSON objects, one a line.
pub const JSON_LINES: &str = "application/x-ndjson";
/// Bytes given to a connection at a time: the body is shared, the connection's copy of a slice is not.
pub const SLICE_BYTES: usize = 64 * 1024;
/// Memory of a streamed body: one piece, and the compressor's buffers.
pub const STREAM_BYTES: usize = 320 * 1024;
/// `Retry-After` while memory is short, seconds.
const RETRY_SECONDS: u32 = 2;

/// A body that is given to its connection slice by slice, as a connection copies what it is given.
pub struct Slices {
    rest: Bytes,
    /// The charge, if the bytes belong to this response alone.
    _charge: Option<Charge>,
}

impl Slices {
    /// A body of bytes that are counted elsewhere, or are static.
    pub fn of_shared(bytes: Bytes) -> Self {
        Slices { rest: bytes, _charge: None }
    }

    fn of_own(bytes: Bytes, charge: Charge) -> Self {
        Slices { rest: bytes, _charge: Some(charge) }
    }
}

impl MessageBody for Slices {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.rest.len() as u64)
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Infallible>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let bytes = SLICE_BYTES.min(self.rest.len());
        Poll::Ready(Some(Ok(self.rest.split_to(bytes))))
    }
}

/// Charges a large body to the memory of responses, and sends it slice by slice.
///
/// # Errors
/// If it does not fit.
pub fn bounded(
    response: HttpResponse,
    memory: &Arc<ResponseMemory>,
) -> Result<HttpResponse, Problem> {
    let BodySize::Sized(bytes) = response.body().size() else { return Ok(response) };
    if bytes <= SLICE_BYTES as u64 {
        return Ok(response);
    }
    let (head, body) = response.into_parts();
    Ok(match body.try_into_bytes() {
        Ok(bytes) => {
            let charge = memory.charge_or_make_room(bytes.len()).ok_or_else(|| no_room(memory))?;
            head.set_body(Slices::of_own(bytes, charge).boxed())
        }
        Err(body) => head.set_body(body),
    })
}

/// The refusal of a response that does not fit in the memory of responses.
pub fn no_room(memory: &ResponseMemory) -> Problem {
    memory.note_refused();
    let detail = "Too many large responses are being sent and not read; try again";
    Problem::new(Code::ServiceUnavailable, detail)
        .retry_after(RETRY_SECONDS)
        .caused_by("http_response_bytes_max is reached")
}

/// A body with a value that is dropped when the body has been sent.
pub struct With<B, T> {
    body: B,
    _guard: T,
}

impl<B, T> With<B, T> {
    /// Attaches a value to a body.
    pub fn new(body: B, guard: T) -> Self {
        With { body, _guard: guard }
    }
}

impl<B: MessageBody + Unpin, T: Unpin> MessageBody for With<B, T> {
    type Error = B::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, B::Error>>> {
        Pin::new(&mut self.body).poll_next(context)
    }
}

/// A request in progress, until its response is complete.
pub struct InProgress(Option<Rc<Exchange>>);

impl Drop for InProgress {
    fn drop(&mut self) {
        if let Some(exchange) = &self.0 {
            exchange.end();
        }
    }
}

/// Reports a request and its response to their connection, which ends with it if `is_last`.
pub fn tracked<S, B>(
    request: ServiceRequest,
    inner: &S,
    is_last: bool,
) -> impl Future<Output = Result<ServiceResponse<With<B, InProgress>>, actix_web::Error>> + use<S, B>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = actix_web::Error>,
    B: MessageBody + Unpin,
{
    let exchange = request.conn_data::<Rc<Exchange>>().cloned();
    if let Some(exchange) = &exchange {
        exchange.begin(&request);
    }
    let in_progress = InProgress(exchange);
    inner.call(request).map_ok(move |response| {
        response.map_body(move |head, body| {
            if let Some(exchange) = &in_progress.0 {
                let is_endless = || {
                    let kind = head.headers().get(header::CONTENT_TYPE);
                    kind.is_some_and(|kind| kind == EVENT_STREAM || kind == JSON_LINES)
                };
                let size = body.size();
                exchange.respond(size, size == BodySize::Stream && is_endless());
            }
            if is_last && !head.upgrade() {
                head.set_connection_type(ConnectionType::Close);
            }
            With::new(body, in_progress)
        })
    })
}

#[cfg(test)]
mod tests {
    use actix_web::body;

    use super::*;
    use crate::config::Config;
    use crate::telemetry::Metrics;

    #[tokio::test]
    async fn slices_add_up_to_the_body() {
        for len in [0, 1, SLICE_BYTES, 3 * SLICE_BYTES + 7] {
            let bytes: Bytes = (0..len).map(|n| n as u8).collect();
            let slices = Slices::of_shared(bytes.clone());
            assert_eq!(slices.size(), BodySize::Sized(len as u64));
            assert_eq!(body::to_bytes(slices).await.unwrap(), bytes);
        }
    }

    #[tokio::test]
    async fn large_body_is_charged_until_it_is_sent() {
        let config = Config { http_response_bytes_max: 100_000, ..Config::default() };
        let metrics = Metrics::new("test");
        let memory = Arc::new(ResponseMemory::new(&config, &metrics));
        let response = |len: usize| HttpResponse::Ok().body("x".repeat(len));
        let small = bounded(response(SLICE_BYTES), &memory).unwrap();
        assert_eq!(memory.bytes(), 0);
        let large = bounded(response(90_000), &memory).unwrap();
        assert_eq!(memory.bytes(), 90_000);
        assert!(bounded(response(90_000), &memory).is_err());
        assert!(metrics.render().contains("\nholdfast_responses_refused_total 1\n"));
        assert_eq!(body::to_bytes(large.into_body()).await.unwrap().len(), 90_000);
        assert_eq!((memory.bytes(), small.body().size()), (0, BodySize::Sized(65_536)));
    }
}
