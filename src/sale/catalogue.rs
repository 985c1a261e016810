//! The catalogue in memory: events and their layouts, read from MongoDB once. Layouts never
//! change; what can change (status, generation) is judged by Redis, and a call that Redis
//! refuses for it refreshes the event here.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use crate::archive::{Archive, ArchiveError};
use crate::domain::{Event, EventId};

/// Events kept in memory. A layout of a thousand rows takes about 100 KB.
const EVENTS_MAX: usize = 10_000;
/// How long an unknown id is answered from memory: guessing ids must not reach MongoDB each time.
const UNKNOWN_FOR: Duration = Duration::from_secs(1);
/// Unknown ids kept in memory.
const UNKNOWN_MAX: usize = 10_000;

/// Events in memory. Cheap to clone.
#[derive(Clone)]
pub(super) struct Catalogue {
    archive: Archive,
    known: Arc<RwLock<HashMap<EventId, Arc<Event>>>>,
    unknown: Arc<RwLock<HashMap<EventId, Instant>>>,
}

impl Catalogue {
    pub(super) fn new(archive: Archive) -> Self {
        Catalogue { archive, known: Arc::default(), unknown: Arc::default() }
    }

    /// The event, from memory where it is there.
    pub(super) async fn get(&self, id: EventId) -> Result<Option<Arc<Event>>, ArchiveError> {
        if let Some(event) = read(&self.known).get(&id) {
            return Ok(Some(event.clone()));
        }
        self.refresh(id).await
    }

    /// The event as MongoDB has it now. (An unknown one may be unknown for a second longer.)
    pub(super) async fn refresh(&self, id: EventId) -> Result<Option<Arc<Event>>, ArchiveError> {
        if read(&self.unknown).get(&id).is_some_and(|since| since.elapsed() < UNKNOWN_FOR) {
            return Ok(None);
        }
        match self.archive.event(id).await? {
            Some(event) => Ok(Some(self.put(event))),
            None => {
                let mut unknown = write(&self.unknown);
                if unknown.len() >= UNKNOWN_MAX {
                    unknown.clear();
                }
                unknown.insert(id, Instant::now());
                Ok(None)
            }
        }
    }

    /// Keeps an event that was just read or written. An older revision or generation than the
    /// one in memory (a read that was overtaken) does not replace it.
    pub(super) fn put(&self, event: Event) -> Arc<Event> {
        let event = Arc::new(event);
        write(&self.unknown).remove(&event.id);
        let mut known = write(&self.known);
        if known.len() >= EVENTS_MAX && !known.contains_key(&event.id) {
            known.clear();
        }
        let kept = known.entry(event.id).or_insert_with(|| event.clone());
        if (event.generation, event.revision) >= (kept.generation, kept.revision) {
            *kept = event;
        }
        kept.clone()
    }
}

fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    // Nothing under these locks panics half-way through a change.
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
