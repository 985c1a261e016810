//! `/api/v1/bookings`: hold seats, look at one's bookings, pay, extend, cancel.

mod near;
mod request;
pub mod view;

use actix_web::http::StatusCode;
use actix_web::web::{Bytes, Payload};

use crate::domain::limits::{ADMIN_SEATS_PER_BOOKING_MAX, SEATS_PER_BOOKING_MAX};
use crate::domain::{BookingId, EventId, RouteClass, Status, UserId, cursor};
use crate::sale::{
    BookingView, BookingsFrom, ConfirmRequest, Confirmed, HoldPlan, HoldRequest, Precheck,
    SaleError,
};

use super::admin_audit;
use super::openapi::{
    BookingProblems, ChangeBookingProblems, ConfirmProblems, HoldProblems, ListProblems,
};
use super::state::RequestContext;
use super::waiting_room;
use crate::gates::{Admitted, Caller, Screened};
use crate::http::HandlerResult;
use crate::http::body::{read_json, read_optional_object};
use crate::http::params::{Query, Start, booking_id};
use crate::http::problem::Problem;
use crate::http::reply::{IDEMPOTENT_REPLAYED, json, json_with};
use request::{ConfirmBody, HoldBody};
use view::{BookingBody, BookingListBody};

/// Names this list in cursors.
const CURSOR_LIST: &str = "bookings";
/// When to ask again while the archive is awaited, seconds.
const RETRY_PENDING_SECONDS: &str = "1";

/// Hold seats
///
/// Takes all the seats or none: those in `seat_ids`, or `quantity` free ones, the best that there
/// are in a `section` or anywhere. The hold lapses by itself at `hold_expires_at`. The same request
/// sent again (same `Idempotency-Key`, or none and the same seats) gives the same booking while
/// it lives, with `Idempotent-Replayed: true`. With `alternatives`, a refusal for taken seats lists
/// groups of as many free seats near them in `alternatives`.
#[utoipa::path(
    post, path = "/api/v1/bookings", tag = "bookings",
    params(
        ("alternatives" = Option<u32>, Query, description = "How many groups of free seats a refusal is to name, 0 to 20; 0 if absent"),
        ("X-User-Id" = Option<String>, Header, description = "Who asks; or `?user_id=`; with tokens: `Authorization: Bearer`"),
        ("Idempotency-Key" = Option<String>, Header, description = "The request's own key"),
        ("X-Waiting-Room-Token" = Option<String>, Header, description = "The admission token, where a waiting room is on"),
    ),
    request_body = HoldBody,
    responses((status = 201, description = "The seats are held", body = BookingBody<'static>), HoldProblems),
)]
pub async fn hold(context: RequestContext, payload: Payload) -> HandlerResult {
    // An error on the way to `admit` drops it, and so counts the request as refused.
    let mut screened = context.gates().screen(&context.head, RouteClass::Hold)?;
    let body = read_json(&context.http, payload, context.state.body_limits()).await?;
    let (plan, alternatives) = plan(&context, &mut screened, body)?;
    // Boxed: what calls Redis is large, and most refusals end above.
    Box::pin(granted(&context, screened, plan, alternatives)).await
}

/// Continues with a request that may be granted.
async fn granted(
    context: &RequestContext,
    screened: Screened<'_>,
    plan: Precheck,
    alternatives: u32,
) -> HandlerResult {
    let plan = match plan {
        Precheck::HoldPlan(plan) => plan,
        Precheck::Unknown(request) => {
            let event = request.event;
            let plan = context.state.sale.plan_hold(request).await;
            plan.map_err(|error| refused(context, event, error, alternatives))?
        }
    };
    let admitted = screened.admit().await?;
    let caller = admitted.caller().clone();
    let event = caller.event;
    let seats = if caller.admin.is_some() { plan.wanted_text() } else { String::new() };
    let hold = async |_| held(context, admitted, plan, alternatives).await;
    admin_audit::as_user(context, caller, "booking_hold", event, &seats, hold).await
}

