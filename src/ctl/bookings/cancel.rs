//! `bookings cancel`: cancels a hold or a sale for its user.

use std::sync::Arc;

use serde::Serialize;

use crate::config::Config;
use crate::ctl::confirmation::Confirmation;
use crate::ctl::failure::Failure;
use crate::ctl::output::CommandResult;
use crate::domain::booking::format_seats;
use crate::domain::money::format_amount;
use crate::domain::{BookingId, Status};
use crate::faults::Faults;
use crate::sale::{CancelPolicy, Cancellations};
use crate::start;

use super::found::{FoundBooking, find};
use super::refund::RefundStep;

/// Cancel a booking for its user: a hold, or a sale with its refund
///
/// As the user's own request: a hold is released at once. A sale is cancelled in the archive first, then
/// its seats become free, and the whole price is given back through the payment provider. Whether sales
/// may be cancelled, and until when, is the event's policy; --waive-policy cancels nevertheless. Asks
/// first, and is recorded in the audit log before anything is done. Repeating it is safe, also after a
/// crash or a lost connection: a worker finishes what was begun.
///
/// Exits with 1 if the booking is cancelled and its refund is not done yet.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  holdfastctl bookings cancel 019a8f6e-5f2c-8a31-8000-0001c0000000 --reason 'asked by phone'
  holdfastctl bookings cancel 019a8f6e-5f2c-8a31-8000-0001c0000000 --waive-policy --yes --reason x")]
pub(in crate::ctl) struct Arguments {
    /// The booking's id
    booking: BookingId,
    /// Why, for the audit log
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Cancel a sale that the event's cancellation policy does not allow to be cancelled
    #[arg(long)]
    waive_policy: bool,
    #[command(flatten)]
    confirmation: Confirmation,
}

/// A cancelled booking.
#[derive(Serialize)]
pub(super) struct Cancelled {
    booking: String,
    event: u32,
    user: String,
    status: &'static str,
    /// Whether it was cancelled before.
    replayed: bool,
    seats: Vec<u32>,
    amount: i64,
    currency: String,
    reason: String,
    /// Absent for a hold.
    refund: Option<RefundStep>,
    #[serde(skip)]
    seats_text: String,
}

impl Arguments {
    /// The act for the audit log.
    pub(super) fn changes(&self) -> (&'static str, String) {
        ("bookings cancel", format!("booking {}", self.booking))
    }

    /// Asks before anything is recorded or done.
    pub(super) async fn confirm(&self, config: &Config) -> Result<(), Failure> {
        let services = start::existing(config).await?;
        let found = find(&services.engine, &services.archive, self.booking).await?;
        self.confirmation.ask(&format!("Cancel {}?", found.text()))
    }

    pub(super) async fn run(self, config: &Config) -> Result<Cancelled, Failure> {
        let services = start::existing(config).await?;
        let (engine, archive) = (services.engine.clone(), services.archive.clone());
        let FoundBooking { booking, .. } = find(&engine, &archive, self.booking).await?;
        let policy = match self.waive_policy {
            true => CancelPolicy::Waived,
            false => CancelPolicy::Applied,
        };
        let faults = Arc::new(Faults::default());
        let cancellations = Cancellations::new(engine, archive, faults, policy);
        let view = cancellations.cancel(&booking.user, self.booking).await?;
        // What was never paid has no refund; a sale's is taken on at once, and by workers.
        let refund = match view.booking.payment.is_empty() {
            true => None,
            false => Some(RefundStep::take(&services, config, self.booking).await),
        };
        let booking = view.booking;
        Ok(Cancelled {
            booking: booking.id.to_string(),
            event: booking.id.event().0,
            user: booking.user.to_string(),
            status: booking.status.as_str(),
            replayed: view.replayed,
            seats_text: format_seats(&booking.seats),
            seats: booking.seats.iter().map(|seat| seat.0).collect(),
            amount: booking.amount,
            currency: booking.currency,
            reason: self.reason,
            refund,
        })
    }
}

impl Cancelled {
    fn is_cancelled(&self) -> bool {
        self.status == Status::Cancelled.as_str()
    }
}

impl CommandResult for Cancelled {
    fn text(&self) -> String {
        let before = if self.replayed { " (it was before)" } else { "" };
        let seats = &self.seats_text;
        let mut text = match self.is_cancelled() {
            true => {
                format!("Booking {} is cancelled{before}; seats {seats} are free.", self.booking)
            }
            false => format!(
                "Booking {} is cancelled in the archive; its seats {seats} become free as soon as a \
                 worker has settled it.",
                self.booking
            ),
        };
        if let Some(refund) = &self.refund {
            let amount = format_amount(self.amount, &self.currency);
            text.push_str(&format!("\nRefund of {amount}: {}", refund.text()));
        }
        text
    }

    fn has_problems(&self) -> bool {
        self.refund.as_ref().is_some_and(|refund| !refund.is_done)
    }
}
