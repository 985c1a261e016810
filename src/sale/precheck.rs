//! The pre-check: refuses holds from the live view, without Redis.
//!
//! INVARIANT: the view only refuses, it never grants; and it refuses only what was taken, or not for
//! sale, at most `live_staleness_ms` ago by the booking log's own record. In doubt a request passes, and
//! Redis decides:
//!
//! * The view is incomplete or not fresh, or one of the seats is being changed at this moment.
//! * An admin acts for a user (`exempt`): the waiting room refuses nothing. The user's limit is never
//!   checked here.
//! * A hold's deadline may have passed by Redis' clock: the seat may be free.
//! * *The caller may have a booking that answers the request.* A repeated request must find its booking
//!   while that lives. So a request for one of the caller's own seats passes, and a refusal that depends
//!   on no seat (too few are left, the sale is closed) applies only to callers without seats in the
//!   event. The view learns of a booking a moment after it was made: until it surely has, callers who
//!   were granted one by this process, or may have been, pass ([`RecentGrants`]). (After a grant by
//!   another process, a retry within that moment can meet the older view. It is refused for a seat that
//!   somebody else had a moment ago, and finds its booking at the next attempt.)
//!
//! | interleaving | result |
//! |---|---|
//! | the hold on the seat is cancelled after the newest entry was read | refused for a seat that became free a moment ago |
//! | the view shows the seat as the caller's, who has just lost it | passes; Redis refuses |
//! | the tail is stuck, or Redis is frozen | not fresh after `live_staleness_ms`: every request passes |
//! | a failover loses the hold, and the tail has not reached the fork | refused until the newest entry that was read is too old |
//! | the views of two processes differ | each refuses by its own view; Redis grants once |

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::selection::CheckedSelection;
use super::{HoldRequest, Inner, SaleError};
use crate::domain::activity::Refusal;
use crate::domain::{Event, EventId, EventStatus, SeatId, SeatState, UserId};
use crate::live::{Holder, Seat, Slot, View};

/// Recent grants kept in each half of the period.
const RECENT_MAX: usize = 100_000;

/// The reasons of refusals from the view, as metrics name them.
pub const VIEW_REFUSALS: [&str; 6] = [
    "seats_unavailable",
    "too_few_seats",
    "event_closed",
    "event_paused",
    "not_on_sale",
    "waiting_room_required",
];

/// Returns the reason of a refusal from the view, as metrics name it.
fn reason(refusal: &SaleError) -> &'static str {
    match refusal {
        SaleError::SeatsUnavailable(_) => "seats_unavailable",
        SaleError::TooFewSeats(_) => "too_few_seats",
        SaleError::EventClosed(_) => "event_closed",
        SaleError::EventPaused(_) => "event_paused",
        SaleError::NotOnSale { .. } => "not_on_sale",
        SaleError::SessionRequired(_) => "waiting_room_required",
        // The view refuses for no other reason.
        _ => "other",
    }
}

/// Returns the kind of a refusal from the view, as it is counted for operators.
fn kind(refusal: &SaleError) -> Refusal {
    match refusal {
        SaleError::SeatsUnavailable(_) => Refusal::MemorySeats,
        SaleError::EventClosed(_) => Refusal::MemoryClosed,
        SaleError::EventPaused(_) => Refusal::MemoryPaused,
        SaleError::NotOnSale { .. } => Refusal::MemoryNotOnSale,
        SaleError::SessionRequired(_) => Refusal::RoomRequired,
        // The view refuses for no other reason.
        _ => Refusal::MemoryTooFew,
    }
}

impl Inner {
    /// Returns the refusal of a request that the view shows to be impossible; `None`: Redis decides.
    pub(super) fn refuse_from_view(
        &self,
        event: &Event,
        request: &HoldRequest,
        selection: &CheckedSelection,
        now: Instant,
    ) -> Option<SaleError> {
        let refuse = |view: &View, now_at_most_ms| {
            if view.generation() != event.generation
                || self.recent_grants.contains(event.id, &request.user, now)
            {
                return None;
            }
            let holder = self.live.holder(&request.user);
            // A lookup, so only made where it matters.
            let has_no_seats = || view.seats_of(holder) == 0;
            if let Some(refusal) = self.event_refusal(event.id, request, view, now_at_most_ms)
                && has_no_seats()
            {
                return Some(refusal);
            }
            match selection {
                CheckedSelection::Named { seats, .. } => {
                    taken_seats(view, seats, holder, now_at_most_ms)
                        // A booking of the caller's that lost its seats answers while it lives.
                        .filter(|_| !view.has_displaced() || has_no_seats())
                }
                search @ CheckedSelection::Quantity { .. } => {
                    too_few_seats(view, search, now_at_most_ms).filter(|_| has_no_seats())
                }
            }
        };
        let counted = |slot: &Slot, view: &View, now_at_most_ms| {
            let refusal = refuse(view, now_at_most_ms)?;
            slot.note_refusal(kind(&refusal));
            Some(refusal)
        };
        let refusal = self.live.with_fresh(event.id, now, counted).flatten()?;
        self.observer.refused_from_view(reason(&refusal));
        Some(refusal)
    }

