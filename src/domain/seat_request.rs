//! Seat requests: named seats, or a number of seats of a section; and the parts of the layout that
//! Redis needs to decide them, since Redis knows no rows, sections or prices.

use serde::{Deserialize, Serialize};

use super::ids::SeatId;
use super::layout::Layout;

/// How to treat a choice of named seats that isolates a single seat between taken ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrphanRule {
    /// Accept it.
    #[default]
    Off,
    /// Accept it and name the isolated seats in the response.
    Warn,
    /// Refuse it, until less than a tenth of the event's seats is free.
    Enforce,
}

/// Rule and name, in enum order.
pub const ORPHAN_RULES: [(OrphanRule, &str); 3] =
    [(OrphanRule::Off, "off"), (OrphanRule::Warn, "warn"), (OrphanRule::Enforce, "enforce")];

impl OrphanRule {
    /// The name in the API, in the archive and in scripts.
    pub fn as_str(self) -> &'static str {
        ORPHAN_RULES[self as usize].1
    }

    /// The rule with this name; `None` if there is none.
    pub fn parse(word: &str) -> Option<Self> {
        ORPHAN_RULES.iter().find(|row| row.1 == word).map(|row| row.0)
    }
}

/// A request for a number of seats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quantity {
    /// The number of seats.
    pub seats: u32,
    /// The section; `None`: any one of the event.
    pub section: Option<String>,
    /// Whether they must be adjacent where seats have rows.
    pub together: bool,
    /// The highest price of one seat, minor units.
    pub max_price: Option<i64>,
}

/// A section to search for free seats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SectionRange {
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

/// A seat that would be isolated if nothing is free beyond it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Neighbour {
    /// The seat next to the choice, in the same row.
    pub seat: SeatId,
    /// The seat beyond it; `None` if the row ends there or the choice continues there.
    pub beyond: Option<SeatId>,
}

/// Returns the sections that satisfy a request, in the layout's order.
pub fn matching_sections(layout: &Layout, wanted: &Quantity) -> Vec<SectionRange> {
    let ranges = layout.section_ranges().into_iter();
    let named = ranges.filter(|(section, ..)| match &wanted.section {
        Some(name) => section.name == *name,
        None => true,
    });
    let affordable =
        named.filter(|(section, ..)| wanted.max_price.is_none_or(|max| section.price <= max));
    affordable
        .map(|(section, first, count)| SectionRange {
            section: first,
            first,
            last: SeatId(first.0 + count - 1),
            price: section.price,
            rows: section.rows.is_some(),
        })
        .collect()
}

/// Returns the seats that a choice could isolate, ascending, without duplicates. `seats` is ascending.
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
    fn names_are_in_enum_order() {
        for (index, (rule, word)) in ORPHAN_RULES.into_iter().enumerate() {
            assert_eq!((rule as usize, OrphanRule::parse(word)), (index, Some(rule)));
            assert_eq!(serde_json::to_value(rule).unwrap(), word);
        }
    }

    #[test]
    fn matching_sections_satisfy_name_and_price() {
        let any = Quantity { seats: 2, section: None, together: true, max_price: None };
        let found = |wanted: &Quantity| -> Vec<(u32, u32, bool)> {
            let sections = matching_sections(&layout(), wanted).into_iter();
            sections.map(|one| (one.first.0, one.last.0, one.rows)).collect()
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
