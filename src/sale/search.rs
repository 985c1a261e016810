//! Finds bookings, users and seats for operators.

use std::sync::Arc;

use super::{LatestSeats, Sale, SaleError, unix_now_ms};
use crate::archive::{Archive, ArchivedBooking, BookingFilter, BookingsFrom};
use crate::domain::{Booking, BookingId, Event, EventId, Outcome, SeatId, SeatState, UserId};
use crate::redis::GetBookingReply;

/// Hits of each type.
const HITS_MAX: usize = 20;
/// Events in which a seat's label is looked up, if none is named.
const EVENTS_MAX: u32 = 20;

/// A booking with its event.
#[derive(Clone, Debug)]
pub struct FoundBooking {
    /// The booking.
    pub booking: Booking,
    /// The archive's decision, if it has one.
    pub outcome: Option<Outcome>,
    /// Its event; `None` if the catalogue does not have it.
    pub event: Option<Arc<Event>>,
}

/// A seat with its owner.
#[derive(Clone, Debug)]
pub struct FoundSeat {
    /// Its event.
    pub event: Arc<Event>,
    /// Its number.
    pub seat: SeatId,
    /// Its state; `None` if Redis does not have the event.
    pub state: Option<SeatState>,
    /// The booking that has it.
    pub booking: Option<String>,
}

/// The results of a search.
#[derive(Clone, Debug, Default)]
pub struct SearchHits {
    /// The booking of this id, or the user's newest ones.
    pub bookings: Vec<FoundBooking>,
    /// The user of this name, with the number of archived bookings.
    pub user: Option<(UserId, u64)>,
    /// Seats of this name.
    pub seats: Vec<FoundSeat>,
}

/// Reads at most `limit` archived bookings, newest first, only those made before `before`, and whether
/// there are more.
///
/// # Errors
/// If MongoDB does not answer.
pub async fn find_bookings(
    archive: &Archive,
    filter: &BookingFilter,
    before: Option<BookingId>,
    limit: u32,
) -> Result<(Vec<ArchivedBooking>, bool), SaleError> {
    // One more, to learn whether there are more.
    let mut found = archive.find_bookings(filter, before, limit + 1).await?;
    let has_more = found.len() > limit as usize;
    found.truncate(limit as usize);
    Ok((found, has_more))
}

impl Sale {
    /// Returns a page of an event's archived bookings, newest first, whether there are more, and the time
    /// (Unix ms) until which everything that happened is in it.
    ///
    /// # Errors
    /// If there is no such event, or MongoDB does not answer.
    pub async fn event_bookings(
        &self,
        filter: &BookingFilter,
        before: Option<BookingId>,
        limit: u32,
    ) -> Result<(Vec<FoundBooking>, bool, i64), SaleError> {
        if let Some(event) = filter.event {
            self.known_event(event).await?;
        }
        // Read before the list, so that everything archived by then is listed.
        let as_of_ms = self.archived_until_ms().await;
        let (found, has_more) = find_bookings(&self.inner.archive, filter, before, limit).await?;
        Ok((self.with_events(found).await?, has_more, as_of_ms))
    }

    /// Returns what a text may mean: a booking's id, `event:seat`, a seat's label (in `event`, or in the
    /// newest events on sale), a user.
    ///
    /// # Errors
    /// If `event` is unknown, or a service does not answer.
    pub async fn search(
        &self,
        text: &str,
        event: Option<EventId>,
    ) -> Result<SearchHits, SaleError> {
        if let Some(event) = event {
            self.known_event(event).await?;
        }
        let mut hits = SearchHits::default();
        if let Ok(id) = text.parse::<BookingId>() {
            hits.bookings.extend(self.find_booking(id).await?);
            return Ok(hits);
        }
        hits.seats = self.find_seats(text, event).await?;
        if let Ok(user) = text.parse::<UserId>() {
            let newest = BookingsFrom::Number(0);
            let archive = &self.inner.archive;
            let (found, total) = archive.bookings_of(&user, newest, HITS_MAX as u32).await?;
            hits.bookings = self.with_events(found).await?;
            hits.user = (total > 0).then_some((user, total));
        }
        Ok(hits)
    }

