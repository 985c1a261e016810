//! Checks refusals against the booking log, entry by entry, from the event's opening on, independently of
//! views.

use std::collections::{BTreeSet, HashMap};

use holdfast::domain::{
    BookingId, Entry, Event, EventStatus, Inventory, Kind, SeatId, SeatState, Status,
};

use super::callers::{Attempt, Grant, Reason, Refusal, Wanted};

/// The resolution of times, ms.
const ROUNDING_MS: i64 = 1;
/// The end of what has not ended.
const EVER: i64 = i64::MAX;

/// A time during which a seat was taken, including both ends.
#[derive(Clone, Copy, Debug)]
struct Span {
    from_ms: i64,
    to_ms: i64,
    state: SeatState,
    /// `None` for a block by the house.
    booking: Option<BookingId>,
    user: Option<u32>,
    /// From then on the seat may be taken by others.
    deadline_ms: i64,
}

/// A booking's life.
#[derive(Clone, Debug)]
struct Life {
    user: u32,
    seats: Vec<SeatId>,
    is_live: bool,
    from_ms: i64,
    /// The last moment at which it certainly had its seats.
    to_ms: i64,
    /// Whether it began with a hold.
    is_held: bool,
}

/// A value from a moment on.
#[derive(Clone, Debug)]
struct Since<T> {
    at_ms: i64,
    what: T,
}

/// The history of one event by the log.
pub struct EventHistory {
    /// First and last seat of each section.
    sections: Vec<(SeatId, SeatId)>,
    /// By seat, from 1.
    seats: Vec<Vec<Span>>,
    lives: HashMap<BookingId, Life>,
    /// When users had a booking.
    owned: HashMap<u32, Vec<(i64, i64)>>,
    /// Free seats of each section, including those of overdue holds.
    free: Vec<Since<Vec<u32>>>,
    /// By seat: whether it counts as free.
    is_free: Vec<bool>,
    overdue: BTreeSet<(i64, SeatId)>,
    states: Vec<Since<(EventStatus, i64)>>,
    version: u64,
}

/// The time in which a refusal must have been correct at some moment.
#[derive(Clone, Copy)]
struct Window {
    from_ms: i64,
    to_ms: i64,
}

impl Window {
    fn meets(self, from_ms: i64, to_ms: i64) -> bool {
        from_ms <= self.to_ms && to_ms >= self.from_ms
    }

    /// Whether these spans, in order, cover all of it.
    fn is_covered(self, spans: impl Iterator<Item = (i64, i64)>) -> bool {
        let mut covered_to_ms = self.from_ms;
        for (from_ms, to_ms) in spans {
            if from_ms <= covered_to_ms {
                covered_to_ms = covered_to_ms.max(to_ms);
            }
        }
        covered_to_ms > self.to_ms
    }
}

impl EventHistory {
    /// Reads an event's entries, from its opening on.
    pub fn of(event: &Event, entries: impl Iterator<Item = Entry>) -> Self {
        let total = event.layout.total_seats();
        let ranges = event.layout.section_ranges();
        let free = ranges.iter().map(|range| range.2).collect();
        let last = |range: &(_, SeatId, u32)| SeatId(range.1.0 + range.2 - 1);
        let sections = ranges.iter().map(|range| (range.1, last(range))).collect();
        let state = (event.status, event.on_sale_at_ms.unwrap_or_default());
        let mut history = EventHistory {
            sections,
            seats: vec![Vec::new(); total as usize + 1],
            lives: HashMap::new(),
            owned: HashMap::new(),
            free: vec![Since { at_ms: 0, what: free }],
            is_free: vec![true; total as usize + 1],
            overdue: BTreeSet::new(),
            states: vec![Since { at_ms: 0, what: state }],
            version: 0,
        };
        for entry in entries {
            assert_eq!(entry.event_version, history.version + 1, "the log is linked");
            history.read(&entry);
            history.version = entry.event_version;
        }
        history.pass(EVER);
        history
    }

    /// The version that the log ends with.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Asserts that the history ends with these bytes.
    pub fn ends_as(&self, inventory: &Inventory) {
        for seat in (1..=inventory.seats()).map(SeatId) {
            let span = self.seats[seat.0 as usize].last().filter(|span| span.to_ms == EVER);
            let state = span.map_or(SeatState::Available, |span| span.state);
            assert_eq!(Some(state), inventory.state(seat), "{seat:?}");
        }
    }

    fn read(&mut self, entry: &Entry) {
        self.pass(entry.time_ms);
        self.apply(entry);
        // Of every entry: the house changes seats without a booking.
        self.free.push(Since { at_ms: entry.time_ms, what: self.count_free() });
    }

