//! What is told of one event's seats: kept once, however many follow it.
//!
//! The view moves entry by entry; a board moves in *ticks*: all changes since the last one, encoded
//! once and shared. A follower keeps no more than the version it was told last, and asks for what
//! comes next when its connection has room. It gets the tick's bytes if its version lies within the
//! tick, else what changed since then, else a gap and a snapshot. A version within a tick is enough:
//! messages tell what seats are *now*, so telling some of it twice changes nothing.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus::IntCounter;
use tokio::sync::watch;

use super::message::Message;
use super::tick::{Encodes, News};
use crate::domain::EventId;
use crate::http::response_memory::ResponseMemory;
use crate::live::{Changes, Mark, Slot, View};
use crate::telemetry::Metrics;

/// Changes since an earlier version that are kept for the next who asks for the same.
const MERGED_MAX: usize = 8;

/// What is counted.
#[derive(Clone)]
pub struct Counts {
    ticks: IntCounter,
    tick: Encodes,
    merged: Encodes,
    snapshot: Encodes,
}

impl Counts {
    /// Of these metrics.
    pub fn new(memory: &Arc<ResponseMemory>, metrics: &Metrics) -> Self {
        let count = |what| metrics.push_encodes.with_label_values(&[what]);
        let encodes = |what| Encodes { count: count(what), memory: memory.clone() };
        Counts {
            ticks: metrics.push_ticks.clone(),
            tick: encodes("tick"),
            merged: encodes("merged"),
            snapshot: encodes("snapshot"),
        }
    }
}

/// One event's.
pub struct EventChannel {
    event: EventId,
    slot: Arc<Slot>,
    shown: watch::Sender<Option<Arc<Tick>>>,
    /// How many views were shown.
    epochs: AtomicU64,
    kept: Mutex<Kept>,
    counts: Counts,
}

/// What the board shows.
pub struct Tick {
    view: Arc<View>,
    /// Of the view: versions of two views cannot be compared.
    epoch: u64,
    since: u64,
    news: News,
}

/// Where a follower is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    epoch: u64,
    /// What it was told.
    pub mark: Mark,
}

/// What a follower is to be told.
pub enum Next {
    /// Nothing now.
    Nothing,
    /// The tick itself.
    Tick,
    /// All that changed since.
    Merged(Arc<News>),
    /// Nobody knows what changed since.
    Gap,
}

#[derive(Default)]
struct Kept {
    snapshot: Option<(u64, Arc<News>)>,
    /// By epoch and the version after which they begin.
    merged: VecDeque<(u64, u64, Arc<News>)>,
}

impl EventChannel {
    /// Shows what the view has now, if there is one.
    pub fn new(slot: Arc<Slot>, counts: Counts) -> Self {
        let board = EventChannel {
            event: slot.event(),
            slot,
            shown: watch::channel(None).0,
            epochs: AtomicU64::new(0),
            kept: Mutex::default(),
            counts,
        };
        board.turn();
        board
    }

    /// The event.
    pub fn event(&self) -> EventId {
        self.event
    }

    /// The live view's place.
    pub fn slot(&self) -> &Slot {
        &self.slot
    }

    /// Follows what is shown: `None` while there is no view.
    pub fn follow(&self) -> watch::Receiver<Option<Arc<Tick>>> {
        self.shown.subscribe()
    }

    /// How many follow.
    pub fn followers(&self) -> usize {
        self.shown.receiver_count()
    }

    /// Waits until nobody follows.
    pub async fn deserted(&self) {
        self.shown.closed().await;
    }

