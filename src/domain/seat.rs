//! Seat states: API name, inventory byte, meaning.

use serde::{Deserialize, Serialize};

/// The state of one seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum SeatState {
    /// Free.
    Available,
    /// Held by a booking that is not sold yet.
    Hold,
    /// Sold.
    Booked,
    /// Withheld by the house.
    Blocked,
}

/// State, API name, inventory byte. The byte of a seat that begins a row
/// is the same letter in upper case.
pub const SEAT_STATES: [(SeatState, &str, u8); 4] = [
    (SeatState::Available, "AVAILABLE", b'a'),
    (SeatState::Hold, "HOLD", b'h'),
    (SeatState::Booked, "BOOKED", b'b'),
    (SeatState::Blocked, "BLOCKED", b'x'),
];

impl SeatState {
    /// The name in the API.
    pub fn as_str(self) -> &'static str {
        SEAT_STATES[self as usize].1
    }

    /// The inventory byte; `row_start` marks the first seat of a row.
    pub fn byte(self, row_start: bool) -> u8 {
        let byte = SEAT_STATES[self as usize].2;
        if row_start { byte.to_ascii_uppercase() } else { byte }
    }

    /// The state of an inventory byte; `None` if the byte is not in the table.
    pub fn from_byte(byte: u8) -> Option<Self> {
        let lower = byte.to_ascii_lowercase();
        SEAT_STATES.iter().find(|row| row.2 == lower).map(|row| row.0)
    }

    /// The state of an API name (any case); `None` if there is none.
    pub fn parse(word: &str) -> Option<Self> {
        SEAT_STATES.iter().find(|row| row.1.eq_ignore_ascii_case(word)).map(|row| row.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_is_in_enum_order_and_reversible() {
        for (index, (state, word, byte)) in SEAT_STATES.into_iter().enumerate() {
            assert_eq!(state as usize, index);
            assert_eq!(SeatState::parse(word), Some(state));
            assert_eq!(SeatState::from_byte(byte), Some(state));
            assert_eq!(SeatState::from_byte(state.byte(true)), Some(state));
            assert_eq!(serde_json::to_value(state).unwrap(), word);
        }
        assert_eq!(SeatState::from_byte(b'?'), None);
    }
}
