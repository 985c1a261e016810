//! The fold of the booking log: who has which seat. Pure: no clock, no I/O.
//!
//! INVARIANT: after all entries up to a position, every seat's state is what Redis held at that
//! position. (`tests/model/replay.rs` shows that the log contains enough for that; a new view is
//! compared, seat by seat, with the bytes of a snapshot before it is used.)

use std::collections::{BTreeSet, HashMap};

use crate::domain::{Entry, Kind, SeatId, SeatState, Status, Transition};

use super::hashes::{FREE, HOUSE, Hashes, Holder};

/// A booking that occupies seats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LiveBooking {
    /// Its owner.
    pub user: Holder,
    /// The number of seats it names.
    pub seats: u32,
    /// The state of its seats.
    pub state: SeatState,
    /// When it expires, Unix ms; 0: never.
    pub deadline_ms: i64,
}

impl LiveBooking {
    /// A booking with this status; `None` if it occupies no seats.
    pub fn of(status: Status, user: Holder, seats: usize, deadline_ms: i64) -> Option<Self> {
        let (state, deadline_ms) = match status {
            Status::Hold => (SeatState::Hold, deadline_ms),
            Status::Confirming => (SeatState::Hold, 0),
            Status::Committed | Status::Confirmed => (SeatState::Booked, 0),
            Status::Voided | Status::Cancelled | Status::Expired => return None,
        };
        Some(LiveBooking { user, seats: seats as u32, state, deadline_ms })
    }
}

/// Who has which seat. Bookings and users are represented by their hashes.
#[derive(Clone, Debug, Default)]
pub(super) struct Fold {
    /// By seat, from 1: [`FREE`], [`HOUSE`] or a booking.
    holders: Vec<u64>,
    live: HashMap<u64, LiveBooking>,
    /// The number of seats that a user's live bookings name, as the limit per user counts them.
    users: HashMap<Holder, u32>,
    deadlines: BTreeSet<(i64, u64)>,
    /// The number of seats that live bookings name, and of seats held by a booking.
    named: u64,
    held: u64,
    /// The number of live bookings that are not sold.
    open_holds: u64,
}

impl Fold {
    /// A fold of so many free seats.
    pub fn new(seats: u32) -> Self {
        Fold { holders: vec![FREE; seats as usize + 1], ..Fold::default() }
    }

    /// A seat's holder; [`FREE`] if there is no such seat.
    pub fn holder(&self, seat: SeatId) -> u64 {
        self.holders.get(seat.0 as usize).copied().unwrap_or(FREE)
    }

    /// Sets a seat's holder. Does nothing if there is no such seat.
    pub fn set_holder(&mut self, seat: SeatId, holder: u64) {
        if let Some(kept) = self.holders.get_mut(seat.0 as usize).filter(|_| seat.0 > 0) {
            let is_held = |holder| u64::from(!matches!(holder, FREE | HOUSE));
            self.held = self.held + is_held(holder) - is_held(*kept);
            *kept = holder;
        }
    }

    /// Whether a live booking lacks one of its seats because the archive gave it to another sale.
    pub fn has_displaced(&self) -> bool {
        self.named != self.held
    }

    /// The booking that holds a seat.
    pub fn booking_on(&self, seat: SeatId) -> Option<&LiveBooking> {
        self.live.get(&self.holder(seat))
    }

    /// A seat's state; `None` if its holder is not a live booking, which is a defect.
    pub fn state(&self, seat: SeatId) -> Option<SeatState> {
        match self.holder(seat) {
            FREE => Some(SeatState::Available),
            HOUSE => Some(SeatState::Blocked),
            booking => self.live.get(&booking).map(|booking| booking.state),
        }
    }

    /// The number of seats that a user's bookings name.
    pub fn seats_of(&self, user: Holder) -> u32 {
        self.users.get(&user).copied().unwrap_or_default()
    }

    /// All users with seats.
    pub fn users(&self) -> impl Iterator<Item = (Holder, u32)> {
        self.users.iter().map(|(user, seats)| (*user, *seats))
    }

