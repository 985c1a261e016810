//! Prints the result of a run: tables for people, one JSON document for programs.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use comfy_table::{CellAlignment, Table, presets};
use hdrhistogram::Histogram;
use holdfast::sale::verify::Report;
use serde::Serialize;

use crate::Failure;
use crate::books::ArchiveLag;
use crate::check::BookingReports;
use crate::history::Operation;
use crate::shop::Shop;
use crate::tally::{BuyerResult, OperationCounts};

/// Most contradictions that are listed; the rest is only counted.
const PROBLEMS_SHOWN_MAX: usize = 50;

/// A result that can be printed.
pub trait Printable: Serialize {
    /// The result as text.
    fn text(&self) -> String;
}

/// Prints a result on standard output.
pub fn print(result: &impl Printable, json: bool) -> Result<(), Failure> {
    match json {
        true => println!("{}", serde_json::to_string_pretty(result)?),
        false => println!("{}", result.text().trim_end()),
    }
    Ok(())
}

/// The end of the sale: remaining holds and the archive's lag.
#[derive(Debug, Serialize)]
pub struct Settled {
    /// Seats that are still held.
    pub held_seats: u64,
    /// Time since the last buyer finished, seconds.
    pub seconds: f64,
    /// The archive's lag; `null` with --no-verify.
    pub archive: Option<ArchiveLag>,
}

/// The result of the checks.
#[derive(Debug, Serialize)]
pub struct Checked {
    /// The history's file.
    pub history: PathBuf,
    /// Calls in it.
    pub calls: u64,
    /// Bookings that responses reported.
    pub bookings: u64,
    /// Bookings that responses reported as CONFIRMED.
    pub confirmed: u64,
    /// Contradictions.
    pub problems: Vec<String>,
    /// The report of `verify`; `null` with --no-verify.
    pub verify: Option<Report>,
}

impl Checked {
    /// Creates the result of a check of the history alone.
    pub fn new(path: &Path, reports: &BookingReports, problems: Vec<String>) -> Self {
        let confirmed = reports.bookings.values().filter(|one| one.confirmed_ns.is_some());
        Checked {
            history: path.to_owned(),
            calls: reports.calls,
            bookings: reports.bookings.len() as u64,
            confirmed: confirmed.count() as u64,
            problems,
            verify: None,
        }
    }

    /// Returns whether there is no contradiction.
    pub fn is_clean(&self) -> bool {
        self.problems.is_empty() && self.verify.as_ref().is_none_or(|report| report.clean)
    }
}

/// The summary of a run.
#[derive(Serialize)]
pub struct Summary {
    clean: bool,
    event: u32,
    total_seats: u32,
    buyers: u64,
    seconds: f64,
    fates: BTreeMap<BuyerResult, u64>,
    operations: BTreeMap<Operation, OperationSummary>,
    generator: Generator,
    settled: Settled,
    checked: Checked,
}

/// One operation's figures.
#[derive(Serialize)]
struct OperationSummary {
    calls: u64,
    /// By status and error code.
    outcomes: BTreeMap<String, u64>,
    /// From when the call was due.
    latency_ms: Latency,
    /// From when it was sent.
    service_ms: Latency,
}

#[derive(Serialize)]
struct Latency {
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

/// How well the load generator kept its schedule. Load that it could not send does not count for the server.
#[derive(Serialize)]
struct Generator {
    /// Delay of calls that the generator caused.
    late_ms: Latency,
    /// Calls under way at most.
    in_flight_max: u64,
    /// Calls that waited for one of these.
    waited_calls: u64,
    /// The longest of these waits.
    waited_ms_max: f64,
}

impl Latency {
    fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile: f64| histogram.value_at_quantile(quantile) as f64 / 1_000.0;
        let max = histogram.max() as f64 / 1_000.0;
        Latency { p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999), max }
    }

    fn cells(&self) -> [String; 5] {
        [self.p50, self.p90, self.p99, self.p999, self.max].map(|ms| format!("{ms:.1}"))
    }
}

impl OperationSummary {
    fn of(counts: &OperationCounts) -> Self {
        OperationSummary {
            calls: counts.outcomes.values().sum(),
            outcomes: counts.outcomes.clone(),
            latency_ms: Latency::of(&counts.latency_us),
            service_ms: Latency::of(&counts.service_us),
        }
    }
}

impl Summary {
    /// Creates the summary of a run.
    pub fn new(shop: &Shop, settled: Settled, checked: Checked) -> Self {
        let counts = shop.tally.lock();
        let operations = counts.operations.iter();
        Summary {
            clean: checked.is_clean(),
            event: shop.event,
            total_seats: shop.total_seats,
            buyers: shop.options.buyers,
            seconds: shop.sale_seconds(),
            fates: counts.fates.clone(),
            operations: operations
                .map(|(op, counts)| (*op, OperationSummary::of(counts)))
                .collect(),
            generator: Generator {
                late_ms: Latency::of(&counts.late_us),
                in_flight_max: shop.options.in_flight,
                waited_calls: counts.waited,
                waited_ms_max: counts.waited_us_max as f64 / 1_000.0,
            },
            settled,
            checked,
        }
    }
}

