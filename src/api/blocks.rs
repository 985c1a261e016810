//! `/api/v1/events/{event_id}/blocks`: seats that are kept back from the sale. Admins only.

use actix_web::http::StatusCode;
use actix_web::web::Payload;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::admin_audit::{self, AdminAction};
use super::openapi::{BlockProblems, ListBlocksProblems};
use super::seat_ids::{SeatNumber, each_once};
use super::state::RequestContext;
use crate::domain::SeatId;
use crate::domain::booking::format_seats;
use crate::domain::limits::{BLOCK_SEATS_MAX, LABEL_BYTES_MAX, REASON_BYTES_MAX};
use crate::domain::time::iso8601;
use crate::http::HandlerResult;
use crate::http::body::read_object;
use crate::http::fields::{List, Text};
use crate::http::params::{Query, event_id};
use crate::http::problem::Problem;
use crate::http::reply::json;
use crate::http::words;
use crate::redis::BlockAction;
use crate::sale::{ArchivedBlock, BlockPosition, BlockRequest, BlockSelection};

/// Blocks and releases of one page, at most.
const BLOCKS_PAGE_MAX: u32 = 100_000;

/// Seats to block or release: `seat_ids`, or a `section`, or one `row_number` of it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewBlock)]
pub struct NewBlockBody {
    /// 1 to 1,000 seats.
    #[schema(value_type = Option<Vec<u32>>, min_items = 1, max_items = 1_000, example = json!([1, 2]))]
    seat_ids: Option<List<SeatNumber, 1, BLOCK_SEATS_MAX>>,
    /// All seats of this section.
    #[schema(value_type = Option<String>, min_length = 1, max_length = 64)]
    section: Option<Text<1, LABEL_BYTES_MAX>>,
    /// Only those of this row.
    #[schema(value_type = Option<String>, min_length = 1, max_length = 64)]
    row_number: Option<Text<1, LABEL_BYTES_MAX>>,
    /// Why.
    #[schema(value_type = String, min_length = 1, max_length = 200, example = "camera position")]
    reason: Text<1, REASON_BYTES_MAX>,
}

/// The result of a block or release.
#[derive(Serialize, ToSchema)]
pub struct BlockedBody {
    /// The event.
    #[schema(example = 1)]
    event_id: u32,
    /// `block` or `release`.
    #[schema(value_type = words::BlockAction)]
    action: &'static str,
    /// How many seats changed; 0 if all were in that state already.
    #[schema(example = 2)]
    changed: u32,
}

/// Archived blocks and releases of an event.
#[derive(Serialize, ToSchema)]
pub struct BlockListBody<'a> {
    /// The event.
    #[schema(example = 1)]
    event_id: u32,
    /// In order.
    blocks: Vec<BlockBody<'a>>,
    /// Send it as `cursor` for later ones; `null` if there are none.
    #[schema(example = "MSBibG9ja3MgMQ", required = true)]
    next_cursor: Option<String>,
}

/// One block or release.
#[derive(Serialize, ToSchema)]
pub struct BlockBody<'a> {
    /// `block` or `release`.
    #[schema(value_type = words::BlockAction)]
    action: &'static str,
    /// The seats that changed.
    #[schema(example = json!([1, 2]))]
    seat_ids: Vec<u32>,
    /// Why.
    #[schema(example = "camera position")]
    reason: &'a str,
    /// The name of the admin key.
    #[schema(example = "box-office")]
    by: &'a str,
    /// When.
    #[schema(format = DateTime, example = "2026-02-01T12:00:00.000Z")]
    at: String,
}

/// Block seats
///
/// Keeps free seats back from the sale, all or none; blocked ones stay as they are.
#[utoipa::path(
    post, operation_id = "block_seats", path = "/api/v1/events/{event_id}/blocks", tag = "events",
    params(
        ("event_id" = u32, Path, description = "The event", minimum = 1, example = 1),
    ),
    request_body(content = NewBlockBody, example = json!({ "seat_ids": [1, 2], "reason": "camera position" })),
    responses((status = 200, description = "Done", body = BlockedBody), BlockProblems),
)]
pub async fn block(context: RequestContext, payload: Payload) -> HandlerResult {
    change_blocks(context, payload, BlockAction::Block).await
}

/// Release blocked seats
///
/// Returns blocked seats to the sale; others stay as they are.
#[utoipa::path(
    post, operation_id = "release_seats", path = "/api/v1/events/{event_id}/blocks/release", tag = "events",
    params(
        ("event_id" = u32, Path, description = "The event", minimum = 1, example = 1),
    ),
    request_body(content = NewBlockBody, example = json!({ "seat_ids": [1, 2], "reason": "camera position" })),
    responses((status = 200, description = "Done", body = BlockedBody), BlockProblems),
)]
pub async fn release(context: RequestContext, payload: Payload) -> HandlerResult {
    change_blocks(context, payload, BlockAction::Release).await
}