    /// The refusal for the sale's state or the waiting room, as `hold.lua` decides it.
    fn event_refusal(
        &self,
        event: EventId,
        request: &HoldRequest,
        view: &View,
        now_at_most_ms: i64,
    ) -> Option<SaleError> {
        // Both bounds of Redis' clock must have passed the time.
        let has_ended = |at_ms| {
            let redis_now = self.live.redis_now_ms(event);
            now_at_most_ms >= at_ms
                && redis_now.is_some_and(|(_, at_least_ms)| at_least_ms >= at_ms)
        };
        if view.off_sale_at_ms().is_some_and(has_ended) {
            return Some(SaleError::EventClosed(event));
        }
        match view.status() {
            (EventStatus::Closed, _) => Some(SaleError::EventClosed(event)),
            (EventStatus::Paused, _) => Some(SaleError::EventPaused(event)),
            (EventStatus::OnSale, on_sale_at_ms) if on_sale_at_ms > now_at_most_ms => {
                Some(SaleError::NotOnSale { event, on_sale_at_ms, now_ms: now_at_most_ms })
            }
            (EventStatus::OnSale, _) => {
                let needs_session = request.room_number == 0
                    && !request.exempt
                    && self.waiting_room.is_known_on(event);
                needs_session.then_some(SaleError::SessionRequired(event))
            }
        }
    }
}

/// The refusal if one of these seats is taken and none is the caller's own.
fn taken_seats(
    view: &View,
    seats: &[SeatId],
    caller: Holder,
    now_at_most_ms: i64,
) -> Option<SaleError> {
    let mut is_any_taken = false;
    let mut states = Vec::with_capacity(seats.len());
    for id in seats {
        let seat = view.seat(*id)?;
        if seat.holder == caller {
            return None;
        }
        let is_taken = is_surely_taken(&seat, now_at_most_ms);
        is_any_taken |= is_taken;
        // The seat of a hold that may have lapsed may be free.
        let state = match seat.state {
            SeatState::Hold if !is_taken => SeatState::Available,
            state => state,
        };
        states.push((*id, state));
    }
    is_any_taken.then_some(SaleError::SeatsUnavailable(states))
}

/// Whether a seat is taken whatever Redis' clock says.
fn is_surely_taken(seat: &Seat, now_at_most_ms: i64) -> bool {
    match seat.state {
        SeatState::Available => false,
        SeatState::Hold => seat.deadline_ms == 0 || now_at_most_ms < seat.deadline_ms,
        SeatState::Booked | SeatState::Blocked => true,
    }
}

/// The refusal if no section has that many free seats, adjacent or not.
fn too_few_seats(view: &View, search: &CheckedSelection, now_at_most_ms: i64) -> Option<SaleError> {
    let CheckedSelection::Quantity { wanted, sections, .. } = search else { return None };
    // Counted in one version: a seat may become free behind the count while another is taken ahead.
    let may_fit = view.read_consistent(|| {
        // Lapsed holds that nobody has released yet are free seats: the next call releases them.
        view.next_deadline_ms().is_some_and(|at_ms| at_ms <= now_at_most_ms)
            || sections.iter().any(|one| view.free_between(one.section, one.last) >= wanted.seats)
    })?;
    (!may_fit).then(|| search.too_few())
}

/// Callers who may have been granted seats that the view does not show yet.
pub(super) struct RecentGrants {
    keep: Duration,
    origin: Instant,
    /// Until when there may be any, ms after `origin`: usually past, and checked without the lock.
    noted_until_ms: AtomicU64,
    halves: Mutex<Halves>,
}

/// The grants of the last period and of the one before: those of the older half are dropped together.
struct Halves {
    turned_at: Instant,
    newer: HashSet<(EventId, UserId)>,
    older: HashSet<(EventId, UserId)>,
    /// Whether a grant did not fit into the newer or the older half: every caller passes then.
    overflowed: [bool; 2],
}

