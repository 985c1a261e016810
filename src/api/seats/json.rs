//! A seat map as JSON, in chunks: a million seats are a hundred megabytes, too much to keep in memory at
//! once or to encode without yielding to the thread's other requests.

use std::sync::Arc;

use actix_web::web::Bytes;
use serde::Serialize;
use utoipa::ToSchema;

use crate::config::values::Detail;
use crate::domain::{Availability, SeatCounts, SeatId, SeatState};
use crate::http::words;

use super::counted::CountedSeats;

/// CountedSeats rendered at a time.
const SEATS_PER_CHUNK: u32 = 1_000;
/// Approximate bytes per seat.
pub const SEAT_BYTES: usize = 140;

/// A seat map.
#[derive(Serialize, ToSchema)]
pub struct SeatMapBody<'a> {
    /// The event.
    #[schema(example = 1)]
    event_id: u32,
    /// How many seats the event has.
    #[schema(example = 992)]
    total_seats: u32,
    /// How many of them are free; absent if the public gets no exact counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = u32, example = 989, required = false)]
    available_seats: Option<u32>,
    /// `AVAILABLE`, `FEW_LEFT` (a tenth of the seats at most) or `SOLD_OUT`.
    #[schema(value_type = words::Availability)]
    availability: &'static str,
    /// Rises when the event's inventory is loaded again; versions then restart.
    #[schema(example = 1)]
    generation: u64,
    /// Rises with every change to the event.
    #[schema(example = 17)]
    version: u64,
    /// Whether `seats` contains all requested seats, or (false) only those that changed since the
    /// requested version.
    #[schema(example = true)]
    full: bool,
    /// Counts by section.
    sections: Vec<SectionCounts<'a>>,
    /// The requested seats.
    seats: Vec<SeatBody<'a>>,
}

/// Counts over an event.
#[derive(Serialize, ToSchema)]
pub struct AvailabilityBody<'a> {
    /// The event.
    #[schema(example = 1)]
    event_id: u32,
    /// Its version.
    #[schema(example = 17)]
    version: u64,
    /// How many seats it has.
    #[schema(example = 992)]
    total_seats: u32,
    /// How many are free, held, sold and blocked.
    #[serde(flatten)]
    counts: Counts,
    /// Whether none is free.
    #[schema(example = false)]
    is_sold_out: bool,
    /// The same by section.
    sections: Vec<SectionCounts<'a>>,
}

/// Counts over a section.
#[derive(Serialize, ToSchema)]
pub struct SectionCounts<'a> {
    /// Its name.
    #[schema(example = "Stalls")]
    name: &'a str,
    /// Price of one seat, in the currency's minor unit.
    #[schema(example = 5_000)]
    price: i64,
    /// How many seats it has.
    #[schema(example = 500)]
    total_seats: u32,
    /// How many are free, held, sold and blocked.
    #[serde(flatten)]
    counts: Counts,
}

/// How many seats are in each state. The numbers are absent if the public gets no exact counts.
#[derive(Serialize, ToSchema)]
pub struct Counts {
    /// `AVAILABLE`, `FEW_LEFT` (a tenth of the seats at most) or `SOLD_OUT`.
    #[schema(value_type = words::Availability)]
    availability: &'static str,
    /// How many are free.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = u32, example = 497, required = false)]
    available_seats: Option<u32>,
    /// How many are held.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = u32, example = 3, required = false)]
    held_seats: Option<u32>,
    /// How many are sold.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = u32, example = 0, required = false)]
    booked_seats: Option<u32>,
    /// How many are blocked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = u32, example = 0, required = false)]
    blocked_seats: Option<u32>,
}

impl Counts {
    fn new(counts: SeatCounts, total: u32, detail: Detail) -> Self {
        let SeatCounts { available, hold, booked, blocked } = counts;
        let exact = |count| (detail == Detail::Exact).then_some(count);
        Counts {
            availability: Availability::of(available, total).as_str(),
            available_seats: exact(available),
            held_seats: exact(hold),
            booked_seats: exact(booked),
            blocked_seats: exact(blocked),
        }
    }
}

/// A seat and its state.
#[derive(Serialize, ToSchema)]
pub struct SeatBody<'a> {
    /// Its number in the event.
    #[schema(example = 210)]
    id: u32,
    /// Its section.
    #[schema(example = "Stalls")]
    section: &'a str,
    /// Its row; `null` in general admission.
    #[schema(example = "H", required = true)]
    row_number: Option<&'a str>,
    /// Its number in the row or section.
    #[schema(example = 12)]
    seat_number: u32,
    /// The label for display.
    #[schema(example = "H-12")]
    seat_label: String,
    /// Its price, in the currency's minor unit.
    #[schema(example = 5_000)]
    price: i64,
    /// `AVAILABLE`, `HOLD`, `BOOKED` or `BLOCKED`.
    #[schema(value_type = words::SeatStatus)]
    status: &'static str,
}

