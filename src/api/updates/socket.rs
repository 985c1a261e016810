//! `/ws/events/{event_id}`: opens a WebSocket.

use actix_http::ws;
use actix_web::http::header::{self, HeaderValue};
use actix_web::web::Payload;
use actix_web::{HttpResponse, HttpResponseBuilder};

use crate::api::openapi::SocketProblems;
use crate::api::state::RequestContext;
use crate::domain::RouteClass;
use crate::http::HandlerResult;
use crate::http::params::{Query, event_id};
use crate::http::problem::{Code, Problem};
use crate::http::upgrade::Successor;
use crate::http::{connections, cors, origin};
use crate::push::ws::WsRequest;
use crate::push::{self, ClientMessage, Message, Protocol, StartOptions};

use super::{limited_network, room, ticket};

/// The only version of the protocol (RFC 6455).
const VERSION: &str = "13";

/// Open a WebSocket
///
/// Text messages of one JSON object each, in both directions. The server sends `connected` first, then
/// `snapshot` and, as seats change, `seat_update`s; with `since` it continues from there, or sends a `gap`
/// before the snapshot. An identified user receives `booking_expired`. After `register_waiting_room` with the
/// token that joining returned, the server sends `registration_confirmed` and then the position, `admitted`,
/// or why there will be no admission. It pings; a client that does not answer, sends more than 10 frames a
/// second, or more than 4 KiB in one, is closed with a reason.
#[utoipa::path(
    get, operation_id = "open_socket", path = "/ws/events/{event_id}", tag = "events",
    params(
        ("event_id" = u32, Path, description = "The event", minimum = 1, example = 1),
        ("since" = Option<String>, Query, pattern = "^[0-9]+-[0-9]+$", description = "The version received before, `generation-version`"),
        ("snapshot" = Option<String>, Query, description = "`none`: the client fetches the seat map by itself"),
        ("ticket" = Option<String>, Query, description = "A socket ticket: its user opens the socket"),
    ),
    responses(
        (status = 101, description = "The socket. Messages of the server are `PushMessage`s, those of the client `PushCommand`s", content(
            (Message = "application/json"),
            (ClientMessage = "text/plain"),
        )),
        SocketProblems,
    ),
)]
pub async fn open(context: RequestContext, _: Payload) -> HandlerResult {
    let shown = ticket::sent(&context);
    let owner = ticket::owner(&shown);
    let caller = context.gates().pass_proven(&context.head, RouteClass::Push, owner).await?;
    let ticket = shown?;
    check_origin(&context)?;
    let event = event_id(&context.http)?;
    let start = StartOptions::parse(&context.head, &Query::of(&context.http)?)?;
    let mut response = handshake(&context)?;
    context.state.sale.known_event(event).await?;
    let push = context.state.push.clone();
    let socket = push.open(limited_network(&caller), Protocol::WebSocket)?;
    // Last, so that no refusal uses it up.
    ticket::redeem(&context, ticket.as_ref(), caller.user.as_ref()).await?;
    let state = context.state.clone();
    let request = WsRequest {
        event,
        start,
        socket,
        user: caller.user,
        register_room: Box::new(move |user, token| room::messages(&state, event, user, token)),
        connection: connections::of(&context.http),
    };
    let successor = Successor::new(move |stream, read| push::ws::run(push, request, stream, read));
    let mut response = response.finish();
    successor.attach_to(&mut response);
    Ok(response)
}

/// Refuses pages of other sites, unless `cors_origins` names them. Browsers let any page open a WebSocket
/// to any server and only send the page's origin, so the server has to check it.
fn check_origin(context: &RequestContext) -> Result<(), Problem> {
    let headers = context.http.headers();
    let Some(page) = headers.get(header::ORIGIN) else { return Ok(()) };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let is_allowed = |page: &str| {
        host.is_some_and(|host| origin::is_same(page, host))
            || cors::allows_origin(&context.state.config.load(), page)
    };
    // An origin that is not text matches no setting.
    if page.to_str().is_ok_and(is_allowed) {
        return Ok(());
    }
    context.state.push.sockets.count_refused("origin");
    let detail =
        "Pages of this site may not connect; the setting cors_origins names those that may";
    Err(Problem::new(Code::OriginForbidden, detail))
}

/// The response that switches the connection to the WebSocket protocol.
fn handshake(context: &RequestContext) -> Result<HttpResponseBuilder, Problem> {
    let head = context.http.head();
    if let Err(error) = ws::verify_handshake(head) {
        let detail = format!("{error}: open a WebSocket of version {VERSION} at this address");
        let problem = Problem::new(Code::UpgradeRequired, detail);
        return Err(problem
            .with_header(header::UPGRADE, HeaderValue::from_static("websocket"))
            .with_header(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static(VERSION)));
    }
    // `verify_handshake` has checked that the key is present.
    let key = head.headers().get(header::SEC_WEBSOCKET_KEY);
    let accept = ws::hash_key(key.map(HeaderValue::as_bytes).unwrap_or_default());
    let mut response = HttpResponse::SwitchingProtocols();
    response.upgrade("websocket");
    response.insert_header((header::SEC_WEBSOCKET_ACCEPT, &accept[..]));
    Ok(response)
}
