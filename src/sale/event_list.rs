//! Lists of events with their numbers of free seats.
//!
//! Free seats come from the live views where those are fresh. The others are counted by Redis, in
//! one call per partition for all events of a page, and with a bounded rate for all clients
//! together. Where a partition does not answer, the counts of its events are unknown and the list
//! is returned without them.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::event_index::{EventFilter, EventsFrom, IndexPage};
use super::{EventView, Events, Sale, SaleError, unix_now_ms};
use crate::domain::event::SeatTotal;
use crate::domain::{EventId, EventSummary, LoadState, Partition};
use crate::redis::{Engine, RedisError};

/// The maximum number of cached counts.
const COUNTS_MAX: usize = 10_000;

/// A page of events by id.
#[derive(Clone, Debug)]
pub struct EventPage {
    /// The events with their counts.
    pub views: Vec<EventView<SeatTotal>>,
    /// The total number of events that match the filter.
    pub total: u64,
    /// The last event of the page, if more follow.
    pub next: Option<EventId>,
    /// When the events were last read from MongoDB, Unix ms.
    pub as_of_ms: i64,
}

/// A cache of free-seat counts from Redis.
pub(super) struct FreeSeats {
    interval: Duration,
    cached: Mutex<HashMap<EventId, SeatCount>>,
    /// Counts taken before this time are outdated: this process has changed the event.
    outdated: Mutex<HashMap<EventId, Instant>>,
    /// Allows one query at a time per partition.
    query_locks: Vec<tokio::sync::Mutex<()>>,
}

#[derive(Clone, Copy)]
struct SeatCount {
    begun: Instant,
    at: Instant,
    /// `None`: the event is not loaded, or Redis did not answer.
    free: Option<u32>,
}

impl Sale {
    /// Returns a page of the events that match the filter.
    ///
    /// # Errors
    /// If this process has not read the events yet and MongoDB does not answer.
    pub async fn events(
        &self,
        filter: &EventFilter,
        from: EventsFrom,
        limit: usize,
    ) -> Result<EventPage, SaleError> {
        // One time decides both the filter and the shown status.
        let now_ms = self.inner.engine.clock(Partition(0)).now_at_least_ms();
        let now_ms = now_ms.unwrap_or_else(unix_now_ms);
        let found = self.inner.catalogue.index().page(filter, from, limit, now_ms).await?;
        let mut free: Vec<Option<u32>> =
            found.events.iter().map(|one| self.free_by_view(one, now_ms)).collect();
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

    /// The free seats by the event's live view, if the event is on sale and the view is fresh.
    fn free_by_view(&self, event: &EventSummary, now_ms: i64) -> Option<u32> {
        // Views of events that are not on sale are not worth their memory here.
        let is_selling = matches!(event.api_status(now_ms), "ON_SALE" | "SCHEDULED");
        let has_view = event.load_state == LoadState::Opened && is_selling;
        has_view.then(|| self.live().fresh(event.id)).flatten().map(|view| view.available())
    }
}

impl Events {
    /// Returns at most `limit` events after `after`, by id, with their counts, from MongoDB and
    /// Redis.
    ///
    /// # Errors
    /// If MongoDB or Redis does not answer.
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
                // The Cluster node is gone: its events are listed without counts.
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
    /// Creates a cache that queries each event at most `per_second` times a second.
    pub(super) fn new(per_second: u32, partitions: u16) -> Self {
        FreeSeats {
            interval: Duration::from_secs(1) / per_second.max(1),
            cached: Mutex::default(),
            outdated: Mutex::default(),
            query_locks: (0..partitions).map(|_| tokio::sync::Mutex::default()).collect(),
        }
    }

    /// Returns the free seats of these events.
    async fn of(&self, engine: &Engine, events: &[EventId]) -> HashMap<EventId, Option<u32>> {
        let requested = Instant::now();
        let outdated = by_partition(engine, self.outdated_of(events, requested).into_iter());
        let queries = outdated.into_iter().map(|(partition, ids)| async move {
            let _lock = self.query_locks[usize::from(partition.0)].lock().await;
            // Another caller may have counted them while this one waited for the lock.
            let ids = self.outdated_of(&ids, requested);
            if ids.is_empty() {
                return;
            }
            let begun = Instant::now();
            let counted = match engine.refuses(partition) {
                true => Err(RedisError::NotRun("it has not answered for a moment".to_owned())),
                false => engine.free_seats(partition, &ids).await,
            };
            self.store(&ids, begun, counted);
        });
        join_all(queries).await;
        let cached = self.cached();
        let free = |id: &EventId| (*id, cached.get(id).and_then(|counted| counted.free));
        events.iter().map(free).collect()
    }

    /// The events without a count that is recent enough for a request made at `requested`.
    fn outdated_of(&self, events: &[EventId], requested: Instant) -> Vec<EventId> {
        let (cached, outdated, now) = (self.cached(), lock(&self.outdated), Instant::now());
        let needs_query = |id: &&EventId| {
            cached.get(id).is_none_or(|counted| {
                let is_outdated = outdated.get(id).is_some_and(|at| counted.begun <= *at);
                let is_old = now.saturating_duration_since(counted.at) >= self.interval;
                is_outdated || counted.at < requested && is_old
            })
        };
        events.iter().filter(needs_query).copied().collect()
    }

    /// Stores Redis' reply, or its absence: a failed query is not repeated sooner.
    fn store(
        &self,
        events: &[EventId],
        begun: Instant,
        counted: Result<Vec<Option<u32>>, RedisError>,
    ) {
        let free = counted.unwrap_or_else(|error| {
            tracing::debug!(%error, "free seats are not known for a list");
            vec![None; events.len()]
        });
        let (mut cached, at) = (self.cached(), Instant::now());
        if cached.len() + events.len() > COUNTS_MAX {
            cached.clear();
        }
        let counted = free.into_iter().map(|free| SeatCount { begun, at, free });
        cached.extend(events.iter().copied().zip(counted));
    }

    /// Invalidates an event's count for all later requests.
    pub(super) fn outdate(&self, event: EventId) {
        // The same lock order as in `outdated_of`.
        let (mut cached, mut outdated) = (self.cached(), lock(&self.outdated));
        let now = Instant::now();
        if outdated.len() >= COUNTS_MAX {
            outdated.clear();
            cached.clear();
        }
        outdated.insert(event, now);
    }

    fn cached(&self) -> MutexGuard<'_, HashMap<EventId, SeatCount>> {
        lock(&self.cached)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code under these locks panics half-way through a change.
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

fn paged(found: IndexPage, free: Vec<Option<u32>>, now_ms: i64) -> EventPage {
    let IndexPage { events, total, has_more, as_of_ms } = found;
    let next = events.last().map(|last| last.id).filter(|_| has_more);
    let views = events.into_iter().zip(free);
    let view = |(event, available_seats)| EventView { event, available_seats, now_ms };
    EventPage { views: views.map(view).collect(), total, next, as_of_ms }
}
