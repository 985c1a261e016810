//! `/api/v1/events/{event_id}/waiting-room`: joining, asking, leaving; switched by admins.

mod request;
pub mod view;

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::http::header::{ACCEPT, HeaderMap, HeaderName};
use actix_web::web::Payload;

use crate::domain::admission_token::AdmissionToken;
use crate::domain::{EventId, RoomSettings, RouteClass};
use crate::sale::waiting_room::{RoomEdit, Standing};

use super::admin_audit::{self, Act};
use super::endpoint::Answer;
use super::openapi::{
    AdmissionProblems, DrawBody, DrawProblems, EnableRoomBody, JoinProblems, RoomChangeProblems,
    RoomProblems,
};
use super::state::RequestContext;
use crate::gates;
use crate::http::body::{Object, read_optional_object};
use crate::http::params::{Query, event_id};
use crate::http::problem::{Code, Problem};
use crate::http::reply::json;
use view::{ChangedBody, JoinedBody, LeftBody, StandingBody, StatsBody};

/// The header in which a token is sent.
const TOKEN_HEADER: &str = "X-Waiting-Room-Token";
/// The same, as maps have it.
const TOKEN_NAME: HeaderName = HeaderName::from_static("x-waiting-room-token");

/// The token that a request has in its header, if it has one.
pub fn token_of(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut values = headers.get_all(TOKEN_NAME);
    let Some(first) = values.next() else { return Ok(None) };
    if values.any(|other| other != first) {
        return Err(Problem::parameter(TOKEN_HEADER, "stands there twice; send it once"));
    }
    let text = first.to_str();
    text.map(Some)
        .map_err(|_| Problem::parameter(TOKEN_HEADER, "must be the token as joining gave it"))
}

/// Switch a waiting room on
///
/// From then on, who has no session is refused at booking. What is absent stays as it was set
/// before; parameters may stand in the query or in the body. Again changes what is given.
#[utoipa::path(
    post, path = "/api/v1/events/{event_id}/waiting-room/enable", tag = "waiting room",
    params(
        ("event_id" = u32, Path, description = "The event"),
        ("max_concurrent" = Option<u32>, Query, description = "Sessions and open places at a time"),
        ("session_duration" = Option<u32>, Query, description = "How long a session lasts, seconds"),
        ("session_cap" = Option<u32>, Query, description = "How long one lasts with renewals, seconds"),
        ("claim_window" = Option<u32>, Query, description = "How long a served place may be claimed, seconds"),
        ("per_minute" = Option<u32>, Query, description = "Places opened a minute at most; 0: as many as fit"),
        ("method" = Option<String>, Query, description = "`fifo`, `passthrough` or `reject`"),
        ("renew" = Option<bool>, Query, description = "Whether asking where one stands renews a session"),
        ("shuffle" = Option<bool>, Query, description = "Whether the order of those who came before the sale is drawn"),
        ("automatic" = Option<bool>, Query, description = "Whether the room switches itself on and off"),
        ("surge_per_second" = Option<u32>, Query, description = "Requests a second at which it switches itself on"),
        ("calm_per_second" = Option<u32>, Query, description = "Requests a second below which it switches itself off"),
        ("X-Admin-Key" = Option<String>, Header, description = "An admin key, where any is configured"),
    ),
    request_body = Option<EnableRoomBody>,
    responses((status = 200, description = "It is on", body = ChangedBody), RoomChangeProblems),
)]
pub async fn enable(context: RequestContext, payload: Payload) -> Answer {
    let admin = context.gates().pass_admin(&context.head).await?;
    let event = event_id(&context.http)?;
    let body = read_optional_object(&context.http, payload, context.state.body_limits()).await?;
    let wishes = request::wishes(&Query::of(&context.http)?, body.as_ref())?;
    let act = Act {
        act: "waiting_room_enable",
        target: format!("event {event}"),
        detail: wishes.to_string(),
    };
    let change = wishes.change();
    let enabled = async {
        let settings = switched(&context, &admin, event, "on", |room| change.apply(room)).await?;
        json(StatusCode::OK, &ChangedBody::on(&settings))
    };
    admin_audit::recorded(&context, &admin, act, Box::pin(enabled)).await
}

