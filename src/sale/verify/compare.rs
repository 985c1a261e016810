//! Compares one event, without I/O: the invariants between its inventory, bookings, holders and users in
//! Redis and its bookings and claims in the archive, once the archive has caught up. The data is added
//! piece by piece, so neither side must fit into memory. Kept are one small record a seat, one count a
//! user, and the ids of ended bookings that are still in Redis.

use std::collections::{BTreeSet, HashMap};

use super::findings::Findings;
use crate::archive::{ArchivedBooking, Claim, EventHead};
use crate::domain::{
    Booking, BookingId, Inventory, LoadState, Outcome, RecordError, SeatId, SeatState, Status,
};
use crate::redis::EventSnapshot;

/// The data of one seat.
#[derive(Clone, Default)]
struct Seat {
    /// The live booking in Redis that has the seat, and the state it gives the seat.
    live: Option<(BookingId, SeatState)>,
    /// Whether Redis names that booking as the seat's holder.
    held: bool,
    /// The booking that bought the seat in the archive.
    sold: Option<BookingId>,
    /// Whether that booking owns the claim.
    claimed: bool,
}

/// How many seats a user has.
#[derive(Default)]
struct User {
    /// In live bookings.
    real: i64,
    /// In Redis' counter.
    counted: i64,
}

/// A booking in Redis that ended without a sale.
struct Ended {
    /// The time in its record, Unix ms.
    at_ms: i64,
    /// Whether the index of ended bookings names it.
    indexed: bool,
}

/// The comparison of one event. Redis' data is added first: bookings, holders, users, the index of ended
/// bookings; then the archive's: bookings, claims.
pub(super) struct Comparison<'a> {
    head: &'a EventHead,
    /// Redis' counters and inventory; `None` if it does not have the event.
    snapshot: Option<&'a EventSnapshot>,
    /// Index n is seat n.
    seats: Vec<Seat>,
    users: HashMap<String, User>,
    ended: HashMap<BookingId, Ended>,
    /// Seats that are blocked by the ledger.
    blocked: BTreeSet<SeatId>,
    /// Sales in Redis that the archive has not decided.
    undecided: u64,
    problems: Findings,
    unsettled: bool,
}

impl<'a> Comparison<'a> {
    pub fn new(head: &'a EventHead, snapshot: Option<&'a EventSnapshot>) -> Self {
        Comparison {
            head,
            snapshot,
            seats: vec![Seat::default(); head.total_seats as usize + 1],
            users: HashMap::new(),
            ended: HashMap::new(),
            blocked: BTreeSet::new(),
            undecided: 0,
            problems: Findings::default(),
            unsettled: false,
        }
    }

    /// Adds a booking in Redis with its archived state.
    pub fn add_booking(&mut self, booking: &Booking, archived: Option<&ArchivedBooking>) {
        // Skips a repeated booking: pages may overlap.
        let live = booking.seats.first().and_then(|seat| self.seat(*seat)?.live);
        if live.is_some_and(|(id, _)| id == booking.id) || self.ended.contains_key(&booking.id) {
            return;
        }
        match archived {
            Some(archived) => self.compare_bookings(booking, &archived.booking),
            None => {
                let (id, status) = (booking.id, booking.status.as_str());
                self.problems.add(format!("LOST {id} ({status}) is not archived"));
            }
        }
        if booking.status.is_live() {
            self.add_live(booking);
        } else {
            let ended = Ended { at_ms: booking.ended_ms, indexed: false };
            self.ended.insert(booking.id, ended);
        }
    }

    /// Adds an unreadable booking in Redis.
    pub fn add_unreadable_booking(&mut self, id: &str, reason: &RecordError) {
        self.problems.add(format!("booking {id} in Redis: {reason}"));
    }

    fn compare_bookings(&mut self, here: &Booking, there: &Booking) {
        if (here.status, here.version) != (there.status, there.version) {
            self.problems.add(format!(
                "{} is {} version {} in Redis, {} version {} in the archive",
                here.id,
                here.status.as_str(),
                here.version,
                there.status.as_str(),
                there.version
            ));
        }
        if (&here.user, &here.seats, here.amount, &here.currency)
            != (&there.user, &there.seats, there.amount, &there.currency)
        {
            self.problems.add(format!(
                "{} has another user, seats or amount in the archive than in Redis",
                here.id
            ));
        }
    }

