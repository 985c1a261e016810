//! An event's layout: sections, rows, labels and prices. Immutable once the event is open; stored in
//! MongoDB and cached in each process, never used on the hot path in Redis.
//!
//! Seats are numbered from 1 in layout order. A section is one range of numbers: reserved sections
//! are divided into rows, general-admission ones are a single run.

use serde::{Deserialize, Serialize};

use super::ids::SeatId;
use super::limits::{LABEL_BYTES_MAX, PRICE_MAX, ROWS_MAX, SEATS_PER_EVENT_MAX, SECTIONS_MAX};

/// One section, as described by the organiser.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Section {
    /// Its name, unique within the event.
    pub name: String,
    /// Price of one seat, in the currency's minor unit.
    pub price: i64,
    /// Rows of reserved seats, front to back; absent for general admission.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<Vec<Row>>,
    /// Number of tickets of a general-admission section; absent for reserved seats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<u32>,
}

/// One row of reserved seats.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Its name, unique within the section.
    pub row: String,
    /// Its number of seats, numbered from 1.
    pub seats: u32,
}

/// Why a layout is invalid; the texts say how to correct it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// No sections, or too many.
    #[error("`sections` must have 1 to {SECTIONS_MAX} entries")]
    Sections,
    /// A section has both or neither of `rows` and `capacity`.
    #[error("section {0:?} must have either `rows` or `capacity`")]
    Kind(String),
    /// A name is empty, too long or has control characters.
    #[error("{0:?} is not a name: 1 to {LABEL_BYTES_MAX} bytes without control characters")]
    Label(String),
    /// A name is used twice.
    #[error("the name {0:?} occurs twice")]
    Twice(String),
    /// A price is out of range.
    #[error("section {0:?}: `price` must be 0 to {PRICE_MAX}, in the currency's minor unit")]
    Price(String),
    /// A row or a section has no seats.
    #[error("section {0:?}: every row and every capacity must be at least 1")]
    Empty(String),
    /// Too many seats or rows in all.
    #[error("an event has at most {SEATS_PER_EVENT_MAX} seats in {ROWS_MAX} rows")]
    Size,
}

/// A range of seats with one name and one price: a row, or a whole general-admission section.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Range {
    first: u32,
    seats: u32,
    section: u32,
    /// Index into the section's rows; `None` for general admission.
    row: Option<u32>,
}

/// A range of seats, for other modules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Its first seat; the others follow in order.
    pub first: SeatId,
    /// Its number of seats, at least 1.
    pub seats: u32,
    /// Index of its section.
    pub section: usize,
    /// Whether it is a row: its seats are side by side.
    pub is_row: bool,
}

/// A valid layout with its seat numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    sections: Vec<Section>,
    runs: Vec<Range>,
    total_seats: u32,
}

/// A seat's location and price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeatInfo<'a> {
    /// Its number in the event.
    pub id: SeatId,
    /// Its section.
    pub section: &'a str,
    /// Its row's name; `None` in a general-admission section.
    pub row: Option<&'a str>,
    /// Its number within the row, or within the section for general admission; from 1.
    pub number: u32,
    /// Its price, in the currency's minor unit.
    pub price: i64,
}

impl SeatInfo<'_> {
    /// The label within its section: `A-12`, or `Floor-7` where there are no rows.
    pub fn label(&self) -> String {
        format!("{}-{}", self.row.unwrap_or(self.section), self.number)
    }

    /// The label that is unique among all sections: `Stalls A-12`, or `Floor-7`.
    pub fn full_label(&self) -> String {
        match self.row {
            Some(row) => format!("{} {row}-{}", self.section, self.number),
            None => self.label(),
        }
    }
}

impl Layout {
    /// Validates the sections and numbers their seats.
    pub fn new(sections: Vec<Section>) -> Result<Self, LayoutError> {
        if sections.is_empty() || sections.len() > SECTIONS_MAX {
            return Err(LayoutError::Sections);
        }
        unique_labels(sections.iter().map(|s| s.name.as_str()))?;
        let mut runs = Vec::new();
        let mut next: u32 = 1;
        for (index, section) in sections.iter().enumerate() {
            if !(0..=PRICE_MAX).contains(&section.price) {
                return Err(LayoutError::Price(section.name.clone()));
            }
            let ranges: Vec<(Option<u32>, u32)> = match (&section.rows, section.capacity) {
                (Some(rows), None) => {
                    if rows.len() > ROWS_MAX {
                        return Err(LayoutError::Size);
                    }
                    unique_labels(rows.iter().map(|r| r.row.as_str()))?;
                    rows.iter().enumerate().map(|(i, r)| (Some(i as u32), r.seats)).collect()
                }
                (None, Some(capacity)) => vec![(None, capacity)],
                _ => return Err(LayoutError::Kind(section.name.clone())),
            };
            if ranges.is_empty() {
                return Err(LayoutError::Empty(section.name.clone()));
            }
            for (row, seats) in ranges {
                if seats == 0 {
                    return Err(LayoutError::Empty(section.name.clone()));
                }
                if seats > SEATS_PER_EVENT_MAX - (next - 1) || runs.len() >= ROWS_MAX {
                    return Err(LayoutError::Size);
                }
                runs.push(Range { first: next, seats, section: index as u32, row });
                next += seats;
            }
        }
        Ok(Layout { sections, runs, total_seats: next - 1 })
    }

