//! The rooms that this process knows: asked for twice a second, however many people ask it. What
//! it tells of a room is at most as old as that, or as Redis' silence.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use futures_util::{StreamExt, stream};
use prometheus::core::Atomic;
use tokio::sync::watch;
use tracing::warn;

use super::store::RoomStore;
use crate::domain::draw::Draw;
use crate::domain::{DrawState, EventId, Floors, Method, RoomState};
use crate::read_mostly::ReadMostly;
use crate::redis::Engine;
use crate::sale::SaleError;
use crate::telemetry::striped::Striped;

/// Pause between two looks at all rooms.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Looks that may be missed before what was seen is no reason for a refusal.
const KNOWN_FOR_LOOKS: u32 = 4;
/// Rooms looked at at the same time.
const LOOKS_AT_ONCE: usize = 16;
/// Rooms kept; beyond, those that nobody asked for the longest go.
const ROOMS_MAX: usize = 1_000;
/// How long a room is kept that nobody asks for.
const KEPT_FOR: Duration = Duration::from_secs(60);
/// Given-up numbers kept of a room: a token that is older is refused once it is used.
const LEFT_MAX: usize = 100_000;
/// How far back the rate of admission is measured, ms.
const RATE_OVER_MS: i64 = 60_000;
/// Measurements kept for it.
const RATE_POINTS_MAX: usize = 256;
/// How often a room that Redis does not have is looked for in MongoDB.
const MISSING_EVERY: Duration = Duration::from_secs(5);

/// What was seen of a room at one look.
pub(super) struct Seen {
    pub(super) state: Arc<RoomState>,
    /// Places served a second, measured over the last minute.
    pub(super) served_per_second: f64,
    at: Instant,
}

/// One room.
pub(super) struct Room {
    event: EventId,
    seen: ArcSwapOption<Seen>,
    joined: AtomicU64,
    served: AtomicU64,
    /// The highest served place that positions were told by.
    shown: AtomicU64,
    /// All that this process ever counted.
    attempts: Striped,
    left: Mutex<Left>,
    points: Mutex<VecDeque<(i64, u64)>>,
    draw: ArcSwapOption<Draw>,
    origin: Instant,
    /// When somebody last asked, ms after `origin`.
    asked_at_ms: AtomicU64,
    /// Of looks: one at a time.
    looking: tokio::sync::Mutex<Looked>,
    changed: watch::Sender<()>,
}

/// Numbers whose owners left; of Redis' list so many are known.
#[derive(Default)]
struct Left {
    numbers: std::collections::HashSet<u64>,
    order: VecDeque<u64>,
    known: u64,
}

#[derive(Default)]
struct Looked {
    /// The highest revision that Redis was seen with.
    revision: u64,
    missed_at: Option<Instant>,
    /// Attempts that Redis was told of.
    told_attempts: u64,
}

