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
use super::seats::Wishes;
use super::sockets::{End, Kind, Open};
use crate::api::endpoint::Answer;
use crate::api::openapi::StreamProblems;
use crate::api::state::RequestContext;
use crate::api::waiting_room;
use crate::domain::RouteClass;
use crate::http::params::{Query, event_id};
use crate::lifecycle::Shutdown;

/// Content type of an event stream.
pub const EVENT_STREAM: &str = "text/event-stream";
/// What is sent where nothing is to be told, so that a dead connection is noticed by both.
const HEARTBEAT: Bytes = Bytes::from_static(b": \n\n");
/// Bytes that are given to the dispatcher at once. What is larger it would copy into a buffer that it then
/// keeps as long as the stream lasts.
const PIECE_BYTES: usize = 4 * 1024;
/// When a client comes back after its stream ended, ms: spread, so that those who were cut off
/// together do not come together.
const RETRY_MS: std::ops::Range<u32> = 1_000..5_000;

/// Follow an event
///
/// Server-sent events: `connected`, then `snapshot` and, as seats change, `seat_update`s; to a user who is
/// known `booking_expired`; with the waiting room's token `registration_confirmed` and the room's notices. Each
/// has its type as `event` and, in `data`, the JSON object that a WebSocket is sent. With `Last-Event-ID` (browsers
/// send it by themselves) or `since` it goes on from there, or tells a `gap` before the snapshot.
#[utoipa::path(
    get, path = "/api/v1/events/{event_id}/stream", tag = "events",
    params(
        ("event_id" = u32, Path, description = "The event"),
        ("since" = Option<String>, Query, description = "What was told before, `generation-version`"),
        ("Last-Event-ID" = Option<String>, Header, description = "The same; it outranks `since`"),
        ("lastEventId" = Option<String>, Query, description = "The same, as clients send it that cannot set headers"),
        ("snapshot" = Option<String>, Query, description = "`none`: the client fetches the seat map by itself"),
        ("waiting_room_token" = Option<String>, Query, description = "What joining the waiting room gave, where headers cannot be set"),
        ("X-Waiting-Room-Token" = Option<String>, Header, description = "The same"),
    ),
    responses(
        (status = 200, description = "The stream, which lasts", body = Message, content_type = "text/event-stream"),
        StreamProblems,
    ),
)]
pub async fn follow(context: RequestContext, _: Payload) -> Answer {
    let shown = waiting_room::shown_token(&context);
    let caller =
        context.gates().pass_owner(&context.head, RouteClass::Push, shown.as_ref()).await?;
    let event = event_id(&context.http)?;
    let query = Query::of(&context.http)?;
    let token = match query.get("waiting_room_token")? {
        Some(token) => Some(token),
        None => waiting_room::token_of(context.http.headers())?,
    };
    let wishes = Wishes::of(&context, &query)?;
    context.state.sale.known_event(event).await?;
    let user = caller.user.as_ref();
    let room = match token {
        Some(token) => Some(room::news(&context.state, event, user, token)?),
        None => None,
    };
    let mut answer = HttpResponse::Ok();
    answer.content_type(EVENT_STREAM);
    // Gateways neither keep it nor wait for its end.
    answer.insert_header((header::CACHE_CONTROL, "no-store, no-transform"));
    answer.insert_header(("X-Accel-Buffering", "no"));
    if context.http.method() == Method::HEAD {
        return Ok(answer.finish());
    }
    let shutdown = context.state.shutdown.clone();
    let open = context.state.sockets.open(&caller, Kind::EventStream, shutdown.is_requested())?;
    let mut opening = format!("retry: {}\n\n", rand::random_range(RETRY_MS)).into_bytes();
    let mut seats = context.state.boards.follow(event, Kind::EventStream, wishes);
    opening.extend_from_slice(&open.rendered(&Message::connected(event, seats.mark())));
    let owner = room.as_ref().map(|(_, owner)| owner);
    let mut feed = Feed::new(&context.state, event, seats, user.or(owner));
    if let Some((news, _)) = room {
        opening.extend_from_slice(&open.rendered(&Message::registered(event)));
        feed.tell_of_room(news);
    }
    let interval = Duration::from_millis(context.state.config.socket_ping_interval_ms);
    let stream = Box::new(Stream { rest: opening.into(), feed, open, shutdown, interval });
    Ok(answer.streaming(stream::unfold(stream, Stream::step)))
}

/// One open stream.
struct Stream {
    /// What is to be sent before anything else.
    rest: Bytes,
    feed: Feed,
    open: Open,
    shutdown: Shutdown,
    interval: Duration,
}

impl Stream {
    /// What to send next.
    async fn step(mut self: Box<Self>) -> Option<(Result<Bytes, Infallible>, Box<Self>)> {
        if self.rest.is_empty() {
            self.rest = self.next().await?;
        } else {
            // The dispatcher sends what it has meanwhile, and keeps no large buffer.
            tokio::task::yield_now().await;
        }
        let bytes = self.rest.split_to(self.rest.len().min(PIECE_BYTES));
        Some((Ok(bytes), self))
    }

    async fn next(&mut self) -> Option<Bytes> {
        tokio::select! {
            () = self.shutdown.requested() => {
                self.open.ends(End::Ending);
                None
            }
            news = self.feed.next() => Some(self.open.told(news)),
            () = tokio::time::sleep(self.interval) => Some(HEARTBEAT),
        }
    }
}
