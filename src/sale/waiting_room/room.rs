//! One room as this process saw it last, and what it learnt of its numbers since.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use tokio::sync::watch;

use crate::domain::draw::Draw;
use crate::domain::{EventId, Floors, Method, RoomState};
use crate::sale::SaleError;
use crate::telemetry::striped::Striped;

/// Pause between two looks at all rooms.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long what was seen is a reason for a refusal. Clients are told ([`SEEN_WITHIN_SECONDS`]).
const KNOWN_FOR: Duration = Duration::from_secs(SEEN_WITHIN_SECONDS);
/// Within which time every process goes by a room's new settings, seconds.
pub const SEEN_WITHIN_SECONDS: u64 = 1;
/// Given-up numbers kept of a room: a token that is older is refused once it is used.
const LEFT_MAX: usize = 100_000;
/// How far back the rate of admission is measured, ms.
const RATE_OVER_MS: i64 = 60_000;
/// Measurements kept for it.
const RATE_POINTS_MAX: usize = 256;

/// What was seen of a room at one look.
pub(super) struct Seen {
    pub(super) state: Arc<RoomState>,
    /// Places served a second, measured over the last minute.
    pub(super) served_per_second: f64,
    /// When the look began.
    begun: Instant,
}

/// One room.
pub(super) struct Room {
    pub(super) event: EventId,
    pub(super) seen: ArcSwapOption<Seen>,
    /// The room was changed since it was seen.
    pub(super) is_outdated: AtomicBool,
    /// Whether the last look failed.
    pub(super) has_failed: AtomicBool,
    joined: AtomicU64,
    served: AtomicU64,
    /// The highest served place that positions were told by.
    shown: AtomicU64,
    /// All that this process ever counted.
    pub(super) attempts: Striped,
    pub(super) left: Mutex<Left>,
    points: Mutex<VecDeque<(i64, u64)>>,
    pub(super) draw: ArcSwapOption<Draw>,
    origin: Instant,
    /// When somebody last asked, ms after `origin`.
    asked_at_ms: AtomicU64,
    /// Of looks: one at a time.
    pub(super) looking: tokio::sync::Mutex<Looked>,
    changed: watch::Sender<()>,
}

/// Numbers whose owners left; of Redis' list so many are known.
#[derive(Default)]
pub(super) struct Left {
    numbers: std::collections::HashSet<u64>,
    order: VecDeque<u64>,
    pub(super) known: u64,
}

#[derive(Default)]
pub(super) struct Looked {
    /// The highest revision that Redis was seen with.
    pub(super) revision: u64,
    pub(super) missed_at: Option<Instant>,
    /// When the last look began, and what came of it.
    pub(super) last: Option<(Instant, Result<(), SaleError>)>,
    /// Attempts that Redis was told of.
    pub(super) told_attempts: u64,
}

impl Room {
    pub(super) fn new(event: EventId) -> Self {
        Room {
            event,
            seen: ArcSwapOption::empty(),
            is_outdated: AtomicBool::new(false),
            has_failed: AtomicBool::new(false),
            joined: AtomicU64::new(0),
            served: AtomicU64::new(0),
            shown: AtomicU64::new(0),
            attempts: Striped::default(),
            left: Mutex::default(),
            points: Mutex::default(),
            draw: ArcSwapOption::empty(),
            origin: Instant::now(),
            asked_at_ms: AtomicU64::new(0),
            looking: tokio::sync::Mutex::default(),
            changed: watch::Sender::new(()),
        }
    }

    /// What was seen last. Those who have a room from [`Rooms::known`] have one that was seen.
    pub(super) fn seen(&self) -> Arc<Seen> {
        self.seen.load_full().unwrap_or_else(|| Arc::new(Seen::nothing()))
    }

    pub(super) fn floors(&self) -> Floors {
        Floors {
            joined: self.joined.load(Ordering::Relaxed),
            served: self.served.load(Ordering::Relaxed),
        }
    }

    /// INVARIANT: what this process knows never falls.
    pub(super) fn learn(&self, floors: Floors) {
        self.joined.fetch_max(floors.joined.max(floors.served), Ordering::Relaxed);
        self.served.fetch_max(floors.served, Ordering::Relaxed);
    }

    /// The served place that is told: never one below what was told before.
    pub(super) fn show(&self, served: u64) -> u64 {
        self.shown.fetch_max(served, Ordering::Relaxed).max(served)
    }

    /// Somebody asks for it.
    pub(super) fn note_asked(&self, now: Instant) {
        // Not for each request: threads would fight over the line.
        if self.unasked_for(now) > LOOK_EVERY {
            self.asked_at_ms.fetch_max(self.at_ms(now), Ordering::Relaxed);
        }
    }

