//! `bookings refund`: takes the next step of one booking's refund.

use std::sync::Arc;

use serde::Serialize;

use crate::config::Config;
use crate::ctl::confirmation::Confirmation;
use crate::ctl::failure::Failure;
use crate::ctl::output::{CommandResult, printable};
use crate::domain::money::format_amount;
use crate::domain::time::iso8601;
use crate::domain::{BookingId, IntentState, Outcome};
use crate::faults::Faults;
use crate::sale::ReconcileResult;
use crate::start::{self, Services};
use crate::telemetry::Metrics;

use super::found::{FoundBooking, find};

/// Give the money of a cancelled or refused booking back now
///
/// For a booking whose sale was cancelled, or that was paid too late for its seats: the refund is sent to
/// the payment provider if it has none, and sent again if it failed, also after the last automatic
/// attempt. What is already given back or on its way is not sent again. The money of a booking that is
/// sold stays: `bookings cancel` cancels the sale, and refunds it. Asks first, and is recorded in the
/// audit log before anything is done. Repeating it is safe.
///
/// Exits with 1 if the refund is not done yet.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  holdfastctl bookings refund 019a8f6e-5f2c-8a31-8000-0001c0000000 --reason 'card was replaced'")]
pub(in crate::ctl) struct Arguments {
    /// The booking's id
    booking: BookingId,
    /// Why, for the audit log
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    confirmation: Confirmation,
}

/// A refund's progress.
#[derive(Serialize)]
pub(super) struct RefundStep {
    /// Whether the money is given back.
    pub is_done: bool,
    /// What happened, or what it waits for.
    pub result: String,
}

/// The result of the command.
#[derive(Serialize)]
pub(in crate::ctl) struct Refunded {
    booking: String,
    amount: i64,
    currency: String,
    reason: String,
    refund: RefundStep,
}

impl RefundStep {
    /// Takes the next safe step of a booking's refund, as `reconcile --fix` does of all.
    pub async fn take(services: &Services, config: &Config, id: BookingId) -> Self {
        // The metrics of this process are not read.
        let metrics = Metrics::new(crate::ctl::NAME);
        let payments = start::payments(services, config, &metrics, Arc::new(Faults::default()));
        let (is_done, result) = match payments.reconcile_now(id).await {
            Ok(ReconcileResult::Done(IntentState::Refunded)) => (true, "given back".to_owned()),
            Ok(ReconcileResult::Done(_) | ReconcileResult::Nothing | ReconcileResult::Released) => {
                (true, "no money was taken".to_owned())
            }
            Ok(ReconcileResult::Refunding { until_ms }) => {
                (false, format!("on its way, or tried again; looked at next {}", iso8601(until_ms)))
            }
            Ok(ReconcileResult::Waiting(wait)) => {
                (false, format!("{}; a worker goes on with it", wait.why))
            }
            Ok(ReconcileResult::Committed) => (false, "it is being sold".to_owned()),
            Err(error) => (false, format!("{error}; a worker goes on with it")),
        };
        RefundStep { is_done, result }
    }

    pub fn text(&self) -> String {
        match self.is_done {
            true => self.result.clone(),
            false => format!("NOT DONE yet: {}", printable(&self.result)),
        }
    }
}

impl Arguments {
    /// The act for the audit log.
    pub(super) fn changes(&self) -> (&'static str, String) {
        ("bookings refund", format!("booking {}", self.booking))
    }

    /// Checks and asks before anything is recorded or done.
    pub(super) async fn confirm(&self, config: &Config) -> Result<(), Failure> {
        confirm_refund(config, self.booking, &self.confirmation).await
    }

    pub(super) async fn run(self, config: &Config) -> Result<Refunded, Failure> {
        refund_now(config, self.booking, self.reason).await
    }
}

/// Checks that a booking is to be refunded, and asks.
pub(in crate::ctl) async fn confirm_refund(
    config: &Config,
    booking: BookingId,
    confirmation: &Confirmation,
) -> Result<(), Failure> {
    let services = start::existing(config).await?;
    let found = find(&services.engine, &services.archive, booking).await?;
    check(&found)?;
    confirmation.ask(&format!("Give the money back of {}?", found.text()))
}

/// Takes the next step of a booking's refund now.
pub(in crate::ctl) async fn refund_now(
    config: &Config,
    booking: BookingId,
    reason: String,
) -> Result<Refunded, Failure> {
    let services = start::existing(config).await?;
    let found = find(&services.engine, &services.archive, booking).await?;
    check(&found)?;
    Ok(Refunded {
        booking: booking.to_string(),
        amount: found.booking.amount,
        reason,
        refund: RefundStep::take(&services, config, booking).await,
        currency: found.booking.currency,
    })
}

/// Refuses what the archive has not decided to give back.
fn check(found: &FoundBooking) -> Result<(), Failure> {
    let id = found.booking.id;
    match found.outcome {
        Some(Outcome::Cancelled | Outcome::Refund) => Ok(()),
        Some(Outcome::Sold) => Err(Failure::new(format!(
            "booking {id} is sold: its money goes back when it is cancelled (`holdfastctl bookings \
             cancel {id}`)"
        ))),
        None => Err(Failure::new(format!(
            "the archive has decided nothing about booking {id}, so there is nothing to give back; \
             `holdfastctl bookings show {id}` shows its payment"
        ))),
    }
}

impl CommandResult for Refunded {
    fn text(&self) -> String {
        let amount = format_amount(self.amount, &self.currency);
        format!("Refund of {amount} for booking {}: {}", self.booking, self.refund.text())
    }

    fn has_problems(&self) -> bool {
        !self.refund.is_done
    }
}
