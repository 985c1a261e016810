//! The live view: the state of events in this process, from following the booking log.
//!
//! ```text
//!  booking log ──► tail (one per lane) ──► settlements: wakes waiting confirmations
//!                     ├──► expiries: notifies users of expired holds
//!                     │
//!                     └──► slots ──► views: every seat of an event, at the newest version
//!                            ▲
//!                  building: pages + snapshot + the entries buffered meanwhile
//! ```
//!
//! Guarantees: a view is complete, and equals what Redis held at its version ([`fold`], [`building`]); it
//! counts as fresh only while its partition's newest entry is young by Redis' own clock ([`freshness`]);
//! after a gap or a fork in the log it is dropped before the next entry is read ([`tail`]). It grants
//! nothing: a fresh view shows only that a seat was taken at most `staleness` ago.

mod activity;
mod building;
mod changes;
mod entry_buffer;
mod expiries;
mod fold;
mod freshness;
mod hashes;
mod inner;
mod keeper;
mod listener;
mod log_feed;
mod observer;
mod seat_cell;
mod settlements;
mod slot;
mod tail;
mod view;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::copy_on_write::CopyOnWriteMap;
use crate::domain::activity::{REFUSALS, Refusal};
use crate::domain::{EventId, UserId};
use crate::lifecycle::{Shutdown, Supervisor};
use crate::redis::{Engine, RedisClock};
use crate::telemetry::striped::StripedCounts;

pub use activity::{Activity, ChangeCounts, SeatDemand};
pub use changes::Changes;
#[cfg(test)]
pub(crate) use expiries::tests::expired as expired_entry;
pub use expiries::{Expired, Expiries, ExpiryWatch, NOTICES_MAX, Notice};
use hashes::Hashes;
pub use hashes::Holder;
use inner::{Inner, PartitionTail};
use listener::Listener;
pub use log_feed::{LogFeed, LogItem, LogWatch};
pub use observer::{LiveObserver, LiveState};
pub use settlements::{Settled, Settlements, Waiter};
pub use slot::{InvalidViewVersion, Slot, ViewVersion};
pub use view::{Seat, Snapshot, View};

/// Interval of the checks of [`Live::fresh_within`].
const WAIT_STEP: Duration = Duration::from_millis(5);

