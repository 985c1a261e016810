//! Proves that a load is complete before it is opened: compares Redis' inventory with everything that
//! was placed, blocks included.
//!
//! ```text
//! place … place → seal_load (another token) → read the inventory and the bookings
//!   → MongoDB records the seal with `opened`
//! ```
//!
//! Placing takes many calls, and Redis may fall back to an older copy of its data between any two: the
//! event is still `loading` there, under the same token, so the following calls succeed.
//!
//! | when Redis falls back | result |
//! |---|---|
//! | before the seal | The lost part is missing in the reading, and the repair fails. |
//! | after the seal, to a copy from before it | The copy has the old token, so it is neither opened nor considered complete; the event counts as lost. |
//! | after the seal, to a copy from after it | The copy is complete. |

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{PAGE, Restoration};
use crate::domain::{Booking, BookingId, Inventory, SeatId, SeatState};
use crate::redis::{Detail, SealLoadReply, new_nonce};
use crate::sale::SaleError;
use crate::sale::unload::wrong_state;

/// Everything that was placed in a load. Bounded by the event: a byte a seat, and its undecided
/// bookings.
#[derive(Debug, Default)]
pub(super) struct Plan(Mutex<Placed>);

#[derive(Debug, Default)]
struct Placed {
    /// The expected state of each seat, by its number minus one; `None` and beyond: free, or held.
    seats: Vec<Option<SeatState>>,
    undecided: Vec<BookingId>,
}

impl Plan {
    /// Forgets everything placed.
    pub fn clear(&self) {
        *self.lock() = Placed::default();
    }

    /// Records sold bookings and blocked seats.
    pub fn place(&self, sold: &[Booking], blocked: &[SeatId]) {
        let mut placed = self.lock();
        for seat in sold.iter().flat_map(|booking| &booking.seats) {
            placed.expect(*seat, SeatState::Booked);
        }
        for seat in blocked {
            placed.expect(*seat, SeatState::Blocked);
        }
    }

    /// Records undecided bookings, which must exist in whatever state.
    pub fn write(&self, bookings: &[Booking]) {
        self.lock().undecided.extend(bookings.iter().map(|booking| booking.id));
    }

    /// The first seat that is not in its expected state.
    fn stray_seat(&self, inventory: &Inventory) -> Option<SeatId> {
        let placed = self.lock();
        (1..=inventory.seats()).map(SeatId).find(|seat| {
            let expected = placed.seats.get(seat.0 as usize - 1).copied().flatten();
            let here = inventory.state(*seat);
            !match expected {
                // A held seat stays held, though it is to be blocked.
                Some(SeatState::Blocked) => {
                    matches!(here, Some(SeatState::Blocked | SeatState::Hold))
                }
                Some(expected) => here == Some(expected),
                None => matches!(here, Some(SeatState::Available | SeatState::Hold)),
            }
        })
    }

    fn undecided(&self) -> Vec<BookingId> {
        self.lock().undecided.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Placed> {
        // Poisoning can be ignored: no code under this lock panics halfway through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Placed {
    fn expect(&mut self, seat: SeatId, state: SeatState) {
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

impl Restoration<'_> {
    /// Seals the load with this token and proves that it is complete; returns the seal.
    pub(super) async fn seal(&self, token: &str) -> Result<String, SaleError> {
        let (id, generation) = (self.event.id, self.event.generation);
        // Begins with a letter, so that the token is never parsed as a number.
        let seal = format!("s{}", new_nonce());
        let sealed = self.engine.seal_load(id, generation, token, &seal).await?;
        if sealed.reply != SealLoadReply::Sealed {
            return Err(self.lost_again());
        }
        // INVARIANT: read after the seal, so what it finds is in every copy that has the seal.
        let snapshot = self.engine.snapshot(id, Detail::Seats).await?;
        let inventory =
            snapshot.filter(|snapshot| !snapshot.open && snapshot.generation == generation);
        let inventory = inventory.and_then(|snapshot| snapshot.inventory);
        let inventory = inventory.ok_or_else(|| self.lost_again())?;
        if let Some(seat) = self.plan.stray_seat(&inventory) {
            let reason =
                format!("seat {seat} is not as it was placed: Redis has lost a part of this load");
            return Err(wrong_state(id, &reason));
        }
        for ids in self.plan.undecided().chunks(PAGE as usize) {
            let here = self.engine.bookings_by_id(id, ids).await?;
            if let Some(lost) = ids.iter().find(|booking| !here.contains_key(booking)) {
                let reason =
                    format!("booking {lost} was placed and is not there: Redis has lost it");
                return Err(wrong_state(id, &reason));
            }
        }
        self.report("complete");
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
    fn load_is_complete_if_every_seat_has_its_expected_state() {
        let plan = Plan::default();
        plan.place(&[], &[SeatId(3), SeatId(4)]);
        // Held seats are accepted, also where a block is expected.
        assert_eq!(plan.stray_seat(&inventory("ahxxa")), None);
        assert_eq!(plan.stray_seat(&inventory("aaxhh")), None);
        for (letters, stray) in [("aaaxa", 3), ("aaxba", 4), ("bhxxa", 1), ("aaxxx", 5)] {
            assert_eq!(plan.stray_seat(&inventory(letters)), Some(SeatId(stray)), "{letters}");
        }
        plan.clear();
        assert_eq!(plan.stray_seat(&inventory("aahaa")), None);
    }
}
