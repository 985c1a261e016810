//! The admitter: opens places of waiting rooms as sessions end, fixes draws when their sale begins,
//! brings rooms back that Redis lost, and keeps the floors of their numbers in MongoDB.
//!
//! Any number of workers do this at the same time: what may be opened stands in the room's books,
//! and `room_admit` looks and opens in one step. One that slept opens what may be open when it
//! wakes up. While MongoDB is away the rooms that are known go on.

mod pace;

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
use pace::{Pace, Strain};

/// Pause between two looks at every room.
const TURN: Duration = Duration::from_millis(200);
/// How often the rooms are listed, and the pace is judged.
const LIST_EVERY: Duration = Duration::from_secs(1);
/// How often a room that is off in Redis is brought there.
const BRING_EVERY: Duration = Duration::from_secs(2);
/// How often floors that rose are written down.
const FLOORS_EVERY: Duration = Duration::from_secs(1);
/// Rooms read at once.
const PAGE: u32 = 100;
/// Rooms that one worker sees to; beyond, those of the lowest events.
const ROOMS_MAX: usize = 1_000;
/// Rooms looked at at the same time.
const AT_ONCE_MAX: usize = 16;

/// One room as this worker knows it.
struct Admission {
    stored: StoredRoom,
    floors: Floors,
    written: Floors,
    written_at: Instant,
    brought_at: Option<Instant>,
}

/// Admits until told to stop.
pub(super) async fn admit(worker: Worker) {
    let settings = crate::start::sale_settings(&worker.config);
    let store = RoomStore::of(&worker.engine, &worker.archive, &settings);
    let mut rooms: HashMap<EventId, Admission> = HashMap::new();
    let (mut pace, mut listed): (Pace, Option<Instant>) = (Pace::default(), None);
    worker.metrics.admission_share.set(pace.share());
    let strained = AtomicU64::new(0);
    while worker.shutdown.sleep_or_shutdown(TURN).await {
        if listed.is_none_or(|at| at.elapsed() >= LIST_EVERY) {
            listed = Some(Instant::now());
            if let Err(error) = worker.list_rooms(&mut rooms).await {
                debug!(%error, "waiting rooms cannot be listed");
            }
            pace.judge(worker.strain(strained.load(Ordering::Relaxed)));
            worker.metrics.admission_share.set(pace.share());
        }
        let looks = rooms.iter_mut().map(|(event, room)| {
            let (worker, store, strained) = (&worker, &store, &strained);
            let places_max = pace.of(room.stored.settings.max_concurrent);
            async move {
                if let Err(error) = worker.see_to(store, *event, room, places_max).await {
                    debug!(%error, event_id = %event, "a waiting room stands still");
                    worker.metrics.admission_errors.inc();
                    // A node that is gone says nothing of the rooms on the others.
                    let partition = worker.engine.keys().partition_of(*event);
                    if !error.is_redis_unavailable() || worker.engine.is_connected(partition) {
                        strained.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        });
        stream::iter(looks).for_each_concurrent(AT_ONCE_MAX, |look| look).await;
    }
}

impl Worker {
    /// The rooms that there is something to do about, as MongoDB has them.
    async fn list_rooms(
        &self,
        rooms: &mut HashMap<EventId, Admission>,
    ) -> Result<(), ArchiveError> {
        let mut found: HashMap<EventId, Option<StoredRoom>> = HashMap::new();
        let mut after = EventId(0);
        loop {
            let page = self.archive.stored_rooms_on(after, PAGE).await?;
            let is_last = page.len() < PAGE as usize;
            for (event, stored) in page {
                after = event;
                if let Err(error) = &stored {
                    warn_repeated!(%error, event_id = %event, "a waiting room cannot be read");
                }
                found.insert(event, stored.ok());
            }
            if is_last || found.len() >= ROOMS_MAX {
                break;
            }
        }
        rooms.retain(|event, _| found.contains_key(event));
        for (event, stored) in found {
            // One that cannot be read goes on as it was known.
            let Some(stored) = stored else { continue };
            match rooms.get_mut(&event) {
                Some(room) => room.stored = stored,
                None => {
                    let written = self.archive.room_floors(event).await?;
                    let now = Instant::now();
                    let floors = written;
                    let room =
                        Admission { stored, floors, written, written_at: now, brought_at: None };
                    rooms.insert(event, room);
                }
            }
        }
        Ok(())
    }

    async fn see_to(
        &self,
        store: &RoomStore,
        event: EventId,
        room: &mut Admission,
        places_max: u32,
    ) -> Result<(), SaleError> {
        let draw = room.stored.draw.as_ref();
        if draw.is_some_and(|draw| draw.fixed.is_none()) && store.hold_draw(event).await? {
            info!(event_id = %event, "the draw took effect");
        }
        let settings = &room.stored.settings;
        let admitted = self.engine.room_admit(event, settings, places_max, room.floors).await?;
        let Some(admitted) = admitted else {
            return self.bring(store, event, room).await;
        };
        room.floors = room.floors.max(admitted.floors);
        self.metrics.places_opened.inc_by(admitted.opened);
        if room.floors != room.written && room.written_at.elapsed() >= FLOORS_EVERY {
            room.written_at = Instant::now();
            self.archive.raise_room_floors(event, room.floors).await?;
            room.written = room.floors;
        }
        Ok(())
    }

    /// A room that is on in MongoDB and not in Redis: lost there, or not there yet.
    async fn bring(
        &self,
        store: &RoomStore,
        event: EventId,
        room: &mut Admission,
    ) -> Result<(), SaleError> {
        if room.brought_at.is_some_and(|at| at.elapsed() < BRING_EVERY) {
            return Ok(());
        }
        room.brought_at = Some(Instant::now());
        store.apply_stored(event, room.floors, false).await.map(drop)
    }

    /// What speaks against letting more people in; so many looks at rooms have failed so far.
    fn strain(&self, strained: u64) -> Strain {
        Strain {
            lag_seconds: self.vitals.lag_seconds(),
            redis_ms: self.dependencies.redis_ms(),
            redis_timeout_ms: self.config.redis_timeout_ms,
            errors: self.metrics.archive_errors.with_label_values(&["store"]).get()
                + self.metrics.worker_retries.get()
                + strained,
            services_answer: {
                let readiness = self.dependencies.readiness();
                readiness.redis.is_ok() && readiness.mongodb.is_ok()
            },
        }
    }
}
