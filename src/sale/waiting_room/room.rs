//! One room as last fetched by this process, and what it learnt of the room's numbers since.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use prometheus::core::Atomic;
use tokio::sync::watch;

use crate::domain::draw::Draw;
use crate::domain::{EventId, Floors, Method, RoomState};
use crate::sale::SaleError;
use crate::telemetry::striped::Striped;

/// Pause between two refreshes of all rooms.
pub(super) const REFRESH_INTERVAL: Duration = Duration::from_millis(500);
/// How old a snapshot may be to refuse by it. Documented to clients.
const REFUSAL_FRESHNESS: Duration = Duration::from_secs(SETTINGS_APPLY_WITHIN_SECONDS);
/// How long a room that is off is refreshed after its last use; then its next use refreshes it.
const REFRESHED_FOR: Duration = Duration::from_secs(5);
/// Within this time every process applies a room's new settings, seconds.
pub const SETTINGS_APPLY_WITHIN_SECONDS: u64 = 1;
/// The maximum number of abandoned numbers remembered per room; the token of an older one is refused
/// when it is used.
const LEFT_MAX: usize = 100_000;
/// The period over which the rate of admission is measured, ms.
const RATE_OVER_MS: i64 = 60_000;
/// The maximum number of measurements kept.
const RATE_POINTS_MAX: usize = 256;

/// A room's state as of one refresh.
pub(super) struct RoomSnapshot {
    pub(super) state: Arc<RoomState>,
    /// Places served per second, measured over the last minute.
    pub(super) served_per_second: f64,
    /// When the refresh began.
    begun: Instant,
}

/// One room.
pub(super) struct Room {
    pub(super) event: EventId,
    pub(super) snapshot: ArcSwapOption<RoomSnapshot>,
    /// Whether the room was changed since the snapshot.
    pub(super) is_outdated: AtomicBool,
    /// Whether the last refresh failed.
    pub(super) has_failed: AtomicBool,
    joined: AtomicU64,
    served: AtomicU64,
    /// The highest served place used for a reported position.
    shown: AtomicU64,
    /// The hold attempts that this process has counted.
    pub(super) attempts: Striped,
    pub(super) left: Mutex<Leavers>,
    points: Mutex<VecDeque<(i64, u64)>>,
    pub(super) draw: ArcSwapOption<Draw>,
    origin: Instant,
    /// When it was last used, ms after `origin`.
    used_at_ms: AtomicU64,
    /// Serializes refreshes.
    pub(super) refresh_state: tokio::sync::Mutex<RefreshState>,
    changed: watch::Sender<()>,
}

/// Abandoned numbers; `known` is how many of Redis' list were fetched.
#[derive(Default)]
pub(super) struct Leavers {
    numbers: std::collections::HashSet<u64>,
    order: VecDeque<u64>,
    pub(super) known: u64,
}

#[derive(Default)]
pub(super) struct RefreshState {
    /// The highest revision seen in Redis.
    pub(super) revision: u64,
    pub(super) missed_at: Option<Instant>,
    /// When the last refresh began, and its result.
    pub(super) last: Option<(Instant, Result<(), SaleError>)>,
    /// The attempts reported to Redis.
    pub(super) reported_attempts: u64,
}

impl Room {
    pub(super) fn new(event: EventId) -> Self {
        Room {
            event,
            snapshot: ArcSwapOption::empty(),
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
            used_at_ms: AtomicU64::new(0),
            refresh_state: tokio::sync::Mutex::default(),
            changed: watch::Sender::new(()),
        }
    }

    /// The latest snapshot. A room from [`RoomCache::loaded`] has one.
    pub(super) fn snapshot(&self) -> Arc<RoomSnapshot> {
        self.snapshot.load_full().unwrap_or_else(|| Arc::new(RoomSnapshot::nothing()))
    }

    pub(super) fn floors(&self) -> Floors {
        Floors {
            joined: self.joined.load(Ordering::Relaxed),
            served: self.served.load(Ordering::Relaxed),
        }
    }

    /// INVARIANT: the floors never fall.
    pub(super) fn learn(&self, floors: Floors) {
        self.joined.fetch_max(floors.joined.max(floors.served), Ordering::Relaxed);
        self.served.fetch_max(floors.served, Ordering::Relaxed);
    }

    /// The served place to compute a position by: never below an earlier one.
    pub(super) fn show(&self, served: u64) -> u64 {
        self.shown.fetch_max(served, Ordering::Relaxed).max(served)
    }

