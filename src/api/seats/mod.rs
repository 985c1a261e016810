//! `/api/v1/events/{event_id}/seats` and `…/availability`: the seats and their states.
//!
//! | file | contents |
//! |---|---|
//! | `filter` | the query: which seats, since which version |
//! | `cache` | the newest version of each event, shared by all requests |
//! | `version`, `counted` | one version, each representation encoded once |
//! | `selection`, `body`, `json` | which seats a body contains, and its encoding |
//! | `response` | ETag, caching, compression |

mod body;
mod cache;
mod counted;
mod filter;
mod json;
mod response;
mod selection;
mod version;

use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::http::header;
use actix_web::web::Payload;

use crate::domain::{Event, EventId, RouteClass, SeatId};
use crate::sale::SaleError;

use super::openapi::SeatsProblems;
use super::state::RequestContext;
use crate::http::HandlerResult;
use crate::http::params::{Query, event_id};
use crate::http::words;
use body::Content;
pub use cache::{CacheStats, SeatMapCache};
use filter::{ClientVersion, Filter};
pub use json::{AvailabilityBody, SeatMapBody};
pub use response::DetailLevel;
use response::{OCTET_STREAM, respond, respond_if_cached};
use version::SeatMapVersion;

/// The seat map
///
/// All seats with their states, or those of one section or status. With `since`, the client's version,
/// `full` is false and `seats` are those that changed since then; if the changes are no longer known, the
/// whole map is sent and `full` is true. With `Accept: application/octet-stream` the body is the
/// inventory's bytes: a format byte, then one byte per seat (`a` available, `h` hold, `b` booked, `x`
/// blocked; upper case where a row begins).
#[utoipa::path(
    get, operation_id = "get_seat_map", path = "/api/v1/events/{event_id}/seats", tag = "events",
    params(
        ("event_id" = u32, Path, description = "The event", minimum = 1, example = 1),
        ("section" = Option<String>, Query, description = "Only this section's seats"),
        ("status" = Option<words::SeatStatus>, Query, description = "Only seats in this state"),
        ("since" = Option<String>, Query, pattern = r"^[0-9]+(-[0-9]+)?$", description = "The client's version: `version`, or `generation-version`"),
        ("If-None-Match" = Option<String>, Header, description = "The client's ETag"),
    ),
    responses(
        (status = 200, description = "The map", content(
            (SeatMapBody<'static> = "application/json"),
            (String = "application/octet-stream"),
        ), headers(("ETag" = String, description = "The version: send it as `If-None-Match`"))),
        (status = 304, description = "The client has the newest map"),
        SeatsProblems,
    ),
)]
pub async fn map(context: RequestContext, _: Payload) -> HandlerResult {
    let caller = context.gates().pass(&context.head, RouteClass::Seats).await?;
    let id = event_id(&context.http)?;
    let level = DetailLevel::of_caller(&context, &caller)?;
    let is_raw = context.header(&header::ACCEPT).is_some_and(accepts_raw_bytes);
    if context.http.query_string().is_empty()
        && let Some(response) = get_if_fresh(&context, id, level, |version| match is_raw {
            true => Content::Bytes,
            false => Content::Map(SeatId(1), version.seats.map.inventory.seats(), None),
        })
    {
        return Ok(response);
    }
    let event = context.state.sale.known_event(id).await?;
    let query = Query::of(&context.http)?;
    let filter = Filter::of(&query, &event.layout)?;
    let newest = context.state.seat_maps.newest(&context.state.sale, &event).await?;
    if is_raw {
        return respond(&context, &newest, Content::Bytes, level).await;
    }
    let (version, client) = compare(&context, &event, newest, &filter).await?;
    respond(&context, &version, content(&filter, client), level).await
}

/// The response if everything it needs is cached: the case of most requests under load.
fn get_if_fresh(
    context: &RequestContext,
    event: EventId,
    level: DetailLevel,
    content: impl FnOnce(&SeatMapVersion) -> Content,
) -> Option<HttpResponse> {
    let read =
        |version: &SeatMapVersion| respond_if_cached(context, version, content(version), level);
    context.state.seat_maps.get_if_fresh(event, read).flatten()
}

/// Compares the client's version with the newest; waits for the next version if the client has a newer one.
async fn compare(
    context: &RequestContext,
    event: &Arc<Event>,
    version: Arc<SeatMapVersion>,
    filter: &Filter,
) -> Result<(Arc<SeatMapVersion>, ClientVersion), SaleError> {
    let client = |version: &SeatMapVersion| filter.compare(version.number().0, version.number().1);
    match client(&version) {
        ClientVersion::Newer => {
            let version = context.state.seat_maps.next(&context.state.sale, event).await?;
            let client = client(&version);
            Ok((version, client))
        }
        client => Ok((version, client)),
    }
}

fn content(filter: &Filter, client: ClientVersion) -> Content {
    let (first, count) = filter.range;
    match (client, filter.status) {
        // Nothing changed, in any state.
        (ClientVersion::Newest, _) => Content::Unchanged,
        (ClientVersion::Older(since), None) => Content::Changes(since, first, count),
        // A list of changes could not report seats that have left this state.
        (ClientVersion::Older(_), Some(_)) => Content::Map(first, count, filter.status),
        // A version that this process does not have is replaced by the whole map.
        (ClientVersion::Newer | ClientVersion::None, status) => Content::Map(first, count, status),
    }
}

/// Counts by section
///
/// How many seats are free, held, sold and blocked.
#[utoipa::path(
    get, operation_id = "get_availability", path = "/api/v1/events/{event_id}/availability", tag = "events",
    params(
        ("event_id" = u32, Path, description = "The event", minimum = 1, example = 1),
        ("If-None-Match" = Option<String>, Header, description = "The client's ETag"),
    ),
    responses(
        (status = 200, description = "The counts", body = AvailabilityBody<'static>, headers(("ETag" = String, description = "The version: send it as `If-None-Match`"))),
        (status = 304, description = "The client has the newest counts"),
        SeatsProblems,
    ),
)]
pub async fn availability(context: RequestContext, _: Payload) -> HandlerResult {
    let caller = context.gates().pass(&context.head, RouteClass::Seats).await?;
    let id = event_id(&context.http)?;
    let level = DetailLevel::of_caller(&context, &caller)?;
    if let Some(response) = get_if_fresh(&context, id, level, |_| Content::Availability) {
        return Ok(response);
    }
    let event = context.state.sale.known_event(id).await?;
    let version = context.state.seat_maps.newest(&context.state.sale, &event).await?;
    respond(&context, &version, Content::Availability, level).await
}

fn accepts_raw_bytes(accept: &str) -> bool {
    let first = accept.split(',').next().unwrap_or_default();
    first.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(OCTET_STREAM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_bytes_are_sent_if_accept_lists_them_first() {
        assert!(accepts_raw_bytes("application/octet-stream"));
        assert!(accepts_raw_bytes("Application/Octet-Stream;q=1, */*"));
        assert!(!accepts_raw_bytes("*/*"));
        assert!(!accepts_raw_bytes("application/json, application/octet-stream"));
    }
}
