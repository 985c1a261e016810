//! The rooms known to this process: refreshed twice a second, regardless of the number of requests,
//! as long as they are on or in use, and at once where a response must not rest on an earlier snapshot:
//!
//! * this process has changed the room, or its event;
//! * a token shows that a room is on which is off in the snapshot;
//! * the snapshot is so old that another process may have admitted users since.
//!
//! Such refreshes are shared by all waiting callers, at most one per [`REFRESH_GAP`].

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use prometheus::core::Atomic;
use tracing::warn;

use super::room::{REFRESH_INTERVAL, RefreshState, Room};
use super::store::RoomStore;
use crate::copy_on_write::CopyOnWriteMap;
use crate::domain::{DrawState, EventId};
use crate::lifecycle::Shutdown;
use crate::redis::Engine;
use crate::sale::SaleError;

/// Shortest time between two refreshes that callers wait for.
const REFRESH_GAP: Duration = Duration::from_millis(50);
/// Rooms refreshed at the same time.
const CONCURRENT_REFRESHES: usize = 16;
/// The maximum number of rooms; beyond it the least recently used one is evicted.
const ROOMS_MAX: usize = 1_000;
/// How long an unused room is kept.
const KEPT_FOR: Duration = Duration::from_secs(60);
/// How often a room that Redis does not have is looked up in MongoDB.
const MISSING_EVERY: Duration = Duration::from_secs(5);

/// The cache of rooms. Cheap to clone.
#[derive(Clone)]
pub(super) struct RoomCache {
    engine: Engine,
    store: RoomStore,
    rooms: Arc<CopyOnWriteMap<EventId, Arc<Room>>>,
}

impl RoomCache {
    pub(super) fn new(engine: Engine, store: RoomStore) -> Self {
        RoomCache { engine, store, rooms: Arc::default() }
    }

    /// Returns a room, if it is in the cache.
    pub(super) fn find(&self, event: EventId) -> Option<Arc<Room>> {
        self.rooms.get(event)
    }

    /// Whether everybody has to wait for an event, by a fresh snapshot.
    pub(super) fn is_known_on(&self, event: EventId) -> bool {
        self.rooms.with(event, |room| room.is_known_on()).unwrap_or_default()
    }

    /// Counts an attempt to hold seats of an existing event.
    pub(super) fn note_attempt(&self, event: EventId, now: Instant) {
        let counted = self.rooms.with(event, |room| {
            room.touch(now);
            room.attempts.inc_by(1);
        });
        if counted.is_none() {
            self.get(event).attempts.inc_by(1);
        }
    }

    /// Returns a room, adding it to the cache if needed; it is refreshed from now on, so the event
    /// must exist.
    pub(super) fn get(&self, event: EventId) -> Arc<Room> {
        if let Some(room) = self.find(event) {
            room.touch(Instant::now());
            return room;
        }
        self.rooms.change(|rooms| {
            if rooms.len() >= ROOMS_MAX {
                let now = Instant::now();
                let oldest = rooms.iter().max_by_key(|(_, room)| room.idle_for(now));
                let oldest = oldest.map(|(event, _)| *event);
                oldest.map(|event| rooms.remove(&event));
            }
            rooms.entry(event).or_insert_with(|| Arc::new(Room::new(event))).clone()
        })
    }

    /// Returns a room with a snapshot.
    ///
    /// # Errors
    /// If it has none yet and Redis does not answer.
    pub(super) async fn loaded(&self, event: EventId) -> Result<Arc<Room>, SaleError> {
        let room = self.get(event);
        if room.snapshot.load().is_none() || room.is_outdated() {
            self.refresh_since(&room, Instant::now()).await?;
        } else if room.is_stale() {
            // It was not used for a while.
            self.catch_up(&room, Instant::now()).await;
        }
        Ok(room)
    }

    /// Refreshes a room, or waits for a refresh of another caller that begins at `since` or later.
    ///
    /// # Errors
    /// The error of that refresh.
    pub(super) async fn refresh_since(&self, room: &Room, since: Instant) -> Result<(), SaleError> {
        let mut refresh_state = room.refresh_state.lock().await;
        if let Some((begun, result)) = &refresh_state.last {
            if *begun >= since {
                return result.clone();
            }
            tokio::time::sleep_until((*begun + REFRESH_GAP).into()).await;
        }
        self.refresh_locked(room, &mut refresh_state).await
    }

    /// Refreshes a room that may be behind other processes. If the last refresh failed, the existing
    /// snapshot is used; the periodic refresh tries again.
    pub(super) async fn catch_up(&self, room: &Room, since: Instant) {
        let has_failed = room.has_failed.load(Ordering::Relaxed);
        if !has_failed && let Err(error) = self.refresh_since(room, since).await {
            tracing::debug!(%error, event_id = %room.event, "a waiting room is not refreshed");
        }
    }

