//! The cache of events and their layouts, read from MongoDB once. Layouts never change. What can
//! change (status, generation) is checked by Redis; a call that Redis refuses for it refreshes the
//! event here.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::event_index::EventIndex;
use crate::archive::{Archive, ArchiveError};
use crate::copy_on_write::CopyOnWriteMap;
use crate::domain::{Event, EventId};

/// Most events in the cache. A layout of a thousand rows takes about 100 KB.
const EVENTS_MAX: usize = 10_000;
/// How long an event's details (what operators can change) are shown from the cache.
const RECENT_FOR: Duration = Duration::from_secs(1);
/// How long an unknown id is cached: guessed ids must not reach MongoDB each time.
const UNKNOWN_FOR: Duration = Duration::from_secs(1);
/// Most unknown ids in the cache.
const UNKNOWN_MAX: usize = 10_000;
/// Concurrent reads of MongoDB; reads of one event run one after another.
const READERS: usize = 16;

/// The cache of events. Cheap to clone.
#[derive(Clone)]
pub(super) struct Catalogue {
    archive: Archive,
    events: Arc<CopyOnWriteMap<EventId, CachedEvent>>,
    /// Ids without an event, and when that was read.
    unknown: Arc<RwLock<HashMap<EventId, Instant>>>,
    index: EventIndex,
    /// Locks that let one caller at a time read an event; by `id % READERS`.
    readers: Arc<[Mutex<()>; READERS]>,
}

#[derive(Clone)]
struct CachedEvent {
    event: Arc<Event>,
    read_at: Instant,
}

impl Catalogue {
    pub(super) fn new(archive: Archive) -> Self {
        let readers = Arc::new(std::array::from_fn(|_| Mutex::default()));
        let index = EventIndex::new(archive.clone());
        Catalogue { archive, events: Arc::default(), unknown: Arc::default(), index, readers }
    }

    /// All events without their layouts.
    pub(super) fn index(&self) -> &EventIndex {
        &self.index
    }

    /// Uses an event without cloning its `Arc`; `None` if it is not in the cache. The closure must not
    /// call back into the catalogue.
    pub(super) fn with<R>(&self, id: EventId, with: impl FnOnce(&Arc<Event>) -> R) -> Option<R> {
        self.events.with(id, |cached| with(&cached.event))
    }

    /// Returns the event, from the cache if it is there.
    pub(super) async fn get(&self, id: EventId) -> Result<Option<Arc<Event>>, ArchiveError> {
        self.at_most(id, None).await
    }

    /// Returns the event with details no older than `RECENT_FOR`; while MongoDB is unavailable, from
    /// the cache.
    pub(super) async fn recent(&self, id: EventId) -> Result<Option<Arc<Event>>, ArchiveError> {
        match self.at_most(id, Some(RECENT_FOR)).await {
            Err(error) => self.at_most(id, None).await.map_err(|_| error),
            found => found,
        }
    }

    /// Returns the event as MongoDB has it now. (A new event may stay unknown for `UNKNOWN_FOR`.)
    pub(super) async fn refresh(&self, id: EventId) -> Result<Option<Arc<Event>>, ArchiveError> {
        self.at_most(id, Some(Duration::ZERO)).await
    }

    /// Returns the event, read at most `age` ago. Callers that miss the same event share one read.
    async fn at_most(
        &self,
        id: EventId,
        age: Option<Duration>,
    ) -> Result<Option<Arc<Event>>, ArchiveError> {
        let called_at = Instant::now();
        if let Some(found) = self.cached(id, called_at, age) {
            return Ok(found);
        }
        let _turn = self.readers[id.0 as usize % READERS].lock().await;
        // Another caller may have read it while this one waited.
        let age = age.map(|age| age.max(called_at.elapsed()));
        if let Some(found) = self.cached(id, Instant::now(), age) {
            return Ok(found);
        }
        let read_at = Instant::now();
        match self.archive.event(id).await? {
            Some(event) => Ok(Some(self.put_as_of(event, read_at))),
            None => {
                self.note_unknown(id);
                Ok(None)
            }
        }
    }

    /// Returns the cached event or `Some(None)` for a cached unknown id; `None`: nothing is cached.
    fn cached(
        &self,
        id: EventId,
        now: Instant,
        age: Option<Duration>,
    ) -> Option<Option<Arc<Event>>> {
        // Events first: a read that began before the event was created may note it as unknown later.
        let Some(cached) = self.events.get(id) else {
            let unknown = read(&self.unknown);
            let is_unknown = unknown.get(&id).is_some_and(|since| since.elapsed() < UNKNOWN_FOR);
            return is_unknown.then_some(None);
        };
        let fresh = age.is_none_or(|age| now.saturating_duration_since(cached.read_at) < age);
        fresh.then_some(Some(cached.event))
    }

    /// Caches an event that this process has just written, and updates the index.
    pub(super) fn put(&self, event: Event) -> Arc<Event> {
        self.put_as_of(event, Instant::now())
    }

    /// Caches an event as MongoDB had it at `read_at` or later, and updates the index. It replaces
    /// neither a newer state nor one that was read later: older builds do not count edits, so that a
    /// read from before this process' own write could look as new.
    fn put_as_of(&self, event: Event, read_at: Instant) -> Arc<Event> {
        let new = CachedEvent { event: Arc::new(event), read_at };
        let id = new.event.id;
        write(&self.unknown).remove(&id);
        self.index.upsert(&new.event);
        self.events.change(|events| {
            if events.len() >= EVENTS_MAX && !events.contains_key(&id) {
                events.clear();
            }
            let cached = events.entry(id).or_insert_with(|| new.clone());
            let order = |one: &CachedEvent| (one.event.stamp(), one.read_at);
            if order(&new) >= order(cached) {
                *cached = new;
            }
            cached.event.clone()
        })
    }

    fn note_unknown(&self, id: EventId) {
        let mut unknown = write(&self.unknown);
        if unknown.len() >= UNKNOWN_MAX {
            unknown.retain(|_, since| since.elapsed() < UNKNOWN_FOR);
        }
        if unknown.len() < UNKNOWN_MAX {
            unknown.insert(id, Instant::now());
        }
    }
}

fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    // A panic under these locks leaves no half-made change.
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
