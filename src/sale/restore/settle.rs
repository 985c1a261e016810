//! Settles outcomes in an open event that Redis does not show. Outcomes that free seats come first, so
//! that a seat that was cancelled and sold again goes to its current owner.

use super::{PAGE, Restoration, RestoreReport};
use crate::archive::ArchivedBooking;
use crate::domain::{Booking, BookingId, Outcome, Status};
use crate::sale::SaleError;
use crate::sale::archiving::SettleResult;

impl Restoration<'_> {
    /// Settles every outcome of the event that Redis shows otherwise. A refunded or cancelled booking
    /// that Redis lacks frees no seats and stays in the archive only.
    pub(super) async fn settle_outcomes(
        &self,
        restored: &mut RestoreReport,
    ) -> Result<(), SaleError> {
        for outcome in [Outcome::Cancelled, Outcome::Refund, Outcome::Sold] {
            let (event, mut after) = (self.event.id, None);
            loop {
                let page = self.archive.sales_of_event(event, outcome, after, PAGE).await?;
                let Some(last) = page.last() else { break };
                after = Some(last.booking.id);
                let ids: Vec<BookingId> = page.iter().map(|one| one.booking.id).collect();
                let here = self.engine.bookings_by_id(event, &ids).await?;
                let differs = |one: &ArchivedBooking| match here.get(&one.booking.id) {
                    Some(Some(here)) => here.status != outcome.status() || is_cancelled_hold(here),
                    Some(None) => true,
                    None => outcome == Outcome::Sold,
                };
                let differing = page.into_iter().filter(differs).map(|one| one.booking);
                self.settle_all(outcome, differing.collect(), restored).await?;
            }
        }
        Ok(())
    }

    /// Settles the current outcomes of these bookings in the archive.
    pub(super) async fn settle_all(
        &self,
        outcome: Outcome,
        bookings: Vec<Booking>,
        restored: &mut RestoreReport,
    ) -> Result<(), SaleError> {
        for booking in bookings {
            match self.archiver.settle_current(booking.id).await {
                SettleResult::Done => {}
                SettleResult::NotLoaded => return Err(self.lost_again()),
                SettleResult::Retry => return Err(unsettled(booking.id, "try again")),
                SettleResult::Impossible(why) => return Err(unsettled(booking.id, &why)),
            }
            if outcome == Outcome::Sold {
                self.restore_request_keys(&[booking]).await?;
                restored.sold += 1;
            } else {
                restored.undone += 1;
            }
        }
        Ok(())
    }
}

/// Whether Redis has the booking as a hold that was cancelled without being paid, in a fork in which it
/// was not sold.
fn is_cancelled_hold(here: &Booking) -> bool {
    here.status == Status::Cancelled && here.paid_ms == 0
}

fn unsettled(id: BookingId, why: &str) -> SaleError {
    let reason = format!("the outcome of {id} cannot be settled: {why}");
    SaleError::Unavailable { dependency: "redis", reason, unknown: true }
}