    fn apply(&mut self, entry: &Entry) {
        let now_ms = entry.time_ms;
        if entry.kind == Kind::Event {
            let detail: Vec<&str> = entry.detail.split(' ').collect();
            let [status, on_sale_at_ms, "0"] = detail[..] else {
                panic!("a status, a begin and no end: {}", entry.detail)
            };
            let what = (EventStatus::parse(status).unwrap(), on_sale_at_ms.parse().unwrap());
            self.states.push(Since { at_ms: now_ms, what });
        }
        for seat in entry.house.iter().flat_map(|house| &house.seats) {
            let span = (entry.kind == Kind::Blocked).then_some(Span {
                from_ms: now_ms,
                to_ms: EVER,
                state: SeatState::Blocked,
                booking: None,
                user: None,
                deadline_ms: EVER,
            });
            self.change(*seat, now_ms, span);
        }
        let Some(t) = &entry.transition else { return };
        let user: u32 = t.user.as_str()[1..].parse().expect("a number behind a letter");
        let (state, deadline_ms) = match t.status {
            Status::Hold => (SeatState::Hold, t.deadline_ms),
            Status::Confirming => (SeatState::Hold, EVER),
            _ => (SeatState::Booked, EVER),
        };
        let booking = Some(t.booking);
        let span =
            Span { from_ms: now_ms, to_ms: EVER, state, booking, user: Some(user), deadline_ms };
        for seat in t.seats.iter().copied() {
            let is_own = self.current(seat).is_some_and(|span| span.booking == booking);
            match t.status.is_live() {
                true if is_own || matches!(entry.kind, Kind::Hold | Kind::Confirmed) => {
                    self.change(seat, now_ms, Some(span));
                }
                false if is_own => self.change(seat, now_ms, None),
                _ => {}
            }
        }
        self.follow(t.booking, user, &t.seats, now_ms, t.status.is_live().then_some(deadline_ms));
        if entry.kind == Kind::Hold {
            self.lives.get_mut(&t.booking).expect("follow() put it there").is_held = true;
        }
    }

    /// Records the lives of bookings, and when users have bookings.
    fn follow(
        &mut self,
        id: BookingId,
        user: u32,
        seats: &[SeatId],
        now_ms: i64,
        deadline_ms: Option<i64>,
    ) {
        let life = self.lives.entry(id).or_insert_with(|| Life {
            user,
            seats: seats.to_vec(),
            is_live: false,
            from_ms: now_ms,
            to_ms: now_ms,
            is_held: false,
        });
        let owned = self.owned.entry(user).or_default();
        match deadline_ms {
            Some(deadline_ms) => {
                // A sale may restore an expired booking.
                if !life.is_live {
                    life.from_ms = now_ms;
                    owned.push((now_ms, EVER));
                }
                (life.is_live, life.to_ms) = (true, deadline_ms);
            }
            None if life.is_live => {
                // Any span that began then: those that began together differ only by their ends.
                let own = owned.iter_mut().find(|span| **span == (life.from_ms, EVER));
                own.expect("it had begun").1 = now_ms;
                (life.is_live, life.to_ms) = (false, life.to_ms.min(now_ms));
            }
            None => {}
        }
    }

    fn current(&self, seat: SeatId) -> Option<&Span> {
        self.seats[seat.0 as usize].last().filter(|span| span.to_ms == EVER)
    }

    /// Sets a seat's state from now on.
    fn change(&mut self, seat: SeatId, now_ms: i64, span: Option<Span>) {
        let spans = &mut self.seats[seat.0 as usize];
        if let Some(last) = spans.last_mut().filter(|span| span.to_ms == EVER) {
            last.to_ms = now_ms;
            self.overdue.remove(&(last.deadline_ms, seat));
        }
        self.is_free[seat.0 as usize] = span.is_none();
        if let Some(span) = span {
            spans.push(span);
            self.overdue.insert((span.deadline_ms, seat));
        }
    }

    /// Counts seats whose holds expire before then as free from their deadlines on.
    fn pass(&mut self, now_ms: i64) {
        while let Some((deadline_ms, seat)) = self.overdue.first().copied() {
            if deadline_ms >= now_ms {
                break;
            }
            self.overdue.pop_first();
            self.is_free[seat.0 as usize] = true;
            let free = self.count_free();
            // A payment may end after its booking's deadline: the seats count as free from then on.
            let at_ms = self.free.last().map_or(0, |last| last.at_ms).max(deadline_ms);
            self.free.push(Since { at_ms, what: free });
        }
    }

    fn count_free(&self) -> Vec<u32> {
        let count = |(first, last): &(SeatId, SeatId)| {
            let is_free = &self.is_free[first.0 as usize..=last.0 as usize];
            is_free.iter().filter(|is_free| **is_free).count() as u32
        };
        self.sections.iter().map(count).collect()
    }