    /// The number of bookings that hold seats and are not sold.
    pub fn open_holds(&self) -> u64 {
        self.open_holds
    }

    /// The earliest deadline of a hold, Unix ms.
    pub fn next_deadline_ms(&self) -> Option<i64> {
        self.deadlines.first().map(|first| first.0)
    }

    /// Inserts, replaces or (`None`) removes a booking.
    pub fn set_booking(&mut self, booking: u64, to: Option<LiveBooking>) {
        let before = match to {
            Some(live) => self.live.insert(booking, live),
            None => self.live.remove(&booking),
        };
        if let Some(before) = before {
            self.named -= u64::from(before.seats);
            self.open_holds -= u64::from(before.state == SeatState::Hold);
            self.deadlines.remove(&(before.deadline_ms, booking));
            if let Some(seats) = self.users.get_mut(&before.user) {
                *seats = seats.saturating_sub(before.seats);
                if *seats == 0 {
                    self.users.remove(&before.user);
                }
            }
        }
        if let Some(live) = to {
            self.named += u64::from(live.seats);
            self.open_holds += u64::from(live.state == SeatState::Hold);
            *self.users.entry(live.user).or_default() += live.seats;
            if live.deadline_ms > 0 {
                self.deadlines.insert((live.deadline_ms, booking));
            }
        }
    }

    /// Applies one entry of this event. Returns the seats and the user that it may have changed.
    pub fn apply(&mut self, entry: &Entry, hashes: &Hashes) -> EntryEffect {
        let mut effect = EntryEffect::default();
        if let Some(house) = &entry.house {
            let (from, to) = match entry.kind {
                Kind::Blocked => (FREE, HOUSE),
                _ => (HOUSE, FREE),
            };
            for seat in house.seats.iter().filter(|seat| self.holder(**seat) == from).copied() {
                effect.seats.push(seat);
            }
            effect.seats.iter().for_each(|seat| self.set_holder(*seat, to));
        }
        if let Some(transition) = &entry.transition {
            self.apply_transition(entry, transition, hashes, &mut effect);
        }
        effect
    }

    fn apply_transition(
        &mut self,
        entry: &Entry,
        t: &Transition,
        hashes: &Hashes,
        effect: &mut EntryEffect,
    ) {
        let booking = hashes.booking(t.booking);
        let user = hashes.user(&t.user);
        let live = LiveBooking::of(t.status, user, t.seats.len(), t.deadline_ms);
        let was_live = self.live.contains_key(&booking);
        for seat in t.seats.iter().copied() {
            let holder = self.holder(seat);
            if live.is_some() && takes(entry, was_live, holder) {
                self.set_holder(seat, booking);
            } else if live.is_none() && holder == booking {
                // A booking frees only seats that it holds itself.
                self.set_holder(seat, FREE);
            } else if holder != booking {
                continue;
            }
            effect.seats.push(seat);
        }
        self.set_booking(booking, live);
        effect.user = Some(user);
    }
}

/// Whether an entry's booking takes a seat with this holder; otherwise it keeps the seats that it has.
fn takes(entry: &Entry, was_live: bool, holder: u64) -> bool {
    match entry.kind {
        // A confirmation also takes the seats of sales that the archive decided against.
        Kind::Hold | Kind::Confirmed => true,
        // A late payment takes its seats only if they were still free.
        Kind::Sold => entry.detail == "late",
        // A restored payment gets those of its seats that no other sale or payment has. A booking that
        // is still live keeps its seats: a seat that it lost may be free again.
        Kind::Restored => !was_live && matches!(holder, FREE | HOUSE),
        _ => false,
    }
}

/// What an entry may have changed.
#[derive(Debug, Default)]
pub(super) struct EntryEffect {
    /// Seats whose holder or state may have changed.
    pub seats: Vec<SeatId>,
    /// The user whose number of seats may have changed.
    pub user: Option<Holder>,
}
