//! Maintains the views: builds requested ones, drops idle ones, and keeps quiet partitions fresh by
//! appending beats.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant as Moment;

use super::building;
use super::entry_buffer::BuildError;
use super::inner::Inner;
use super::observer::LiveState;
use super::slot::Slot;
use crate::backoff::Backoff;
use crate::domain::{EventId, Partition};
use crate::lifecycle::Shutdown;

/// Views built at the same time.
const BUILDS_MAX: usize = 4;
/// A lost view is rebuilt only if it was used this recently; otherwise on its next use.
const REBUILD_IF_USED_WITHIN: Duration = Duration::from_secs(30);
/// Views that were lost together are rebuilt at different times: each waits up to this long.
const JITTER_MAX: Duration = Duration::from_millis(250);
/// Shortest and longest pause after a failed build.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// Interval of the scans over all slots.
const SCAN_INTERVAL: Duration = Duration::from_millis(500);
/// Shortest time between two scans, however many requests miss a view.
const SCAN_STEP: Duration = Duration::from_millis(5);
/// How long a partition is kept fresh after a request.
const FRESH_FOR: Duration = Duration::from_secs(5);
/// Shortest time between two checks for quiet partitions.
const BEAT_STEP: Duration = Duration::from_millis(20);

/// A missing view that is requested.
struct MissingView {
    not_before: Instant,
    backoff: Backoff,
    is_building: bool,
}

/// Builds and drops views until shutdown is requested. The state of missing views and of running builds is
/// local, so a restarted task begins with none.
pub(super) async fn keep_views(inner: Arc<Inner>, shutdown: Shutdown) {
    let mut missing: HashMap<EventId, MissingView> = HashMap::new();
    let mut building = FuturesUnordered::new();
    loop {
        let scanned_at = Moment::now();
        scan(&inner, &mut missing);
        let capacity = build_capacity(&inner, building.len());
        for slot in due_builds(&inner, &mut missing, capacity) {
            building.push(build(&inner, slot));
        }
        let has_capacity = capacity > 0 && building.len() < BUILDS_MAX;
        let pause = pause_until_scan(&missing, has_capacity, Instant::now());
        let requested = async {
            inner.build_requested.notified().await;
            tokio::time::sleep_until(scanned_at + SCAN_STEP).await;
        };
        tokio::select! {
            Some((slot, built)) = building.next() => record_build(&inner, &mut missing, &slot, built),
            () = requested => {}
            () = tokio::time::sleep(pause) => {}
            () = shutdown.requested() => return,
        }
    }
}

/// The number of further views that may be built now.
fn build_capacity(inner: &Inner, building: usize) -> usize {
    let state = *inner.state.lock().unwrap_or_else(PoisonError::into_inner);
    let is_full = state.seats >= inner.settings.seats_max;
    if is_full { 0 } else { BUILDS_MAX.saturating_sub(building) }
}

/// The time until the next scan. Without capacity, due builds wait for a running one to end, so their
/// deadlines are ignored.
fn pause_until_scan(
    missing: &HashMap<EventId, MissingView>,
    has_capacity: bool,
    now: Instant,
) -> Duration {
    let waiting = missing.values().filter(|one| has_capacity && !one.is_building);
    let next = waiting.map(|one| one.not_before).min();
    next.map_or(SCAN_INTERVAL, |at| at.saturating_duration_since(now).min(SCAN_INTERVAL))
}

async fn build(inner: &Inner, slot: Arc<Slot>) -> (Arc<Slot>, Result<(), BuildError>) {
    let built = building::build(inner, &slot).await;
    (slot, built)
}

/// Records which views are missing, and drops idle ones.
fn scan(inner: &Inner, missing: &mut HashMap<EventId, MissingView>) {
    let now = Instant::now();
    let mut state = LiveState::default();
    let slots = inner.slots.load();
    missing.retain(|event, one| one.is_building || slots.contains_key(event));
    for (event, slot) in slots.iter() {
        let unused_for = slot.unused_for();
        match slot.view() {
            Some(_) if unused_for > inner.settings.idle => {
                // In this order: a caller that already has the slot sees that its view is gone.
                slot.set_view(None);
                inner.remove(*event);
                inner.observer.view("idle");
            }
            Some(view) => {
                state.views += 1;
                state.seats += view.seats() as usize;
                missing.remove(event);
            }
            None if unused_for > REBUILD_IF_USED_WITHIN => {
                if !missing.get(event).is_some_and(|one| one.is_building) {
                    inner.remove(*event);
                    missing.remove(event);
                }
            }
            None => {
                state.missing += 1;
                missing.entry(*event).or_insert_with(|| MissingView {
                    // The first build of an event starts at once; rebuilds are spread.
                    not_before: now
                        + if slot.was_lost() {
                            JITTER_MAX.mul_f64(rand::random())
                        } else {
                            Duration::ZERO
                        },
                    backoff: Backoff::new(RETRY.0, RETRY.1),
                    is_building: false,
                });
            }
        }
    }
    let mut kept = inner.state.lock().unwrap_or_else(PoisonError::into_inner);
    (kept.views, kept.seats, kept.missing) = (state.views, state.seats, state.missing);
    inner.observer.state(&kept);
}

