//! Forgets bookings that ended without a sale: they leave Redis `ended_keep_seconds` after their
//! end, once the archive has them. Who reads them then is answered from the archive.
//!
//! Nothing leaves that the archive lacks: a booking whose entries were parked as dead letters
//! stays until they are replayed. Which of them are old enough is judged by Redis' clock, and
//! what changed since the archive was asked by their version, in the script that drops them. So
//! any number of workers may do this at once.

use std::collections::HashMap;
use std::time::Duration;

use tracing::debug;

use super::Worker;
use crate::archive::ArchivedBooking;
use crate::domain::{Booking, BookingId, EventId};
use crate::redis::{Ended, ForgetReply};
use crate::sale::SaleError;
use crate::telemetry::warn_repeated;

/// Pause between two turns.
const PAUSE: Duration = Duration::from_secs(5);
/// Bookings asked for and forgotten at once.
const PAGE: u64 = 200;
/// Pages of one event in one turn; what is left has the next turn.
const PAGES_MAX: u32 = 50;
/// Calls for one page: the first learns the event's generation.
const CALLS_MAX: u32 = 2;

/// Forgets until told to stop.
pub(super) async fn retain(worker: Worker) {
    // Of each event that was not gone through in one turn: how many to pass over.
    let mut passed_over: HashMap<EventId, u64> = HashMap::new();
    while worker.shutdown.sleep_or_shutdown(PAUSE).await {
        worker.forget_all(&mut passed_over).await;
    }
}

impl Worker {
    async fn forget_all(&self, passed_over: &mut HashMap<EventId, u64>) {
        let events = self.loaded_events().await.events;
        passed_over.retain(|event, _| events.contains(event));
        for event in events {
            if self.shutdown.is_requested() {
                break;
            }
            let skip = passed_over.remove(&event).unwrap_or(0);
            match self.forget_some(event, skip).await {
                Ok(Some(skip)) => drop(passed_over.insert(event, skip)),
                Ok(None) => {}
                Err(error) => {
                    warn_repeated!(%error, event_id = event.0, "ended bookings are forgotten later");
                    // Of Redis, one event's node may be gone; MongoDB is everybody's.
                    if !error.is_redis_unavailable() {
                        break;
                    }
                }
            }
        }
    }

    /// Forgets what it may of one event, after the first `skip` bookings that ended. Answers
    /// with how many to pass over next time, if it did not come to the end.
    async fn forget_some(&self, event: EventId, mut skip: u64) -> Result<Option<u64>, SaleError> {
        let partition = self.engine.keys().partition_of(event);
        // A setting is bounded by a year.
        let keep_ms = self.config.ended_keep_seconds as i64 * 1_000;
        let until_ms = self.engine.redis_time_ms(partition).await? - keep_ms;
        for _ in 0..PAGES_MAX {
            let page = self.engine.ended_bookings(event, until_ms, skip, PAGE).await?;
            let archived = self.archived_of(&page).await?;
            let droppable: Vec<(BookingId, u64)> =
                page.iter().filter_map(|ended| droppable(ended, &archived)).collect();
            if !droppable.is_empty() {
                self.forget(event, keep_ms, &droppable).await?;
            }
            skip += (page.len() - droppable.len()) as u64;
            if (page.len() as u64) < PAGE {
                return Ok(None);
            }
        }
        Ok(Some(skip))
    }

    async fn archived_of(
        &self,
        page: &[Ended],
    ) -> Result<HashMap<BookingId, ArchivedBooking>, SaleError> {
        let ids = page.iter().filter_map(|ended| Some(ended.booking.as_ref()?.as_ref().ok()?.id));
        let ids: Vec<BookingId> = ids.collect();
        let found = self.archive.bookings_by_id(&ids).await?;
        Ok(found.into_iter().map(|archived| (archived.booking.id, archived)).collect())
    }

