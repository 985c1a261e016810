//! Response bodies of events.

use serde::Serialize;
use utoipa::ToSchema;

use crate::config::values::Detail;
use crate::domain::layout::Section;
use crate::domain::time::iso8601;
use crate::domain::{Availability, EventId, Seating};
use crate::http::params::Paging;
use crate::http::words;
use crate::sale::{EventPage, EventView};

/// An event.
#[derive(Serialize, ToSchema)]
pub struct EventBody<'a> {
    /// Its id.
    #[schema(example = 1)]
    id: u32,
    /// What it is called.
    #[schema(example = "Gala")]
    name: &'a str,
    /// What it is about.
    #[schema(example = "An evening of song")]
    description: &'a str,
    /// Where it is.
    #[schema(example = "Grand Hall")]
    venue: &'a str,
    /// ISO 4217 code of its prices.
    #[schema(example = "EUR")]
    currency: &'a str,
    /// When the doors open.
    #[schema(format = DateTime, example = "2026-06-01T18:00:00.000Z", required = true)]
    starts_at: Option<String>,
    /// When holds begin; `null` is at once.
    #[schema(format = DateTime, example = "2026-03-01T18:00:00.000Z", required = true)]
    on_sale_at: Option<String>,
    /// When holds end; `null` is never.
    #[schema(format = DateTime, example = "2026-06-01T18:00:00.000Z", required = true)]
    off_sale_at: Option<String>,
    /// `SCHEDULED`, `ON_SALE`, `PAUSED` or `CLOSED`.
    #[schema(value_type = words::EventStatus)]
    status: &'static str,
    /// How many seats it has.
    #[schema(example = 992)]
    total_seats: u32,
    /// How many are free; `null` while it is being loaded, and in lists where its Redis does not
    /// answer. Left out where the public sees words only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u32>, example = 989)]
    available_seats: Option<Option<u32>>,
    /// `AVAILABLE`, `FEW_LEFT` (a tenth of the seats at most) or `SOLD_OUT`; `null` while it is being
    /// loaded.
    #[schema(value_type = Option<words::Availability>, required = true)]
    availability: Option<&'static str>,
    /// Whether none is free.
    #[schema(example = false)]
    is_sold_out: bool,
    /// How long a hold lasts.
    #[schema(example = 300)]
    hold_ttl_seconds: i64,
    /// How long a hold can last with extensions.
    #[schema(example = 900)]
    max_hold_seconds: i64,
    /// How many seats one user can hold and own.
    #[schema(example = 10)]
    max_seats_per_user: u32,
    /// What happens to named seats that leave a single one alone: `off`, `warn` or `enforce`.
    #[schema(value_type = words::OrphanRule)]
    orphan_rule: &'static str,
    /// Whether confirmed bookings may be cancelled: `allowed` or `not_allowed`.
    #[schema(value_type = words::Cancellation)]
    cancellation: &'static str,
    /// Until when they may; `null` is at any time.
    #[schema(format = DateTime, example = "2026-05-25T18:00:00.000Z", required = true)]
    cancel_until: Option<String>,
    /// When it was created.
    #[schema(format = DateTime, example = "2026-02-01T12:00:00.000Z")]
    created_at: String,
    /// Its sections; left out in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Vec<SectionBody<'static>>, required = false)]
    sections: Option<Vec<SectionBody<'a>>>,
}

/// A section of an event.
#[derive(Serialize, ToSchema)]
pub struct SectionBody<'a> {
    /// Its name.
    #[schema(example = "Stalls")]
    name: &'a str,
    /// Price of one seat, in the currency's minor unit.
    #[schema(example = 5_000)]
    price: i64,
    /// Its first seat; the others follow in order.
    #[schema(example = 1)]
    first_seat_id: u32,
    /// How many seats it has.
    #[schema(example = 500)]
    total_seats: u32,
    /// Whether its seats are not numbered.
    #[schema(example = false)]
    general_admission: bool,
    /// Its rows, in the order of their seats; empty where seats are not numbered.
    rows: Vec<RowBody<'a>>,
}

/// A row of a section.
#[derive(Serialize, ToSchema)]
pub struct RowBody<'a> {
    /// Its name.
    #[schema(example = "K")]
    name: &'a str,
    /// How many seats it has.
    #[schema(example = 24)]
    seats: u32,
}

/// A page of events.
#[derive(Serialize, ToSchema)]
pub struct EventListBody<'a> {
    /// The events, without their sections.
    events: Vec<EventBody<'a>>,
    /// How many there are in all.
    #[schema(example = 1)]
    total: u64,
    /// This page, from 1; absent where `cursor` was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = u32, example = 1, required = false)]
    page: Option<u32>,
    /// Events a page has at most.
    #[schema(example = 20)]
    page_size: u32,
    /// Send it as `cursor` for the next page; `null` on the last one.
    #[schema(example = "MSBldmVudHMgMjA", required = true)]
    next_cursor: Option<String>,
    /// When the events were last read: a moment ago, or before MongoDB became unavailable. Counts of seats
    /// are newer.
    #[schema(format = DateTime, example = "2026-03-01T18:00:00.000Z")]
    as_of: String,
}

