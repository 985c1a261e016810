//! What is hopeless is refused here, from the live view, without asking Redis.
//!
//! INVARIANT: the view errs one way. It grants nothing; what it refuses was taken, or not for sale,
//! at most `live_staleness_ms` ago by the booking log's own record. In doubt a request passes, and
//! Redis decides:
//!
//! * The view is not whole, or not fresh; a seat is being changed this moment.
//! * An admin asks for a user (`exempt`): the waiting room refuses nothing. The user's limit is never
//!   judged here.
//! * A hold's deadline may have passed by Redis' clock: the seat may be free.
//! * *The caller may have a booking that answers.* A request that was granted has to find its answer
//!   while its booking lives. So one of the caller's own seats lets it pass; and what does not name
//!   a seat (too few are left, the sale is closed) is told only to those who have nothing in the
//!   event. The view learns of a booking a moment after it was made: until it surely has, whoever
//!   was granted one by this process, or may have been, passes ([`RecentGrants`]). (By another process:
//!   then a retry within that moment can meet the view of before. It is refused for a seat that
//!   somebody else had a moment ago, and finds its booking at the next try.)
//!
//! | interleaving | what comes of it |
//! |---|---|
//! | the hold on the seat is cancelled after the newest entry was read | refused for a seat that came free a moment ago |
//! | the view has the seat as the caller's, who just lost it | passes, Redis refuses |
//! | the tail stands still; Redis is frozen | not fresh after `live_staleness_ms`: all pass |
//! | a failover loses the hold, the tail has not met the fork yet | refused until the newest entry it read is too old |
//! | two processes' views differ | each refuses by its own; Redis grants once |

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::choice::Choice;
use super::waiting_room::WaitingRoom;
use super::{HoldRequest, SaleError};
use crate::domain::{Event, EventId, EventStatus, SeatId, SeatState, UserId};
use crate::live::{Holder, Live, Seat, View};

/// Callers that are let pass as they may have got something, in each half of the time.
const RECENT_MAX: usize = 100_000;

/// Why a request is hopeless; for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalRefusal {
    /// A seat is taken.
    Seats,
    /// Too few seats are left.
    TooFew,
    /// The sale has ended.
    Closed,
    /// The sale is paused.
    Paused,
    /// The sale has not begun.
    NotOnSale,
    /// The waiting room is on, and no token came along.
    NoToken,
}

/// Reason and word, in enum order.
pub const HOPELESS: [(LocalRefusal, &str); 6] = [
    (LocalRefusal::Seats, "seats_unavailable"),
    (LocalRefusal::TooFew, "too_few_seats"),
    (LocalRefusal::Closed, "event_closed"),
    (LocalRefusal::Paused, "event_paused"),
    (LocalRefusal::NotOnSale, "not_on_sale"),
    (LocalRefusal::NoToken, "waiting_room_required"),
];

/// Who may have been granted something that the view does not tell yet.
pub(super) struct RecentGrants {
    keep: Duration,
    origin: Instant,
    /// Until when there may be anybody, ms after `origin`: mostly long ago, and costs no lock.
    noted_until_ms: AtomicU64,
    halves: Mutex<Halves>,
}

struct Halves {
    turned_at: Instant,
    newer: HashSet<(EventId, UserId)>,
    older: HashSet<(EventId, UserId)>,
    /// One did not find room: until this half is gone, all pass.
    overflowed: [bool; 2],
}

impl RecentGrants {
    /// Keeps each for so long at least.
    pub fn new(keep: Duration) -> Self {
        let halves = Halves {
            turned_at: Instant::now(),
            newer: HashSet::new(),
            older: HashSet::new(),
            overflowed: [false; 2],
        };
        let (origin, noted_until_ms) = (Instant::now(), AtomicU64::new(0));
        RecentGrants { keep, origin, noted_until_ms, halves: Mutex::new(halves) }
    }

    /// This caller was granted something in this event, or may have been.
    pub fn note(&self, event: EventId, user: &UserId) {
        let now = Instant::now();
        let mut halves = self.halves(now);
        // Until the half that it goes into is gone, at the latest.
        self.noted_until_ms.fetch_max(self.at_ms(now + self.keep * 2), Ordering::Relaxed);
        if halves.newer.len() < RECENT_MAX {
            halves.newer.insert((event, user.clone()));
        } else {
            halves.overflowed[0] = true;
        }
    }

    /// The same, when this goes: unless it is told that the caller was refused.
    pub fn unless_refused<'a>(&'a self, event: EventId, user: &'a UserId) -> GrantGuard<'a> {
        GrantGuard { recent: self, event, user, is_refused: false }
    }

