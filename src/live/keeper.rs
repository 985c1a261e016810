//! Keeps views: builds those that are wanted, lets go of those that nobody uses, and has quiet
//! partitions beat.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant as Moment;

use super::building::{self, Fault};
use super::slot::Slot;
use super::{Inner, LiveState};
use crate::backoff::Backoff;
use crate::domain::{EventId, Partition};
use crate::lifecycle::Shutdown;

/// Views that are built at once.
const BUILDS_MAX: usize = 4;
/// A view that is lost is built again only if it was used so lately; else when it is next used.
const WANTED_FOR: Duration = Duration::from_secs(30);
/// Views that were lost together are not built together: each waits up to so long.
const JITTER_MAX: Duration = Duration::from_millis(250);
/// Pauses after a building that failed.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// How often everything is looked over.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// Shortest time between two looks, however many requests miss a view.
const LOOK_STEP: Duration = Duration::from_millis(5);
/// How long a partition is kept fresh for somebody who asked.
const FRESH_FOR: Duration = Duration::from_secs(5);
/// Shortest time between two looks for partitions to beat.
const BEAT_STEP: Duration = Duration::from_millis(20);

/// What is known of a view that is to be built.
struct Missing {
    not_before: Instant,
    backoff: Backoff,
    is_building: bool,
}

/// Builds and drops views until shutdown is requested. What it knows of missing views and of builds
/// under way is its own, so a task that begins anew finds no mark of the one before.
pub(super) async fn keep_views(inner: Arc<Inner>, shutdown: Shutdown) {
    let mut missing: HashMap<EventId, Missing> = HashMap::new();
    let mut building = FuturesUnordered::new();
    loop {
        let looked_at = Moment::now();
        look_over(&inner, &mut missing);
        let places = places(&inner, building.len());
        for slot in to_build(&inner, &mut missing, places) {
            building.push(build(&inner, slot));
        }
        let has_place = places > 0 && building.len() < BUILDS_MAX;
        let pause = pause_until_look(&missing, has_place, Instant::now());
        let wanted = async {
            inner.wanted.notified().await;
            tokio::time::sleep_until(looked_at + LOOK_STEP).await;
        };
        tokio::select! {
            Some((slot, built)) = building.next() => note_built(&inner, &mut missing, &slot, built),
            () = wanted => {}
            () = tokio::time::sleep(pause) => {}
            () = shutdown.requested() => return,
        }
    }
}

/// How many more views may be built now.
fn places(inner: &Inner, building: usize) -> usize {
    let state = *inner.state.lock().unwrap_or_else(PoisonError::into_inner);
    let is_full = state.seats >= inner.settings.seats_max;
    if is_full { 0 } else { BUILDS_MAX.saturating_sub(building) }
}

/// How long until the next look. While every place is taken, what is due waits for one; its pause
/// is over already and says nothing.
fn pause_until_look(
    missing: &HashMap<EventId, Missing>,
    has_place: bool,
    now: Instant,
) -> Duration {
    let waiting = missing.values().filter(|one| has_place && !one.is_building);
    let next = waiting.map(|one| one.not_before).min();
    next.map_or(LOOK_INTERVAL, |at| at.saturating_duration_since(now).min(LOOK_INTERVAL))
}

async fn build(inner: &Inner, slot: Arc<Slot>) -> (Arc<Slot>, Result<(), Fault>) {
    let built = building::build(inner, &slot).await;
    (slot, built)
}

