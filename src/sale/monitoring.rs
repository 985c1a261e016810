//! What monitoring shows of a process, and of an event: its seats by state, and its takings.
//!
//! An event is read from the live view where this process has one, and otherwise from Redis, at the caller's pace.
//! Unlike requests, this is no use of a view: it neither builds one nor keeps one from leaving memory.

use super::{Breakers, Sale, SaleError, SeatMap, unix_now_ms};
use crate::archive::PoolState;
use crate::domain::{Event, EventId, SeatCounts};

/// An event's seats and takings at one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventTotals {
    /// All its seats.
    pub capacity: u32,
    /// Its seats by state.
    pub seats: SeatCounts,
    /// The price of its sold seats, minor units.
    pub takings: i64,
    /// Their currency.
    pub currency: String,
}

/// An event's seats as this process knows them.
pub enum KnownTotals {
    /// The caller's version is the newest.
    Unchanged,
    /// A newer version, and its totals.
    Changed((u64, u64), EventTotals),
    /// This process has no view of the event.
    NoView,
}

impl Sale {
    /// The circuit breakers of the dependencies.
    pub fn breakers(&self) -> Breakers {
        self.inner.payments.breakers()
    }

    /// The calls to Redis under way at which requests are refused now.
    pub fn redis_concurrency_limit(&self) -> usize {
        self.inner.engine.concurrency_limit()
    }

    /// How many calls to Redis were refused because too many were under way.
    pub fn overload_refusals(&self) -> u64 {
        self.inner.engine.overload_refusals()
    }

    /// The archive's connections.
    pub fn archive_pool(&self) -> PoolState {
        self.inner.archive.pool()
    }

    /// The number of connections of HTTP threads to Redis that are up.
    pub fn redis_thread_connections(&self) -> usize {
        self.inner.engine.thread_connections()
    }

    /// The number of Redis calls in flight.
    pub fn redis_in_flight(&self) -> usize {
        self.inner.engine.in_flight()
    }

    /// Returns at most `limit` events that are on sale or paused and opened, the newest first.
    ///
    /// # Errors
    /// If this process has not read the events yet and MongoDB does not answer.
    pub async fn events_being_sold(&self, limit: usize) -> Result<Vec<EventId>, SaleError> {
        Ok(self.inner.catalogue.index().being_sold(limit, unix_now_ms()).await?)
    }

    /// Returns an event's totals by its live view, unless the caller knows this version (generation,
    /// version) already. Costs Redis nothing.
    ///
    /// # Errors
    /// If the event is not cached and MongoDB does not answer.
    pub async fn totals_by_view(
        &self,
        id: EventId,
        known: Option<(u64, u64)>,
    ) -> Result<KnownTotals, SaleError> {
        let Some(view) = self.live().existing(id) else { return Ok(KnownTotals::NoView) };
        let version = (view.generation(), view.version());
        if known == Some(version) {
            return Ok(KnownTotals::Unchanged);
        }
        let event = self.known_event(id).await?;
        let shot = view.snapshot();
        let totals = totals(&event, |first, seats| shot.inventory.counts(first, seats));
        Ok(KnownTotals::Changed((shot.generation, shot.version), totals))
    }

    /// Returns an event's totals by Redis: one call.
    ///
    /// # Errors
    /// If Redis does not have the event, or does not answer.
    pub async fn totals_by_redis(&self, id: EventId) -> Result<EventTotals, SaleError> {
        let SeatMap { event, inventory, .. } = self.seat_map(id).await?;
        Ok(totals(&event, |first, seats| inventory.counts(first, seats)))
    }
}

fn totals(event: &Event, counts: impl Fn(crate::domain::SeatId, u32) -> SeatCounts) -> EventTotals {
    let ranges = event.layout.section_ranges();
    let sections = event.layout.sections().iter().zip(ranges);
    let (mut seats, mut capacity, mut takings) = (SeatCounts::default(), 0, 0);
    for (section, (_, first, count)) in sections {
        let of_section = counts(first, count);
        capacity += count;
        takings += section.price * i64::from(of_section.booked);
        seats = [seats, of_section].into_iter().sum();
    }
    EventTotals { capacity, seats, takings, currency: event.currency.clone() }
}