impl RecentGrants {
    /// Keeps each grant for at least `keep`.
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

    /// Notes that a caller was granted seats of an event, or may have been.
    pub fn note(&self, event: EventId, user: &UserId) {
        let now = Instant::now();
        let mut halves = self.halves(now);
        // The half that it goes into is dropped by then.
        self.noted_until_ms.fetch_max(self.at_ms(now + self.keep * 2), Ordering::Relaxed);
        if halves.newer.len() < RECENT_MAX {
            halves.newer.insert((event, user.clone()));
        } else {
            halves.overflowed[0] = true;
        }
    }

    /// Returns a guard that notes the caller when it is dropped, unless the hold was refused.
    pub fn guard<'a>(&'a self, event: EventId, user: &'a UserId) -> GrantGuard<'a> {
        GrantGuard { recent_grants: self, event, user, is_refused: false }
    }

    /// Whether a caller may have been granted seats of an event recently.
    fn contains(&self, event: EventId, user: &UserId, now: Instant) -> bool {
        if self.at_ms(now) > self.noted_until_ms.load(Ordering::Relaxed) {
            return false;
        }
        let halves = self.halves(now);
        if halves.newer.is_empty() && halves.older.is_empty() {
            return false;
        }
        let grant = (event, user.clone());
        halves.overflowed != [false; 2]
            || halves.newer.contains(&grant)
            || halves.older.contains(&grant)
    }

    fn at_ms(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.origin).as_millis() as u64
    }

    fn halves(&self, now: Instant) -> std::sync::MutexGuard<'_, Halves> {
        // A panic under this lock leaves no half-made change.
        let mut halves = self.halves.lock().unwrap_or_else(PoisonError::into_inner);
        let age = now.saturating_duration_since(halves.turned_at);
        if age >= self.keep {
            // The newer half was noted less than twice `keep` ago.
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

/// A hold whose result is not known yet. Its caller counts as granted if the future of the request is
/// dropped before the reply arrives.
pub(super) struct GrantGuard<'a> {
    recent_grants: &'a RecentGrants,
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
            self.recent_grants.note(self.event, self.user);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> UserId {
        name.parse().unwrap()
    }

    #[test]
    fn recent_grant_is_kept_for_its_period_and_then_forgotten() {
        let keep = Duration::from_millis(40);
        let recent = RecentGrants::new(keep);
        let (event, ann) = (EventId(1), user("ann"));
        recent.note(event, &ann);
        let noted_at = Instant::now();
        let mut known_until = noted_at;
        let contains = |event, user| recent.contains(event, user, Instant::now());
        while contains(event, &ann) {
            known_until = Instant::now();
            assert!(known_until - noted_at < Duration::from_secs(60), "never forgotten");
        }
        assert!(known_until - noted_at >= keep, "{:?}", known_until - noted_at);
        assert!(!contains(EventId(2), &ann) && !contains(event, &user("bob")));
    }

    #[test]
    fn guard_notes_the_caller_unless_refused() {
        let recent = RecentGrants::new(Duration::from_secs(600));
        let (ann, bob) = (user("ann"), user("bob"));
        recent.guard(EventId(1), &ann).refused();
        let now = Instant::now();
        assert!(!recent.contains(EventId(1), &ann, now));
        // As when the client disconnects.
        drop(recent.guard(EventId(1), &bob));
        let now = Instant::now();
        assert!(recent.contains(EventId(1), &bob, now) && !recent.contains(EventId(1), &ann, now));
    }

    #[test]
    fn overflow_lets_every_caller_pass() {
        let recent = RecentGrants::new(Duration::from_secs(600));
        for n in 0..=RECENT_MAX {
            recent.note(EventId(1), &user(&format!("u{n}")));
        }
        assert!(recent.contains(EventId(1), &user("other"), Instant::now()));
    }

    #[test]
    fn hold_is_surely_taken_until_its_deadline_may_have_passed() {
        let seat = |state, deadline_ms| Seat { state, holder: Holder::NOBODY, deadline_ms };
        assert!(is_surely_taken(&seat(SeatState::Hold, 100), 99));
        assert!(!is_surely_taken(&seat(SeatState::Hold, 100), 100));
        assert!(is_surely_taken(&seat(SeatState::Hold, 0), 1_000), "being paid");
        assert!(is_surely_taken(&seat(SeatState::Booked, 0), 1_000));
        assert!(!is_surely_taken(&seat(SeatState::Available, 0), 0));
    }
}
