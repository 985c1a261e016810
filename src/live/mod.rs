//! The live view: what a process learns by following the booking log.
//!
//! ```text
//!  booking log ──► tail (one a lane) ──► settlements: wakes waiting confirmations
//!                     ├──► expiries: tells whose hold has lapsed
//!                     │
//!                     └──► slots ──► views: every seat of an event, at the newest version
//!                            ▲
//!                  building: pages + snapshot + what the tail kept meanwhile
//! ```
//!
//! Promised: a view is whole, and what Redis held at its version ([`fold`], [`building`]); it is
//! called fresh only while its partition's newest entry is young by Redis' own time
//! ([`freshness`]); after a gap or a fork in the log it is gone before the next entry is read
//! ([`tail`]). It grants nothing: from a fresh view one may conclude that a seat was taken at most
//! `staleness` ago, and no more.

mod building;
mod cell;
mod changes;
mod expiries;
mod fold;
mod freshness;
mod hashes;
mod keeper;
mod listener;
mod observer;
mod settlements;
mod slot;
mod tail;
mod view;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use crate::domain::{Entry, EventId, LogId, Partition, UserId};
use crate::lifecycle::Shutdown;
use crate::lifecycle::Supervisor;
use crate::redis::{Engine, Keys, RedisClock};

use building::{Fault, Keeping};
pub use changes::Changes;
pub use expiries::{Expired, Expiries, ExpiryWatch, Notice};
use freshness::Freshness;
use hashes::Hashes;
pub use hashes::Holder;
use listener::Listener;
pub use observer::{LiveObserver, LiveState};
pub use settlements::{Settlements, Waiter};
pub use slot::{InvalidViewVersion, Slot, ViewVersion};
use tail::Lost;
pub use view::{Seat, Snapshot, View};

/// Places by event.
type Slots = HashMap<EventId, Arc<Slot>, foldhash::fast::RandomState>;

/// Pause between looks at a view that is waited for.
const WAIT_STEP: Duration = Duration::from_millis(5);

/// How views are kept.
#[derive(Clone, Debug)]
pub struct LiveSettings {
    /// How old the newest entry of a partition may be for its views to be used.
    pub staleness: Duration,
    /// How long a view that nobody uses stays in memory.
    pub idle: Duration,
    /// Seats of all views together: an event that does not fit is sold without a view.
    pub seats_max: usize,
    /// Entries of a partition's log from which on it beats no more: its views are stale then.
    pub log_entries_max: u64,
}

impl Default for LiveSettings {
    fn default() -> Self {
        LiveSettings {
            staleness: Duration::from_secs(1),
            idle: Duration::from_secs(900),
            seats_max: 10_000_000,
            log_entries_max: 1_000_000,
        }
    }
}

/// All views of a process. Cheap to clone.
#[derive(Clone)]
pub struct Live {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Engine,
    settings: LiveSettings,
    hashes: Hashes,
    settlements: Settlements,
    expiries: Expiries,
    partitions: Vec<Followed>,
    /// Replaced whole when an event comes or goes, so that readers take no lock.
    slots: ArcSwap<Slots>,
    observer: Arc<dyn LiveObserver>,
    /// A view is wanted that is not there.
    wanted: Notify,
    /// An entry is wanted that is not there.
    stale: Notify,
    state: Mutex<LiveState>,
    held_up: AtomicBool,
}

/// What is known of one partition.
struct Followed {
    freshness: Freshness,
    chain: Mutex<Chain>,
}

#[derive(Default)]
struct Chain {
    /// Whether the tail has a place.
    is_followed: bool,
    /// Whether it is connected.
    is_connected: bool,
    /// The newest entry that was handed on.
    read_to: LogId,
    keeping: HashMap<EventId, Keeping>,
}

impl Live {
    /// Views that follow the log from now on, by supervised tasks that end when shutdown is requested.
    /// `settlements` learns from every entry.
    pub fn start(
        engine: Engine,
        settings: LiveSettings,
        settlements: Settlements,
        observer: Arc<dyn LiveObserver>,
        supervisor: &Supervisor,
        shutdown: &Shutdown,
    ) -> Self {
        let partitions = engine.keys().all_partitions();
        let followed = |_| Followed { freshness: Freshness::new(), chain: Mutex::default() };
        let inner = Arc::new(Inner {
            partitions: partitions.map(followed).collect(),
            hashes: Hashes::default(),
            settlements,
            expiries: Expiries::default(),
            slots: ArcSwap::default(),
            observer,
            wanted: Notify::new(),
            stale: Notify::new(),
            state: Mutex::default(),
            held_up: AtomicBool::new(false),
            settings,
            engine: engine.clone(),
        });
        for lane in engine.lanes() {
            let (inner, stop) = (inner.clone(), shutdown.clone());
            supervisor.spawn("live_tail", shutdown, move || {
                let listener = Listener::new(inner.clone());
                tail::follow(inner.engine.clone(), lane.clone(), listener, stop.clone())
            });
        }
        let (kept, stop) = (inner.clone(), shutdown.clone());
        let keep_views = move || keeper::keep_views(kept.clone(), stop.clone());
        supervisor.spawn("live_keeper", shutdown, keep_views);
        let (kept, stop) = (inner.clone(), shutdown.clone());
        let keep_fresh = move || keeper::keep_fresh(kept.clone(), stop.clone());
        supervisor.spawn("live_freshness", shutdown, keep_fresh);
        Live { inner }
    }