    /// Whether a caller may have been granted something lately.
    fn knows(&self, event: EventId, user: &UserId, now: Instant) -> bool {
        if self.at_ms(now) > self.noted_until_ms.load(Ordering::Relaxed) {
            return false;
        }
        let halves = self.halves(now);
        if halves.newer.is_empty() && halves.older.is_empty() {
            return false;
        }
        let one = (event, user.clone());
        halves.overflowed != [false; 2]
            || halves.newer.contains(&one)
            || halves.older.contains(&one)
    }

    fn at_ms(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.origin).as_millis() as u64
    }

    fn halves(&self, now: Instant) -> std::sync::MutexGuard<'_, Halves> {
        // Nothing under this lock panics half-way through a change.
        let mut halves = self.halves.lock().unwrap_or_else(PoisonError::into_inner);
        let age = now.saturating_duration_since(halves.turned_at);
        if age >= self.keep {
            // What was the newer half was noted less than twice `keep` ago.
            halves.older = if age < self.keep * 2 {
                std::mem::take(&mut halves.newer)
            } else {
                HashSet::new()
            };
            halves.newer = HashSet::new();
            halves.overflowed = [false, halves.overflowed[0]];
            halves.turned_at = now;
        }
        halves
    }
}

/// A caller who may be granted something: also one who hangs up before the answer comes.
pub(super) struct GrantGuard<'a> {
    recent: &'a RecentGrants,
    event: EventId,
    user: &'a UserId,
    is_refused: bool,
}

impl GrantGuard<'_> {
    /// Nothing was granted.
    pub fn refused(mut self) {
        self.is_refused = true;
    }
}

impl Drop for GrantGuard<'_> {
    fn drop(&mut self) {
        if !self.is_refused {
            self.recent.note(self.event, self.user);
        }
    }
}

/// One request before one view.
pub(super) struct LocalCheck<'a> {
    pub live: &'a Live,
    pub recent: &'a RecentGrants,
    pub rooms: &'a WaitingRoom,
    pub request: &'a HoldRequest,
    pub event: &'a Event,
    pub choice: &'a Choice,
    pub now: Instant,
}

impl LocalCheck<'_> {
    /// The refusal, if the request is hopeless; `None`: Redis decides.
    pub fn judge(&self) -> Option<(LocalRefusal, SaleError)> {
        let (event, user) = (self.event, &self.request.user);
        let by_view = |view: &View, now_at_most_ms| {
            if view.generation() != event.generation || self.recent.knows(event.id, user, self.now)
            {
                return None;
            }
            let holder = self.live.holder(user);
            // Asked of those alone for whom it makes a difference.
            let has_nothing = || view.seats_of(holder) == 0;
            if let Some(refusal) = self.of_event(view, now_at_most_ms)
                && has_nothing()
            {
                return Some(refusal);
            }
            match self.choice {
                Choice::Seats { seats, .. } => of_seats(view, seats, holder, now_at_most_ms)
                    // Perhaps for a booking of theirs that lost its seats: it answers while it lives.
                    .filter(|_| !view.has_displaced() || has_nothing()),
                search @ Choice::Search { .. } => {
                    too_few(view, search, now_at_most_ms).filter(|_| has_nothing())
                }
            }
        };
        self.live.with_fresh(event.id, self.now, by_view).flatten()
    }

    /// By what an operator or the clock says, and by the waiting room, as `hold` does it.
    fn of_event(&self, view: &View, now_at_most_ms: i64) -> Option<(LocalRefusal, SaleError)> {
        let id = self.event.id;
        // As surely as a deadline: Redis' clock may be behind what it is at the most.
        let has_ended = |at_ms| {
            now_at_most_ms >= at_ms
                && self.live.redis_now_ms(id).is_some_and(|(_, at_least_ms)| at_least_ms >= at_ms)
        };
        if view.off_sale_at_ms().is_some_and(has_ended) {
            return Some((LocalRefusal::Closed, SaleError::EventClosed(id)));
        }
        match view.status() {
            (EventStatus::Closed, _) => Some((LocalRefusal::Closed, SaleError::EventClosed(id))),
            (EventStatus::Paused, _) => Some((LocalRefusal::Paused, SaleError::EventPaused(id))),
            (EventStatus::OnSale, at_ms) if at_ms > now_at_most_ms => {
                let (on_sale_at_ms, now_ms) = (at_ms, now_at_most_ms);
                let error = SaleError::NotOnSale { event: id, on_sale_at_ms, now_ms };
                Some((LocalRefusal::NotOnSale, error))
            }
            (EventStatus::OnSale, _) => {
                let has_none = self.request.room_number == 0 && !self.request.exempt;
                let is_refused = has_none && self.rooms.is_known_on(id);
                is_refused.then_some((LocalRefusal::NoToken, SaleError::SessionRequired(id)))
            }
        }
    }
}

