//! `POST /api/v1/events/{event_id}/socket-ticket`: a ticket with which a browser opens one socket or stream,
//! which cannot send a token in a header.

use actix_web::http::StatusCode;
use actix_web::web::Payload;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::openapi::TicketProblems;
use crate::api::state::RequestContext;
use crate::domain::socket_ticket::{SocketTicket, TICKET_TTL_MS};
use crate::domain::time::iso8601;
use crate::domain::{RouteClass, UserId};
use crate::gates;
use crate::http::HandlerResult;
use crate::http::params::{Query, event_id};
use crate::http::problem::{Code, Problem};
use crate::http::reply::json;

/// The parameter of sockets and streams.
const PARAMETER: &str = "ticket";

/// A ticket for one socket.
#[derive(Serialize, ToSchema)]
pub struct TicketBody {
    /// Sent as `?ticket=` when the socket or stream is opened, once.
    #[schema(example = "t1.main.bm90IGEgdGlja2V0.c2lnbmF0dXJl")]
    ticket: String,
    /// When it expires.
    #[schema(format = DateTime, example = "2026-03-01T18:00:30.000Z")]
    expires_at: String,
    /// How long that is.
    #[schema(example = 30)]
    expires_in_seconds: i64,
}

/// Get a ticket for a socket
///
/// For browsers, whose sockets and event streams cannot send `Authorization`: a ticket opens one of this event,
/// within 30 seconds, as its user. A page that connects again gets another one first.
#[utoipa::path(
    post, operation_id = "create_socket_ticket", path = "/api/v1/events/{event_id}/socket-ticket", tag = "events",
    params(
        ("event_id" = u32, Path, description = "The event", minimum = 1, example = 1),
        ("X-User-Id" = Option<String>, Header, description = "The user, where a trusted source names it; or `?user_id=`", example = "ann"),
    ),
    responses((status = 201, description = "A ticket", body = TicketBody), TicketProblems),
)]
pub async fn issue(context: RequestContext, _: Payload) -> HandlerResult {
    let caller = context.gates().pass_user(&context.head, RouteClass::Push).await?;
    let event = event_id(&context.http)?;
    let user = gates::user_of(caller)?;
    let (ticket, expires_ms) = context.state.sale.issue_ticket(event, user).await?;
    let expires_in_seconds = TICKET_TTL_MS / 1_000;
    let body = TicketBody { ticket, expires_at: iso8601(expires_ms), expires_in_seconds };
    json(StatusCode::CREATED, &body)
}

/// The ticket of a request, if it has one: verified, not used.
pub fn sent(context: &RequestContext) -> Result<Option<SocketTicket>, Problem> {
    if !context.http.query_string().contains(PARAMETER) {
        return Ok(None);
    }
    let query = Query::of(&context.http)?;
    let Some(text) = query.get(PARAMETER)? else { return Ok(None) };
    let ticket = context.state.sale.verify_ticket(event_id(&context.http)?, text)?;
    Ok(Some(ticket))
}

/// Whom a valid ticket names.
pub fn owner(sent: &Result<Option<SocketTicket>, Problem>) -> Option<&UserId> {
    sent.as_ref().ok()?.as_ref().map(|ticket| &ticket.user)
}

/// Uses the ticket of a request, if it has one, for a caller who passed the gates.
///
/// # Errors
/// If it was used before, or if the request proves another user beside it.
pub async fn redeem(
    context: &RequestContext,
    ticket: Option<&SocketTicket>,
    user: Option<&UserId>,
) -> Result<(), Problem> {
    let Some(ticket) = ticket else { return Ok(()) };
    if user.is_some_and(|user| *user != ticket.user) {
        let detail = "The request names another user than its ticket; leave that out";
        return Err(Problem::new(Code::IdentityConflict, detail));
    }
    Ok(context.state.sale.use_ticket(ticket).await?)
}
