//! Finds free seats near the requested ones.
//!
//! Groups have the requested number of seats, in the same section (one price): side by side in the
//! same row, then in the rows before and behind it, nearest first. General admission has no
//! neighbours, so any of its free seats qualify. No seat is in two groups.

use std::collections::BTreeSet;

use super::ids::SeatId;
use super::layout::{Layout, Run};

/// Maximum number of groups of one search.
pub const ALTERNATIVES_MAX: u32 = 20;
/// Seats that one search examines, at most.
const SCAN_SEATS_MAX: u32 = 10_000;
/// Seats examined in one row, on either side of the requested position, at most.
const ROW_SIDE_SEATS_MAX: u32 = 250;

/// Returns at most `count` groups of free seats, nearest first. Empty if nothing is free within the
/// bounds, or if a requested seat does not exist.
pub fn alternatives(
    layout: &Layout,
    is_free: impl Fn(SeatId) -> bool,
    requested: &[SeatId],
    count: u32,
) -> Vec<Vec<SeatId>> {
    let Some((home, position)) = home_of(layout, requested) else { return Vec::new() };
    let seats = requested.len() as u32;
    let search = Search { seats, position, groups_max: count.min(ALTERNATIVES_MAX) };
    let mut groups = Vec::new();
    let Some(run) = layout.run(home) else { return groups };
    if !run.is_row {
        return search.any_of(run, is_free);
    }
    let (mut examined, mut beyond) = (0, 0);
    for index in outward(home) {
        let enough = groups.len() >= search.groups_max as usize;
        // Twice in a row beyond the section: both sides are exhausted.
        if examined >= SCAN_SEATS_MAX || enough || beyond == 2 {
            break;
        }
        match index.and_then(|index| layout.run(index)) {
            Some(row) if row.section == run.section => {
                examined += search.in_row(row, &is_free, &mut groups);
                beyond = 0;
            }
            _ => beyond += 1,
        }
    }
    groups
}

/// The row (or general-admission section) with most of these seats, and the position in it of the
/// first of them.
fn home_of(layout: &Layout, requested: &[SeatId]) -> Option<(usize, u32)> {
    let runs: Option<Vec<usize>> = requested.iter().map(|seat| layout.run_of(*seat)).collect();
    let runs = runs?;
    let votes = |run: usize| runs.iter().filter(|other| **other == run).count();
    // On a tie, the first.
    let home = runs.iter().copied().rev().max_by_key(|run| votes(*run))?;
    let of_home = requested.iter().zip(&runs).filter(|(_, run)| **run == home);
    let first = of_home.map(|(seat, _)| seat.0).min()?;
    Some((home, first - layout.run(home)?.first.0))
}

/// A row, then the rows around it, nearest first; `None` before the first.
fn outward(home: usize) -> impl Iterator<Item = Option<usize>> {
    let around = (1..).flat_map(move |step| [home.checked_add(step), home.checked_sub(step)]);
    std::iter::once(Some(home)).chain(around)
}

/// The parameters of one search.
struct Search {
    /// Seats per group.
    seats: u32,
    /// The requested position in the row, from 0.
    position: u32,
    /// Maximum number of groups.
    groups_max: u32,
}

impl Search {
    /// Adds the groups of one row; returns how many seats were examined.
    fn in_row(
        &self,
        row: Run,
        is_free: impl Fn(SeatId) -> bool,
        groups: &mut Vec<Vec<SeatId>>,
    ) -> u32 {
        let (from, to) = self.window(row);
        let free: Vec<bool> = (from..to).map(|id| is_free(SeatId(id))).collect();
        // Starts of groups whose seats are all free.
        let mut starts: Vec<u32> = (from..(to + 1).saturating_sub(self.seats))
            .filter(|start| {
                let first = (start - from) as usize;
                free[first..first + self.seats as usize].iter().all(|free| *free)
            })
            .collect();
        let position = row.first.0 + self.position;
        starts.sort_by_key(|start| (start.abs_diff(position), *start));
        let mut taken = BTreeSet::new();
        for start in starts {
            if groups.len() >= self.groups_max as usize {
                break;
            }
            let group = start..start + self.seats;
            if group.clone().any(|id| taken.contains(&id)) {
                continue;
            }
            taken.extend(group.clone());
            groups.push(group.map(SeatId).collect());
        }
        to - from
    }

    /// Groups of any free seats, nearest first.
    fn any_of(&self, section: Run, is_free: impl Fn(SeatId) -> bool) -> Vec<Vec<SeatId>> {
        let (first, position) = (section.first.0, section.first.0 + self.position);
        let last = first + section.seats - 1;
        let around = (1..SCAN_SEATS_MAX / 2)
            .flat_map(|step| [position.checked_add(step), position.checked_sub(step)]);
        let near = std::iter::once(Some(position)).chain(around).flatten();
        let free: Vec<SeatId> = near
            .filter(|id| (first..=last).contains(id))
            .map(SeatId)
            .filter(|seat| is_free(*seat))
            .take((self.groups_max * self.seats) as usize)
            .collect();
        let whole = free.chunks_exact(self.seats.max(1) as usize);
        let mut groups: Vec<Vec<SeatId>> = whole.map(<[SeatId]>::to_vec).collect();
        groups.iter_mut().for_each(|group| group.sort_unstable());
        groups
    }