    /// Marks the room as used.
    pub(super) fn touch(&self, now: Instant) {
        // Not at each request, to avoid contention on the cache line.
        if self.idle_for(now) > REFRESH_INTERVAL {
            self.used_at_ms.fetch_max(self.at_ms(now), Ordering::Relaxed);
        }
    }

    /// How long it has not been used, to the precision of [`REFRESH_INTERVAL`].
    pub(super) fn idle_for(&self, now: Instant) -> Duration {
        let used_at_ms = self.used_at_ms.load(Ordering::Relaxed);
        Duration::from_millis(self.at_ms(now).saturating_sub(used_at_ms))
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

    /// Whether nobody has to wait, by the latest snapshot.
    pub(super) fn is_known_open(&self) -> bool {
        self.snapshot.load().as_ref().is_some_and(|snapshot| snapshot.is_open())
            && !self.is_outdated()
    }

    pub(super) fn is_outdated(&self) -> bool {
        self.is_outdated.load(Ordering::Acquire)
    }

    /// Whether everybody has to wait, by a fresh snapshot.
    pub(super) fn is_known_on(&self) -> bool {
        let snapshot = self.snapshot.load();
        let is_on = |snapshot: &Arc<RoomSnapshot>| {
            !snapshot.is_open() && snapshot.begun.elapsed() < REFUSAL_FRESHNESS
        };
        snapshot.as_ref().is_some_and(is_on) && !self.is_outdated()
    }

    /// Whether it need not be refreshed: it is off, unused for a while, nobody follows it, and all its
    /// attempts are reported (`reported` of them).
    pub(super) fn is_resting(&self, now: Instant, reported: u64) -> bool {
        self.idle_for(now) > REFRESHED_FOR
            && self.is_known_open()
            && self.changed.receiver_count() == 0
            && self.attempts.get() == reported
    }

    /// Whether the latest snapshot is too old to refuse by it, or there is none.
    pub(super) fn is_stale(&self) -> bool {
        let snapshot = self.snapshot.load();
        snapshot.as_ref().is_none_or(|snapshot| snapshot.begun.elapsed() >= REFUSAL_FRESHNESS)
    }

    /// Notifies after each refresh.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    pub(super) fn store_snapshot(&self, state: RoomState, begun: Instant) {
        self.learn(state.floors);
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        state.leavers.iter().for_each(|number| left.add(*number));
        left.known = state.left_total;
        drop(left);
        let served_per_second = self.measure(state.at_ms);
        self.snapshot.store(Some(Arc::new(RoomSnapshot {
            state: Arc::new(state),
            served_per_second,
            begun,
        })));
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

impl RoomSnapshot {
    fn nothing() -> Self {
        let state = Arc::new(RoomState::off());
        RoomSnapshot { state, served_per_second: 0.0, begun: Instant::now() }
    }

    /// Whether nobody has to wait.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.state.method, None | Some(Method::Passthrough))
    }

    /// Whether another process may already use a higher served place.
    pub(super) fn is_behind(&self) -> bool {
        self.begun.elapsed() >= Duration::from_millis(self.state.settles_after_ms())
    }
}

impl Leavers {
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
    fn floors_never_fall() {
        let room = Room::new(EventId(1));
        room.learn(Floors { joined: 9, served: 4 });
        room.learn(Floors { joined: 3, served: 5 });
        assert_eq!(room.floors(), Floors { joined: 9, served: 5 });
        room.learn(Floors { joined: 0, served: 20 });
        assert_eq!(room.floors(), Floors { joined: 20, served: 20 });
    }

    #[test]
    fn rate_covers_the_last_minute() {
        let room = Room::new(EventId(1));
        assert_eq!(room.measure(1_000), 0.0);
        room.learn(Floors { joined: 100, served: 20 });
        assert_eq!(room.measure(3_000), 10.0);
        // A minute later the earlier points are dropped.
        assert_eq!(room.measure(63_001), 0.0);
    }

    #[test]
    fn abandoned_numbers_are_bounded() {
        let mut left = Leavers::default();
        (0..=LEFT_MAX as u64).for_each(|number| left.add(number));
        assert_eq!((left.numbers.len(), left.order.len()), (LEFT_MAX, LEFT_MAX));
        assert!(!left.numbers.contains(&0) && left.numbers.contains(&1));
    }
}
