//! Bookings and seats as operators see them.

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::time::iso8601;
use crate::domain::{Booking, Event, SeatId};
use crate::http::words;
use crate::sale::FoundBooking;

/// A booking.
#[derive(Serialize, ToSchema)]
pub struct AdminBookingBody {
    /// Its id.
    #[schema(example = "01a0fc0f-119e-8f00-8000-0c0040e1f2a3")]
    booking_id: String,
    /// Its event.
    #[schema(example = 1)]
    event_id: u32,
    /// Its owner.
    #[schema(example = "ann")]
    user_id: String,
    /// Its state as stored: `COMMITTED` is paid and not decided by the archive.
    #[schema(value_type = words::StoredStatus)]
    status: &'static str,
    /// The archive's decision: `sold`, `cancelled` (after it was sold) or `refund`.
    #[schema(value_type = Option<words::StoredOutcome>, required = true)]
    outcome: Option<&'static str>,
    /// Its seats.
    seats: Vec<AdminSeatBody>,
    /// Its price, in the currency's minor unit.
    #[schema(example = 28_500)]
    total_amount: i64,
    /// ISO 4217 code.
    #[schema(example = "EUR")]
    currency: String,
    /// The provider's payment object.
    #[schema(required = true)]
    payment_id: Option<String>,
    /// When it was made.
    #[schema(format = DateTime)]
    created_at: String,
    /// When its hold ends.
    #[schema(format = DateTime, required = true)]
    hold_expires_at: Option<String>,
    /// When it was paid.
    #[schema(format = DateTime, required = true)]
    paid_at: Option<String>,
    /// When the archive confirmed it.
    #[schema(format = DateTime, required = true)]
    confirmed_at: Option<String>,
    /// When it ended.
    #[schema(format = DateTime, required = true)]
    ended_at: Option<String>,
}

/// A seat with its place and price.
#[derive(Serialize, ToSchema)]
pub struct AdminSeatBody {
    /// Its number in the event.
    #[schema(example = 420)]
    pub seat_id: u32,
    /// Its name; null if the event's layout is not known.
    #[schema(example = "K-20", required = true)]
    pub label: Option<String>,
    /// Its section.
    #[schema(example = "Stalls", required = true)]
    pub section: Option<String>,
    /// Its row; null in sections without rows.
    #[schema(example = "K", required = true)]
    pub row: Option<String>,
    /// Its price, in the currency's minor unit.
    #[schema(example = 9_500, required = true)]
    pub price: Option<i64>,
}

impl AdminSeatBody {
    /// A seat of an event.
    pub fn new(seat: SeatId, event: Option<&Event>) -> Self {
        let info = event.and_then(|event| event.layout.seat(seat));
        AdminSeatBody {
            seat_id: seat.0,
            label: info.map(|info| info.label()),
            section: info.map(|info| info.section.to_owned()),
            row: info.and_then(|info| info.row).map(str::to_owned),
            price: info.map(|info| info.price),
        }
    }
}

impl AdminBookingBody {
    /// A booking with its event.
    pub fn new(found: &FoundBooking) -> Self {
        let FoundBooking { booking, outcome, event } = found;
        AdminBookingBody {
            booking_id: booking.id.to_string(),
            event_id: booking.id.event().0,
            user_id: booking.user.to_string(),
            status: booking.status.as_str(),
            outcome: outcome.map(|outcome| outcome.as_str()),
            seats: seats(booking, event.as_deref()),
            total_amount: booking.amount,
            currency: booking.currency.clone(),
            payment_id: text(&booking.payment),
            created_at: iso8601(booking.created_ms),
            hold_expires_at: time(booking.deadline_ms),
            paid_at: time(booking.paid_ms),
            confirmed_at: time(booking.confirmed_ms),
            ended_at: time(booking.ended_ms),
        }
    }
}

fn seats(booking: &Booking, event: Option<&Event>) -> Vec<AdminSeatBody> {
    booking.seats.iter().map(|seat| AdminSeatBody::new(*seat, event)).collect()
}

/// A time that may not have come.
pub fn time(unix_ms: i64) -> Option<String> {
    (unix_ms > 0).then(|| iso8601(unix_ms))
}

/// A text that may be empty.
pub fn text(text: &str) -> Option<String> {
    Some(text.to_owned()).filter(|text| !text.is_empty())
}
