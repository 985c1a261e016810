//! A seat map as JSON, in pieces: a million seats are a hundred megabytes, which must neither lie
//! in memory at once nor hold up the thread's other requests.

use std::convert::Infallible;

use actix_web::web::Bytes;
use futures_util::Stream;
use futures_util::stream;
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::{SeatCounts, SeatId};
use crate::sale::SeatMap;

use super::filter::Filter;

/// Seats rendered at a time.
const SEATS_PER_PIECE: u32 = 1_000;
/// Bytes that one seat takes about.
const SEAT_BYTES: usize = 140;

/// A seat map.
#[derive(Serialize, ToSchema)]
pub struct SeatMapBody<'a> {
    /// The event.
    #[schema(example = 1)]
    event_id: u32,
    /// How many seats the event has.
    #[schema(example = 992)]
    total_seats: u32,
    /// How many of them are free.
    #[schema(example = 989)]
    available_seats: u32,
    /// Raised when the event's inventory was loaded anew; versions then start anew.
    #[schema(example = 1)]
    generation: u64,
    /// Raised by every change to the event.
    #[schema(example = 17)]
    version: u64,
    /// Whether `seats` holds all seats asked for, or (false) nothing because nothing changed.
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
    /// How many are free.
    #[schema(example = 989)]
    available_seats: u32,
    /// How many are held.
    #[schema(example = 3)]
    held_seats: u32,
    /// How many are sold.
    #[schema(example = 0)]
    booked_seats: u32,
    /// How many are kept back.
    #[schema(example = 0)]
    blocked_seats: u32,
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
    /// How many are free.
    #[schema(example = 497)]
    available_seats: u32,
    /// How many are held.
    #[schema(example = 3)]
    held_seats: u32,
    /// How many are sold.
    #[schema(example = 0)]
    booked_seats: u32,
    /// How many are kept back.
    #[schema(example = 0)]
    blocked_seats: u32,
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
    /// The counts of a map.
    pub fn new(map: &'a SeatMap) -> Self {
        let SeatCounts { available, hold, booked, blocked } = map.totals();
        AvailabilityBody {
            event_id: map.event.id.0,
            version: map.version,
            total_seats: map.event.layout.total_seats(),
            available_seats: available,
            held_seats: hold,
            booked_seats: booked,
            blocked_seats: blocked,
            is_sold_out: available == 0,
            sections: section_counts(map),
        }
    }
}

fn section_counts(map: &SeatMap) -> Vec<SectionCounts<'_>> {
    let ranges = map.event.layout.section_ranges().into_iter();
    ranges
        .map(|(section, first, seats)| {
            let SeatCounts { available, hold, booked, blocked } =
                map.inventory.counts(first, seats);
            SectionCounts {
                name: &section.name,
                price: section.price,
                total_seats: seats,
                available_seats: available,
                held_seats: hold,
                booked_seats: booked,
                blocked_seats: blocked,
            }
        })
        .collect()
}

/// The map's JSON, piece by piece.
pub fn seat_map(map: SeatMap, filter: Filter) -> impl Stream<Item = Result<Bytes, Infallible>> {
    let full = !filter.is_current(&map);
    let first = filter.range.0.0;
    let end = if full { first + filter.range.1 } else { first };
    let begin = Piece { map, filter, full, next: first, end, stage: Stage::Head, empty: true };
    stream::unfold(begin, |mut piece| async move {
        let bytes = piece.render()?;
        Some((Ok(bytes), piece))
    })
}

enum Stage {
    Head,
    Seats,
    Done,
}

/// Where the rendering of a map stands.
struct Piece {
    map: SeatMap,
    filter: Filter,
    full: bool,
    next: u32,
    end: u32,
    stage: Stage,
    /// Whether no seat was written yet: the first one follows no comma.
    empty: bool,
}

impl Piece {
    fn render(&mut self) -> Option<Bytes> {
        match self.stage {
            Stage::Head => {
                self.stage = Stage::Seats;
                // Texts and numbers always serialize.
                let mut json = serde_json::to_vec(&head(&self.map, self.full)).unwrap_or_default();
                // The seats and what closes the list and the object follow.
                json.truncate(json.len().saturating_sub("]}".len()));
                Some(json.into())
            }
            Stage::Seats if self.next < self.end => Some(self.seats()),
            Stage::Seats => {
                self.stage = Stage::Done;
                Some(Bytes::from_static(b"]}"))
            }
            Stage::Done => None,
        }
    }

