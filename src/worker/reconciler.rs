//! Completes abandoned payments: payment intents that are not closed, and confirmations whose lease
//! has lapsed. This task finds the bookings; `sale::paying` decides the next safe step for each.
//!
//! Intents are read from MongoDB, which survives a loss of Redis; leases from Redis, because a
//! confirmation that crashed before writing its intent exists only there. Any number of workers may
//! do this concurrently.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use tracing::{debug, info};

use super::Worker;
use super::log_changes::LogChanges;
use crate::domain::{BookingId, EventId, Intent, IntentState, Outcome};
use crate::sale::SaleError;
use crate::telemetry::warn_repeated;

/// Due intents handled in one round; the next round continues.
const INTENTS_MAX: u32 = 200;
/// The pause after a full round, as a multiple of its duration: closing the intents of sold bookings
/// must not slow down sales in progress.
const BUSY_PAUSE_FACTOR: u32 = 4;
const BUSY_PAUSE_MAX: Duration = Duration::from_secs(5);
/// Lapsed leases of one event read at once, and pages read in one round.
const LEASES_MAX: u64 = 500;
const LEASE_PAGES_MAX: u64 = 20;
/// Bookings reconciled concurrently: each calls the payment provider.
const AT_ONCE_MAX: usize = 4;

/// How long after a look at an event's leases they are read again, whatever its log shows, ms.
const LEASES_AGAIN_AFTER_MS: i64 = 30_000;

/// How often unfinished refunds are counted.
const COUNT_INTERVAL: Duration = Duration::from_secs(15);

/// When leases have to be read again. Every change of a lease is recorded in the booking log.
#[derive(Default)]
struct LeaseCheck {
    log_changes: LogChanges,
    /// When the next lease of an event may lapse, by Redis' clock.
    next_end_ms: HashMap<EventId, i64>,
}

/// Reconciles payments until shutdown.
pub(super) async fn run(worker: Worker) {
    let interval = Duration::from_millis(worker.config.load().reconcile_interval_ms);
    let mut pause = interval;
    let mut counted: Option<Instant> = None;
    let mut leases = LeaseCheck::default();
    while worker.shutdown.sleep_or_shutdown(pause).await {
        pause = interval;
        if counted.is_none_or(|at| at.elapsed() >= COUNT_INTERVAL) {
            counted = Some(Instant::now());
            if let Err(error) = worker.count_refunds().await {
                warn_repeated!(%error, "counting refunds failed; it is retried");
            }
        }
        let began = Instant::now();
        match worker.reconcile_intents().await {
            Ok(true) => pause = (began.elapsed() * BUSY_PAUSE_FACTOR).min(BUSY_PAUSE_MAX),
            Ok(false) => {}
            Err(error) => warn_repeated!(%error, "reconciling payments failed; it is retried"),
        }
        worker.reconcile_leases(&mut leases).await;
    }
}

impl Worker {
    /// Sets the gauges of unfinished refunds.
    async fn count_refunds(&self) -> Result<(), SaleError> {
        let counts = self.archive.refund_counts(Timestamp::now().as_millisecond()).await?;
        for (state, count) in [
            ("pending", counts.pending),
            ("overdue", counts.overdue),
            ("retrying", counts.retrying),
            ("failed", counts.failed),
        ] {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.metrics.refunds_unsettled.with_label_values(&[state]).set(count);
        }
        Ok(())
    }

    /// Handles due intents; returns whether there may be more.
    async fn reconcile_intents(&self) -> Result<bool, SaleError> {
        let now_ms = Timestamp::now().as_millisecond();
        let due = self.archive.intents_due(now_ms, INTENTS_MAX).await?;
        if due.is_empty() {
            return Ok(false);
        }
        // INVARIANT: intents before outcomes, as in `PaymentService::reconcile`.
        let ids: Vec<BookingId> = due.iter().map(|intent| intent.booking).collect();
        let found = self.archive.bookings_by_id(&ids).await?;
        let outcomes: HashMap<BookingId, Option<Outcome>> =
            found.into_iter().map(|found| (found.booking.id, found.outcome)).collect();
        // A refund from outside that may still fail is looked at, booking by booking.
        let is_sold = |intent: &Intent| {
            let outcome = outcomes.get(&intent.booking).copied().flatten();
            outcome == Some(Outcome::Sold) && intent.outside_pending == 0
        };
        let (sold, others): (Vec<Intent>, Vec<Intent>) = due.into_iter().partition(is_sold);
        // Nearly all due intents belong to sold bookings: they are closed in one write.
        let closed: Vec<Intent> =
            sold.iter().map(|intent| intent.closed(IntentState::Sold, intent.refunded)).collect();
        if !closed.is_empty() {
            let closed = self.archive.change_intents(&closed).await?;
            debug!(closed, "closed intents of sold bookings");
        }
        let others = others.iter().map(|intent| intent.booking).collect();
        let progressed = self.reconcile_bookings(others).await;
        Ok(ids.len() == INTENTS_MAX as usize && (progressed || !closed.is_empty()))
    }

