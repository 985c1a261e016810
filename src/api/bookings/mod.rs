//! `/api/v1/bookings`: hold seats, list and read bookings, confirm, extend, cancel.

mod hold;
mod plain_body;
mod request;
pub mod view;

use actix_web::http::StatusCode;
use actix_web::web::Payload;

use crate::domain::{RouteClass, Status, UserId, cursor};
use crate::sale::{BookingView, BookingsFrom, ConfirmRequest, Confirmed};

use super::admin_audit;
use super::openapi::{BookingProblems, ChangeBookingProblems, ConfirmProblems, ListProblems};
use super::state::RequestContext;
use crate::domain::BookingId;
use crate::http::HandlerResult;
use crate::http::body::read_optional_object;
use crate::http::params::{Query, Start, booking_id};
use crate::http::reply::{IDEMPOTENT_REPLAYED, json, json_with};
pub use hold::{__path_hold, hold};
use request::ConfirmBody;
use view::{BookingBody, BookingListBody};

/// Names this list in cursors.
const CURSOR_LIST: &str = "bookings";
/// `Retry-After` while the archive has not confirmed yet, seconds.
const RETRY_PENDING_SECONDS: &str = "1";

/// List one's bookings
///
/// From the archive, newest first; changes after `as_of` may be missing.
#[utoipa::path(
    get, operation_id = "list_bookings", path = "/api/v1/bookings", tag = "bookings",
    params(
        ("X-User-Id" = Option<String>, Header, description = "The user, where a trusted source names it; or `?user_id=`", example = "ann"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the previous page: no booking is repeated or left out"),
        ("page" = Option<u32>, Query, minimum = 1, maximum = 10_000, description = "The page, from 1; instead of `cursor`. A new booking shifts the others"),
        ("page_size" = Option<u32>, Query, minimum = 1, maximum = 100, description = "Bookings a page, 1 to 100; 20 if absent"),
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
        Start::After(from) => from,
    };
    let list = async |user| {
        let found = context.state.sale.bookings(&user, from, paging.size).await?;
        let last = found.bookings.last().filter(|_| found.has_more).map(|last| &last.booking);
        let next = last.map(|last| cursor::encode(CURSOR_LIST, &[&last.created_ms, &last.id]));
        json(StatusCode::OK, &BookingListBody::new(&found, &paging, next))
    };
    admin_audit::as_user(&context, caller, "booking_list", None, "", list).await
}

