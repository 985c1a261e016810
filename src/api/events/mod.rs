//! `/api/v1/events`: read by everybody; created and changed by admins.

mod request;
pub mod view;

use actix_web::http::StatusCode;
use actix_web::web::Payload;

use crate::config::values::Detail;
use crate::domain::{EventId, RouteClass, cursor};
use crate::sale::{EventChange, EventsFrom, NewEvent};

use super::admin_audit::{self, AdminAction};
use super::openapi::{ChangeEventProblems, EventProblems, ListEventsProblems, NewEventProblems};
use super::seats::DetailLevel;
use super::state::RequestContext;
use crate::http::HandlerResult;
use crate::http::body::read_object;
use crate::http::fields::to_object;
use crate::http::params::{Query, Start, event_id};
use crate::http::reply::{json, json_with};
use crate::http::words;
use request::{ChangeEventBody, NewEventBody};
pub use request::{RowSpec, SectionSpec};
use view::{EventBody, EventListBody};

/// Names this list in cursors.
const CURSOR_LIST: &str = "events";

/// Create an event
///
/// Its seats are numbered from 1 in the order of its sections and rows, and go on sale at
/// `on_sale_at`, or at once, until `off_sale_at`. Seats, prices and rules cannot be changed later.
#[utoipa::path(
    post, operation_id = "create_event", path = "/api/v1/events", tag = "events",
    request_body(content = NewEventBody, example = json!({
        "name": "Gala", "venue": "Grand Hall", "currency": "EUR",
        "sections": [
            { "name": "Stalls", "price": 5_000, "rows": [{ "row": "A", "seats": 20 }, { "row": "B", "seats": 22 }] },
            { "name": "Floor", "price": 2_500, "capacity": 100 },
        ],
    })),
    responses(
        (status = 201, description = "The event", body = EventBody<'static>, headers(("Location" = String, description = "Its path"))),
        NewEventProblems,
    ),
)]
pub async fn create(context: RequestContext, payload: Payload) -> HandlerResult {
    let admin = context.gates().pass_admin(&context.head).await?;
    let limits = context.state.admin_body_limits();
    let body: NewEventBody = read_object(&context.http, payload, limits).await?;
    let new = NewEvent::try_from(body)?;
    let detail = format!("{:?}, {} sections", new.name, new.sections.len());
    let action = AdminAction { verb: "event_create", target: String::new(), detail };
    admin_audit::recorded(&context, &admin, action, Box::pin(created(&context, &admin, new))).await
}

async fn created(context: &RequestContext, admin: &str, new: NewEvent) -> HandlerResult {
    let view = context.state.sale.create_event(new).await?;
    let event = &view.event;
    tracing::info!(
        event_id = event.id.0,
        admin,
        seats = event.layout.total_seats(),
        duration_ms = context.elapsed_ms(),
        "event created"
    );
    let location = format!("/api/v1/events/{}", event.id);
    let answer = json_with(StatusCode::CREATED, &EventBody::new(&view, Detail::Exact))?;
    Ok(answer.header("Location", &location).send())
}

/// List events
///
/// Ordered by id. `from` and `to` compare `starts_at`; events without one are left out where either is
/// given. Continue with `next_cursor` of the page as `cursor`.
#[utoipa::path(
    get, operation_id = "list_events", path = "/api/v1/events", tag = "events",
    params(
        ("status" = Option<words::EventStatus>, Query, description = "Only events with this status"),
        ("from" = Option<String>, Query, format = DateTime, description = "Only events that start then or later, ISO 8601 with an offset"),
        ("to" = Option<String>, Query, format = DateTime, description = "Only events that start before"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
        ("page" = Option<u32>, Query, minimum = 1, maximum = 10_000, description = "Which page, from 1; instead of `cursor`"),
        ("page_size" = Option<u32>, Query, minimum = 1, maximum = 100, description = "Events a page, 1 to 100; 20 if absent"),
    ),
    responses((status = 200, description = "One page", body = EventListBody<'static>), ListEventsProblems),
)]
pub async fn list(context: RequestContext, _: Payload) -> HandlerResult {
    let caller = context.gates().pass(&context.head, RouteClass::Events).await?;
    let query = Query::of(&context.http)?;
    let filter = request::filter(&query)?;
    let paging = query.paging(|cursor| {
        let [id] = cursor::decode(CURSOR_LIST, cursor)?;
        id.parse().ok().map(EventId)
    })?;
    let level = DetailLevel::of_caller(&context, &caller)?;
    let from = match paging.start {
        Start::Page(page) => EventsFrom::Number(paging.skipped(page)),
        Start::After(id) => EventsFrom::After(id),
    };
    let page = context.state.sale.events(&filter, from, paging.size as usize).await?;
    let next_cursor = page.next.map(|id| cursor::encode(CURSOR_LIST, &[&id]));
    json(StatusCode::OK, &EventListBody::new(&page, level.detail, &paging, next_cursor))
}

/// Read an event
///
/// With its sections and how much is free.
#[utoipa::path(
    get, operation_id = "get_event", path = "/api/v1/events/{event_id}", tag = "events",
    params(
        ("event_id" = u32, Path, description = "The event", minimum = 1, example = 1),
    ),
    responses((status = 200, description = "The event", body = EventBody<'static>), EventProblems),
)]
pub async fn get(context: RequestContext, _: Payload) -> HandlerResult {
    let caller = context.gates().pass(&context.head, RouteClass::Events).await?;
    let level = DetailLevel::of_caller(&context, &caller)?;
    let view = context.state.sale.event(event_id(&context.http)?).await?;
    json(StatusCode::OK, &EventBody::new(&view, level.detail))
}

/// Change an event
///
/// Absent fields stay. `PAUSED` and `CLOSED` stop new holds; payments of existing ones go on.
#[utoipa::path(
    patch, operation_id = "change_event", path = "/api/v1/events/{event_id}", tag = "events",
    params(
        ("event_id" = u32, Path, description = "The event", minimum = 1, example = 1),
    ),
    request_body(content = ChangeEventBody, example = json!({ "venue": "Grand Hall" })),
    responses((status = 200, description = "The event", body = EventBody<'static>), ChangeEventProblems),
)]
pub async fn change(context: RequestContext, payload: Payload) -> HandlerResult {
    let admin = context.gates().pass_admin(&context.head).await?;
    let event = event_id(&context.http)?;
    let limits = context.state.body_limits();
    let body: ChangeEventBody = read_object(&context.http, payload, limits).await?;
    // The audit record has the fields that were sent; their lengths are bounded.
    let detail = serde_json::Value::Object(to_object(&body)).to_string();
    let change = EventChange::try_from(body)?;
    let action = AdminAction { verb: "event_change", target: format!("event {event}"), detail };
    admin_audit::recorded(
        &context,
        &admin,
        action,
        Box::pin(changed(&context, &admin, event, change)),
    )
    .await
}

async fn changed(
    context: &RequestContext,
    admin: &str,
    event: EventId,
    change: EventChange,
) -> HandlerResult {
    let view = Box::pin(context.state.sale.change_event(event, change)).await?;
    context.state.seat_maps.invalidate(event);
    tracing::info!(
        event_id = event.0,
        admin,
        status = view.event.status.as_str(),
        duration_ms = context.elapsed_ms(),
        "event changed"
    );
    json(StatusCode::OK, &EventBody::new(&view, Detail::Exact))
}
