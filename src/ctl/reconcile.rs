//! `reconcile`: compares Redis, the archive and the payment provider for all payments.

use std::io::{IsTerminal, Write, stderr};
use std::sync::Arc;
use std::time::Duration;

use crate::config::Config;
use crate::domain::EventId;
use crate::domain::money::format_amount;
use crate::faults::Faults;
use crate::sale::{CheckOptions, PaymentsReport};
use crate::start;
use crate::telemetry::Metrics;

use super::failure::Failure;
use super::output::{Column, CommandResult, printable, table};

/// Longest wait, seconds.
const WAIT_SECONDS_MAX: u64 = 3_600;
/// Differences and repaired bookings shown as text, at most; `--json` has all.
const SHOWN_MAX: usize = 50;

/// Compare Redis, the archive and the payment provider, booking by booking
///
/// For every booking with a payment: the archive's outcome, its intent, what the provider has charged
/// and refunded, and its status in Redis. With --fix the next safe step is taken for each that
/// differs: commit what is paid, refund what was refused or cancelled, cancel for good what will not
/// be paid, retry a failed refund, record what was refunded outside of Holdfast. The worker does the same automatically, a failed refund only up to
/// a maximum; this does it now, and lists what is left for a person. A pending refund is no
/// difference for two weeks.
///
/// Exits with 1 if there is any difference left.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  holdfastctl reconcile
  holdfastctl reconcile --event 7 --fix
  holdfastctl reconcile --json | jq '.differences[]'")]
pub(super) struct Arguments {
    /// Only this event
    #[arg(long, value_name = "ID")]
    event: Option<u32>,
    /// Take the next safe step for each booking that differs
    #[arg(long)]
    fix: bool,
    /// How long to wait for differences to resolve
    #[arg(long, value_name = "SECONDS", default_value_t = 10,
          value_parser = clap::value_parser!(u64).range(..=WAIT_SECONDS_MAX))]
    wait_seconds: u64,
}

impl Arguments {
    /// The act for the audit log.
    pub(super) fn changes(&self) -> Option<(&'static str, String)> {
        let target = match self.event {
            Some(event) => format!("event {event}"),
            None => "all events".to_owned(),
        };
        self.fix.then_some(("reconcile --fix", target))
    }

    pub(super) async fn run(self, config: &Config) -> Result<PaymentsReport, Failure> {
        let services = start::existing(config).await?;
        // The metrics of this process are not read.
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

/// Shows progress on one line of a terminal.
fn progress(payments: u64) {
    if stderr().is_terminal() {
        eprint!("\r{payments} payments");
        // A closed terminal is ignored.
        let _ = stderr().flush();
    }
}

impl CommandResult for PaymentsReport {
    fn text(&self) -> String {
        let columns = [
            Column::Number("sold"),
            Column::Number("charged"),
            Column::Number("given back"),
            Column::Number("on its way"),
            Column::Number("by another way"),
            Column::Number("kept"),
        ];
        let row = |(currency, money): (&String, &crate::sale::MoneyTotals)| {
            let crate::sale::MoneyTotals { sold, charged, refunded, refund_pending, .. } = *money;
            let kept = charged - refunded - refund_pending - money.marked_paid;
            [sold, charged, refunded, refund_pending, money.marked_paid, kept]
                .map(|minor| format_amount(minor, currency))
        };
        let mut lines = vec![table(columns, self.totals.iter().map(row).collect()), String::new()];
        let mended = self.mended.iter().map(|one| format!("{}: {}", one.booking, one.result));
        let differences = self
            .differences
            .iter()
            .map(|one| format!("{}: {}\n    --fix: {}", one.booking, one.problem, one.fix));
        for (title, all) in [
            ("Mended", mended.collect::<Vec<String>>()),
            ("Different", differences.collect::<Vec<String>>()),
        ] {
            if !all.is_empty() {
                lines.push(format!("{title}: {}", all.len()));
                let shown = all.iter().take(SHOWN_MAX).flat_map(|text| text.lines());
                lines.extend(shown.map(|line| format!("  {}", printable(line))));
            }
        }
        lines.push(match self.differences.len() {
            0 => format!("Clean: {} payments.", self.payments),
            left => format!("NOT CLEAN: {} payments, {left} differences.", self.payments),
        });
        lines.join("\n")
    }

    fn has_problems(&self) -> bool {
        !self.clean
    }
}
