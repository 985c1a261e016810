//! Responses on their way out: counted, bounded in memory, and announced to their connection.

use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

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
/// Bytes given to a connection at a time: a body is shared, what is being sent is not.
pub const SLICE_BYTES: usize = 64 * 1024;
/// What a body that is made as it is sent keeps: a piece, and what compresses it.
pub const STREAM_BYTES: usize = 320 * 1024;
/// When to ask again while memory is short, seconds.
const RETRY_SECONDS: u32 = 2;

/// Bytes that are given to a connection slice by slice: a connection copies what it is given.
pub struct Slices {
    rest: Bytes,
    /// What they count as, where they are this response's own.
    _charge: Option<Charge>,
}

impl Slices {
    /// Of bytes that are counted elsewhere, or are part of the program.
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

/// Counts a large body that a handler made for one response, and has it sent slice by slice.
///
/// # Errors
/// If there is no room for it.
pub fn bounded(
    answer: HttpResponse,
    memory: &Arc<ResponseMemory>,
) -> Result<HttpResponse, Problem> {
    let BodySize::Sized(bytes) = answer.body().size() else { return Ok(answer) };
    if bytes <= SLICE_BYTES as u64 {
        return Ok(answer);
    }
    let (head, body) = answer.into_parts();
    Ok(match body.try_into_bytes() {
        Ok(bytes) => {
            let charge = memory.charge_or_make_room(bytes.len()).ok_or_else(|| no_room(memory))?;
            head.set_body(Slices::of_own(bytes, charge).boxed())
        }
        Err(body) => head.set_body(body),
    })
}

/// The refusal of a response for which there is no memory.
pub fn no_room(memory: &ResponseMemory) -> Problem {
    memory.note_refused();
    let detail = "Too many large answers are under way and not read; ask again";
    Problem::new(Code::ServiceUnavailable, detail)
        .retry_after(RETRY_SECONDS)
        .caused_by("http_response_bytes_max is reached")
}

/// A body, and something that lasts as long as it is being sent.
pub struct With<B, T> {
    body: B,
    _kept: T,
}

impl<B, T> With<B, T> {
    /// A body that keeps something.
    pub fn new(body: B, kept: T) -> Self {
        With { body, _kept: kept }
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

/// One request, from its arrival to the end of its response.
pub struct UnderWay(Option<Rc<Exchange>>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Some(exchange) = &self.0 {
            exchange.end(Instant::now());
        }
    }
}

/// Tells the connection of a request and of its response.
pub fn tracked<S, B>(
    request: ServiceRequest,
    inner: &S,
) -> impl Future<Output = Result<ServiceResponse<With<B, UnderWay>>, actix_web::Error>> + use<S, B>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = actix_web::Error>,
    B: MessageBody + Unpin,
{
    let exchange = request.conn_data::<Rc<Exchange>>().cloned();
    if let Some(exchange) = &exchange {
        exchange.begin(&request);
    }
    let under_way = UnderWay(exchange);
    inner.call(request).map_ok(move |answer| {
        answer.map_body(move |head, body| {
            if let Some(exchange) = &under_way.0 {
                let kind = head.headers().get(header::CONTENT_TYPE);
                exchange.respond(body.size(), kind.is_some_and(|kind| kind == EVENT_STREAM));
            }
            With::new(body, under_way)
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
    async fn slices_are_the_whole() {
        for len in [0, 1, SLICE_BYTES, 3 * SLICE_BYTES + 7] {
            let bytes: Bytes = (0..len).map(|n| n as u8).collect();
            let slices = Slices::of_shared(bytes.clone());
            assert_eq!(slices.size(), BodySize::Sized(len as u64));
            assert_eq!(body::to_bytes(slices).await.unwrap(), bytes);
        }
    }

    #[tokio::test]
    async fn large_bodies_count_while_they_are_sent() {
        let config = Config { http_response_bytes_max: 100_000, ..Config::default() };
        let memory = Arc::new(ResponseMemory::new(&config, &Metrics::new("test")));
        let answer = |len: usize| HttpResponse::Ok().body("x".repeat(len));
        let small = bounded(answer(SLICE_BYTES), &memory).unwrap();
        assert_eq!(memory.bytes(), 0);
        let large = bounded(answer(90_000), &memory).unwrap();
        assert_eq!(memory.bytes(), 90_000);
        assert!(bounded(answer(90_000), &memory).is_err());
        assert_eq!(body::to_bytes(large.into_body()).await.unwrap().len(), 90_000);
        assert_eq!((memory.bytes(), small.body().size()), (0, BodySize::Sized(65_536)));
    }
}
