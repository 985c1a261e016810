//! Response bodies of bookings.

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::time::{iso8601, iso8601_once};
use crate::domain::{Booking, Durability, Event, SeatId, Status};
use crate::http::params::Paging;
use crate::http::words;
use crate::sale::{BookingPage, BookingView, ListedBooking};

/// A booking.
#[derive(Serialize, ToSchema)]
pub struct BookingBody<'a> {
    /// Its id.
    #[schema(value_type = uuid::Uuid, example = "019b3c5e-0a4c-8f00-8000-000040e1f2a3")]
    id: String,
    /// Its owner.
    #[schema(example = "ann")]
    user_id: &'a str,
    /// Its event.
    #[schema(example = 1)]
    event_id: u32,
    /// `HOLD`, `CONFIRMING`, `CONFIRMED`, `VOIDED`, `CANCELLED` or `EXPIRED`.
    #[schema(value_type = words::BookingStatus)]
    status: &'static str,
    /// Total price, in the currency's minor unit.
    #[schema(example = 15_000)]
    total_amount: i64,
    /// ISO 4217 code.
    #[schema(example = "EUR")]
    currency: &'a str,
    /// When its hold expires or would have expired.
    #[schema(format = DateTime, example = "2026-03-01T18:05:00.000Z")]
    hold_expires_at: String,
    /// Seconds until then, rounded up; 0 once it is not a hold.
    #[schema(example = 300)]
    time_remaining_seconds: i64,
    /// The payment, once there is one.
    #[schema(required = true)]
    payment_id: Option<&'a str>,
    /// When it was created.
    #[schema(format = DateTime, example = "2026-03-01T18:00:00.000Z")]
    created_at: String,
    /// When it was confirmed.
    #[schema(format = DateTime, required = true)]
    confirmed_at: Option<String>,
    /// When it was cancelled.
    #[schema(format = DateTime, required = true)]
    cancelled_at: Option<String>,
    /// When it expired.
    #[schema(format = DateTime, required = true)]
    expired_at: Option<String>,
    /// Incremented by every change.
    #[schema(example = 1)]
    version: u64,
    /// Where this state is stored: `accepted` (Redis), `replicated` (Redis and its replicas) or
    /// `archived` (a majority of MongoDB).
    #[schema(value_type = words::Durability)]
    durability: &'static str,
    /// Its seats.
    seats: Vec<BookedSeat<'a>>,
    /// Single seats that this hold leaves alone, if the event's `orphan_rule` is `warn`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    seats_left_alone: Vec<u32>,
    /// The receipt; only in responses to confirmations.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Receipt<'static>, required = false)]
    receipt: Option<Receipt<'a>>,
}

/// A seat of a booking.
#[derive(Serialize, ToSchema)]
pub struct BookedSeat<'a> {
    /// Its number in the event.
    #[schema(example = 210)]
    seat_id: u32,
    /// Its section.
    #[schema(example = "Stalls")]
    section: &'a str,
    /// Its row; `null` in general admission.
    #[schema(example = "H", required = true)]
    row_number: Option<&'a str>,
    /// Its number in the row or section.
    #[schema(example = 12)]
    seat_number: u32,
    /// Its label, without the section.
    #[schema(example = "H-12")]
    seat_label: String,
    /// Its price, in the currency's minor unit.
    #[schema(example = 5_000)]
    price_at_booking: i64,
}

/// A receipt. The same booking always has the same bytes.
#[derive(Serialize, ToSchema)]
pub struct Receipt<'a> {
    /// The payment.
    #[schema(example = "pay_019b3c5e")]
    payment_id: &'a str,
    /// The booking.
    #[schema(value_type = uuid::Uuid, example = "019b3c5e-0a4c-8f00-8000-000040e1f2a3")]
    booking_id: String,
    /// The amount paid, in the currency's minor unit.
    #[schema(example = 15_000)]
    amount: i64,
    /// ISO 4217 code.
    #[schema(example = "EUR")]
    currency: &'a str,
    /// The seats' names, with their section if the event has several.
    #[schema(example = json!(["Stalls H-12", "Stalls H-13", "Stalls H-14"]))]
    seats: Vec<String>,
    /// When it was paid.
    #[schema(format = DateTime, example = "2026-03-01T18:02:00.000Z")]
    paid_at: String,
}

