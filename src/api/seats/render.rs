//! A seat map as JSON, in pieces: a million seats are a hundred megabytes, which must neither lie
//! in memory at once nor hold up the thread's other requests.

use std::sync::Arc;

use actix_web::web::Bytes;
use serde::Serialize;
use utoipa::ToSchema;

use crate::config::values::Detail;
use crate::domain::{Availability, SeatCounts, SeatId, SeatState};

use super::frame::Seats;

/// Seats rendered at a time.
const SEATS_PER_PIECE: u32 = 1_000;
/// Bytes that one seat takes about.
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
    /// How many of them are free; left out where the public is told words alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 989)]
    available_seats: Option<u32>,
    /// `AVAILABLE`, `FEW_LEFT` (a tenth of the seats at most) or `SOLD_OUT`.
    #[schema(example = "AVAILABLE")]
    availability: &'static str,
    /// Raised when the event's inventory was loaded anew; versions then start anew.
    #[schema(example = 1)]
    generation: u64,
    /// Raised by every change to the event.
    #[schema(example = 17)]
    version: u64,
    /// Whether `seats` holds all seats asked for, or (false) only those that changed since the
    /// version that was named.
    #[schema(example = true)]
    full: bool,
    /// Counts by section.
    sections: Vec<SectionCounts<'a>>,
    /// The seats asked for.
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
    /// How many are free, held, sold and kept back.
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
    /// How many are free, held, sold and kept back.
    #[serde(flatten)]
    counts: Counts,
}

/// How many seats are in each state. The numbers are left out where the public is told words alone.
#[derive(Serialize, ToSchema)]
pub struct Counts {
    /// `AVAILABLE`, `FEW_LEFT` (a tenth of the seats at most) or `SOLD_OUT`.
    #[schema(example = "AVAILABLE")]
    availability: &'static str,
    /// How many are free.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 497)]
    available_seats: Option<u32>,
    /// How many are held.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 3)]
    held_seats: Option<u32>,
    /// How many are sold.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 0)]
    booked_seats: Option<u32>,
    /// How many are kept back.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 0)]
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
    #[schema(example = "H")]
    row_number: Option<&'a str>,
    /// Its number in the row or section.
    #[schema(example = 12)]
    seat_number: u32,
    /// What people read.
    #[schema(example = "H-12")]
    seat_label: String,
    /// What it costs, in the currency's minor unit.
    #[schema(example = 5_000)]
    price: i64,
    /// `AVAILABLE`, `HOLD`, `BOOKED` or `BLOCKED`.
    #[schema(example = "AVAILABLE")]
    status: &'static str,
}

impl<'a> AvailabilityBody<'a> {
    /// The counts of an event.
    pub fn new(seats: &'a Seats, detail: Detail) -> Self {
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

fn section_counts(seats: &Seats, detail: Detail) -> Vec<SectionCounts<'_>> {
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

/// Which seats of a map are rendered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// So many from this one; only those in this state.
    Range(SeatId, u32, Option<SeatState>),
    /// These, which are what changed.
    Changed(Vec<SeatId>),
}

/// A map's JSON, piece by piece.
pub struct Pieces {
    seats: Arc<Seats>,
    which: Which,
    detail: Detail,
    /// Seats (of those to look at) that were looked at.
    done: u32,
    stage: Stage,
    /// Whether no seat was written yet: the first one follows no comma.
    empty: bool,
}

enum Stage {
    Head,
    Seats,
    Done,
}

impl Pieces {
    /// Nothing is rendered yet.
    pub fn new(seats: Arc<Seats>, which: Which, detail: Detail) -> Self {
        Pieces { seats, which, detail, done: 0, stage: Stage::Head, empty: true }
    }

    fn seats_to_look_at(&self) -> u32 {
        match &self.which {
            Which::Range(_, count, _) => *count,
            Which::Changed(seats) => seats.len() as u32,
        }
    }

    fn head(&self) -> Bytes {
        let Seats { map, totals, .. } = &*self.seats;
        let total_seats = map.event.layout.total_seats();
        let body = SeatMapBody {
            event_id: map.event.id.0,
            total_seats,
            available_seats: (self.detail == Detail::Exact).then_some(totals.available),
            availability: Availability::of(totals.available, total_seats).as_str(),
            generation: map.generation,
            version: map.version,
            full: matches!(self.which, Which::Range(..)),
            sections: section_counts(&self.seats, self.detail),
            seats: Vec::new(),
        };
        // Texts and numbers always serialize.
        let mut json = serde_json::to_vec(&body).unwrap_or_default();
        // The seats and what closes the list and the object follow.
        json.truncate(json.len().saturating_sub("]}".len()));
        json.into()
    }

