//! `export`: what was sold, as a file for other programs.

use std::fs::{self, File};
use std::io::{ErrorKind, Write, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde::Serialize;

use crate::config::Config;
use crate::domain::outcome::OUTCOMES;
use crate::domain::{EventId, Outcome};
use crate::sale::export::SalesExport;
use crate::start;

use super::failure::Failure;
use super::output::{Output, Shown};

#[derive(clap::Subcommand, Debug)]
pub(super) enum Command {
    Sales(SalesArguments),
}

/// Write an event's sales as CSV, one line a seat
///
/// Columns: booking, user, section, row, seat number and label, price, currency, the booking's
/// amount, payment, and when it was paid, confirmed and cancelled. Amounts are in the currency's
/// minor unit, times in UTC. Texts that a spreadsheet would run as a formula (beginning with = + -
/// @) get an apostrophe before them. Read from the archive page by page, so an event may be of any
/// size and on sale; a sale that is confirmed meanwhile may be missing. Redis may be away.
///
/// A file gets its name only when it is whole.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  holdfastctl export sales 7 --out sales.csv
  holdfastctl export sales 7 --status CANCELLED | cut -d, -f1 | sort -u
  holdfastctl export sales 7 --out sales.csv --json | jq .seats")]
pub(super) struct SalesArguments {
    /// The event's id
    event: u32,
    /// Which sales: CONFIRMED, CANCELLED after they were sold, or VOIDED: refused by the archive
    #[arg(long, ignore_case = true, default_value = "CONFIRMED", value_parser = status_parser())]
    status: Outcome,
    /// Where to write them [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

fn status_parser() -> impl TypedValueParser<Value = Outcome> {
    let words = PossibleValuesParser::new(OUTCOMES.map(|row| row.2.word()));
    // The words were checked, but for their case.
    words.try_map(|word| {
        Outcome::of_status_word(&word.to_ascii_uppercase()).ok_or("no status of a sale")
    })
}

/// What was written to a file.
#[derive(Serialize)]
struct Written {
    event: u32,
    status: &'static str,
    bookings: u64,
    seats: u64,
    file: String,
}

impl Command {
    pub(super) async fn run(self, config: &Config, output: &Output) -> Result<ExitCode, Failure> {
        let Command::Sales(arguments) = self;
        if output.json && arguments.out.is_none() {
            return Err(Failure::new("--json needs --out FILE: the sales themselves are CSV"));
        }
        let archive = start::existing_archive(config).await?;
        let event = EventId(arguments.event);
        let mut export = SalesExport::begin(&archive, event, arguments.status).await?;
        let Some(path) = &arguments.out else { return to_stdout(&mut export).await };
        to_file(&mut export, path).await?;
        output.show(&Written {
            event: arguments.event,
            status: arguments.status.status().word(),
            bookings: export.bookings(),
            seats: export.seats(),
            file: path.display().to_string(),
        })
    }
}

async fn to_stdout(export: &mut SalesExport) -> Result<ExitCode, Failure> {
    while let Some(piece) = export.next().await? {
        match stdout().write_all(&piece).and_then(|()| stdout().flush()) {
            // Whoever reads has read enough.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => break,
            other => other?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes beside the file, and gives it the name at the end: half a file never stands for a whole.
async fn to_file(export: &mut SalesExport, path: &Path) -> Result<(), Failure> {
    let named = |error: std::io::Error| Failure::new(format!("{}: {error}", path.display()));
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        // A device or a pipe: to be written to, not replaced.
        let file = File::options().write(true).open(path).map_err(named)?;
        return write_all(export, file, path).await;
    }
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let file = File::create(&part).map_err(named)?;
    match write_all(export, file, path).await {
        Ok(()) => fs::rename(&part, path).map_err(named),
        Err(error) => {
            // Should it stay, its name says what it is.
            let _ = fs::remove_file(&part);
            Err(error)
        }
    }
}

async fn write_all(export: &mut SalesExport, mut file: File, path: &Path) -> Result<(), Failure> {
    let named = |error: std::io::Error| Failure::new(format!("{}: {error}", path.display()));
    while let Some(piece) = export.next().await? {
        file.write_all(&piece).map_err(named)?;
    }
    Ok(())
}

impl Shown for Written {
    fn text(&self) -> String {
        let Written { status, bookings, seats, file, .. } = self;
        format!("{seats} seats of {bookings} {status} bookings are in {file}")
    }
}