/// Notes which views are missing, and drops those that nobody uses.
fn look_over(inner: &Inner, missing: &mut HashMap<EventId, Missing>) {
    let now = Instant::now();
    let mut state = LiveState::default();
    let slots = inner.slots.load();
    missing.retain(|event, one| one.is_building || slots.contains_key(event));
    for (event, slot) in slots.iter() {
        let unused_for = slot.unused_for();
        match slot.view() {
            Some(_) if unused_for > inner.settings.idle => {
                // In this order: whoever has found the slot before sees that it is followed no more.
                slot.put(None);
                inner.remove(*event);
                inner.observer.view("idle");
            }
            Some(view) => {
                state.views += 1;
                state.seats += view.seats() as usize;
                missing.remove(event);
            }
            None if unused_for > WANTED_FOR => {
                if !missing.get(event).is_some_and(|one| one.is_building) {
                    inner.remove(*event);
                    missing.remove(event);
                }
            }
            None => {
                state.missing += 1;
                missing.entry(*event).or_insert_with(|| Missing {
                    // The first build of an event waits for nothing; what was lost comes spread.
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

/// The slots whose views are to be built now, as many as there are places, those used last first.
fn to_build(
    inner: &Inner,
    missing: &mut HashMap<EventId, Missing>,
    places: usize,
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
    // Each key is taken once: it reads a clock and what requests note meanwhile, and a sort whose
    // keys change under it panics.
    slots.sort_by_cached_key(|slot| slot.unused_for());
    slots.truncate(places);
    for slot in &slots {
        if let Some(one) = missing.get_mut(&slot.event()) {
            one.is_building = true;
        }
    }
    slots
}

fn note_built(
    inner: &Inner,
    missing: &mut HashMap<EventId, Missing>,
    slot: &Slot,
    built: Result<(), Fault>,
) {
    let event = slot.event();
    match built {
        Ok(()) => {
            missing.remove(&event);
            inner.observer.view("built");
        }
        Err(fault) => {
            match &fault {
                // Its bytes and its lists disagree: a defect, or somebody else's writes.
                Fault::Differs(_) | Fault::Unreadable(_) => {
                    inner.observer.view("differs");
                    tracing::error!(event_id = event.0, %fault, "no live view of this event");
                }
                _ => {
                    inner.observer.view("failed");
                    tracing::debug!(event_id = event.0, %fault, "a live view was not built");
                }
            }
            if let Some(one) = missing.get_mut(&event) {
                one.is_building = false;
                one.not_before = Instant::now() + one.backoff.pause();
            }
        }
    }
}

/// Has partitions beat that somebody asks about and that are quiet, until shutdown is requested.
pub(super) async fn keep_fresh(inner: Arc<Inner>, shutdown: Shutdown) {
    let staleness = inner.settings.staleness;
    // Asked for early enough that the answer and its entry come before the last one is too old.
    let (quiet_for, min_age) = (staleness * 3 / 8, staleness / 4);
    let mut stale_since: HashMap<Partition, Instant> = HashMap::new();
    // Each by itself: a node that is slow or gone holds up its own partitions alone.
    let (mut beats, mut beating) = (FuturesUnordered::new(), HashSet::new());
    loop {
        let mut age = Duration::ZERO;
        let now = Instant::now();
        for partition in inner.keys().all_partitions() {
            let followed = inner.followed(partition);
            let since_read = followed.freshness.since_read();
            let is_wanted = followed.freshness.is_wanted(FRESH_FOR);
            if is_wanted
                && since_read.is_none_or(|since| since > quiet_for)
                && beating.insert(partition)
            {
                beats.push(beat(&inner, partition, min_age));
            }
            let is_wanted = is_wanted && !inner.engine.is_node_gone(partition);
            if is_wanted && since_read.is_none_or(|since| since > staleness) {
                stale_since.entry(partition).or_insert(now);
            } else {
                stale_since.remove(&partition);
            }
            if is_wanted {
                age = age.max(since_read.unwrap_or(staleness));
            }
        }
        note_staleness(&inner, age, stale_since.values().any(|since| *since + staleness < now));
        let pause = asked_or(&inner, staleness / 8);
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

/// Waits so long, or until somebody met a stale view; a short while at least.
async fn asked_or(inner: &Inner, bound: Duration) {
    tokio::time::sleep(BEAT_STEP).await;
    // Nothing to learn from which of the two it was.
    let _ = tokio::time::timeout(bound, inner.stale.notified()).await;
}

fn note_staleness(inner: &Inner, age: Duration, stays_stale: bool) {
    let is_connected = inner.is_connected();
    let mut state = inner.state.lock().unwrap_or_else(PoisonError::into_inner);
    state.age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
    state.is_stale = stays_stale || !is_connected;
}

/// Has a partition beat; which one it was. At the log's limit, and at Redis' memory limit, it does
/// not: the views become stale, and nothing is refused by them.
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

    fn missing(not_before: &[Instant], building: usize) -> HashMap<EventId, Missing> {
        let one = |(number, not_before): (usize, &Instant)| {
            let backoff = Backoff::new(RETRY.0, RETRY.1);
            let is_building = number < building;
            (EventId(number as u32), Missing { not_before: *not_before, backoff, is_building })
        };
        not_before.iter().enumerate().map(one).collect()
    }

    #[test]
    fn look_waits_for_the_next_due_view_and_for_none_while_places_are_taken() {
        let now = Instant::now();
        let (early, late) = (now, now + LOOK_INTERVAL / 2);
        let pause = |not_before: &[Instant], building, has_place| {
            pause_until_look(&missing(not_before, building), has_place, now)
        };
        assert_eq!(pause(&[], 0, true), LOOK_INTERVAL);
        assert_eq!(pause(&[late, now + 9 * LOOK_INTERVAL], 0, true), LOOK_INTERVAL / 2);
        assert_eq!(pause(&[early, late], 1, true), LOOK_INTERVAL / 2);
        // Builds wait for a place: their pause is over, and nothing can be done about them.
        assert_eq!(pause(&[early, early], 1, false), LOOK_INTERVAL);
    }
}
