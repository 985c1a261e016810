//! The inventory: an event's seats as one byte string, as Redis stores it.
//!
//! Byte 0 is the format version, byte `n` is seat `n`: a letter of the seat table, in upper case
//! where a row (or a general-admission section) begins.

use super::ids::SeatId;
use super::layout::Layout;
use super::seat::SeatState;

/// The format this build reads and writes.
pub const INVENTORY_FORMAT: u8 = b'1';

/// An owned copy of an event's inventory bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inventory(Vec<u8>);

/// The number of seats in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SeatCounts {
    /// Free seats.
    pub available: u32,
    /// Seats held by bookings not sold yet.
    pub hold: u32,
    /// Sold seats.
    pub booked: u32,
    /// Seats withheld by the house.
    pub blocked: u32,
}

impl std::iter::Sum for SeatCounts {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(SeatCounts::default(), |sum, one| SeatCounts {
            available: sum.available + one.available,
            hold: sum.hold + one.hold,
            booked: sum.booked + one.booked,
            blocked: sum.blocked + one.blocked,
        })
    }
}

/// Why bytes are not an inventory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InventoryError {
    /// Written by another version of Holdfast, or not by Holdfast.
    #[error("inventory format is not {}", INVENTORY_FORMAT as char)]
    Format,
    /// A byte outside the seat table.
    #[error("seat {0} has a byte outside the seat table")]
    Byte(u32),
}

impl Inventory {
    /// Creates an inventory of a layout with all seats free.
    pub fn free(layout: &Layout) -> Self {
        let mut bytes = vec![SeatState::Available.byte(false); layout.total_seats() as usize + 1];
        bytes[0] = INVENTORY_FORMAT;
        for seat in layout.run_starts() {
            bytes[seat.0 as usize] = SeatState::Available.byte(true);
        }
        Inventory(bytes)
    }

    /// Parses the bytes of Redis; every byte is checked.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, InventoryError> {
        if bytes.first() != Some(&INVENTORY_FORMAT) {
            return Err(InventoryError::Format);
        }
        let stray = bytes[1..].iter().position(|byte| SeatState::from_byte(*byte).is_none());
        match stray {
            Some(index) => Err(InventoryError::Byte(index as u32 + 1)),
            None => Ok(Inventory(bytes)),
        }
    }

    /// Creates an inventory from bytes that are known to be valid, copied from another inventory.
    pub(crate) fn of_known(seats: impl Iterator<Item = u8>) -> Self {
        Inventory(std::iter::once(INVENTORY_FORMAT).chain(seats).collect())
    }

    /// The bytes as Redis holds them, format byte first.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Number of seats.
    pub fn seats(&self) -> u32 {
        self.0.len() as u32 - 1
    }

    /// A seat's state; `None` if there is no such seat.
    pub fn state(&self, seat: SeatId) -> Option<SeatState> {
        if seat.0 == 0 {
            return None;
        }
        self.0.get(seat.0 as usize).and_then(|byte| SeatState::from_byte(*byte))
    }

    /// Counts by state over `count` seats from `first`.
    pub fn counts(&self, first: SeatId, count: u32) -> SeatCounts {
        let from = (first.0 as usize).clamp(1, self.0.len());
        let to = from.saturating_add(count as usize).min(self.0.len());
        // One pass over the bytes: an event may have a million seats.
        let mut by_byte = [0_u32; 256];
        for byte in &self.0[from..to] {
            by_byte[usize::from(*byte)] += 1;
        }
        let of = |state: SeatState| {
            [true, false].map(|row_start| by_byte[usize::from(state.byte(row_start))]).iter().sum()
        };
        SeatCounts {
            available: of(SeatState::Available),
            hold: of(SeatState::Hold),
            booked: of(SeatState::Booked),
            blocked: of(SeatState::Blocked),
        }
    }

    /// Counts over the whole event.
    pub fn totals(&self) -> SeatCounts {
        self.counts(SeatId(1), self.seats())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::layout::{Row, Section};

    fn two_rows() -> Layout {
        let rows = ["A", "B"].map(|row| Row { row: row.into(), seats: 2 });
        let section =
            Section { name: "S".into(), price: 1, rows: Some(rows.to_vec()), capacity: None };
        Layout::new(vec![section]).unwrap()
    }

    #[test]
    fn rows_begin_with_a_capital() {
        assert_eq!(Inventory::free(&two_rows()).as_bytes(), b"1AaAa");
    }

    #[test]
    fn counts_by_state() {
        let inventory = Inventory::from_bytes(b"1AhBx".to_vec()).unwrap();
        let all = SeatCounts { available: 1, hold: 1, booked: 1, blocked: 1 };
        assert_eq!(inventory.totals(), all);
        assert_eq!(inventory.state(SeatId(2)), Some(SeatState::Hold));
        assert_eq!(inventory.state(SeatId(0)), None);
        assert_eq!(inventory.state(SeatId(5)), None);
        assert_eq!(inventory.counts(SeatId(3), 9).available, 0);
    }

    #[test]
    fn foreign_bytes_are_refused() {
        assert_eq!(Inventory::from_bytes(b"".to_vec()), Err(InventoryError::Format));
        assert_eq!(Inventory::from_bytes(b"2a".to_vec()), Err(InventoryError::Format));
        assert_eq!(Inventory::from_bytes(b"1a?".to_vec()), Err(InventoryError::Byte(2)));
    }
}
