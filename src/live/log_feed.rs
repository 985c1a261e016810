//! The entries of an event's log as they arrive, for operators who watch. An entry of an event that
//! nobody watches costs one load; a watcher that falls behind by more than [`ENTRIES_KEPT`] misses the
//! oldest and learns how many.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast::{self, error::RecvError};

use crate::domain::{Entry, EventId};

/// Entries kept for watchers of one event.
const ENTRIES_KEPT: usize = 256;

/// The watched events of this process. Cheap to clone.
#[derive(Clone, Default)]
pub struct LogFeed {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    /// How many events are in `events`.
    watched: AtomicUsize,
    events: Mutex<HashMap<EventId, broadcast::Sender<LogItem>>>,
}

/// An item of a watched log.
#[derive(Clone, Debug)]
pub enum LogItem {
    /// An entry.
    Entry(Arc<Entry>),
    /// So many entries were dropped before the watcher read them.
    Skipped(u64),
    /// The log's chain broke: entries may be missing.
    Gap,
}

/// Watches one event's log, from now on.
pub struct LogWatch {
    items: broadcast::Receiver<LogItem>,
}

impl LogFeed {
    /// Passes an entry on to the watchers of its event.
    pub(super) fn on_entry(&self, entry: &Entry) {
        if self.inner.watched.load(Ordering::Relaxed) == 0 {
            return;
        }
        let Some(event) = entry.event else { return };
        let mut events = self.events();
        let Some(sender) = events.get(&event) else { return };
        if sender.send(LogItem::Entry(Arc::new(entry.clone()))).is_err() {
            // The last watcher has left.
            events.remove(&event);
            self.inner.watched.store(events.len(), Ordering::Relaxed);
        }
    }

    /// Tells the watchers of these events that entries may be missing.
    pub(super) fn on_end(&self, is_concerned: impl Fn(EventId) -> bool) {
        for (event, sender) in self.events().iter() {
            if is_concerned(*event) {
                // Without watchers it is removed with the next entry.
                let _ = sender.send(LogItem::Gap);
            }
        }
    }

    /// Starts to watch an event's log.
    pub fn watch(&self, event: EventId) -> LogWatch {
        let mut events = self.events();
        // Events that nobody watches any more, and that had no entry since.
        events.retain(|of, sender| *of == event || sender.receiver_count() > 0);
        let sender = events.entry(event).or_insert_with(|| broadcast::channel(ENTRIES_KEPT).0);
        let items = sender.subscribe();
        self.inner.watched.store(events.len(), Ordering::Relaxed);
        LogWatch { items }
    }

    fn events(&self) -> MutexGuard<'_, HashMap<EventId, broadcast::Sender<LogItem>>> {
        // Nothing under this lock panics half-way through a change.
        self.inner.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LogWatch {
    /// Waits for the next item. Cancel-safe.
    pub async fn next(&mut self) -> LogItem {
        match self.items.recv().await {
            Ok(item) => item,
            Err(RecvError::Lagged(skipped)) => LogItem::Skipped(skipped),
            // The sender stays as long as it has a receiver.
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}