/// Whether one of these seats is taken, and none is the caller's own.
fn of_seats(
    view: &View,
    seats: &[SeatId],
    caller: Holder,
    now_at_most_ms: i64,
) -> Option<(LocalRefusal, SaleError)> {
    let mut is_taken = false;
    let mut states = Vec::with_capacity(seats.len());
    for id in seats {
        let seat = view.seat(*id)?;
        if seat.holder == caller {
            return None;
        }
        let surely = is_surely_taken(&seat, now_at_most_ms);
        is_taken |= surely;
        // A hold that may have lapsed is told as the free seat that it may be.
        let state = match seat.state {
            SeatState::Hold if !surely => SeatState::Available,
            state => state,
        };
        states.push((*id, state));
    }
    is_taken.then_some((LocalRefusal::Seats, SaleError::SeatsUnavailable(states)))
}

/// Whether nobody else can have a seat, whatever Redis' clock says.
fn is_surely_taken(seat: &Seat, now_at_most_ms: i64) -> bool {
    match seat.state {
        SeatState::Available => false,
        SeatState::Hold => seat.deadline_ms == 0 || now_at_most_ms < seat.deadline_ms,
        SeatState::Booked | SeatState::Blocked => true,
    }
}

/// Whether no section has so many free seats, adjacent or not.
fn too_few(view: &View, search: &Choice, now_at_most_ms: i64) -> Option<(LocalRefusal, SaleError)> {
    let Choice::Search { wanted, places, .. } = search else { return None };
    // Of one version: a seat may come free behind the count while another is taken ahead of it.
    let has_room = view.read_consistent(|| {
        // Lapsed holds are free seats that nobody has released yet; the next call does.
        view.next_deadline_ms().is_some_and(|at_ms| at_ms <= now_at_most_ms)
            || places.iter().any(|p| view.free_between(p.section, p.last) >= wanted.seats)
    })?;
    (!has_room).then(|| (LocalRefusal::TooFew, search.too_few()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> UserId {
        name.parse().unwrap()
    }

    #[test]
    fn who_was_granted_something_is_known_for_long_enough_and_not_for_ever() {
        let keep = Duration::from_millis(40);
        let recent = RecentGrants::new(keep);
        let (event, ann) = (EventId(1), user("ann"));
        recent.note(event, &ann);
        let noted_at = Instant::now();
        let mut known_until = noted_at;
        let knows = |event, user| recent.knows(event, user, Instant::now());
        while knows(event, &ann) {
            known_until = Instant::now();
            assert!(known_until - noted_at < Duration::from_secs(60), "never forgotten");
        }
        assert!(known_until - noted_at >= keep, "{:?}", known_until - noted_at);
        assert!(!knows(EventId(2), &ann) && !knows(event, &user("bob")));
    }

    #[test]
    fn only_who_was_refused_is_not_known() {
        let recent = RecentGrants::new(Duration::from_secs(600));
        let (ann, bob) = (user("ann"), user("bob"));
        recent.unless_refused(EventId(1), &ann).refused();
        let now = Instant::now();
        assert!(!recent.knows(EventId(1), &ann, now));
        // Whoever hangs up takes it along.
        drop(recent.unless_refused(EventId(1), &bob));
        let now = Instant::now();
        assert!(recent.knows(EventId(1), &bob, now) && !recent.knows(EventId(1), &ann, now));
    }

    #[test]
    fn where_one_found_no_room_all_pass() {
        let recent = RecentGrants::new(Duration::from_secs(600));
        for n in 0..=RECENT_MAX {
            recent.note(EventId(1), &user(&format!("u{n}")));
        }
        assert!(recent.knows(EventId(1), &user("stranger"), Instant::now()));
    }

    #[test]
    fn a_hold_is_surely_there_until_its_deadline_may_have_passed() {
        let seat = |state, deadline_ms| Seat { state, holder: Holder::NOBODY, deadline_ms };
        assert!(is_surely_taken(&seat(SeatState::Hold, 100), 99));
        assert!(!is_surely_taken(&seat(SeatState::Hold, 100), 100));
        assert!(is_surely_taken(&seat(SeatState::Hold, 0), 1_000), "being paid");
        assert!(is_surely_taken(&seat(SeatState::Booked, 0), 1_000));
        assert!(!is_surely_taken(&seat(SeatState::Available, 0), 0));
    }
}