impl<'a> EventBody<'a> {
    /// An event with its sections.
    pub fn new(view: &'a EventView, detail: Detail) -> Self {
        let ranges = view.event.layout.section_ranges();
        let section =
            |(section, first, seats): (&'a Section, crate::domain::SeatId, u32)| SectionBody {
                name: &section.name,
                price: section.price,
                first_seat_id: first.0,
                total_seats: seats,
                general_admission: section.capacity.is_some(),
                rows: section
                    .rows
                    .iter()
                    .flatten()
                    .map(|row| RowBody { name: &row.row, seats: row.seats })
                    .collect(),
            };
        let sections = Some(ranges.into_iter().map(section).collect());
        EventBody { sections, ..EventBody::brief(view, detail) }
    }

    /// An event without its sections.
    pub fn brief<L: Seating>(view: &'a EventView<L>, detail: Detail) -> Self {
        let EventView { event, available_seats, now_ms } = view;
        let total_seats = event.layout.total_seats();
        let word = |free| Availability::of(free, total_seats).as_str();
        EventBody {
            id: event.id.0,
            name: &event.name,
            description: &event.description,
            venue: &event.venue,
            currency: &event.currency,
            starts_at: event.starts_at_ms.map(iso8601),
            on_sale_at: event.on_sale_at_ms.map(iso8601),
            off_sale_at: event.off_sale_at_ms.map(iso8601),
            status: event.api_status(*now_ms),
            total_seats,
            available_seats: (detail == Detail::Exact).then_some(*available_seats),
            availability: available_seats.map(word),
            is_sold_out: *available_seats == Some(0),
            hold_ttl_seconds: event.hold_ttl_ms / 1_000,
            max_hold_seconds: event.max_hold_ms / 1_000,
            max_seats_per_user: event.max_seats_per_user,
            orphan_rule: event.orphan_rule.as_str(),
            cancellation: event.cancel_policy.rule.as_str(),
            cancel_until: event.cancel_policy.until_ms.map(iso8601),
            created_at: iso8601(event.created_at_ms),
            sections: None,
        }
    }
}

impl<'a> EventListBody<'a> {
    /// The body of one page.
    pub fn new(
        page: &'a EventPage,
        detail: Detail,
        paging: &Paging<EventId>,
        next_cursor: Option<String>,
    ) -> Self {
        EventListBody {
            events: page.views.iter().map(|view| EventBody::brief(view, detail)).collect(),
            total: page.total,
            page: paging.page(),
            page_size: paging.size,
            next_cursor,
            as_of: iso8601(page.as_of_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::fixtures;

    #[test]
    fn event_body_has_all_fields() {
        let mut view =
            EventView { event: fixtures::event(), available_seats: Some(4), now_ms: 4_999 };
        let body = serde_json::to_value(EventBody::new(&view, Detail::Exact)).unwrap();
        let expected = json!({
            "id": 7, "name": "Gala", "description": "", "venue": "Hall", "currency": "EUR",
            "starts_at": null, "on_sale_at": "1970-01-01T00:00:05.000Z",
            "off_sale_at": "1970-01-01T00:00:20.000Z", "status": "SCHEDULED",
            "total_seats": 7, "available_seats": 4, "availability": "AVAILABLE", "is_sold_out": false,
            "hold_ttl_seconds": 300, "max_hold_seconds": 900, "max_seats_per_user": 10, "orphan_rule": "off",
            "cancellation": "allowed", "cancel_until": null,
            "created_at": "1970-01-01T00:00:00.001Z",
            "sections": [
                { "name": "Stalls", "price": 5000, "first_seat_id": 1, "total_seats": 4,
                  "general_admission": false,
                  "rows": [{ "name": "A", "seats": 2 }, { "name": "B", "seats": 2 }] },
                { "name": "Floor", "price": 2000, "first_seat_id": 5, "total_seats": 3,
                  "general_admission": true, "rows": [] },
            ],
        });
        assert_eq!(body, expected);
        view.now_ms = 5_000;
        view.available_seats = Some(0);
        let brief = serde_json::to_value(EventBody::brief(&view, Detail::Exact)).unwrap();
        assert_eq!((&brief["status"], &brief["is_sold_out"]), (&json!("ON_SALE"), &json!(true)));
        assert!(brief.get("sections").is_none());
        view.now_ms = 20_000;
        let over = serde_json::to_value(EventBody::brief(&view, Detail::Exact)).unwrap();
        assert_eq!(over["status"], "CLOSED");
    }

    #[test]
    fn coarse_detail_hides_the_number_of_free_seats() {
        for (available_seats, word, sold_out) in [
            (Some(4), json!("AVAILABLE"), false),
            (Some(0), json!("SOLD_OUT"), true),
            (None, json!(null), false),
        ] {
            let view = EventView { event: fixtures::event(), available_seats, now_ms: 1 };
            let body = serde_json::to_value(EventBody::new(&view, Detail::Coarse)).unwrap();
            assert_eq!((&body["availability"], &body["is_sold_out"]), (&word, &json!(sold_out)));
            assert!(body.get("available_seats").is_none(), "{body}");
            let exact = serde_json::to_value(EventBody::new(&view, Detail::Exact)).unwrap();
            assert_eq!(exact["available_seats"], json!(available_seats), "null if it is unknown");
        }
    }
}
