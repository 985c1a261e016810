//! All events without their layouts, in the memory of each process: what lists are made of.
//!
//! Read from MongoDB when lists are asked for, by one reader at a time, and at most once a second:
//! first which state each event is in (from an index alone), then the events whose state is another
//! than the one in memory. What this process wrote or read of an event is put in at once. While
//! MongoDB is away, what is in memory is listed.
//!
//! | what may happen | what becomes of it |
//! |---|---|
//! | an event is changed here while a reading is under way | the reading finds an older state, which does not replace the newer one |
//! | an event is created here while a reading is under way | it is not among what was read, and is kept, being younger than the reading |
//! | an event is changed between the two steps of a reading | the second step finds the newer state |
//! | a caller hangs up | the reading goes on, and ends in memory |
//! | MongoDB is silent | callers wait [`WAIT`] for the reading that finds it out, then for none until one succeeds |
//! | the first reading fails | callers get its error for [`FAILED_FOR`], then the next one reads |

use std::collections::{BTreeMap, HashSet};
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, OwnedMutexGuard};

use super::unix_now_ms;
use crate::archive::{Archive, ArchiveError, StoredStamp};
use crate::domain::{Event, EventId, EventSummary, LoadState};

/// Events in memory; of more, the newest are listed. One takes some 600 bytes and its texts.
const LISTED_MAX: usize = 100_000;
/// Shortest time between two readings.
const INTERVAL: Duration = Duration::from_secs(1);
/// The same, in times that the last one took: readings are at most so much of the time.
const INTERVAL_FACTOR: u32 = 20;
/// After so long every event is read anew: for changes by other hands than ours.
const WHOLE_EVERY: Duration = Duration::from_secs(600);
/// How long a caller waits for a reading where there is something to list without it.
const WAIT: Duration = Duration::from_millis(500);
/// The same where there is nothing.
const FIRST_WAIT: Duration = Duration::from_secs(10);
/// How long a reading that failed is not tried again.
const FAILED_FOR: Duration = Duration::from_secs(1);
/// States read at once.
const STAMPS_PAGE: u32 = 10_000;
/// Events read at once.
const EVENTS_PAGE: usize = 500;

/// Which events a list shows; what is absent does not matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// The status that clients see.
    pub status: Option<&'static str>,
    /// Events that start then or later, Unix ms.
    pub from_ms: Option<i64>,
    /// Events that start before, Unix ms.
    pub to_ms: Option<i64>,
}

/// Where a page of events begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventsFrom {
    /// With the event of this number among those that the filter lets through, from 0.
    Number(u64),
    /// Behind this one.
    After(EventId),
}

/// Some events by id.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub events: Vec<Arc<EventSummary>>,
    /// How many the filter lets through in all.
    pub total: u64,
    /// Whether there are more behind these.
    pub has_more: bool,
    /// When MongoDB was read last, Unix ms.
    pub as_of_ms: i64,
}

/// All events without their layouts. Cheap to clone.
#[derive(Clone)]
pub(super) struct EventIndex {
    archive: Archive,
    kept: Arc<RwLock<Kept>>,
    reading: Arc<Mutex<()>>,
}

#[derive(Default)]
struct Kept {
    events: BTreeMap<EventId, Noted>,
    /// The last reading that succeeded.
    read: Option<Read>,
    /// The last reading, if it failed.
    failed: Option<(Instant, ArchiveError)>,
    /// When every event was read last.
    whole_at: Option<Instant>,
}

struct Noted {
    event: Arc<EventSummary>,
    at: Instant,
}

#[derive(Clone, Copy)]
struct Read {
    begun: Instant,
    begun_ms: i64,
    took: Duration,
}

impl EventFilter {
    /// Whether a list shows an event at `now_ms`.
    pub fn lets_through(&self, event: &EventSummary, now_ms: i64) -> bool {
        let starts = event.starts_at_ms;
        self.status.is_none_or(|status| event.api_status(now_ms) == status)
            && self.from_ms.is_none_or(|from| starts.is_some_and(|starts| starts >= from))
            && self.to_ms.is_none_or(|to| starts.is_some_and(|starts| starts < to))
    }
}

impl EventIndex {
    pub(super) fn new(archive: Archive) -> Self {
        EventIndex { archive, kept: Arc::default(), reading: Arc::default() }
    }

    /// Puts in an event that was just read or written, unless a newer state is there.
    pub(super) fn note(&self, event: &Event) {
        let is_news = |kept: &Kept| kept.events.get(&event.id).is_none_or(|n| is_older(n, event));
        // Most of what is read is known.
        if is_news(&self.read()) {
            self.write().note(Arc::new(event.summary()), Instant::now());
        }
    }

    /// A page of the events that the filter lets through at `now_ms`.
    pub(super) async fn page(
        &self,
        filter: &EventFilter,
        from: EventsFrom,
        limit: usize,
        now_ms: i64,
    ) -> Result<Found, ArchiveError> {
        self.bring_up_to_date().await?;
        Ok(self.read().page(filter, from, limit, now_ms))
    }

