//! The fold: who has which seat, as the booking log tells it. Pure: no clock, no I/O.
//!
//! INVARIANT: after all entries up to a position, every seat's state is what Redis held at that
//! position. (`tests/model/replay.rs` shows that the log tells enough for that; a view that is
//! built is compared, seat by seat, with the bytes of a snapshot before anybody sees it.)

use std::collections::{BTreeSet, HashMap};

use crate::domain::{Entry, Kind, SeatId, SeatState, Status, Transition};

use super::hashes::{Hashes, Holder};

/// Nobody has the seat.
pub(super) const FREE: u64 = 0;
/// The house keeps the seat back.
pub(super) const HOUSE: u64 = u64::MAX;

/// A booking that keeps seats from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LiveBooking {
    /// Its owner.
    pub user: Holder,
    /// How many seats it names.
    pub seats: u32,
    /// What its seats are.
    pub state: SeatState,
    /// When it lapses, Unix ms; 0: not by itself.
    pub deadline_ms: i64,
}

impl LiveBooking {
    /// A booking as it stands; `None` if it keeps nothing from anybody.
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

/// Who has which seat. Bookings and users are their hashes.
#[derive(Clone, Debug, Default)]
pub(super) struct Fold {
    /// By seat, from 1: [`FREE`], [`HOUSE`] or a booking.
    holders: Vec<u64>,
    live: HashMap<u64, LiveBooking>,
    /// Seats that live bookings of a user name, as the limit a user counts them.
    users: HashMap<Holder, u32>,
    deadlines: BTreeSet<(i64, u64)>,
    /// Seats that live bookings name, and seats that a booking has.
    named: u64,
    held: u64,
}

impl Fold {
    /// So many free seats.
    pub fn new(seats: u32) -> Self {
        Fold { holders: vec![FREE; seats as usize + 1], ..Fold::default() }
    }

    /// A seat's holder; [`FREE`] for a seat that there is not.
    pub fn holder(&self, seat: SeatId) -> u64 {
        self.holders.get(seat.0 as usize).copied().unwrap_or(FREE)
    }

    /// Says who has a seat. A seat that there is not is left alone.
    pub fn set_holder(&mut self, seat: SeatId, holder: u64) {
        if let Some(kept) = self.holders.get_mut(seat.0 as usize).filter(|_| seat.0 > 0) {
            let is_held = |holder| u64::from(!matches!(holder, FREE | HOUSE));
            self.held = self.held + is_held(holder) - is_held(*kept);
            *kept = holder;
        }
    }

    /// Whether a live booking lacks one of its seats, which the archive gave to another sale.
    pub fn has_displaced(&self) -> bool {
        self.named != self.held
    }

    /// The booking that has a seat.
    pub fn booking_on(&self, seat: SeatId) -> Option<&LiveBooking> {
        self.live.get(&self.holder(seat))
    }

    /// What a seat is; `None` if its holder is no live booking, which should not be.
    pub fn state(&self, seat: SeatId) -> Option<SeatState> {
        match self.holder(seat) {
            FREE => Some(SeatState::Available),
            HOUSE => Some(SeatState::Blocked),
            booking => self.live.get(&booking).map(|booking| booking.state),
        }
    }

    /// Seats that a user's bookings name.
    pub fn seats_of(&self, user: Holder) -> u32 {
        self.users.get(&user).copied().unwrap_or_default()
    }

    /// All users that have any.
    pub fn users(&self) -> impl Iterator<Item = (Holder, u32)> {
        self.users.iter().map(|(user, seats)| (*user, *seats))
    }

    /// The earliest deadline of a hold, Unix ms.
    pub fn next_deadline_ms(&self) -> Option<i64> {
        self.deadlines.first().map(|first| first.0)
    }

    /// Keeps, changes or (`None`) forgets a booking.
    pub fn set_booking(&mut self, booking: u64, to: Option<LiveBooking>) {
        let before = match to {
            Some(live) => self.live.insert(booking, live),
            None => self.live.remove(&booking),
        };
        if let Some(before) = before {
            self.named -= u64::from(before.seats);
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
            *self.users.entry(live.user).or_default() += live.seats;
            if live.deadline_ms > 0 {
                self.deadlines.insert((live.deadline_ms, booking));
            }
        }
    }

    /// Learns from one entry of this event. Gives the seats that may be others' now, or in another
    /// state, and whose number of seats may have changed.
    pub fn learn(&mut self, entry: &Entry, hashes: &Hashes) -> Learnt {
        let mut learnt = Learnt::default();
        if let Some(house) = &entry.house {
            let (from, to) = match entry.kind {
                Kind::Blocked => (FREE, HOUSE),
                _ => (HOUSE, FREE),
            };
            for seat in house.seats.iter().filter(|seat| self.holder(**seat) == from).copied() {
                learnt.seats.push(seat);
            }
            learnt.seats.iter().for_each(|seat| self.set_holder(*seat, to));
        }
        if let Some(transition) = &entry.transition {
            self.follow(entry, transition, hashes, &mut learnt);
        }
        learnt
    }

    fn follow(&mut self, entry: &Entry, t: &Transition, hashes: &Hashes, learnt: &mut Learnt) {
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
            learnt.seats.push(seat);
        }
        self.set_booking(booking, live);
        learnt.user = Some(user);
    }
}

/// Whether an entry's booking takes a seat with this holder; otherwise it keeps what it has.
fn takes(entry: &Entry, was_live: bool, holder: u64) -> bool {
    match entry.kind {
        // A confirmation takes also the seats of sales that the archive judged otherwise.
        Kind::Hold | Kind::Confirmed => true,
        // Money that came late finds its seats free, or keeps them.
        Kind::Sold => entry.detail == "late",
        // A payment that was lost gets those of its seats that no other sale or payment has. One that
        // Redis has keeps what it has: a seat that it lost may be free again.
        Kind::Restored => !was_live && matches!(holder, FREE | HOUSE),
        _ => false,
    }
}

/// What an entry may have changed.
#[derive(Debug, Default)]
pub(super) struct Learnt {
    /// These seats.
    pub seats: Vec<SeatId>,
    /// How many seats this user has.
    pub user: Option<Holder>,
}