    /// Assigns the seats of a live booking to it and counts them for its user.
    fn add_live(&mut self, booking: &Booking) {
        let state = match booking.status {
            Status::Committed | Status::Confirmed => SeatState::Booked,
            _ => SeatState::Hold,
        };
        let id = booking.id;
        self.undecided += u64::from(booking.status == Status::Committed);
        for seat in &booking.seats {
            let taken = self.seat_mut(*seat).map(|seat| seat.live.replace((id, state)));
            match taken {
                Some(None) => {}
                Some(Some((other, _))) => self
                    .problems
                    .add(format!("seat {seat} is in two live bookings in Redis: {other}, {id}")),
                None => self.problems.add(format!("{id} has seat {seat}, which does not exist")),
            }
        }
        // A layout has at most a million seats.
        let count = booking.seats.len() as i64;
        self.users.entry(booking.user.to_string()).or_default().real += count;
    }

    /// Adds the holder that Redis names for a seat.
    pub fn add_holder(&mut self, seat: SeatId, holder: &str) {
        let live = self.seat(seat).and_then(|seat| seat.live);
        if let Some(known) = self.seat_mut(seat)
            && live.is_some_and(|(id, _)| id.to_string() == holder)
        {
            known.held = true;
            return;
        }
        self.problems
            .add(format!("seat {seat} is held by {holder}, which is no live booking of it"));
    }

    /// Adds an entry of the index of ended bookings, with its time, Unix ms.
    pub fn add_ended(&mut self, id: &str, at_ms: i64) {
        let known = id.parse().ok().and_then(|id: BookingId| self.ended.get_mut(&id));
        match known {
            Some(ended) => {
                ended.indexed = true;
                if ended.at_ms != at_ms {
                    let there = ended.at_ms;
                    self.problems.add(format!("{id} ended at {at_ms} by the index, at {there}"));
                }
            }
            // It may have been removed, or have ended, while the pages were read: checked again.
            None => {
                self.unsettled = true;
                self.problems.add(format!("the index of ended bookings names {id}, which is none"));
            }
        }
    }

    /// Adds Redis' count of a user's seats.
    pub fn add_user(&mut self, user: String, counted: i64) {
        self.users.entry(user).or_default().counted = counted;
    }

    /// Adds a booking in the archive.
    pub fn add_archived(&mut self, archived: &ArchivedBooking) {
        let booking = &archived.booking;
        let (id, status) = (booking.id, booking.status.as_str());
        self.unsettled |= archived.cancel_unsettled_ms.is_some();
        if archived.outcome.is_some_and(|outcome| outcome.status() != booking.status) {
            self.problems.add(format!("{id} is {status} in the archive, against its outcome"));
        }
        if archived.outcome == Some(Outcome::Sold) {
            for seat in &booking.seats {
                let before = self.seat_mut(*seat).map(|seat| seat.sold.replace(id));
                if let Some(Some(other)) = before {
                    self.problems.add(format!("DOUBLE SALE of seat {seat}: {other} and {id}"));
                }
            }
        }
        let live = booking.seats.first().and_then(|seat| self.seat(*seat)?.live);
        let known = live.is_some_and(|(live, _)| live == id);
        let is_unloaded = self.head.load_state == LoadState::Unloaded;
        if is_unloaded && booking.status.is_live() && archived.outcome.is_none() {
            self.problems.add(format!("{id} ({status}) is undecided, and its event is unloaded"));
        }
        if self.is_comparable() && booking.status.is_live() && !known {
            self.problems.add(format!("STRAY {id} is {status} in the archive, Redis lacks it"));
        }
    }

    /// Adds a claim with its owner in the archive.
    pub fn add_claim(&mut self, claim: &Claim, owner: Option<&ArchivedBooking>) {
        let Claim { seat, owner: id } = *claim;
        if let Some(known) = self.seat_mut(seat)
            && known.sold == Some(id)
        {
            known.claimed = true;
            return;
        }
        let problem = match owner {
            None => format!("dangling claim on seat {seat}: {id} is not archived"),
            Some(owner) if !owner.booking.seats.contains(&seat) => {
                format!("stray claim on seat {seat}: {id} does not have that seat")
            }
            Some(owner) if owner.outcome.is_none() => {
                format!("dangling claim on seat {seat}: {id} is undecided")
            }
            // Stale: the next sale of the seat takes it over.
            Some(_) => return,
        };
        self.problems.add(problem);
    }

    /// Whether Redis has the event and should have it: an unfinished load or the rest of an unload is
    /// not compared.
    fn is_comparable(&self) -> bool {
        let is_in = matches!(self.head.load_state, LoadState::New | LoadState::Opened);
        self.snapshot.is_some() && is_in
    }

