//! One event's slot in the live view: it stays while its view is lost and rebuilt.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use tokio::sync::watch;

use super::view::View;
use crate::domain::activity::{REFUSALS, Refusal};
use crate::domain::{EventId, Partition};
use crate::telemetry::striped::StripedCounts;

/// Resolution of the time of last use, ms.
const USED_STEP_MS: u64 = 100;

/// A version of a view, or of no view.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ViewVersion {
    /// The generation; 0 while there is no view.
    pub generation: u64,
    /// The version.
    pub version: u64,
}

/// The form that clients see: `generation-version`.
impl fmt::Display for ViewVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.generation, self.version)
    }
}

/// The error of parsing a [`ViewVersion`].
#[derive(Debug, PartialEq, Eq)]
pub struct InvalidViewVersion;

impl FromStr for ViewVersion {
    type Err = InvalidViewVersion;
    fn from_str(text: &str) -> Result<Self, InvalidViewVersion> {
        let number = |text: &str| text.parse().map_err(|_| InvalidViewVersion);
        let (generation, version) = text.split_once('-').ok_or(InvalidViewVersion)?;
        Ok(ViewVersion { generation: number(generation)?, version: number(version)? })
    }
}

/// One event's slot.
pub struct Slot {
    event: EventId,
    partition: Partition,
    origin: Instant,
    view: ArcSwapOption<View>,
    changes: watch::Sender<ViewVersion>,
    used_at_ms: AtomicU64,
    was_lost: AtomicBool,
    refusals: StripedCounts<REFUSALS>,
}

impl Slot {
    pub(super) fn new(event: EventId, partition: Partition) -> Self {
        Slot {
            event,
            partition,
            origin: Instant::now(),
            view: ArcSwapOption::empty(),
            changes: watch::channel(ViewVersion::default()).0,
            used_at_ms: AtomicU64::new(0),
            was_lost: AtomicBool::new(false),
            refusals: StripedCounts::default(),
        }
    }

    /// The event.
    pub fn event(&self) -> EventId {
        self.event
    }

    /// The event's partition.
    pub(super) fn partition(&self) -> Partition {
        self.partition
    }

    /// The view, fresh or stale; `None` while it is being built.
    pub fn view(&self) -> Option<Arc<View>> {
        self.view.load_full()
    }

    /// Whether this is still the current view.
    pub(super) fn is_current(&self, view: &View) -> bool {
        self.view.load().as_ref().is_some_and(|now| std::ptr::eq(Arc::as_ptr(now), view))
    }

    /// Signals every change: entries applied, a view lost or built. A receiver keeps the view in memory.
    pub fn changes(&self) -> watch::Receiver<ViewVersion> {
        self.changes.subscribe()
    }

    pub(super) fn set_view(&self, view: Option<Arc<View>>) {
        if view.is_none() {
            self.was_lost.store(true, Ordering::Relaxed);
        }
        self.view.store(view);
        self.notify();
    }

    /// Whether there was a view before.
    pub(super) fn was_lost(&self) -> bool {
        self.was_lost.load(Ordering::Relaxed)
    }

    /// Signals the view's current version.
    pub(super) fn notify(&self) {
        let version = self.view.load().as_ref().map_or_else(ViewVersion::default, |view| {
            ViewVersion { generation: view.generation(), version: view.version() }
        });
        self.changes.send_if_modified(|last| std::mem::replace(last, version) != version);
    }

    /// Calls `read` with the view, fresh or stale, without cloning its `Arc`.
    pub(super) fn with_view<R>(&self, read: impl FnOnce(&View) -> R) -> Option<R> {
        self.view.load().as_deref().map(read)
    }

    /// Counts a refused request.
    pub fn note_refusal(&self, refusal: Refusal) {
        self.refusals.inc(refusal as usize);
    }

    /// How many requests this process refused.
    pub(super) fn refusals(&self) -> [u64; REFUSALS] {
        self.refusals.sums()
    }

    pub(super) fn note_used(&self, now: Instant) {
        let now_ms = self.at_ms(now);
        if self.used_at_ms.load(Ordering::Relaxed) + USED_STEP_MS < now_ms {
            self.used_at_ms.store(now_ms, Ordering::Relaxed);
        }
    }

    /// The time since the last use; zero while there are receivers of changes.
    pub(super) fn unused_for(&self) -> Duration {
        if self.changes.receiver_count() > 0 {
            return Duration::ZERO;
        }
        let used_at_ms = self.used_at_ms.load(Ordering::Relaxed);
        Duration::from_millis(self.at_ms(Instant::now()).saturating_sub(used_at_ms))
    }

    fn at_ms(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.origin).as_millis() as u64
    }
}
