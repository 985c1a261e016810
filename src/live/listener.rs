//! Distributes the entries that a tail reads: to waiting confirmations, watched holds, views and views
//! under construction.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::inner::Inner;
use super::slot::Slot;
use super::tail::{ChainEnd, LogPosition, LogSubscriber};
use crate::domain::{Entry, Partition};

/// Applies what one tail reads to the views.
pub(super) struct Listener {
    inner: Arc<Inner>,
    /// Slots whose views changed in this read; each is notified once.
    changed: Vec<Arc<Slot>>,
}

impl Listener {
    pub fn new(inner: Arc<Inner>) -> Self {
        Listener { inner, changed: Vec::new() }
    }
}

impl LogSubscriber for Listener {
    fn on_start(&mut self, partition: Partition, at: &LogPosition) {
        let mut state = self.inner.tail(partition).state();
        (state.is_followed, state.read_to) = (true, at.0);
        drop(state);
        self.inner.build_requested.notify_one();
    }

    fn on_entry(&mut self, partition: Partition, entry: &Entry) {
        let inner = &self.inner;
        inner.settlements.on_entry(entry);
        inner.expiries.on_entry(entry);
        inner.activity.on_entry(entry);
        let tail = inner.tail(partition);
        // One lock for all: an entry is in a build's buffer, or in its view, or still to come while the
        // view is installed.
        let mut state = tail.state();
        state.read_to = entry.id;
        if let Some(event) = entry.event {
            if let Some(buffer) = state.buffers.get_mut(&event) {
                buffer.push(entry);
            }
            if let Some(slot) = inner.find(event)
                && let Some(view) = slot.view()
            {
                match view.apply(entry, &inner.hashes) {
                    Ok(()) => self.changed.push(slot),
                    Err(end) => {
                        slot.set_view(None);
                        inner.observer.view(end.as_str());
                        inner.build_requested.notify_one();
                    }
                }
            }
        }
        drop(state);
        // Last: a watcher may then read what the entry brought.
        inner.log_feed.on_entry(entry);
        tail.freshness.note_entry(entry.time_ms);
    }

    fn on_end(&mut self, partition: Partition, why: ChainEnd) {
        self.inner.drop_views(partition, why);
        let keys = self.inner.keys();
        self.inner.log_feed.on_end(|event| keys.partition_of(event) == partition);
    }

    fn on_read_end(&mut self) {
        self.changed.dedup_by_key(|slot| slot.event());
        self.changed.drain(..).for_each(|slot| slot.notify());
    }

    fn on_connection(&mut self, lane: &[Partition], is_connected: bool) {
        for partition in lane {
            self.inner.tail(*partition).state().is_connected = is_connected;
        }
    }

    fn is_paused(&self) -> bool {
        self.inner.is_paused.load(Ordering::Relaxed)
    }
}
