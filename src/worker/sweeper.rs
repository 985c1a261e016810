//! Releases overdue holds of quiet events. Correctness does not depend on it: every script releases
//! the overdue holds of its event first. The sweeper makes a release visible when it is due rather
//! than at the next request.
//!
//! An event is swept when its next hold is overdue, and after each change of its booking log, which
//! records every hold, extension and load. So quiet events cost nothing but a look at their log.
//!
//! It uses only Redis, so it continues while MongoDB is unavailable.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use tracing::debug;

use super::Worker;
use super::log_changes::LogChanges;
use crate::domain::{EventId, Partition};
use crate::redis::{ExpireReply, Timed};

/// Overdue holds released by one call.
const BATCH: i64 = 100;
/// Calls of one event in one round; the next round continues.
const CALLS_MAX: u32 = 10;
/// Events swept concurrently.
const AT_ONCE_MAX: usize = 16;
/// Shortest pause between two rounds.
const PAUSE_MIN: Duration = Duration::from_millis(20);
/// How long after a sweep an event is swept again, whatever its log shows.
const REVISIT: Duration = Duration::from_secs(30);

/// Sweeps until shutdown.
pub(super) async fn run(worker: Worker) {
    let interval = Duration::from_millis(worker.config.load().sweep_interval_ms);
    let mut sweeps: HashMap<EventId, NextSweep> = HashMap::new();
    let mut log_changes = LogChanges::default();
    let mut listed: Option<Instant> = None;
    let mut pause = Duration::ZERO;
    while worker.shutdown.sleep_or_shutdown(pause).await {
        if listed.is_none_or(|at| at.elapsed() >= interval) {
            // INVARIANT: before the events are swept; a later change is found in the next round.
            let changed = log_changes.find(&worker.engine).await;
            let LoadedEvents { events, unreachable } = worker.loaded_events().await;
            let keys = worker.engine.keys();
            sweeps.retain(|event, _| {
                events.contains(event) || unreachable.contains(&keys.partition_of(*event))
            });
            for event in events {
                let sweep = sweeps.entry(event).or_insert_with(NextSweep::now);
                if changed.contains(&keys.partition_of(event)) {
                    sweep.due = Instant::now();
                }
            }
            listed = Some(Instant::now());
        }
        let now = Instant::now();
        let due = sweeps.iter().filter(|(_, sweep)| sweep.due <= now);
        let due: Vec<(EventId, NextSweep)> = due.map(|(event, sweep)| (*event, *sweep)).collect();
        let swept = stream::iter(due).map(|(event, sweep)| {
            let worker = worker.clone();
            async move { (event, worker.sweep_event(event, sweep, interval).await) }
        });
        let swept: Vec<(EventId, NextSweep)> = swept.buffer_unordered(AT_ONCE_MAX).collect().await;
        sweeps.extend(swept);
        let next = sweeps.values().map(|sweep| sweep.due).min();
        let until = next.map_or(interval, |due| due.saturating_duration_since(Instant::now()));
        pause = until.clamp(PAUSE_MIN, interval.max(PAUSE_MIN));
    }
}

/// When an event is swept next, and its last known generation.
#[derive(Clone, Copy, Debug)]
struct NextSweep {
    generation: u64,
    due: Instant,
}

impl NextSweep {
    /// For an event that was never swept. The first call returns its generation.
    fn now() -> Self {
        NextSweep { generation: 0, due: Instant::now() }
    }
}

/// The events in Redis, of the nodes that respond.
#[derive(Debug, Default)]
pub(super) struct LoadedEvents {
    pub events: HashSet<EventId>,
    /// Partitions whose node does not respond: their events are unknown.
    pub unreachable: Vec<Partition>,
}

impl Worker {
    /// Lists all events in Redis. A slow or unavailable node delays only its own partitions.
    pub(super) async fn loaded_events(&self) -> LoadedEvents {
        let lanes = self.engine.lanes();
        let results = join_all(lanes.iter().map(|lane| self.engine.loaded_events(lane))).await;
        let mut loaded = LoadedEvents::default();
        for (lane, result) in lanes.iter().zip(results) {
            match result {
                Ok(events) => loaded.events.extend(events),
                Err(error) => {
                    debug!(%error, ?lane, "listing the events failed");
                    loaded.unreachable.extend(lane);
                }
            }
        }
        loaded
    }

    async fn sweep_event(&self, event: EventId, last: NextSweep, interval: Duration) -> NextSweep {
        let mut generation = last.generation;
        let mut wait = interval;
        for _ in 0..CALLS_MAX {
            match self.engine.expire(event, generation, BATCH).await {
                Ok(Timed {
                    reply: ExpireReply::Expired { released, next_deadline_ms },
                    now_ms,
                }) => {
                    wait = until_next(next_deadline_ms, now_ms).min(REVISIT);
                    if released < BATCH {
                        break;
                    }
                }
                // Any generation will do: an overdue hold is overdue in every one.
                Ok(Timed {
                    reply: ExpireReply::GenerationMismatch { generation: other }, ..
                }) => {
                    generation = other;
                }
                Ok(_) => break,
                Err(error) => {
                    debug!(event_id = event.0, %error, "sweeping an event failed; it is retried");
                    break;
                }
            }
        }
        NextSweep { generation, due: Instant::now() + wait }
    }
}

/// Time until the event's next hold is overdue.
fn until_next(deadline_ms: Option<i64>, now_ms: i64) -> Duration {
    // A deadline that has already passed is due at once.
    deadline_ms.map_or(Duration::MAX, |at_ms| Duration::from_millis((at_ms - now_ms).max(0) as u64))
}