    /// Adds the seats that are blocked by the ledger.
    pub fn add_blocked(&mut self, blocked: BTreeSet<SeatId>) {
        self.blocked = blocked;
    }

    /// Sales in Redis that the archive has not decided.
    pub fn undecided(&self) -> u64 {
        self.undecided
    }

    /// Ends the comparison. Returns the differences, and whether some may be changes in progress (a
    /// load, a cancellation or a change of settings that Redis follows soon).
    pub fn end(mut self) -> (Findings, bool) {
        self.check_snapshot();
        for (id, seat) in self.seats.iter().enumerate().skip(1) {
            if let (Some(sold), false) = (seat.sold, seat.claimed) {
                self.problems.add(format!("sold {sold} does not own the claim on seat {id}"));
            }
            if let (Some((live, _)), false) = (seat.live, seat.held) {
                self.problems.add(format!("seat {id} has no holder in Redis, but {live} has it"));
            }
        }
        for (id, _) in self.ended.iter().filter(|(_, ended)| !ended.indexed) {
            self.unsettled = true;
            self.problems.add(format!("{id} ended and is not indexed: it would never leave Redis"));
        }
        for (user, User { real, counted }) in &self.users {
            if real != counted {
                self.problems.add(format!("user {user} has {real} seats, Redis counts {counted}"));
            }
        }
        (self.problems, self.unsettled)
    }

    fn check_snapshot(&mut self) {
        let opened = self.head.load_state == LoadState::Opened;
        match (self.head.load_state, self.snapshot) {
            (LoadState::New | LoadState::Opened, _) => {}
            (LoadState::Unloaded, None) => return,
            (LoadState::Unloaded, Some(_)) => {
                self.unsettled = true;
                let text = "Redis still has this event, which is unloaded: unload or load it again";
                self.problems.add(text.to_owned());
                return;
            }
            (LoadState::Loading, _) => {
                self.unsettled = true;
                let text = "this event is being loaded: if that does not end, load it again";
                self.problems.add(text.to_owned());
                return;
            }
        }
        let Some(snapshot) = self.snapshot else {
            if opened {
                self.problems.add("Redis does not have this event".to_owned());
            }
            return;
        };
        if opened && !snapshot.open {
            self.unsettled = true;
            self.problems.add("Redis has not finished loading this event".to_owned());
        }
        let (here, there) = (snapshot.generation, self.head.generation);
        if here != there {
            self.problems.add(format!("generation {here} in Redis, {there} in the archive"));
        }
        let (here, there) = (snapshot.revision, self.head.revision);
        if here != there {
            self.unsettled = true;
            self.problems.add(format!("settings {here} in Redis, {there} in the archive"));
        }
        match &snapshot.inventory {
            Some(inventory) => self.check_inventory(inventory, snapshot.available),
            None => self.problems.add("Redis has this event without its inventory".to_owned()),
        }
    }

    fn check_inventory(&mut self, inventory: &Inventory, available: i64) {
        let (here, there) = (inventory.seats(), self.head.total_seats);
        if here != there {
            self.problems.add(format!("{here} seats in Redis, {there} in the archive"));
        }
        let free = i64::from(inventory.totals().available);
        if available != free {
            self.problems.add(format!("{free} seats are free, Redis counts {available}"));
        }
        for id in (1..=here.min(there)).map(SeatId) {
            // In range; every byte was checked when the inventory was read.
            let Some(state) = inventory.state(id) else { continue };
            let live = self.seat(id).and_then(|seat| seat.live);
            let name = state.as_str();
            match (state, self.blocked.contains(&id)) {
                (SeatState::Blocked, false) => {
                    self.problems.add(format!("seat {id} is {name} in Redis, not by the ledger"));
                }
                (SeatState::Available, true) => {
                    self.problems
                        .add(format!("seat {id} is {name} in Redis, but the house has it"));
                }
                _ => {}
            }
            match live {
                Some((_, expected)) if expected == state => {}
                Some((booking, expected)) => self.problems.add(format!(
                    "seat {id} is {name} in Redis, {booking} has it as {}",
                    expected.as_str()
                )),
                None if matches!(state, SeatState::Available | SeatState::Blocked) => {}
                None => self
                    .problems
                    .add(format!("seat {id} is {name} in Redis, no live booking has it")),
            }
        }
    }

    fn seat(&self, seat: SeatId) -> Option<&Seat> {
        self.seats.get(seat.0 as usize)
    }

    fn seat_mut(&mut self, seat: SeatId) -> Option<&mut Seat> {
        self.seats.get_mut(seat.0 as usize)
    }
}

#[cfg(test)]
mod tests;
