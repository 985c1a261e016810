//! `/api/v1/admin/events/{event_id}/report` and `/demand`.

use std::collections::BTreeMap;

use actix_web::http::StatusCode;
use actix_web::web::Payload;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::openapi::AdminEventProblems;
use crate::api::state::RequestContext;
use crate::domain::time::iso8601;
use crate::http::HandlerResult;
use crate::http::params::event_id;
use crate::http::reply::json;
use crate::sale::SalesReport;

/// The report of an event.
#[derive(Serialize, ToSchema)]
pub struct ReportBody {
    /// The event.
    #[schema(example = 1)]
    event_id: u32,
    /// Its name.
    name: String,
    /// ISO 4217 code of the amounts.
    #[schema(example = "EUR")]
    currency: String,
    /// When it was read; what is not archived by then is missing.
    #[schema(format = DateTime)]
    as_of: String,
    /// All sales.
    takings: ReportTakingsBody,
    /// By section, in order.
    sections: Vec<SectionReportBody>,
    /// By the hour in which they were paid; hours without sales are left out.
    hours: Vec<HourReportBody>,
    /// How far requests and bookings came.
    funnel: FunnelBody,
    /// Requests refused, by reason; those that occurred.
    refused: BTreeMap<&'static str, u64>,
    /// Requests refused, by place: `memory`, `redis`, `waiting_room`, `limits`.
    refused_by_place: BTreeMap<&'static str, u64>,
    /// Since when refused requests are counted; null if none was.
    #[schema(format = DateTime, required = true)]
    counted_since: Option<String>,
    /// Whether there are more bookings than could be read within 20 s: then figures are too low.
    is_cut: bool,
}

/// All sales of an event, in the currency's minor unit.
#[derive(Serialize, ToSchema)]
pub struct ReportTakingsBody {
    /// Of what is sold now.
    #[schema(example = 5_630_600)]
    sold: i64,
    /// Of what was sold and cancelled.
    #[schema(example = 28_500)]
    cancelled: i64,
    /// Seats sold.
    #[schema(example = 685)]
    seats_sold: u64,
    /// Bookings sold.
    #[schema(example = 301)]
    bookings_sold: u64,
}

/// A section.
#[derive(Serialize, ToSchema)]
pub struct SectionReportBody {
    /// Its name.
    #[schema(example = "Stalls")]
    name: String,
    /// Price of a seat, in the currency's minor unit.
    #[schema(example = 9_500)]
    price: i64,
    /// Its seats.
    #[schema(example = 500)]
    seats: u32,
    /// Those sold.
    #[schema(example = 300)]
    seats_sold: u64,
    /// Their price.
    #[schema(example = 2_850_000)]
    takings: i64,
}

/// An hour.
#[derive(Serialize, ToSchema)]
pub struct HourReportBody {
    /// When it began.
    #[schema(format = DateTime)]
    hour: String,
    /// Bookings paid.
    bookings: u64,
    /// Their seats.
    seats: u64,
    /// Their price, in the currency's minor unit.
    takings: i64,
}

/// How far requests and bookings came.
#[derive(Serialize, ToSchema)]
pub struct FunnelBody {
    /// Holds granted and requests refused.
    #[schema(example = 48_211)]
    asked: u64,
    /// Holds granted.
    #[schema(example = 512)]
    held: u64,
    /// Bookings paid.
    #[schema(example = 301)]
    paid: u64,
}

/// How often each seat was held and came back.
#[derive(Serialize, ToSchema)]
pub struct DemandBody {
    /// The event.
    #[schema(example = 1)]
    event_id: u32,
    /// Since when this process counts; null if nothing was held since it began.
    #[schema(format = DateTime, required = true)]
    since: Option<String>,
    /// How many seats there are.
    #[schema(example = 1240)]
    seats: u32,
    /// Times held, by seat from 1.
    held: Vec<u16>,
    /// Times it came back, by seat from 1.
    returned: Vec<u16>,
    /// The greatest of `held`.
    #[schema(example = 23)]
    max_held: u16,
}

/// Report an event's sales
///
/// Takings by section and hour, from the archive; how far requests and bookings came; refusals by reason and
/// by place, which all processes count together.
#[utoipa::path(
    get, operation_id = "get_event_report", path = "/api/v1/admin/events/{event_id}/report", tag = "admin",
    params(("event_id" = u32, Path, description = "The event", minimum = 1, example = 1)),
    responses((status = 200, description = "The report", body = ReportBody), AdminEventProblems),
)]
pub async fn show(context: RequestContext, _: Payload) -> HandlerResult {
    context.gates().pass_admin(&context.head).await?;
    let report = context.state.sale.event_report(event_id(&context.http)?).await?;
    json(StatusCode::OK, &ReportBody::new(report))
}

/// Show the demand for an event's seats
///
/// How often each seat was held and came back, by the booking log as this process has read it since it
/// began: processes that began later count less.
#[utoipa::path(
    get, operation_id = "get_event_demand", path = "/api/v1/admin/events/{event_id}/demand", tag = "admin",
    params(("event_id" = u32, Path, description = "The event", minimum = 1, example = 1)),
    responses((status = 200, description = "The demand", body = DemandBody), AdminEventProblems),
)]
pub async fn demand(context: RequestContext, _: Payload) -> HandlerResult {
    context.gates().pass_admin(&context.head).await?;
    let id = event_id(&context.http)?;
    let seats = context.state.sale.known_event(id).await?.layout.total_seats();
    let mut demand = context.state.sale.live().activity().demand(id);
    demand.held.resize(seats as usize, 0);
    demand.returned.resize(seats as usize, 0);
    let body = DemandBody {
        event_id: id.0,
        since: (demand.since_ms > 0).then(|| iso8601(demand.since_ms)),
        seats,
        max_held: demand.held.iter().copied().max().unwrap_or_default(),
        held: demand.held,
        returned: demand.returned,
    };
    json(StatusCode::OK, &body)
}

impl ReportBody {
    fn new(report: SalesReport) -> Self {
        let event = &report.event;
        let ranges = event.layout.section_ranges().into_iter().zip(&report.sections);
        let sections = ranges.map(|((section, _, seats), sold)| SectionReportBody {
            name: section.name.clone(),
            price: section.price,
            seats,
            seats_sold: sold.seats,
            takings: sold.amount,
        });
        let hours = report.hours.iter().map(|(hour_ms, sold)| HourReportBody {
            hour: iso8601(*hour_ms),
            bookings: sold.bookings,
            seats: sold.seats,
            takings: sold.amount,
        });
        ReportBody {
            event_id: event.id.0,
            name: event.name.clone(),
            currency: event.currency.clone(),
            as_of: iso8601(report.as_of_ms),
            takings: ReportTakingsBody {
                sold: report.sold.amount,
                cancelled: report.cancelled.amount,
                seats_sold: report.sold.seats,
                bookings_sold: report.sold.bookings,
            },
            sections: sections.collect(),
            hours: hours.collect(),
            funnel: FunnelBody {
                asked: report.held + report.refusals.total(),
                held: report.held,
                paid: report.paid,
            },
            counted_since: report.refusals.since_ms.map(iso8601),
            refused: report.refusals.by_reason,
            refused_by_place: report.refusals.by_place,
            is_cut: report.is_cut,
        }
    }
}
