//! `POST /api/v1/bookings`: screen, parse, pre-check, count, hold, respond.

use actix_web::http::StatusCode;
use actix_web::web::{Bytes, Payload};
use serde_json::{Value, json};

use super::request::HoldBody;
use super::view::BookingBody;
use super::{log_change, request, respond, with_durability};
use crate::api::openapi::HoldProblems;
use crate::api::state::RequestContext;
use crate::api::{admin_audit, waiting_room};
use crate::domain::activity::Refusal;
use crate::domain::limits::{ADMIN_SEATS_PER_BOOKING_MAX, SEATS_PER_BOOKING_MAX};
use crate::domain::{ALTERNATIVES_MAX, EventId, RouteClass, SeatId};
use crate::gates::{Admitted, Screened};
use crate::http::HandlerResult;
use crate::http::body::read_json;
use crate::http::params::Query;
use crate::http::problem::{Code, Problem};
use crate::sale::{HoldPlan, HoldRequest, Precheck, SaleError};

/// The parameter and the member of a refusal that list free seats near the requested ones.
const ALTERNATIVES: &str = "alternatives";

/// Hold seats
///
/// Takes all the seats or none: those in `seat_ids`, or the best `quantity` free ones of a `section`
/// or of any. The hold expires at `hold_expires_at`. The same request sent again (with the same
/// `Idempotency-Key`, or without one for the same seats) returns the same booking while it lives,
/// with `Idempotent-Replayed: true`. With `alternatives`, a refusal for taken seats lists groups of
/// as many free seats near them in `alternatives`.
#[utoipa::path(
    post, operation_id = "hold_seats", path = "/api/v1/bookings", tag = "bookings",
    params(
        ("alternatives" = Option<u32>, Query, minimum = 0, maximum = 20, description = "How many groups of free seats a refusal lists, 0 to 20; 0 if absent"),
        ("X-User-Id" = Option<String>, Header, description = "The user, where a trusted source names it; or `?user_id=`", example = "ann"),
        ("Idempotency-Key" = Option<String>, Header, description = "An idempotency key", min_length = 1, max_length = 255),
        ("X-Waiting-Room-Token" = Option<String>, Header, description = "The admission token, if the event's waiting room is on"),
    ),
    request_body(content = HoldBody, example = json!({ "event_id": 1, "seat_ids": [17, 18] })),
    responses((status = 201, description = "The seats are held", body = BookingBody<'static>,
        headers(("Idempotent-Replayed" = bool, description = "`true`: the booking existed already")),
    ), HoldProblems),
)]
pub async fn hold(context: RequestContext, payload: Payload) -> HandlerResult {
    // The gates without I/O. An error on the way to `admit` drops `screened`, which counts the request
    // as refused.
    let screened = context.gates().screen(&context.head, RouteClass::Hold);
    let mut screened = screened.map_err(|problem| limited(&context, None, problem))?;
    let body = read_json(&context.http, payload, context.state.body_limits()).await?;
    let (precheck, alternatives) = parse_and_precheck(&context, &mut screened, body)?;
    // Boxed: the rest is large, and most requests of a large sale are refused above.
    Box::pin(admit_and_hold(&context, screened, precheck, alternatives)).await
}

/// Parses a request and checks it without I/O, against the live view too. Returns it with the number
/// of alternatives that a refusal lists.
fn parse_and_precheck(
    context: &RequestContext,
    screened: &mut Screened<'_>,
    body: Option<Bytes>,
) -> Result<(Precheck, u32), Problem> {
    // Neither the waiting room nor the users' limits apply to an admin.
    let exempt = screened.caller().admin.is_some();
    let seats_max = if exempt { ADMIN_SEATS_PER_BOOKING_MAX } else { SEATS_PER_BOOKING_MAX };
    let (event, seats, key) = request::hold(context.http.headers(), body, seats_max)?;
    let alternatives = alternatives_count(context)?;
    screened.set_event(event);
    let room_number = match exempt {
        true => 0,
        false => room_number(context, screened, event).inspect_err(|_| {
            context.state.metrics.admission_rejected.inc();
            context.state.sale.live().note_refusal(Some(event), Refusal::RoomToken);
        })?,
    };
    let user = screened.user()?.clone();
    context.state.metrics.booking_attempts.inc();
    let trace = String::new();
    let request = HoldRequest { user, event, seats, key, room_number, exempt, trace };
    match context.state.sale.precheck(request) {
        Ok(precheck) => Ok((precheck, alternatives)),
        Err(error) => Err(refuse(context, event, error, alternatives)),
    }
}

