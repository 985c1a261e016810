//! Reports losses in Redis that requests of this process find, and answers from the archive until
//! they are repaired.
//!
//! A report is one write to MongoDB outside of the request, at most one a second for each event or
//! partition, so that many requests that find a loss do not load MongoDB.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Sale;
use crate::archive::{Archive, ArchivedBooking};
use crate::domain::{Booking, BookingId, Event, EventId, LoadState, Outcome, Partition, Status};
use crate::redis::GetBookingReply;
use crate::telemetry::{trace, warn_repeated};

/// Shortest time between two reports of the same event or partition.
const REPORT_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Events and partitions whose last report is kept.
const REPORTS_MAX: usize = 10_000;
/// How long a read waits for the archive.
const ARCHIVE_BOUND: Duration = Duration::from_millis(500);

/// Rate limits of the reports.
#[derive(Debug, Default)]
pub(super) struct LossReports {
    events: ReportLimiter<EventId>,
    partitions: ReportLimiter<Partition>,
}

/// The times of the last reports.
#[derive(Debug)]
struct ReportLimiter<K>(Mutex<HashMap<K, Instant>>);

impl<K> Default for ReportLimiter<K> {
    fn default() -> Self {
        ReportLimiter(Mutex::default())
    }
}

impl<K: Eq + Hash> ReportLimiter<K> {
    /// Whether a report of this key is due; if so, records it as made.
    fn is_due(&self, key: K, now: Instant) -> bool {
        // Poisoning can be ignored: no code under this lock panics halfway through a change.
        let mut reports = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = |at: &Instant| now.saturating_duration_since(*at) >= REPORT_AGAIN_AFTER;
        if reports.get(&key).is_some_and(|at| !is_over(at)) {
            return false;
        }
        if reports.len() >= REPORTS_MAX {
            reports.retain(|_, at| !is_over(at));
        }
        if reports.len() >= REPORTS_MAX {
            return false;
        }
        reports.insert(key, now);
        true
    }
}

impl Sale {
    /// Reports that Redis has an opened event in an earlier generation.
    pub(super) fn report_behind(&self, event: &Event) {
        let (id, generation) = (event.id, event.generation);
        let is_opened = event.load_state == LoadState::Opened;
        if !is_opened || !self.inner.loss_reports.events.is_due(id, Instant::now()) {
            return;
        }
        warn_repeated!(event_id = %id, generation, "redis has an event in an earlier generation");
        let archive = self.inner.archive.clone();
        trace::spawn(async move {
            if let Err(error) = archive.report_loss(id, generation).await {
                warn_repeated!(event_id = %id, %error, "reporting a loss failed");
            }
        });
    }

    /// Reports that Redis shows a sold booking as unsold: its partition has lost writes.
    fn report_lost_sale(&self, id: BookingId) {
        let partition = self.inner.engine.keys().partition_of(id.event());
        if !self.inner.loss_reports.partitions.is_due(partition, Instant::now()) {
            return;
        }
        tracing::error!(booking_id = %id, "ALARM: redis has lost a sale");
        let archive = self.inner.archive.clone();
        trace::spawn(async move {
            if let Err(error) = archive.suspect_log(partition).await {
                warn_repeated!(partition = partition.0, %error, "reporting a loss failed");
            }
        });
    }

    /// Returns the booking with the archive's decision where Redis shows it as undecided: held, being
    /// paid, or expired. `None`: the archive has no decision or does not respond in time, or Redis has
    /// settled it meanwhile.
    ///
    /// Redis may have fallen back to a past state that is not detected yet. A buyer who saw CONFIRMED
    /// keeps seeing it, from the archive, until the repair.
    pub(super) async fn decided_in_archive(&self, here: &Booking) -> Option<ArchivedBooking> {
        let is_undecided = matches!(
            here.status,
            Status::Hold | Status::Confirming | Status::Committed | Status::Expired
        );
        if !is_undecided {
            return None;
        }
        let decided = self.outcome_in_archive(here.id).await?;
        let outcome = decided.outcome?;
        // INVARIANT: Redis is read again after the archive. A sale is in Redis before the archive
        // decides it: a decided sale that Redis lacks is lost.
        let again = self.inner.engine.get_booking(here.id).await.ok()?;
        let status = match again.reply {
            GetBookingReply::Found { booking } => booking.status,
            // Being repaired, or removed after its end: the archive's state is valid.
            _ => return Some(decided),
        };
        let is_unsold = matches!(status, Status::Hold | Status::Confirming | Status::Expired);
        if is_unsold && outcome == Outcome::Sold {
            self.report_lost_sale(here.id);
        }
        Some(decided)
    }

    /// Returns the booking from the archive if it is decided and the archive responds in time.
    pub(super) async fn outcome_in_archive(&self, id: BookingId) -> Option<ArchivedBooking> {
        outcome_in_archive(&self.inner.archive, id).await
    }
}

/// Returns the booking from the archive if it is decided and the archive responds in time.
pub(super) async fn outcome_in_archive(
    archive: &Archive,
    id: BookingId,
) -> Option<ArchivedBooking> {
    let archive = archive.promptly();
    let found = tokio::time::timeout(ARCHIVE_BOUND, archive.booking(id)).await;
    found.ok()?.ok().flatten().filter(|archived| archived.outcome.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn report_is_due_once_a_second() {
        let (limiter, start) = (ReportLimiter::default(), Instant::now());
        assert!(limiter.is_due(EventId(1), start));
        assert!(!limiter.is_due(EventId(1), start + REPORT_AGAIN_AFTER / 2));
        assert!(limiter.is_due(EventId(2), start + REPORT_AGAIN_AFTER / 2));
        assert!(limiter.is_due(EventId(1), start + REPORT_AGAIN_AFTER));
    }
}