    /// How long nobody has asked for it, to [`LOOK_EVERY`].
    pub(super) fn unasked_for(&self, now: Instant) -> Duration {
        let asked_at_ms = self.asked_at_ms.load(Ordering::Relaxed);
        Duration::from_millis(self.at_ms(now).saturating_sub(asked_at_ms))
    }

    fn at_ms(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.origin).as_millis() as u64
    }

    pub(super) fn note_left(&self, number: u64) {
        self.left.lock().unwrap_or_else(PoisonError::into_inner).add(number);
    }

    pub(super) fn has_left(&self, number: u64) -> bool {
        self.left.lock().unwrap_or_else(PoisonError::into_inner).numbers.contains(&number)
    }

    /// Whether nobody has to wait, as far as was seen.
    pub(super) fn is_known_open(&self) -> bool {
        self.seen.load().as_ref().is_some_and(|seen| seen.is_open()) && !self.is_outdated()
    }

    pub(super) fn is_outdated(&self) -> bool {
        self.is_outdated.load(Ordering::Acquire)
    }

    /// Whether nobody gets in without waiting, as was seen a moment ago.
    pub(super) fn is_known_on(&self) -> bool {
        let seen = self.seen.load();
        let is_on = |seen: &Arc<Seen>| !seen.is_open() && seen.begun.elapsed() < KNOWN_FOR;
        seen.as_ref().is_some_and(is_on) && !self.is_outdated()
    }

    /// Told after each look.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    pub(super) fn see(&self, state: RoomState, begun: Instant) {
        self.learn(state.floors);
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        state.leavers.iter().for_each(|number| left.add(*number));
        left.known = state.left_total;
        drop(left);
        let served_per_second = self.measure(state.at_ms);
        self.seen.store(Some(Arc::new(Seen { state: Arc::new(state), served_per_second, begun })));
        self.is_outdated.store(false, Ordering::Release);
        self.changed.send_replace(());
    }

    fn measure(&self, at_ms: i64) -> f64 {
        let served = self.served.load(Ordering::Relaxed);
        let mut points = self.points.lock().unwrap_or_else(PoisonError::into_inner);
        while points.front().is_some_and(|point| point.0 < at_ms - RATE_OVER_MS)
            || points.len() >= RATE_POINTS_MAX
        {
            points.pop_front();
        }
        points.push_back((at_ms, served));
        let (first_ms, first) = points.front().copied().unwrap_or((at_ms, served));
        let over_ms = at_ms - first_ms;
        if over_ms <= 0 { 0.0 } else { (served - first) as f64 * 1_000.0 / over_ms as f64 }
    }
}

impl Seen {
    fn nothing() -> Self {
        let state = Arc::new(RoomState::off());
        Seen { state, served_per_second: 0.0, begun: Instant::now() }
    }

    /// Whether nobody has to wait.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.state.method, None | Some(Method::Passthrough))
    }

    /// Whether places may have been served since of which another process knows and goes by.
    pub(super) fn is_behind(&self) -> bool {
        self.begun.elapsed() >= Duration::from_millis(self.state.settles_after_ms())
    }
}

impl Left {
    fn add(&mut self, number: u64) {
        if self.numbers.insert(number) {
            self.order.push_back(number);
        }
        if self.order.len() > LEFT_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.numbers.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_room_knows_never_falls() {
        let room = Room::new(EventId(1));
        room.learn(Floors { joined: 9, served: 4 });
        room.learn(Floors { joined: 3, served: 5 });
        assert_eq!(room.floors(), Floors { joined: 9, served: 5 });
        room.learn(Floors { joined: 0, served: 20 });
        assert_eq!(room.floors(), Floors { joined: 20, served: 20 });
    }

    #[test]
    fn the_rate_is_that_of_the_last_minute() {
        let room = Room::new(EventId(1));
        assert_eq!(room.measure(1_000), 0.0);
        room.learn(Floors { joined: 100, served: 20 });
        assert_eq!(room.measure(3_000), 10.0);
        // A minute later what was before is forgotten.
        assert_eq!(room.measure(63_001), 0.0);
    }

    #[test]
    fn given_up_numbers_are_bounded() {
        let mut left = Left::default();
        (0..=LEFT_MAX as u64).for_each(|number| left.add(number));
        assert_eq!((left.numbers.len(), left.order.len()), (LEFT_MAX, LEFT_MAX));
        assert!(!left.numbers.contains(&0) && left.numbers.contains(&1));
    }
}