/// A page of the caller's bookings.
#[derive(Serialize, ToSchema)]
pub struct BookingListBody<'a> {
    /// Newest first.
    bookings: Vec<BookingBody<'a>>,
    /// Number of bookings on all pages.
    #[schema(example = 1)]
    total: u64,
    /// This page, from 1; absent if the request had a `cursor`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = u32, example = 1, required = false)]
    page: Option<u32>,
    /// Most bookings on a page.
    #[schema(example = 20)]
    page_size: u32,
    /// The `cursor` of the next page, with older bookings; `null` on the last page.
    #[schema(example = "MSBib29raW5ncyAx", required = true)]
    next_cursor: Option<String>,
    /// The time up to which this list is complete: it comes from the archive, which follows the sale.
    /// `null` while that is unknown.
    #[schema(format = DateTime, example = "2026-03-01T18:00:00.000Z", required = true)]
    as_of: Option<String>,
}

impl<'a> BookingBody<'a> {
    /// Builds the body of a booking without a receipt.
    pub fn new(view: &'a BookingView) -> Self {
        let left_alone = view.left_alone.iter().map(|seat| seat.0).collect();
        let body = BookingBody::from_booking(&view.booking, Some(&view.event), view.now_ms);
        let durability = view.durability().as_str();
        BookingBody { seats_left_alone: left_alone, durability, ..body }
    }

    /// Replaces the durability.
    pub fn with_durability(self, durability: Durability) -> Self {
        BookingBody { durability: durability.as_str(), ..self }
    }

    fn from_booking(booking: &'a Booking, event: Option<&'a Event>, now_ms: i64) -> Self {
        let ended = |status| (booking.status == status).then_some(booking.ended_ms);
        let remaining_ms = match booking.status {
            Status::Hold => (booking.deadline_ms - now_ms).max(0),
            _ => 0,
        };
        BookingBody {
            id: booking.id.to_string(),
            user_id: booking.user.as_str(),
            event_id: booking.id.event().0,
            status: booking.status.api_word(),
            total_amount: booking.amount,
            currency: &booking.currency,
            hold_expires_at: iso8601(booking.deadline_ms),
            time_remaining_seconds: (remaining_ms + 999) / 1_000,
            payment_id: (!booking.payment.is_empty()).then_some(booking.payment.as_str()),
            created_at: iso8601(booking.created_ms),
            confirmed_at: iso8601_once(booking.confirmed_ms),
            cancelled_at: ended(Status::Cancelled).and_then(iso8601_once),
            expired_at: ended(Status::Expired).and_then(iso8601_once),
            version: booking.version,
            durability: Durability::Archived.as_str(),
            seats: booking.seats.iter().map(|seat| booked_seat(event, *seat)).collect(),
            seats_left_alone: Vec::new(),
            receipt: None,
        }
    }

    /// Builds the body of a confirmed booking with its receipt.
    pub fn with_receipt(view: &'a BookingView) -> Self {
        let receipt = receipt(&view.booking, &view.event);
        BookingBody { receipt: Some(receipt), ..BookingBody::new(view) }
    }
}

impl<'a> BookingListBody<'a> {
    /// Builds a page.
    pub fn new<P>(list: &'a BookingPage, paging: &Paging<P>, next_cursor: Option<String>) -> Self {
        BookingListBody {
            bookings: list.bookings.iter().map(listed).collect(),
            total: list.total,
            page: paging.page(),
            page_size: paging.size,
            next_cursor,
            as_of: iso8601_once(list.as_of_ms),
        }
    }
}

fn listed(listed: &ListedBooking) -> BookingBody<'_> {
    BookingBody::from_booking(&listed.booking, listed.event.as_deref(), listed.now_ms)
}

fn booked_seat(event: Option<&Event>, seat: SeatId) -> BookedSeat<'_> {
    match event.and_then(|event| event.layout.seat(seat)) {
        Some(info) => BookedSeat {
            seat_id: seat.0,
            section: info.section,
            row_number: info.row,
            seat_number: info.number,
            seat_label: info.label(),
            price_at_booking: info.price,
        },
        // The archive has lost the event (seats were checked against its layout, which never changes);
        // the seat's number is still shown.
        None => BookedSeat {
            seat_id: seat.0,
            section: "",
            row_number: None,
            seat_number: seat.0,
            seat_label: seat.to_string(),
            price_at_booking: 0,
        },
    }
}

