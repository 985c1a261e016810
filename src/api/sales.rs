//! `/api/v1/events/{event_id}/sales.csv`: an event's sales as a CSV file. Admins only.

use actix_web::HttpResponse;
use actix_web::body::MessageBody;
use actix_web::http::header;
use actix_web::web::{Bytes, Payload};
use futures_util::stream::{self, StreamExt};

use crate::domain::outcome::OUTCOMES;
use crate::domain::{EventId, Outcome};
use crate::sale::SaleError;
use crate::sale::export::SalesExport;

use super::admin_audit::{self, AdminAction};
use super::openapi::SalesProblems;
use super::state::RequestContext;
use crate::http::HandlerResult;
use crate::http::outgoing::{With, no_room};
use crate::http::params::{Query, event_id};
use crate::http::problem::Problem;
use crate::http::words;
use crate::telemetry::warn_repeated;

/// Memory of an export in progress: one piece, and the documents it is made from.
const PIECE_BYTES: usize = 4 << 20;

/// An event's sales as CSV
///
/// One line a seat, in the order in which the bookings were made; amounts in the currency's minor
/// unit, times in UTC. Read from the archive while it is sent: a sale that is confirmed meanwhile may
/// be missing, and a response without its last chunk is incomplete. Every field is in
/// quotes, the file is UTF-8 with a byte order mark, and text that a spreadsheet would run as a formula
/// gets an apostrophe before it, also behind a separator within a text.
#[utoipa::path(
    get, operation_id = "export_sales", path = "/api/v1/events/{event_id}/sales.csv", tag = "events",
    params(
        ("event_id" = u32, Path, description = "The event", minimum = 1, example = 1),
        ("status" = Option<words::SaleOutcome>, Query, description = "`CONFIRMED` if absent; `CANCELLED`: after they were sold; `VOIDED`: refused by the archive"),
    ),
    responses(
        (status = 200, description = "The sales", content_type = "text/csv", body = String),
        SalesProblems,
    ),
)]
pub async fn csv(context: RequestContext, _: Payload) -> HandlerResult {
    let admin = context.gates().pass_admin(&context.head).await?;
    let event = event_id(&context.http)?;
    let outcome = status(&Query::of(&context.http)?)?;
    let action = AdminAction {
        verb: "sales_export",
        target: format!("event {event}"),
        detail: outcome.status().as_str().to_owned(),
    };
    admin_audit::recorded(
        &context,
        &admin,
        action,
        Box::pin(exported(&context, &admin, event, outcome)),
    )
    .await
}

/// Starts the export; the audit record is complete once it has begun.
async fn exported(
    context: &RequestContext,
    admin: &str,
    event: EventId,
    outcome: Outcome,
) -> HandlerResult {
    let memory = &context.state.memory;
    let charge = memory.charge_or_make_room(PIECE_BYTES).ok_or_else(|| no_room(memory))?;
    let mut export = context.state.sale.sales(event, outcome).await?;
    // Read before the head is sent, so that an unavailable MongoDB still becomes a 503.
    let first = export.next().await?.unwrap_or_default();
    tracing::info!(event_id = event.0, admin, status = outcome.status().as_str(), "sales exported");
    let word = outcome.status().as_str().to_lowercase();
    let name = format!("attachment; filename=\"event-{event}-sales-{word}.csv\"");
    let rest = stream::try_unfold(export, next_piece);
    let answer = HttpResponse::Ok()
        .content_type("text/csv; charset=utf-8; header=present")
        .insert_header((header::CONTENT_DISPOSITION, name))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .streaming(stream::iter([Ok(Bytes::from(first))]).chain(rest));
    Ok(answer.map_body(|_, body| With::new(body, charge).boxed()))
}

async fn next_piece(mut export: SalesExport) -> Result<Option<(Bytes, SalesExport)>, SaleError> {
    match export.next().await {
        Ok(piece) => Ok(piece.map(|piece| (Bytes::from(piece), export))),
        Err(error) => {
            // The client sees a body without its last chunk.
            warn_repeated!(%error, "an export of sales broke off");
            Err(error)
        }
    }
}

fn status(query: &Query) -> Result<Outcome, Problem> {
    let Some(word) = query.get("status")? else { return Ok(Outcome::Sold) };
    Outcome::of_status_word(word).ok_or_else(|| {
        let words = OUTCOMES.map(|row| row.2.as_str());
        Problem::parameter("status", format_args!("must be one of {}", words.join(", ")))
    })
}
