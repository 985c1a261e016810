//! The newest changes of one event, by version: what a client with an earlier version lacks.

use std::collections::{BTreeMap, VecDeque};

use crate::domain::{SeatId, SeatState};

/// Versions kept.
const VERSIONS_MAX: usize = 16_384;
/// Changed seats kept, over all versions: half a megabyte.
const SEATS_MAX: usize = 65_536;

/// The changes after a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// The version after which they begin.
    pub since: u64,
    /// The version at which they end.
    pub version: u64,
    /// When the newest change happened, by Redis' clock, Unix ms.
    pub time_ms: i64,
    /// Each changed seat once, in order, with its state at `version`.
    pub seats: Vec<(SeatId, SeatState)>,
}

/// The changes kept of one view.
#[derive(Debug)]
pub(super) struct ChangeHistory {
    /// The newest version.
    version: u64,
    time_ms: i64,
    /// One per version, the newest last.
    steps: VecDeque<Vec<(SeatId, SeatState)>>,
    seats: usize,
}

impl ChangeHistory {
    /// An empty history that begins after this version.
    pub fn new(version: u64, time_ms: i64) -> Self {
        ChangeHistory { version, time_ms, steps: VecDeque::new(), seats: 0 }
    }

    /// When the newest version was created, Unix ms.
    pub fn time_ms(&self) -> i64 {
        self.time_ms
    }

    /// Adds the next version's changes.
    pub fn push(&mut self, seats: Vec<(SeatId, SeatState)>, time_ms: i64) {
        self.version += 1;
        self.time_ms = time_ms;
        self.seats += seats.len();
        self.steps.push_back(seats);
        while self.steps.len() > VERSIONS_MAX || self.seats > SEATS_MAX {
            let Some(oldest) = self.steps.pop_front() else { break };
            self.seats -= oldest.len();
        }
    }

    /// The changes after a version; `None` if they are no longer kept, or the version is in the future.
    pub fn since(&self, since: u64) -> Option<Changes> {
        let steps = usize::try_from(self.version.checked_sub(since)?).ok()?;
        let first = self.steps.len().checked_sub(steps)?;
        let newest: BTreeMap<SeatId, SeatState> =
            self.steps.range(first..).flatten().copied().collect();
        let seats = newest.into_iter().collect();
        Some(Changes { since, version: self.version, time_ms: self.time_ms, seats })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_contain_the_newest_state_of_each_seat() {
        let mut history = ChangeHistory::new(7, 1);
        let (held, free) = (SeatState::Hold, SeatState::Available);
        history.push(vec![(SeatId(3), held), (SeatId(1), held)], 2);
        history.push(vec![], 3);
        history.push(vec![(SeatId(3), free)], 4);
        let since = |version| history.since(version).map(|changes| changes.seats);
        assert_eq!(since(7), Some(vec![(SeatId(1), held), (SeatId(3), free)]));
        assert_eq!(since(8), Some(vec![(SeatId(3), free)]));
        assert_eq!(since(10), Some(vec![]));
        assert_eq!((since(6), since(11)), (None, None));
        let newest = history.since(9).unwrap();
        assert_eq!((newest.since, newest.version, newest.time_ms), (9, 10, 4));
    }

    #[test]
    fn history_is_bounded_in_versions_and_seats() {
        let mut history = ChangeHistory::new(0, 0);
        let many = |n: u32| (1..=n).map(|seat| (SeatId(seat), SeatState::Hold)).collect();
        (0..VERSIONS_MAX + 5).for_each(|_| history.push(Vec::new(), 0));
        assert_eq!((history.steps.len(), history.since(4).is_none()), (VERSIONS_MAX, true));
        assert!(history.since(5).is_some());
        let newest = history.version;
        history.push(many(SEATS_MAX as u32), 0);
        assert!(history.since(newest).is_some() && history.since(newest - 1).is_some());
        history.push(many(1), 0);
        assert!(history.since(newest).is_none());
        assert!(history.seats <= SEATS_MAX);
    }
}
