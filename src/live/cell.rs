//! One seat of a view, for readers who take no lock.

use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU32, AtomicU64, Ordering, fence};

use super::hashes::Holder;
use crate::domain::SeatState;

/// One seat for readers.
pub(super) struct Cell {
    turn: AtomicU32,
    /// The inventory's byte.
    byte: AtomicU8,
    holder: AtomicU64,
    deadline_ms: AtomicI64,
}

/// A seat as a view has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat {
    /// Its state.
    pub state: SeatState,
    /// Who has it.
    pub holder: Holder,
    /// When the hold on it lapses by itself, Unix ms; 0: it does not.
    pub deadline_ms: i64,
}

impl Cell {
    pub fn new(byte: u8) -> Self {
        Cell {
            turn: AtomicU32::new(0),
            byte: AtomicU8::new(byte),
            holder: AtomicU64::new(0),
            deadline_ms: AtomicI64::new(0),
        }
    }

    /// The inventory's byte.
    pub fn byte(&self) -> u8 {
        self.byte.load(Ordering::Relaxed)
    }

    pub fn state(&self) -> Option<SeatState> {
        SeatState::from_byte(self.byte.load(Ordering::Relaxed))
    }

    /// All three or nothing: whoever sees the same even turn before and after has read one write.
    pub fn read(&self) -> Option<Seat> {
        let turn = self.turn.load(Ordering::Acquire);
        let byte = self.byte.load(Ordering::Relaxed);
        let holder = Holder(self.holder.load(Ordering::Relaxed));
        let deadline_ms = self.deadline_ms.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        let is_whole = turn.is_multiple_of(2) && self.turn.load(Ordering::Relaxed) == turn;
        let state = SeatState::from_byte(byte)?;
        is_whole.then_some(Seat { state, holder, deadline_ms })
    }

    /// By one writer at a time: whoever has the view's writer.
    pub fn write(&self, byte: u8, holder: Holder, deadline_ms: i64) {
        let turn = self.turn.load(Ordering::Relaxed);
        self.turn.store(turn.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        self.byte.store(byte, Ordering::Relaxed);
        self.holder.store(holder.0, Ordering::Relaxed);
        self.deadline_ms.store(deadline_ms, Ordering::Relaxed);
        self.turn.store(turn.wrapping_add(2), Ordering::Release);
    }
}