    async fn find_booking(&self, id: BookingId) -> Result<Option<FoundBooking>, SaleError> {
        let archived = self.inner.archive.booking(id).await?;
        let outcome = archived.as_ref().and_then(|one| one.outcome);
        // Redis is newer where it has the booking.
        let booking = match self.inner.engine.get_booking(id).await?.reply {
            GetBookingReply::Found { booking } => Some(*booking),
            _ => archived.map(|one| one.booking),
        };
        let Some(booking) = booking else { return Ok(None) };
        let event = self.inner.catalogue.get(id.event()).await?;
        Ok(Some(FoundBooking { booking, outcome, event }))
    }

    async fn with_events(
        &self,
        found: Vec<ArchivedBooking>,
    ) -> Result<Vec<FoundBooking>, SaleError> {
        let mut bookings = Vec::with_capacity(found.len());
        for ArchivedBooking { booking, outcome, .. } in found {
            let event = self.inner.catalogue.get(booking.id.event()).await?;
            bookings.push(FoundBooking { booking, outcome, event });
        }
        Ok(bookings)
    }

    async fn find_seats(
        &self,
        text: &str,
        event: Option<EventId>,
    ) -> Result<Vec<FoundSeat>, SaleError> {
        let by_id = || {
            let (event, seat) = text.split_once(':')?;
            Some((EventId(event.trim().parse().ok()?), SeatId(seat.trim().parse().ok()?)))
        };
        let mut found = Vec::new();
        if let Some((id, seat)) = by_id() {
            let known = self.inner.catalogue.get(id).await?;
            if let Some(known) = known.filter(|known| known.layout.seat(seat).is_some()) {
                found.push(self.found_seat(known, seat).await?);
            }
            return Ok(found);
        }
        if !text.contains('-') {
            return Ok(found);
        }
        let events = match event {
            Some(event) => vec![event],
            None => {
                let now_ms = unix_now_ms();
                self.inner.archive.sales(now_ms, None, now_ms, EVENTS_MAX).await?
            }
        };
        for id in events {
            let Some(known) = self.inner.catalogue.get(id).await? else { continue };
            for seat in known.layout.find_label(text) {
                if found.len() == HITS_MAX {
                    return Ok(found);
                }
                found.push(self.found_seat(known.clone(), seat).await?);
            }
        }
        Ok(found)
    }

    async fn found_seat(&self, event: Arc<Event>, seat: SeatId) -> Result<FoundSeat, SaleError> {
        let state = match self.live().fresh(event.id) {
            Some(view) => view.seat(seat).map(|known| known.state),
            None => match self.latest_seats(event.clone(), None).await {
                Ok(LatestSeats::Seats(map, _)) => map.inventory.state(seat),
                Ok(LatestSeats::Unchanged)
                | Err(SaleError::EventNotLoaded(_) | SaleError::EventUnloaded(_)) => None,
                Ok(LatestSeats::Stale(..)) => {
                    return Err(SaleError::Unavailable {
                        dependency: "redis",
                        reason: "it does not answer, so the seat's state is not known".to_owned(),
                        unknown: false,
                    });
                }
                Err(error) => return Err(error),
            },
        };
        let booking = match state {
            Some(SeatState::Hold | SeatState::Booked) => {
                self.inner.engine.holder(event.id, seat).await?
            }
            // Redis has forgotten the event; the archive remembers who bought the seat.
            None => {
                let owners = self.inner.archive.seat_owners(event.id, &[seat]).await?;
                owners.get(&seat).map(BookingId::to_string)
            }
            Some(SeatState::Available | SeatState::Blocked) => None,
        };
        Ok(FoundSeat { event, seat, state, booking })
    }
}
