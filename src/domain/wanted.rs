//! Which seats a hold asks for: named ones, or so many of a section; and what it takes from the
//! layout to judge that in Redis, which knows no rows' names, sections or prices.

use serde::{Deserialize, Serialize};

use super::ids::SeatId;
use super::layout::Layout;

/// What happens to a choice of named seats that leaves a single seat alone between taken ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrphanRule {
    /// Nothing.
    #[default]
    Off,
    /// It is granted, and the answer names the seats left alone.
    Warn,
    /// It is refused, until less than a tenth of the event's seats is free.
    Enforce,
}

/// Rule and word, in enum order.
pub const ORPHAN_RULES: [(OrphanRule, &str); 3] =
    [(OrphanRule::Off, "off"), (OrphanRule::Warn, "warn"), (OrphanRule::Enforce, "enforce")];

impl OrphanRule {
    /// The word in the API, in the archive and in scripts.
    pub fn as_str(self) -> &'static str {
        ORPHAN_RULES[self as usize].1
    }

    /// The rule behind a word; `None` if there is no such word.
    pub fn parse(word: &str) -> Option<Self> {
        ORPHAN_RULES.iter().find(|row| row.1 == word).map(|row| row.0)
    }
}

/// A request for so many seats, whichever they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quantity {
    /// How many.
    pub seats: u32,
    /// In which section; `None`: in any one of the event.
    pub section: Option<String>,
    /// Whether they must be adjacent where seats have rows.
    pub together: bool,
    /// The highest price of one seat, minor units.
    pub max_price: Option<i64>,
}

/// A section where seats may be looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The section's first seat, which names it in Redis.
    pub section: SeatId,
    /// The seat to begin with.
    pub first: SeatId,
    /// The section's last seat.
    pub last: SeatId,
    /// Price of one seat, minor units.
    pub price: i64,
    /// Whether its seats have rows (else it is general admission).
    pub rows: bool,
}

/// A seat that would be left alone if nothing is free beyond it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Neighbour {
    /// The seat next to the choice, in the same row.
    pub seat: SeatId,
    /// The seat beyond it; `None` if the row ends there or the choice goes on there.
    pub beyond: Option<SeatId>,
}

/// Where the layout has seats for such a request, in its order of preference.
pub fn places(layout: &Layout, wanted: &Quantity) -> Vec<Place> {
    let ranges = layout.section_ranges().into_iter();
    let named = ranges.filter(|(section, ..)| match &wanted.section {
        Some(name) => section.name == *name,
        None => true,
    });
    let affordable =
        named.filter(|(section, ..)| wanted.max_price.is_none_or(|max| section.price <= max));
    affordable
        .map(|(section, first, count)| Place {
            section: first,
            first,
            last: SeatId(first.0 + count - 1),
            price: section.price,
            rows: section.rows.is_some(),
        })
        .collect()
}

/// The seats that a choice could leave alone, ascending, each once. `seats` is ascending.
pub fn neighbours(layout: &Layout, seats: &[SeatId]) -> Vec<Neighbour> {
    let row_of = |id: SeatId| {
        let seat = layout.seat(id)?;
        // General admission has no neighbours.
        seat.row.map(|row| (seat.section, row))
    };
    let mut found = Vec::new();
    for seat in seats {
        let Some(row) = row_of(*seat) else { continue };
        let free_in_row = |id: SeatId| row_of(id) == Some(row) && seats.binary_search(&id).is_err();
        // Seat 0 does not exist, and no event has u32::MAX seats.
        let (left, right) = (SeatId(seat.0 - 1), SeatId(seat.0 + 1));
        for (neighbour, beyond) in [(left, seat.0.saturating_sub(2)), (right, seat.0 + 2)] {
            if free_in_row(neighbour) {
                let beyond = Some(SeatId(beyond)).filter(|beyond| free_in_row(*beyond));
                found.push(Neighbour { seat: neighbour, beyond });
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::layout::{Row, Section};

    fn layout() -> Layout {
        let row = |row: &str, seats| Row { row: row.into(), seats };
        let stalls = Section {
            name: "Stalls".into(),
            price: 50,
            rows: Some(vec![row("A", 3), row("B", 5)]),
            capacity: None,
        };
        let floor = Section { name: "Floor".into(), price: 20, rows: None, capacity: Some(4) };
        Layout::new(vec![stalls, floor]).unwrap()
    }

    #[test]
    fn words_are_in_enum_order() {
        for (index, (rule, word)) in ORPHAN_RULES.into_iter().enumerate() {
            assert_eq!((rule as usize, OrphanRule::parse(word)), (index, Some(rule)));
            assert_eq!(serde_json::to_value(rule).unwrap(), word);
        }
    }

    #[test]
    fn places_are_the_sections_that_fit() {
        let any = Quantity { seats: 2, section: None, together: true, max_price: None };
        let found = |wanted: &Quantity| -> Vec<(u32, u32, bool)> {
            let places = places(&layout(), wanted).into_iter();
            places.map(|place| (place.first.0, place.last.0, place.rows)).collect()
        };
        assert_eq!(found(&any), [(1, 8, true), (9, 12, false)]);
        assert_eq!(found(&Quantity { max_price: Some(20), ..any.clone() }), [(9, 12, false)]);
        let named = Quantity { section: Some("Stalls".into()), ..any };
        assert_eq!(found(&named), [(1, 8, true)]);
        assert_eq!(found(&Quantity { max_price: Some(49), ..named }), []);
    }

    #[test]
    fn neighbours_end_with_their_row() {
        let layout = layout();
        let of = |seats: &[u32]| -> Vec<(u32, u32)> {
            let seats: Vec<SeatId> = seats.iter().copied().map(SeatId).collect();
            let found = neighbours(&layout, &seats).into_iter();
            found.map(|one| (one.seat.0, one.beyond.map_or(0, |beyond| beyond.0))).collect()
        };
        assert_eq!(of(&[1]), [(2, 3)]);
        assert_eq!(of(&[2]), [(1, 0), (3, 0)]);
        assert_eq!(of(&[3]), [(2, 1)]);
        assert_eq!(of(&[4]), [(5, 6)]);
        assert_eq!(of(&[5, 7]), [(4, 0), (6, 0), (8, 0)]);
        assert_eq!(of(&[4, 5]), [(6, 7)]);
        assert_eq!(of(&[9, 11]), []);
    }
}
