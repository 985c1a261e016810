//! Events as shown by this tool, with the field names of the API.

use serde::Serialize;

use crate::domain::Seating;
use crate::domain::money::format_amount;
use crate::sale::{EventView, SeatMap};

use super::super::output::{Column, CommandResult, or_dash, printable, table};
use crate::domain::time::iso8601;

/// A line of the list of events.
#[derive(Serialize)]
pub(super) struct EventLine {
    id: u32,
    name: String,
    venue: String,
    currency: String,
    status: &'static str,
    starts_at: Option<String>,
    on_sale_at: Option<String>,
    off_sale_at: Option<String>,
    total_seats: u32,
    available_seats: Option<u32>,
}

/// All events.
#[derive(Serialize)]
pub(super) struct EventList {
    pub events: Vec<EventLine>,
}

/// An event with its rules and sections.
#[derive(Serialize)]
pub(super) struct EventShown {
    #[serde(flatten)]
    line: EventLine,
    description: String,
    hold_ttl_seconds: i64,
    max_hold_seconds: i64,
    max_seats_per_user: u32,
    cancellation: &'static str,
    cancel_until: Option<String>,
    created_at: String,
    generation: u64,
    sections: Vec<SectionShown>,
}

#[derive(Serialize)]
struct SectionShown {
    name: String,
    price: i64,
    general_admission: bool,
    first_seat_id: u32,
    total_seats: u32,
    /// Absent while Redis does not have the event.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    counts: Option<CountsShown>,
}

#[derive(Serialize)]
struct CountsShown {
    available_seats: u32,
    held_seats: u32,
    sold_seats: u32,
    blocked_seats: u32,
}

impl EventLine {
    pub(super) fn of<L: Seating>(view: &EventView<L>) -> Self {
        let event = &view.event;
        EventLine {
            id: event.id.0,
            name: event.name.clone(),
            venue: event.venue.clone(),
            currency: event.currency.clone(),
            status: event.api_status(view.now_ms),
            starts_at: event.starts_at_ms.map(iso8601),
            on_sale_at: event.on_sale_at_ms.map(iso8601),
            off_sale_at: event.off_sale_at_ms.map(iso8601),
            total_seats: event.layout.total_seats(),
            available_seats: view.available_seats,
        }
    }
}

impl EventShown {
    pub(super) fn of(view: &EventView, map: Option<&SeatMap>) -> Self {
        let event = &view.event;
        let ranges = event.layout.section_ranges().into_iter();
        let sections = ranges.map(|(section, first, count)| SectionShown {
            name: section.name.clone(),
            price: section.price,
            general_admission: section.capacity.is_some(),
            first_seat_id: first.0,
            total_seats: count,
            counts: map.map(|map| {
                let counts = map.inventory.counts(first, count);
                CountsShown {
                    available_seats: counts.available,
                    held_seats: counts.hold,
                    sold_seats: counts.booked,
                    blocked_seats: counts.blocked,
                }
            }),
        });
        EventShown {
            line: EventLine::of(view),
            description: event.description.clone(),
            hold_ttl_seconds: event.hold_ttl_ms / 1_000,
            max_hold_seconds: event.max_hold_ms / 1_000,
            max_seats_per_user: event.max_seats_per_user,
            cancellation: event.cancel_policy.rule.as_str(),
            cancel_until: event.cancel_policy.until_ms.map(iso8601),
            created_at: iso8601(event.created_at_ms),
            generation: event.generation,
            sections: sections.collect(),
        }
    }
}

fn lines(events: &[&EventLine]) -> String {
    let columns = [
        Column::Number("event"),
        Column::Words("name"),
        Column::Words("venue"),
        Column::Words("status"),
        Column::Words("on sale"),
        Column::Number("seats"),
        Column::Number("free"),
    ];
    let row = |one: &&EventLine| {
        [
            one.id.to_string(),
            one.name.clone(),
            one.venue.clone(),
            one.status.to_owned(),
            or_dash(one.on_sale_at.as_ref()),
            one.total_seats.to_string(),
            or_dash(one.available_seats),
        ]
    };
    table(columns, events.iter().map(row).collect())
}

impl CommandResult for EventLine {
    fn text(&self) -> String {
        lines(&[self])
    }
}

impl CommandResult for EventList {
    fn text(&self) -> String {
        match self.events.as_slice() {
            [] => "No events yet; `holdfastctl event create --help` tells how.".to_owned(),
            events => lines(&events.iter().collect::<Vec<_>>()),
        }
    }
}

impl CommandResult for EventShown {
    fn text(&self) -> String {
        let columns = [
            Column::Words("section"),
            Column::Number("price"),
            Column::Words("kind"),
            Column::Number("first seat"),
            Column::Number("seats"),
            Column::Number("free"),
            Column::Number("held"),
            Column::Number("sold"),
            Column::Number("blocked"),
        ];
        let row = |one: &SectionShown| {
            let count = |part: fn(&CountsShown) -> u32| or_dash(one.counts.as_ref().map(part));
            [
                one.name.clone(),
                format_amount(one.price, &self.line.currency),
                if one.general_admission { "general" } else { "reserved" }.to_owned(),
                one.first_seat_id.to_string(),
                one.total_seats.to_string(),
                count(|counts| counts.available_seats),
                count(|counts| counts.held_seats),
                count(|counts| counts.sold_seats),
                count(|counts| counts.blocked_seats),
            ]
        };
        let mut text = format!("{}\n\n", self.line.text());
        if !self.description.is_empty() {
            text.push_str(&format!("{}\n\n", printable(&self.description)));
        }
        text.push_str(&format!(
            "doors {}, created {}, generation {}\nholds last {} s, extended at most {} s; at most \
             {} seats a user\nconfirmed bookings: cancellation {}{}\n\n",
            or_dash(self.line.starts_at.as_ref()),
            self.created_at,
            self.generation,
            self.hold_ttl_seconds,
            self.max_hold_seconds,
            self.max_seats_per_user,
            self.cancellation,
            self.cancel_until.as_ref().map_or_else(String::new, |until| format!(" until {until}")),
        ));
        text + &table(columns, self.sections.iter().map(row).collect())
    }
}
