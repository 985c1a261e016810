//! Reads seats and counts: from the live view where that is fresh, else from Redis at a bounded
//! rate for all clients together.
//!
//! A view is some milliseconds behind Redis: it shows a past state. Overdue holds are free seats
//! that nobody has released yet; a read that sees such holds has them released.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::coalescing_cache::CoalescingCache;
use super::event_list::FreeSeats;
use super::events::OVERDUE_BATCH;
use super::{EventView, Sale, SaleError, SeatMap, unix_now_ms};
use crate::domain::{Event, EventId, EventStatus, LoadState, SeatId, SeatState, alternatives};
use crate::live::View;
use crate::redis::{Detail, ExpireReply};
use crate::telemetry::warn_repeated;

/// How long to wait for a view to become fresh before Redis is queried.
const FRESH_WAIT: Duration = Duration::from_millis(200);
/// How long to wait for released seats to appear in the view.
const SHOWN_WAIT: Duration = Duration::from_millis(100);
/// The shortest time between two releases of an event's overdue holds by one process.
const RELEASE_INTERVAL: Duration = Duration::from_secs(1);
/// How long the last known seats are shown while Redis does not answer.
pub const STALE_MAX: Duration = Duration::from_secs(300);
/// Events whose last release is remembered.
const RELEASED_MAX: usize = 10_000;

/// State shared by all reads.
pub(super) struct SeatReads {
    counts: CoalescingCache<Counts>,
    pub(super) free_seats: FreeSeats,
    /// When this process last released overdue holds, by event.
    released: Mutex<HashMap<EventId, Instant>>,
}

/// Free seats as counted by Redis.
#[derive(Clone, Copy)]
struct Counts {
    /// `None` if Redis does not have the event.
    available: Option<u32>,
    now_ms: i64,
}

/// The latest known seats.
pub enum LatestSeats {
    /// The caller's version is the latest.
    Unchanged,
    /// A newer version, and whether it comes from the live view (else from Redis).
    Seats(SeatMap, bool),
    /// Redis has not answered for so long: the last version that this process' view has seen, if it is newer
    /// than the caller's. It may be out of date.
    Stale(Option<SeatMap>, Duration),
}

impl SeatReads {
    /// Creates the state; Redis is queried for an event's counts at most `per_second` times a second.
    pub(super) fn new(per_second: u32, partitions: u16) -> Self {
        SeatReads {
            counts: CoalescingCache::new(per_second),
            free_seats: FreeSeats::new(per_second, partitions),
            released: Mutex::default(),
        }
    }

    /// Invalidates the cached counts of an event after a change.
    pub(super) fn outdate(&self, event: EventId) {
        self.counts.invalidate(event);
        self.free_seats.outdate(event);
    }

    /// Whether an event's overdue holds may be released now.
    fn is_time_to_release(&self, event: EventId) -> bool {
        // No code under this lock panics half-way through a change.
        let mut released = self.released.lock().unwrap_or_else(PoisonError::into_inner);
        if released.get(&event).is_some_and(|at| at.elapsed() < RELEASE_INTERVAL) {
            return false;
        }
        if released.len() >= RELEASED_MAX {
            released.retain(|_, at| at.elapsed() < RELEASE_INTERVAL);
        }
        let has_room = released.len() < RELEASED_MAX;
        if has_room {
            released.insert(event, Instant::now());
        }
        has_room
    }
}

impl Sale {
    /// Returns the latest seats of an event; `known` are the caller's generation and version. For
    /// callers that limit their rate.
    ///
    /// # Errors
    /// If neither the view nor Redis has them.
    pub async fn latest_seats(
        &self,
        event: Arc<Event>,
        known: Option<(u64, u64)>,
    ) -> Result<LatestSeats, SaleError> {
        let away_for = self.away_for(event.id);
        if let Some(away_for) = away_for
            && self.live().fresh(event.id).is_none()
            && let Some(seats) = self.stale_seats(&event, known, away_for)
        {
            // Nobody waits for a view that cannot become fresh.
            return Ok(seats);
        }
        if let Some(view) = self.view_of(&event).await? {
            Box::pin(self.release_overdue(&view)).await;
            if known == Some((view.generation(), view.version())) {
                return Ok(LatestSeats::Unchanged);
            }
            return Ok(LatestSeats::Seats(shown(event, &view), true));
        }
        let map = match Box::pin(self.seat_map(event.id)).await {
            Ok(map) => map,
            Err(error @ SaleError::Unavailable { dependency: "redis", .. }) => {
                let away_for = away_for.unwrap_or_default();
                return self.stale_seats(&event, known, away_for).ok_or(error);
            }
            Err(error) => return Err(error),
        };
        Ok(match known == Some((map.generation, map.version)) {
            true => LatestSeats::Unchanged,
            false => LatestSeats::Seats(map, false),
        })
    }

    /// The last known seats while Redis does not answer; `None` if there are none, or for too long.
    fn stale_seats(
        &self,
        event: &Arc<Event>,
        known: Option<(u64, u64)>,
        away_for: Duration,
    ) -> Option<LatestSeats> {
        if is_out(event) || away_for > STALE_MAX {
            return None;
        }
        let view = self.live().slot(event.id).view();
        let newer = view.filter(|view| known < Some((view.generation(), view.version())));
        let is_known = known.is_some() || newer.is_some();
        let newer = newer.map(|view| shown(event.clone(), &view));
        is_known.then_some(LatestSeats::Stale(newer, away_for))
    }

