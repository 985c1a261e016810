//! All events without their layouts, in the memory of each process: the source of event lists.
//!
//! Refreshed from MongoDB when a list is requested, by one refresh at a time and at most once a
//! second: first every event's stamp (from an index alone), then the events whose stamp differs
//! from the one in memory. Events that this process writes or reads are inserted at once. While
//! MongoDB is unavailable, lists show the state in memory.
//!
//! | what may happen | consequence |
//! |---|---|
//! | this process changes an event during a refresh | the refresh finds an older state, which does not replace the newer one |
//! | this process creates an event during a refresh | the refresh does not find it, and keeps it, as it is younger than the refresh |
//! | an event changes between the two steps of a refresh | the second step finds the newer state |
//! | a client hangs up | the refresh continues and completes |
//! | MongoDB does not answer | callers wait [`WAIT`] for the refresh that notices it, then not at all until one succeeds |
//! | the first refresh fails | callers get its error for [`FAILED_FOR`], then the next one refreshes |

mod state;

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, OwnedMutexGuard};

use super::unix_now_ms;
use crate::archive::{Archive, ArchiveError, StoredStamp};
use crate::domain::{Event, EventId, EventSummary};

pub(super) use state::IndexPage;
pub use state::{EventFilter, EventsFrom};
use state::{IndexState, LISTED_MAX, LastRefresh};

/// After this time every event is read anew, to notice changes made by other tools.
const FULL_REFRESH_INTERVAL: Duration = Duration::from_secs(600);
/// How long a caller waits for a refresh when there is an older state to list.
const WAIT: Duration = Duration::from_millis(500);
/// How long a caller waits for the first refresh.
const FIRST_WAIT: Duration = Duration::from_secs(10);
/// How long after a failed refresh no other is started.
const FAILED_FOR: Duration = Duration::from_secs(1);
/// Stamps per query.
const STAMPS_PAGE: u32 = 10_000;
/// Events per query.
const EVENTS_PAGE: usize = 500;

/// All events without their layouts. Cheap to clone.
#[derive(Clone)]
pub(super) struct EventIndex {
    archive: Archive,
    state: Arc<RwLock<IndexState>>,
    refreshing: Arc<Mutex<()>>,
}

impl EventIndex {
    pub(super) fn new(archive: Archive) -> Self {
        EventIndex { archive, state: Arc::default(), refreshing: Arc::default() }
    }

    /// Inserts an event that was just read or written, unless a newer state is present.
    pub(super) fn upsert(&self, event: &Event) {
        // Most events are up to date: a read lock suffices.
        if self.read().is_older_than(event) {
            self.write().upsert(Arc::new(event.summary()), Instant::now());
        }
    }

    /// Returns a page of the events that match the filter at `now_ms`.
    pub(super) async fn page(
        &self,
        filter: &EventFilter,
        from: EventsFrom,
        limit: usize,
        now_ms: i64,
    ) -> Result<IndexPage, ArchiveError> {
        self.bring_up_to_date().await?;
        Ok(self.read().page(filter, from, limit, now_ms))
    }

    /// Returns at most `limit` events that are opened, and on sale or paused at `now_ms`, the newest first.
    pub(super) async fn being_sold(
        &self,
        limit: usize,
        now_ms: i64,
    ) -> Result<Vec<EventId>, ArchiveError> {
        self.bring_up_to_date().await?;
        Ok(self.read().being_sold(limit, now_ms))
    }

    /// Starts a refresh if one is due, and waits for it within the bounds above.
    ///
    /// # Errors
    /// If no refresh has ever succeeded and this one does not either.
    pub(super) async fn bring_up_to_date(&self) -> Result<(), ArchiveError> {
        let (has_any, has_failed) = {
            let state = self.read();
            if !state.is_due(Instant::now()) {
                return state.usable();
            }
            (state.refreshed.is_some(), state.failed.is_some())
        };
        let guard = match (self.refreshing.clone().try_lock_owned(), has_any) {
            (Ok(guard), _) => guard,
            // Another refresh is running, and the present state is recent.
            (Err(_), true) => return Ok(()),
            (Err(_), false) => {
                let guard = self.refreshing.clone().lock_owned();
                let guard =
                    tokio::time::timeout(FIRST_WAIT, guard).await.map_err(|_| too_slow())?;
                let state = self.read();
                if !state.is_due(Instant::now()) {
                    return state.usable();
                }
                drop(state);
                guard
            }
        };
        let index = self.clone();
        // Its own task: a client that hangs up does not stop it.
        let refresh = tokio::spawn(async move { index.refresh(guard).await });
        let wait = match (has_any, has_failed) {
            (true, true) => return Ok(()),
            (true, false) => WAIT,
            (false, _) => FIRST_WAIT,
        };
        // If it takes longer or fails, the previous state is listed.
        let _ = tokio::time::timeout(wait, refresh).await;
        self.read().usable()
    }

    /// Reads the changed events; the guard excludes a second refresh.
    async fn refresh(&self, guard: OwnedMutexGuard<()>) {
        let (begun, begun_ms) = (Instant::now(), unix_now_ms());
        let is_full = self
            .read()
            .full_refresh_at
            .is_none_or(|at| begun.duration_since(at) > FULL_REFRESH_INTERVAL);
        let changed = self.changed(is_full).await;
        let mut state = self.write();
        match changed {
            Ok((ids, changed)) => {
                for event in changed {
                    state.upsert(Arc::new(event), begun);
                }
                state.retain_since(begun, &ids);
                state.refreshed = Some(LastRefresh { begun, begun_ms, took: begun.elapsed() });
                state.failed = None;
                if is_full {
                    state.full_refresh_at = Some(begun);
                }
            }
            Err(error) => {
                if state.failed.is_none() {
                    tracing::warn!(%error, "events cannot be read; lists show the previous state");
                }
                state.failed = Some((Instant::now(), error));
            }
        }
        drop(state);
        drop(guard);
    }

    /// The ids of all events, and the events that differ from the ones in memory.
    async fn changed(
        &self,
        is_full: bool,
    ) -> Result<(HashSet<EventId>, Vec<EventSummary>), ArchiveError> {
        let mut ids = HashSet::new();
        let mut differing = Vec::new();
        let mut before = None;
        while ids.len() < LISTED_MAX {
            let limit = STAMPS_PAGE.min((LISTED_MAX - ids.len()) as u32);
            let page = self.archive.event_stamps(before, limit).await?;
            before = page.last().map(|last| last.id);
            ids.extend(page.iter().map(|stamp| stamp.id));
            let is_last = page.len() < limit as usize;
            let state = self.read();
            let is_wanted = |stamp: &&StoredStamp| is_full || state.differs_from(stamp);
            differing.extend(page.iter().filter(is_wanted).map(|stamp| stamp.id));
            if is_last {
                break;
            }
        }
        let mut changed = Vec::with_capacity(differing.len());
        for ids in differing.chunks(EVENTS_PAGE) {
            changed.extend(self.archive.event_summaries(ids).await?);
        }
        Ok((ids, changed))
    }

    fn read(&self) -> RwLockReadGuard<'_, IndexState> {
        // No code under this lock panics half-way through a change.
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, IndexState> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn too_slow() -> ArchiveError {
    ArchiveError::Unavailable(format!("the events were not read within {FIRST_WAIT:?}"))
}
