//! The command line's options.

use std::path::PathBuf;

use clap::ValueEnum;
use holdfast::config::ConfigArgs;

use crate::arrivals::{Arrivals, SpikeShape, rate};
use crate::distribution::{Span, Wanted, share};

pub use extra::{
    BotOptions, CompareOptions, OutputOptions, ProgressKind, QuietOptions, ReportOptions,
    RoomOptions,
};

mod extra;
mod relations;

/// Most buyers of one run. One who has not come yet costs 24 bytes, one who waits in the waiting room a
/// few hundred, one who makes a call a few kilobytes.
pub const BUYERS_MAX: u64 = 2_000_000;
/// Most calls under way: the ports of one client address end soon after.
const IN_FLIGHT_MAX: u64 = 20_000;
/// Longest hold, time-out and wait for the sale to settle, seconds.
const WAIT_SECONDS_MAX: u64 = 3_600;

/// Sell one event to simulated buyers and check every answer
///
/// Buyers arrive by a schedule that is drawn beforehand, and do not wait for each other's answers
/// (open loop): a slow server meets the same crowd as a fast one. Latency is counted from the
/// moment a call was due, not from when it could be sent, so a stall is seen by everybody who was
/// due during it (no coordinated omission). A buyer asks for seats, asks again for others if they
/// are taken, thinks, and then pays, cancels, or walks away and lets the hold lapse. Where a waiting
/// room is on it joins, waits for its turn, and leaves once it is done. A scenario is a set of
/// these options by name, which others on the command line override: `holdfast-flash-sale scenarios`.
///
/// Without --event it creates one, sells it to nobody else, and so can check the counts as well.
/// At the end it waits until no seat is held and the archive has caught up, compares Redis,
/// booking log and archive as `holdfastctl verify` does, compares the archive with the
/// responses that the buyers got, and compares Redis, archive and payment provider as
/// `holdfastctl reconcile` does, without repairing anything. These parts need Redis and MongoDB: the
/// settings of holdfastctl, above all HOLDFAST_REDIS_URL and HOLDFAST_MONGODB_URL; --no-verify leaves
/// them out.
///
/// Exits with 0 if all is clean, 1 if anything contradicts, 2 if it could not be run.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  A small sale on `make run`, its responses checked against each other:
    holdfast-flash-sale run --direct --no-verify --buyers 500 --seats 200 --rate 50

  A scenario on services of its own, checked against these as well, from the top of the checkout:
    make sale SCENARIO=stadium SALE=\"--scale 0.01\"

  Everybody in the first second, two processes behind no balancer, all want the front rows:
    holdfast-flash-sale run --url http://10.0.0.5:8000,http://10.0.0.6:8000 \\
      --buyers 20000 --spike 100% --front 3

  General admission by quantity, on an event that is there, without access to its databases:
    holdfast-flash-sale run --event 7 --by quantity --section Floor --wants 1..4 --no-verify

  A scenario, a hundredth of it, with a page to look at:
    holdfast-flash-sale run --scenario stadium --scale 0.01 --report stadium.html

  Figures for a program:
    holdfast-flash-sale run --json | jq '.operations.hold.latency_ms'