    /// The place of an event that the caller knows to exist: from now on its view is wanted.
    pub fn slot(&self, event: EventId) -> Arc<Slot> {
        let slot = self.inner.find(event).unwrap_or_else(|| self.inner.add(event));
        slot.note_used(Instant::now());
        slot
    }

    /// An event's view, if it is whole and fresh; if it is not, it soon will be. The caller knows
    /// the event to exist.
    pub fn fresh(&self, event: EventId) -> Option<Arc<View>> {
        let slot = self.slot(event);
        let Some(view) = slot.view() else {
            self.inner.wanted.notify_one();
            return None;
        };
        // In this order: else the view of before a fork could be called fresh by what was read after.
        (self.is_fresh(&slot, Instant::now()) && slot.has(&view)).then_some(view)
    }

    /// Looks at an event's view, if it is whole and fresh, and at Redis' time, Unix ms, at the most.
    /// As [`Live::fresh`], without becoming an owner of the view: for every request there is.
    pub fn with_fresh<R>(
        &self,
        event: EventId,
        now: Instant,
        look: impl FnOnce(&View, i64) -> R,
    ) -> Option<R> {
        let slots = self.inner.slots.load();
        let Some(slot) = slots.get(&event) else {
            drop(slots);
            self.slot(event);
            return None;
        };
        slot.note_used(now);
        let looked = slot.with_view(|view| {
            let redis_now_ms = self.inner.engine.clock(slot.partition()).at_most_ms(now)?;
            (self.is_fresh(slot, now) && slot.has(view)).then(|| look(view, redis_now_ms))
        });
        if looked.is_none() {
            self.inner.wanted.notify_one();
        }
        looked.flatten()
    }

    /// The same; waits for it at most so long.
    pub async fn fresh_within(&self, event: EventId, bound: Duration) -> Option<Arc<View>> {
        let wait = async {
            loop {
                if let Some(view) = self.fresh(event) {
                    return view;
                }
                tokio::time::sleep(WAIT_STEP).await;
            }
        };
        tokio::time::timeout(bound, wait).await.ok()
    }

    /// Waits until an event's view has come to a version, or is used no more: for whoever made a
    /// change and is about to answer that it is made. Bounded: an entry that is read later than
    /// `staleness` after it was appended finds its view stale, so that Redis decides meanwhile.
    pub async fn has_come_to(&self, event: EventId, generation: u64, version: u64) {
        let Some(slot) = self.inner.find(event) else { return };
        // Without a view the generation is 0.
        let is_there =
            |mark: &ViewVersion| mark.generation != generation || mark.version >= version;
        let mut changes = slot.changes();
        // A view that has not come there in time is stale.
        let _ =
            tokio::time::timeout(self.inner.settings.staleness, changes.wait_for(is_there)).await;
    }

    /// Whether what the tail has read of an event's partition is young enough.
    fn is_fresh(&self, slot: &Slot, now: Instant) -> bool {
        let (inner, partition) = (&self.inner, slot.partition());
        let (clock, staleness) = (inner.engine.clock(partition), inner.settings.staleness);
        let is_fresh = inner.followed(partition).freshness.is_within(staleness, clock, now);
        if !is_fresh {
            inner.stale.notify_one();
        }
        is_fresh
    }

    fn clock(&self, event: EventId) -> &RedisClock {
        self.inner.engine.clock(self.inner.engine.keys().partition_of(event))
    }

    /// Redis' time now, Unix ms, at the most and at the least; `None` before its first answer.
    pub fn redis_now_ms(&self, event: EventId) -> Option<(i64, i64)> {
        let clock = self.clock(event);
        Some((clock.now_at_most_ms()?, clock.now_at_least_ms()?))
    }

