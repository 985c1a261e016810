//! The state of one event's sale, as Redis should have it.
//!
//! Only four things are kept: the event's settings, each booking's record, who holds which seat,
//! and which seats the house keeps back. Everything else that the scripts maintain step by step
//! (a seat's byte, the count of free seats, seats per user, the indexes of deadlines, leases and
//! ends) is *defined* here by those four, and compared.

use std::collections::{BTreeMap, BTreeSet};

use holdfast::domain::entry::HouseBlock;
use holdfast::domain::{
    Booking, BookingId, EventId, EventStatus, Kind, OrphanRule, SeatId, SeatState, Status,
    Transition,
};

use super::replay::LogView;
use super::reply::AnyReply;

/// What Redis has of one event, and of its callers' idempotency records.
#[derive(Clone, Debug)]
pub struct Sale {
    /// Redis' time, Unix ms.
    pub now_ms: i64,
    /// The event; `None` if Redis does not have it.
    pub event: Option<EventState>,
    /// The event as a load brings it in.
    pub fresh: EventState,
    /// Idempotency records by digest.
    pub records: BTreeMap<String, Record>,
    /// Every entry of the booking log, oldest first.
    pub log: Vec<Line>,
    /// What Redis answered to the call under way; see `search`.
    pub witness: Option<AnyReply>,
    /// Whether that call goes on with the search of an earlier one.
    pub resumed: bool,
    /// The nonce of the call under way, where its caller chose it, and how many entries it wrote.
    pub writing: (Option<String>, u32),
}

/// An idempotency record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The booking that the request was granted.
    pub booking: BookingId,
    /// Fingerprint of the request.
    pub fingerprint: String,
}

/// The settings that operators change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operated {
    pub revision: u64,
    pub status: EventStatus,
    pub on_sale_at_ms: i64,
    /// 0: never.
    pub off_sale_at_ms: i64,
}

impl Operated {
    /// Whether the sale has ended at this moment.
    pub fn is_over(&self, now_ms: i64) -> bool {
        self.status == EventStatus::Closed
            || self.off_sale_at_ms > 0 && now_ms >= self.off_sale_at_ms
    }
}

/// An event in Redis.
#[derive(Clone, Debug)]
pub struct EventState {
    pub id: EventId,
    pub open: bool,
    pub generation: u64,
    /// Raised by every log entry of this event.
    pub version: u64,
    pub operated: Operated,
    pub layout_version: u32,
    pub hold_ttl_ms: i64,
    pub max_hold_ms: i64,
    pub per_user: i64,
    pub currency: String,
    /// Number of seats.
    pub total: u32,
    /// Seats with which a row, or a general-admission section, begins.
    pub row_starts: BTreeSet<SeatId>,
    /// Sections, in order.
    pub sections: Vec<Section>,
    pub orphan_rule: OrphanRule,
    /// Every booking that Redis still has.
    pub bookings: BTreeMap<BookingId, Booking>,
    /// Seat → the booking that has it.
    pub holders: BTreeMap<SeatId, BookingId>,
    /// Seats that the house keeps back.
    pub blocked: BTreeSet<SeatId>,
    /// Requests whose bookings are being paid for or sold, by digest; of two the last one.
    pub requests: BTreeMap<String, Record>,
    /// What had been placed when it was opened, of which the log knows nothing.
    pub opened_with: LogView,
}

/// A section's seats.
#[derive(Clone, Debug)]
pub struct Section {
    pub name: String,
    pub first: SeatId,
    pub last: SeatId,
    /// Of one seat, minor units.
    pub price: i64,
    /// Whether it has rows; otherwise any place is as good as another.
    pub rows: bool,
}

/// An entry of the booking log, without what only Redis knows: position and link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub kind: Kind,
    pub event: Option<EventId>,
    pub generation: u64,
    pub event_version: u64,
    pub time_ms: i64,
    pub transition: Option<Transition>,
    pub house: Option<HouseBlock>,
    pub detail: String,
    /// The tag, where the caller chose the nonce.
    pub tag: Option<String>,
}

impl EventState {
    /// A seat's state.
    pub fn seat_state(&self, seat: SeatId) -> SeatState {
        if self.blocked.contains(&seat) {
            return SeatState::Blocked;
        }
        match self.holders.get(&seat).map(|holder| self.bookings[holder].status) {
            None => SeatState::Available,
            Some(Status::Hold | Status::Confirming) => SeatState::Hold,
            Some(Status::Committed | Status::Confirmed) => SeatState::Booked,
            Some(ended) => panic!("seat {seat} is held by a booking that is {ended:?}"),
        }
    }

