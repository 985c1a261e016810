//! What this process meets of a loss in Redis: reported to whoever repairs, and answered from the
//! archive meanwhile.
//!
//! A report is one write to MongoDB, beside the request: at most one a second of each event or
//! partition, so that a crowd that meets a loss does not reach MongoDB.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Sale;
use crate::archive::ArchivedBooking;
use crate::domain::{Booking, BookingId, Event, EventId, LoadState, Outcome, Partition, Status};
use crate::redis::GetBookingReply;
use crate::telemetry::{trace, warn_repeated};

/// Between two reports of the same.
const REPORT_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Events and partitions whose reports are remembered.
const REMEMBERED_MAX: usize = 10_000;
/// How long a reader waits for the archive to say whether it knows better than Redis.
const ASK_BOUND: Duration = Duration::from_millis(500);

/// When what was reported last.
#[derive(Debug, Default)]
pub(super) struct Reports {
    events: Recent<EventId>,
    partitions: Recent<Partition>,
}

#[derive(Debug)]
struct Recent<K>(Mutex<HashMap<K, Instant>>);

impl<K> Default for Recent<K> {
    fn default() -> Self {
        Recent(Mutex::default())
    }
}

impl<K: Eq + Hash> Recent<K> {
    /// Whether it is time for a report of this, which then counts as made.
    fn is_due(&self, key: K, now: Instant) -> bool {
        // Nothing under this lock panics half-way through a change.
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = |at: &Instant| now.saturating_duration_since(*at) >= REPORT_AGAIN_AFTER;
        if recent.get(&key).is_some_and(|at| !is_over(at)) {
            return false;
        }
        if recent.len() >= REMEMBERED_MAX {
            recent.retain(|_, at| !is_over(at));
        }
        if recent.len() >= REMEMBERED_MAX {
            return false;
        }
        recent.insert(key, now);
        true
    }
}

impl Sale {
    /// Redis has this event, which MongoDB says is opened, in an earlier generation.
    pub(super) fn report_behind(&self, event: &Event) {
        let (id, generation) = (event.id, event.generation);
        let is_opened = event.load_state == LoadState::Opened;
        if !is_opened || !self.inner.reports.events.is_due(id, Instant::now()) {
            return;
        }
        warn_repeated!(event_id = %id, generation, "redis has an event in an earlier generation");
        let archive = self.inner.archive.clone();
        trace::spawn(async move {
            if let Err(error) = archive.report_loss(id, generation).await {
                warn_repeated!(event_id = %id, %error, "a loss is reported later");
            }
        });
    }

    /// Redis shows as unsold what the archive has sold: its partition has lost writes.
    fn report_lost_sale(&self, id: BookingId) {
        let partition = self.inner.engine.keys().partition_of(id.event());
        if !self.inner.reports.partitions.is_due(partition, Instant::now()) {
            return;
        }
        tracing::error!(booking_id = %id, "ALARM: redis has lost a sale");
        let archive = self.inner.archive.clone();
        trace::spawn(async move {
            if let Err(error) = archive.suspect_log(partition).await {
                warn_repeated!(partition = partition.0, %error, "a loss is reported later");
            }
        });
    }

    /// The booking as the archive has decided it, where Redis shows it as undecided: as a hold, a
    /// payment under way, or expired. `None`: the archive has decided nothing, Redis has followed
    /// meanwhile, or the archive does not answer soon.
    ///
    /// Redis may have fallen back, and nobody noticed yet. A buyer who was told CONFIRMED is told so
    /// from the archive until it is repaired.
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
        // INVARIANT: Redis is asked again after the archive. A sale is in Redis before the archive
        // decides it: what is not there then is lost.
        let again = self.inner.engine.get_booking(here.id).await.ok()?;
        let status = match again.reply {
            GetBookingReply::Found { booking } => booking.status,
            // Repaired at this moment, or forgotten: the archive's word is as good.
            _ => return Some(decided),
        };
        let is_unsold = matches!(status, Status::Hold | Status::Confirming | Status::Expired);
        if is_unsold && outcome == Outcome::Sold {
            self.report_lost_sale(here.id);
        }
        Some(decided)
    }

    /// The booking as the archive has it, if it has decided it and says so soon.
    pub(super) async fn outcome_in_archive(&self, id: BookingId) -> Option<ArchivedBooking> {
        let archive = self.inner.archive.promptly();
        let asked = tokio::time::timeout(ASK_BOUND, archive.booking(id)).await;
        asked.ok()?.ok().flatten().filter(|archived| archived.outcome.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn report_is_due_once_a_second() {
        let (recent, start) = (Recent::default(), Instant::now());
        assert!(recent.is_due(EventId(1), start));
        assert!(!recent.is_due(EventId(1), start + REPORT_AGAIN_AFTER / 2));
        assert!(recent.is_due(EventId(2), start + REPORT_AGAIN_AFTER / 2));
        assert!(recent.is_due(EventId(1), start + REPORT_AGAIN_AFTER));
    }
}
