//! One event's seat updates, encoded once and shared by all subscribers.
//!
//! The live view advances entry by entry; a channel advances in *ticks*: all changes since the last
//! one, encoded once. A subscriber keeps only the version it was sent last ([`Cursor`]) and requests
//! the next delivery when its connection has room. It gets the tick's bytes if its version lies
//! within the tick, otherwise everything that changed since its version, otherwise a gap and a
//! snapshot. A version within a tick is enough: messages carry the *current* state of seats, so
//! sending some of it twice changes nothing.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus::IntCounter;
use tokio::sync::watch;

use super::message::Message;
use super::update::{EncodeMeter, Update};
use crate::domain::{EventId, EventStatus, SaleTimes};
use crate::http::response_memory::ResponseMemory;
use crate::live::{Changes, Slot, View, ViewVersion};
use crate::telemetry::Metrics;

/// Merged updates kept for other subscribers at the same version.
const MERGED_MAX: usize = 8;

/// Counters of ticks and encodings.
#[derive(Clone)]
pub struct ChannelMetrics {
    ticks: IntCounter,
    tick: EncodeMeter,
    merged: EncodeMeter,
    snapshot: EncodeMeter,
}

impl ChannelMetrics {
    /// Registers the counters.
    pub fn new(memory: &Arc<ResponseMemory>, metrics: &Metrics) -> Self {
        let count = |what| metrics.push_encodes.with_label_values(&[what]);
        let encodes = |what| EncodeMeter { count: count(what), memory: memory.clone() };
        ChannelMetrics {
            ticks: metrics.push_ticks.clone(),
            tick: encodes("tick"),
            merged: encodes("merged"),
            snapshot: encodes("snapshot"),
        }
    }
}

/// One event's channel.
pub struct EventChannel {
    event: EventId,
    slot: Arc<Slot>,
    current: watch::Sender<Option<Arc<Tick>>>,
    /// Number of views published so far.
    epochs: AtomicU64,
    encoded: Mutex<EncodedUpdates>,
    metrics: ChannelMetrics,
}

/// The current state of a channel and the changes since the previous tick.
pub struct Tick {
    view: Arc<View>,
    /// Identifies the view: versions of two views cannot be compared.
    epoch: u64,
    since: u64,
    update: Update,
    sale: SaleState,
    /// The version at which the sale's state was found changed; 0: not in this view.
    sale_version: u64,
}

/// The state of a sale, as operators set it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct SaleState {
    status: EventStatus,
    times: SaleTimes,
}

impl SaleState {
    fn of(view: &View) -> Self {
        let (status, on_sale_at_ms) = view.status();
        let on_sale_at_ms = Some(on_sale_at_ms).filter(|at_ms| *at_ms > 0);
        let off_sale_at_ms = view.off_sale_at_ms();
        SaleState { status, times: SaleTimes { starts_at_ms: None, on_sale_at_ms, off_sale_at_ms } }
    }

    fn message(&self, event: EventId, time_ms: i64, version: ViewVersion) -> Message {
        Message::event_status(event, self.status, &self.times, (time_ms, version))
    }
}

/// A subscriber's position in the update stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    epoch: u64,
    /// The version that the subscriber was sent.
    pub version: ViewVersion,
}

/// What to send to a subscriber next.
pub enum Delivery {
    /// Nothing: the subscriber is up to date.
    Nothing,
    /// The tick itself.
    Tick,
    /// Everything that changed since the subscriber's version.
    Merged(Arc<Update>),
    /// A gap: the changes since the subscriber's version are unknown.
    Gap,
}

#[derive(Default)]
struct EncodedUpdates {
    /// The newest snapshot, with its epoch.
    snapshot: Option<(u64, Arc<Update>)>,
    /// By epoch, the version after which they begin, and that of the last change of the sale.
    merged: VecDeque<([u64; 3], Arc<Update>)>,
}

impl EventChannel {
    /// Publishes the slot's current view, if there is one.
    pub fn new(slot: Arc<Slot>, metrics: ChannelMetrics) -> Self {
        let channel = EventChannel {
            event: slot.event(),
            slot,
            current: watch::channel(None).0,
            epochs: AtomicU64::new(0),
            encoded: Mutex::default(),
            metrics,
        };
        channel.advance();
        channel
    }

    /// The event.
    pub fn event(&self) -> EventId {
        self.event
    }

    /// The event's slot in the live view.
    pub fn slot(&self) -> &Slot {
        &self.slot
    }

    /// Subscribes to ticks: `None` while there is no view.
    pub fn subscribe(&self) -> watch::Receiver<Option<Arc<Tick>>> {
        self.current.subscribe()
    }

    /// The number of subscribers.
    pub fn subscriber_count(&self) -> usize {
        self.current.receiver_count()
    }

    /// Waits until there are no subscribers.
    pub async fn unsubscribed(&self) {
        self.current.closed().await;
    }

