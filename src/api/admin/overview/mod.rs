//! `/api/v1/admin/overview`: one event and the deployment, as operators watch them.

mod health;
mod series;

use actix_web::http::StatusCode;
use actix_web::web::Payload;
use serde::Serialize;
use utoipa::ToSchema;

use super::room_body::RoomOverviewBody;
use crate::api::openapi::AdminEventProblems;
use crate::api::state::RequestContext;
use crate::domain::time::iso8601;
use crate::domain::{EventId, SeatCounts};
use crate::http::HandlerResult;
use crate::http::params::Query;
use crate::http::reply::json;
use crate::http::words;
use crate::sale::EventOverview;
use health::{ArchiveBody, HealthOverviewBody};
use series::SeriesBody;

/// One event and the deployment.
#[derive(Serialize, ToSchema)]
pub struct OverviewBody {
    /// When this was read.
    #[schema(format = DateTime)]
    as_of: String,
    /// The event; null if none was asked for.
    #[schema(required = true)]
    event: Option<EventOverviewBody>,
    /// Its waiting room; null if no event was asked for, and while Redis does not answer.
    #[schema(required = true)]
    waiting_room: Option<RoomOverviewBody>,
    /// How far the archive is behind; null while Redis does not answer.
    #[schema(required = true)]
    archive: Option<ArchiveBody>,
    /// The state of this process and its dependencies.
    health: HealthOverviewBody,
    /// What happened in the last 15 minutes, over all processes; null while Redis does not answer.
    #[schema(required = true)]
    series: Option<SeriesBody>,
}

/// An event with its seats and takings.
#[derive(Serialize, ToSchema)]
pub struct EventOverviewBody {
    /// Its id.
    #[schema(example = 1)]
    id: u32,
    /// Its name.
    #[schema(example = "Opening night")]
    name: String,
    /// As in the list of events.
    #[schema(value_type = words::EventStatus)]
    status: &'static str,
    /// ISO 4217 code.
    #[schema(example = "EUR")]
    currency: String,
    /// When holds begin.
    #[schema(format = DateTime, required = true)]
    on_sale_at: Option<String>,
    /// When holds end.
    #[schema(format = DateTime, required = true)]
    off_sale_at: Option<String>,
    /// When the event starts.
    #[schema(format = DateTime, required = true)]
    starts_at: Option<String>,
    /// Its seats; null if Redis does not have it.
    #[schema(required = true)]
    seats: Option<SeatTotalsBody>,
    /// Count × price of its seats.
    #[schema(required = true)]
    takings: Option<TakingsNowBody>,
    /// Bookings that hold seats and are not sold; null without a fresh view.
    #[schema(example = 61, required = true)]
    holds_open: Option<u64>,
    /// Its sections in order; empty if Redis does not have it.
    sections: Vec<SectionOverviewBody>,
}

/// Seats by state.
#[derive(Serialize, ToSchema)]
pub struct SeatTotalsBody {
    /// All of them.
    #[schema(example = 1240)]
    total: u32,
    /// Free.
    #[schema(example = 412)]
    free: u32,
    /// Held.
    #[schema(example = 131)]
    held: u32,
    /// Sold.
    #[schema(example = 685)]
    sold: u32,
    /// Not for sale.
    #[schema(example = 12)]
    blocked: u32,
}

/// The price of seats, in the currency's minor unit.
#[derive(Serialize, ToSchema)]
pub struct TakingsNowBody {
    /// Of sold ones.
    #[schema(example = 5_630_600)]
    sold: i64,
    /// Of held ones.
    #[schema(example = 1_048_700)]
    held: i64,
}

/// A section with its seats by state.
#[derive(Serialize, ToSchema)]
pub struct SectionOverviewBody {
    /// Its name.
    #[schema(example = "Stalls")]
    name: String,
    /// Price of a seat, in the currency's minor unit.
    #[schema(example = 9_500)]
    price: i64,
    /// Its first seat; the others follow in order.
    #[schema(example = 121)]
    first_seat_id: u32,
    /// Its seats.
    #[serde(flatten)]
    seats: SeatTotalsBody,
}

impl SeatTotalsBody {
    fn new(counts: SeatCounts) -> Self {
        let SeatCounts { available, hold, booked, blocked } = counts;
        let total = available + hold + booked + blocked;
        SeatTotalsBody { total, free: available, held: hold, sold: booked, blocked }
    }
}

impl EventOverviewBody {
    fn new(overview: &EventOverview) -> Self {
        let event = &overview.event;
        let layout = event.layout.sections();
        let takings = overview.takings().map(|(sold, held)| TakingsNowBody { sold, held });
        let sections = overview.sections.iter().flatten();
        EventOverviewBody {
            id: event.id.0,
            name: event.name.clone(),
            status: event.api_status(overview.now_ms),
            currency: event.currency.clone(),
            on_sale_at: event.on_sale_at_ms.map(iso8601),
            off_sale_at: event.off_sale_at_ms.map(iso8601),
            starts_at: event.starts_at_ms.map(iso8601),
            seats: overview.totals().map(SeatTotalsBody::new),
            takings,
            holds_open: overview.open_holds,
            sections: sections
                .map(|one| SectionOverviewBody {
                    name: layout[one.section].name.clone(),
                    price: layout[one.section].price,
                    first_seat_id: one.first_seat,
                    seats: SeatTotalsBody::new(one.counts),
                })
                .collect(),
        }
    }
}

/// Watch an event and the deployment
///
/// Seats, takings, waiting room, lag of the archive, health, and what happened in the last 15 minutes, per
/// five seconds and summed over all processes. Without `event_id`: the deployment alone, and in `series`
/// requests that were refused before their event was known.
#[utoipa::path(
    get, operation_id = "get_overview", path = "/api/v1/admin/overview", tag = "admin",
    params(("event_id" = Option<u32>, Query, minimum = 1, description = "The event", example = 1)),
    responses((status = 200, description = "As they are now", body = OverviewBody), AdminEventProblems),
)]
pub async fn show(context: RequestContext, _: Payload) -> HandlerResult {
    context.gates().pass_admin(&context.head).await?;
    let event = Query::of(&context.http)?.integer("event_id", 1..=u32::MAX)?.map(EventId);
    let sale = &context.state.sale;
    let overview = match event {
        Some(event) => Some(Box::pin(sale.overview(event)).await?),
        None => None,
    };
    // While Redis does not answer, the rest is still shown.
    let (deployment, series) = tokio::join!(sale.deployment(), sale.series(event));
    let body = OverviewBody {
        as_of: iso8601(jiff::Timestamp::now().as_millisecond()),
        event: overview.as_ref().map(EventOverviewBody::new),
        waiting_room: overview.and_then(|one| one.room).map(|room| RoomOverviewBody::new(&room)),
        archive: deployment.as_ref().ok().map(|one| ArchiveBody::new(one)),
        health: HealthOverviewBody::new(&context, deployment.as_deref().ok()),
        series: series.ok().map(SeriesBody::new),
    };
    json(StatusCode::OK, &body)
}