    /// Checks that no two seats have the same full label, as when a section without rows is named
    /// like a row of another one (`Stalls A`). Events of older versions may have such names.
    pub fn check_full_labels(&self) -> Result<(), LayoutError> {
        let mut seen = std::collections::HashSet::new();
        for run in &self.runs {
            let info = self.info(run, run.first);
            let prefix =
                info.row.map_or(info.section.to_owned(), |row| format!("{} {row}", info.section));
            if let Some(twice) = seen.replace(prefix) {
                return Err(LayoutError::Twice(twice));
            }
        }
        Ok(())
    }

    /// The sections.
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// The number of seats; they are numbered `1..=total_seats`.
    pub fn total_seats(&self) -> u32 {
        self.total_seats
    }

    /// The first seats of rows and of general-admission sections, in order.
    pub fn run_starts(&self) -> impl Iterator<Item = SeatId> {
        self.runs.iter().map(|run| SeatId(run.first))
    }

    /// A seat's location; `None` if the event has no such seat.
    pub fn seat(&self, id: SeatId) -> Option<SeatInfo<'_>> {
        Some(self.info(&self.runs[self.run_of(id)?], id.0))
    }

    /// The index of a seat's row (or general-admission section) within the event; `None` if the event
    /// has no such seat.
    pub fn run_of(&self, id: SeatId) -> Option<usize> {
        if id.0 == 0 || id.0 > self.total_seats {
            return None;
        }
        Some(self.runs.partition_point(|run| run.first <= id.0) - 1)
    }

    /// The row (or general-admission section) with this index within the event.
    pub fn run(&self, index: usize) -> Option<Run> {
        let Range { first, seats, section, row } = self.runs.get(index)?;
        Some(Run {
            first: SeatId(*first),
            seats: *seats,
            section: *section as usize,
            is_row: row.is_some(),
        })
    }

    /// The seats with this label, with or without their section, in any case: `K-20`, `stalls k-20`.
    pub fn find_label(&self, label: &str) -> Vec<SeatId> {
        let Some((place, number)) = label.trim().rsplit_once('-') else { return Vec::new() };
        let Ok(number) = number.trim().parse::<u32>() else { return Vec::new() };
        let place = place.trim().to_lowercase();
        let is_named = |run: &&Range| {
            let info = self.info(run, run.first);
            let in_section = info.row.unwrap_or(info.section).to_lowercase();
            let full = || format!("{} {in_section}", info.section.to_lowercase());
            (1..=run.seats).contains(&number)
                && (in_section == place || (info.row.is_some() && full() == place))
        };
        self.runs.iter().filter(is_named).map(|run| SeatId(run.first + number - 1)).collect()
    }

    /// All seats in order.
    pub fn seats(&self) -> impl Iterator<Item = SeatInfo<'_>> {
        self.runs
            .iter()
            .flat_map(move |run| (run.first..run.first + run.seats).map(|id| self.info(run, id)))
    }

    /// The seats of each section as a range of ids, in order: `(section, first, count)`.
    pub fn section_ranges(&self) -> Vec<(&Section, SeatId, u32)> {
        let mut ranges: Vec<(&Section, SeatId, u32)> = Vec::with_capacity(self.sections.len());
        let mut current = None;
        for run in &self.runs {
            match ranges.last_mut() {
                Some(range) if current == Some(run.section) => range.2 += run.seats,
                _ => {
                    let section = &self.sections[run.section as usize];
                    ranges.push((section, SeatId(run.first), run.seats));
                    current = Some(run.section);
                }
            }
        }
        ranges
    }

    /// The total price of these seats, in the currency's minor unit; `None` if one is unknown.
    pub fn amount(&self, seats: &[SeatId]) -> Option<i64> {
        seats.iter().map(|seat| self.seat(*seat).map(|info| info.price)).sum()
    }

    fn info(&self, run: &Range, id: u32) -> SeatInfo<'_> {
        let section = &self.sections[run.section as usize];
        let row = run.row.and_then(|row| section.rows.as_ref()?.get(row as usize));
        SeatInfo {
            id: SeatId(id),
            section: &section.name,
            row: row.map(|row| row.row.as_str()),
            number: id - run.first + 1,
            price: section.price,
        }
    }
}