/// Switch a waiting room off
///
/// Everybody may book again. Places are kept for as long as tokens are valid, should it be switched
/// on again.
#[utoipa::path(
    post, path = "/api/v1/events/{event_id}/waiting-room/disable", tag = "waiting room",
    params(
        ("event_id" = u32, Path, description = "The event"),
        ("X-Admin-Key" = Option<String>, Header, description = "An admin key, where any is configured"),
    ),
    responses((status = 200, description = "It is off", body = ChangedBody), RoomChangeProblems),
)]
pub async fn disable(context: RequestContext, _: Payload) -> Answer {
    let admin = context.gates().pass_admin(&context.head).await?;
    let event = event_id(&context.http)?;
    let target = format!("event {event}");
    let act = Act { act: "waiting_room_disable", target, detail: String::new() };
    let disabled = async {
        let settings = switched(&context, &admin, event, "off", RoomSettings::switch_off).await?;
        json(StatusCode::OK, &ChangedBody::off(&settings))
    };
    admin_audit::recorded(&context, &admin, act, Box::pin(disabled)).await
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
    room.look_after_change(event).await;
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
/// Gives a place in line, once while it lives: the same request again tells where its owner stands
/// by now. Who left, or let their turn pass, gets a new place at the end.
#[utoipa::path(
    post, path = "/api/v1/events/{event_id}/waiting-room/join", tag = "waiting room",
    params(
        ("event_id" = u32, Path, description = "The event"),
        ("X-User-Id" = Option<String>, Header, description = "Who asks; or `?user_id=`; with tokens: `Authorization: Bearer`"),
    ),
    responses((status = 200, description = "A place", body = JoinedBody), JoinProblems),
)]
pub async fn join(context: RequestContext, _: Payload) -> Answer {
    let caller = context.gates().pass_user(&context.head, RouteClass::WaitingRoomJoin).await?;
    let event = event_id(&context.http)?;
    let user = gates::user_of(caller)?;
    let ticket = context.state.sale.waiting_room().join(event, user).await?;
    json(StatusCode::OK, &JoinedBody::new(ticket))
}

/// Ask where one stands
///
/// By the token alone, in `?token=` or in `X-Waiting-Room-Token`. Answered from memory until the
/// place is served; then this begins the session. Ask again after `refresh_after_seconds`. With
/// `Accept: application/json` the answer also has `cfWaitingRoom`.
#[utoipa::path(
    get, path = "/api/v1/events/{event_id}/waiting-room/status", tag = "waiting room",
    params(
        ("event_id" = u32, Path, description = "The event"),
        ("token" = Option<String>, Query, description = "The token that joining gave"),
        ("X-Waiting-Room-Token" = Option<String>, Header, description = "The same"),
    ),
    responses((status = 200, description = "Where its owner stands", body = StandingBody), AdmissionProblems),
)]
pub async fn status(context: RequestContext, _: Payload) -> Answer {
    let token = sent_token(&context, None);
    context.gates().pass_owner(&context.head, RouteClass::WaitingRoom, token.as_ref().ok()).await?;
    let token = token?;
    let standing = context.state.sale.waiting_room().standing(&token).await?;
    json(StatusCode::OK, &StandingBody::new(standing, wants_json(&context.http)))
}

