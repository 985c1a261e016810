//! Shows waiting rooms in metrics: at most [`ROOMS_MAX`], the newest, at one call a room and interval.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};

use super::{AT_ONCE_MAX, RoomState};
use crate::domain::EventId;
use crate::telemetry::Metrics;
use crate::worker::Worker;

/// Rooms shown at a time.
const ROOMS_MAX: usize = 200;
/// How often they are read.
const INTERVAL: Duration = Duration::from_secs(5);
/// Departures are not needed here: more than any room knows.
const ALL_LEAVERS_KNOWN: u64 = 1 << 52;

/// The rooms that are shown.
#[derive(Default)]
pub(super) struct RoomGauges {
    shown: HashSet<EventId>,
    read_at: Option<Instant>,
}

impl RoomGauges {
    /// Shows the rooms if that is due. Rooms that are gone or do not answer are not shown: an old number
    /// would look current.
    pub async fn show(&mut self, worker: &Worker, rooms: &HashMap<EventId, RoomState>) {
        if self.read_at.is_some_and(|at| at.elapsed() < INTERVAL) {
            return;
        }
        self.read_at = Some(Instant::now());
        let mut events: Vec<EventId> = rooms.keys().copied().collect();
        events.sort_unstable_by(|one, other| other.cmp(one));
        events.truncate(ROOMS_MAX);
        let looks = events.into_iter().filter_map(|event| {
            let floors = rooms.get(&event)?.floors;
            Some(async move {
                let look = worker.engine.room_look(event, 0, ALL_LEAVERS_KNOWN, floors);
                (event, look.await)
            })
        });
        let looks: Vec<_> = stream::iter(looks).buffer_unordered(AT_ONCE_MAX).collect().await;
        let (metrics, mut shown) = (&worker.metrics, HashSet::new());
        for (event, look) in looks {
            let Ok(room) = look else { continue };
            let (label, waiting) = (event.to_string(), room.queue_size());
            let waiting = i64::try_from(waiting).unwrap_or(i64::MAX);
            metrics.room_queue_size.with_label_values(&[&label]).set(waiting);
            metrics.room_sessions.with_label_values(&[&label]).set(room.live.into());
            shown.insert(event);
        }
        self.shown.difference(&shown).for_each(|event| remove(metrics, *event));
        self.shown = shown;
    }
}

// An error means that the gauge does not exist.
fn remove(metrics: &Metrics, event: EventId) {
    let label = event.to_string();
    let _ = metrics.room_queue_size.remove_label_values(&[&label]);
    let _ = metrics.room_sessions.remove_label_values(&[&label]);
}
