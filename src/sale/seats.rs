//! What is free, as this process knows it: from the live view where that is fresh, else from Redis,
//! and then at most so often a second for all who ask.
//!
//! A view is some milliseconds behind Redis; it shows what was, never what will be. Holds whose time
//! is over are free seats that nobody has released yet: whoever sees such holds has them released.

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

/// How long a view that is not fresh is waited for before Redis is asked.
const FRESH_WAIT: Duration = Duration::from_millis(200);
/// How long released seats are waited for to show in the view.
const SHOWN_WAIT: Duration = Duration::from_millis(100);
/// How often a process has an event's overdue holds released.
const RELEASE_INTERVAL: Duration = Duration::from_secs(1);
/// Events of which is known when that was.
const RELEASED_MAX: usize = 10_000;

/// What reads share.
pub(super) struct Reads {
    counts: CoalescingCache<Counts>,
    pub(super) free_seats: FreeSeats,
    /// When overdue holds were released last, by event.
    released: Mutex<HashMap<EventId, Instant>>,
}

/// How many seats are free, as Redis said.
#[derive(Clone, Copy)]
struct Counts {
    /// `None` while it does not have the event.
    available: Option<u32>,
    now_ms: i64,
}

/// The newest seats that are known.
pub enum Newest {
    /// Those that the caller has.
    Unchanged,
    /// Others, from the live view or (false) from Redis.
    Seats(SeatMap, bool),
}

impl Reads {
    /// Redis is asked for an event's counts at most so often a second.
    pub(super) fn new(per_second: u32, partitions: u16) -> Self {
        Reads {
            counts: CoalescingCache::new(per_second),
            free_seats: FreeSeats::new(per_second, partitions),
            released: Mutex::default(),
        }
    }

    /// Has what was found of an event found anew, after a change of it.
    pub(super) fn outdate(&self, event: EventId) {
        self.counts.invalidate(event);
        self.free_seats.outdate(event);
    }

    /// Whether it is time to release an event's overdue holds.
    fn is_time_to_release(&self, event: EventId) -> bool {
        // Nothing under this lock panics half-way through a change.
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
    /// The newest seats of an event; `known` are the generation and version that the caller has. For
    /// callers who ask at most so often a second.
    ///
    /// # Errors
    /// If neither the view nor Redis has them.
    pub async fn newest_seats(
        &self,
        event: Arc<Event>,
        known: Option<(u64, u64)>,
    ) -> Result<Newest, SaleError> {
        if let Some(view) = self.view_of(&event).await? {
            Box::pin(self.release_overdue(&view)).await;
            if known == Some((view.generation(), view.version())) {
                return Ok(Newest::Unchanged);
            }
            let shot = view.snapshot();
            let map = SeatMap {
                event,
                inventory: shot.inventory,
                generation: shot.generation,
                version: shot.version,
                now_ms: shot.time_ms,
            };
            return Ok(Newest::Seats(map, true));
        }
        let map = Box::pin(self.seat_map(event.id)).await?;
        Ok(match known == Some((map.generation, map.version)) {
            true => Newest::Unchanged,
            false => Newest::Seats(map, false),
        })
    }

    /// One event with its counts.
    ///
    /// # Errors
    /// If there is no such event, or nothing is known of it and the dependencies are away.
    pub async fn event(&self, id: EventId) -> Result<EventView, SaleError> {
        let event = self.inner.catalogue.recent(id).await?.ok_or(SaleError::EventUnknown(id))?;
        self.counted(event).await
    }

    /// Groups of free seats near those that were asked for, as the view knows them; none where it is
    /// not fresh, or the event is not in memory.
    pub fn alternatives(&self, id: EventId, asked: &[SeatId], count: u32) -> Vec<Vec<SeatId>> {
        let near = |event: &Arc<Event>| {
            let view = self.live().fresh(id)?;
            let is_free =
                |seat| view.seat(seat).is_some_and(|seat| seat.state == SeatState::Available);
            Some(alternatives(&event.layout, is_free, asked, count))
        };
        self.inner.catalogue.with(id, near).flatten().unwrap_or_default()
    }

    /// An event's view, if it is fresh or soon is, and the event is still there.
    async fn view_of(&self, event: &Event) -> Result<Option<Arc<View>>, SaleError> {
        let is_out =
            |event: &Event| matches!(event.load_state, LoadState::Unloaded | LoadState::Loading);
        // What was unloaded will have no view soon.
        let wait = if is_out(event) { Duration::ZERO } else { FRESH_WAIT };
        let Some(view) = self.live().fresh_within(event.id, wait).await else { return Ok(None) };
        if view.status().0 != EventStatus::Closed {
            return Ok(Some(view));
        }
        // It may have been unloaded since, of which the booking log says nothing.
        let recent = self.inner.catalogue.recent(event.id).await?;
        Ok(recent.is_some_and(|event| !is_out(&event)).then_some(view))
    }

    /// An event with its counts: from its view, if that is fresh.
    async fn counted(&self, event: Arc<Event>) -> Result<EventView, SaleError> {
        let has_view = event.load_state == LoadState::Opened;
        if let Some(view) = has_view.then(|| self.live().fresh(event.id)).flatten() {
            Box::pin(self.release_overdue(&view)).await;
            let now_ms = self.live().redis_now_ms(event.id).map_or_else(unix_now_ms, |now| now.1);
            return Ok(EventView { available_seats: Some(view.available()), now_ms, event });
        }
        let (engine, id) = (self.inner.engine.clone(), event.id);
        let look = move |_| async move {
            let snapshot = engine.snapshot(id, Detail::Counts).await?.filter(|s| s.open);
            let available = snapshot.as_ref().and_then(|s| u32::try_from(s.available).ok());
            let now_ms = snapshot.map_or_else(unix_now_ms, |snapshot| snapshot.now_ms);
            Ok(Counts { available, now_ms })
        };
        let Counts { available, now_ms } = Box::pin(self.inner.reads.counts.get(id, look)).await?;
        Ok(EventView { event, available_seats: available, now_ms })
    }

    /// Has overdue holds released, so that they show as free even when no sweeper runs.
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
                // Not shown in time: then in the next answer.
                let _ = tokio::time::timeout(SHOWN_WAIT, shown).await;
            }
            Ok(_) => {}
            Err(error) => {
                warn_repeated!(event_id = event.0, %error, "overdue holds are not released");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_released_once_a_second_and_what_is_known_is_bounded() {
        let reads = Reads::new(1, 1);
        assert!(reads.is_time_to_release(EventId(1)));
        assert!(!reads.is_time_to_release(EventId(1)));
        for id in 2..=RELEASED_MAX as u32 {
            assert!(reads.is_time_to_release(EventId(id)));
        }
        assert!(!reads.is_time_to_release(EventId(0)), "no room");
    }
}