    /// Status and on-sale time, as entries word them (`opened` leaves the time out).
    pub fn operated_as_logged(&self) -> String {
        let Operated { status, on_sale_at_ms, off_sale_at_ms, .. } = &self.operated;
        format!("{} {on_sale_at_ms} {off_sale_at_ms}", status.as_str())
    }

    pub fn is_free(&self, seat: SeatId) -> bool {
        self.seat_state(seat) == SeatState::Available
    }

    /// All seats, in order.
    pub fn seats(&self) -> impl Iterator<Item = SeatId> + use<> {
        (1..=self.total).map(SeatId)
    }

    /// The inventory's bytes as text, without the format byte.
    pub fn inventory(&self) -> String {
        let byte = |seat| self.seat_state(seat).byte(self.row_starts.contains(&seat));
        self.seats().map(|seat| char::from(byte(seat))).collect()
    }

    /// Free seats.
    pub fn available(&self) -> i64 {
        self.seats().filter(|seat| self.is_free(*seat)).count() as i64
    }

    /// Seats of a user's live bookings.
    pub fn seats_of(&self, user: &str) -> i64 {
        let live = self.bookings.values().filter(|b| b.status.is_live());
        live.filter(|b| b.user.as_str() == user).map(|b| b.seats.len() as i64).sum()
    }

    /// Users with live bookings, and how many seats those have.
    pub fn users(&self) -> BTreeMap<String, i64> {
        let live = self.bookings.values().filter(|b| b.status.is_live());
        let names: BTreeSet<&str> = live.map(|b| b.user.as_str()).collect();
        names.into_iter().map(|name| (name.to_owned(), self.seats_of(name))).collect()
    }

    fn index(
        &self,
        of: impl Fn(Status) -> bool,
        by: impl Fn(&Booking) -> i64,
    ) -> BTreeMap<BookingId, i64> {
        let bookings = self.bookings.values().filter(|b| of(b.status));
        bookings.map(|b| (b.id, by(b))).collect()
    }

    /// Holds by the end of their time.
    pub fn deadlines(&self) -> BTreeMap<BookingId, i64> {
        self.index(|status| status == Status::Hold, |b| b.deadline_ms)
    }

    /// Confirmations by the end of their lease.
    pub fn leases(&self) -> BTreeMap<BookingId, i64> {
        self.index(|status| status == Status::Confirming, |b| b.lease_until_ms)
    }

    /// Bookings that ended, by when.
    pub fn ended(&self) -> BTreeMap<BookingId, i64> {
        self.index(|status| !status.is_live(), |b| b.ended_ms)
    }

    /// Holds whose time is over, oldest deadline first.
    pub fn overdue(&self, now_ms: i64) -> Vec<BookingId> {
        let mut overdue: Vec<(i64, BookingId)> =
            self.deadlines().into_iter().map(|(id, at)| (at, id)).collect();
        overdue.retain(|(at, _)| *at <= now_ms);
        overdue.sort();
        overdue.into_iter().map(|(_, id)| id).collect()
    }

    /// Whether a booking has every one of its seats; the archive may have given one away.
    pub fn has_its_seats(&self, booking: &Booking) -> bool {
        booking.seats.iter().all(|seat| self.holders.get(seat) == Some(&booking.id))
    }
}

impl Sale {
    /// A Redis without the event; `fresh` is what a load of it makes.
    pub fn new(now_ms: i64, fresh: EventState) -> Self {
        Sale {
            now_ms,
            event: None,
            fresh,
            records: BTreeMap::new(),
            log: Vec::new(),
            witness: None,
            resumed: false,
            writing: (None, 0),
        }
    }

    /// The event, in places where it was found to be there.
    pub fn ev(&self) -> &EventState {
        self.event.as_ref().expect("the event is loaded")
    }

    pub fn ev_mut(&mut self) -> &mut EventState {
        self.event.as_mut().expect("the event is loaded")
    }

    /// A booking in its current state.
    pub fn booking(&self, id: BookingId) -> Option<Booking> {
        self.event.as_ref()?.bookings.get(&id).cloned()
    }