    /// The examined part of a row, as seat numbers.
    fn window(&self, row: Run) -> (u32, u32) {
        let end = row.first.0 + row.seats;
        let position = row.first.0 + self.position.min(row.seats);
        let from = position.saturating_sub(ROW_SIDE_SEATS_MAX).max(row.first.0);
        (from, position.saturating_add(ROW_SIDE_SEATS_MAX).min(end))
    }
}

#[cfg(test)]
mod tests {
    use super::super::layout::{Row, Section};
    use super::*;

    /// Stalls of rows A to D with ten seats each (1 to 40), a balcony of ten (41 to 50), a floor of
    /// eight without rows (51 to 58).
    fn hall() -> Layout {
        let rows = |names: &[&str]| {
            let row = |name: &&str| Row { row: name.to_string(), seats: 10 };
            Some(names.iter().map(row).collect())
        };
        let section = |name: &str, price, rows, capacity| Section {
            name: name.into(),
            price,
            rows,
            capacity,
        };
        Layout::new(vec![
            section("Stalls", 5_000, rows(&["A", "B", "C", "D"]), None),
            section("Balcony", 5_000, rows(&["A"]), None),
            section("Floor", 2_000, None, Some(8)),
        ])
        .unwrap()
    }

    fn found(taken: &[u32], requested: &[u32], count: u32) -> Vec<Vec<u32>> {
        let requested: Vec<SeatId> = requested.iter().copied().map(SeatId).collect();
        let groups = alternatives(&hall(), |seat| !taken.contains(&seat.0), &requested, count);
        groups.into_iter().map(|group| group.into_iter().map(|seat| seat.0).collect()).collect()
    }

    #[test]
    fn same_row_comes_first_nearest_position_first() {
        assert_eq!(found(&[5], &[5], 4), [[4], [6], [3], [7]]);
        assert_eq!(found(&[5, 6], &[5, 6], 2), [[3, 4], [7, 8]]);
        // A requested seat that is free may be part of a group.
        assert_eq!(found(&[3], &[1, 2, 3], 2), vec![vec![4, 5, 6], vec![7, 8, 9]]);
        assert_eq!(found(&[10], &[9, 10], 1), [[8, 9]]);
    }

    #[test]
    fn other_rows_follow_nearest_first_at_the_same_position() {
        let row_b: Vec<u32> = (11..=20).collect();
        assert_eq!(found(&row_b, &[14, 15], 3), [[24, 25], [22, 23], [26, 27]]);
        let mut taken = row_b;
        taken.extend(21..=30);
        assert_eq!(found(&taken, &[14], 1), [[4]], "the row before, as the one behind is sold");
        taken.extend(1..=10);
        assert_eq!(found(&taken, &[14], 1), [[34]]);
    }

    #[test]
    fn no_group_leaves_its_row_or_section() {
        // Of row A only its last seat is free, of row B its first: side by side in number alone.
        let taken: Vec<u32> = (1..=40).filter(|seat| ![10, 11].contains(seat)).collect();
        assert_eq!(found(&taken, &[9, 10], 5), Vec::<Vec<u32>>::new());
        assert_eq!(found(&taken, &[9], 5), [[10], [11]]);
        let stalls: Vec<u32> = (1..=40).collect();
        assert_eq!(found(&stalls, &[40], 5), Vec::<Vec<u32>>::new(), "not on the balcony");
    }

    #[test]
    fn general_admission_has_no_neighbours() {
        assert_eq!(found(&[53, 54], &[53, 54], 5), [[52, 55], [51, 56], [57, 58]]);
        assert_eq!(found(&[51, 52, 53, 54, 55, 56, 57], &[51, 52], 5), Vec::<Vec<u32>>::new());
    }

    #[test]
    fn search_begins_in_the_row_with_most_requested_seats() {
        assert_eq!(found(&[11], &[10, 11, 12], 1), [[12, 13, 14]]);
        assert_eq!(found(&[1], &[1, 11], 1), [[2, 3]], "the first of equals");
    }

    #[test]
    fn empty_or_unknown_request_finds_nothing() {
        assert_eq!(found(&[], &[], 5), Vec::<Vec<u32>>::new());
        assert_eq!(found(&[], &[99], 5), Vec::<Vec<u32>>::new());
        assert_eq!(found(&[], &[5], 0), Vec::<Vec<u32>>::new());
        let many = found(&[], &[5], u32::MAX);
        assert_eq!(many.len(), ALTERNATIVES_MAX as usize);
    }

    #[test]
    fn search_is_bounded() {
        let row = |name: u32, seats| Row { row: name.to_string(), seats };
        let long = (0..3).map(|name| row(name, 300_000)).collect();
        let narrow = (0..9_000).map(|name| row(name, 10)).collect();
        let floor = Section { name: "F".into(), price: 1, rows: None, capacity: Some(500_000) };
        for section in [
            Section { name: "L".into(), price: 1, rows: Some(long), capacity: None },
            Section { name: "N".into(), price: 1, rows: Some(narrow), capacity: None },
            floor,
        ] {
            let layout = Layout::new(vec![section]).unwrap();
            let examined = std::cell::Cell::new(0);
            let is_free = |_| {
                examined.set(examined.get() + 1);
                false
            };
            let middle = SeatId(layout.total_seats() / 2);
            assert!(alternatives(&layout, is_free, &[middle], 20).is_empty());
            let examined = examined.get();
            assert!((500..=SCAN_SEATS_MAX + 500).contains(&examined), "{examined}");
        }
    }
}
