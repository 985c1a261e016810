//! One seat of a view, protected by a sequence lock: readers take no lock.

use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU32, AtomicU64, Ordering, fence};

use super::hashes::Holder;
use crate::domain::SeatState;

/// One seat. `sequence` is odd during a write.
pub(super) struct SeatCell {
    sequence: AtomicU32,
    /// The inventory's byte.
    byte: AtomicU8,
    holder: AtomicU64,
    deadline_ms: AtomicI64,
}

/// A seat's state in a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat {
    /// Its state.
    pub state: SeatState,
    /// The user who holds or owns it.
    pub holder: Holder,
    /// When its hold expires, Unix ms; 0: never.
    pub deadline_ms: i64,
}

impl SeatCell {
    pub fn new(byte: u8) -> Self {
        SeatCell {
            sequence: AtomicU32::new(0),
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

    /// Reads all fields of one write; `None` during a write. The same even sequence number before and
    /// after shows that there was none.
    pub fn read(&self) -> Option<Seat> {
        let sequence = self.sequence.load(Ordering::Acquire);
        let byte = self.byte.load(Ordering::Relaxed);
        let holder = Holder(self.holder.load(Ordering::Relaxed));
        let deadline_ms = self.deadline_ms.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        let is_consistent =
            sequence.is_multiple_of(2) && self.sequence.load(Ordering::Relaxed) == sequence;
        let state = SeatState::from_byte(byte)?;
        is_consistent.then_some(Seat { state, holder, deadline_ms })
    }

    /// Writes all fields. The caller holds the view's writer lock, so there is one writer at a time.
    pub fn write(&self, byte: u8, holder: Holder, deadline_ms: i64) {
        let sequence = self.sequence.load(Ordering::Relaxed);
        self.sequence.store(sequence.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        self.byte.store(byte, Ordering::Relaxed);
        self.holder.store(holder.0, Ordering::Relaxed);
        self.deadline_ms.store(deadline_ms, Ordering::Relaxed);
        self.sequence.store(sequence.wrapping_add(2), Ordering::Release);
    }
}
