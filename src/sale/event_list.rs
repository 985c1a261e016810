//! Lists of events with how many of their seats are free.
//!
//! Free seats come from the live views where those are fresh; the others are counted by Redis, one
//! call a partition for all events of a page, and at most so often a second for all who ask. A
//! partition that does not answer leaves the counts of its events unknown: the list is answered.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::event_index::{EventFilter, EventsFrom, Found};
use super::{EventView, Events, Sale, SaleError, unix_now_ms};
use crate::domain::event::SeatTotal;
use crate::domain::{EventId, EventSummary, LoadState, Partition};
use crate::redis::{Engine, RedisError};

/// Events whose counts are kept.
const COUNTS_MAX: usize = 10_000;

/// A page of events by id.
#[derive(Clone, Debug)]
pub struct EventPage {
    /// The events with their counts.
    pub views: Vec<EventView<SeatTotal>>,
    /// How many the filter lets through in all.
    pub total: u64,
    /// The last event of the page, if there are more behind it.
    pub next: Option<EventId>,
    /// When the events were read from MongoDB last, Unix ms.
    pub as_of_ms: i64,
}

/// What Redis said last of how many seats are free, by event.
pub(super) struct FreeSeats {
    interval: Duration,
    kept: Mutex<HashMap<EventId, Counted>>,
    /// Counts of before then are outdated: this process has changed the event.
    outdated: Mutex<HashMap<EventId, Instant>>,
    /// One look at a time in each partition.
    turns: Vec<tokio::sync::Mutex<()>>,
}

#[derive(Clone, Copy)]
struct Counted {
    begun: Instant,
    at: Instant,
    /// `None`: it is not loaded, or Redis did not say.
    free: Option<u32>,
}

impl Sale {
    /// A page of the events that the filter lets through.
    ///
    /// # Errors
    /// If this process has never read the events, and MongoDB is away.
    pub async fn events(
        &self,
        filter: &EventFilter,
        from: EventsFrom,
        limit: usize,
    ) -> Result<EventPage, SaleError> {
        // The same time decides what is listed and which status is shown.
        let now_ms = self.inner.engine.clock(Partition(0)).now_at_least_ms();
        let now_ms = now_ms.unwrap_or_else(unix_now_ms);
        let found = self.inner.catalogue.index().page(filter, from, limit, now_ms).await?;
        let mut free: Vec<Option<u32>> =
            found.events.iter().map(|one| self.viewed(one, now_ms)).collect();
        let unknown = found.events.iter().zip(&free).filter(|(event, free)| {
            let is_out = matches!(event.load_state, LoadState::Unloaded | LoadState::Loading);
            free.is_none() && !is_out
        });
        let unknown: Vec<EventId> = unknown.map(|(event, _)| event.id).collect();
        let counts = Box::pin(self.inner.reads.free_seats.of(&self.inner.engine, &unknown)).await;
        for (event, free) in found.events.iter().zip(&mut free) {
            *free = free.or_else(|| counts.get(&event.id).copied().flatten());
        }
        Ok(paged(found, free, now_ms))
    }

    /// How many seats are free by the event's view, if that is to be asked and is fresh.
    fn viewed(&self, event: &EventSummary, now_ms: i64) -> Option<u32> {
        // The views of what is not for sale are not worth their memory here.
        let is_selling = matches!(event.api_status(now_ms), "ON_SALE" | "SCHEDULED");
        let has_view = event.load_state == LoadState::Opened && is_selling;
        has_view.then(|| self.live().fresh(event.id)).flatten().map(|view| view.available())
    }
}

impl Events {
    /// At most `limit` events behind `after`, by id, with their counts, from MongoDB and Redis.
    ///
    /// # Errors
    /// If the dependencies are away.
    pub async fn list(
        &self,
        after: EventId,
        limit: u32,
    ) -> Result<Vec<EventView<SeatTotal>>, SaleError> {
        let events = self.archive.event_summaries_after(after, limit).await?;
        let now_ms = unix_now_ms();
        let mut counts = HashMap::new();
        for (partition, ids) in by_partition(&self.engine, events.iter().map(|event| event.id)) {
            let free = match self.engine.free_seats(partition, &ids).await {
                // The node of a Cluster is gone: its events are listed without counts.
                Err(_) if self.engine.is_node_gone(partition) => vec![None; ids.len()],
                free => free?,
            };
            counts.extend(ids.into_iter().zip(free));
        }
        let view = |event: EventSummary| EventView {
            available_seats: counts.get(&event.id).copied().flatten(),
            event: Arc::new(event),
            now_ms,
        };
        Ok(events.into_iter().map(view).collect())
    }
}

