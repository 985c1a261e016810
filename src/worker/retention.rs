//! Removes bookings that ended without a sale from Redis, `ended_keep_seconds` after their end and
//! once the archive has them. Later reads are answered from the archive.
//!
//! A booking that the archive lacks stays: if its entries are dead letters, until they are replayed.
//! The script that removes bookings checks their age by Redis' clock, and by their version that they
//! have not changed since the archive was queried. So any number of workers may do this concurrently.

use std::collections::HashMap;
use std::time::Duration;

use tracing::debug;

use super::Worker;
use crate::archive::ArchivedBooking;
use crate::domain::{Booking, BookingId, EventId};
use crate::redis::{EndedBooking, ForgetReply};
use crate::sale::SaleError;
use crate::telemetry::warn_repeated;

/// Pause between two rounds.
const PAUSE: Duration = Duration::from_secs(5);
/// Bookings read and removed at once.
const PAGE: u64 = 200;
/// Pages of one event in one round; the next round continues.
const PAGES_MAX: u32 = 50;
/// Calls for one page: the first returns the event's generation.
const CALLS_MAX: u32 = 2;

/// Removes ended bookings until shutdown.
pub(super) async fn run(worker: Worker) {
    // For each event that did not fit into one round: how many bookings to skip in the next.
    let mut skips: HashMap<EventId, u64> = HashMap::new();
    while worker.shutdown.sleep_or_shutdown(PAUSE).await {
        worker.forget_all(&mut skips).await;
    }
}

impl Worker {
    async fn forget_all(&self, skips: &mut HashMap<EventId, u64>) {
        let events = self.loaded_events().await.events;
        skips.retain(|event, _| events.contains(event));
        for event in events {
            if self.shutdown.is_requested() {
                break;
            }
            let skip = skips.remove(&event).unwrap_or(0);
            match self.forget_some(event, skip).await {
                Ok(Some(skip)) => drop(skips.insert(event, skip)),
                Ok(None) => {}
                Err(error) => {
                    warn_repeated!(%error, event_id = event.0, "removing ended bookings failed; it is retried");
                    // An unavailable Redis node affects only its events; MongoDB affects all.
                    if !error.is_redis_unavailable() {
                        break;
                    }
                }
            }
        }
    }

    /// Removes ended bookings of one event, after the first `skip`. Returns how many to skip in the
    /// next round if it did not reach the end.
    async fn forget_some(&self, event: EventId, mut skip: u64) -> Result<Option<u64>, SaleError> {
        let partition = self.engine.keys().partition_of(event);
        // The setting is at most a year.
        let keep_ms = self.config.load().ended_keep_seconds as i64 * 1_000;
        // An earlier time by the estimate of Redis' clock removes a booking a little later.
        let now_ms = match self.engine.clock(partition).now_at_least_ms() {
            Some(now_ms) => now_ms,
            None => self.engine.redis_time_ms(partition).await?,
        };
        let until_ms = now_ms - keep_ms;
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
        page: &[EndedBooking],
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
                // Any generation will do: what the archive has does not depend on it.
                ForgetReply::GenerationMismatch { generation: other } => generation = other,
                ForgetReply::Dropped { forgotten } => {
                    debug!(event_id = event.0, forgotten, "removed ended bookings from Redis");
                    self.metrics.bookings_forgotten.inc_by(forgotten);
                    break;
                }
                // Unloaded meanwhile, or too late: nothing has changed.
                _ => break,
            }
        }
        Ok(())
    }
}

/// What to pass to the script: an archived ended booking, or an index entry without an ended booking
/// (the script then removes only the entry). `None` for a booking that must stay.
fn droppable(
    ended: &EndedBooking,
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

/// Whether the archive has the same end of the booking, at that version or a later one.
fn is_archived(in_redis: &Booking, archived: &Booking) -> bool {
    archived.version >= in_redis.version && archived.status == in_redis.status
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
    fn only_archived_bookings_are_droppable() {
        let here = ended(Status::Expired, 2);
        let dropped = |archived: Option<Booking>, here: Option<Booking>| {
            let archived = archived.map(|booking| ArchivedBooking {
                booking,
                outcome: None,
                generation: 1,
                cancel_unsettled_ms: None,
            });
            let archived: HashMap<BookingId, ArchivedBooking> =
                archived.into_iter().map(|one| (one.booking.id, one)).collect();
            let id = BookingId::new(EventId(1), 1, 1).to_string();
            droppable(&EndedBooking { id, booking: here.map(Ok) }, &archived)
                .map(|dropped| dropped.1)
        };
        assert_eq!(dropped(None, Some(here.clone())), None, "parked");
        assert_eq!(dropped(Some(ended(Status::Hold, 1)), Some(here.clone())), None, "behind");
        assert_eq!(dropped(Some(ended(Status::Cancelled, 3)), Some(here.clone())), None, "other");
        assert_eq!(dropped(Some(ended(Status::Expired, 2)), Some(here.clone())), Some(2));
        assert_eq!(dropped(Some(ended(Status::Expired, 3)), Some(here)), Some(2));
        // Index entries without an ended booking: the script removes only the entry.
        assert_eq!(dropped(None, None), Some(0));
        assert_eq!(dropped(None, Some(ended(Status::Hold, 4))), Some(4));
    }

    #[test]
    fn unreadable_booking_is_not_droppable() {
        let id = BookingId::new(EventId(1), 1, 1).to_string();
        let unreadable = Some(Err(crate::domain::RecordError("status")));
        assert_eq!(droppable(&EndedBooking { id, booking: unreadable }, &HashMap::new()), None);
        let strange = EndedBooking { id: "strange".into(), booking: None };
        assert_eq!(droppable(&strange, &HashMap::new()), None);
    }
}
