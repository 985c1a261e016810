//! Outcomes that Redis does not show: told to an open event. What frees seats comes first, so
//! that a seat that was cancelled and sold again goes to the one who has it now.

use super::{PAGE, Restored, Work};
use crate::archive::ArchivedBooking;
use crate::domain::{Booking, BookingId, Outcome, Status};
use crate::sale::SaleError;
use crate::sale::archiving::Settled;

impl Work<'_> {
    /// Settles every outcome of the event that Redis shows otherwise. A refused or cancelled
    /// booking that Redis does not have frees nothing, and stays in the archive.
    pub(super) async fn settle_outcomes(&self, restored: &mut Restored) -> Result<(), SaleError> {
        for outcome in [Outcome::Cancelled, Outcome::Refund, Outcome::Sold] {
            let (event, mut after) = (self.event.id, None);
            loop {
                let page = self.archive.sales_of_event(event, outcome, after, PAGE).await?;
                let Some(last) = page.last() else { break };
                after = Some(last.booking.id);
                let ids: Vec<BookingId> = page.iter().map(|one| one.booking.id).collect();
                let here = self.engine.bookings_by_id(event, &ids).await?;
                let differs = |one: &ArchivedBooking| match here.get(&one.booking.id) {
                    Some(Some(here)) => here.status != outcome.status() || is_given_up(here),
                    Some(None) => true,
                    None => outcome == Outcome::Sold,
                };
                let differing = page.into_iter().filter(differs).map(|one| one.booking);
                self.settle_all(outcome, differing.collect(), restored).await?;
            }
        }
        Ok(())
    }

    /// Settles what the archive says of these by now.
    pub(super) async fn settle_all(
        &self,
        outcome: Outcome,
        bookings: Vec<Booking>,
        restored: &mut Restored,
    ) -> Result<(), SaleError> {
        for booking in bookings {
            match self.carrier.follow(booking.id).await {
                Settled::Done => {}
                Settled::NotLoaded => return Err(self.gone()),
                Settled::Later => return Err(unsettled(booking.id, "to be tried again")),
                Settled::Never(why) => return Err(unsettled(booking.id, &why)),
            }
            if outcome == Outcome::Sold {
                self.remember(&[booking]).await?;
                restored.sold += 1;
            } else {
                restored.undone += 1;
            }
        }
        Ok(())
    }
}

/// A hold that its owner gave up, in a branch of its life in which it was not sold.
fn is_given_up(here: &Booking) -> bool {
    here.status == Status::Cancelled && here.paid_ms == 0
}

fn unsettled(id: BookingId, why: &str) -> SaleError {
    let reason = format!("the outcome of {id} cannot be settled: {why}");
    SaleError::Unavailable { dependency: "redis", reason, unknown: true }
}
