//! `/api/v1/events/{event_id}/seats` and `…/availability`: what is free.

mod filter;
mod render;

use actix_web::HttpResponse;
use actix_web::http::{StatusCode, header};
use actix_web::web::{Bytes, Payload};

use crate::domain::RouteClass;
use crate::sale::SeatMap;

use super::endpoint::Answer;
use super::gates;
use super::openapi::{EventProblems, SeatsProblems};
use super::params::{Query, event_id};
use super::reply::json;
use super::state::Call;
use filter::Filter;
pub use render::{AvailabilityBody, SeatMapBody};

/// Content type of the inventory's raw bytes.
const OCTET_STREAM: &str = "application/octet-stream";
/// Clients may keep a map but must ask whether it is still the newest.
const REVALIDATE: &str = "no-cache";

/// The seat map
///
/// All seats with their states, or those of one section or status. With `since` equal to the
/// newest version there is nothing to send: `seats` is empty and `full` false; otherwise the
/// whole map is sent and `full` is true. With `Accept: application/octet-stream` the answer is
/// the inventory's bytes: a format byte, then one byte a seat (`a` available, `h` hold, `b`
/// booked, `x` blocked; a capital where a row begins).
#[utoipa::path(
    get, path = "/api/v1/events/{event_id}/seats", tag = "events",
    params(
        ("event_id" = u32, Path, description = "The event"),
        ("section" = Option<String>, Query, description = "Only this section's seats"),
        ("status" = Option<String>, Query, description = "Only `AVAILABLE`, `HOLD`, `BOOKED` or `BLOCKED` seats"),
        ("since" = Option<String>, Query, description = "The version that the client has: `version`, or `generation-version`"),
        ("If-None-Match" = Option<String>, Header, description = "The ETag that the client has"),
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
pub async fn map(call: Call, _: Payload) -> Answer {
    gates::pass(&call, RouteClass::Seats).await?;
    let event = event_id(&call.request)?;
    let query = Query::of(&call.request)?;
    let map = call.state.sale.seat_map(event).await?;
    let filter = Filter::of(&query, &map.event.layout)?;
    let raw = call.header(header::ACCEPT.as_str()).is_some_and(accepts_raw_bytes);
    let etag = etag(&map, raw);
    let mut answer = HttpResponse::Ok();
    answer.insert_header((header::ETAG, etag.as_str()));
    answer.insert_header((header::CACHE_CONTROL, REVALIDATE));
    answer.insert_header((header::VARY, "Accept"));
    answer.insert_header(("X-Seat-Map-Generation", map.generation));
    answer.insert_header(("X-Seat-Map-Version", map.version));
    if call.header(header::IF_NONE_MATCH.as_str()).is_some_and(|known| names(known, &etag)) {
        return Ok(answer.status(StatusCode::NOT_MODIFIED).finish());
    }
    if raw {
        let bytes = Bytes::copy_from_slice(map.inventory.as_bytes());
        return Ok(answer.content_type(OCTET_STREAM).body(bytes));
    }
    answer.content_type("application/json");
    Ok(answer.streaming(render::seat_map(map, filter)))
}

/// Counts by section
#[utoipa::path(
    get, path = "/api/v1/events/{event_id}/availability", tag = "events",
    params(("event_id" = u32, Path, description = "The event")),
    responses((status = 200, description = "The counts", body = AvailabilityBody<'static>), EventProblems),
)]
pub async fn availability(call: Call, _: Payload) -> Answer {
    gates::pass(&call, RouteClass::Seats).await?;
    let map = call.state.sale.seat_map(event_id(&call.request)?).await?;
    json(StatusCode::OK, &AvailabilityBody::new(&map))
}

/// The map's tag: a later generation or version is another map. The two representations differ.
fn etag(map: &SeatMap, raw: bool) -> String {
    let SeatMap { generation, version, .. } = map;
    format!("\"{generation}-{version}{}\"", if raw { "-bytes" } else { "" })
}

/// Whether an `If-None-Match` header names this tag. A tag made weak on its way still counts.
fn names(header: &str, etag: &str) -> bool {
    let tag = |text: &str| text.trim().trim_start_matches("W/") == etag;
    header.trim() == "*" || header.split(',').any(tag)
}

fn accepts_raw_bytes(accept: &str) -> bool {
    let first = accept.split(',').next().unwrap_or_default();
    first.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(OCTET_STREAM)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::fixtures;

    #[test]
    fn tags_carry_generation_and_version() {
        let map = fixtures::seat_map();
        assert_eq!(etag(&map, false), "\"3-17\"");
        assert!(names("\"1-1\", W/\"3-17\"", &etag(&map, false)));
        assert!(names("*", &etag(&map, false)));
        assert!(!names("\"3-17\"", &etag(&map, true)));
    }

    #[test]
    fn raw_bytes_are_for_those_who_ask_for_them_first() {
        assert!(accepts_raw_bytes("application/octet-stream"));
        assert!(accepts_raw_bytes("Application/Octet-Stream;q=1, */*"));
        assert!(!accepts_raw_bytes("*/*"));
        assert!(!accepts_raw_bytes("application/json, application/octet-stream"));
    }
}
