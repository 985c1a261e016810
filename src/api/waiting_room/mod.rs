//! `/api/v1/events/{event_id}/waiting-room`: join, status and leave for users; enable and disable for
//! admins.

mod request;
pub mod view;

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::http::header::{ACCEPT, HeaderMap, HeaderName};
use actix_web::web::Payload;

use crate::domain::admission_token::AdmissionToken;
use crate::domain::{EventId, RoomSettings, RouteClass};
use crate::sale::waiting_room::{QueueStatus, RoomEdit};

use super::admin_audit::{self, AdminAction};
use super::openapi::{
    AdmissionProblems, DrawProblems, JoinProblems, LeaveProblems, RoomChangeProblems, RoomProblems,
};
use super::state::RequestContext;
use crate::gates;
use crate::http::HandlerResult;
use crate::http::body::read_optional_object;
use crate::http::params::{Query, event_id};
use crate::http::problem::{Code, Problem};
use crate::http::reply::json;
use crate::http::words;
use request::{EnableRoomBody, TokenBody};
use view::{ChangedBody, DrawBody, JoinedBody, LeftBody, QueueStatusBody, StatsBody};

/// The header with an admission token, as messages name it.
const TOKEN_HEADER: &str = "X-Waiting-Room-Token";
/// The same header, as header maps name it.
const TOKEN_NAME: HeaderName = HeaderName::from_static("x-waiting-room-token");

/// The admission token in a request's header, if it has one.
pub fn token_of(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut values = headers.get_all(TOKEN_NAME);
    let Some(first) = values.next() else { return Ok(None) };
    if values.any(|other| other != first) {
        return Err(Problem::parameter(TOKEN_HEADER, "is present twice; send it once"));
    }
    let text = first.to_str();
    text.map(Some)
        .map_err(|_| Problem::parameter(TOKEN_HEADER, "must be the token as joining returned it"))
}

/// Switch a waiting room on
///
/// From then on, holds without a session are refused. Absent settings stay as they are; settings may be
/// in the query or in the body. A repeated request changes the settings that it has.
#[utoipa::path(
    post, operation_id = "enable_waiting_room", path = "/api/v1/events/{event_id}/waiting-room/enable", tag = "waiting room",
    params(
        ("event_id" = u32, Path, description = "The event", minimum = 1, example = 1),
        ("max_concurrent" = Option<u32>, Query, minimum = 1, maximum = 1_000_000, description = "Sessions and open places at a time"),
        ("session_duration" = Option<u32>, Query, minimum = 1, maximum = 86_400, description = "How long a session lasts, seconds"),
        ("session_cap" = Option<u32>, Query, minimum = 1, maximum = 86_400, description = "How long one lasts with renewals, seconds"),
        ("claim_window" = Option<u32>, Query, minimum = 1, maximum = 3_600, description = "How long a served place may be claimed, seconds"),
        ("per_minute" = Option<u32>, Query, minimum = 0, maximum = 2_147_483_647, description = "Places opened a minute at most; 0: as many as fit"),
        ("method" = Option<words::QueueMethod>, Query, description = "How it admits"),
        ("renew" = Option<bool>, Query, description = "Whether a status request renews the session"),
        ("shuffle" = Option<bool>, Query, description = "Whether the order of those who join before the sale is drawn"),
        ("automatic" = Option<bool>, Query, description = "Whether the room switches itself on and off"),
        ("surge_per_second" = Option<u32>, Query, minimum = 1, maximum = 2_147_483_647, description = "Requests a second at which it switches itself on"),
        ("calm_per_second" = Option<u32>, Query, minimum = 0, maximum = 2_147_483_647, description = "Requests a second below which it switches itself off"),
    ),
    request_body(content = Option<EnableRoomBody>, example = json!({ "max_concurrent": 100, "session_duration": 300 })),
    responses((status = 200, description = "It is on", body = ChangedBody), RoomChangeProblems),
)]
pub async fn enable(context: RequestContext, payload: Payload) -> HandlerResult {
    let admin = context.gates().pass_admin(&context.head).await?;
    let event = event_id(&context.http)?;
    let body = read_optional_object(&context.http, payload, context.state.body_limits()).await?;
    let (change, detail) = request::change(&Query::of(&context.http)?, body)?;
    let action =
        AdminAction { verb: "waiting_room_enable", target: format!("event {event}"), detail };
    let enabled = async {
        let settings = switched(&context, &admin, event, "on", |room| change.apply(room)).await?;
        json(StatusCode::OK, &ChangedBody::on(&settings))
    };
    admin_audit::recorded(&context, &admin, action, Box::pin(enabled)).await
}

