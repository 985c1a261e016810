//! A sale by its booking log alone: a fold over entries, without calls, rules or a clock.

use std::collections::{BTreeMap, BTreeSet};

use holdfast::domain::{BookingId, Kind, SeatId, Status, Transition};

use super::sale::{EventState, Line, transition_of};

/// The state of a sale by its log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogView {
    /// The newest generation that was opened.
    pub generation: u64,
    /// The event's version.
    pub version: u64,
    /// Status and on-sale time, as the log words them.
    pub operated: String,
    /// Live bookings, as their last transitions left them.
    pub live: BTreeMap<BookingId, Transition>,
    /// Seat → booking.
    pub holders: BTreeMap<SeatId, BookingId>,
    /// Seats kept back by the house.
    pub blocked: BTreeSet<SeatId>,
}

/// Folds the log of an event that was last opened with this.
pub fn replay(log: &[Line], opened_with: &LogView) -> LogView {
    let mut view = LogView::default();
    for line in log {
        view.fold(line, opened_with);
    }
    view
}

impl LogView {
    /// The state of an event that is about to be opened.
    pub fn of(event: &EventState) -> Self {
        LogView {
            live: transitions(event),
            holders: event.holders.clone(),
            blocked: event.blocked.clone(),
            ..LogView::default()
        }
    }

    fn fold(&mut self, line: &Line, opened_with: &LogView) {
        match line.kind {
            Kind::Beat => return,
            // A load begins with what the archive had.
            Kind::Opened => {
                *self = LogView { operated: line.detail.clone(), ..opened_with.clone() };
            }
            Kind::Unloaded => *self = LogView::default(),
            Kind::Event => self.operated = line.detail.clone(),
            _ => {}
        }
        self.generation = line.generation;
        self.version = line.event_version;
        let house = line.house.iter().flat_map(|house| &house.seats);
        match line.kind {
            Kind::Blocked => self.blocked.extend(house),
            Kind::Unblocked => house.for_each(|seat| _ = self.blocked.remove(seat)),
            _ => {}
        }
        let Some(transition) = &line.transition else { return };
        let id = transition.booking;
        // Money that came late finds its seats free, or keeps them.
        let is_late = line.kind == Kind::Sold && line.detail == "late";
        if is_late || matches!(line.kind, Kind::Hold | Kind::Confirmed) {
            // A confirmation takes also the seats of sales that the archive judged otherwise.
            self.holders.extend(transition.seats.iter().map(|seat| (*seat, id)));
            self.blocked.retain(|seat| !transition.seats.contains(seat));
        }
        if transition.status.is_live() {
            self.live.insert(id, transition.clone());
        } else {
            self.live.remove(&id);
            self.holders.retain(|_, holder| *holder != id);
        }
    }

    /// A seat's letter in this view.
    fn letter(&self, seat: SeatId) -> char {
        match self.holders.get(&seat).map(|holder| self.live[holder].status) {
            None if self.blocked.contains(&seat) => 'x',
            None => 'a',
            Some(Status::Committed | Status::Confirmed) => 'b',
            Some(_) => 'h',
        }
    }

    /// Where the log tells something else than the event's state; `None` if it tells the same.
    pub fn differs_from(&self, event: &EventState) -> Option<String> {
        let letters: String = event.seats().map(|seat| self.letter(seat)).collect();
        let mut users: BTreeMap<String, i64> = BTreeMap::new();
        for transition in self.live.values() {
            *users.entry(transition.user.to_string()).or_default() += transition.seats.len() as i64;
        }
        let free = letters.matches('a').count() as i64;
        let same = [
            ("generation", self.generation == event.generation),
            ("version", self.version == event.version),
            ("settings", event.operated_as_logged().starts_with(&self.operated)),
            ("seats", letters.eq_ignore_ascii_case(&event.inventory())),
            ("holders", self.holders == event.holders),
            ("blocks", self.blocked == event.blocked),
            ("free seats", free == event.available()),
            ("seats of users", users == event.users()),
            ("live bookings", self.live == transitions(event)),
        ];
        let wrong: Vec<&str> = same.iter().filter(|row| !row.1).map(|row| row.0).collect();
        (!wrong.is_empty()).then(|| format!("the log tells other {}: {self:#?}", wrong.join(", ")))
    }
}

/// Live bookings, as their last transitions left them.
fn transitions(event: &EventState) -> BTreeMap<BookingId, Transition> {
    let live = event.bookings.values().filter(|booking| booking.status.is_live());
    live.map(|booking| (booking.id, transition_of(booking))).collect()
}