impl FreeSeats {
    /// Counts of these partitions; an event's is looked up at most so often a second.
    pub(super) fn new(per_second: u32, partitions: u16) -> Self {
        FreeSeats {
            interval: Duration::from_secs(1) / per_second.max(1),
            kept: Mutex::default(),
            outdated: Mutex::default(),
            turns: (0..partitions).map(|_| tokio::sync::Mutex::default()).collect(),
        }
    }

    /// How many seats of these events are free.
    async fn of(&self, engine: &Engine, events: &[EventId]) -> HashMap<EventId, Option<u32>> {
        let asked = Instant::now();
        let lacking = by_partition(engine, self.lacking(events, asked).into_iter());
        let looks = lacking.into_iter().map(|(partition, ids)| async move {
            let _turn = self.turns[usize::from(partition.0)].lock().await;
            // What was counted while this caller waited is new enough for it.
            let ids = self.lacking(&ids, asked);
            if ids.is_empty() {
                return;
            }
            let begun = Instant::now();
            let counted = engine.free_seats(partition, &ids).await;
            self.keep(&ids, begun, counted);
        });
        join_all(looks).await;
        let kept = self.kept();
        let free = |id: &EventId| (*id, kept.get(id).and_then(|counted| counted.free));
        events.iter().map(free).collect()
    }

    /// Those of which nothing is known that is new enough for who asked then.
    fn lacking(&self, events: &[EventId], asked: Instant) -> Vec<EventId> {
        let (kept, outdated, now) = (self.kept(), lock(&self.outdated), Instant::now());
        let is_lacking = |id: &&EventId| {
            kept.get(id).is_none_or(|counted| {
                let is_outdated = outdated.get(id).is_some_and(|at| counted.begun <= *at);
                let is_old = now.saturating_duration_since(counted.at) >= self.interval;
                is_outdated || counted.at < asked && is_old
            })
        };
        events.iter().filter(is_lacking).copied().collect()
    }

    /// Keeps what Redis said, or that it did not: it is not asked more often for that.
    fn keep(
        &self,
        events: &[EventId],
        begun: Instant,
        counted: Result<Vec<Option<u32>>, RedisError>,
    ) {
        let free = counted.unwrap_or_else(|error| {
            tracing::debug!(%error, "free seats are not known for a list");
            vec![None; events.len()]
        });
        let (mut kept, at) = (self.kept(), Instant::now());
        if kept.len() + events.len() > COUNTS_MAX {
            kept.clear();
        }
        let counted = free.into_iter().map(|free| Counted { begun, at, free });
        kept.extend(events.iter().copied().zip(counted));
    }

    /// Has an event's seats counted anew for whoever asks from now on.
    pub(super) fn outdate(&self, event: EventId) {
        // In this order, as where both are read.
        let (mut kept, mut outdated) = (self.kept(), lock(&self.outdated));
        let now = Instant::now();
        if outdated.len() >= COUNTS_MAX {
            outdated.clear();
            kept.clear();
        }
        outdated.insert(event, now);
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<EventId, Counted>> {
        lock(&self.kept)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing under these locks panics half-way through a change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn by_partition(
    engine: &Engine,
    events: impl Iterator<Item = EventId>,
) -> BTreeMap<Partition, Vec<EventId>> {
    let mut by_partition: BTreeMap<Partition, Vec<EventId>> = BTreeMap::new();
    for event in events {
        by_partition.entry(engine.keys().partition_of(event)).or_default().push(event);
    }
    by_partition
}

fn paged(found: Found, free: Vec<Option<u32>>, now_ms: i64) -> EventPage {
    let Found { events, total, has_more, as_of_ms } = found;
    let next = events.last().map(|last| last.id).filter(|_| has_more);
    let views = events.into_iter().zip(free);
    let view = |(event, available_seats)| EventView { event, available_seats, now_ms };
    EventPage { views: views.map(view).collect(), total, next, as_of_ms }
}
