//! The seats and takings of events in metrics.
//!
//! Every API process exports them for the events that are being sold, at most [`EVENTS_MAX`], the newest.
//! All read the same booking log, so they agree but for milliseconds: take `max by (event_id)`, never
//! the sum. Events that are no longer sold leave the metrics.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::domain::EventId;
use crate::lifecycle::Shutdown;
use crate::sale::{EventTotals, KnownTotals, Sale};
use crate::telemetry::Metrics;

/// Events exported at a time.
const EVENTS_MAX: usize = 200;
/// Pause between two rounds.
const INTERVAL: Duration = Duration::from_secs(5);
/// How often an event without a view is read from Redis.
const REDIS_INTERVAL: Duration = Duration::from_secs(30);
/// Events read from Redis in one round.
const REDIS_READS_MAX: usize = 4;

/// An exported event.
struct Exported {
    /// Generation and version; `None` if read from Redis.
    version: Option<(u64, u64)>,
    currency: String,
}

/// Exports events until shutdown.
pub(super) async fn run(sale: Sale, metrics: Metrics, shutdown: Shutdown) {
    let mut gauges =
        EventGauges { sale, metrics, exported: HashMap::new(), tried_at: HashMap::new() };
    // An earlier run of this task may have left some.
    gauges.metrics.event_capacity.reset();
    gauges.metrics.event_seats.reset();
    gauges.metrics.event_takings.reset();
    loop {
        gauges.round().await;
        if !shutdown.sleep_or_shutdown(INTERVAL).await {
            return;
        }
    }
}

struct EventGauges {
    sale: Sale,
    metrics: Metrics,
    exported: HashMap<EventId, Exported>,
    /// When each event without a view was last asked of Redis.
    tried_at: HashMap<EventId, Instant>,
}

impl EventGauges {
    async fn round(&mut self) {
        let events = match self.sale.events_being_sold(EVENTS_MAX).await {
            Ok(events) => events,
            // The gauges stay: nothing is known of a change.
            Err(error) => return tracing::debug!(%error, "events are not listed for metrics"),
        };
        let ended: Vec<EventId> =
            self.exported.keys().filter(|event| !events.contains(event)).copied().collect();
        ended.into_iter().for_each(|event| self.remove(event));
        self.tried_at.retain(|event, _| events.contains(event));
        let mut without_view = Vec::new();
        for event in events {
            let known = self.exported.get(&event);
            match self.sale.totals_by_view(event, known.and_then(|known| known.version)).await {
                Ok(KnownTotals::Unchanged) => {}
                Ok(KnownTotals::Changed(version, totals)) => {
                    self.set(event, Some(version), &totals);
                }
                Ok(KnownTotals::NoView) => {
                    // What a view showed once looks current, and is not.
                    if known.is_some_and(|known| known.version.is_some()) {
                        self.remove(event);
                    }
                    without_view.push(event);
                }
                Err(error) => tracing::debug!(%error, event_id = event.0, "no totals of an event"),
            }
        }
        for event in self.due(without_view) {
            self.tried_at.insert(event, Instant::now());
            self.read_from_redis(event).await;
        }
    }

    /// The events to ask Redis about now: those that have waited longest, so that each has its turn.
    fn due(&self, mut events: Vec<EventId>) -> Vec<EventId> {
        let tried_at = |event: &EventId| self.tried_at.get(event).copied();
        events.retain(|event| tried_at(event).is_none_or(|at| at.elapsed() >= REDIS_INTERVAL));
        events.sort_by_key(tried_at);
        events.truncate(REDIS_READS_MAX);
        events
    }

    async fn read_from_redis(&mut self, event: EventId) {
        match self.sale.totals_by_redis(event).await {
            Ok(totals) => self.set(event, None, &totals),
            // Gone, or Redis does not answer: an old number would look current.
            Err(error) => {
                tracing::debug!(%error, event_id = event.0, "no totals of an event");
                self.remove(event);
            }
        }
    }

    fn set(&mut self, event: EventId, version: Option<(u64, u64)>, totals: &EventTotals) {
        let label = event.to_string();
        self.metrics.event_capacity.with_label_values(&[&label]).set(totals.capacity.into());
        let seats = totals.seats;
        for (state, count) in [
            ("free", seats.available),
            ("held", seats.hold),
            ("sold", seats.booked),
            ("blocked", seats.blocked),
        ] {
            self.metrics.event_seats.with_label_values(&[label.as_str(), state]).set(count.into());
        }
        let currency = totals.currency.clone();
        let takings = self.metrics.event_takings.with_label_values(&[label.as_str(), &currency]);
        takings.set(totals.takings);
        self.exported.insert(event, Exported { version, currency });
    }

    fn remove(&mut self, event: EventId) {
        let Some(exported) = self.exported.remove(&event) else { return };
        let label = event.to_string();
        // An error means that the gauge does not exist.
        let _ = self.metrics.event_capacity.remove_label_values(&[&label]);
        for state in ["free", "held", "sold", "blocked"] {
            let _ = self.metrics.event_seats.remove_label_values(&[label.as_str(), state]);
        }
        let currency = &exported.currency;
        let _ = self.metrics.event_takings.remove_label_values(&[label.as_str(), currency]);
    }
}