Addresses are sent as X-Forwarded-For: the server believes them only from a proxy named in
HOLDFAST_TRUSTED_PROXIES. Users are named by X-User-Id, which needs auth = \"trusted\" and this
machine in HOLDFAST_IDENTITY_PROXIES, or --direct on the server's machine.")]
#[command(args_override_self = true)]
pub struct RunOptions {
    /// Take this scenario's options, which others override; `scenarios` lists them
    #[arg(long, value_name = "NAME", help_heading = "Scenario")]
    pub scenario: Option<String>,
    /// Multiplies buyers, bots and seats by FACTOR, and rates and spans by its square root: 0.01 is a
    /// hundredth of the crowd within a tenth of the time
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = scale,
          help_heading = "Scenario")]
    pub scale: f64,
    /// With --scenario: a form of it that takes seconds
    #[arg(long, help_heading = "Scenario")]
    pub quick: bool,

    /// Where the API is; calls take turns if there are several
    #[arg(
        long,
        value_name = "URL",
        value_delimiter = ',',
        default_value = "http://127.0.0.1:8000",
        help_heading = "Sale"
    )]
    pub url: Vec<String>,
    /// Sell this event, which is on sale, rather than a new one
    #[arg(long, value_name = "ID", help_heading = "Sale")]
    pub event: Option<u32>,
    /// Seats of the new event: rows of 50, and a fifth as general admission
    #[arg(long, value_name = "N", default_value_t = 5_000, conflicts_with = "event",
          value_parser = clap::value_parser!(u32).range(10..=1_000_000), help_heading = "Sale")]
    pub seats: u32,
    /// How long holds of the new event last: short, so that abandoned seats come back meanwhile
    #[arg(long, value_name = "SECONDS", default_value_t = 10, conflicts_with = "event",
          value_parser = clap::value_parser!(u64).range(1..=WAIT_SECONDS_MAX), help_heading = "Sale")]
    pub hold_ttl_seconds: u64,
    /// Most seats of one user in the new event
    #[arg(long, value_name = "N", conflicts_with = "event",
          value_parser = clap::value_parser!(u32).range(1..=1_000), help_heading = "Sale")]
    pub seats_per_user: Option<u32>,
    /// Key for creating the event, where the server wants one, and for looking at the seats during
    /// the sale without limits
    #[arg(
        long,
        value_name = "KEY",
        env = "FLASH_SALE_ADMIN_KEY",
        hide_env_values = true,
        help_heading = "Sale"
    )]
    pub admin_key: Option<String>,

    /// How many buyers come
    #[arg(long, value_name = "N", default_value_t = 20_000,
          value_parser = clap::value_parser!(u64).range(1..=BUYERS_MAX), help_heading = "Crowd")]
    pub buyers: u64,
    /// When buyers come: spike (by --spike, --spike-span and --rate), constant:RATE,
    /// ramp:FROM..TO/SPAN (rates a second, then TO), or trace:FILE, lines of `SECONDS [COUNT]`, which
    /// also says how many come
    #[arg(long, value_name = "SCHEDULE", default_value = "spike", help_heading = "Crowd")]
    pub arrivals: Arrivals,
    /// Arrivals a second, at random moments, of those who are not in the spike
    #[arg(long, value_name = "PER_SECOND", default_value_t = 150.0, value_parser = rate,
          help_heading = "Crowd")]
    pub rate: f64,
    /// Share of the buyers who arrive as the sale opens
    #[arg(long, value_name = "SHARE", default_value = "20%", value_parser = share,
          help_heading = "Crowd")]
    pub spike: f64,
    /// How long that takes; 0s is one instant
    #[arg(long, value_name = "SPAN", default_value = "1s", help_heading = "Crowd")]
    pub spike_span: Span,
    /// Different users; by default every buyer is one
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=BUYERS_MAX),
          help_heading = "Crowd")]
    pub users: Option<u64>,
    /// Different addresses (X-Forwarded-For); by default every buyer has one
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=BUYERS_MAX),
          help_heading = "Crowd")]
    pub addresses: Option<u64>,
    /// Send no X-Forwarded-For: a server that is not behind a proxy believes X-User-Id on its own
    /// machine only in direct requests
    #[arg(long, conflicts_with = "addresses", help_heading = "Crowd")]
    pub direct: bool,
    /// Start of all chance: the same seed and options draw the same crowd
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Crowd")]
    pub seed: u64,

    /// Seats a buyer wants: 2, 1..4, or with weights 1:20,2:50,4:30
    #[arg(
        long,
        value_name = "SEATS",
        default_value = "1:20,2:50,3:12,4:18",
        help_heading = "Buyer"
    )]
    pub wants: Wanted,
    /// Name the seats, or leave the choice to the server
    #[arg(long, value_enum, default_value_t = By::Ids, help_heading = "Buyer")]
    pub by: By,
    /// With --by quantity: only in this section
    #[arg(long, value_name = "NAME", help_heading = "Buyer")]
    pub section: Option<String>,
    /// With --by quantity: take seats that are not side by side, too
    #[arg(long, help_heading = "Buyer")]
    pub split: bool,
    /// With --by ids: 1 wants all seats alike, 3 puts half of the crowd onto the first eighth
    #[arg(long, value_name = "EXPONENT", default_value_t = 2.0, value_parser = front,
          help_heading = "Buyer")]
    pub front: f64,
    /// With --by ids: everybody wants the first seats of the map, and no others
    #[arg(long, help_heading = "Buyer")]
    pub one_seat: bool,
    /// With --by ids: look at the seat map once for all, or before every further try, too
    #[arg(long, value_enum, default_value_t = Look::Retries, help_heading = "Buyer")]
    pub look: Look,
    /// Further tries after `seats_unavailable`
    #[arg(long, value_name = "N", default_value_t = 2,
          value_parser = clap::value_parser!(u32).range(0..=1_000), help_heading = "Buyer")]
    pub retries: u32,
    /// Pause before a further try: SPAN is 2s, 300ms, uniform:1s..3s or exponential:2s
    #[arg(long, value_name = "SPAN", default_value = "exponential:1s", help_heading = "Buyer")]
    pub retry_pause: Span,
    /// Time between the hold and what comes next
    #[arg(long, value_name = "SPAN", default_value = "exponential:3s", help_heading = "Buyer")]
    pub think: Span,
    /// Share of those with a hold who pay; who neither pays nor cancels lets it lapse
    #[arg(long, value_name = "SHARE", default_value = "65%", value_parser = share,
          help_heading = "Buyer")]
    pub pay: f64,
    /// Share of those with a hold who cancel it
    #[arg(long, value_name = "SHARE", default_value = "10%", value_parser = share,
          help_heading = "Buyer")]
    pub cancel: f64,
    /// Share of payers whose first card is `card_declined`; they go on with a second
    #[arg(long, value_name = "SHARE", default_value = "10%", value_parser = share,
          help_heading = "Buyer")]
    pub declined: f64,
    /// Share of payers who cancel after the booking is CONFIRMED
    #[arg(long, value_name = "SHARE", default_value = "3%", value_parser = share,
          help_heading = "Buyer")]
    pub returned: f64,
    /// Share of buyers who send an Idempotency-Key
    #[arg(long, value_name = "SHARE", default_value = "80%", value_parser = share,
          help_heading = "Buyer")]
    pub keyed: f64,
    /// Share of buyers who click twice: each hold is sent two times at once
    #[arg(long, value_name = "SHARE", default_value = "2%", value_parser = share,
          help_heading = "Buyer")]
    pub double_click: f64,

    #[command(flatten)]
    pub room: RoomOptions,
    #[command(flatten)]
    pub quiet: QuietOptions,
    #[command(flatten)]
    pub bots: BotOptions,

    /// Calls under way at once; a call that is due beyond it waits: latency that is reported apart
    #[arg(long, value_name = "N", default_value_t = 1_000,
          value_parser = clap::value_parser!(u64).range(1..=IN_FLIGHT_MAX), help_heading = "Client")]
    pub in_flight: u64,
    /// How long a call may take, and may wait to be sent; the same request is then sent again
    #[arg(long, value_name = "MS", default_value_t = 10_000,
          value_parser = clap::value_parser!(u64).range(1..=WAIT_SECONDS_MAX * 1_000),
          help_heading = "Client")]
    pub timeout_ms: u64,

    /// How long to wait, once all buyers are done, for the last hold to lapse and for the archive
    #[arg(long, value_name = "SECONDS", default_value_t = 120,
          value_parser = clap::value_parser!(u64).range(1..=WAIT_SECONDS_MAX), help_heading = "Check")]
    pub settle_seconds: u64,
    /// Check the responses alone, without Redis, booking log and archive
    #[arg(long, help_heading = "Check")]
    pub no_verify: bool,
    /// Where every call and answer goes, one JSON object a line; `none`: responses are checked as they
    /// come, and not kept
    #[arg(long, value_name = "FILE", default_value = "flash-sale.jsonl", help_heading = "Check")]
    pub history: PathBuf,
    #[command(flatten)]
    pub output: OutputOptions,
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// Check a history again, for contradictions within itself and with the archive
///
/// For histories of `run`, or of another program that writes the same lines: bench/flash-sale's
/// README describes them. Looks for seats that two buyers had at once, for keys and bookings with
/// two reports, and, unless --no-verify, for differences from the archive.
///
/// Exits with 0 if all is clean, 1 if anything contradicts, 2 if it could not be done.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  holdfast-flash-sale check --no-verify flash-sale.jsonl
  HOLDFAST_REDIS_URL=redis://10.0.0.9 HOLDFAST_MONGODB_URL=mongodb://10.0.0.8 \\
    holdfast-flash-sale check flash-sale.jsonl --json")]
pub struct CheckOptions {
    /// The history
    pub history: PathBuf,
    /// Leave Redis, booking log and archive alone
    #[arg(long)]
    pub no_verify: bool,
    /// How long to wait for the archive to catch up
    #[arg(long, value_name = "SECONDS", default_value_t = 10,
          value_parser = clap::value_parser!(u64).range(0..=WAIT_SECONDS_MAX))]
    pub wait_seconds: u64,
    /// Print one JSON document instead of text
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// How buyers say what they want.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum By {
    /// Seat ids, side by side where the map has them so
    Ids,
    /// How many, best available
    Quantity,
}

/// When buyers look at the seat map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Look {
    /// Everybody knows the map as it was at first
    Once,
    /// Who was refused looks what is free now
    Retries,
}

fn front(text: &str) -> Result<f64, String> {
    number(text, 1.0, 10.0)
}

fn scale(text: &str) -> Result<f64, String> {
    number(text, 0.000_01, 1.0)
}

fn number(text: &str, least: f64, most: f64) -> Result<f64, String> {
    let value = text.parse::<f64>().ok().filter(|value| (least..=most).contains(value));
    value.ok_or_else(|| format!("give a number from {least} to {most}"))
}
