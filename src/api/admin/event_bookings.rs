//! `/api/v1/admin/events/{event_id}/bookings`: an event's bookings, newest first.

use actix_web::http::StatusCode;
use actix_web::web::Payload;
use serde::Serialize;
use utoipa::ToSchema;

use super::booking_body::AdminBookingBody;
use super::{PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX, user};
use crate::api::admin_audit::{self, AdminAction};
use crate::api::openapi::AdminEventProblems;
use crate::api::state::RequestContext;
use crate::archive::BookingFilter;
use crate::domain::time::iso8601;
use crate::domain::{Status, cursor};
use crate::http::HandlerResult;
use crate::http::params::{Query, event_id};
use crate::http::problem::Problem;
use crate::http::reply::json;
use crate::http::words;

/// The name of this list in cursors.
const CURSOR_LIST: &str = "event_bookings";

/// A page of an event's bookings.
#[derive(Serialize, ToSchema)]
pub struct EventBookingsBody {
    /// The event.
    #[schema(example = 1)]
    event_id: u32,
    /// Everything that happened until then is listed; null while Redis does not answer.
    #[schema(format = DateTime, required = true)]
    as_of: Option<String>,
    /// Newest first.
    bookings: Vec<AdminBookingBody>,
    /// Send it as `cursor` for older ones; null if there are none.
    #[schema(required = true)]
    next_cursor: Option<String>,
}

/// List an event's bookings
///
/// Newest first, from the archive.
#[utoipa::path(
    get, operation_id = "list_event_bookings", path = "/api/v1/admin/events/{event_id}/bookings", tag = "admin",
    params(
        ("event_id" = u32, Path, description = "The event", minimum = 1, example = 1),
        ("status" = Option<words::StoredStatus>, Query, description = "Only bookings in this state"),
        ("user_id" = Option<String>, Query, description = "Only this user's"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
        ("page_size" = Option<u32>, Query, minimum = 1, maximum = 200, description = "Bookings a page, 1 to 200; 50 if absent"),
    ),
    responses((status = 200, description = "One page", body = EventBookingsBody), AdminEventProblems),
)]
pub async fn list(context: RequestContext, _: Payload) -> HandlerResult {
    let admin = context.gates().pass_admin(&context.head).await?;
    let event = event_id(&context.http)?;
    let query = Query::of(&context.http)?;
    let filter = BookingFilter { event: Some(event), user: user(&query)?, status: status(&query)? };
    let before = query.cursor(|text| {
        let [id] = cursor::decode(CURSOR_LIST, text)?;
        id.parse().ok()
    })?;
    let size = query.page_size(PAGE_SIZE_MAX)?.unwrap_or(PAGE_SIZE_DEFAULT);
    let target = format!("event {event}");
    let of = |name, value: Option<String>| value.map(|value| format!("{name} {value}"));
    let user = of("user", filter.user.as_ref().map(ToString::to_string));
    let status = of("status", filter.status.map(|status| status.as_str().to_owned()));
    let detail = user.into_iter().chain(status).collect::<Vec<_>>().join(", ");
    let action = AdminAction { verb: "bookings_list", target, detail };
    let listed = async {
        let page = context.state.sale.event_bookings(&filter, before, size).await?;
        let (bookings, has_more, as_of_ms) = page;
        let last = bookings.last().filter(|_| has_more);
        let body = EventBookingsBody {
            event_id: event.0,
            as_of: (as_of_ms > 0).then(|| iso8601(as_of_ms)),
            next_cursor: last.map(|last| cursor::encode(CURSOR_LIST, &[&last.booking.id])),
            bookings: bookings.iter().map(AdminBookingBody::new).collect(),
        };
        json(StatusCode::OK, &body)
    };
    admin_audit::recorded(&context, &admin, action, Box::pin(listed)).await
}

fn status(query: &Query) -> Result<Option<Status>, Problem> {
    let Some(word) = query.get("status")? else { return Ok(None) };
    word.parse().map(Some).map_err(|_| {
        let words = words::STORED_STATUSES.join(", ");
        Problem::parameter("status", format_args!("must be one of {words}"))
    })
}