/// The request, checked, and not refused by what this process knows; and how many alternatives a
/// refusal is to name.
fn plan(
    context: &RequestContext,
    screened: &mut Screened<'_>,
    body: Option<Bytes>,
) -> Result<(Precheck, u32), Problem> {
    // An admin sells beyond what limits a user.
    let exempt = screened.caller().admin.is_some();
    let seats_max = if exempt { ADMIN_SEATS_PER_BOOKING_MAX } else { SEATS_PER_BOOKING_MAX };
    let (event, seats, key) = request::hold(context.http.headers(), body, seats_max)?;
    let alternatives = near::wanted(context)?;
    screened.set_event(event);
    let room_number = if exempt { 0 } else { entry(context, screened.caller(), event)? };
    let user = screened.user()?.clone();
    let metrics = &context.state.metrics;
    metrics.booking_attempts.inc();
    let trace = String::new();
    let request = HoldRequest { user, event, seats, key, room_number, exempt, trace };
    match context.state.sale.precheck(request) {
        Ok(plan) => Ok((plan, alternatives)),
        Err(error) => Err(refused(context, event, error, alternatives)),
    }
}

/// The number in the caller's admission token, where a waiting room is, or may be, on.
fn entry(context: &RequestContext, caller: &Caller, event: EventId) -> Result<u64, Problem> {
    let token = waiting_room::token_of(context.http.headers())?;
    let room = context.state.sale.waiting_room();
    Ok(room.entry(event, caller.user.as_ref(), token)?)
}

async fn held(
    context: &RequestContext,
    admitted: Admitted<'_>,
    plan: HoldPlan,
    alternatives: u32,
) -> HandlerResult {
    let metrics = &context.state.metrics;
    let event = plan.event();
    let plan = plan.traced(context.trace.traceparent());
    let view = match context.state.sale.hold(plan).await {
        Ok(view) => view,
        Err(error) => {
            if !matches!(error, SaleError::Unavailable { unknown: true, .. }) {
                admitted.not_granted();
            }
            return Err(refused(context, event, error, alternatives));
        }
    };
    metrics.booking_success.inc();
    if view.replayed {
        admitted.not_granted();
    } else {
        admitted.booked();
        metrics.bookings_created.inc();
        log(context, &view, "booking created");
    }
    let body = kept(context, &view, BookingBody::new(&view)).await;
    answer(StatusCode::CREATED, &view, &body)
}

/// A refusal, counted, with what is free near the seats asked for.
fn refused(
    context: &RequestContext,
    event: EventId,
    error: SaleError,
    alternatives: u32,
) -> Problem {
    if matches!(error, SaleError::SeatsUnavailable(_) | SaleError::TooFewSeats(_)) {
        context.state.metrics.booking_conflicts.inc();
    }
    near::told(context, event, error, alternatives)
}

