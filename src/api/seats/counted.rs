//! A seat map with its counts.

use std::sync::Arc;

use crate::domain::{SeatCounts, SeatId};
use crate::http::response_memory::{Charge, ResponseMemory};
use crate::sale::SeatMap;

/// A seat map, and its counts by state.
pub struct CountedSeats {
    /// The seats.
    pub map: SeatMap,
    /// Counts over the event.
    pub totals: SeatCounts,
    /// Counts by section, in order.
    pub sections: Vec<SeatCounts>,
    /// The memory charged for the inventory's bytes.
    _charge: Option<Charge>,
}

impl CountedSeats {
    /// Counts a map's seats.
    pub fn new(map: SeatMap) -> Self {
        let ranges = map.event.layout.section_ranges();
        let count = |range: &(&_, SeatId, u32)| map.inventory.counts(range.1, range.2);
        let sections: Vec<SeatCounts> = ranges.iter().map(count).collect();
        let totals = sections.iter().copied().sum();
        CountedSeats { map, totals, sections, _charge: None }
    }

    /// Charges the inventory's bytes as response memory.
    pub fn charged(self, memory: &Arc<ResponseMemory>) -> Self {
        let charge = memory.charge(self.map.inventory.as_bytes().len());
        CountedSeats { _charge: Some(charge), ..self }
    }
}
