//! `/api/v1/events/{event_id}/stream`: opens a stream of server-sent events.

use actix_web::HttpResponse;
use actix_web::http::{Method, header};
use actix_web::web::Payload;

use crate::api::openapi::StreamProblems;
use crate::api::state::RequestContext;
use crate::api::waiting_room;
use crate::domain::RouteClass;
use crate::http::HandlerResult;
use crate::http::outgoing::EVENT_STREAM;
use crate::http::params::{Query, event_id};
use crate::push::sse::event_stream;
use crate::push::{Message, Protocol, StartOptions};

use super::{limited_network, room, ticket};

/// Follow an event
///
/// Server-sent events: `connected`, then `snapshot` and, as seats change, `seat_update`s; for an identified
/// user `booking_expired`; with the waiting room's token `registration_confirmed` and the room's messages. Each
/// has its type as `event` and, in `data`, the same JSON object as over a WebSocket. With `Last-Event-ID` (browsers
/// send it by themselves) or `since` the stream continues from there, or sends a `gap` before the snapshot.
#[utoipa::path(
    get, operation_id = "stream_event", path = "/api/v1/events/{event_id}/stream", tag = "events",
    params(
        ("event_id" = u32, Path, description = "The event", minimum = 1, example = 1),
        ("since" = Option<String>, Query, pattern = "^[0-9]+-[0-9]+$", description = "The version received before, `generation-version`"),
        ("Last-Event-ID" = Option<String>, Header, description = "The same; it outranks `since`"),
        ("lastEventId" = Option<String>, Query, description = "The same, for clients that cannot set headers"),
        ("snapshot" = Option<String>, Query, description = "`none`: the client fetches the seat map by itself"),
        ("ticket" = Option<String>, Query, description = "A socket ticket: its user opens the stream"),
        ("waiting_room_token" = Option<String>, Query, description = "The token from joining the waiting room, where headers cannot be set"),
        ("X-Waiting-Room-Token" = Option<String>, Header, description = "The same"),
    ),
    responses(
        (status = 200, description = "The stream, which lasts", body = Message, content_type = "text/event-stream"),
        StreamProblems,
    ),
)]
pub async fn follow(context: RequestContext, _: Payload) -> HandlerResult {
    let shown = waiting_room::stream_token(&context);
    let ticket = ticket::sent(&context);
    let owner = ticket::owner(&ticket).or_else(|| shown.as_ref().map(|token| &token.user));
    let caller = context.gates().pass_proven(&context.head, RouteClass::Push, owner).await?;
    let ticket = ticket?;
    let event = event_id(&context.http)?;
    let query = Query::of(&context.http)?;
    let token = match query.get("waiting_room_token")? {
        Some(token) => Some(token),
        None => waiting_room::token_of(context.http.headers())?,
    };
    let start = StartOptions::parse(&context.head, &query)?;
    context.state.sale.known_event(event).await?;
    let user = caller.user.as_ref();
    let room = match token {
        Some(token) => Some(room::messages(&context.state, event, user, token)?),
        None => None,
    };
    let mut response = HttpResponse::Ok();
    response.content_type(EVENT_STREAM);
    // Keeps proxies from caching, transforming or buffering the stream.
    response.insert_header((header::CACHE_CONTROL, "no-store, no-transform"));
    response.insert_header(("X-Accel-Buffering", "no"));
    if context.http.method() == Method::HEAD {
        return Ok(response.finish());
    }
    let push = context.state.push.clone();
    let socket = push.open(limited_network(&caller), Protocol::EventStream)?;
    // Last, so that no refusal uses it up.
    ticket::redeem(&context, ticket.as_ref(), caller.user.as_ref()).await?;
    Ok(response.streaming(event_stream(push, event, user, room, start, socket)))
}