/// Returns how many groups of free seats a refusal lists; 0 without the parameter.
fn alternatives_count(context: &RequestContext) -> Result<u32, Problem> {
    // Parsing the query costs more than searching for the name, which few requests have.
    if !context.http.query_string().contains(ALTERNATIVES) {
        return Ok(0);
    }
    let count = Query::of(&context.http)?.integer(ALTERNATIVES, 0..=ALTERNATIVES_MAX)?;
    Ok(count.unwrap_or_default())
}

/// Returns the number in the caller's admission token; 0 without one, or while the room is open.
fn room_number(
    context: &RequestContext,
    screened: &Screened<'_>,
    event: EventId,
) -> Result<u64, Problem> {
    let token = waiting_room::token_of(context.http.headers())?;
    let room = context.state.sale.waiting_room();
    Ok(room.entry(event, screened.caller().user.as_ref(), token)?)
}

/// Counts a refusal by a limit or a bot rule, for operators.
fn limited(context: &RequestContext, event: Option<EventId>, problem: Problem) -> Problem {
    if matches!(problem.code, Code::RateLimitExceeded | Code::AutomatedAccess) {
        context.state.sale.live().note_refusal(event, Refusal::Limits);
    }
    problem
}

/// Counts the request toward the limits and, if none refuses it, holds the seats. An admin's hold is
/// recorded before it happens.
async fn admit_and_hold(
    context: &RequestContext,
    screened: Screened<'_>,
    precheck: Precheck,
    alternatives: u32,
) -> HandlerResult {
    let plan = match precheck {
        Precheck::HoldPlan(plan) => plan,
        Precheck::EventNotCached(request) => {
            let event = request.event;
            let plan = context.state.sale.plan_hold(request).await;
            plan.map_err(|error| refuse(context, event, error, alternatives))?
        }
    };
    let event = plan.event();
    let admitted = screened.admit().await;
    let admitted = admitted.map_err(|problem| limited(context, Some(event), problem))?;
    let caller = admitted.caller().clone();
    let event = caller.event;
    let seats = if caller.admin.is_some() { plan.selection_text() } else { String::new() };
    let hold = async |_| hold_and_respond(context, admitted, plan, alternatives).await;
    admin_audit::as_user(context, caller, "booking_hold", event, &seats, hold).await
}

async fn hold_and_respond(
    context: &RequestContext,
    admitted: Admitted<'_>,
    plan: HoldPlan,
    alternatives: u32,
) -> HandlerResult {
    let (metrics, event) = (&context.state.metrics, plan.event());
    let plan = plan.with_trace(context.trace.traceparent());
    let view = match context.state.sale.hold(plan).await {
        Ok(view) => view,
        Err(error) => {
            // A hold with an unknown outcome may have been granted: it continues to count.
            if !matches!(error, SaleError::Unavailable { unknown: true, .. }) {
                admitted.not_granted();
            }
            return Err(refuse(context, event, error, alternatives));
        }
    };
    metrics.booking_success.inc();
    if view.replayed {
        admitted.not_granted();
    } else {
        admitted.booked();
        metrics.bookings_created.inc();
        log_change(context, &view, "booking created");
    }
    let body = with_durability(context, &view, BookingBody::new(&view)).await;
    respond(StatusCode::CREATED, &view, &body)
}

/// Converts the sale's refusal and counts conflicts and people who were not let in. For taken seats it adds `alternatives` groups of
/// free seats near them.
fn refuse(
    context: &RequestContext,
    event: EventId,
    error: SaleError,
    alternatives: u32,
) -> Problem {
    if matches!(error, SaleError::SeatsUnavailable(_) | SaleError::TooFewSeats(_)) {
        context.state.metrics.booking_conflicts.inc();
    }
    if matches!(error, SaleError::SessionRequired(_) | SaleError::AdmissionInvalid(_)) {
        context.state.metrics.admission_rejected.inc();
    }
    let groups = match &error {
        SaleError::SeatsUnavailable(states) if alternatives > 0 => {
            let requested: Vec<SeatId> = states.iter().map(|(seat, _)| *seat).collect();
            context.state.sale.alternatives(event, &requested, alternatives)
        }
        _ => return error.into(),
    };
    let ids = |group: &Vec<SeatId>| group.iter().map(|seat| json!(seat.0)).collect::<Value>();
    Problem::from(error).with(ALTERNATIVES, groups.iter().map(ids).collect())
}
