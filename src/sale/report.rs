//! The report of an event: takings by section and hour, and how far its bookings came. Read from the
//! archive page by page, so memory does not grow with the number of bookings.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{RefusalTotals, Sale, SaleError, unix_now_ms};
use crate::archive::ArchivedBooking;
use crate::domain::{Event, EventId, Outcome};

/// Bookings read at once.
const PAGE: u32 = 1_000;
/// How long a report may take: about a million bookings.
const BOUND: Duration = Duration::from_secs(20);
/// An hour, ms.
const HOUR_MS: i64 = 3_600_000;

/// The report of an event.
#[derive(Clone, Debug)]
pub struct SalesReport {
    /// The event.
    pub event: Arc<Event>,
    /// When the first page was read, Unix ms.
    pub as_of_ms: i64,
    /// Sold bookings, all together.
    pub sold: Sold,
    /// Sold by section, in the order of the layout.
    pub sections: Vec<Sold>,
    /// Sold by the hour in which they were paid, Unix ms.
    pub hours: BTreeMap<i64, Sold>,
    /// Bookings that were sold and cancelled.
    pub cancelled: Sold,
    /// All bookings that the archive has: each was a hold.
    pub held: u64,
    /// Those that were paid.
    pub paid: u64,
    /// Requests that were refused.
    pub refusals: RefusalTotals,
    /// Whether there are more bookings than could be read in time.
    pub is_cut: bool,
}

/// A number of bookings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sold {
    /// How many; by section: how many have a seat there.
    pub bookings: u64,
    /// Their seats.
    pub seats: u64,
    /// Their price, minor units.
    pub amount: i64,
}

impl Sold {
    fn add(&mut self, seats: usize, amount: i64) {
        self.bookings += 1;
        self.seats += seats as u64;
        self.amount += amount;
    }
}

impl Sale {
    /// Returns the report of an event.
    ///
    /// # Errors
    /// If there is no such event, or a service does not answer.
    pub async fn event_report(&self, id: EventId) -> Result<SalesReport, SaleError> {
        // A report reads the whole archive of an event: the next one waits.
        let _turn = self.inner.reports.lock().await;
        let event = self.known_event(id).await?;
        let sections = vec![Sold::default(); event.layout.sections().len()];
        let mut report = SalesReport {
            event,
            as_of_ms: unix_now_ms(),
            sold: Sold::default(),
            sections,
            hours: BTreeMap::new(),
            cancelled: Sold::default(),
            held: 0,
            paid: 0,
            refusals: self.refusal_totals(id).await?,
            is_cut: false,
        };
        let (began, mut after) = (Instant::now(), None);
        loop {
            let page = self.inner.archive.bookings_of_event(id, after, PAGE).await?;
            page.iter().for_each(|booking| report.add(booking));
            match page.last() {
                Some(last) if page.len() == PAGE as usize => after = Some(last.booking.id),
                _ => return Ok(report),
            }
            if began.elapsed() > BOUND {
                report.is_cut = true;
                return Ok(report);
            }
        }
    }
}

impl SalesReport {
    fn add(&mut self, archived: &ArchivedBooking) {
        let booking = &archived.booking;
        self.held += 1;
        self.paid += u64::from(booking.paid_ms > 0);
        match archived.outcome {
            Some(Outcome::Sold) => {}
            Some(Outcome::Cancelled) => {
                return self.cancelled.add(booking.seats.len(), booking.amount);
            }
            Some(Outcome::Refund) | None => return,
        }
        self.sold.add(booking.seats.len(), booking.amount);
        let hour = booking.paid_ms.div_euclid(HOUR_MS) * HOUR_MS;
        self.hours.entry(hour).or_default().add(booking.seats.len(), booking.amount);
        let layout = &self.event.layout;
        let mut by_section: BTreeMap<usize, (usize, i64)> = BTreeMap::new();
        for seat in &booking.seats {
            let run = layout.run_of(*seat).and_then(|run| layout.run(run));
            // A seat missing in the layout would be a defect, which `verify` shows.
            let (Some(run), Some(info)) = (run, layout.seat(*seat)) else { continue };
            let (seats, amount) = by_section.entry(run.section).or_default();
            (*seats, *amount) = (*seats + 1, *amount + info.price);
        }
        for (section, (seats, amount)) in by_section {
            if let Some(sold) = self.sections.get_mut(section) {
                sold.add(seats, amount);
            }
        }
    }
}