    fn seats(&mut self) -> Bytes {
        let to = self.end.min(self.next.saturating_add(SEATS_PER_PIECE));
        let mut json = Vec::with_capacity((to - self.next) as usize * SEAT_BYTES);
        for id in self.next..to {
            let Some(seat) = seat(&self.map, SeatId(id), &self.filter) else { continue };
            if !std::mem::take(&mut self.empty) {
                json.push(b',');
            }
            // Texts and numbers always serialize, and a Vec takes everything.
            let _ = serde_json::to_writer(&mut json, &seat);
        }
        self.next = to;
        json.into()
    }
}

fn head(map: &SeatMap, full: bool) -> SeatMapBody<'_> {
    SeatMapBody {
        event_id: map.event.id.0,
        total_seats: map.event.layout.total_seats(),
        available_seats: map.totals().available,
        generation: map.generation,
        version: map.version,
        full,
        sections: section_counts(map),
        seats: Vec::new(),
    }
}

fn seat<'a>(map: &'a SeatMap, id: SeatId, filter: &Filter) -> Option<SeatBody<'a>> {
    let state = map.inventory.state(id)?;
    if filter.status.is_some_and(|wanted| wanted != state) {
        return None;
    }
    let info = map.event.layout.seat(id)?;
    Some(SeatBody {
        id: id.0,
        section: info.section,
        row_number: info.row,
        seat_number: info.number,
        seat_label: info.label(),
        price: info.price,
        status: state.word(),
    })
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;
    use serde_json::{Value, json};

    use super::*;
    use crate::api::fixtures;
    use crate::api::params::Query;

    async fn rendered(pairs: &[(&str, &str)]) -> Value {
        let map = fixtures::seat_map();
        let pairs = pairs.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        let query = Query::from_pairs(pairs.collect());
        let filter = Filter::of(&query, &map.event.layout).unwrap();
        let pieces: Vec<_> = seat_map(map, filter).collect().await;
        let bytes: Vec<u8> = pieces.into_iter().flat_map(Result::unwrap).collect();
        serde_json::from_slice(&bytes).unwrap()
    }

    fn ids(map: &Value) -> Vec<u64> {
        map["seats"].as_array().unwrap().iter().map(|seat| seat["id"].as_u64().unwrap()).collect()
    }

    #[tokio::test]
    async fn a_map_as_clients_see_it() {
        let map = rendered(&[]).await;
        assert_eq!((&map["event_id"], &map["total_seats"]), (&json!(7), &json!(7)));
        assert_eq!((&map["available_seats"], &map["version"]), (&json!(4), &json!(17)));
        assert_eq!((&map["generation"], &map["full"]), (&json!(3), &json!(true)));
        assert_eq!(ids(&map), [1, 2, 3, 4, 5, 6, 7]);
        let expected = json!({
            "id": 2, "section": "Stalls", "row_number": "A", "seat_number": 2,
            "seat_label": "A-2", "price": 5000, "status": "HOLD",
        });
        assert_eq!(map["seats"][1], expected);
        assert_eq!(map["seats"][6]["row_number"], Value::Null);
        let stalls = json!({
            "name": "Stalls", "price": 5000, "total_seats": 4, "available_seats": 2,
            "held_seats": 1, "booked_seats": 1, "blocked_seats": 0,
        });
        assert_eq!(map["sections"][0], stalls);
    }

    #[tokio::test]
    async fn filters_select_seats() {
        assert_eq!(ids(&rendered(&[("section", "Floor")]).await), [5, 6, 7]);
        assert_eq!(ids(&rendered(&[("status", "AVAILABLE")]).await), [1, 4, 5, 6]);
        let none = rendered(&[("section", "Floor"), ("status", "BOOKED")]).await;
        assert_eq!(ids(&none), Vec::<u64>::new());
        let current = rendered(&[("since", "3-17")]).await;
        assert_eq!((ids(&current).len(), &current["full"]), (0, &json!(false)));
    }

    #[test]
    fn counts_add_up() {
        let map = fixtures::seat_map();
        let body = serde_json::to_value(AvailabilityBody::new(&map)).unwrap();
        let names = ["available_seats", "held_seats", "booked_seats", "blocked_seats"];
        let total: u64 = names.iter().map(|name| body[name].as_u64().unwrap()).sum();
        assert_eq!((total, &body["is_sold_out"]), (7, &json!(false)));
        assert_eq!(body["sections"][1]["blocked_seats"], 1);
    }
}
