//! The catalogue in memory: events and their layouts, read from MongoDB once. Layouts never
//! change; what can change (status, generation) is judged by Redis, and a call that Redis
//! refuses for it refreshes the event here.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::event_index::EventIndex;
use crate::archive::{Archive, ArchiveError};
use crate::copy_on_write::CopyOnWriteMap;
use crate::domain::{Event, EventId};

/// Events kept in memory. A layout of a thousand rows takes about 100 KB.
const EVENTS_MAX: usize = 10_000;
/// How long an event's details (what operators may change) are shown from memory.
const RECENT_FOR: Duration = Duration::from_secs(1);
/// How long an unknown id is answered from memory: guessing ids must not reach MongoDB each time.
const UNKNOWN_FOR: Duration = Duration::from_secs(1);
/// Unknown ids kept in memory.
const UNKNOWN_MAX: usize = 10_000;
/// Reads of MongoDB at once; those of one event come one after another.
const READERS: usize = 16;

/// Events in memory. Cheap to clone.
#[derive(Clone)]
pub(super) struct Catalogue {
    archive: Archive,
    known: Arc<CopyOnWriteMap<EventId, Known>>,
    unknown: Arc<RwLock<HashMap<EventId, Instant>>>,
    index: EventIndex,
    reading: Arc<[Mutex<()>; READERS]>,
}

#[derive(Clone)]
struct Known {
    event: Arc<Event>,
    read_at: Instant,
}

impl Catalogue {
    pub(super) fn new(archive: Archive) -> Self {
        let reading = Arc::new(std::array::from_fn(|_| Mutex::default()));
        let index = EventIndex::new(archive.clone());
        Catalogue { archive, known: Arc::default(), unknown: Arc::default(), index, reading }
    }

    /// All events without their layouts.
    pub(super) fn index(&self) -> &EventIndex {
        &self.index
    }

    /// Looks at an event, if it is in memory.
    pub(super) fn with<R>(&self, id: EventId, look: impl FnOnce(&Arc<Event>) -> R) -> Option<R> {
        self.known.with(id, |known| look(&known.event))
    }

    /// The event, from memory where it is there.
    pub(super) async fn get(&self, id: EventId) -> Result<Option<Arc<Event>>, ArchiveError> {
        self.at_most(id, None).await
    }

    /// The event with details no older than `RECENT_FOR`, or from memory while MongoDB is away.
    pub(super) async fn recent(&self, id: EventId) -> Result<Option<Arc<Event>>, ArchiveError> {
        match self.at_most(id, Some(RECENT_FOR)).await {
            Err(error) => self.at_most(id, None).await.map_err(|_| error),
            found => found,
        }
    }

    /// The event as MongoDB has it now. (An unknown one may be unknown for a second longer.)
    pub(super) async fn refresh(&self, id: EventId) -> Result<Option<Arc<Event>>, ArchiveError> {
        self.at_most(id, Some(Duration::ZERO)).await
    }

    /// The event, read at most `age` ago. Callers that miss the same event share one read.
    async fn at_most(
        &self,
        id: EventId,
        age: Option<Duration>,
    ) -> Result<Option<Arc<Event>>, ArchiveError> {
        let asked_at = Instant::now();
        if let Some(found) = self.in_memory(id, asked_at, age) {
            return Ok(found);
        }
        let _turn = self.reading[id.0 as usize % READERS].lock().await;
        // Read by somebody else since we asked?
        let waited = age.map(|age| age.max(asked_at.elapsed()));
        if let Some(found) = self.in_memory(id, Instant::now(), waited) {
            return Ok(found);
        }
        let begun = Instant::now();
        match self.archive.event(id).await? {
            Some(event) => Ok(Some(self.put_as_of(event, begun))),
            None => {
                self.note_unknown(id);
                Ok(None)
            }
        }
    }

    /// What memory says: the event, that there is none, or (`None`) nothing.
    fn in_memory(
        &self,
        id: EventId,
        now: Instant,
        age: Option<Duration>,
    ) -> Option<Option<Arc<Event>>> {
        // First what is known: a read that began before the event was created may say later that
        // there is none.
        let Some(known) = self.known.get(id) else {
            let unknown = read(&self.unknown);
            let is_unknown = unknown.get(&id).is_some_and(|since| since.elapsed() < UNKNOWN_FOR);
            return is_unknown.then_some(None);
        };
        let fresh = age.is_none_or(|age| now.saturating_duration_since(known.read_at) < age);
        fresh.then_some(Some(known.event))
    }

    /// Keeps an event that this process has just written, as it is after that, and lists it so.
    pub(super) fn put(&self, event: Event) -> Arc<Event> {
        self.put_as_of(event, Instant::now())
    }

    /// Keeps an event as MongoDB had it at `read_at` or later, and lists it so. An older state than
    /// the one in memory does not replace it, nor does what was read before this process wrote it:
    /// older builds do not count edits.
    fn put_as_of(&self, event: Event, read_at: Instant) -> Arc<Event> {
        let fresh = Known { event: Arc::new(event), read_at };
        let id = fresh.event.id;
        write(&self.unknown).remove(&id);
        self.index.upsert(&fresh.event);
        self.known.change(|known| {
            if known.len() >= EVENTS_MAX && !known.contains_key(&id) {
                known.clear();
            }
            let kept = known.entry(id).or_insert_with(|| fresh.clone());
            let age = |known: &Known| (known.event.stamp(), known.read_at);
            if age(&fresh) >= age(kept) {
                *kept = fresh;
            }
            kept.event.clone()
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
    // Nothing under these locks panics half-way through a change.
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