    /// The tag of the entry that is about to be written.
    fn next_tag(&mut self) -> Option<String> {
        self.writing.1 += 1;
        let (nonce, count) = &self.writing;
        nonce.as_ref().map(|nonce| format!("{nonce}.{count}"))
    }

    /// Appends an entry about the whole event.
    pub fn note(&mut self, kind: Kind, detail: String) {
        let (now_ms, tag) = (self.now_ms, self.next_tag());
        let event = self.ev_mut();
        event.version += 1;
        let line = Line {
            kind,
            event: Some(event.id),
            generation: event.generation,
            event_version: event.version,
            time_ms: now_ms,
            transition: None,
            house: None,
            detail,
            tag,
        };
        self.log.push(line);
    }

    /// Appends an entry about nothing.
    pub fn note_beat(&mut self) {
        let line = Line {
            kind: Kind::Beat,
            event: None,
            generation: 0,
            event_version: 0,
            time_ms: self.now_ms,
            transition: None,
            house: None,
            detail: String::new(),
            tag: self.next_tag(),
        };
        self.log.push(line);
    }

    /// A transition: the booking's version rises by one, its record is kept, and the log has it.
    pub fn transition(&mut self, mut booking: Booking, kind: Kind, detail: &str) -> Booking {
        booking.version += 1;
        self.ev_mut().bookings.insert(booking.id, booking.clone());
        self.ev_mut().index_request(&booking);
        self.note(kind, detail.to_owned());
        let line = self.log.last_mut().expect("just written");
        line.transition = Some(transition_of(&booking));
        booking
    }

    /// Ends a booking. It frees the seats that it has itself, no others.
    pub fn end(&mut self, mut booking: Booking, status: Status, detail: &str) -> Booking {
        let kind = match status {
            Status::Expired => Kind::Expired,
            Status::Cancelled => Kind::Cancelled,
            Status::Voided => Kind::Voided,
            live => panic!("{live:?} is no end"),
        };
        self.ev_mut().holders.retain(|_, holder| *holder != booking.id);
        booking.status = status;
        booking.ended_ms = self.now_ms;
        self.transition(booking, kind, detail)
    }

    /// Ends this booking if it is a hold whose time is over.
    pub fn lapse(&mut self, booking: Booking) -> Booking {
        if booking.status == Status::Hold && booking.deadline_ms <= self.now_ms {
            self.end(booking, Status::Expired, "")
        } else {
            booking
        }
    }

    /// Ends at most `limit` holds whose time is over, oldest deadline first; says how many.
    pub fn release_overdue(&mut self, limit: usize) -> i64 {
        let mut overdue = self.ev().overdue(self.now_ms);
        overdue.truncate(limit);
        for id in &overdue {
            let booking = self.ev().bookings[id].clone();
            self.lapse(booking);
        }
        overdue.len() as i64
    }

    /// Ends the holds on these seats whose time is over, however many others are overdue.
    pub fn release_overdue_of(&mut self, seats: &[SeatId]) {
        for seat in seats {
            if let Some(holder) = self.ev().holders.get(seat).copied() {
                let booking = self.ev().bookings[&holder].clone();
                self.lapse(booking);
            }
        }
    }
}

impl EventState {
    /// A booking that is being paid for or sold is found by its request; no other is.
    pub fn index_request(&mut self, booking: &Booking) {
        let digest = booking.idempotency.clone();
        if matches!(booking.status, Status::Confirming | Status::Committed | Status::Confirmed) {
            let fingerprint = booking.fingerprint.clone();
            self.requests.insert(digest, Record { booking: booking.id, fingerprint });
        } else if self.requests.get(&digest).is_some_and(|kept| kept.booking == booking.id) {
            self.requests.remove(&digest);
        }
    }
}

/// The part of a log entry that is a booking's.
pub fn transition_of(booking: &Booking) -> Transition {
    Transition {
        booking: booking.id,
        user: booking.user.clone(),
        seats: booking.seats.clone(),
        status: booking.status,
        version: booking.version,
        amount: booking.amount,
        currency: booking.currency.clone(),
        created_ms: booking.created_ms,
        deadline_ms: booking.deadline_ms,
        lease: booking.lease,
        payment: booking.payment.clone(),
        paid_ms: booking.paid_ms,
        confirmed_ms: booking.confirmed_ms,
        idempotency: booking.idempotency.clone(),
        fingerprint: booking.fingerprint.clone(),
        trace: booking.trace.clone(),
    }
}
