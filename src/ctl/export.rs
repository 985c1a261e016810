//! `export`: writes sales and the ledger of payments to files for other programs.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Write, stdout};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use jiff::civil::Date;
use serde::Serialize;

use crate::config::Config;
use crate::domain::money::format_amount;
use crate::domain::outcome::OUTCOMES;
use crate::domain::{EventId, Outcome};
use crate::sale::SaleError;
use crate::sale::export::SalesExport;
use crate::sale::ledger::{LedgerExport, LedgerOptions, LedgerTotals};
use crate::start;

use super::failure::Failure;
use super::fresh_file::FreshFile;
use super::output::{CommandResult, Output};

#[derive(clap::Subcommand, Debug)]
pub(super) enum Command {
    Sales(SalesArguments),
    Ledger(LedgerArguments),
}

/// Write an event's sales as CSV, one line a seat
///
/// Columns: booking, user, section, row, seat number and label, price, currency, the booking's
/// amount, payment, and when it was paid, confirmed and cancelled. Amounts are in the currency's
/// minor unit, times in UTC. Every field is quoted, the file is UTF-8 with a byte order mark, and a
/// text that a spreadsheet would run as a formula (= + - @ at its beginning, or after a separator in
/// it) gets an apostrophe before it. Reads the archive page by page, so an event may be of any size
/// and on sale; a sale confirmed meanwhile may be missing. Does not need Redis.
///
/// The file gets its name only when it is complete, and only its owner can read it (0600). A symbolic
/// link of that name is replaced, not followed.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  holdfastctl export sales 7 --out sales.csv
  holdfastctl export sales 7 --status CANCELLED | cut -d, -f1 | sort -u
  holdfastctl export sales 7 --out sales.csv --json | jq .seats")]