    /// Shows what the view has come to; whether that is anything new. For one task.
    pub fn turn(&self) -> bool {
        let before = self.shown.borrow().clone();
        let tick = match (before, self.slot.view()) {
            (None, None) => return false,
            // Nothing is told of a view that is lost.
            (Some(_), None) => None,
            (Some(tick), Some(view)) if Arc::ptr_eq(&tick.view, &view) => {
                match view.changes_since(tick.version()) {
                    Some(changes) if changes.seats.is_empty() => return false,
                    Some(changes) => Some(self.tick(view, tick.epoch, &changes)),
                    // So much at once that the view has forgotten it.
                    None => Some(self.beginning(view)),
                }
            }
            (_, Some(view)) => Some(self.beginning(view)),
        };
        self.shown.send_replace(tick.map(Arc::new));
        true
    }

    fn tick(&self, view: Arc<View>, epoch: u64, changes: &Changes) -> Tick {
        self.counts.ticks.inc();
        let encodes = self.counts.tick.clone();
        let news = News::changed(self.event, view.generation(), changes, encodes);
        Tick { view, epoch, since: changes.since, news }
    }

    /// A tick that tells nothing; whoever follows already is told of a gap.
    fn beginning(&self, view: Arc<View>) -> Tick {
        let epoch = self.epochs.fetch_add(1, Ordering::Relaxed);
        let mark = Mark { generation: view.generation(), version: view.version() };
        let news = News::new(mark, Vec::new(), self.counts.tick.clone());
        Tick { view, epoch, since: mark.version, news }
    }

    /// What a follower is to be told next.
    pub fn next(&self, tick: &Tick, at: At) -> Next {
        let version = at.mark.version;
        if at.epoch != tick.epoch {
            Next::Gap
        } else if version >= tick.version() {
            Next::Nothing
        } else if version >= tick.since {
            Next::Tick
        } else {
            self.merged(tick, version).map_or(Next::Gap, Next::Merged)
        }
    }

    /// All that changed after a version, up to one within this tick or beyond.
    fn merged(&self, tick: &Tick, since: u64) -> Option<Arc<News>> {
        let mut kept = self.kept();
        let known = kept.merged.iter().find(|(epoch, from, news)| {
            (*epoch, *from) == (tick.epoch, since) && news.mark.version >= tick.since
        });
        if let Some((_, _, news)) = known {
            return Some(news.clone());
        }
        let changes = tick.view.changes_since(since)?;
        let encodes = self.counts.merged.clone();
        let news = News::changed(self.event, tick.view.generation(), &changes, encodes);
        let news = Arc::new(news);
        if kept.merged.len() == MERGED_MAX {
            kept.merged.pop_front();
        }
        kept.merged.push_back((tick.epoch, since, news.clone()));
        Some(news)
    }

    /// All seats, at a version within this tick or beyond.
    pub fn snapshot(&self, tick: &Tick) -> Arc<News> {
        let mut kept = self.kept();
        if let Some((epoch, news)) = &kept.snapshot
            && *epoch == tick.epoch
            && news.mark.version >= tick.since
        {
            return news.clone();
        }
        let shot = tick.view.shot();
        let mark = Mark { generation: shot.generation, version: shot.version };
        let message = Message::snapshot(self.event, mark, &shot.inventory);
        let news = Arc::new(News::new(mark, vec![message], self.counts.snapshot.clone()));
        kept.snapshot = Some((tick.epoch, news.clone()));
        news
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Nothing under this lock panics half-way through a change.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tick {
    /// What a follower has once it was told all of it.
    pub fn mark(&self) -> Mark {
        self.news.mark
    }

    /// What it tells.
    pub fn news(&self) -> &News {
        &self.news
    }

    /// A follower that has this, of the view that is shown.
    pub fn at(&self, mark: Mark) -> At {
        At { epoch: self.epoch, mark }
    }

    /// A follower that was told this elsewhere; `None` if what changed since is not known.
    pub fn resumed(&self, mark: Mark) -> Option<At> {
        let is_known = mark.generation == self.view.generation()
            && self.view.changes_since(mark.version).is_some();
        is_known.then(|| self.at(mark))
    }

    fn version(&self) -> u64 {
        self.news.mark.version
    }
}