/// Switch a waiting room off
///
/// Holds need no session any more. Places are kept while tokens are valid, in case it is switched on
/// again.
#[utoipa::path(
    post, operation_id = "disable_waiting_room", path = "/api/v1/events/{event_id}/waiting-room/disable", tag = "waiting room",
    params(
        ("event_id" = u32, Path, description = "The event", minimum = 1, example = 1),
    ),
    responses((status = 200, description = "It is off", body = ChangedBody), RoomChangeProblems),
)]
pub async fn disable(context: RequestContext, _: Payload) -> HandlerResult {
    let admin = context.gates().pass_admin(&context.head).await?;
    let event = event_id(&context.http)?;
    let target = format!("event {event}");
    let action = AdminAction { verb: "waiting_room_disable", target, detail: String::new() };
    let disabled = async {
        let settings = switched(&context, &admin, event, "off", RoomSettings::switch_off).await?;
        json(StatusCode::OK, &ChangedBody::off(&settings))
    };
    admin_audit::recorded(&context, &admin, action, Box::pin(disabled)).await
}

async fn switched(
    context: &RequestContext,
    admin: &str,
    event: EventId,
    to: &'static str,
    edit: impl RoomEdit,
) -> Result<RoomSettings, Problem> {
    let room = context.state.sale.waiting_room();
    let stored = room.store().change(event, admin, edit).await?;
    room.refresh_after_change(event).await;
    tracing::info!(
        event_id = event.0,
        admin,
        duration_ms = context.elapsed_ms(),
        "waiting room {to}"
    );
    Ok(stored.settings)
}

/// Join a waiting room
///
/// Gives a place in line, one per user: the same request again returns its current position. A user who
/// left, or missed their turn, gets a new place at the end.
#[utoipa::path(
    post, operation_id = "join_waiting_room", path = "/api/v1/events/{event_id}/waiting-room/join", tag = "waiting room",
    params(
        ("event_id" = u32, Path, description = "The event", minimum = 1, example = 1),
        ("X-User-Id" = Option<String>, Header, description = "The user, where a trusted source names it; or `?user_id=`", example = "ann"),
    ),
    responses((status = 200, description = "A place", body = JoinedBody), JoinProblems),
)]
pub async fn join(context: RequestContext, _: Payload) -> HandlerResult {
    let caller = context.gates().pass_user(&context.head, RouteClass::WaitingRoomJoin).await?;
    let event = event_id(&context.http)?;
    let user = gates::user_of(caller)?;
    let ticket = context.state.sale.waiting_room().join(event, user).await?;
    json(StatusCode::OK, &JoinedBody::new(ticket))
}

/// Position in the waiting room
///
/// Needs only the token, in `?token=` or in `X-Waiting-Room-Token`. Answered from memory until the
/// place is served; then this begins the session. Repeat it after `refresh_after_seconds`. With
/// `Accept: application/json` the response also has `cfWaitingRoom`.
#[utoipa::path(
    get, operation_id = "get_queue_status", path = "/api/v1/events/{event_id}/waiting-room/status", tag = "waiting room",
    params(
        ("event_id" = u32, Path, description = "The event", minimum = 1, example = 1),
        ("token" = Option<String>, Query, description = "The token that joining returned"),
        ("X-Waiting-Room-Token" = Option<String>, Header, description = "The same"),
    ),
    responses((status = 200, description = "The position", body = QueueStatusBody), AdmissionProblems),
)]
pub async fn status(context: RequestContext, _: Payload) -> HandlerResult {
    let token = sent_token(&context, None);
    context.gates().pass_owner(&context.head, RouteClass::WaitingRoom, token.as_ref().ok()).await?;
    let token = token?;
    let queue_status = context.state.sale.waiting_room().queue_status(&token).await?;
    json(StatusCode::OK, &QueueStatusBody::new(queue_status, wants_json(&context.http)))
}