    async fn reconcile_leases(&self, check: &mut LeaseCheck) {
        // INVARIANT: before the leases are read; a later change is found in the next round.
        let changed = check.log_changes.find(&self.engine).await;
        let events = self.loaded_events().await.events;
        let keys = self.engine.keys();
        check.next_end_ms.retain(|event, _| {
            events.contains(event) && !changed.contains(&keys.partition_of(*event))
        });
        for event in events {
            let now_ms = self.engine.clock(keys.partition_of(event)).now_at_most_ms();
            let next_end_ms = check.next_end_ms.get(&event);
            if next_end_ms.zip(now_ms).is_some_and(|(next_end_ms, now_ms)| now_ms < *next_end_ms) {
                continue;
            }
            match self.reconcile_leases_of(event).await {
                Ok(next_end_ms) => drop(check.next_end_ms.insert(event, next_end_ms)),
                Err(error) => {
                    check.next_end_ms.remove(&event);
                    warn_repeated!(%error, event_id = event.0, "reconciling leases failed; it is retried");
                    // An unavailable Redis node affects only its events; MongoDB affects all.
                    if !error.is_redis_unavailable() {
                        break;
                    }
                }
            }
        }
    }

    /// Handles lapsed confirmations without a due intent, which `reconcile_intents` does not find.
    /// Returns when, by Redis' clock, the next lease may lapse.
    async fn reconcile_leases_of(&self, event: EventId) -> Result<i64, SaleError> {
        let now_ms = self.engine.redis_time_ms(self.engine.keys().partition_of(event)).await?;
        let next_end_ms = self.engine.next_lease_end_ms(event).await?;
        if next_end_ms.is_none_or(|end_ms| end_ms > now_ms) {
            let latest_ms = now_ms + LEASES_AGAIN_AFTER_MS;
            return Ok(next_end_ms.unwrap_or(latest_ms).min(latest_ms));
        }
        for page in 0..LEASE_PAGES_MAX {
            let skip = page * LEASES_MAX;
            let mut lapsed = self.engine.lapsed_leases(event, now_ms, skip, LEASES_MAX).await?;
            let is_last = (lapsed.len() as u64) < LEASES_MAX;
            let intents = self.archive.intents_by_id(&lapsed).await?;
            let due = intents.iter().filter(|intent| intent.due_ms.is_some());
            let due: HashSet<BookingId> = due.map(|intent| intent.booking).collect();
            lapsed.retain(|id| !due.contains(id));
            self.reconcile_bookings(lapsed).await;
            if is_last {
                break;
            }
        }
        // Those that could not be reconciled now are tried again in the next round.
        Ok(now_ms)
    }

    /// Returns whether any booking reached a final state.
    async fn reconcile_bookings(&self, bookings: Vec<BookingId>) -> bool {
        let results = stream::iter(bookings).map(|id| async move {
            if self.shutdown.is_requested() {
                return false;
            }
            match self.payments.reconcile(id).await {
                Ok(reconciled) => {
                    let is_final = reconciled.is_final();
                    self.metrics.reconciled.with_label_values(&[reconciled.as_str()]).inc();
                    match is_final {
                        true => info!(booking_id = %id, result = reconciled.as_str(), "reconciled"),
                        false => debug!(booking_id = %id, ?reconciled, "reconciled again later"),
                    }
                    is_final
                }
                Err(error) => {
                    warn_repeated!(booking_id = %id, %error, "reconciling a payment failed; it is retried");
                    self.metrics.reconciled.with_label_values(&["error"]).inc();
                    false
                }
            }
        });
        let finals: Vec<bool> = results.buffer_unordered(AT_ONCE_MAX).collect().await;
        finals.contains(&true)
    }
}