fn receipt<'a>(booking: &'a Booking, event: &'a Event) -> Receipt<'a> {
    Receipt {
        payment_id: &booking.payment,
        booking_id: booking.id.to_string(),
        amount: booking.amount,
        currency: &booking.currency,
        seats: booking
            .seats
            .iter()
            // The layout has every seat of a booking.
            .map(|seat| event.seat_name(*seat).unwrap_or_else(|| seat.to_string()))
            .collect(),
        paid_at: iso8601(booking.paid_ms),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::fixtures;
    use crate::http::params::Start;

    #[test]
    fn hold_has_all_members() {
        let view = fixtures::booking_view();
        let body = serde_json::to_value(BookingBody::new(&view)).unwrap();
        let expected = json!({
            "id": view.booking.id.to_string(), "user_id": "ann", "event_id": 7, "status": "HOLD",
            "total_amount": 5000, "currency": "EUR",
            "hold_expires_at": "1970-01-01T00:05:00.001Z", "time_remaining_seconds": 300,
            "payment_id": null, "created_at": "1970-01-01T00:00:00.001Z", "confirmed_at": null,
            "cancelled_at": null, "expired_at": null, "version": 1,
            "durability": "accepted",
            "seats": [{
                "seat_id": 2, "section": "Stalls", "row_number": "A", "seat_number": 2,
                "seat_label": "A-2", "price_at_booking": 5000,
            }],
        });
        assert_eq!(body, expected);
    }

    #[test]
    fn time_remains_only_for_holds() {
        let mut view = fixtures::booking_view();
        let remaining = |view: &BookingView| BookingBody::new(view).time_remaining_seconds;
        view.now_ms = view.booking.deadline_ms - 1;
        assert_eq!(remaining(&view), 1);
        view.now_ms = view.booking.deadline_ms + 5_000;
        assert_eq!(remaining(&view), 0);
        view.now_ms = view.booking.created_ms;
        view.booking.status = Status::Committed;
        assert_eq!(remaining(&view), 0);
        assert_eq!(BookingBody::new(&view).status, "CONFIRMING");
    }

    #[test]
    fn archived_bookings_and_final_states_have_durability_archived() {
        let mut view = fixtures::booking_view();
        let mut durability = |status, paid_ms, archived| {
            (view.booking.status, view.booking.paid_ms, view.archived) =
                (status, paid_ms, archived);
            BookingBody::new(&view).durability
        };
        for status in [Status::Hold, Status::Confirming, Status::Committed, Status::Expired] {
            let both = (durability(status, 0, false), durability(status, 0, true));
            assert_eq!(both, ("accepted", "archived"));
        }
        for status in [Status::Confirmed, Status::Voided] {
            assert_eq!(durability(status, 1, false), "archived");
        }
        // A cancelled hold, and a cancelled sale.
        assert_eq!(durability(Status::Cancelled, 0, false), "accepted");
        assert_eq!(durability(Status::Cancelled, 1, false), "archived");
        let body = BookingBody::new(&view).with_durability(Durability::Replicated);
        assert_eq!(body.durability, "replicated");
    }

    #[test]
    fn cancelled_booking_has_only_cancelled_at() {
        let mut view = fixtures::booking_view();
        view.booking.ended_ms = 1_000;
        view.booking.status = Status::Cancelled;
        let body = BookingBody::new(&view);
        assert_eq!(body.cancelled_at.as_deref(), Some("1970-01-01T00:00:01.000Z"));
        assert_eq!(body.expired_at, None);
    }

    #[test]
    fn booking_of_a_lost_event_is_listed() {
        let BookingView { booking, .. } = fixtures::booking_view();
        let listed = vec![ListedBooking { booking, event: None, now_ms: 1 }];
        let page = BookingPage { bookings: listed, total: 1, has_more: false, as_of_ms: 1 };
        let paging = Paging::<()> { start: Start::Page(1), size: 20 };
        let body = serde_json::to_value(BookingListBody::new(&page, &paging, None)).unwrap();
        assert_eq!(body["bookings"][0]["total_amount"], 5000);
        assert_eq!(body["bookings"][0]["seats"][0]["seat_label"], "2");
    }

    #[test]
    fn receipt_has_the_same_bytes_every_time() {
        let mut view = fixtures::booking_view();
        view.booking.payment = "pay_1".into();
        view.booking.paid_ms = 2_000;
        let bytes = |view: &BookingView| {
            serde_json::to_string(&BookingBody::with_receipt(view).receipt).unwrap()
        };
        let first = bytes(&view);
        view.now_ms += 60_000;
        assert_eq!(bytes(&view), first);
        let expected = format!(
            r#"{{"payment_id":"pay_1","booking_id":"{}","amount":5000,"currency":"EUR","seats":["Stalls A-2"],"paid_at":"1970-01-01T00:00:02.000Z"}}"#,
            view.booking.id
        );
        assert_eq!(first, expected);
        // Receipts of older builds are unchanged.
        let mut event = (*view.event).clone();
        event.seat_names_have_section = false;
        view.event = std::sync::Arc::new(event);
        assert_eq!(bytes(&view), expected.replace("Stalls A-2", "A-2"));
    }
}