/// The slots whose views are to be built now, at most `capacity`, the most recently used first.
fn due_builds(
    inner: &Inner,
    missing: &mut HashMap<EventId, MissingView>,
    capacity: usize,
) -> Vec<Arc<Slot>> {
    let now = Instant::now();
    let due = |event: &EventId| {
        missing.get(event).is_some_and(|one| !one.is_building && one.not_before <= now)
    };
    let mut slots: Vec<Arc<Slot>> = inner
        .slots
        .load()
        .iter()
        .filter(|(event, _)| due(event))
        .map(|row| row.1.clone())
        .collect();
    // Each key is computed once: it reads a clock and is changed by requests, and a sort panics if its
    // keys change.
    slots.sort_by_cached_key(|slot| slot.unused_for());
    slots.truncate(capacity);
    for slot in &slots {
        if let Some(one) = missing.get_mut(&slot.event()) {
            one.is_building = true;
        }
    }
    slots
}

fn record_build(
    inner: &Inner,
    missing: &mut HashMap<EventId, MissingView>,
    slot: &Slot,
    built: Result<(), BuildError>,
) {
    let event = slot.event();
    match built {
        Ok(()) => {
            missing.remove(&event);
            inner.observer.view("built");
        }
        Err(error) => {
            match &error {
                // Its bytes and its lists disagree: a defect, or writes by another program.
                BuildError::Differs(_) | BuildError::Unreadable(_) => {
                    inner.observer.view("differs");
                    tracing::error!(event_id = event.0, %error, "no live view of this event");
                }
                _ => {
                    inner.observer.view("failed");
                    tracing::debug!(event_id = event.0, %error, "a live view was not built");
                }
            }
            if let Some(one) = missing.get_mut(&event) {
                one.is_building = false;
                one.not_before = Instant::now() + one.backoff.pause();
            }
        }
    }
}

/// Appends beats to requested partitions that are quiet, until shutdown is requested.
pub(super) async fn keep_fresh(inner: Arc<Inner>, shutdown: Shutdown) {
    let staleness = inner.settings.staleness;
    // Early enough that the beat arrives before the last entry is too old.
    let (quiet_for, min_age) = (staleness * 3 / 8, staleness / 4);
    let mut stale_since: HashMap<Partition, Instant> = HashMap::new();
    // Each by itself: a slow or missing node delays only its own partitions.
    let (mut beats, mut beating) = (FuturesUnordered::new(), HashSet::new());
    loop {
        let mut age = Duration::ZERO;
        let now = Instant::now();
        for partition in inner.keys().all_partitions() {
            let freshness = &inner.tail(partition).freshness;
            let since_read = freshness.since_read();
            let is_requested = freshness.is_requested(FRESH_FOR);
            if is_requested
                && since_read.is_none_or(|since| since > quiet_for)
                && beating.insert(partition)
            {
                beats.push(beat(&inner, partition, min_age));
            }
            let is_requested = is_requested && !inner.engine.is_node_gone(partition);
            if is_requested && since_read.is_none_or(|since| since > staleness) {
                stale_since.entry(partition).or_insert(now);
            } else {
                stale_since.remove(&partition);
            }
            if is_requested {
                age = age.max(since_read.unwrap_or(staleness));
            }
        }
        note_staleness(&inner, age, stale_since.values().any(|since| *since + staleness < now));
        let pause = wait_for_stale(&inner, staleness / 8);
        tokio::pin!(pause);
        loop {
            tokio::select! {
                Some(partition) = beats.next() => drop(beating.remove(&partition)),
                () = &mut pause => break,
                () = shutdown.requested() => return,
            }
        }
    }
}

/// Waits for `bound`, or until a request meets a stale view; at least [`BEAT_STEP`].
async fn wait_for_stale(inner: &Inner, bound: Duration) {
    tokio::time::sleep(BEAT_STEP).await;
    // Both outcomes lead to the next check.
    let _ = tokio::time::timeout(bound, inner.stale.notified()).await;
}

fn note_staleness(inner: &Inner, age: Duration, stays_stale: bool) {
    let is_connected = inner.is_connected();
    let mut state = inner.state.lock().unwrap_or_else(PoisonError::into_inner);
    state.age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
    state.is_stale = stays_stale || !is_connected;
}

/// Appends a beat to a partition; returns the partition. At the log's limit, and at Redis' memory limit,
/// none is appended: the views become stale and refuse nothing.
async fn beat(inner: &Inner, partition: Partition, min_age: Duration) -> Partition {
    inner.observer.beat();
    let (min_age_ms, entries_max) = (min_age.as_millis() as i64, inner.settings.log_entries_max);
    if let Err(error) = inner.engine.beat(partition, min_age_ms, entries_max).await {
        tracing::debug!(partition = partition.0, %error, "no beat");
    }
    partition
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(not_before: &[Instant], building: usize) -> HashMap<EventId, MissingView> {
        let one = |(number, not_before): (usize, &Instant)| {
            let backoff = Backoff::new(RETRY.0, RETRY.1);
            let is_building = number < building;
            (EventId(number as u32), MissingView { not_before: *not_before, backoff, is_building })
        };
        not_before.iter().enumerate().map(one).collect()
    }

    #[test]
    fn scan_waits_for_the_next_due_build_unless_there_is_no_capacity() {
        let now = Instant::now();
        let (early, late) = (now, now + SCAN_INTERVAL / 2);
        let pause = |not_before: &[Instant], building, has_capacity| {
            pause_until_scan(&missing(not_before, building), has_capacity, now)
        };
        assert_eq!(pause(&[], 0, true), SCAN_INTERVAL);
        assert_eq!(pause(&[late, now + 9 * SCAN_INTERVAL], 0, true), SCAN_INTERVAL / 2);
        assert_eq!(pause(&[early, late], 1, true), SCAN_INTERVAL / 2);
        // Without capacity, due builds do not shorten the pause.
        assert_eq!(pause(&[early, early], 1, false), SCAN_INTERVAL);
    }
}