    /// A user, as views know it.
    pub fn holder(&self, user: &UserId) -> Holder {
        self.inner.hashes.user(user)
    }

    /// Whether an event's Redis, one of several, is gone: it has no view until that is back.
    pub fn is_out_of_reach(&self, event: EventId) -> bool {
        self.inner.engine.is_node_gone(self.inner.keys().partition_of(event))
    }

    /// Whether the tail has its connections.
    pub fn is_connected(&self) -> bool {
        self.inner.is_connected()
    }

    /// Who watches for holds that lapse.
    pub fn expiries(&self) -> &Expiries {
        &self.inner.expiries
    }

    /// How things are.
    pub fn state(&self) -> LiveState {
        *self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the tails stand still, or go on: for tests.
    #[doc(hidden)]
    pub fn hold_up(&self, held_up: bool) {
        self.inner.held_up.store(held_up, Ordering::Relaxed);
    }
}

impl Inner {
    fn followed(&self, partition: Partition) -> &Followed {
        &self.partitions[usize::from(partition.0)]
    }

    fn keys(&self) -> &Keys {
        self.engine.keys()
    }

    fn chain_of(&self, event: EventId) -> MutexGuard<'_, Chain> {
        self.followed(self.keys().partition_of(event)).chain()
    }

    fn is_connected(&self) -> bool {
        // Of a node that is gone nothing can be read: that is told of Redis, not of the view.
        let engine = &self.engine;
        self.keys().all_partitions().all(|partition| {
            self.followed(partition).chain().is_connected || engine.is_node_gone(partition)
        })
    }

    fn find(&self, event: EventId) -> Option<Arc<Slot>> {
        self.slots.load().get(&event).cloned()
    }

    fn add(&self, event: EventId) -> Arc<Slot> {
        let new = Arc::new(Slot::new(event, self.keys().partition_of(event)));
        self.slots.rcu(|slots| {
            let mut slots = Slots::clone(slots);
            slots.entry(event).or_insert_with(|| new.clone());
            slots
        });
        self.wanted.notify_one();
        self.find(event).unwrap_or(new)
    }

    fn remove(&self, event: EventId) {
        self.slots.rcu(|slots| {
            let mut slots = Slots::clone(slots);
            slots.remove(&event);
            slots
        });
    }

    /// Has the tail keep an event's entries for a building, while that lives.
    fn keep(&self, event: EventId) -> Result<Kept<'_>, Fault> {
        let mut chain = self.chain_of(event);
        if !chain.is_followed {
            return Err(Fault::Lost);
        }
        chain.keeping.insert(event, Keeping::default());
        Ok(Kept { inner: self, event })
    }

    /// Whether the tail has come so far since it began to keep an event's entries.
    fn has_read(&self, event: EventId, at: LogId) -> Result<bool, Fault> {
        let chain = self.chain_of(event);
        let is_void = chain.keeping.get(&event).is_none_or(Keeping::is_void);
        if is_void { Err(Fault::Lost) } else { Ok(chain.read_to >= at) }
    }

    fn take_kept(&self, event: EventId) -> Result<Vec<Entry>, Fault> {
        self.chain_of(event).keeping.get_mut(&event).ok_or(Fault::Lost)?.take()
    }

    /// Puts a view where readers find it, with what the tail kept since it was begun.
    fn install(&self, slot: &Slot, view: View) -> Result<(), Fault> {
        let mut chain = self.chain_of(slot.event());
        let kept = chain.keeping.get_mut(&slot.event()).ok_or(Fault::Lost)?.take()?;
        for entry in &kept {
            view.apply(entry, &self.hashes).map_err(|_| Fault::Reopened)?;
        }
        slot.put(Some(Arc::new(view)));
        Ok(())
    }

    /// Ends all views of a partition, and what is being built of it.
    fn lose(&self, partition: Partition, why: Lost) {
        let followed = self.followed(partition);
        followed.freshness.forget();
        let mut chain = followed.chain();
        chain.is_followed = false;
        chain.keeping.values_mut().for_each(Keeping::void);
        for slot in self.slots.load().values() {
            if slot.partition() == partition && slot.view().is_some() {
                slot.put(None);
                self.observer.view(why.as_str());
            }
        }
        drop(chain);
        self.wanted.notify_one();
    }
}

impl Followed {
    fn chain(&self) -> MutexGuard<'_, Chain> {
        // Where the tail panics half-way through a change, all that it fed is dropped.
        self.chain.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// That the tail keeps an event's entries.
struct Kept<'a> {
    inner: &'a Inner,
    event: EventId,
}

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        self.inner.chain_of(self.event).keeping.remove(&self.event);
    }
}
