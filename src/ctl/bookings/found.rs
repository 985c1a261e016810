//! Finds a booking for an operator, whoever its user is.

use crate::archive::Archive;
use crate::ctl::failure::Failure;
use crate::ctl::output::printable;
use crate::domain::booking::format_seats;
use crate::domain::money::format_amount;
use crate::domain::{Booking, BookingId, Outcome};
use crate::redis::{Engine, GetBookingReply};
use crate::sale::SaleError;

/// A booking, and what the archive has decided about it.
pub(in crate::ctl) struct FoundBooking {
    pub booking: Booking,
    pub outcome: Option<Outcome>,
}

/// Finds a booking in Redis, or else in the archive.
pub(in crate::ctl) async fn find(
    engine: &Engine,
    archive: &Archive,
    id: BookingId,
) -> Result<FoundBooking, Failure> {
    let archived = archive.booking(id).await?;
    let outcome = archived.as_ref().and_then(|archived| archived.outcome);
    let here = match engine.get_booking(id).await?.reply {
        GetBookingReply::Found { booking } => Some(*booking),
        _ => None,
    };
    let booking = here.or_else(|| archived.map(|archived| archived.booking));
    let booking = booking.ok_or(SaleError::BookingUnknown(id))?;
    Ok(FoundBooking { booking, outcome })
}

impl FoundBooking {
    /// The booking in one sentence.
    pub fn text(&self) -> String {
        let Booking { id, user, seats, amount, currency, status, .. } = &self.booking;
        format!(
            "booking {id} of {} ({}): event {}, seats {}, {}",
            printable(user.as_str()),
            status.as_str(),
            id.event(),
            format_seats(seats),
            format_amount(*amount, currency),
        )
    }
}