/// List blocks and releases
///
/// In order, with actor, time and reason, from the archive.
#[utoipa::path(
    get, operation_id = "list_blocks", path = "/api/v1/events/{event_id}/blocks", tag = "events",
    params(
        ("event_id" = u32, Path, description = "The event", minimum = 1, example = 1),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
        ("page_size" = Option<u32>, Query, minimum = 1, maximum = 100_000, description = "How many at most, 1 to 100,000; 100,000 if absent"),
    ),
    responses((status = 200, description = "All of them", body = BlockListBody<'static>), ListBlocksProblems),
)]
pub async fn list(context: RequestContext, _: Payload) -> HandlerResult {
    let admin = context.gates().pass_admin(&context.head).await?;
    let event = event_id(&context.http)?;
    let target = format!("event {event}");
    let action = AdminAction { verb: "blocks_list", target, detail: String::new() };
    let query = Query::of(&context.http)?;
    let limit = query.page_size(BLOCKS_PAGE_MAX)?.unwrap_or(BLOCKS_PAGE_MAX);
    let after = query.cursor(|cursor| BlockPosition::parse(event, cursor))?;
    let list = async {
        let (blocks, has_more) = context.state.sale.blocks(event, after.as_ref(), limit).await?;
        let last = blocks.last().filter(|_| has_more);
        let next_cursor = last.map(|last| last.position().cursor(event));
        let blocks = blocks.iter().map(BlockBody::new).collect();
        json(StatusCode::OK, &BlockListBody { event_id: event.0, blocks, next_cursor })
    };
    admin_audit::recorded(&context, &admin, action, Box::pin(list)).await
}

async fn change_blocks(
    context: RequestContext,
    payload: Payload,
    block_action: BlockAction,
) -> HandlerResult {
    let admin = context.gates().pass_admin(&context.head).await?;
    let event = event_id(&context.http)?;
    let body = read_object(&context.http, payload, context.state.admin_body_limits()).await?;
    let (seats, reason) = parse(body)?;
    let action = AdminAction {
        verb: match block_action {
            BlockAction::Block => "seats_block",
            BlockAction::Release => "seats_release",
        },
        target: format!("event {event}"),
        detail: format!("{reason:?}: {}", shown(&seats)),
    };
    let request = BlockRequest { event, action: block_action, seats, actor: admin.clone(), reason };
    admin_audit::recorded(&context, &admin, action, Box::pin(done(&context, request))).await
}

/// The seats in the audit record.
fn shown(seats: &BlockSelection) -> String {
    match seats {
        BlockSelection::Named(seats) => format!("seats {}", format_seats(seats)),
        BlockSelection::Of { section, row: Some(row) } => format!("section {section}, row {row}"),
        BlockSelection::Of { section, row: None } => format!("section {section}"),
    }
}

async fn done(context: &RequestContext, request: BlockRequest) -> HandlerResult {
    let (event, action) = (request.event, request.action);
    // Boxed because the compiler's limit on the depth of futures is near.
    let changed = Box::pin(context.state.sale.block(&request)).await?;
    context.state.seat_maps.invalidate(event);
    tracing::info!(
        event_id = event.0,
        admin = request.actor,
        action = action.as_str(),
        changed,
        reason = request.reason,
        duration_ms = context.elapsed_ms(),
        "house seats changed"
    );
    json(StatusCode::OK, &BlockedBody { event_id: event.0, action: action.as_str(), changed })
}

fn parse(body: NewBlockBody) -> Result<(BlockSelection, String), Problem> {
    let (section, row) = (body.section.map(|text| text.0), body.row_number.map(|text| text.0));
    let seats = match (body.seat_ids, section, row) {
        (Some(List(seats)), None, None) => BlockSelection::Named(each_once(seats)?),
        (None, Some(section), row) => BlockSelection::Of { section, row },
        _ => {
            let detail = "or a `section`, with a `row_number` or without: send one of them";
            return Err(Problem::field("seat_ids", detail));
        }
    };
    Ok((seats, body.reason.0))
}

impl<'a> BlockBody<'a> {
    fn new(block: &'a ArchivedBlock) -> Self {
        let action = if block.is_block() { BlockAction::Block } else { BlockAction::Release };
        BlockBody {
            action: action.as_str(),
            seat_ids: block.seats.iter().map(|SeatId(seat)| *seat).collect(),
            reason: &block.reason,
            by: &block.actor,
            at: iso8601(block.time_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::http::fields;

    fn parsed(body: serde_json::Value) -> Result<(BlockSelection, String), Problem> {
        parse(fields::parse(body.to_string().as_bytes())?)
    }

    #[test]
    fn wrong_block_is_refused_with_its_field() {
        for (body, expected) in [
            (json!({ "reason": "x" }), "`seat_ids` or a `section`"),
            (json!({ "seat_ids": [1], "section": "S", "reason": "x" }), "send one of them"),
            (json!({ "row_number": "A", "reason": "x" }), "send one of them"),
            (json!({ "seat_ids": [1, 1], "reason": "x" }), "names seat 1 a second time"),
            (json!({ "seat_ids": [1] }), "`reason` is missing"),
            (json!({ "seat_ids": [1], "reason": "" }), "`reason` must be a text"),
            (json!({ "seats": [1], "reason": "x" }), "`seats` is not a field"),
        ] {
            let problem = parsed(body.clone()).unwrap_err();
            assert!(problem.detail.contains(expected), "{body}: {}", problem.detail);
        }
    }

    #[test]
    fn seats_are_named_or_of_a_row() {
        let body = json!({ "section": "S", "row_number": "A", "reason": "house" });
        let (seats, reason) = parsed(body).unwrap();
        assert_eq!(seats, BlockSelection::Of { section: "S".into(), row: Some("A".into()) });
        assert_eq!(reason, "house");
    }
}
