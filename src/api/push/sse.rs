//! `/api/v1/events/{event_id}/stream`: server-sent events.

use std::convert::Infallible;
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::{Method, header};
use actix_web::web::{Bytes, Payload};
use futures_util::stream;

use super::feed::Feed;
use super::message::Message;
use super::room;
use super::sockets::{End, Kind, Open};
use crate::api::endpoint::Answer;
use crate::api::gates;
use crate::api::openapi::StreamProblems;
use crate::api::params::{Query, event_id};
use crate::api::state::Call;
use crate::domain::RouteClass;
use crate::shutdown::Shutdown;

/// Content type of an event stream.
const EVENT_STREAM: &str = "text/event-stream";
/// What is sent where nothing is to be told, so that a dead connection is noticed by both.
const HEARTBEAT: Bytes = Bytes::from_static(b": \n\n");
/// When a client comes back after its stream ended, ms: spread, so that those who were cut off
/// together do not come together.
const RETRY_MS: std::ops::Range<u32> = 1_000..5_000;

/// Follow an event
///
/// Server-sent events: `connected`, then, with the waiting room's token, `registration_confirmed` and
/// the room's notices. Each has its type as `event` and, in `data`, the JSON object that a WebSocket is
/// sent. A stream begins with what holds now, so a client that comes back has missed nothing that
/// still matters; `Last-Event-ID` is accepted and not needed.
#[utoipa::path(
    get, path = "/api/v1/events/{event_id}/stream", tag = "events",
    params(
        ("event_id" = u32, Path, description = "The event"),
        ("waiting_room_token" = Option<String>, Query, description = "What joining the waiting room gave, where headers cannot be set"),
        ("X-Waiting-Room-Token" = Option<String>, Header, description = "The same"),
    ),
    responses(
        (status = 200, description = "The stream, which lasts", body = Message, content_type = "text/event-stream"),
        StreamProblems,
    ),
)]
pub async fn follow(call: Call, _: Payload) -> Answer {
    let caller = gates::pass(&call, RouteClass::Push).await?;
    let event = event_id(&call.request)?;
    let query = Query::of(&call.request)?;
    let token = query.get("waiting_room_token")?.or_else(|| call.header("x-waiting-room-token"));
    call.state.sale.known_event(event).await?;
    let mut feed = Feed::new(event);
    if let Some(token) = token {
        let notices = room::notices(&call.state, event, caller.user.as_ref(), token)?;
        feed.tell_of_room(token, notices);
    }
    let mut answer = HttpResponse::Ok();
    answer.content_type(EVENT_STREAM);
    // Gateways neither keep it nor wait for its end.
    answer.insert_header((header::CACHE_CONTROL, "no-store, no-transform"));
    answer.insert_header(("X-Accel-Buffering", "no"));
    if call.request.method() == Method::HEAD {
        return Ok(answer.finish());
    }
    let shutdown = call.state.shutdown.clone();
    let open = call.state.sockets.open(&caller, Kind::EventStream, shutdown.is_requested())?;
    let mut opening = format!("retry: {}\n\n", rand::random_range(RETRY_MS)).into_bytes();
    opening.extend_from_slice(&open.rendered(&Message::connected(event)));
    if token.is_some() {
        opening.extend_from_slice(&open.rendered(&Message::registered(event)));
    }
    let interval = Duration::from_millis(call.state.config.socket_ping_interval_ms);
    let stream = Box::new(Stream { opening: opening.into(), feed, open, shutdown, interval });
    Ok(answer.streaming(stream::unfold(stream, Stream::step)))
}

/// One open stream.
struct Stream {
    /// Sent first; empty from then on.
    opening: Bytes,
    feed: Feed,
    open: Open,
    shutdown: Shutdown,
    interval: Duration,
}

impl Stream {
    /// What to send next.
    async fn step(mut self: Box<Self>) -> Option<(Result<Bytes, Infallible>, Box<Self>)> {
        let bytes = self.next().await?;
        Some((Ok(bytes), self))
    }

    async fn next(&mut self) -> Option<Bytes> {
        if !self.opening.is_empty() {
            return Some(std::mem::take(&mut self.opening));
        }
        tokio::select! {
            () = self.shutdown.requested() => {
                self.open.ends(End::Ending);
                None
            }
            message = self.feed.next() => Some(self.open.rendered(&message)),
            () = tokio::time::sleep(self.interval) => Some(HEARTBEAT),
        }
    }
}