/// Read a booking
///
/// Its current state. For everybody but its owner it does not exist.
#[utoipa::path(
    get, operation_id = "get_booking", path = "/api/v1/bookings/{booking_id}", tag = "bookings",
    params(
        ("booking_id" = uuid::Uuid, Path, description = "The booking", example = "019b3c5e-0a4c-8f00-8000-000040e1f2a3"),
        ("X-User-Id" = Option<String>, Header, description = "The user, where a trusted source names it; or `?user_id=`", example = "ann"),
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
/// 200 once the archive has confirmed the sale; 202 before: then read the booking until it is
/// CONFIRMED, or send the same request again.
#[utoipa::path(
    post, operation_id = "confirm_booking", path = "/api/v1/bookings/{booking_id}/confirm", tag = "bookings",
    params(
        ("booking_id" = uuid::Uuid, Path, description = "The booking", example = "019b3c5e-0a4c-8f00-8000-000040e1f2a3"),
        ("X-User-Id" = Option<String>, Header, description = "The user, where a trusted source names it; or `?user_id=`", example = "ann"),
        ("Idempotency-Key" = Option<String>, Header, description = "An idempotency key", min_length = 1, max_length = 255),
    ),
    request_body(content = Option<ConfirmBody>, example = json!({ "payment_method": "card_ok" })),
    responses(
        (status = 200, description = "Sold, with its receipt", body = BookingBody<'static>, headers(("Idempotent-Replayed" = bool, description = "`true`: it was sold already"))),
        (status = 202, description = "Paid; the archive has not confirmed yet", body = BookingBody<'static>, headers(("Retry-After" = u32, description = "Seconds after which to look again"))),
        ConfirmProblems,
    ),
)]
pub async fn confirm(context: RequestContext, payload: Payload) -> HandlerResult {
    let caller = context.gates().pass_user(&context.head, RouteClass::BookingChanges).await?;
    let booking = booking_id(&context.http)?;
    let body = read_optional_object(&context.http, payload, context.state.body_limits()).await?;
    let (payment_method, amount, key) = request::payment(context.http.headers(), body)?;
    let confirm = async |user| {
        confirm_and_respond(&context, ConfirmRequest { user, booking, payment_method, amount, key })
            .await
    };
    admin_audit::as_owner(&context, caller, "booking_confirm", booking, confirm).await
}

async fn confirm_and_respond(context: &RequestContext, request: ConfirmRequest) -> HandlerResult {
    match context.state.sale.confirm(request).await? {
        Confirmed::Settled(view) => {
            if !view.replayed {
                context.state.metrics.bookings_confirmed.inc();
                log_change(context, &view, "booking confirmed");
            }
            let body = with_durability(context, &view, BookingBody::with_receipt(&view)).await;
            respond(StatusCode::OK, &view, &body)
        }
        Confirmed::Pending(view) => {
            log_change(context, &view, "booking paid, not confirmed by the archive yet");
            pending(&with_durability(context, &view, BookingBody::new(&view)).await)
        }
    }
}

/// Pay and confirm (alias)
///
/// The same as `/confirm`.
#[utoipa::path(
    post, operation_id = "pay_booking", path = "/api/v1/bookings/{booking_id}/pay", tag = "bookings",
    params(
        ("booking_id" = uuid::Uuid, Path, description = "The booking", example = "019b3c5e-0a4c-8f00-8000-000040e1f2a3"),
        ("X-User-Id" = Option<String>, Header, description = "The user, where a trusted source names it; or `?user_id=`", example = "ann"),
        ("Idempotency-Key" = Option<String>, Header, description = "An idempotency key", min_length = 1, max_length = 255),
    ),
    request_body(content = Option<ConfirmBody>, example = json!({ "payment_method": "card_ok" })),
    responses(
        (status = 200, description = "Sold, with its receipt", body = BookingBody<'static>, headers(("Idempotent-Replayed" = bool, description = "`true`: it was sold already"))),
        (status = 202, description = "Paid; the archive has not confirmed yet", body = BookingBody<'static>, headers(("Retry-After" = u32, description = "Seconds after which to look again"))),
        ConfirmProblems,
    ),
)]
pub async fn pay_alias(context: RequestContext, payload: Payload) -> HandlerResult {
    confirm(context, payload).await
}

/// Extend a hold
///
/// Restarts the hold's time, up to the event's longest hold. With an `Idempotency-Key` it extends
/// once; without one every request extends.
#[utoipa::path(
    post, operation_id = "extend_booking", path = "/api/v1/bookings/{booking_id}/extend", tag = "bookings",
    params(
        ("booking_id" = uuid::Uuid, Path, description = "The booking", example = "019b3c5e-0a4c-8f00-8000-000040e1f2a3"),
        ("X-User-Id" = Option<String>, Header, description = "The user, where a trusted source names it; or `?user_id=`", example = "ann"),
        ("Idempotency-Key" = Option<String>, Header, description = "An idempotency key", min_length = 1, max_length = 255),
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
            log_change(&context, &view, "booking extended");
        }
        let body = with_durability(&context, &view, BookingBody::new(&view)).await;
        respond(StatusCode::OK, &view, &body)
    };
    admin_audit::as_owner(&context, caller, "booking_extend", booking, extend).await
}

