//! `/api/v1/admin/search`: bookings, users and seats by what a person types.

use actix_web::http::StatusCode;
use actix_web::web::Payload;
use serde::Serialize;
use utoipa::ToSchema;

use super::booking_body::{AdminBookingBody, AdminSeatBody};
use crate::api::admin_audit::{self, AdminAction};
use crate::api::openapi::AdminEventProblems;
use crate::api::state::RequestContext;
use crate::domain::EventId;
use crate::http::HandlerResult;
use crate::http::params::Query;
use crate::http::problem::Problem;
use crate::http::reply::json;
use crate::http::words;
use crate::sale::{FoundSeat, SearchHits};

/// Longest text, bytes.
const TEXT_BYTES_MAX: usize = 200;

/// The results of a search.
#[derive(Serialize, ToSchema)]
pub struct SearchBody {
    /// The text.
    #[schema(example = "K-20")]
    q: String,
    /// What was found: at most 20 of each type.
    hits: Vec<SearchHit>,
}

/// Something that was found.
#[derive(Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum SearchHit {
    /// A booking.
    Booking {
        /// The booking.
        booking: Box<AdminBookingBody>,
    },
    /// A user with bookings.
    User {
        /// The user.
        #[schema(example = "ann")]
        user_id: String,
        /// How many bookings the archive has.
        #[schema(example = 3)]
        bookings: u64,
    },
    /// A seat.
    Seat {
        /// Its event.
        #[schema(example = 1)]
        event_id: u32,
        /// The event's name.
        event_name: String,
        /// The seat.
        #[serde(flatten)]
        seat: AdminSeatBody,
        /// Its state; null if Redis does not have the event.
        #[schema(value_type = Option<words::SeatStatus>, required = true)]
        state: Option<&'static str>,
        /// The booking that has it.
        #[schema(required = true)]
        booking_id: Option<String>,
    },
}

/// Search bookings, users and seats
///
/// A booking's id; `event:seat`; a seat's name such as `K-20` or `Stalls K-20`, in `event_id` or in the
/// 20 newest events on sale; a user.
#[utoipa::path(
    get, operation_id = "search", path = "/api/v1/admin/search", tag = "admin",
    params(
        ("q" = String, Query, min_length = 1, max_length = 200, description = "What to find", example = "K-20"),
        ("event_id" = Option<u32>, Query, minimum = 1, description = "Only seats of this event"),
    ),
    responses((status = 200, description = "What was found", body = SearchBody), AdminEventProblems),
)]
pub async fn find(context: RequestContext, _: Payload) -> HandlerResult {
    let admin = context.gates().pass_admin(&context.head).await?;
    let query = Query::of(&context.http)?;
    let text = query.get("q")?.unwrap_or_default().trim().to_owned();
    if text.is_empty() || text.len() > TEXT_BYTES_MAX {
        let expected = format!("must be a text of 1 to {TEXT_BYTES_MAX} bytes");
        return Err(Problem::parameter("q", expected));
    }
    let event = query.integer("event_id", 1..=u32::MAX)?.map(EventId);
    let action = AdminAction { verb: "search", target: String::new(), detail: format!("{text:?}") };
    let found = async {
        let hits = context.state.sale.search(&text, event).await?;
        json(StatusCode::OK, &SearchBody { q: text.clone(), hits: hits_of(hits) })
    };
    admin_audit::recorded(&context, &admin, action, Box::pin(found)).await
}

fn hits_of(hits: SearchHits) -> Vec<SearchHit> {
    let SearchHits { bookings, user, seats } = hits;
    let user = user.map(|(user, bookings)| SearchHit::User { user_id: user.to_string(), bookings });
    let bookings = bookings
        .iter()
        .map(|found| SearchHit::Booking { booking: Box::new(AdminBookingBody::new(found)) });
    let seats = seats.into_iter().map(|found| {
        let FoundSeat { event, seat, state, booking } = found;
        SearchHit::Seat {
            event_id: event.id.0,
            event_name: event.name.clone(),
            seat: AdminSeatBody::new(seat, Some(&event)),
            state: state.map(|state| state.as_str()),
            booking_id: booking,
        }
    });
    seats.chain(user).chain(bookings).collect()
}
