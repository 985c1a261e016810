//! The events in memory: inserted by stamp, listed by filter and page.

use std::collections::{BTreeMap, HashSet};
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{FAILED_FOR, too_slow};
use crate::archive::{ArchiveError, StoredStamp};
use crate::domain::{Event, EventId, EventSummary, LoadState};

/// Events in memory; beyond, only the newest are listed. One takes about 600 bytes and its texts.
pub(super) const LISTED_MAX: usize = 100_000;
/// Shortest time between two refreshes.
const INTERVAL: Duration = Duration::from_secs(1);
/// Shortest time between two refreshes as a multiple of the last one's duration.
const INTERVAL_FACTOR: u32 = 20;

/// Which events a list shows; an absent field matches all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// The status that clients see.
    pub status: Option<&'static str>,
    /// Events that start at this time or later, Unix ms.
    pub from_ms: Option<i64>,
    /// Events that start before this time, Unix ms.
    pub to_ms: Option<i64>,
}

/// Where a page of events begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventsFrom {
    /// At this offset among the matching events.
    Number(u64),
    /// After this event.
    After(EventId),
}

/// A page of events, by id.
#[derive(Clone, Debug)]
pub(in crate::sale) struct IndexPage {
    pub events: Vec<Arc<EventSummary>>,
    /// The total number of matching events.
    pub total: u64,
    /// Whether more follow.
    pub has_more: bool,
    /// When MongoDB was last read, Unix ms.
    pub as_of_ms: i64,
}

#[derive(Default)]
pub(super) struct IndexState {
    events: BTreeMap<EventId, IndexEntry>,
    /// The last successful refresh.
    pub(super) refreshed: Option<LastRefresh>,
    /// The last refresh, if it failed.
    pub(super) failed: Option<(Instant, ArchiveError)>,
    /// When every event was last read.
    pub(super) full_refresh_at: Option<Instant>,
}

struct IndexEntry {
    event: Arc<EventSummary>,
    at: Instant,
}

#[derive(Clone, Copy)]
pub(super) struct LastRefresh {
    pub(super) begun: Instant,
    pub(super) begun_ms: i64,
    pub(super) took: Duration,
}

impl EventFilter {
    /// Whether an event matches at `now_ms`.
    pub fn matches(&self, event: &EventSummary, now_ms: i64) -> bool {
        let starts = event.starts_at_ms;
        self.status.is_none_or(|status| event.api_status(now_ms) == status)
            && self.from_ms.is_none_or(|from| starts.is_some_and(|starts| starts >= from))
            && self.to_ms.is_none_or(|to| starts.is_some_and(|starts| starts < to))
    }
}