/// Leave a waiting room
///
/// Gives up the place or the session. The token is invalid from then on.
#[utoipa::path(
    post, operation_id = "leave_waiting_room", path = "/api/v1/events/{event_id}/waiting-room/leave", tag = "waiting room",
    params(
        ("event_id" = u32, Path, description = "The event", minimum = 1, example = 1),
        ("token" = Option<String>, Query, description = "The token that joining returned; or `token` in the body"),
        ("X-Waiting-Room-Token" = Option<String>, Header, description = "The same"),
    ),
    responses((status = 200, description = "Left", body = LeftBody), LeaveProblems),
)]
pub async fn leave(context: RequestContext, payload: Payload) -> HandlerResult {
    let token = sent_token(&context, None).ok();
    context.gates().pass_owner(&context.head, RouteClass::WaitingRoom, token.as_ref()).await?;
    let body = read_optional_object(&context.http, payload, context.state.body_limits()).await?;
    let token = sent_token(&context, body.as_ref())?;
    context.state.sale.waiting_room().leave(&token).await?;
    json(StatusCode::OK, &LeftBody::new())
}

/// Figures of a waiting room
///
/// A second old at most.
#[utoipa::path(
    get, operation_id = "get_waiting_room", path = "/api/v1/events/{event_id}/waiting-room/stats", tag = "waiting room",
    params(("event_id" = u32, Path, description = "The event", minimum = 1, example = 1)),
    responses((status = 200, description = "Its figures", body = StatsBody), RoomProblems),
)]
pub async fn stats(context: RequestContext, _: Payload) -> HandlerResult {
    context.gates().pass(&context.head, RouteClass::Events).await?;
    let event = event_id(&context.http)?;
    let state = context.state.sale.waiting_room().state(event).await?;
    json(StatusCode::OK, &StatsBody::new(event, &state))
}

/// The draw of a pre-queue
///
/// Its commitment from the beginning; and, once it is fixed, everything that is needed to verify each
/// position with `holdfastctl draw verify`.
#[utoipa::path(
    get, operation_id = "get_draw", path = "/api/v1/events/{event_id}/waiting-room/draw", tag = "waiting room",
    params(("event_id" = u32, Path, description = "The event", minimum = 1, example = 1)),
    responses((status = 200, description = "The draw", body = DrawBody), DrawProblems),
)]
pub async fn draw(context: RequestContext, _: Payload) -> HandlerResult {
    context.gates().pass(&context.head, RouteClass::Events).await?;
    let event = event_id(&context.http)?;
    match context.state.sale.waiting_room().draw(event).await? {
        Some(draw) => json(StatusCode::OK, &DrawBody::from(draw)),
        None => {
            let detail =
                format!("Event {event} has no draw: its waiting room serves in order of arrival");
            Err(Problem::new(Code::DrawUnknown, detail))
        }
    }
}

/// The verified token of a request about a place.
fn sent_token(
    context: &RequestContext,
    body: Option<&TokenBody>,
) -> Result<AdmissionToken, Problem> {
    let event = event_id(&context.http)?;
    let query = Query::of(&context.http)?;
    let in_body = body.and_then(TokenBody::token);
    let sent = [token_of(context.http.headers())?, query.get("token")?, in_body];
    let Some(text) = sent.into_iter().flatten().next() else {
        let detail =
            "is missing: send the token that joining returned, here or as X-Waiting-Room-Token";
        return Err(Problem::parameter("token", detail));
    };
    Ok(context.state.sale.waiting_room().verify(event, text)?)
}

/// The valid token of an event stream's request, if it has one: it identifies the caller before the gates.
pub fn stream_token(context: &RequestContext) -> Option<AdmissionToken> {
    let event = event_id(&context.http).ok()?;
    let query = Query::of(&context.http).ok()?;
    let in_query = query.get("waiting_room_token").ok()?;
    let text = in_query.or_else(|| token_of(context.http.headers()).ok()?)?;
    context.state.sale.waiting_room().verify(event, text).ok()
}

/// Whether the client accepts JSON explicitly, as clients of `cfWaitingRoom` do.
fn wants_json(request: &HttpRequest) -> bool {
    let mut accepts = request.headers().get_all(ACCEPT).filter_map(|value| value.to_str().ok());
    accepts.any(|value| value.contains("application/json"))
}

/// Whether this queue_status lets its owner book.
pub fn is_admitted(queue_status: &QueueStatus) -> bool {
    matches!(queue_status, QueueStatus::Admitted { .. } | QueueStatus::Open)
}