impl<'a> AvailabilityBody<'a> {
    /// The counts of an event.
    pub fn new(seats: &'a CountedSeats, detail: Detail) -> Self {
        let total_seats = seats.map.event.layout.total_seats();
        AvailabilityBody {
            event_id: seats.map.event.id.0,
            version: seats.map.version,
            total_seats,
            counts: Counts::new(seats.totals, total_seats, detail),
            is_sold_out: seats.totals.available == 0,
            sections: section_counts(seats, detail),
        }
    }
}

fn section_counts(seats: &CountedSeats, detail: Detail) -> Vec<SectionCounts<'_>> {
    let ranges = seats.map.event.layout.section_ranges().into_iter();
    ranges
        .zip(&seats.sections)
        .map(|((section, _, total_seats), counts)| SectionCounts {
            name: &section.name,
            price: section.price,
            total_seats,
            counts: Counts::new(*counts, total_seats, detail),
        })
        .collect()
}

/// The seats that a body contains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SeatSelection {
    /// A range (first seat and number), all or those in one state.
    Range(SeatId, u32, Option<SeatState>),
    /// The seats that changed.
    Changed(Vec<SeatId>),
}

/// The JSON of a map, chunk by chunk.
pub struct JsonChunks {
    seats: Arc<CountedSeats>,
    selection: SeatSelection,
    detail: Detail,
    /// Seats of the selection that were visited.
    visited: u32,
    step: RenderStep,
    /// Whether no seat was written yet: the first one has no comma before it.
    is_empty: bool,
}

enum RenderStep {
    Head,
    Seats,
    Done,
}

impl JsonChunks {
    /// Begins with the head.
    pub fn new(seats: Arc<CountedSeats>, selection: SeatSelection, detail: Detail) -> Self {
        JsonChunks { seats, selection, detail, visited: 0, step: RenderStep::Head, is_empty: true }
    }

    fn selected_count(&self) -> u32 {
        match &self.selection {
            SeatSelection::Range(_, count, _) => *count,
            SeatSelection::Changed(seats) => seats.len() as u32,
        }
    }

    fn head(&self) -> Bytes {
        let CountedSeats { map, totals, .. } = &*self.seats;
        let total_seats = map.event.layout.total_seats();
        let body = SeatMapBody {
            event_id: map.event.id.0,
            total_seats,
            available_seats: (self.detail == Detail::Exact).then_some(totals.available),
            availability: Availability::of(totals.available, total_seats).as_str(),
            generation: map.generation,
            version: map.version,
            full: matches!(self.selection, SeatSelection::Range(..)),
            sections: section_counts(&self.seats, self.detail),
            seats: Vec::new(),
        };
        // Strings and numbers always serialize.
        let mut json = serde_json::to_vec(&body).unwrap_or_default();
        // The following chunks add the seats and close the list and the object.
        json.truncate(json.len().saturating_sub("]}".len()));
        json.into()
    }

    fn next_seats(&mut self) -> Bytes {
        let to = self.selected_count().min(self.visited.saturating_add(SEATS_PER_CHUNK));
        let mut json = Vec::with_capacity((to - self.visited) as usize * SEAT_BYTES);
        for index in self.visited..to {
            let (id, status) = match &self.selection {
                SeatSelection::Range(first, _, status) => (SeatId(first.0 + index), *status),
                SeatSelection::Changed(seats) => (seats[index as usize], None),
            };
            let Some(seat) = seat(&self.seats, id, status) else { continue };
            if !std::mem::take(&mut self.is_empty) {
                json.push(b',');
            }
            // Strings and numbers always serialize, and writes to a Vec do not fail.
            let _ = serde_json::to_writer(&mut json, &seat);
        }
        self.visited = to;
        json.into()
    }
}

impl Iterator for JsonChunks {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        match self.step {
            RenderStep::Head => {
                self.step = RenderStep::Seats;
                Some(self.head())
            }
            RenderStep::Seats if self.visited < self.selected_count() => Some(self.next_seats()),
            RenderStep::Seats => {
                self.step = RenderStep::Done;
                Some(Bytes::from_static(b"]}"))
            }
            RenderStep::Done => None,
        }
    }
}

