//! What the live view's tasks and its callers share.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::LiveSettings;
use super::activity::Activity;
use super::entry_buffer::{BuildError, EntryBuffer};
use super::expiries::Expiries;
use super::freshness::Freshness;
use super::hashes::Hashes;
use super::log_feed::LogFeed;
use super::observer::{LiveObserver, LiveState};
use super::settlements::Settlements;
use super::slot::Slot;
use super::tail::ChainEnd;
use super::view::View;
use crate::copy_on_write::CopyOnWriteMap;
use crate::domain::activity::REFUSALS;
use crate::domain::{Entry, EventId, LogId, Partition};
use crate::redis::{Engine, Keys};
use crate::telemetry::striped::StripedCounts;

pub(super) struct Inner {
    pub engine: Engine,
    pub settings: LiveSettings,
    pub hashes: Hashes,
    pub settlements: Settlements,
    pub expiries: Expiries,
    pub activity: Activity,
    pub log_feed: LogFeed,
    /// Refused requests whose event has no slot, or is not known.
    pub refusals: StripedCounts<REFUSALS>,
    pub tails: Vec<PartitionTail>,
    pub slots: CopyOnWriteMap<EventId, Arc<Slot>>,
    pub observer: Arc<dyn LiveObserver>,
    /// A missing view is requested.
    pub build_requested: Notify,
    /// A request met a stale view.
    pub stale: Notify,
    pub state: Mutex<LiveState>,
    pub is_paused: AtomicBool,
}

/// The tail of one partition.
pub(super) struct PartitionTail {
    pub freshness: Freshness,
    state: Mutex<TailState>,
}

#[derive(Default)]
pub(super) struct TailState {
    /// Whether the tail has a position.
    pub is_followed: bool,
    /// Whether it is connected.
    pub is_connected: bool,
    /// The newest entry that was delivered.
    pub read_to: LogId,
    /// By the event whose view is built.
    pub buffers: HashMap<EventId, EntryBuffer>,
}

impl Inner {
    pub fn tail(&self, partition: Partition) -> &PartitionTail {
        &self.tails[usize::from(partition.0)]
    }

    pub fn keys(&self) -> &Keys {
        self.engine.keys()
    }

    fn tail_state(&self, event: EventId) -> MutexGuard<'_, TailState> {
        self.tail(self.keys().partition_of(event)).state()
    }

    pub fn is_connected(&self) -> bool {
        // A node that is gone is reported as a dependency, not by the live view.
        let engine = &self.engine;
        self.keys().all_partitions().all(|partition| {
            self.tail(partition).state().is_connected || engine.is_node_gone(partition)
        })
    }

    pub fn find(&self, event: EventId) -> Option<Arc<Slot>> {
        self.slots.get(event)
    }

    pub fn add(&self, event: EventId) -> Arc<Slot> {
        let slot = self.slots.change(|slots| {
            let new = || Arc::new(Slot::new(event, self.keys().partition_of(event)));
            slots.entry(event).or_insert_with(new).clone()
        });
        self.build_requested.notify_one();
        slot
    }

    pub fn remove(&self, event: EventId) {
        self.slots.change(|slots| slots.remove(&event));
    }

    /// Buffers an event's entries for a build, until the guard is dropped.
    pub fn start_buffer(&self, event: EventId) -> Result<BufferGuard<'_>, BuildError> {
        let mut state = self.tail_state(event);
        if !state.is_followed {
            return Err(BuildError::TailLost);
        }
        state.buffers.insert(event, EntryBuffer::default());
        Ok(BufferGuard { inner: self, event })
    }

    /// Whether the tail has reached a position since the buffer was started.
    pub fn has_read(&self, event: EventId, at: LogId) -> Result<bool, BuildError> {
        let state = self.tail_state(event);
        let is_void = state.buffers.get(&event).is_none_or(EntryBuffer::is_void);
        if is_void { Err(BuildError::TailLost) } else { Ok(state.read_to >= at) }
    }

    pub fn take_buffered(&self, event: EventId) -> Result<Vec<Entry>, BuildError> {
        self.tail_state(event).buffers.get_mut(&event).ok_or(BuildError::TailLost)?.take()
    }

    /// Applies the entries buffered since they were last taken, and publishes the view.
    pub fn install(&self, slot: &Slot, view: View) -> Result<(), BuildError> {
        let mut state = self.tail_state(slot.event());
        let buffer = state.buffers.get_mut(&slot.event()).ok_or(BuildError::TailLost)?;
        for entry in &buffer.take()? {
            view.apply(entry, &self.hashes).map_err(|_| BuildError::Reopened)?;
        }
        slot.set_view(Some(Arc::new(view)));
        Ok(())
    }

    /// Drops all views of a partition, and makes its builds fail.
    pub fn drop_views(&self, partition: Partition, why: ChainEnd) {
        let tail = self.tail(partition);
        tail.freshness.forget();
        let mut state = tail.state();
        state.is_followed = false;
        state.buffers.values_mut().for_each(EntryBuffer::invalidate);
        for slot in self.slots.load().values() {
            if slot.partition() == partition && slot.view().is_some() {
                slot.set_view(None);
                self.observer.view(why.as_str());
            }
        }
        drop(state);
        self.build_requested.notify_one();
    }
}

impl PartitionTail {
    pub fn new() -> Self {
        PartitionTail { freshness: Freshness::new(), state: Mutex::default() }
    }

    pub fn state(&self) -> MutexGuard<'_, TailState> {
        // If the tail panics half-way through a change, everything that it fed is dropped.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Stops buffering an event's entries when dropped.
pub(super) struct BufferGuard<'a> {
    inner: &'a Inner,
    event: EventId,
}

impl Drop for BufferGuard<'_> {
    fn drop(&mut self) {
        self.inner.tail_state(self.event).buffers.remove(&self.event);
    }
}