    /// Refreshes a room after this process has changed it or its event. If Redis does not answer, the
    /// previous snapshot is no longer used.
    pub(super) async fn refresh_after_change(&self, room: &Room) {
        // A refresh that began before the change ends first.
        let mut refresh_state = room.refresh_state.lock().await;
        room.is_outdated.store(true, Ordering::Release);
        if let Err(error) = self.refresh_locked(room, &mut refresh_state).await {
            warn!(%error, event_id = %room.event, "a changed waiting room is not refreshed");
        }
    }

    /// Refreshes a room now.
    pub(super) async fn refresh(&self, room: &Room) -> Result<(), SaleError> {
        let mut refresh_state = room.refresh_state.lock().await;
        self.refresh_locked(room, &mut refresh_state).await
    }

    /// The periodic refresh.
    async fn refresh_unless_resting(&self, room: &Room) -> Result<(), SaleError> {
        let mut refresh_state = room.refresh_state.lock().await;
        if room.is_resting(Instant::now(), refresh_state.reported_attempts) {
            return Ok(());
        }
        self.refresh_locked(room, &mut refresh_state).await
    }

    async fn refresh_locked(
        &self,
        room: &Room,
        refresh_state: &mut RefreshState,
    ) -> Result<(), SaleError> {
        let begun = Instant::now();
        let result = Box::pin(self.fetch_state(room, refresh_state, begun)).await;
        room.has_failed.store(result.is_err(), Ordering::Relaxed);
        refresh_state.last = Some((begun, result.clone()));
        result
    }

    async fn fetch_state(
        &self,
        room: &Room,
        refresh_state: &mut RefreshState,
        begun: Instant,
    ) -> Result<(), SaleError> {
        let known_left = room.left.lock().unwrap_or_else(PoisonError::into_inner).known;
        let all_attempts = room.attempts.get();
        // Reported once: whether a failed call ran is unknown.
        let reported_attempts =
            std::mem::replace(&mut refresh_state.reported_attempts, all_attempts);
        let attempts = all_attempts - reported_attempts;
        let mut state =
            self.engine.room_look(room.event, attempts, known_left, room.floors()).await?;
        let is_missing = state.revision == 0 || state.revision < refresh_state.revision;
        let is_due = refresh_state.missed_at.is_none_or(|at| at.elapsed() > MISSING_EVERY);
        if is_missing && is_due {
            // Redis lost it, or it has no settings: MongoDB decides.
            refresh_state.missed_at = Some(Instant::now());
            if self.store.apply_stored(room.event, room.floors(), attempts > 0).await? {
                state = self.engine.room_look(room.event, 0, known_left, room.floors()).await?;
            }
        }
        refresh_state.revision = refresh_state.revision.max(state.revision);
        room.store_snapshot(state, begun);
        Ok(())
    }

    /// The place of a number; `None` while people gather for the draw.
    pub(super) async fn place(&self, room: &Room, number: u64) -> Result<Option<u64>, SaleError> {
        let state = room.snapshot().state.clone();
        match state.draw {
            DrawState::None => return Ok(Some(number)),
            DrawState::Gathering | DrawState::Frozen => return Ok(None),
            DrawState::Fixed if number > state.draw_joined => return Ok(Some(number)),
            DrawState::Fixed => {}
        }
        if let Some(draw) = room.draw.load().as_deref() {
            return Ok(Some(draw.place(number)));
        }
        // Once per room and process, except for concurrent callers.
        let draw = Arc::new(self.store.fixed_draw(room.event).await?);
        room.draw.store(Some(draw.clone()));
        Ok(Some(draw.place(number)))
    }

    /// Refreshes all rooms periodically until shutdown is requested.
    pub(super) async fn refresh_loop(self, shutdown: Shutdown) {
        let work = async {
            let mut warned_at: Option<Instant> = None;
            loop {
                tokio::time::sleep(REFRESH_INTERVAL).await;
                let rooms = self.evict_idle();
                let refreshes = stream::iter(rooms).map(|room| {
                    let all = self.clone();
                    async move { all.refresh_unless_resting(&room).await.err() }
                });
                let failed: Vec<SaleError> = refreshes
                    .buffer_unordered(CONCURRENT_REFRESHES)
                    .filter_map(std::future::ready)
                    .collect()
                    .await;
                if let Some(error) = failed.first()
                    && warned_at.is_none_or(|at| at.elapsed() > KEPT_FOR)
                {
                    warned_at = Some(Instant::now());
                    warn!(%error, rooms = failed.len(), "waiting rooms cannot be refreshed");
                }
            }
        };
        tokio::select! {
            () = work => {}
            () = shutdown.requested() => {}
        }
    }

    /// Evicts unused rooms and returns the others. A room with numbers is kept while it is on, since
    /// it holds the floors.
    fn evict_idle(&self) -> Vec<Arc<Room>> {
        let now = Instant::now();
        self.rooms.change(|rooms| {
            rooms.retain(|_, room| {
                room.idle_for(now) < KEPT_FOR || room.floors().joined > 0 && !room.is_known_open()
            });
            rooms.values().cloned().collect()
        })
    }
}