    /// Reads what has changed, if it is time to; waits for it where that can be waited for.
    ///
    /// # Errors
    /// If nothing was ever read, and cannot be now.
    pub(super) async fn bring_up_to_date(&self) -> Result<(), ArchiveError> {
        let asked = Instant::now();
        let (has_any, has_failed) = {
            let kept = self.read();
            if !kept.is_due(asked) {
                return kept.usable();
            }
            (kept.read.is_some(), kept.failed.is_some())
        };
        let turn = match (self.reading.clone().try_lock_owned(), has_any) {
            (Ok(turn), _) => turn,
            // Somebody reads: what is there is a moment old.
            (Err(_), true) => return Ok(()),
            (Err(_), false) => {
                let turn = self.reading.clone().lock_owned();
                let turn = tokio::time::timeout(FIRST_WAIT, turn).await.map_err(|_| too_slow())?;
                let kept = self.read();
                if !kept.is_due(Instant::now()) {
                    return kept.usable();
                }
                drop(kept);
                turn
            }
        };
        let index = self.clone();
        // A task of its own: a caller who hangs up does not stop it.
        let reading = tokio::spawn(async move { index.update(turn).await });
        let wait = match (has_any, has_failed) {
            (true, true) => return Ok(()),
            (true, false) => WAIT,
            (false, _) => FIRST_WAIT,
        };
        // Where it takes longer, or fails, what was read before is listed.
        let _ = tokio::time::timeout(wait, reading).await;
        self.read().usable()
    }

    /// Reads what has changed; the guard sees to it that nobody else does meanwhile.
    async fn update(&self, turn: OwnedMutexGuard<()>) {
        let (begun, begun_ms) = (Instant::now(), unix_now_ms());
        let is_whole = {
            let kept = self.read();
            kept.whole_at.is_none_or(|at| begun.duration_since(at) > WHOLE_EVERY)
        };
        let changed = self.changed(is_whole).await;
        let mut kept = self.write();
        match changed {
            Ok((ids, changed)) => {
                for event in changed {
                    kept.note(Arc::new(event), begun);
                }
                kept.events.retain(|id, noted| noted.at > begun || ids.contains(id));
                kept.read = Some(Read { begun, begun_ms, took: begun.elapsed() });
                kept.failed = None;
                if is_whole {
                    kept.whole_at = Some(begun);
                }
            }
            Err(error) => {
                if kept.failed.is_none() {
                    tracing::warn!(%error, "lists of events show what was read before");
                }
                kept.failed = Some((Instant::now(), error));
            }
        }
        drop(kept);
        drop(turn);
    }

    /// The ids of the events that there are, and those events whose state is not the one in memory.
    async fn changed(
        &self,
        is_whole: bool,
    ) -> Result<(HashSet<EventId>, Vec<EventSummary>), ArchiveError> {
        let mut ids = HashSet::new();
        let mut others = Vec::new();
        let mut before = None;
        while ids.len() < LISTED_MAX {
            let limit = STAMPS_PAGE.min((LISTED_MAX - ids.len()) as u32);
            let page = self.archive.event_stamps(before, limit).await?;
            before = page.last().map(|last| last.id);
            ids.extend(page.iter().map(|stamp| stamp.id));
            let is_last = page.len() < limit as usize;
            let kept = self.read();
            let is_other = |stamp: &&StoredStamp| is_whole || kept.is_other(stamp);
            others.extend(page.iter().filter(is_other).map(|stamp| stamp.id));
            if is_last {
                break;
            }
        }
        let mut changed = Vec::with_capacity(others.len());
        for ids in others.chunks(EVENTS_PAGE) {
            changed.extend(self.archive.event_summaries(ids).await?);
        }
        Ok((ids, changed))
    }

