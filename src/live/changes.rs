//! The newest changes of one event, by version: what a client that knows an earlier version lacks.

use std::collections::{BTreeMap, VecDeque};

use crate::domain::{SeatId, SeatState};

/// Versions that are kept.
const VERSIONS_MAX: usize = 16_384;
/// Changed seats that are kept, over all versions: half a megabyte.
const SEATS_MAX: usize = 65_536;

/// What changed after a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// After which version.
    pub since: u64,
    /// Up to which.
    pub version: u64,
    /// When the newest of them happened, by Redis' time, Unix ms.
    pub time_ms: i64,
    /// Each seat once, in order, as it is at `version`.
    pub seats: Vec<(SeatId, SeatState)>,
}

/// The changes that are kept.
#[derive(Debug)]
pub(super) struct Kept {
    /// The newest version.
    version: u64,
    time_ms: i64,
    /// One a version, the newest last.
    steps: VecDeque<Vec<(SeatId, SeatState)>>,
    seats: usize,
}

impl Kept {
    /// None yet after this version.
    pub fn new(version: u64, time_ms: i64) -> Self {
        Kept { version, time_ms, steps: VecDeque::new(), seats: 0 }
    }

    /// When the newest version came about, Unix ms.
    pub fn time_ms(&self) -> i64 {
        self.time_ms
    }

    /// The next version, and what it changed.
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

    /// What changed after a version; `None` if that is not known any more, or not yet.
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
    fn the_newest_state_of_each_seat_is_told() {
        let mut kept = Kept::new(7, 1);
        let (held, free) = (SeatState::Hold, SeatState::Available);
        kept.push(vec![(SeatId(3), held), (SeatId(1), held)], 2);
        kept.push(vec![], 3);
        kept.push(vec![(SeatId(3), free)], 4);
        let since = |version| kept.since(version).map(|changes| changes.seats);
        assert_eq!(since(7), Some(vec![(SeatId(1), held), (SeatId(3), free)]));
        assert_eq!(since(8), Some(vec![(SeatId(3), free)]));
        assert_eq!(since(10), Some(vec![]));
        assert_eq!((since(6), since(11)), (None, None));
        let newest = kept.since(9).unwrap();
        assert_eq!((newest.since, newest.version, newest.time_ms), (9, 10, 4));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut kept = Kept::new(0, 0);
        let many = |n: u32| (1..=n).map(|seat| (SeatId(seat), SeatState::Hold)).collect();
        (0..VERSIONS_MAX + 5).for_each(|_| kept.push(Vec::new(), 0));
        assert_eq!((kept.steps.len(), kept.since(4).is_none()), (VERSIONS_MAX, true));
        assert!(kept.since(5).is_some());
        let newest = kept.version;
        kept.push(many(SEATS_MAX as u32), 0);
        assert!(kept.since(newest).is_some() && kept.since(newest - 1).is_some());
        kept.push(many(1), 0);
        assert!(kept.since(newest).is_none());
        assert!(kept.seats <= SEATS_MAX);
    }
}