    /// For how long the Redis of an event has not answered.
    fn away_for(&self, event: EventId) -> Option<Duration> {
        let engine = &self.inner.engine;
        engine.away_for(engine.keys().partition_of(event))
    }

    /// Returns one event with its counts; without them while Redis does not answer.
    ///
    /// # Errors
    /// If there is no such event, or it is not cached and the dependencies do not answer.
    pub async fn event(&self, id: EventId) -> Result<EventView, SaleError> {
        let event = self.inner.catalogue.recent(id).await?.ok_or(SaleError::EventUnknown(id))?;
        self.counted(event).await
    }

    /// Returns groups of free seats near the requested ones, by the live view; none where the view
    /// is not fresh or the event is not cached.
    pub fn alternatives(&self, id: EventId, requested: &[SeatId], count: u32) -> Vec<Vec<SeatId>> {
        let near = |event: &Arc<Event>| {
            let view = self.live().fresh(id)?;
            let is_free =
                |seat| view.seat(seat).is_some_and(|seat| seat.state == SeatState::Available);
            Some(alternatives(&event.layout, is_free, requested, count))
        };
        self.inner.catalogue.with(id, near).flatten().unwrap_or_default()
    }

    /// An event's view if it is fresh, or becomes fresh soon, and the event is still loaded.
    async fn view_of(&self, event: &Event) -> Result<Option<Arc<View>>, SaleError> {
        // An unloaded event will not have a view soon.
        let wait = if is_out(event) { Duration::ZERO } else { FRESH_WAIT };
        let Some(view) = self.live().fresh_within(event.id, wait).await else { return Ok(None) };
        if view.status().0 != EventStatus::Closed {
            return Ok(Some(view));
        }
        // The event may have been unloaded since, which the booking log does not show.
        let recent = self.inner.catalogue.recent(event.id).await?;
        Ok(recent.is_some_and(|event| !is_out(&event)).then_some(view))
    }

    /// An event with its counts, from its view if that is fresh.
    async fn counted(&self, event: Arc<Event>) -> Result<EventView, SaleError> {
        let has_view = event.load_state == LoadState::Opened;
        if let Some(view) = has_view.then(|| self.live().fresh(event.id)).flatten() {
            Box::pin(self.release_overdue(&view)).await;
            let now_ms = self.live().redis_now_ms(event.id).map_or_else(unix_now_ms, |now| now.1);
            return Ok(EventView { available_seats: Some(view.available()), now_ms, event });
        }
        let (engine, id) = (self.inner.engine.clone(), event.id);
        if self.away_for(id).is_some() {
            return Ok(EventView { event, available_seats: None, now_ms: unix_now_ms() });
        }
        let query = move |_| async move {
            let snapshot = engine.snapshot(id, Detail::Counts).await?.filter(|s| s.open);
            let available = snapshot.as_ref().and_then(|s| u32::try_from(s.available).ok());
            let now_ms = snapshot.map_or_else(unix_now_ms, |snapshot| snapshot.now_ms);
            Ok(Counts { available, now_ms })
        };
        let counts = match Box::pin(self.inner.reads.counts.get(id, query)).await {
            Err(SaleError::Unavailable { dependency: "redis", .. }) => {
                Counts { available: None, now_ms: unix_now_ms() }
            }
            counts => counts?,
        };
        Ok(EventView { event, available_seats: counts.available, now_ms: counts.now_ms })
    }

    /// Releases overdue holds, so that their seats show as free even when no sweeper runs.
    async fn release_overdue(&self, view: &View) {
        let event = view.event();
        let now_ms = self.live().redis_now_ms(event).map(|now| now.0);
        let is_overdue = view.next_deadline_ms().is_some_and(|at| now_ms >= Some(at));
        if !is_overdue || !self.inner.reads.is_time_to_release(event) {
            return;
        }
        let mut changes = self.live().slot(event).changes();
        let (known, engine) = (view.version(), &self.inner.engine);
        match engine.expire(event, view.generation(), OVERDUE_BATCH).await {
            Ok(timed) if matches!(timed.reply, ExpireReply::Expired { released: 1.., .. }) => {
                let shown = changes.wait_for(|mark| mark.version > known);
                // If they do not appear in time, the next read shows them.
                let _ = tokio::time::timeout(SHOWN_WAIT, shown).await;
            }
            Ok(_) => {}
            Err(error) => {
                warn_repeated!(event_id = event.0, %error, "overdue holds are not released");
            }
        }
    }
}

/// Whether an event is not in Redis, or not yet.
fn is_out(event: &Event) -> bool {
    matches!(event.load_state, LoadState::Unloaded | LoadState::Loading)
}

/// A view's seats as a map.
fn shown(event: Arc<Event>, view: &View) -> SeatMap {
    let shot = view.snapshot();
    SeatMap {
        event,
        inventory: shot.inventory,
        generation: shot.generation,
        version: shot.version,
        now_ms: shot.time_ms,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overdue_holds_are_released_once_a_second_and_tracked_events_are_bounded() {
        let reads = SeatReads::new(1, 1);
        assert!(reads.is_time_to_release(EventId(1)));
        assert!(!reads.is_time_to_release(EventId(1)));
        for id in 2..=RELEASED_MAX as u32 {
            assert!(reads.is_time_to_release(EventId(id)));
        }
        assert!(!reads.is_time_to_release(EventId(0)), "no room");
    }
}
