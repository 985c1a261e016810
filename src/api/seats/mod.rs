//! `/api/v1/events/{event_id}/seats` and `…/availability`: what is free.
//!
//! | | where |
//! |---|---|
//! | which seats a client wants, and what it has | `filter` |
//! | the newest seats, looked up for all who ask | `frames` |
//! | one version of them, each form rendered once | `frame`, `render` |
//! | tags, caching, compression | `answer` |

mod answer;
mod filter;
mod frame;
mod frames;
mod render;

use std::sync::Arc;

use actix_web::http::header;
use actix_web::web::Payload;

use crate::domain::{Event, EventId, RouteClass, SeatId};
use crate::sale::SaleError;

use super::openapi::SeatsProblems;
use super::state::RequestContext;
use crate::http::HandlerResult;
use crate::http::params::{Query, event_id};
use answer::OCTET_STREAM;
pub use answer::Told;
use filter::{Filter, Has};
use frame::{Frame, What};
pub use frames::{Frames, Stored};
pub use render::{AvailabilityBody, SeatMapBody};

/// The seat map
///
/// All seats with their states, or those of one section or status. With `since`, the version that
/// the client has, `full` is false and `seats` are those that changed since then; where that is not
/// known any more the whole map is sent and `full` is true. With `Accept: application/octet-stream`
/// the answer is the inventory's bytes: a format byte, then one byte a seat (`a` available, `h` hold,
/// `b` booked, `x` blocked; a capital where a row begins).
#[utoipa::path(
    get, path = "/api/v1/events/{event_id}/seats", tag = "events",
    params(
        ("event_id" = u32, Path, description = "The event"),
        ("section" = Option<String>, Query, description = "Only this section's seats"),
        ("status" = Option<String>, Query, description = "Only `AVAILABLE`, `HOLD`, `BOOKED` or `BLOCKED` seats"),
        ("since" = Option<String>, Query, description = "The version that the client has: `version`, or `generation-version`"),
        ("If-None-Match" = Option<String>, Header, description = "The ETag that the client has"),
        ("X-Admin-Key" = Option<String>, Header, description = "For the numbers, where the public is told words"),
    ),
    responses(
        (status = 200, description = "The map", content(
            (SeatMapBody<'static> = "application/json"),
            (String = "application/octet-stream"),
        )),
        (status = 304, description = "The client has the newest map"),
        SeatsProblems,
    ),
)]
pub async fn map(context: RequestContext, _: Payload) -> HandlerResult {
    let caller = context.gates().pass(&context.head, RouteClass::Seats).await?;
    let id = event_id(&context.http)?;
    let told = Told::to(&context, &caller)?;
    let is_raw = context.header(header::ACCEPT.as_str()).is_some_and(accepts_raw_bytes);
    if context.http.query_string().is_empty()
        && let Some(answer) = get_if_fresh(&context, id, told, |frame| match is_raw {
            true => What::Bytes,
            false => What::Map(SeatId(1), frame.seats.map.inventory.seats(), None),
        })
    {
        return answer;
    }
    let event = context.state.sale.known_event(id).await?;
    let query = Query::of(&context.http)?;
    let filter = Filter::of(&query, &event.layout)?;
    let newest = context.state.frames.newest(&context.state.sale, &event).await?;
    if is_raw {
        return answer::answer(&context, &newest, What::Bytes, told).await;
    }
    let (frame, has) = compared(&context, &event, newest, &filter).await?;
    answer::answer(&context, &frame, wanted(&filter, has), told).await
}

/// The answer, if all that it needs is here and nobody has to be waited for: most of a crowd's.
fn get_if_fresh(
    context: &RequestContext,
    event: EventId,
    told: Told,
    what: impl FnOnce(&Frame) -> What,
) -> Option<HandlerResult> {
    let look = |frame: &Frame| answer::answer_at_hand(context, frame, what(frame), told);
    context.state.frames.get_if_fresh(event, look).flatten().map(Ok)
}

/// What the client has, compared with a frame that is not older if there is one.
async fn compared(
    context: &RequestContext,
    event: &Arc<Event>,
    frame: Arc<Frame>,
    filter: &Filter,
) -> Result<(Arc<Frame>, Has), SaleError> {
    let has = |frame: &Frame| filter.has(frame.mark().0, frame.mark().1);
    match has(&frame) {
        Has::Newer => {
            let frame = context.state.frames.next(&context.state.sale, event).await?;
            let has = has(&frame);
            Ok((frame, has))
        }
        has => Ok((frame, has)),
    }
}

fn wanted(filter: &Filter, has: Has) -> What {
    let (first, count) = filter.range;
    match (has, filter.status) {
        // Nothing changed, so none of any state.
        (Has::Newest, _) => What::Unchanged,
        (Has::Older(since), None) => What::Changes(since, first, count),
        // Of seats that were in this state and are not any more a list of changes would be silent.
        (Has::Older(_), Some(_)) => What::Map(first, count, filter.status),
        // A client that has what is not, or not here, has to go back.
        (Has::Newer | Has::Nothing, status) => What::Map(first, count, status),
    }
}

/// Counts by section
#[utoipa::path(
    get, path = "/api/v1/events/{event_id}/availability", tag = "events",
    params(
        ("event_id" = u32, Path, description = "The event"),
        ("If-None-Match" = Option<String>, Header, description = "The ETag that the client has"),
        ("X-Admin-Key" = Option<String>, Header, description = "For the numbers, where the public is told words"),
    ),
    responses(
        (status = 200, description = "The counts", body = AvailabilityBody<'static>),
        (status = 304, description = "The client has the newest counts"),
        SeatsProblems,
    ),
)]
pub async fn availability(context: RequestContext, _: Payload) -> HandlerResult {
    let caller = context.gates().pass(&context.head, RouteClass::Seats).await?;
    let id = event_id(&context.http)?;
    let told = Told::to(&context, &caller)?;
    if let Some(answer) = get_if_fresh(&context, id, told, |_| What::Availability) {
        return answer;
    }
    let event = context.state.sale.known_event(id).await?;
    let frame = context.state.frames.newest(&context.state.sale, &event).await?;
    answer::answer(&context, &frame, What::Availability, told).await
}

fn accepts_raw_bytes(accept: &str) -> bool {
    let first = accept.split(',').next().unwrap_or_default();
    first.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(OCTET_STREAM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_bytes_are_for_those_who_ask_for_them_first() {
        assert!(accepts_raw_bytes("application/octet-stream"));
        assert!(accepts_raw_bytes("Application/Octet-Stream;q=1, */*"));
        assert!(!accepts_raw_bytes("*/*"));
        assert!(!accepts_raw_bytes("application/json, application/octet-stream"));
    }
}