impl IndexState {
    /// Whether a refresh is due.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        if self.failed.as_ref().is_some_and(|(at, _)| now.duration_since(*at) < FAILED_FOR) {
            return false;
        }
        self.refreshed.is_none_or(|last| {
            let interval = INTERVAL.max(last.took * INTERVAL_FACTOR);
            now.saturating_duration_since(last.begun) >= interval
        })
    }

    /// Whether there is a state to list.
    pub(super) fn usable(&self) -> Result<(), ArchiveError> {
        match (&self.refreshed, &self.failed) {
            (Some(_), _) => Ok(()),
            (None, Some((_, error))) => Err(error.clone()),
            (None, None) => Err(too_slow()),
        }
    }

    pub(super) fn differs_from(&self, stamp: &StoredStamp) -> bool {
        self.events.get(&stamp.id).is_none_or(|entry| {
            (entry.event.stamp(), entry.event.load_state) != (stamp.stamp(), stamp.load_state)
        })
    }

    /// Whether the entry in memory is older than this state of the event, or absent.
    pub(super) fn is_older_than(&self, event: &Event) -> bool {
        let Some(entry) = self.events.get(&event.id) else { return true };
        let known = &entry.event;
        // A load that this process knows of before MongoDB does has the same stamp.
        let is_opened = |state: LoadState| state == LoadState::Opened;
        known.stamp() < event.stamp()
            || (known.stamp() == event.stamp()
                && is_opened(event.load_state)
                && !is_opened(known.load_state))
    }

    /// INVARIANT: an older state never replaces a newer one.
    pub(super) fn upsert(&mut self, event: Arc<EventSummary>, at: Instant) {
        let id = event.id;
        let is_stale = |entry: &IndexEntry| entry.event.stamp() > event.stamp();
        if self.events.get(&id).is_some_and(is_stale) {
            return;
        }
        self.events.insert(id, IndexEntry { event, at });
        if self.events.len() > LISTED_MAX {
            self.events.pop_first();
        }
    }

    /// Drops the events that are not among `ids`, except those inserted after `begun`.
    pub(super) fn retain_since(&mut self, begun: Instant, ids: &HashSet<EventId>) {
        self.events.retain(|id, entry| entry.at > begun || ids.contains(id));
    }

    pub(super) fn being_sold(&self, limit: usize, now_ms: i64) -> Vec<EventId> {
        let is_sold = |event: &EventSummary| {
            event.load_state == LoadState::Opened
                && matches!(event.api_status(now_ms), "ON_SALE" | "PAUSED")
        };
        let sold = self.events.iter().rev().filter(|(_, entry)| is_sold(&entry.event));
        sold.map(|(id, _)| *id).take(limit).collect()
    }

    pub(super) fn page(
        &self,
        filter: &EventFilter,
        from: EventsFrom,
        limit: usize,
        now_ms: i64,
    ) -> IndexPage {
        let (after, skip) = match from {
            EventsFrom::Number(first) => (Bound::Unbounded, first),
            EventsFrom::After(id) => (Bound::Excluded(id), 0),
        };
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        let is_shown = |event: &&Arc<EventSummary>| filter.matches(event, now_ms);
        let all = self.events.values().map(|entry| &entry.event);
        let total = match *filter == EventFilter::default() {
            true => self.events.len(),
            false => all.filter(is_shown).count(),
        };
        let rest = self.events.range((after, Bound::Unbounded)).map(|(_, entry)| &entry.event);
        let mut rest = rest.filter(is_shown).skip(skip);
        let events = rest.by_ref().take(limit).cloned().collect();
        let has_more = rest.next().is_some();
        let as_of_ms = self.refreshed.map_or(0, |last| last.begun_ms);
        IndexPage { events, total: total as u64, has_more, as_of_ms }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::SeatTotal;
    use crate::domain::{EventStatus, OrphanRule};

    fn summary(id: u32, edits: u64, starts_at_ms: Option<i64>) -> Arc<EventSummary> {
        Arc::new(EventSummary {
            id: EventId(id),
            name: "Gala".into(),
            description: String::new(),
            venue: String::new(),
            currency: "EUR".into(),
            starts_at_ms,
            on_sale_at_ms: Some(5_000),
            off_sale_at_ms: None,
            hold_ttl_ms: 1,
            max_hold_ms: 1,
            max_seats_per_user: 1,
            orphan_rule: OrphanRule::Off,
            cancel_policy: Default::default(),
            status: EventStatus::OnSale,
            revision: 1,
            edits,
            load_state: LoadState::Opened,
            generation: 1,
            layout_version: 1,
            seat_names_have_section: true,
            layout: SeatTotal(1),
            created_at_ms: 1,
        })
    }

    fn state(events: impl IntoIterator<Item = Arc<EventSummary>>) -> IndexState {
        let mut state = IndexState::default();
        events.into_iter().for_each(|event| state.upsert(event, Instant::now()));
        state
    }

    fn ids(page: &IndexPage) -> Vec<u32> {
        page.events.iter().map(|event| event.id.0).collect()
    }

    #[test]
    fn upsert_of_an_older_state_is_ignored() {
        let mut state = state([summary(1, 5, None)]);
        state.upsert(summary(1, 4, Some(1)), Instant::now());
        assert_eq!(state.events[&EventId(1)].event.edits, 5);
        state.upsert(summary(1, 6, Some(1)), Instant::now());
        assert_eq!(state.events[&EventId(1)].event.edits, 6);
    }

    #[test]
    fn page_contains_matching_events_only() {
        let state = state((1..=9).map(|id| summary(id, 0, (id % 2 == 1).then_some(i64::from(id)))));
        let odd = EventFilter { from_ms: Some(3), to_ms: Some(9), ..EventFilter::default() };
        let page = |from, limit| state.page(&odd, from, limit, 0);
        let first = page(EventsFrom::Number(0), 2);
        assert_eq!((ids(&first), first.total, first.has_more), (vec![3, 5], 3, true));
        let second = page(EventsFrom::After(EventId(5)), 2);
        assert_eq!((ids(&second), second.total, second.has_more), (vec![7], 3, false));
        assert_eq!(ids(&page(EventsFrom::Number(2), 2)), [7]);
        assert!(ids(&page(EventsFrom::Number(u64::MAX), 2)).is_empty());
        // Its sale begins at 5,000.
        let status = |status, now_ms| {
            let filter = EventFilter { status: Some(status), ..EventFilter::default() };
            state.page(&filter, EventsFrom::Number(0), 100, now_ms).total
        };
        assert_eq!((status("SCHEDULED", 4_999), status("ON_SALE", 4_999)), (9, 0));
        assert_eq!((status("SCHEDULED", 5_000), status("ON_SALE", 5_000)), (0, 9));
    }

    #[test]
    fn refresh_interval_grows_with_its_duration() {
        let now = Instant::now();
        let mut state = IndexState::default();
        assert!(state.is_due(now) && state.usable().is_err());
        state.refreshed =
            Some(LastRefresh { begun: now, begun_ms: 1, took: Duration::from_secs(1) });
        assert!(!state.is_due(now + Duration::from_secs(19)) && state.usable().is_ok());
        assert!(state.is_due(now + Duration::from_secs(20)));
        state.failed = Some((now + Duration::from_secs(20), too_slow()));
        assert!(!state.is_due(now + Duration::from_millis(20_999)));
        assert!(state.is_due(now + Duration::from_secs(21)) && state.usable().is_ok());
    }
}