fn seat(seats: &CountedSeats, id: SeatId, status: Option<SeatState>) -> Option<SeatBody<'_>> {
    let state = seats.map.inventory.state(id)?;
    if status.is_some_and(|status| status != state) {
        return None;
    }
    let info = seats.map.event.layout.seat(id)?;
    Some(SeatBody {
        id: id.0,
        section: info.section,
        row_number: info.row,
        seat_number: info.number,
        seat_label: info.label(),
        price: info.price,
        status: state.as_str(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::api::fixtures;

    const ALL: SeatSelection = SeatSelection::Range(SeatId(1), 7, None);

    fn parsed(selection: SeatSelection, detail: Detail) -> Value {
        let seats = Arc::new(CountedSeats::new(fixtures::seat_map()));
        let bytes: Vec<u8> = JsonChunks::new(seats, selection, detail).flatten().collect();
        serde_json::from_slice(&bytes).unwrap()
    }

    fn ids(map: &Value) -> Vec<u64> {
        map["seats"].as_array().unwrap().iter().map(|seat| seat["id"].as_u64().unwrap()).collect()
    }

    #[test]
    fn map_contains_all_seats_and_counts() {
        let map = parsed(ALL, Detail::Exact);
        assert_eq!((&map["event_id"], &map["total_seats"]), (&json!(7), &json!(7)));
        assert_eq!((&map["available_seats"], &map["version"]), (&json!(4), &json!(17)));
        assert_eq!((&map["generation"], &map["full"]), (&json!(3), &json!(true)));
        assert_eq!(map["availability"], "AVAILABLE");
        assert_eq!(ids(&map), [1, 2, 3, 4, 5, 6, 7]);
        let expected = json!({
            "id": 2, "section": "Stalls", "row_number": "A", "seat_number": 2,
            "seat_label": "A-2", "price": 5000, "status": "HOLD",
        });
        assert_eq!(map["seats"][1], expected);
        assert_eq!(map["seats"][6]["row_number"], Value::Null);
        let stalls = json!({
            "name": "Stalls", "price": 5000, "total_seats": 4, "availability": "AVAILABLE",
            "available_seats": 2, "held_seats": 1, "booked_seats": 1, "blocked_seats": 0,
        });
        assert_eq!(map["sections"][0], stalls);
    }

    #[test]
    fn range_and_status_select_seats() {
        let ids = |selection| ids(&parsed(selection, Detail::Exact));
        assert_eq!(ids(SeatSelection::Range(SeatId(5), 3, None)), [5, 6, 7]);
        assert_eq!(
            ids(SeatSelection::Range(SeatId(1), 7, Some(SeatState::Available))),
            [1, 4, 5, 6]
        );
        let none = SeatSelection::Range(SeatId(5), 3, Some(SeatState::Booked));
        assert_eq!(ids(none), Vec::<u64>::new());
    }

    #[test]
    fn list_of_changes_is_not_full() {
        let map = parsed(SeatSelection::Changed(vec![SeatId(2), SeatId(7)]), Detail::Exact);
        assert_eq!((ids(&map), &map["full"]), (vec![2, 7], &json!(false)));
        assert_eq!(map["seats"][1]["status"], "BLOCKED");
        let map = parsed(SeatSelection::Changed(Vec::new()), Detail::Exact);
        assert_eq!((ids(&map).len(), &map["full"]), (0, &json!(false)));
    }

    #[test]
    fn counts_add_up_to_all_seats() {
        let seats = CountedSeats::new(fixtures::seat_map());
        let body = serde_json::to_value(AvailabilityBody::new(&seats, Detail::Exact)).unwrap();
        let names = ["available_seats", "held_seats", "booked_seats", "blocked_seats"];
        let total: u64 = names.iter().map(|name| body[name].as_u64().unwrap()).sum();
        assert_eq!((total, &body["is_sold_out"]), (7, &json!(false)));
        assert_eq!(body["sections"][1]["blocked_seats"], 1);
    }

    #[test]
    fn coarse_detail_contains_no_counts() {
        let seats = CountedSeats::new(fixtures::seat_map());
        let counts = serde_json::to_value(AvailabilityBody::new(&seats, Detail::Coarse)).unwrap();
        let map = parsed(ALL, Detail::Coarse);
        for (body, known) in [(&counts, &counts["availability"]), (&map, &map["availability"])] {
            assert_eq!(known, "AVAILABLE");
            assert_eq!(body["sections"][1]["availability"], "AVAILABLE");
            for name in ["available_seats", "held_seats", "booked_seats", "blocked_seats"] {
                assert!(!body.to_string().contains(name), "{name}: {body}");
            }
        }
        assert_eq!((&counts["is_sold_out"], ids(&map).len()), (&json!(false), 7));
    }
}