    /// Why a refusal is incorrect; `None` if it was correct at some moment of the allowed time.
    pub fn fault(&self, refusal: &Refusal, staleness_ms: i64) -> Option<String> {
        let window = Window {
            from_ms: refusal.from_ms - staleness_ms - ROUNDING_MS,
            to_ms: refusal.to_ms + ROUNDING_MS,
        };
        let Attempt { user, wanted, .. } = &refusal.attempt;
        let owned = self.owned.get(user).into_iter().flatten();
        let had_nothing = !window.is_covered(owned.map(|span| (span.0, span.1 - ROUNDING_MS)));
        let is_true = match (&refusal.reason, wanted) {
            (Reason::Seats(states), Wanted::Seats(seats)) => {
                return self.fault_of_seats(states, seats, *user, window);
            }
            (Reason::TooFew, Wanted::Many(wanted, section)) => {
                since(&self.free, window).any(|(_, free)| match section {
                    Some(section) => free[*section] < *wanted,
                    None => free.iter().all(|free| free < wanted),
                })
            }
            (Reason::Paused, _) => {
                since(&self.states, window).any(|(_, state)| state.0 == EventStatus::Paused)
            }
            (Reason::NotOnSale, _) => since(&self.states, window).any(|(from_ms, state)| {
                state.0 == EventStatus::OnSale && state.1 > from_ms.max(window.from_ms)
            }),
            _ => false,
        };
        match (is_true, had_nothing) {
            (true, true) => None,
            (false, _) => Some("at no moment".into()),
            (true, false) => Some("the caller had a booking all the time".into()),
        }
    }

    fn fault_of_seats(
        &self,
        states: &[(SeatId, SeatState)],
        seats: &[SeatId],
        user: u32,
        window: Window,
    ) -> Option<String> {
        if !states.iter().map(|one| one.0).eq(seats.iter().copied()) {
            return Some("it names other seats".into());
        }
        let mut is_taken = false;
        for (seat, state) in states {
            let spans = &self.seats[seat.0 as usize];
            if window.is_covered(own_spans(spans, user).into_iter()) {
                return Some(format!("{seat:?} was the caller's own"));
            }
            let taken = |span: &&Span| {
                span.state == *state && window.meets(span.from_ms, span.to_ms.min(span.deadline_ms))
            };
            let is_correct = match state {
                SeatState::Available => {
                    let end = |s: &Span| s.to_ms.min(s.deadline_ms) - ROUNDING_MS;
                    !window.is_covered(spans.iter().map(|span| (span.from_ms, end(span))))
                }
                _ => spans.iter().filter(|span| span.user != Some(user)).any(|s| taken(&s)),
            };
            if !is_correct {
                return Some(format!("{seat:?} was not {state:?}: {spans:#?}"));
            }
            is_taken |= *state != SeatState::Available;
        }
        (!is_taken).then(|| "no seat is taken".into())
    }

    /// Whether the log contains this grant.
    pub fn has(&self, grant: &Grant) -> bool {
        self.lives.get(&grant.booking).is_some_and(|life| {
            life.is_held && life.user == grant.attempt.user && life.seats == grant.seats
        })
    }

    /// Whether a refusal kept its caller from a booking that the same process had granted before.
    pub fn is_kept_from(&self, refusal: &Refusal, grant: &Grant) -> bool {
        let life = &self.lives[&grant.booking];
        let lives = life.from_ms <= refusal.from_ms && life.to_ms > refusal.to_ms + ROUNDING_MS;
        let is_own = match &refusal.attempt.wanted {
            Wanted::Seats(seats) => seats.iter().any(|seat| life.seats.contains(seat)),
            Wanted::Many(..) => true,
        };
        lives && is_own && grant.known < refusal.attempt.began
    }
}

/// When a user's bookings had a seat; between two bookings it was free, if only for a moment.
fn own_spans(spans: &[Span], user: u32) -> Vec<(i64, i64)> {
    let mut own: Vec<(Option<BookingId>, i64, i64)> = Vec::new();
    for span in spans.iter().filter(|span| span.user == Some(user)) {
        // An expired booking may have been restored by a sale.
        let goes_on = |last: &&mut (_, i64, i64)| last.0 == span.booking && last.2 == span.from_ms;
        match own.last_mut().filter(goes_on) {
            Some(last) => last.2 = span.to_ms,
            None => own.push((span.booking, span.from_ms, span.to_ms)),
        }
    }
    own.into_iter().map(|(_, from_ms, to_ms)| (from_ms, to_ms - ROUNDING_MS)).collect()
}

/// The values that applied at some moment of a window, and since when.
fn since<T>(steps: &[Since<T>], window: Window) -> impl Iterator<Item = (i64, &T)> {
    let first = steps.partition_point(|step| step.at_ms <= window.from_ms).saturating_sub(1);
    // Of several steps in one millisecond the earlier ones may apply, too.
    let first = steps[..=first].partition_point(|step| step.at_ms < steps[first].at_ms);
    let those = steps[first..].iter().take_while(move |step| step.at_ms <= window.to_ms);
    those.map(|step| (step.at_ms, &step.what))
}