/// Leave a waiting room
///
/// Gives the place, or the session it became, up. The token is worth nothing from then on.
#[utoipa::path(
    post, path = "/api/v1/events/{event_id}/waiting-room/leave", tag = "waiting room",
    params(
        ("event_id" = u32, Path, description = "The event"),
        ("token" = Option<String>, Query, description = "The token that joining gave; or `token` in the body"),
        ("X-Waiting-Room-Token" = Option<String>, Header, description = "The same"),
    ),
    responses((status = 200, description = "Left", body = LeftBody), AdmissionProblems),
)]
pub async fn leave(context: RequestContext, payload: Payload) -> Answer {
    let token = sent_token(&context, None).ok();
    context.gates().pass_owner(&context.head, RouteClass::WaitingRoom, token.as_ref()).await?;
    let body = read_optional_object(&context.http, payload, context.state.body_limits()).await?;
    let token = sent_token(&context, body.as_ref())?;
    context.state.sale.waiting_room().leave(&token).await?;
    json(StatusCode::OK, &LeftBody::new())
}

/// How a waiting room stands
#[utoipa::path(
    get, path = "/api/v1/events/{event_id}/waiting-room/stats", tag = "waiting room",
    params(("event_id" = u32, Path, description = "The event")),
    responses((status = 200, description = "Its figures", body = StatsBody), RoomProblems),
)]
pub async fn stats(context: RequestContext, _: Payload) -> Answer {
    context.gates().pass(&context.head, RouteClass::Events).await?;
    let event = event_id(&context.http)?;
    let state = context.state.sale.waiting_room().state(event).await?;
    json(StatusCode::OK, &StatsBody::new(event, &state))
}

/// The draw of a pre-queue
///
/// Its commitment from the beginning; what anybody needs to check every position once it is
/// fixed: `holdfastctl draw verify` does.
#[utoipa::path(
    get, path = "/api/v1/events/{event_id}/waiting-room/draw", tag = "waiting room",
    params(("event_id" = u32, Path, description = "The event")),
    responses((status = 200, description = "The draw", body = DrawBody), DrawProblems),
)]
pub async fn draw(context: RequestContext, _: Payload) -> Answer {
    context.gates().pass(&context.head, RouteClass::Events).await?;
    let event = event_id(&context.http)?;
    match context.state.sale.waiting_room().draw(event).await? {
        Some(draw) => json(StatusCode::OK, &draw),
        None => {
            let detail = format!("Event {event} has no draw: its waiting room goes by time");
            Err(Problem::new(Code::DrawUnknown, detail))
        }
    }
}

/// The token of a request about its owner's place, verified.
fn sent_token(context: &RequestContext, body: Option<&Object>) -> Result<AdmissionToken, Problem> {
    let event = event_id(&context.http)?;
    let query = Query::of(&context.http)?;
    let in_body = body.and_then(|body| body.get("token")).and_then(|token| token.as_str());
    let sent = [token_of(context.http.headers())?, query.get("token")?, in_body];
    let Some(text) = sent.into_iter().flatten().next() else {
        let detail =
            "is missing: send the token that joining gave, here or as X-Waiting-Room-Token";
        return Err(Problem::parameter("token", detail));
    };
    Ok(context.state.sale.waiting_room().verify(event, text)?)
}

/// The token of a stream's request, if it shows one that is valid: who asks, before any gate.
pub fn shown_token(context: &RequestContext) -> Option<AdmissionToken> {
    let event = event_id(&context.http).ok()?;
    let query = Query::of(&context.http).ok()?;
    let in_query = query.get("waiting_room_token").ok()?;
    let text = in_query.or_else(|| token_of(context.http.headers()).ok()?)?;
    context.state.sale.waiting_room().verify(event, text).ok()
}

/// Whether the client says that it reads JSON, as those do that know `cfWaitingRoom`.
fn wants_json(request: &HttpRequest) -> bool {
    let mut accepts = request.headers().get_all(ACCEPT).filter_map(|value| value.to_str().ok());
    accepts.any(|value| value.contains("application/json"))
}

/// Whether somebody is let in by this.
pub fn is_admitted(standing: &Standing) -> bool {
    matches!(standing, Standing::Admitted { .. } | Standing::Open)
}
