//! Options of waiting rooms, second events, bots, and of what a run prints.

use std::path::PathBuf;

use clap::ValueEnum;

use super::{BUYERS_MAX, WAIT_SECONDS_MAX};
use crate::arrivals::rate;
use crate::distribution::Span;

/// The waiting room.
#[derive(clap::Args, Clone, Debug)]
pub struct RoomOptions {
    /// Switch the new event's waiting room on, with so many people inside at a time; buyers then join
    /// before anything else
    #[arg(id = "room", long = "room", value_name = "N", conflicts_with = "event",
          value_parser = clap::value_parser!(u32).range(1..=1_000_000), help_heading = "Waiting room")]
    pub limit: Option<u32>,
    /// How long one may stay inside
    #[arg(id = "room-session-seconds", long = "room-session-seconds", value_name = "SECONDS", default_value_t = 60,
          value_parser = clap::value_parser!(u64).range(1..=WAIT_SECONDS_MAX), help_heading = "Waiting room")]
    pub session_seconds: u64,
    /// How long a buyer waits for its turn before it leaves
    #[arg(long, value_name = "SPAN", default_value = "600s", help_heading = "Waiting room")]
    pub patience: Span,
}

/// A second event that is sold at the same time.
#[derive(clap::Args, Clone, Debug)]
pub struct QuietOptions {
    /// Sell a second new event of so many seats beside the first
    #[arg(id = "quiet-seats", long = "quiet-seats", value_name = "N", conflicts_with = "event",
          value_parser = clap::value_parser!(u32).range(10..=1_000_000), help_heading = "Second event")]
    pub seats: Option<u32>,
    /// Its buyers
    #[arg(id = "quiet-buyers", long = "quiet-buyers", value_name = "N", default_value_t = 1_000,
          value_parser = clap::value_parser!(u64).range(1..=BUYERS_MAX), help_heading = "Second event")]
    pub buyers: u64,
    /// How many of them come a second
    #[arg(id = "quiet-rate", long = "quiet-rate", value_name = "PER_SECOND", default_value_t = 20.0,
          value_parser = rate, help_heading = "Second event")]
    pub rate: f64,
}

/// Bots.
#[derive(clap::Args, Clone, Debug)]
pub struct BotOptions {
    /// Bots beside the buyers: each has an account, looks at the seat map without it, tries to hold
    /// seats, pays at once for what it gets, and names a program as its user agent or none
    #[arg(id = "bots", long = "bots", value_name = "N", default_value_t = 0,
          value_parser = clap::value_parser!(u64).range(0..=100_000), help_heading = "Bots")]
    pub number: u64,
    /// Requests of each, one after the other without a pause
    #[arg(id = "bot-calls", long = "bot-calls", value_name = "N", default_value_t = 100,
          value_parser = clap::value_parser!(u32).range(1..=1_000_000), help_heading = "Bots")]
    pub calls: u32,
    /// Addresses that they share
    #[arg(id = "bot-addresses", long = "bot-addresses", value_name = "N", default_value_t = 10,
          value_parser = clap::value_parser!(u64).range(1..=65_536), help_heading = "Bots")]
    pub addresses: u64,
    /// Within which time after the opening they begin
    #[arg(
        id = "bot-span",
        long = "bot-span",
        value_name = "SPAN",
        default_value = "2s",
        help_heading = "Bots"
    )]
    pub span: Span,
}

/// What a run leaves.
#[derive(clap::Args, Clone, Debug)]
pub struct OutputOptions {
    /// Print one JSON document instead of tables
    #[arg(long, help_heading = "Result")]
    pub json: bool,
    /// Write the same document to a file, for `report` and `compare`
    #[arg(long, value_name = "FILE", help_heading = "Result")]
    pub result: Option<PathBuf>,
    /// Write an HTML page of it
    #[arg(long, value_name = "FILE", help_heading = "Result")]
    pub report: Option<PathBuf>,
    /// What to show meanwhile on standard error
    #[arg(long, value_enum, default_value_t = ProgressKind::Auto, help_heading = "Result")]
    pub progress: ProgressKind,
}

/// What a run shows while it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProgressKind {
    /// A live view on a terminal, else a line every ten seconds
    Auto,
    /// A line every ten seconds
    Lines,
    /// Nothing
    None,
}

/// Make an HTML page of a result
///
/// The page is one file that loads nothing else: latencies over time, outcomes, seats, queue, archive
/// lag, faults, and the result of the checks. It is written beside the result unless --output says
/// where.
///
/// Exits with 0, or 2 if it could not be done.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  holdfast-flash-sale report stadium.json
  holdfast-flash-sale report stadium.json -o page.html")]
pub struct ReportOptions {
    /// A result that `run --result FILE` or `run --json` has left
    pub result: PathBuf,
    /// The page
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Compare two results
///
/// Prints a table of what differs, or writes an HTML page with --output.
///
/// Exits with 0, or 2 if it could not be done.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  holdfast-flash-sale compare before.json after.json
  holdfast-flash-sale compare before.json after.json -o page.html")]
pub struct CompareOptions {
    /// The first result
    pub first: PathBuf,
    /// The second result
    pub second: PathBuf,
    /// The page
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}
