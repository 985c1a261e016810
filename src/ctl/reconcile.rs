//! `reconcile`: do Redis, the archive and the payment provider agree about the money?

use std::io::{IsTerminal, Write, stderr};
use std::sync::Arc;
use std::time::Duration;

use crate::config::Config;
use crate::domain::EventId;
use crate::faults::Faults;
use crate::sale::{CheckOptions, PaymentsReport};
use crate::start;
use crate::telemetry::Metrics;

use super::failure::Failure;
use super::output::{Column, Shown, printable, table};

/// Longest wait, seconds.
const WAIT_SECONDS_MAX: u64 = 3_600;
/// Differences and mended bookings shown in the table's text; `--json` has all.
const SHOWN_MAX: usize = 50;

/// Compare Redis, the archive and the payment provider, booking by booking
///
/// For every booking that was about to be paid: what the archive decided, what its intent says, what
/// the provider has taken and given back, and how it stands in Redis. With --fix the next safe step
/// is taken for each that differs: commit what is paid, give back what was refused or cancelled,
/// cancel for good what nobody will pay, try a failed refund once more. The worker does the same by
/// itself, a failed refund only so often; this does it now, and tells what is left for a person.
/// A refund on its way is no difference for two weeks.
///
/// Exits with 1 if there is any difference left.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  holdfastctl reconcile
  holdfastctl reconcile --event 7 --fix
  holdfastctl reconcile --json | jq '.differences[]'")]
pub(super) struct Arguments {
    /// Compare the payments of this event alone
    #[arg(long, value_name = "ID")]
    event: Option<u32>,
    /// Take the next safe step for each booking that differs
    #[arg(long)]
    fix: bool,
    /// How long to wait for differences to go away
    #[arg(long, value_name = "SECONDS", default_value_t = 10,
          value_parser = clap::value_parser!(u64).range(..=WAIT_SECONDS_MAX))]
    wait_seconds: u64,
}

impl Arguments {
    /// What it changes.
    pub(super) fn changes(&self) -> Option<(&'static str, String)> {
        let target = match self.event {
            Some(event) => format!("event {event}"),
            None => "all events".to_owned(),
        };
        self.fix.then_some(("reconcile --fix", target))
    }

    pub(super) async fn run(self, config: &Config) -> Result<PaymentsReport, Failure> {
        let services = start::existing(config).await?;
        // Nobody looks at this process' metrics.
        let metrics = Metrics::new(super::NAME);
        let payments = start::payments(&services, config, &metrics, Arc::new(Faults::default()));
        let options = CheckOptions {
            only: self.event.map(EventId),
            mend: self.fix,
            wait: Duration::from_secs(self.wait_seconds),
        };
        let report = payments.check(options, progress).await?;
        if stderr().is_terminal() {
            eprintln!();
        }
        Ok(report)
    }
}

/// One line that moves on, where somebody looks.
fn progress(payments: u64) {
    if stderr().is_terminal() {
        eprint!("\r{payments} payments");
        // A terminal that is gone misses nothing.
        let _ = stderr().flush();
    }
}

impl Shown for PaymentsReport {
    fn text(&self) -> String {
        let columns = [
            Column::Words("currency"),
            Column::Number("sold"),
            Column::Number("charged"),
            Column::Number("given back"),
            Column::Number("on its way"),
            Column::Number("kept"),
        ];
        let row = |(currency, money): (&String, &crate::sale::MoneyTotals)| {
            let crate::sale::MoneyTotals { sold, charged, refunded, refund_pending } = *money;
            let kept = charged - refunded - refund_pending;
            let numbers = [sold, charged, refunded, refund_pending, kept].map(|n| n.to_string());
            let [sold, charged, refunded, pending, kept] = numbers;
            [currency.clone(), sold, charged, refunded, pending, kept]
        };
        let mut lines = vec![table(columns, self.totals.iter().map(row).collect()), String::new()];
        let mended = self.mended.iter().map(|one| format!("{}: {}", one.booking, one.result));
        let differences =
            self.differences.iter().map(|one| format!("{}: {}", one.booking, one.problem));
        for (title, all) in [
            ("Mended", mended.collect::<Vec<String>>()),
            ("Different", differences.collect::<Vec<String>>()),
        ] {
            if !all.is_empty() {
                lines.push(format!("{title}: {}", all.len()));
                lines.extend(
                    all.iter().take(SHOWN_MAX).map(|line| format!("  {}", printable(line))),
                );
            }
        }
        lines.push(match self.differences.len() {
            0 => format!("Clean: {} payments, amounts in minor units.", self.payments),
            left => format!("NOT CLEAN: {} payments, {left} differences.", self.payments),
        });
        lines.join("\n")
    }

    fn has_problems(&self) -> bool {
        !self.clean
    }
}