    /// Publishes what changed in the view; returns whether anything did. Called by one task only.
    pub fn advance(&self) -> bool {
        let previous = self.current.borrow().clone();
        let tick = match (previous, self.slot.view()) {
            (None, None) => return false,
            // A view that is lost is not published.
            (Some(_), None) => None,
            (Some(tick), Some(view)) if Arc::ptr_eq(&tick.view, &view) => {
                match view.changes_since(tick.version()) {
                    Some(changes)
                        if changes.seats.is_empty() && tick.sale == SaleState::of(&view) =>
                    {
                        return false;
                    }
                    Some(changes) => Some(self.tick(view, &tick, &changes)),
                    // More changes at once than the view keeps.
                    None => Some(self.first_tick(view)),
                }
            }
            (_, Some(view)) => Some(self.first_tick(view)),
        };
        self.current.send_replace(tick.map(Arc::new));
        true
    }

    fn tick(&self, view: Arc<View>, previous: &Tick, changes: &Changes) -> Tick {
        self.metrics.ticks.inc();
        let meter = self.metrics.tick.clone();
        let mut update = Update::from_changes(self.event, view.generation(), changes, meter);
        let (sale, mut sale_version) = (SaleState::of(&view), previous.sale_version);
        if sale != previous.sale {
            sale_version = changes.version;
            let message = sale.message(self.event, changes.time_ms, update.version);
            update = update.with(message);
        }
        Tick { view, epoch: previous.epoch, since: changes.since, update, sale, sale_version }
    }

    /// An empty tick that begins a new epoch; existing subscribers are sent a gap.
    fn first_tick(&self, view: Arc<View>) -> Tick {
        let epoch = self.epochs.fetch_add(1, Ordering::Relaxed);
        let version = ViewVersion { generation: view.generation(), version: view.version() };
        let update = Update::new(version, Vec::new(), self.metrics.tick.clone());
        let sale = SaleState::of(&view);
        // Who resumes from an earlier version of this view has not heard of it.
        let sale_version = view.status_version();
        Tick { view, epoch, since: version.version, update, sale, sale_version }
    }

    /// What to send to a subscriber at this cursor.
    pub fn next(&self, tick: &Tick, cursor: Cursor) -> Delivery {
        let version = cursor.version.version;
        if cursor.epoch != tick.epoch {
            Delivery::Gap
        } else if version >= tick.version() {
            Delivery::Nothing
        } else if version >= tick.since {
            Delivery::Tick
        } else {
            self.merged(tick, version).map_or(Delivery::Gap, Delivery::Merged)
        }
    }

    /// Everything that changed after a version, up to a version within this tick or later.
    fn merged(&self, tick: &Tick, since: u64) -> Option<Arc<Update>> {
        let mut encoded = self.encoded();
        let key = [tick.epoch, since, tick.sale_version];
        let existing = encoded
            .merged
            .iter()
            .find(|(known, update)| *known == key && update.version.version >= tick.since);
        if let Some((_, update)) = existing {
            return Some(update.clone());
        }
        let changes = tick.view.changes_since(since)?;
        let meter = self.metrics.merged.clone();
        let mut update = Update::from_changes(self.event, tick.view.generation(), &changes, meter);
        if since < tick.sale_version {
            let message = tick.sale.message(self.event, changes.time_ms, update.version);
            update = update.with(message);
        }
        let update = Arc::new(update);
        if encoded.merged.len() == MERGED_MAX {
            encoded.merged.pop_front();
        }
        encoded.merged.push_back((key, update.clone()));
        Some(update)
    }

    /// All seats, at a version within this tick or later.
    pub fn snapshot(&self, tick: &Tick) -> Arc<Update> {
        let mut encoded = self.encoded();
        if let Some((epoch, update)) = &encoded.snapshot
            && *epoch == tick.epoch
            && update.version.version >= tick.since
        {
            return update.clone();
        }
        let snapshot = tick.view.snapshot();
        let version = ViewVersion { generation: snapshot.generation, version: snapshot.version };
        let message = Message::snapshot(self.event, version, &snapshot.inventory);
        let meter = self.metrics.snapshot.clone();
        let update = Arc::new(Update::new(version, vec![message], meter));
        encoded.snapshot = Some((tick.epoch, update.clone()));
        update
    }

    fn encoded(&self) -> MutexGuard<'_, EncodedUpdates> {
        // Nothing under this lock panics half-way through a change.
        self.encoded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tick {
    /// The version that a subscriber has once it received this tick.
    pub fn view_version(&self) -> ViewVersion {
        self.update.version
    }

    /// The messages of this tick.
    pub fn update(&self) -> &Update {
        &self.update
    }

    /// The cursor of a subscriber that has this version of the current view.
    pub fn cursor(&self, version: ViewVersion) -> Cursor {
        Cursor { epoch: self.epoch, version }
    }

    /// The cursor of a client that received this version on an earlier connection; `None` if the
    /// changes since then are unknown.
    pub fn resume(&self, version: ViewVersion) -> Option<Cursor> {
        let is_known = version.generation == self.view.generation()
            && self.view.changes_since(version.version).is_some();
        is_known.then(|| self.cursor(version))
    }

    fn version(&self) -> u64 {
        self.update.version.version
    }
}
