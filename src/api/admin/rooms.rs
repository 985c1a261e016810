//! `/api/v1/admin/waiting-rooms`: the waiting rooms in use.

use actix_web::http::StatusCode;
use actix_web::web::Payload;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use utoipa::ToSchema;

use super::room_body::RoomOverviewBody;
use crate::api::openapi::AdminProblems;
use crate::api::state::RequestContext;
use crate::domain::EventId;
use crate::http::HandlerResult;
use crate::http::reply::json;
use crate::sale::SaleError;

/// Rooms of one answer.
const ROOMS_MAX: u32 = 200;
/// Rooms that are read at a time.
const AT_ONCE_MAX: usize = 8;

/// The waiting rooms in use.
#[derive(Serialize, ToSchema)]
pub struct RoomsBody {
    /// By event.
    rooms: Vec<EventRoomBody>,
    /// Whether there are more than 200.
    is_cut: bool,
}

/// The waiting room of an event.
#[derive(Serialize, ToSchema)]
pub struct EventRoomBody {
    /// The event.
    #[schema(example = 1)]
    event_id: u32,
    /// Its name.
    event_name: String,
    /// The room; null while Redis does not answer.
    #[schema(required = true)]
    waiting_room: Option<RoomOverviewBody>,
}

/// List waiting rooms
///
/// Those that are on, may switch themselves on, or have a draw that is not fixed.
#[utoipa::path(
    get, operation_id = "list_waiting_rooms", path = "/api/v1/admin/waiting-rooms", tag = "admin",
    responses((status = 200, description = "The rooms", body = RoomsBody), AdminProblems),
)]
pub async fn list(context: RequestContext, _: Payload) -> HandlerResult {
    context.gates().pass_admin(&context.head).await?;
    let sale = &context.state.sale;
    let mut events = sale.rooms_in_use(ROOMS_MAX + 1).await?;
    let is_cut = events.len() > ROOMS_MAX as usize;
    events.truncate(ROOMS_MAX as usize);
    let room = |event: EventId| async move {
        let known = match sale.known_event(event).await {
            Err(SaleError::EventUnknown(_)) => return Ok(None),
            other => other?,
        };
        let room = sale.room_overview(event).await;
        Ok::<_, SaleError>(Some(EventRoomBody {
            event_id: event.0,
            event_name: known.name.clone(),
            waiting_room: room.as_ref().map(RoomOverviewBody::new),
        }))
    };
    let rooms = stream::iter(events.into_iter().map(room)).buffered(AT_ONCE_MAX);
    let rooms: Vec<Option<EventRoomBody>> = rooms.try_collect().await?;
    json(StatusCode::OK, &RoomsBody { rooms: rooms.into_iter().flatten().collect(), is_cut })
}