impl Room {
    fn new(event: EventId) -> Self {
        Room {
            event,
            seen: ArcSwapOption::empty(),
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
    fn note_asked(&self, now: Instant) {
        // Not for each request: threads would fight over the line.
        if self.unasked_for(now) > LOOK_EVERY {
            self.asked_at_ms.fetch_max(self.at_ms(now), Ordering::Relaxed);
        }
    }

    /// How long nobody has asked for it, to [`LOOK_EVERY`].
    fn unasked_for(&self, now: Instant) -> Duration {
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
        let seen = self.seen.load();
        seen.as_ref()
            .is_some_and(|seen| matches!(seen.state.method, None | Some(Method::Passthrough)))
    }

    /// Whether nobody gets in without waiting, as was seen a moment ago.
    pub(super) fn is_known_on(&self) -> bool {
        let seen = self.seen.load();
        seen.as_ref().is_some_and(|seen| {
            let is_on = !matches!(seen.state.method, None | Some(Method::Passthrough));
            is_on && seen.at.elapsed() < LOOK_EVERY * KNOWN_FOR_LOOKS
        })
    }

    /// Told after each look.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    fn see(&self, state: RoomState) {
        self.learn(state.floors);
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        state.leavers.iter().for_each(|number| left.add(*number));
        left.known = state.left_total;
        drop(left);
        let served_per_second = self.measure(state.at_ms);
        self.seen.store(Some(Arc::new(Seen {
            state: Arc::new(state),
            served_per_second,
            at: Instant::now(),
        })));
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
        Seen { state, served_per_second: 0.0, at: Instant::now() }
    }

    /// The served place that positions are told by now.
    pub(super) fn shown_served(&self) -> u64 {
        self.state
            .shown_served(i64::try_from(self.at.elapsed().as_millis()).unwrap_or(i64::MAX / 2))
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

/// All of them. Cheap to clone.
#[derive(Clone)]
pub(super) struct Rooms {
    engine: Engine,
    store: RoomStore,
    rooms: Arc<ReadMostly<EventId, Arc<Room>>>,
}

impl Rooms {
    pub(super) fn new(engine: Engine, store: RoomStore) -> Self {
        Rooms { engine, store, rooms: Arc::default() }
    }

    /// A room, if it is looked at.
    pub(super) fn find(&self, event: EventId) -> Option<Arc<Room>> {
        self.rooms.get(event)
    }

    /// Whether nobody gets into an event without waiting, as was seen a moment ago.
    pub(super) fn is_known_on(&self, event: EventId) -> bool {
        self.rooms.with(event, |room| room.is_known_on()).unwrap_or_default()
    }

    /// Counts an attempt to hold seats of an event that there is.
    pub(super) fn note_attempt(&self, event: EventId, now: Instant) {
        let noted = self.rooms.with(event, |room| {
            room.note_asked(now);
            room.attempts.inc_by(1);
        });
        if noted.is_none() {
            self.get(event).attempts.inc_by(1);
        }
    }

    /// A room, seen or not; from now on it is looked at, so the caller knows that there is such an
    /// event.
    pub(super) fn get(&self, event: EventId) -> Arc<Room> {
        if let Some(room) = self.find(event) {
            room.note_asked(Instant::now());
            return room;
        }
        self.rooms.change(|rooms| {
            if rooms.len() >= ROOMS_MAX {
                let now = Instant::now();
                let oldest = rooms.iter().max_by_key(|(_, room)| room.unasked_for(now));
                let oldest = oldest.map(|(event, _)| *event);
                oldest.map(|event| rooms.remove(&event));
            }
            rooms.entry(event).or_insert_with(|| Arc::new(Room::new(event))).clone()
        })
    }

    /// A room that was seen.
    ///
    /// # Errors
    /// If it was not seen yet, and Redis does not answer.
    pub(super) async fn known(&self, event: EventId) -> Result<Arc<Room>, SaleError> {
        let room = self.get(event);
        if room.seen.load().is_none() {
            let mut looked = room.looking.lock().await;
            // By another who asked at the same time?
            if room.seen.load().is_none() {
                self.look_once(&room, &mut looked).await?;
            }
        }
        Ok(room)
    }

    /// Looks at a room now.
    pub(super) async fn look(&self, room: &Room) -> Result<(), SaleError> {
        let mut looked = room.looking.lock().await;
        self.look_once(room, &mut looked).await
    }

    async fn look_once(&self, room: &Room, looked: &mut Looked) -> Result<(), SaleError> {
        let known_left = room.left.lock().unwrap_or_else(PoisonError::into_inner).known;
        let all_attempts = room.attempts.get();
        // Told once: of a call that failed nobody knows whether it ran.
        let told_attempts = std::mem::replace(&mut looked.told_attempts, all_attempts);
        let attempts = all_attempts - told_attempts;
        let mut state =
            self.engine.room_look(room.event, attempts, known_left, room.floors()).await?;
        let is_missing = state.revision == 0 || state.revision < looked.revision;
        let is_due = looked.missed_at.is_none_or(|at| at.elapsed() > MISSING_EVERY);
        if is_missing && is_due {
            // Redis lost it, or nobody ever wanted anything of it: MongoDB knows.
            looked.missed_at = Some(Instant::now());
            if self.store.bring(room.event, room.floors(), attempts > 0).await? {
                state = self.engine.room_look(room.event, 0, known_left, room.floors()).await?;
            }
        }
        looked.revision = looked.revision.max(state.revision);
        room.see(state);
        Ok(())
    }

    /// The place of a number; `None` while people gather for the draw.
    pub(super) async fn place(&self, room: &Room, number: u64) -> Result<Option<u64>, SaleError> {
        let state = room.seen().state.clone();
        match state.draw {
            DrawState::None => return Ok(Some(number)),
            DrawState::Gathering | DrawState::Frozen => return Ok(None),
            DrawState::Fixed if number > state.draw_joined => return Ok(Some(number)),
            DrawState::Fixed => {}
        }
        if let Some(draw) = room.draw.load().as_deref() {
            return Ok(Some(draw.place(number)));
        }
        // Once a room and process, but for those who ask at the same moment.
        let draw = Arc::new(self.store.fixed_draw(room.event).await?);
        room.draw.store(Some(draw.clone()));
        Ok(Some(draw.place(number)))
    }

    /// Looks at all rooms, over and over, until told to stop.
    pub(super) async fn look_on(self, mut stop: watch::Receiver<bool>) {
        let work = async {
            let mut warned_at: Option<Instant> = None;
            loop {
                tokio::time::sleep(LOOK_EVERY).await;
                let rooms = self.kept();
                let looks = stream::iter(rooms).map(|room| {
                    let all = self.clone();
                    async move { all.look(&room).await.err() }
                });
                let failed: Vec<SaleError> = looks
                    .buffer_unordered(LOOKS_AT_ONCE)
                    .filter_map(std::future::ready)
                    .collect()
                    .await;
                if let Some(error) = failed.first()
                    && warned_at.is_none_or(|at| at.elapsed() > KEPT_FOR)
                {
                    warned_at = Some(Instant::now());
                    warn!(%error, rooms = failed.len(), "waiting rooms cannot be looked at");
                }
            }
        };
        tokio::select! {
            () = work => {}
            // A sender that is gone means the same.
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }

    /// Those that somebody asked for lately; the others are forgotten. A room with numbers is kept
    /// longer: what it knows are the floors.
    fn kept(&self) -> Vec<Arc<Room>> {
        let now = Instant::now();
        self.rooms.change(|rooms| {
            rooms.retain(|_, room| {
                room.unasked_for(now) < KEPT_FOR
                    || room.floors().joined > 0 && !room.is_known_open()
            });
            rooms.values().cloned().collect()
        })
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