fn unique_labels<'a>(labels: impl Iterator<Item = &'a str>) -> Result<(), LayoutError> {
    let mut seen = std::collections::HashSet::new();
    for label in labels {
        let fits = (1..=LABEL_BYTES_MAX).contains(&label.len());
        if !fits || label.chars().any(char::is_control) {
            return Err(LayoutError::Label(label.chars().take(LABEL_BYTES_MAX).collect()));
        }
        if !seen.insert(label) {
            return Err(LayoutError::Twice(label.to_owned()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reserved(name: &str, price: i64, rows: &[(&str, u32)]) -> Section {
        let rows = rows.iter().map(|(row, seats)| Row { row: row.to_string(), seats: *seats });
        Section { name: name.into(), price, rows: Some(rows.collect()), capacity: None }
    }

    fn general(name: &str, price: i64, capacity: u32) -> Section {
        Section { name: name.into(), price, rows: None, capacity: Some(capacity) }
    }

    #[test]
    fn seats_are_found_by_their_labels() {
        let layout = Layout::new(vec![
            reserved("Stalls", 5000, &[("A", 3), ("B-1", 2)]),
            reserved("Circle", 3000, &[("A", 2)]),
            general("Floor", 2000, 4),
        ])
        .unwrap();
        let found = |label: &str| -> Vec<u32> {
            layout.find_label(label).iter().map(|seat| seat.0).collect()
        };
        assert_eq!(found("a-2"), [2, 7]);
        assert_eq!(found(" Circle A-2 "), [7]);
        assert_eq!(found("B-1-2"), [5]);
        assert_eq!(found("floor-4"), [11]);
        for none in ["", "A", "A-0", "A-4", "Floor Floor-1", "Circle B-1-1", "A-x", "-1"] {
            assert_eq!(found(none), [0; 0], "{none}");
        }
    }

    #[test]
    fn seats_are_numbered_in_layout_order() {
        let layout = Layout::new(vec![
            reserved("Stalls", 5000, &[("A", 3), ("B", 2)]),
            general("Floor", 2000, 4),
        ])
        .unwrap();
        assert_eq!(layout.total_seats(), 9);
        let labels: Vec<String> = layout.seats().map(|seat| seat.label()).collect();
        let expected =
            ["A-1", "A-2", "A-3", "B-1", "B-2", "Floor-1", "Floor-2", "Floor-3", "Floor-4"];
        assert_eq!(labels, expected);
        for seat in layout.seats() {
            assert_eq!(layout.seat(seat.id), Some(seat));
        }
        assert_eq!(layout.seat(SeatId(0)), None);
        assert_eq!(layout.seat(SeatId(10)), None);
        assert_eq!(layout.amount(&[SeatId(1), SeatId(9)]), Some(7000));
        assert_eq!(layout.amount(&[SeatId(1), SeatId(10)]), None);
        let starts: Vec<u32> = layout.run_starts().map(|seat| seat.0).collect();
        assert_eq!(starts, [1, 4, 6]);
        let ranges: Vec<(u32, u32)> =
            layout.section_ranges().iter().map(|r| (r.1.0, r.2)).collect();
        assert_eq!(ranges, [(1, 5), (6, 4)]);
    }

    #[test]
    fn full_labels_name_a_seat_among_all_sections() {
        let rows = |name| reserved(name, 1, &[("A", 2), ("B", 1)]);
        let layout = Layout::new(vec![rows("Stalls"), rows("Balcony"), general("Floor", 1, 1)]);
        let layout = layout.unwrap();
        let labels: Vec<String> = layout.seats().map(|seat| seat.full_label()).collect();
        let expected = [
            "Stalls A-1",
            "Stalls A-2",
            "Stalls B-1",
            "Balcony A-1",
            "Balcony A-2",
            "Balcony B-1",
            "Floor-1",
        ];
        assert_eq!(labels, expected);
        assert_eq!(layout.check_full_labels(), Ok(()));
        let twice = Layout::new(vec![rows("Stalls"), general("Stalls A", 1, 1)]).unwrap();
        assert_eq!(twice.check_full_labels(), Err(LayoutError::Twice("Stalls A".into())));
    }

    #[test]
    fn bad_layouts_are_refused() {
        let both = Section { capacity: Some(1), ..reserved("S", 1, &[("A", 1)]) };
        let million = general("M", 1, SEATS_PER_EVENT_MAX);
        let cases = [
            (vec![], LayoutError::Sections),
            (vec![both], LayoutError::Kind("S".into())),
            (vec![general("", 1, 1)], LayoutError::Label("".into())),
            (vec![general("S", -1, 1)], LayoutError::Price("S".into())),
            (vec![general("S", 1, 0)], LayoutError::Empty("S".into())),
            (vec![reserved("S", 1, &[])], LayoutError::Empty("S".into())),
            (vec![general("S", 1, 1), general("S", 1, 1)], LayoutError::Twice("S".into())),
            (vec![reserved("S", 1, &[("A", 1), ("A", 1)])], LayoutError::Twice("A".into())),
            (vec![million.clone(), general("S", 1, 1)], LayoutError::Size),
            (vec![general("S", 1, u32::MAX)], LayoutError::Size),
        ];
        for (sections, error) in cases {
            assert_eq!(Layout::new(sections), Err(error));
        }
        assert!(Layout::new(vec![million]).is_ok());
    }
}
