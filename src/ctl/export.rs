//! `export`: writes sales to a file for other programs.

use std::fs::{self, File};
use std::io::{ErrorKind, Write, stdout};
use std::os::unix::fs::PermissionsExt;
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
use super::fresh_file::FreshFile;
use super::output::{CommandResult, Output};

#[derive(clap::Subcommand, Debug)]
pub(super) enum Command {
    Sales(SalesArguments),
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
            status: arguments.status.status().as_str(),
            bookings: export.bookings(),
            seats: export.seats(),
            file: path.display().to_string(),
        })
    }
}

async fn to_stdout(export: &mut SalesExport) -> Result<ExitCode, Failure> {
    while let Some(piece) = export.next().await? {
        match stdout().write_all(&piece).and_then(|()| stdout().flush()) {
            // The reader has closed the pipe.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => break,
            other => other?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes to a device or a pipe directly; any other target is replaced by a complete new file.
async fn to_file(export: &mut SalesExport, path: &Path) -> Result<(), Failure> {
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

async fn write_all(export: &mut SalesExport, file: &mut File, path: &Path) -> Result<(), Failure> {
    let named = |error: std::io::Error| Failure::new(format!("{}: {error}", path.display()));
    while let Some(piece) = export.next().await? {
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