    async fn forget(
        &self,
        event: EventId,
        keep_ms: i64,
        bookings: &[(BookingId, u64)],
    ) -> Result<(), SaleError> {
        let mut generation = 0;
        for _ in 0..CALLS_MAX {
            let answer = self.engine.forget(event, generation, keep_ms, bookings).await?;
            match answer.reply {
                // What the archive has, it has in every generation: Redis' own will do.
                ForgetReply::GenerationMismatch { generation: other } => generation = other,
                ForgetReply::Dropped { forgotten } => {
                    debug!(event_id = event.0, forgotten, "ended bookings are forgotten");
                    self.metrics.bookings_forgotten.inc_by(forgotten);
                    break;
                }
                // Unloaded meanwhile, or too late: nothing was touched.
                _ => break,
            }
        }
        Ok(())
    }
}

/// What to name to the script: an ended booking that the archive has, or an index entry that has
/// no ended booking. A live one and one that cannot be read say so by other means.
fn droppable(
    ended: &Ended,
    archived: &HashMap<BookingId, ArchivedBooking>,
) -> Option<(BookingId, u64)> {
    match &ended.booking {
        None => Some((ended.id.parse().ok()?, 0)),
        Some(Err(_)) => None,
        Some(Ok(booking)) if booking.status.is_live() => Some((booking.id, booking.version)),
        Some(Ok(booking)) => {
            is_archived(booking, &archived.get(&booking.id)?.booking).then_some(())?;
            Some((booking.id, booking.version))
        }
    }
}

/// Whether the archive has what Redis would lose: the same end, at that version or a later one.
fn is_archived(here: &Booking, there: &Booking) -> bool {
    there.version >= here.version && there.status == here.status
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{SeatId, Status};

    fn ended(status: Status, version: u64) -> Booking {
        Booking {
            id: BookingId::new(EventId(1), 1, 1),
            status,
            version,
            user: "ann".parse().unwrap(),
            seats: vec![SeatId(1)],
            amount: 1,
            currency: "EUR".into(),
            created_ms: 1,
            deadline_ms: 2,
            nonce: String::new(),
            lease: 0,
            lease_until_ms: 0,
            payment: String::new(),
            paid_ms: 0,
            confirmed_ms: 0,
            ended_ms: 3,
            idempotency: String::new(),
            fingerprint: String::new(),
            trace: String::new(),
        }
    }

    #[test]
    fn only_what_the_archive_has_is_named() {
        let here = ended(Status::Expired, 2);
        let named = |there: Option<Booking>, here: Option<Booking>| {
            let archived = there.map(|booking| ArchivedBooking {
                booking,
                outcome: None,
                generation: 1,
                cancel_unsettled_ms: None,
            });
            let archived: HashMap<BookingId, ArchivedBooking> =
                archived.into_iter().map(|one| (one.booking.id, one)).collect();
            let id = BookingId::new(EventId(1), 1, 1).to_string();
            droppable(&Ended { id, booking: here.map(Ok) }, &archived).map(|named| named.1)
        };
        assert_eq!(named(None, Some(here.clone())), None, "parked");
        assert_eq!(named(Some(ended(Status::Hold, 1)), Some(here.clone())), None, "behind");
        assert_eq!(named(Some(ended(Status::Cancelled, 3)), Some(here.clone())), None, "other");
        assert_eq!(named(Some(ended(Status::Expired, 2)), Some(here.clone())), Some(2));
        assert_eq!(named(Some(ended(Status::Expired, 3)), Some(here)), Some(2));
        // Index entries without an ended booking: the script drops them alone.
        assert_eq!(named(None, None), Some(0));
        assert_eq!(named(None, Some(ended(Status::Hold, 4))), Some(4));
    }

    #[test]
    fn what_cannot_be_read_stays() {
        let id = BookingId::new(EventId(1), 1, 1).to_string();
        let unreadable = Some(Err(crate::domain::RecordError("status")));
        assert_eq!(droppable(&Ended { id, booking: unreadable }, &HashMap::new()), None);
        let strange = Ended { id: "strange".into(), booking: None };
        assert_eq!(droppable(&strange, &HashMap::new()), None);
    }
}
