//! The admitter: opens places of waiting rooms as sessions end, fixes draws when their sale begins,
//! restores rooms that Redis lost, and stores the floors of their numbers in MongoDB.
//!
//! Any number of workers do this concurrently: Redis holds the room's counts, and `room_admit` checks
//! and opens places in one step. A worker that was suspended opens what may be open when it resumes.
//! While MongoDB is unavailable, known rooms continue.

mod gauges;
mod throttle;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use tracing::{debug, info};

use super::Worker;
use crate::archive::{ArchiveError, StoredRoom};
use crate::domain::{EventId, Floors};
use crate::sale::SaleError;
use crate::sale::waiting_room::RoomStore;
use crate::telemetry::warn_repeated;
use gauges::RoomGauges;
use throttle::{AdmissionThrottle, LoadSignals};

/// Pause between two rounds over all rooms.
const PAUSE: Duration = Duration::from_millis(200);
/// How often the rooms are listed and the throttle is updated.
const LIST_EVERY: Duration = Duration::from_secs(1);
/// How often a room that is missing in Redis is restored there.
const RESTORE_EVERY: Duration = Duration::from_secs(2);
/// How often raised floors are stored.
const FLOORS_EVERY: Duration = Duration::from_secs(1);
/// Rooms read at once.
const PAGE: u32 = 100;
/// Rooms that one worker handles; beyond that, those of the lowest event ids.
const ROOMS_MAX: usize = 1_000;
/// Rooms handled concurrently.
const AT_ONCE_MAX: usize = 16;

/// One room in this worker's view.
struct RoomState {
    stored: StoredRoom,
    floors: Floors,
    written: Floors,
    written_at: Instant,
    restored_at: Option<Instant>,
}

/// Admits until shutdown.
pub(super) async fn run(worker: Worker) {
    let settings = crate::start::sale_settings(&worker.config.load());
    let store = RoomStore::of(&worker.engine, &worker.archive, &settings);
    let mut rooms: HashMap<EventId, RoomState> = HashMap::new();
    let (mut throttle, mut listed) = (AdmissionThrottle::default(), None::<Instant>);
    worker.metrics.admission_share.set(throttle.share());
    let failures = AtomicU64::new(0);
    let mut gauges = RoomGauges::default();
    while worker.shutdown.sleep_or_shutdown(PAUSE).await {
        if listed.is_none_or(|at| at.elapsed() >= LIST_EVERY) {
            listed = Some(Instant::now());
            if let Err(error) = worker.list_rooms(&mut rooms).await {
                debug!(%error, "listing the waiting rooms failed; it is retried");
            }
            throttle.update(worker.load_signals(failures.load(Ordering::Relaxed)));
            worker.metrics.admission_share.set(throttle.share());
        }
        let rounds = rooms.iter_mut().map(|(event, room)| {
            let (worker, store, failures) = (&worker, &store, &failures);
            let places_max = throttle.places_of(room.stored.settings.max_concurrent);
            async move {
                if let Err(error) = worker.admit_room(store, *event, room, places_max).await {
                    debug!(%error, event_id = %event, "admitting from a waiting room failed");
                    worker.metrics.admission_errors.inc();
                    // An unavailable node does not throttle the rooms on other nodes.
                    let partition = worker.engine.keys().partition_of(*event);
                    if !error.is_redis_unavailable() || worker.engine.is_connected(partition) {
                        failures.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        });
        stream::iter(rounds).for_each_concurrent(AT_ONCE_MAX, |round| round).await;
        gauges.show(&worker, &rooms).await;
    }
}

impl Worker {
    /// Reads the rooms that need work from MongoDB.
    async fn list_rooms(
        &self,
        rooms: &mut HashMap<EventId, RoomState>,
    ) -> Result<(), ArchiveError> {
        let mut found: HashMap<EventId, Option<StoredRoom>> = HashMap::new();
        let mut after = EventId(0);
        loop {
            let page = self.archive.stored_rooms_on(after, PAGE).await?;
            let is_last = page.len() < PAGE as usize;
            for (event, stored) in page {
                after = event;
                if let Err(error) = &stored {
                    warn_repeated!(%error, event_id = %event, "a waiting room is unreadable");
                }
                found.insert(event, stored.ok());
            }
            if is_last || found.len() >= ROOMS_MAX {
                break;
            }
        }
        for event in rooms.keys().filter(|event| !found.contains_key(event)) {
            // An error means that there is none.
            let _ = self.metrics.room_admitted.remove_label_values(&[&event.to_string()]);
        }
        rooms.retain(|event, _| found.contains_key(event));
        for (event, stored) in found {
            // An unreadable room continues in its last known state.
            let Some(stored) = stored else { continue };
            match rooms.get_mut(&event) {
                Some(room) => room.stored = stored,
                None => {
                    let written = self.archive.room_floors(event).await?;
                    let now = Instant::now();
                    let floors = written;
                    let room =
                        RoomState { stored, floors, written, written_at: now, restored_at: None };
                    rooms.insert(event, room);
                }
            }
        }
        Ok(())
    }

    async fn admit_room(
        &self,
        store: &RoomStore,
        event: EventId,
        room: &mut RoomState,
        places_max: u32,
    ) -> Result<(), SaleError> {
        let draw = room.stored.draw.as_ref();
        if draw.is_some_and(|draw| draw.fixed.is_none()) && store.hold_draw(event).await? {
            info!(event_id = %event, "the draw took effect");
        }
        let settings = &room.stored.settings;
        let admitted = self.engine.room_admit(event, settings, places_max, room.floors).await?;
        let Some(admitted) = admitted else {
            return self.restore_room(store, event, room).await;
        };
        room.floors = room.floors.max(admitted.floors);
        self.metrics.places_opened.inc_by(admitted.opened);
        let of_event = self.metrics.room_admitted.with_label_values(&[&event.to_string()]);
        of_event.inc_by(admitted.opened);
        if room.floors != room.written && room.written_at.elapsed() >= FLOORS_EVERY {
            room.written_at = Instant::now();
            self.archive.raise_room_floors(event, room.floors).await?;
            room.written = room.floors;
        }
        Ok(())
    }

    /// Writes a room to Redis that is on in MongoDB and missing in Redis: lost, or not there yet.
    async fn restore_room(
        &self,
        store: &RoomStore,
        event: EventId,
        room: &mut RoomState,
    ) -> Result<(), SaleError> {
        if room.restored_at.is_some_and(|at| at.elapsed() < RESTORE_EVERY) {
            return Ok(());
        }
        room.restored_at = Some(Instant::now());
        store.apply_stored(event, room.floors, false).await.map(drop)
    }

    /// The load of the services; `failures`: failed rounds of rooms so far.
    fn load_signals(&self, failures: u64) -> LoadSignals {
        LoadSignals {
            lag_seconds: self.health.lag_seconds(),
            redis_ms: self.dependencies.redis_ms(),
            redis_timeout_ms: self.config.load().redis_timeout_ms,
            errors: self.metrics.archive_errors.with_label_values(&["store"]).get()
                + self.metrics.worker_retries.get()
                + failures,
            services_respond: {
                let readiness = self.dependencies.readiness();
                readiness.redis.is_ok() && readiness.mongodb.is_ok()
            },
        }
    }
}
