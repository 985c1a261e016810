//! Proof that a load is whole before it is opened: the inventory as Redis has it against what was
//! placed, house blocks included.
//!
//! ```text
//! place … place → seal_load (another token) → look at the inventory and the bookings
//!   → MongoDB records the seal with `opened`
//! ```
//!
//! Placing takes many calls, and Redis may fall back to an older copy of its data between any two: the
//! event is still `loading` there, under the same token, so the calls that follow succeed.
//!
//! * *It falls back before the seal*: what is lost is missing in the look, and the repair fails.
//! * *After the seal, to a copy of before*: that copy has the old token, so it is neither opened nor
//!   taken for whole; the event counts as lost.
//! * *After the seal, to a copy of after*: it is whole.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{PAGE, Work};
use crate::domain::{Booking, BookingId, Inventory, SeatId, SeatState};
use crate::redis::{Detail, SealLoadReply, new_nonce};
use crate::sale::SaleError;
use crate::sale::unload::state;

/// What a load must have. Bounded by the event: a byte a seat, and its undecided bookings.
#[derive(Debug, Default)]
pub(super) struct Plan(Mutex<Placed>);

#[derive(Debug, Default)]
struct Placed {
    /// The state wanted of each seat, by its number less one; `None` and beyond: nobody's, or held.
    seats: Vec<Option<SeatState>>,
    undecided: Vec<BookingId>,
}

impl Plan {
    /// Begins anew.
    pub fn clear(&self) {
        *self.lock() = Placed::default();
    }

    /// These bookings are sold, these seats the house's.
    pub fn place(&self, sold: &[Booking], blocked: &[SeatId]) {
        let mut placed = self.lock();
        for seat in sold.iter().flat_map(|booking| &booking.seats) {
            placed.want(*seat, SeatState::Booked);
        }
        for seat in blocked {
            placed.want(*seat, SeatState::Blocked);
        }
    }

    /// These bookings are written, whatever becomes of them.
    pub fn write(&self, bookings: &[Booking]) {
        self.lock().undecided.extend(bookings.iter().map(|booking| booking.id));
    }

    /// The first seat that is otherwise than it must be.
    fn stray_seat(&self, inventory: &Inventory) -> Option<SeatId> {
        let placed = self.lock();
        (1..=inventory.seats()).map(SeatId).find(|seat| {
            let wanted = placed.seats.get(seat.0 as usize - 1).copied().flatten();
            let here = inventory.state(*seat);
            !match wanted {
                // A seat that somebody has is not the house's.
                Some(SeatState::Blocked) => {
                    matches!(here, Some(SeatState::Blocked | SeatState::Hold))
                }
                Some(wanted) => here == Some(wanted),
                None => matches!(here, Some(SeatState::Available | SeatState::Hold)),
            }
        })
    }

    fn undecided(&self) -> Vec<BookingId> {
        self.lock().undecided.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Placed> {
        // Nothing under this lock panics half-way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Placed {
    fn want(&mut self, seat: SeatId, state: SeatState) {
        // Seats are numbered from 1.
        let index = (seat.0 as usize).saturating_sub(1);
        if self.seats.len() <= index {
            self.seats.resize(index + 1, None);
        }
        if self.seats[index] != Some(SeatState::Booked) {
            self.seats[index] = Some(state);
        }
    }
}

impl Work<'_> {
    /// Seals the load of this token and proves that it is whole; answers with the seal.
    pub(super) async fn seal(&self, token: &str) -> Result<String, SaleError> {
        let (id, generation) = (self.event.id, self.event.generation);
        // A letter first: the token is never taken for a number.
        let seal = format!("s{}", new_nonce());
        let sealed = self.engine.seal_load(id, generation, token, &seal).await?;
        if sealed.reply != SealLoadReply::Sealed {
            return Err(self.gone());
        }
        // INVARIANT: after the seal. What the look finds is then in every copy that has the seal.
        let snapshot = self.engine.snapshot(id, Detail::Seats).await?;
        let inventory =
            snapshot.filter(|snapshot| !snapshot.open && snapshot.generation == generation);
        let inventory = inventory.and_then(|snapshot| snapshot.inventory);
        let inventory = inventory.ok_or_else(|| self.gone())?;
        if let Some(seat) = self.plan.stray_seat(&inventory) {
            let reason =
                format!("seat {seat} is not as it was placed: Redis has lost a part of this load");
            return Err(state(id, &reason));
        }
        for some in self.plan.undecided().chunks(PAGE as usize) {
            let here = self.engine.bookings_by_id(id, some).await?;
            if let Some(lost) = some.iter().find(|booking| !here.contains_key(booking)) {
                let reason =
                    format!("booking {lost} was placed and is not there: Redis has lost it");
                return Err(state(id, &reason));
            }
        }
        self.tell("whole");
        Ok(seal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Layout, Section};

    fn inventory(letters: &str) -> Inventory {
        let capacity = Some(letters.len() as u32);
        let section = Section { name: "Floor".into(), price: 1, rows: None, capacity };
        let free = Inventory::free(&Layout::new(vec![section]).unwrap());
        let mut bytes = free.as_bytes().to_vec();
        let first = bytes.len() - letters.len();
        bytes[first..].copy_from_slice(letters.as_bytes());
        Inventory::from_bytes(bytes).unwrap()
    }

    #[test]
    fn load_is_whole_if_every_seat_is_as_it_was_placed() {
        let plan = Plan::default();
        plan.place(&[], &[SeatId(3), SeatId(4)]);
        // Held seats are somebody's, though the house wants one of them.
        assert_eq!(plan.stray_seat(&inventory("ahxxa")), None);
        assert_eq!(plan.stray_seat(&inventory("aaxhh")), None);
        for (letters, stray) in [("aaaxa", 3), ("aaxba", 4), ("bhxxa", 1), ("aaxxx", 5)] {
            assert_eq!(plan.stray_seat(&inventory(letters)), Some(SeatId(stray)), "{letters}");
        }
        plan.clear();
        assert_eq!(plan.stray_seat(&inventory("aahaa")), None);
    }
}