pub(super) struct SalesArguments {
    /// The event's id
    event: u32,
    /// Which sales: CONFIRMED, CANCELLED after they were sold, or VOIDED (refused by the archive)
    #[arg(long, ignore_case = true, default_value = "CONFIRMED", value_parser = status_parser())]
    status: Outcome,
    /// Output file [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Write every movement of money as CSV: charges, refunds, refunds made outside, money returned by another way
///
/// One line a movement, or with --by-day one a day, kind and event. `amount` is in the currency's minor
/// unit, `amount_units` in units; what goes back to a buyer is negative. `channel` is `provider` for what
/// is in the provider's books, and `other` for the rest: the sum of the first equals what the provider
/// shows as charged less refunded, once `reconcile` is clean, no refund is on its way, and every payment
/// was charged its price. A charge has the time at which it was paid, a
/// refund the time at which Holdfast saw that it had succeeded; days are UTC. A payment that the archive
/// has not decided yet is left out. Movement 0 of a booking is its charge. Further kinds may be added.
/// The format is that of `export sales`. Does not need Redis.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  holdfastctl export ledger --from 2026-12-01 --to 2026-12-31 --out december.csv
  holdfastctl export ledger 7 --by-day
  holdfastctl export ledger 7 --out ledger.csv --json | jq .totals")]
pub(super) struct LedgerArguments {
    /// Only this event [default: all]
    event: Option<u32>,
    /// Sums of each day, kind and event
    #[arg(long)]
    by_day: bool,
    /// Only from this day on (UTC)
    #[arg(long, value_name = "DATE")]
    from: Option<Date>,
    /// Only until this day, included (UTC)
    #[arg(long, value_name = "DATE")]
    to: Option<Date>,
    /// Output file [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// An export in pieces.
trait CsvExport {
    async fn next_piece(&mut self) -> Result<Option<Vec<u8>>, SaleError>;
}

impl CsvExport for SalesExport {
    async fn next_piece(&mut self) -> Result<Option<Vec<u8>>, SaleError> {
        self.next().await
    }
}

impl CsvExport for LedgerExport {
    async fn next_piece(&mut self) -> Result<Option<Vec<u8>>, SaleError> {
        self.next().await
    }
}

fn status_parser() -> impl TypedValueParser<Value = Outcome> {
    let words = PossibleValuesParser::new(OUTCOMES.map(|row| row.2.as_str()));
    // The values were checked, except for their case.
    words.try_map(|word| {
        Outcome::of_status_word(&word.to_ascii_uppercase()).ok_or("no status of a sale")
    })
}

/// The summary of a written file.
#[derive(Serialize)]
struct Written {
    event: u32,
    status: &'static str,
    bookings: u64,
    seats: u64,
    file: String,
}

/// The summary of a written ledger.
#[derive(Serialize)]
struct LedgerWritten {
    event: Option<u32>,
    lines: u64,
    /// By currency, in its minor unit.
    totals: BTreeMap<String, LedgerTotals>,
    file: String,
}

impl Command {
    pub(super) async fn run(self, config: &Config, output: &Output) -> Result<ExitCode, Failure> {
        match self {
            Command::Sales(arguments) => arguments.run(config, output).await,
            Command::Ledger(arguments) => arguments.run(config, output).await,
        }
    }
}

fn needs_file(output: &Output, out: Option<&PathBuf>) -> Result<(), Failure> {
    match output.json && out.is_none() {
        true => Err(Failure::new("--json needs --out FILE: the export itself is CSV")),
        false => Ok(()),
    }
}

impl SalesArguments {
    async fn run(self, config: &Config, output: &Output) -> Result<ExitCode, Failure> {
        needs_file(output, self.out.as_ref())?;
        let archive = start::existing_archive(config).await?;
        let mut export = SalesExport::begin(&archive, EventId(self.event), self.status).await?;
        let Some(path) = &self.out else { return to_stdout(&mut export).await };
        to_file(&mut export, path).await?;
        output.show(&Written {
            event: self.event,
            status: self.status.status().as_str(),
            bookings: export.bookings(),
            seats: export.seats(),
            file: path.display().to_string(),
        })
    }
}

impl LedgerArguments {
    async fn run(self, config: &Config, output: &Output) -> Result<ExitCode, Failure> {
        needs_file(output, self.out.as_ref())?;
        let archive = start::existing_archive(config).await?;
        let options = LedgerOptions {
            event: self.event.map(EventId),
            by_day: self.by_day,
            from: self.from,
            to: self.to,
        };
        let mut export = LedgerExport::begin(&archive, options).await?;
        let Some(path) = &self.out else { return to_stdout(&mut export).await };
        to_file(&mut export, path).await?;
        output.show(&LedgerWritten {
            event: self.event,
            lines: export.lines(),
            totals: export.totals().clone(),
            file: path.display().to_string(),
        })
    }
}

async fn to_stdout(export: &mut impl CsvExport) -> Result<ExitCode, Failure> {
    while let Some(piece) = export.next_piece().await? {
        match stdout().write_all(&piece).and_then(|()| stdout().flush()) {
            // The reader has closed the pipe.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => break,
            other => other?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes to a device or a pipe directly; any other target is replaced by a complete new file.
async fn to_file(export: &mut impl CsvExport, path: &Path) -> Result<(), Failure> {
    let named = |error: std::io::Error| Failure::new(format!("{}: {error}", path.display()));
    if fs::metadata(path).is_ok_and(|found| is_stream(found.file_type())) {
        if is_shared_folder(path) {
            return Err(Failure::new(format!(
                "{}: this is a pipe or a device in a folder that anybody may write in, and may be \
                 somebody's trap: write to standard output instead, or to another folder",
                path.display()
            )));
        }
        let mut file = File::options().write(true).open(path).map_err(named)?;
        return write_all(export, &mut file, path).await;
    }
    let mut fresh = FreshFile::beside(path).map_err(named)?;
    write_all(export, fresh.file(), path).await?;
    fresh.rename_to(path).map_err(named)
}

fn is_stream(kind: fs::FileType) -> bool {
    !(kind.is_file() || kind.is_dir())
}

/// Whether other users of this machine can create files, links and pipes beside this one.
fn is_shared_folder(path: &Path) -> bool {
    const OTHERS_WRITE: u32 = 0o002;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let found = fs::metadata(folder.unwrap_or(Path::new(".")));
    found.is_ok_and(|found| found.permissions().mode() & OTHERS_WRITE != 0)
}

async fn write_all(
    export: &mut impl CsvExport,
    file: &mut File,
    path: &Path,
) -> Result<(), Failure> {
    let named = |error: std::io::Error| Failure::new(format!("{}: {error}", path.display()));
    while let Some(piece) = export.next_piece().await? {
        file.write_all(&piece).map_err(named)?;
    }
    Ok(())
}

impl CommandResult for Written {
    fn text(&self) -> String {
        let Written { status, bookings, seats, file, .. } = self;
        format!("{seats} seats of {bookings} {status} bookings are in {file}")
    }
}

impl CommandResult for LedgerWritten {
    fn text(&self) -> String {
        let mut lines = vec![format!("{} lines are in {}", self.lines, self.file)];
        lines.extend(self.totals.iter().map(|(currency, totals)| {
            let LedgerTotals { charged, refunded, marked_paid, kept } = *totals;
            let [charged, refunded, marked_paid, kept] =
                [charged, refunded, marked_paid, kept].map(|minor| format_amount(minor, currency));
            format!(
                "charged {charged}, given back {refunded}, by another way {marked_paid}, kept {kept}"
            )
        }));
        lines.join("\n")
    }
}