/// The bounds of the live view.
#[derive(Clone, Debug)]
pub struct LiveSettings {
    /// How old the newest entry of a partition may be for its views to be used.
    pub staleness: Duration,
    /// How long an unused view stays in memory.
    pub idle: Duration,
    /// Seats of all views together: an event that does not fit is sold without a view.
    pub seats_max: usize,
    /// Entries of a partition's log from which on it gets no beats: its views become stale.
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

impl Live {
    /// Starts to follow the log, by supervised tasks that end when shutdown is requested. `settlements`
    /// gets every entry.
    pub fn start(
        engine: Engine,
        settings: LiveSettings,
        settlements: Settlements,
        observer: Arc<dyn LiveObserver>,
        supervisor: &Supervisor,
        shutdown: &Shutdown,
    ) -> Self {
        let partitions = engine.keys().all_partitions();
        let inner = Arc::new(Inner {
            tails: partitions.map(|_| PartitionTail::new()).collect(),
            hashes: Hashes::default(),
            settlements,
            expiries: Expiries::default(),
            activity: Activity::default(),
            log_feed: LogFeed::default(),
            refusals: StripedCounts::default(),
            slots: CopyOnWriteMap::default(),
            observer,
            build_requested: Notify::new(),
            stale: Notify::new(),
            state: Mutex::default(),
            is_paused: AtomicBool::new(false),
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
        let (keeper_inner, stop) = (inner.clone(), shutdown.clone());
        let keep_views = move || keeper::keep_views(keeper_inner.clone(), stop.clone());
        supervisor.spawn("live_keeper", shutdown, keep_views);
        let (keeper_inner, stop) = (inner.clone(), shutdown.clone());
        let keep_fresh = move || keeper::keep_fresh(keeper_inner.clone(), stop.clone());
        supervisor.spawn("live_freshness", shutdown, keep_fresh);
        Live { inner }
    }

    /// An event's slot; requests its view. The caller makes sure that the event exists.
    pub fn slot(&self, event: EventId) -> Arc<Slot> {
        let slot = self.inner.find(event).unwrap_or_else(|| self.inner.add(event));
        slot.note_used(Instant::now());
        slot
    }

    /// An event's view if it is complete and fresh; otherwise requests it. The caller makes sure that the
    /// event exists.
    pub fn fresh(&self, event: EventId) -> Option<Arc<View>> {
        let slot = self.slot(event);
        let Some(view) = slot.view() else {
            self.inner.build_requested.notify_one();
            return None;
        };
        // In this order: otherwise an entry read after a fork could make the view before it count as fresh.
        (self.is_fresh(&slot, Instant::now()) && slot.is_current(&view)).then_some(view)
    }

    /// An event's view as far as the log was read, fresh or not, while the tails are connected. No use of
    /// it: it neither requests a view nor keeps one in memory.
    pub fn existing(&self, event: EventId) -> Option<Arc<View>> {
        if !self.is_connected() || self.is_out_of_reach(event) {
            return None;
        }
        self.inner.find(event)?.view()
    }

    /// Calls `read` with an event's slot, its view if that is complete and fresh, and the upper bound of
    /// Redis' time, Unix ms. As [`Live::fresh`], without cloning the view's `Arc`.
    pub fn with_fresh<R>(
        &self,
        event: EventId,
        now: Instant,
        read: impl FnOnce(&Slot, &View, i64) -> R,
    ) -> Option<R> {
        let slots = self.inner.slots.load();
        let Some(slot) = slots.get(&event) else {
            drop(slots);
            self.slot(event);
            return None;
        };
        slot.note_used(now);
        let result = slot.with_view(|view| {
            let redis_now_ms = self.inner.engine.clock(slot.partition()).at_most_ms(now)?;
            (self.is_fresh(slot, now) && slot.is_current(view))
                .then(|| read(slot, view, redis_now_ms))
        });
        if result.is_none() {
            self.inner.build_requested.notify_one();
        }
        result.flatten()
    }

    /// As [`Live::fresh`]; waits at most `bound` for the view.
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

    /// Waits until an event's view has reached a version, or is gone: for callers that changed the event
    /// and are about to report it. Bounded: if the entry is read later than `staleness` after it was
    /// appended, the view is stale, and Redis decides in the meantime.
    pub async fn wait_for_version(&self, event: EventId, generation: u64, version: u64) {
        let Some(slot) = self.inner.find(event) else { return };
        // Without a view the generation is 0.
        let is_reached =
            |seen: &ViewVersion| seen.generation != generation || seen.version >= version;
        let mut changes = slot.changes();
        // A view that has not reached it in time is stale.
        let _ =
            tokio::time::timeout(self.inner.settings.staleness, changes.wait_for(is_reached)).await;
    }

    /// Whether the newest entry of an event's partition is young enough.
    fn is_fresh(&self, slot: &Slot, now: Instant) -> bool {
        let (inner, partition) = (&self.inner, slot.partition());
        let (clock, staleness) = (inner.engine.clock(partition), inner.settings.staleness);
        let is_fresh = inner.tail(partition).freshness.is_within(staleness, clock, now);
        if !is_fresh {
            inner.stale.notify_one();
        }
        is_fresh
    }

    fn clock(&self, event: EventId) -> &RedisClock {
        self.inner.engine.clock(self.inner.engine.keys().partition_of(event))
    }

    /// The upper and lower bound of Redis' time now, Unix ms; `None` before its first reply.
    pub fn redis_now_ms(&self, event: EventId) -> Option<(i64, i64)> {
        let clock = self.clock(event);
        Some((clock.now_at_most_ms()?, clock.now_at_least_ms()?))
    }

    /// A user's hash in the views.
    pub fn holder(&self, user: &UserId) -> Holder {
        self.inner.hashes.user(user)
    }

    /// Whether the event's Redis node, one of several, is gone: there is no view until it is back.
    pub fn is_out_of_reach(&self, event: EventId) -> bool {
        self.inner.engine.is_node_gone(self.inner.keys().partition_of(event))
    }

    /// Whether the tails are connected.
    pub fn is_connected(&self) -> bool {
        self.inner.is_connected()
    }

    /// The watches for expired holds.
    pub fn expiries(&self) -> &Expiries {
        &self.inner.expiries
    }

    /// Changes of events, counted for operators.
    pub fn activity(&self) -> &Activity {
        &self.inner.activity
    }

    /// The logs of events, for operators who watch.
    pub fn log_feed(&self) -> &LogFeed {
        &self.inner.log_feed
    }

    /// Counts a refused request; without an event if that has no slot, or is not known.
    pub fn note_refusal(&self, event: Option<EventId>, refusal: Refusal) {
        let counted =
            event.and_then(|event| self.inner.slots.with(event, |slot| slot.note_refusal(refusal)));
        if counted.is_none() {
            self.inner.refusals.inc(refusal as usize);
        }
    }

    /// How many requests this process refused: without an event, then by event. A slot that is dropped
    /// and made again begins at zero.
    pub fn refusals(&self) -> Vec<(Option<EventId>, [u64; REFUSALS])> {
        let slots = self.inner.slots.load();
        let by_event = slots.values().map(|slot| (Some(slot.event()), slot.refusals()));
        std::iter::once((None, self.inner.refusals.sums())).chain(by_event).collect()
    }

    /// A snapshot of the live view's state.
    pub fn state(&self) -> LiveState {
        *self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Pauses or resumes the tails, for tests.
    #[doc(hidden)]
    pub fn pause_tails(&self, is_paused: bool) {
        self.inner.is_paused.store(is_paused, Ordering::Relaxed);
    }
}
