//! `payments refund retry` and `mark-paid`: settles a refund that failed.

use std::process::ExitCode;
use std::sync::Arc;

use serde::Serialize;

use crate::config::Config;
use crate::ctl::audit::actor;
use crate::ctl::bookings;
use crate::ctl::confirmation::Confirmation;
use crate::ctl::failure::Failure;
use crate::ctl::output::{CommandResult, Output};
use crate::domain::BookingId;
use crate::domain::money::format_amount;
use crate::domain::movement::REFERENCE_BYTES_MAX;
use crate::faults::Faults;
use crate::sale::MarkPaid;
use crate::start;
use crate::telemetry::Metrics;

#[derive(clap::Subcommand, Debug)]
pub(in crate::ctl) enum Command {
    Retry(RetryArguments),
    MarkPaid(MarkPaidArguments),
}

/// Send a refund that failed once more, now
///
/// The same as `bookings refund`: also after the last automatic attempt. What is already given back or on
/// its way is not sent again. Asks first, and is recorded in the audit log before anything is done.
///
/// Exits with 1 if the refund is not done yet.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  holdfastctl payments refund retry 019a8f6e-5f2c-8a31-8000-0001c0000000 --reason 'balance is topped up'")]
pub(in crate::ctl) struct RetryArguments {
    /// The booking's id
    booking: BookingId,
    /// Why, for the audit log
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    confirmation: Confirmation,
}

/// Record that the money of a failed refund was returned by another way
///
/// For a refund that the provider cannot carry out: a closed account, a payment that it does not know.
/// First return the money, as by bank transfer; then record that here, with its reference. What neither
/// the provider nor anybody else has returned counts as returned from then on: the alarm ends, no refund
/// is sent for it any more, and `reconcile` and the ledger know that the provider's books differ by it.
/// Refused while a refund is on its way at the provider, or may still be sent. Asks first, and is
/// recorded in the audit log before anything is done. The same reference again is recorded only where something is missing again.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  holdfastctl payments refund mark-paid 019a8f6e-5f2c-8a31-8000-0001c0000000 --reference 'SEPA 2026-12-01/17'")]
pub(in crate::ctl) struct MarkPaidArguments {
    /// The booking's id
    booking: BookingId,
    /// The reference of the other payment
    #[arg(long, value_name = "TEXT", value_parser = reference)]
    reference: String,
    #[command(flatten)]
    confirmation: Confirmation,
}

fn reference(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("a reference by which the payment is found again".to_owned()),
        long if long.len() > REFERENCE_BYTES_MAX => {
            Err(format!("at most {REFERENCE_BYTES_MAX} bytes"))
        }
        text => Ok(text.to_owned()),
    }
}

/// The result of `mark-paid`.
#[derive(Serialize)]
struct Marked {
    booking: String,
    amount: i64,
    currency: String,
    reference: String,
    recorded_by: String,
    /// Whether it was recorded before.
    replayed: bool,
    /// What became of the payment.
    result: &'static str,
}

impl Command {
    /// The act for the audit log.
    pub(super) fn changes(&self) -> (&'static str, String) {
        match self {
            Command::Retry(one) => ("payments refund retry", format!("booking {}", one.booking)),
            Command::MarkPaid(one) => {
                ("payments refund mark-paid", format!("booking {}", one.booking))
            }
        }
    }

    /// Checks and asks before anything is recorded or done.
    pub(super) async fn confirm(&self, config: &Config) -> Result<(), Failure> {
        match self {
            Command::Retry(one) => {
                bookings::confirm_refund(config, one.booking, &one.confirmation).await
            }
            Command::MarkPaid(one) => {
                let services = start::existing(config).await?;
                let (engine, archive) = (&services.engine, &services.archive);
                let found = bookings::find(engine, archive, one.booking).await?;
                let (reference, found) = (&one.reference, found.text());
                one.confirmation.ask(&format!(
                    "Record that the money was returned by another way ({reference}), of {found}?"
                ))
            }
        }
    }

    pub(super) async fn run(self, config: &Config, output: &Output) -> Result<ExitCode, Failure> {
        match self {
            Command::Retry(one) => {
                let refunded = bookings::refund_now(config, one.booking, one.reason);
                output.show(&Box::pin(refunded).await?)
            }
            Command::MarkPaid(one) => output.show(&Box::pin(one.run(config)).await?),
        }
    }
}

impl MarkPaidArguments {
    async fn run(self, config: &Config) -> Result<Marked, Failure> {
        let services = start::existing(config).await?;
        // The metrics of this process are not read.
        let metrics = Metrics::new(crate::ctl::NAME);
        let payments = start::payments(&services, config, &metrics, Arc::new(Faults::default()));
        let order = MarkPaid { booking: self.booking, reference: self.reference, by: actor() };
        let marked = payments.mark_paid(&order).await?;
        Ok(Marked {
            booking: self.booking.to_string(),
            amount: marked.amount,
            currency: marked.currency,
            reference: order.reference,
            recorded_by: order.by,
            replayed: marked.replayed,
            result: marked.reconciled.as_str(),
        })
    }
}

impl CommandResult for Marked {
    fn text(&self) -> String {
        let amount = format_amount(self.amount, &self.currency);
        let before = if self.replayed { " (it was before)" } else { "" };
        let Marked { booking, reference, result, .. } = self;
        format!(
            "{amount} of booking {booking} is recorded as returned by another way: {reference}{before}. Payment: {result}"
        )
    }
}
