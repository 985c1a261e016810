//! Releases overdue holds of quiet events. Nothing depends on it: every script releases what it
//! meets. It makes a release visible as soon as it is due, rather than with the next request.
//!
//! Asks Redis alone, so it goes on while MongoDB is away.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use tracing::debug;

use super::Worker;
use crate::domain::{EventId, Partition};
use crate::redis::{ExpireReply, Timed};

/// Overdue holds released by one call.
const BATCH: i64 = 100;
/// Calls of one event in one turn; what is left has the next turn.
const CALLS_MAX: u32 = 10;
/// Events swept at the same time.
const AT_ONCE_MAX: usize = 16;
/// Shortest pause between two turns.
const PAUSE_MIN: Duration = Duration::from_millis(20);

/// Sweeps until told to stop.
pub(super) async fn sweep(worker: Worker) {
    let interval = Duration::from_millis(worker.config.sweep_interval_ms);
    let mut looks: HashMap<EventId, Look> = HashMap::new();
    let mut listed: Option<Instant> = None;
    let mut pause = Duration::ZERO;
    while worker.shutdown.sleep_or_shutdown(pause).await {
        if listed.is_none_or(|at| at.elapsed() >= interval) {
            let LoadedEvents { events, silent } = worker.loaded_events().await;
            let keys = worker.engine.keys();
            looks.retain(|event, _| {
                events.contains(event) || silent.contains(&keys.partition_of(*event))
            });
            for event in events {
                looks.entry(event).or_insert_with(Look::now);
            }
            listed = Some(Instant::now());
        }
        let now = Instant::now();
        let due = looks.iter().filter(|(_, look)| look.due <= now);
        let due: Vec<(EventId, Look)> = due.map(|(event, look)| (*event, *look)).collect();
        let swept = stream::iter(due).map(|(event, look)| {
            let worker = worker.clone();
            async move { (event, worker.sweep_event(event, look, interval).await) }
        });
        let swept: Vec<(EventId, Look)> = swept.buffer_unordered(AT_ONCE_MAX).collect().await;
        looks.extend(swept);
        let next = looks.values().map(|look| look.due).min();
        let until = next.map_or(interval, |due| due.saturating_duration_since(Instant::now()));
        pause = until.clamp(PAUSE_MIN, interval.max(PAUSE_MIN));
    }
}

/// When an event is looked at next, and the generation it had.
#[derive(Clone, Copy, Debug)]
struct Look {
    generation: u64,
    due: Instant,
}

impl Look {
    /// An event that was never looked at. The first call tells its generation.
    fn now() -> Self {
        Look { generation: 0, due: Instant::now() }
    }
}

/// The events that are in Redis, as far as it answers.
#[derive(Debug, Default)]
pub(super) struct LoadedEvents {
    pub events: HashSet<EventId>,
    /// Partitions whose events are not known now.
    pub silent: Vec<Partition>,
}

impl Worker {
    /// All events that are in Redis. A node that is slow or gone holds up its own partitions alone.
    pub(super) async fn loaded_events(&self) -> LoadedEvents {
        let partitions = self.engine.keys().all_partitions();
        let asks = partitions.map(|partition| self.engine.loaded_events(partition));
        let answers = join_all(asks).await;
        let mut loaded = LoadedEvents::default();
        for (partition, answer) in self.engine.keys().all_partitions().zip(answers) {
            match answer {
                Ok(events) => loaded.events.extend(events),
                Err(error) => {
                    debug!(%error, partition = partition.0, "events cannot be listed");
                    loaded.silent.push(partition);
                }
            }
        }
        loaded
    }

    async fn sweep_event(&self, event: EventId, look: Look, interval: Duration) -> Look {
        let mut generation = look.generation;
        let mut wait = interval;
        for _ in 0..CALLS_MAX {
            match self.engine.expire(event, generation, BATCH).await {
                Ok(Timed {
                    reply: ExpireReply::Expired { released, next_deadline_ms },
                    now_ms,
                }) => {
                    wait = until_next(next_deadline_ms, now_ms).min(interval);
                    if released < BATCH {
                        break;
                    }
                }
                // Overdue is overdue in every generation: Redis' own will do.
                Ok(Timed {
                    reply: ExpireReply::GenerationMismatch { generation: other }, ..
                }) => {
                    generation = other;
                }
                Ok(_) => break,
                Err(error) => {
                    debug!(event_id = event.0, %error, "an event is swept later");
                    break;
                }
            }
        }
        Look { generation, due: Instant::now() + wait }
    }
}

/// Time until the next hold of the event is overdue.
fn until_next(deadline_ms: Option<i64>, now_ms: i64) -> Duration {
    // A deadline that has passed is met by the next call.
    deadline_ms.map_or(Duration::MAX, |at_ms| Duration::from_millis((at_ms - now_ms).max(0) as u64))
}
