//! Where a tail's entries go: to waiting confirmations, to the views, and to what is being built.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Inner;
use super::slot::Slot;
use super::tail::{LogSubscriber, Lost, Place};
use crate::domain::{Entry, Partition};

/// Brings what one tail reads into the views.
pub(super) struct Listener {
    inner: Arc<Inner>,
    /// Views that were changed by this read: who listens is told once.
    touched: Vec<Arc<Slot>>,
}

impl Listener {
    pub fn new(inner: Arc<Inner>) -> Self {
        Listener { inner, touched: Vec::new() }
    }
}

impl LogSubscriber for Listener {
    fn begins(&mut self, partition: Partition, at: &Place) {
        let mut chain = self.inner.followed(partition).chain();
        (chain.is_followed, chain.read_to) = (true, at.0);
        drop(chain);
        self.inner.wanted.notify_one();
    }

    fn hears(&mut self, partition: Partition, entry: &Entry) {
        let inner = &self.inner;
        inner.settlements.learn(entry);
        inner.expiries.learn(entry);
        let followed = inner.followed(partition);
        // One lock for all: an entry is kept for a building, or in its view, or, while the view is
        // put in place, still to come.
        let mut chain = followed.chain();
        chain.read_to = entry.id;
        if let Some(event) = entry.event {
            if let Some(keeping) = chain.keeping.get_mut(&event) {
                keeping.keep(entry);
            }
            if let Some(slot) = inner.find(event)
                && let Some(view) = slot.view()
            {
                match view.apply(entry, &inner.hashes) {
                    Ok(()) => self.touched.push(slot),
                    Err(ends) => {
                        slot.put(None);
                        inner.observer.view(ends.as_str());
                        inner.wanted.notify_one();
                    }
                }
            }
        }
        drop(chain);
        followed.freshness.note_entry(entry.time_ms);
    }

    fn lost(&mut self, partition: Partition, why: Lost) {
        self.inner.lose(partition, why);
    }

    fn pauses(&mut self) {
        self.touched.dedup_by_key(|slot| slot.event());
        self.touched.drain(..).for_each(|slot| slot.tell());
    }

    fn connected(&mut self, lane: &[Partition], is_connected: bool) {
        for partition in lane {
            self.inner.followed(*partition).chain().is_connected = is_connected;
        }
    }

    fn is_held_up(&self) -> bool {
        self.inner.held_up.load(Ordering::Relaxed)
    }
}