/// Cancel a booking
///
/// A hold is released at once. A confirmed booking is cancelled once the archive has recorded it; 202
/// before. A repeated request returns the same, with `Idempotent-Replayed: true`.
#[utoipa::path(
    post, operation_id = "cancel_booking", path = "/api/v1/bookings/{booking_id}/cancel", tag = "bookings",
    params(
        ("booking_id" = uuid::Uuid, Path, description = "The booking", example = "019b3c5e-0a4c-8f00-8000-000040e1f2a3"),
        ("X-User-Id" = Option<String>, Header, description = "The user, where a trusted source names it; or `?user_id=`", example = "ann"),
    ),
    responses(
        (status = 200, description = "The booking", body = BookingBody<'static>),
        (status = 202, description = "The archive has not confirmed yet", body = BookingBody<'static>, headers(("Retry-After" = u32, description = "Seconds after which to look again"))),
        ChangeBookingProblems,
    ),
)]
pub async fn cancel(context: RequestContext, payload: Payload) -> HandlerResult {
    let caller = context.gates().pass_user(&context.head, RouteClass::BookingChanges).await?;
    let booking = booking_id(&context.http)?;
    let body = read_optional_object(&context.http, payload, context.state.body_limits()).await?;
    // A cancelled booking is itself the record of its cancellation: the key is only validated.
    request::key(context.http.headers(), body)?;
    let cancel = async |user| cancel_and_respond(&context, user, booking).await;
    admin_audit::as_owner(&context, caller, "booking_cancel", booking, cancel).await
}

async fn cancel_and_respond(
    context: &RequestContext,
    user: UserId,
    booking: BookingId,
) -> HandlerResult {
    let view = context.state.sale.cancel(&user, booking).await?;
    let body = with_durability(context, &view, BookingBody::new(&view)).await;
    if view.booking.status != Status::Cancelled {
        return pending(&body);
    }
    if !view.replayed {
        context.state.metrics.bookings_cancelled.inc();
        log_change(context, &view, "booking cancelled");
    }
    respond(StatusCode::OK, &view, &body)
}

/// Cancel a booking (alias)
///
/// The same as `POST …/cancel`.
#[utoipa::path(
    delete, operation_id = "delete_booking", path = "/api/v1/bookings/{booking_id}", tag = "bookings",
    params(
        ("booking_id" = uuid::Uuid, Path, description = "The booking", example = "019b3c5e-0a4c-8f00-8000-000040e1f2a3"),
        ("X-User-Id" = Option<String>, Header, description = "The user, where a trusted source names it; or `?user_id=`", example = "ann"),
    ),
    responses(
        (status = 200, description = "The booking", body = BookingBody<'static>),
        (status = 202, description = "The archive has not confirmed yet", body = BookingBody<'static>, headers(("Retry-After" = u32, description = "Seconds after which to look again"))),
        ChangeBookingProblems,
    ),
)]
pub async fn delete(context: RequestContext, payload: Payload) -> HandlerResult {
    cancel(context, payload).await
}

/// Waits for the configured durability of a change, and shows it in the body.
async fn with_durability<'a>(
    context: &RequestContext,
    view: &BookingView,
    body: BookingBody<'a>,
) -> BookingBody<'a> {
    let durability = context.state.sale.durability(view).await;
    context.state.metrics.durability.with_label_values(&[durability.as_str()]).inc();
    body.with_durability(durability)
}

/// Responds 202: the archive has not confirmed yet.
fn pending(body: &BookingBody<'_>) -> HandlerResult {
    let response = json_with(StatusCode::ACCEPTED, body)?;
    Ok(response.header("Retry-After", RETRY_PENDING_SECONDS).send())
}

fn respond(status: StatusCode, view: &BookingView, body: &BookingBody<'_>) -> HandlerResult {
    let mut response = json_with(status, body)?;
    if view.replayed {
        response = response.header(IDEMPOTENT_REPLAYED, "true");
    }
    Ok(response.send())
}

fn log_change(context: &RequestContext, view: &BookingView, message: &'static str) {
    let booking = &view.booking;
    tracing::info!(
        event_id = booking.id.event().0,
        user_id = booking.user.as_str(),
        booking_id = %booking.id,
        duration_ms = context.elapsed_ms(),
        "{message}"
    );
}
