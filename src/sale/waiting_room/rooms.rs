//! The rooms that this process knows: looked at twice a second, however many people ask, and at once
//! where an answer must not rest on what was seen before:
//!
//! * this process has changed the room, or its event;
//! * a token says that a room is on which is off as far as was seen;
//! * the last look is so old that another process may have admitted people since.
//!
//! Such looks are shared by all who wait for one, at most one each [`LOOKS_APART`].

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use prometheus::core::Atomic;
use tracing::warn;

use super::room::{LOOK_EVERY, Looked, Room};
use super::store::RoomStore;
use crate::copy_on_write::CopyOnWriteMap;
use crate::domain::{DrawState, EventId};
use crate::lifecycle::Shutdown;
use crate::redis::Engine;
use crate::sale::SaleError;

/// Shortest time between two looks at a room that somebody waits for.
const LOOKS_APART: Duration = Duration::from_millis(50);
/// Rooms looked at at the same time.
const LOOKS_AT_ONCE: usize = 16;
/// Rooms kept; beyond, those that nobody asked for the longest go.
const ROOMS_MAX: usize = 1_000;
/// How long a room is kept that nobody asks for.
const KEPT_FOR: Duration = Duration::from_secs(60);
/// How often a room that Redis does not have is looked for in MongoDB.
const MISSING_EVERY: Duration = Duration::from_secs(5);

/// All of them. Cheap to clone.
#[derive(Clone)]
pub(super) struct Rooms {
    engine: Engine,
    store: RoomStore,
    rooms: Arc<CopyOnWriteMap<EventId, Arc<Room>>>,
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
        if room.seen.load().is_none() || room.is_outdated() {
            self.look_since(&room, Instant::now()).await?;
        }
        Ok(room)
    }

    /// Looks at a room, or waits for a look that begins at `since` or later and somebody else
    /// makes.
    ///
    /// # Errors
    /// What that look failed with.
    pub(super) async fn look_since(&self, room: &Room, since: Instant) -> Result<(), SaleError> {
        let mut looked = room.looking.lock().await;
        if let Some((begun, result)) = &looked.last {
            if *begun >= since {
                return result.clone();
            }
            tokio::time::sleep_until((*begun + LOOKS_APART).into()).await;
        }
        self.look_once(room, &mut looked).await
    }

    /// Looks at a room that may be behind what other processes know. Where Redis did not answer the
    /// last look, what was seen before has to do: the next one is made by the clock.
    pub(super) async fn catch_up(&self, room: &Room, since: Instant) {
        let has_failed = room.has_failed.load(Ordering::Relaxed);
        if !has_failed && let Err(error) = self.look_since(room, since).await {
            tracing::debug!(%error, event_id = %room.event, "a waiting room is not looked at");
        }
    }

    /// Looks at a room that this process has changed, or whose event it has. If Redis does not
    /// answer, nothing is concluded from what was seen before.
    pub(super) async fn look_after_change(&self, room: &Room) {
        // A look that began before the change ends first.
        let mut looked = room.looking.lock().await;
        room.is_outdated.store(true, Ordering::Release);
        if let Err(error) = self.look_once(room, &mut looked).await {
            warn!(%error, event_id = %room.event, "a changed waiting room is not looked at");
        }
    }

    /// Looks at a room now.
    pub(super) async fn look(&self, room: &Room) -> Result<(), SaleError> {
        let mut looked = room.looking.lock().await;
        self.look_once(room, &mut looked).await
    }

    async fn look_once(&self, room: &Room, looked: &mut Looked) -> Result<(), SaleError> {
        let begun = Instant::now();
        let result = Box::pin(self.look_begun(room, looked, begun)).await;
        room.has_failed.store(result.is_err(), Ordering::Relaxed);
        looked.last = Some((begun, result.clone()));
        result
    }

    async fn look_begun(
        &self,
        room: &Room,
        looked: &mut Looked,
        begun: Instant,
    ) -> Result<(), SaleError> {
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
        room.see(state, begun);
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

    /// Looks at all rooms, over and over, until shutdown is requested.
    pub(super) async fn look_on(self, shutdown: Shutdown) {
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
            () = shutdown.requested() => {}
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