/// List one's bookings
///
/// From the archive, newest first; what happened after `as_of` may be missing.
#[utoipa::path(
    get, path = "/api/v1/bookings", tag = "bookings",
    params(
        ("X-User-Id" = Option<String>, Header, description = "Who asks; or `?user_id=`; with tokens: `Authorization: Bearer`"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before: no booking is repeated or left out"),
        ("page" = Option<u32>, Query, description = "Which page, from 1; instead of `cursor`. A new booking moves the others on"),
        ("page_size" = Option<u32>, Query, description = "Bookings a page, 1 to 100; 20 if absent"),
    ),
    responses((status = 200, description = "One page", body = BookingListBody<'static>), ListProblems),
)]
pub async fn list(context: RequestContext, _: Payload) -> HandlerResult {
    let caller = context.gates().pass_user(&context.head, RouteClass::Bookings).await?;
    let paging = Query::of(&context.http)?.paging(|cursor| {
        let [created_ms, id] = cursor::decode(CURSOR_LIST, cursor)?;
        Some(BookingsFrom::Older { created_ms: created_ms.parse().ok()?, id: id.parse().ok()? })
    })?;
    let from = match paging.start {
        Start::Page(page) => BookingsFrom::Number(paging.skipped(page)),
        Start::After(place) => place,
    };
    let list = async |user| {
        let found = context.state.sale.bookings(&user, from, paging.size).await?;
        let last = found.bookings.last().filter(|_| found.has_more).map(|last| &last.booking);
        let next = last.map(|last| cursor::encode(CURSOR_LIST, &[&last.created_ms, &last.id]));
        json(StatusCode::OK, &BookingListBody::new(&found, &paging, next))
    };
    admin_audit::as_user(&context, caller, "booking_list", None, "", list).await
}

/// Look at a booking
#[utoipa::path(
    get, path = "/api/v1/bookings/{booking_id}", tag = "bookings",
    params(
        ("booking_id" = uuid::Uuid, Path, description = "The booking"),
        ("X-User-Id" = Option<String>, Header, description = "Who asks; or `?user_id=`; with tokens: `Authorization: Bearer`"),
    ),
    responses((status = 200, description = "The booking", body = BookingBody<'static>), BookingProblems),
)]
pub async fn get(context: RequestContext, _: Payload) -> HandlerResult {
    let caller = context.gates().pass_user(&context.head, RouteClass::Bookings).await?;
    let booking = booking_id(&context.http)?;
    let get = async |user| {
        let view = context.state.sale.booking(&user, booking).await?;
        json(StatusCode::OK, &BookingBody::new(&view))
    };
    admin_audit::as_owner(&context, caller, "booking_read", booking, get).await
}

/// Pay and confirm
///
/// 200 once the archive has confirmed the sale; 202 while it is awaited: then look at the booking
/// again, or send the same request again.
#[utoipa::path(
    post, path = "/api/v1/bookings/{booking_id}/confirm", tag = "bookings",
    params(
        ("booking_id" = uuid::Uuid, Path, description = "The booking"),
        ("X-User-Id" = Option<String>, Header, description = "Who asks; or `?user_id=`; with tokens: `Authorization: Bearer`"),
        ("Idempotency-Key" = Option<String>, Header, description = "The request's own key"),
    ),
    request_body = Option<ConfirmBody>,
    responses(
        (status = 200, description = "Sold, with its receipt", body = BookingBody<'static>),
        (status = 202, description = "Paid; the archive is awaited", body = BookingBody<'static>),
        ConfirmProblems,
    ),
)]
pub async fn confirm(context: RequestContext, payload: Payload) -> HandlerResult {
    let caller = context.gates().pass_user(&context.head, RouteClass::BookingChanges).await?;
    let booking = booking_id(&context.http)?;
    let body = read_optional_object(&context.http, payload, context.state.body_limits()).await?;
    let (payment_method, amount, key) = request::payment(context.http.headers(), body)?;
    let confirm = async |user| {
        confirmed(&context, ConfirmRequest { user, booking, payment_method, amount, key }).await
    };
    admin_audit::as_owner(&context, caller, "booking_confirm", booking, confirm).await
}

async fn confirmed(context: &RequestContext, request: ConfirmRequest) -> HandlerResult {
    match context.state.sale.confirm(request).await? {
        Confirmed::Settled(view) => {
            if !view.replayed {
                context.state.metrics.bookings_confirmed.inc();
                log(context, &view, "booking confirmed");
            }
            let body = kept(context, &view, BookingBody::with_receipt(&view)).await;
            answer(StatusCode::OK, &view, &body)
        }
        Confirmed::Pending(view) => {
            log(context, &view, "booking paid, the archive is awaited");
            pending(&kept(context, &view, BookingBody::new(&view)).await)
        }
    }
}

/// Pay and confirm (the same as `/confirm`)
#[utoipa::path(
    post, path = "/api/v1/bookings/{booking_id}/pay", tag = "bookings",
    params(
        ("booking_id" = uuid::Uuid, Path, description = "The booking"),
        ("X-User-Id" = Option<String>, Header, description = "Who asks; or `?user_id=`; with tokens: `Authorization: Bearer`"),
        ("Idempotency-Key" = Option<String>, Header, description = "The request's own key"),
    ),
    request_body = Option<ConfirmBody>,
    responses(
        (status = 200, description = "Sold, with its receipt", body = BookingBody<'static>),
        (status = 202, description = "Paid; the archive is awaited", body = BookingBody<'static>),
        ConfirmProblems,
    ),
)]
pub async fn pay_alias(context: RequestContext, payload: Payload) -> HandlerResult {
    confirm(context, payload).await
}

/// Extend a hold
///
/// Starts the hold's time anew, up to the event's longest hold. Under an `Idempotency-Key` it does
/// so once; without one each request extends.
#[utoipa::path(
    post, path = "/api/v1/bookings/{booking_id}/extend", tag = "bookings",
    params(
        ("booking_id" = uuid::Uuid, Path, description = "The booking"),
        ("X-User-Id" = Option<String>, Header, description = "Who asks; or `?user_id=`; with tokens: `Authorization: Bearer`"),
        ("Idempotency-Key" = Option<String>, Header, description = "The request's own key"),
    ),
    responses((status = 200, description = "The booking", body = BookingBody<'static>), ChangeBookingProblems),
)]
pub async fn extend(context: RequestContext, payload: Payload) -> HandlerResult {
    let caller = context.gates().pass_user(&context.head, RouteClass::BookingChanges).await?;
    let booking = booking_id(&context.http)?;
    let body = read_optional_object(&context.http, payload, context.state.body_limits()).await?;
    let key = request::key(context.http.headers(), body)?;
    let extend = async |user| {
        let view = context.state.sale.extend(&user, booking, key.as_deref()).await?;
        if !view.replayed {
            log(&context, &view, "booking extended");
        }
        let body = kept(&context, &view, BookingBody::new(&view)).await;
        answer(StatusCode::OK, &view, &body)
    };
    admin_audit::as_owner(&context, caller, "booking_extend", booking, extend).await
}

/// Cancel a booking
///
/// A hold is given up at once. A confirmed booking is cancelled once the archive says so; 202
/// while that is awaited. Sent again it is answered the same, with `Idempotent-Replayed: true`.
#[utoipa::path(
    post, path = "/api/v1/bookings/{booking_id}/cancel", tag = "bookings",
    params(
        ("booking_id" = uuid::Uuid, Path, description = "The booking"),
        ("X-User-Id" = Option<String>, Header, description = "Who asks; or `?user_id=`; with tokens: `Authorization: Bearer`"),
    ),
    responses(
        (status = 200, description = "The booking", body = BookingBody<'static>),
        (status = 202, description = "The archive is awaited", body = BookingBody<'static>),
        ChangeBookingProblems,
    ),
)]
pub async fn cancel(context: RequestContext, payload: Payload) -> HandlerResult {
    let caller = context.gates().pass_user(&context.head, RouteClass::BookingChanges).await?;
    let booking = booking_id(&context.http)?;
    let body = read_optional_object(&context.http, payload, context.state.body_limits()).await?;
    // A cancelled booking is the record of its cancellation: the key has only to be one.
    request::key(context.http.headers(), body)?;
    let cancel = async |user| cancelled(&context, user, booking).await;
    admin_audit::as_owner(&context, caller, "booking_cancel", booking, cancel).await
}

async fn cancelled(context: &RequestContext, user: UserId, booking: BookingId) -> HandlerResult {
    let view = context.state.sale.cancel(&user, booking).await?;
    let body = kept(context, &view, BookingBody::new(&view)).await;
    if view.booking.status != Status::Cancelled {
        return pending(&body);
    }
    if !view.replayed {
        context.state.metrics.bookings_cancelled.inc();
        log(context, &view, "booking cancelled");
    }
    answer(StatusCode::OK, &view, &body)
}

/// Cancel a booking (the same as `POST …/cancel`)
#[utoipa::path(
    delete, path = "/api/v1/bookings/{booking_id}", tag = "bookings",
    params(
        ("booking_id" = uuid::Uuid, Path, description = "The booking"),
        ("X-User-Id" = Option<String>, Header, description = "Who asks; or `?user_id=`; with tokens: `Authorization: Bearer`"),
    ),
    responses(
        (status = 200, description = "The booking", body = BookingBody<'static>),
        (status = 202, description = "The archive is awaited", body = BookingBody<'static>),
        ChangeBookingProblems,
    ),
)]
pub async fn delete(context: RequestContext, payload: Payload) -> HandlerResult {
    cancel(context, payload).await
}

/// What was just done, with where it is kept.
async fn kept<'a>(
    context: &RequestContext,
    view: &BookingView,
    body: BookingBody<'a>,
) -> BookingBody<'a> {
    let durability = context.state.sale.durability(view).await;
    context.state.metrics.durability.with_label_values(&[durability.as_str()]).inc();
    body.kept(durability)
}

fn pending(body: &BookingBody<'_>) -> HandlerResult {
    let answer = json_with(StatusCode::ACCEPTED, body)?;
    Ok(answer.header("Retry-After", RETRY_PENDING_SECONDS).send())
}

fn answer(status: StatusCode, view: &BookingView, body: &BookingBody<'_>) -> HandlerResult {
    let answer = json_with(status, body)?;
    let answer = if view.replayed { answer.header(IDEMPOTENT_REPLAYED, "true") } else { answer };
    Ok(answer.send())
}

fn log(context: &RequestContext, view: &BookingView, message: &'static str) {
    let booking = &view.booking;
    tracing::info!(
        event_id = booking.id.event().0,
        user_id = booking.user.as_str(),
        booking_id = %booking.id,
        duration_ms = context.elapsed_ms(),
        "{message}"
    );
}