    fn read(&self) -> RwLockReadGuard<'_, Kept> {
        // Nothing under this lock panics half-way through a change.
        self.kept.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Kept> {
        self.kept.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// Whether it is time to read.
    fn is_due(&self, now: Instant) -> bool {
        if self.failed.as_ref().is_some_and(|(at, _)| now.duration_since(*at) < FAILED_FOR) {
            return false;
        }
        self.read.is_none_or(|read| {
            let interval = INTERVAL.max(read.took * INTERVAL_FACTOR);
            now.saturating_duration_since(read.begun) >= interval
        })
    }

    /// Whether lists can be made.
    fn usable(&self) -> Result<(), ArchiveError> {
        match (&self.read, &self.failed) {
            (Some(_), _) => Ok(()),
            (None, Some((_, error))) => Err(error.clone()),
            (None, None) => Err(too_slow()),
        }
    }

    fn is_other(&self, stamp: &StoredStamp) -> bool {
        self.events.get(&stamp.id).is_none_or(|noted| {
            let known = &noted.event;
            (known.stamp(), known.load_state) != (stamp.stamp(), stamp.load_state)
        })
    }

    /// INVARIANT: an older state never replaces a newer one.
    fn note(&mut self, event: Arc<EventSummary>, at: Instant) {
        let id = event.id;
        let is_stale = |noted: &Noted| noted.event.stamp() > event.stamp();
        if self.events.get(&id).is_some_and(is_stale) {
            return;
        }
        self.events.insert(id, Noted { event, at });
        if self.events.len() > LISTED_MAX {
            self.events.pop_first();
        }
    }

    fn page(&self, filter: &EventFilter, from: EventsFrom, limit: usize, now_ms: i64) -> Found {
        let (after, skip) = match from {
            EventsFrom::Number(first) => (Bound::Unbounded, first),
            EventsFrom::After(id) => (Bound::Excluded(id), 0),
        };
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        let is_shown = |event: &&Arc<EventSummary>| filter.lets_through(event, now_ms);
        let all = self.events.values().map(|noted| &noted.event);
        let total = match *filter == EventFilter::default() {
            true => self.events.len(),
            false => all.filter(is_shown).count(),
        };
        let behind = self.events.range((after, Bound::Unbounded)).map(|(_, noted)| &noted.event);
        let mut behind = behind.filter(is_shown).skip(skip);
        let events = behind.by_ref().take(limit).cloned().collect();
        let has_more = behind.next().is_some();
        let as_of_ms = self.read.map_or(0, |read| read.begun_ms);
        Found { events, total: total as u64, has_more, as_of_ms }
    }
}

/// Whether what is in memory is older than this state of the event.
fn is_older(noted: &Noted, event: &Event) -> bool {
    let known = &noted.event;
    // What this process knows of a load before MongoDB does has the same stamp.
    let is_opened = |state: LoadState| state == LoadState::Opened;
    known.stamp() < event.stamp()
        || (known.stamp() == event.stamp()
            && is_opened(event.load_state)
            && !is_opened(known.load_state))
}

fn too_slow() -> ArchiveError {
    ArchiveError::Unavailable(format!("the events were not read within {FIRST_WAIT:?}"))
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

    fn kept(events: impl IntoIterator<Item = Arc<EventSummary>>) -> Kept {
        let mut kept = Kept::default();
        events.into_iter().for_each(|event| kept.note(event, Instant::now()));
        kept
    }

    fn ids(found: &Found) -> Vec<u32> {
        found.events.iter().map(|event| event.id.0).collect()
    }

    #[test]
    fn an_older_state_never_replaces_a_newer_one() {
        let mut kept = kept([summary(1, 5, None)]);
        kept.note(summary(1, 4, Some(1)), Instant::now());
        assert_eq!(kept.events[&EventId(1)].event.edits, 5);
        kept.note(summary(1, 6, Some(1)), Instant::now());
        assert_eq!(kept.events[&EventId(1)].event.edits, 6);
    }

    #[test]
    fn pages_are_of_what_the_filter_lets_through() {
        let kept = kept((1..=9).map(|id| summary(id, 0, (id % 2 == 1).then_some(i64::from(id)))));
        let odd = EventFilter { from_ms: Some(3), to_ms: Some(9), ..EventFilter::default() };
        let page = |from, limit| kept.page(&odd, from, limit, 0);
        let first = page(EventsFrom::Number(0), 2);
        assert_eq!((ids(&first), first.total, first.has_more), (vec![3, 5], 3, true));
        let second = page(EventsFrom::After(EventId(5)), 2);
        assert_eq!((ids(&second), second.total, second.has_more), (vec![7], 3, false));
        assert_eq!(ids(&page(EventsFrom::Number(2), 2)), [7]);
        assert!(ids(&page(EventsFrom::Number(u64::MAX), 2)).is_empty());
        // Its sale begins at 5,000.
        let status = |status, now_ms| {
            let filter = EventFilter { status: Some(status), ..EventFilter::default() };
            kept.page(&filter, EventsFrom::Number(0), 100, now_ms).total
        };
        assert_eq!((status("SCHEDULED", 4_999), status("ON_SALE", 4_999)), (9, 0));
        assert_eq!((status("SCHEDULED", 5_000), status("ON_SALE", 5_000)), (0, 9));
    }

    #[test]
    fn readings_are_paced_by_what_they_take() {
        let now = Instant::now();
        let mut kept = Kept::default();
        assert!(kept.is_due(now) && kept.usable().is_err());
        kept.read = Some(Read { begun: now, begun_ms: 1, took: Duration::from_secs(1) });
        assert!(!kept.is_due(now + Duration::from_secs(19)) && kept.usable().is_ok());
        assert!(kept.is_due(now + Duration::from_secs(20)));
        kept.failed = Some((now + Duration::from_secs(20), too_slow()));
        assert!(!kept.is_due(now + Duration::from_millis(20_999)));
        assert!(kept.is_due(now + Duration::from_secs(21)) && kept.usable().is_ok());
    }
}
