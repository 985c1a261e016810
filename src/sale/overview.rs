//! One event as operators watch it: seats by section, takings, open holds, its waiting room.

use std::sync::Arc;

use super::{LatestSeats, Sale, SaleError, unix_now_ms};
use crate::archive::StoredRoom;
use crate::domain::{Event, EventId, RoomState, SeatCounts};

/// An event as operators watch it.
#[derive(Clone, Debug)]
pub struct EventOverview {
    /// The event.
    pub event: Arc<Event>,
    /// Its seats by section, in order; `None` if Redis does not have the event.
    pub sections: Option<Vec<SectionCounts>>,
    /// Bookings that hold seats and are not sold; `None` without a fresh view.
    pub open_holds: Option<u64>,
    /// Its waiting room; `None` while Redis does not answer.
    pub room: Option<RoomOverview>,
    /// The time of the seats, Unix ms.
    pub now_ms: i64,
}

/// The seats of one section.
#[derive(Clone, Debug)]
pub struct SectionCounts {
    /// Its index in the layout.
    pub section: usize,
    /// Its first seat.
    pub first_seat: u32,
    /// How many seats it has.
    pub seats: u32,
    /// Their states.
    pub counts: SeatCounts,
}

/// A waiting room with its settings.
#[derive(Clone, Debug)]
pub struct RoomOverview {
    /// Its state.
    pub state: Arc<RoomState>,
    /// Its settings; `None` if it never had any, or MongoDB does not answer.
    pub stored: Option<StoredRoom>,
}

impl EventOverview {
    /// Seats in each state; `None` if Redis does not have the event.
    pub fn totals(&self) -> Option<SeatCounts> {
        let sections = self.sections.as_ref()?;
        Some(sections.iter().fold(SeatCounts::default(), |sum, one| SeatCounts {
            available: sum.available + one.counts.available,
            hold: sum.hold + one.counts.hold,
            booked: sum.booked + one.counts.booked,
            blocked: sum.blocked + one.counts.blocked,
        }))
    }

    /// The price of sold and of held seats, minor units; `None` if Redis does not have the event.
    pub fn takings(&self) -> Option<(i64, i64)> {
        let prices = self.event.layout.sections().iter().map(|section| section.price);
        let counts = self.sections.as_ref()?.iter().map(|one| one.counts);
        Some(prices.zip(counts).fold((0, 0), |(sold, held), (price, counts)| {
            (sold + price * i64::from(counts.booked), held + price * i64::from(counts.hold))
        }))
    }
}

impl Sale {
    /// Returns an event as operators watch it.
    ///
    /// # Errors
    /// If there is no such event, or it is not cached and MongoDB does not answer.
    pub async fn overview(&self, id: EventId) -> Result<EventOverview, SaleError> {
        let event = self.inner.catalogue.recent(id).await?.ok_or(SaleError::EventUnknown(id))?;
        let (sections, now_ms) = match self.latest_seats(event.clone(), None).await {
            Ok(LatestSeats::Seats(map, _)) => {
                let ranges = event.layout.section_ranges().into_iter().enumerate();
                let counted = ranges.map(|(section, (_, first, seats))| SectionCounts {
                    section,
                    first_seat: first.0,
                    seats,
                    counts: map.inventory.counts(first, seats),
                });
                (Some(counted.collect()), map.now_ms)
            }
            // Unloaded, being loaded, or Redis does not answer.
            Ok(LatestSeats::Unchanged | LatestSeats::Stale(..)) | Err(_) => (None, unix_now_ms()),
        };
        let open_holds = self.live().fresh(id).map(|view| view.open_holds());
        Ok(EventOverview {
            event,
            sections,
            open_holds,
            room: self.room_overview(id).await,
            now_ms,
        })
    }

    /// Returns a waiting room with its settings; `None` while Redis does not answer.
    pub async fn room_overview(&self, id: EventId) -> Option<RoomOverview> {
        let state = self.waiting_room().state(id).await.ok()?;
        let stored = self.waiting_room().store().stored(id).await.ok().flatten();
        Some(RoomOverview { state, stored })
    }

    /// Returns at most `limit` events whose waiting rooms are on, may switch themselves on, or have a
    /// draw, by id.
    ///
    /// # Errors
    /// If MongoDB does not answer.
    pub async fn rooms_in_use(&self, limit: u32) -> Result<Vec<EventId>, SaleError> {
        let rooms = self.inner.archive.stored_rooms_on(EventId(0), limit).await?;
        Ok(rooms.into_iter().map(|(event, _)| event).collect())
    }
}