impl Printable for Summary {
    fn text(&self) -> String {
        let mut text = String::new();
        let blocks =
            [self.headline(), self.fates(), self.latencies(), self.outcomes(), self.after()];
        for block in blocks {
            text.push_str(&block);
            text.push_str("\n\n");
        }
        text.push_str(&self.checked.text());
        text
    }
}

impl Summary {
    fn headline(&self) -> String {
        let calls: u64 = self.operations.values().map(|one| one.calls).sum();
        format!(
            "{} buyers, {} seats (event {}): {calls} calls in {:.1} s",
            self.buyers, self.total_seats, self.event, self.seconds
        )
    }

    fn fates(&self) -> String {
        let rows = self.fates.iter().map(|(fate, count)| {
            let share = 100.0 * *count as f64 / self.buyers as f64;
            vec![word(fate), count.to_string(), format!("{share:.1} %")]
        });
        table(&["buyers", "", "share"], 1, rows.collect())
    }

    fn latencies(&self) -> String {
        let rows = self.operations.iter().map(|(operation, one)| {
            let mut row = vec![word(operation), one.calls.to_string()];
            row.extend(one.latency_ms.cells());
            row
        });
        let heads = ["latency, ms", "calls", "p50", "p90", "p99", "p99.9", "max"];
        let mut text = table(&heads, 1, rows.collect());
        let Generator { late_ms, in_flight_max, waited_calls, waited_ms_max } = &self.generator;
        // Writing to a String cannot fail.
        let waits = match waited_calls {
            0 => format!("never more than {in_flight_max} were under way"),
            calls => format!(
                "{calls} waited for one of {in_flight_max} connections, {waited_ms_max:.0} ms at most"
            ),
        };
        let _ = write!(
            text,
            "\nfrom when a call was due; {:.1} ms (p99) of it, {:.1} ms at most, the load \
             generator's own delay; {waits}",
            late_ms.p99, late_ms.max
        );
        text
    }

    fn outcomes(&self) -> String {
        let rows = self.operations.iter().flat_map(|(operation, one)| {
            one.outcomes.iter().map(move |(outcome, count)| {
                let share = 100.0 * *count as f64 / one.calls as f64;
                vec![word(operation), outcome.clone(), count.to_string(), format!("{share:.1} %")]
            })
        });
        table(&["operation", "response", "calls", "share"], 2, rows.collect())
    }

    fn after(&self) -> String {
        let Settled { held_seats, seconds, archive } = &self.settled;
        let mut text = format!("settled after {seconds:.1} s, {held_seats} seats still held");
        if let Some(ArchiveLag { behind_entries_max, looks_failed, caught_up_seconds }) = archive {
            let caught_up = match caught_up_seconds {
                Some(seconds) => format!("was complete {seconds:.1} s after the last response"),
                None => "did not catch up in time".to_owned(),
            };
            let _ = write!(
                text,
                "; the archive was behind by {behind_entries_max} log entries at most and {caught_up}"
            );
            if *looks_failed > 0 {
                let _ = write!(text, " ({looks_failed} measurements of it failed)");
            }
        }
        text
    }
}

impl Printable for Checked {
    fn text(&self) -> String {
        let mut problems = self.problems.clone();
        if let Some(report) = &self.verify {
            problems.extend(report.problems.iter().cloned());
            problems.extend(report.partitions.iter().flat_map(|one| one.problems.clone()));
            problems.extend(report.events.iter().flat_map(|one| one.problems.clone()));
        }
        let mut text = String::new();
        for problem in problems.iter().take(PROBLEMS_SHOWN_MAX) {
            let _ = writeln!(text, "{problem}");
        }
        if problems.len() > PROBLEMS_SHOWN_MAX {
            let _ = writeln!(text, "… and {} more", problems.len() - PROBLEMS_SHOWN_MAX);
        }
        let Checked { history, calls, bookings, confirmed, verify, .. } = self;
        let verdict = if self.is_clean() { "Clean" } else { "NOT CLEAN" };
        let against = match verify {
            Some(_) => "against itself, Redis, the booking log and the archive",
            None => "against itself alone",
        };
        let _ = write!(
            text,
            "{verdict}: {calls} calls, {bookings} bookings, {confirmed} of them CONFIRMED, checked \
             {against}: {} problems.\nEvery call is in {}",
            problems.len(),
            history.display()
        );
        text
    }
}

/// Returns a unit variant's name in JSON.
fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

/// Formats a table without lines. Columns from `numbers` on are right-aligned.
fn table(heads: &[&str], numbers: usize, rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(heads.to_vec());
    table.add_rows(rows);
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if index >= numbers {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
}