    fn some_seats(&mut self) -> Bytes {
        let to = self.seats_to_look_at().min(self.done.saturating_add(SEATS_PER_PIECE));
        let mut json = Vec::with_capacity((to - self.done) as usize * SEAT_BYTES);
        for index in self.done..to {
            let (id, status) = match &self.which {
                Which::Range(first, _, status) => (SeatId(first.0 + index), *status),
                Which::Changed(seats) => (seats[index as usize], None),
            };
            let Some(seat) = seat(&self.seats, id, status) else { continue };
            if !std::mem::take(&mut self.empty) {
                json.push(b',');
            }
            // Texts and numbers always serialize, and a Vec takes everything.
            let _ = serde_json::to_writer(&mut json, &seat);
        }
        self.done = to;
        json.into()
    }
}

impl Iterator for Pieces {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        match self.stage {
            Stage::Head => {
                self.stage = Stage::Seats;
                Some(self.head())
            }
            Stage::Seats if self.done < self.seats_to_look_at() => Some(self.some_seats()),
            Stage::Seats => {
                self.stage = Stage::Done;
                Some(Bytes::from_static(b"]}"))
            }
            Stage::Done => None,
        }
    }
}

fn seat(seats: &Seats, id: SeatId, wanted: Option<SeatState>) -> Option<SeatBody<'_>> {
    let state = seats.map.inventory.state(id)?;
    if wanted.is_some_and(|wanted| wanted != state) {
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

    const ALL: Which = Which::Range(SeatId(1), 7, None);

    fn rendered(which: Which, detail: Detail) -> Value {
        let seats = Arc::new(Seats::of(fixtures::seat_map()));
        let bytes: Vec<u8> = Pieces::new(seats, which, detail).flatten().collect();
        serde_json::from_slice(&bytes).unwrap()
    }

    fn ids(map: &Value) -> Vec<u64> {
        map["seats"].as_array().unwrap().iter().map(|seat| seat["id"].as_u64().unwrap()).collect()
    }

    #[test]
    fn a_map_as_clients_see_it() {
        let map = rendered(ALL, Detail::Exact);
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
    fn some_seats_are_selected() {
        let ids = |which| ids(&rendered(which, Detail::Exact));
        assert_eq!(ids(Which::Range(SeatId(5), 3, None)), [5, 6, 7]);
        assert_eq!(ids(Which::Range(SeatId(1), 7, Some(SeatState::Available))), [1, 4, 5, 6]);
        let none = Which::Range(SeatId(5), 3, Some(SeatState::Booked));
        assert_eq!(ids(none), Vec::<u64>::new());
    }

    #[test]
    fn changes_are_not_the_whole() {
        let map = rendered(Which::Changed(vec![SeatId(2), SeatId(7)]), Detail::Exact);
        assert_eq!((ids(&map), &map["full"]), (vec![2, 7], &json!(false)));
        assert_eq!(map["seats"][1]["status"], "BLOCKED");
        let map = rendered(Which::Changed(Vec::new()), Detail::Exact);
        assert_eq!((ids(&map).len(), &map["full"]), (0, &json!(false)));
    }

    #[test]
    fn counts_add_up() {
        let seats = Seats::of(fixtures::seat_map());
        let body = serde_json::to_value(AvailabilityBody::new(&seats, Detail::Exact)).unwrap();
        let names = ["available_seats", "held_seats", "booked_seats", "blocked_seats"];
        let total: u64 = names.iter().map(|name| body[name].as_u64().unwrap()).sum();
        assert_eq!((total, &body["is_sold_out"]), (7, &json!(false)));
        assert_eq!(body["sections"][1]["blocked_seats"], 1);
    }

    /// Whoever is told words is told no number of seats in any state.
    #[test]
    fn words_hide_the_numbers() {
        let seats = Seats::of(fixtures::seat_map());
        let counts = serde_json::to_value(AvailabilityBody::new(&seats, Detail::Coarse)).unwrap();
        let map = rendered(ALL, Detail::Coarse);
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
