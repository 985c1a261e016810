//! Keeps views: builds those that are wanted, lets go of those that nobody uses, and has quiet
//! partitions beat.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use tokio::sync::watch;

use super::building::{self, Fault};
use super::slot::Slot;
use super::{Inner, LiveState};
use crate::backoff::Backoff;
use crate::domain::{EventId, Partition};

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

/// Builds and drops views, until `stop` turns true.
pub(super) async fn keep_views(inner: Arc<Inner>, mut stop: watch::Receiver<bool>) {
    let mut missing: HashMap<EventId, Missing> = HashMap::new();
    let mut building = FuturesUnordered::new();
    loop {
        let due_in = look_over(&inner, &mut missing);
        for slot in to_build(&inner, &mut missing, building.len()) {
            building.push(build(&inner, slot));
        }
        tokio::select! {
            Some((slot, built)) = building.next() => note_built(&inner, &mut missing, &slot, built),
            () = inner.wanted.notified() => {}
            () = tokio::time::sleep(due_in) => {}
            // A sender that is gone means the same.
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

async fn build(inner: &Inner, slot: Arc<Slot>) -> (Arc<Slot>, Result<(), Fault>) {
    let built = building::build(inner, &slot).await;
    (slot, built)
}

/// Notes which views are missing, and drops those that nobody uses. Gives how long until the next
/// look.
fn look_over(inner: &Inner, missing: &mut HashMap<EventId, Missing>) -> Duration {
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
    {
        let mut kept = inner.state.lock().unwrap_or_else(PoisonError::into_inner);
        (kept.views, kept.seats, kept.missing) = (state.views, state.seats, state.missing);
        inner.observer.state(&kept);
    }
    let next = missing.values().filter(|one| !one.is_building).map(|one| one.not_before).min();
    next.map_or(LOOK_INTERVAL, |at| at.saturating_duration_since(now).min(LOOK_INTERVAL))
}

/// The slots whose views are to be built now, those used last first.
fn to_build(
    inner: &Inner,
    missing: &mut HashMap<EventId, Missing>,
    building: usize,
) -> Vec<Arc<Slot>> {
    let now = Instant::now();
    let state = *inner.state.lock().unwrap_or_else(PoisonError::into_inner);
    if state.seats >= inner.settings.seats_max {
        return Vec::new();
    }
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
    slots.sort_by_key(|slot| slot.unused_for());
    slots.truncate(BUILDS_MAX.saturating_sub(building));
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

/// Has partitions beat that somebody asks about and that are quiet, until `stop` turns true.
pub(super) async fn keep_fresh(inner: Arc<Inner>, mut stop: watch::Receiver<bool>) {
    let staleness = inner.settings.staleness;
    // Asked for early enough that the answer and its entry come before the last one is too old.
    let (quiet_for, min_age) = (staleness * 3 / 8, staleness / 4);
    let mut stale_since: HashMap<Partition, Instant> = HashMap::new();
    loop {
        let mut quiet = Vec::new();
        let mut age = Duration::ZERO;
        let now = Instant::now();
        for partition in inner.keys().all_partitions() {
            let followed = inner.followed(partition);
            let since_read = followed.freshness.since_read();
            let is_wanted = followed.freshness.is_wanted(FRESH_FOR);
            if is_wanted && since_read.is_none_or(|since| since > quiet_for) {
                quiet.push(partition);
            }
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
        join_all(quiet.into_iter().map(|partition| beat(&inner, partition, min_age))).await;
        tokio::select! {
            () = asked_or(&inner, staleness / 8) => {}
            // A sender that is gone means the same.
            _ = stop.wait_for(|stop| *stop) => return,
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

async fn beat(inner: &Inner, partition: Partition, min_age: Duration) {
    inner.observer.beat();
    if let Err(error) = inner.engine.beat(partition, min_age.as_millis() as i64).await {
        tracing::debug!(partition = partition.0, %error, "no beat");
    }
}
