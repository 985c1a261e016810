//! Buyers who hold one seat and pay for it, at rising rates (open loop), until confirmations become too
//! slow. Every step is a sale of `holdfast-flash-sale` on an event of its own: its responses are
//! compared with each other, with Redis, the booking log and the archive.
//!
//! With `--lag-seats`, instead: so many seats are sold as fast as they can be, and it is measured when
//! the archive has all of it.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use holdfast::config::ConfigArgs;
use holdfast::redis::{Engine, WORKER_GROUP};
use holdfast::start;
use serde_json::{Value, json};
use tokio::process::Command;

use super::processes::{Times, since, times};

/// The slowest that the 99th percentile of confirmations may be, ms.
const P99_MS_MAX: f64 = 500.0;
/// The rate that is to hold, bookings a second.
const RATE_TARGET: u64 = 1_200;
/// The most that the archive may be behind the last sale, seconds.
const LAG_SECONDS_TARGET: f64 = 5.0;
/// The sale that warms the deployment up: rate and buyers. It is not reported.
const WARM_UP: (u64, u64) = (200, 400);
/// Seats of an event for each buyer: few choose one that is taken.
const SEATS_A_BUYER: u64 = 10;
/// Attempts at a rate: one that a busy machine spoiled is repeated once.
const ATTEMPTS: u32 = 2;
/// No step begins later than this.
const STEPS_TIME_MAX: Duration = Duration::from_secs(120);
/// Seats of a booking, and calls under way, where the archive's lag is measured.
const LAG_SEATS_A_BOOKING: u64 = 2;
const LAG_CALLS: u64 = 256;
/// Pause between two reads of the lag.
const LAG_PAUSE: Duration = Duration::from_millis(50);
/// How long the archive is waited for.
const LAG_TIME_MAX: Duration = Duration::from_secs(120);

/// The command line's options.
#[derive(clap::Args)]
pub struct Options {
    /// Addresses of the API processes, comma separated
    #[arg(long)]
    url: String,
    /// Rates of the steps, bookings a second
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "400,500,600,700,800,900,1000,1200,1400,1600,1800,2000"
    )]
    rates: Vec<u64>,
    /// Length of a step, seconds
    #[arg(long, default_value_t = 6)]
    step_seconds: u64,
    /// Sell so many seats as fast as possible instead, and measure how far the archive is behind
    #[arg(long)]
    lag_seats: Option<u64>,
    /// The folder of the sales' histories
    #[arg(long, default_value = ".")]
    histories: PathBuf,
    /// A file that is to have the figures as JSON
    #[arg(long)]
    json: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigArgs,
}

/// The result of one sale.
struct Step {
    rate: u64,
    p50_ms: f64,
    p99_ms: f64,
    /// Bookings that were sold and archived, a second from the first arrival to the archive's last.
    archived: f64,
    /// Whether every buyer bought, and no check found anything.
    is_clean: bool,
    /// Processor time by program.
    processors: Times,
    bought: u64,
    report: Value,
}

/// Measures and prints; the last line is the result as JSON.
pub async fn run(options: Options) -> Result<(), Box<dyn Error>> {
    std::fs::create_dir_all(&options.histories)?;
    let (rate, buyers) = WARM_UP;
    sale(&options, rate, buyers).await?;
    let json = match options.lag_seats {
        Some(seats) => lag(&options, seats).await?,
        None => steps(&options).await?,
    };
    if let Some(path) = &options.json {
        std::fs::write(path, format!("{json:#}\n"))?;
    }
    println!("{json}");
    match json["clean"].as_bool() {
        Some(true) => Ok(()),
        _ => Err("a check of the sales found something".into()),
    }
}

// -- Rising rates --------------------------------------------------------------------------------

async fn steps(options: &Options) -> Result<Value, Box<dyn Error>> {
    let began = Instant::now();
    let (mut reached, mut all) = (None, Vec::new());
    println!("rate/s  p50 ms  p99 ms  archived/s  clean  processor time a booking, us");
    'rates: for rate in &options.rates {
        for attempt in 1..=ATTEMPTS {
            if began.elapsed() > STEPS_TIME_MAX {
                println!("(no time for more)");
                break 'rates;
            }
            let step = sale(options, *rate, rate * options.step_seconds).await?;
            step.print();
            let held = step.held();
            all.push(step);
            if held {
                reached = Some(*rate);
                break;
            }
            if attempt == ATTEMPTS {
                break 'rates;
            }
        }
    }
    let shown = reached.map_or_else(|| "none".to_owned(), |rate| rate.to_string());
    println!(
        "highest rate whose p99 is at most {P99_MS_MAX} ms: {shown}  (at least {RATE_TARGET})"
    );
    let clean = all.iter().all(|step| step.is_clean);
    let steps: Vec<Value> = all.iter().map(Step::json).collect();
    Ok(json!({
        "rate": reached, "rate_target": RATE_TARGET, "p99_ms_max": P99_MS_MAX, "clean": clean,
        "steps": steps,
    }))
}

/// One sale in which every buyer holds one seat and pays for it at once.
async fn sale(options: &Options, rate: u64, buyers: u64) -> Result<Step, Box<dyn Error>> {
    let arguments = [
        ("--buyers", buyers.to_string()),
        ("--seats", (buyers * SEATS_A_BUYER).to_string()),
        ("--rate", rate.to_string()),
        ("--spike", "0%".to_owned()),
        ("--wants", "1".to_owned()),
        ("--front", "1".to_owned()),
        ("--look", "once".to_owned()),
        ("--retry-pause", "0s".to_owned()),
        ("--retries", "5".to_owned()),
        ("--in-flight", "4000".to_owned()),
    ];
    let before = times()?;
    let report = flash_sale(options, &format!("rate-{rate}"), &arguments).await?;
    let processors = since(&before, &times()?);
    let number = |pointer: &str| report.pointer(pointer).and_then(Value::as_f64);
    let at = |what: &str| {
        number(&format!("/operations/confirm/latency_ms/{what}"))
            .ok_or_else(|| format!("no latency of confirmations in {report}"))
    };
    let bought = number("/fates/bought").unwrap_or_default();
    let seconds = number("/seconds").unwrap_or_default();
    let archived_after = number("/settled/archive/caught_up_seconds");
    Ok(Step {
        rate,
        p50_ms: at("p50")?,
        p99_ms: at("p99")?,
        archived: archived_after.map_or(0.0, |after| bought / (seconds + after)),
        is_clean: report["clean"] == true && bought as u64 == buyers,
        processors,
        bought: bought as u64,
        report,
    })
}

impl Step {
    fn held(&self) -> bool {
        self.is_clean && self.p99_ms <= P99_MS_MAX
    }

    fn print(&self) {
        let clean = if self.is_clean { "yes" } else { "NO" };
        let Step { rate, p50_ms, p99_ms, archived, .. } = self;
        let mut line =
            format!("{rate:>6}  {p50_ms:>6.0}  {p99_ms:>6.0}  {archived:>10.0}  {clean:>5} ");
        for (program, time) in self.each() {
            line.push_str(&format!(" {program} {time:.0}"));
        }
        println!("{line}");
    }

    /// Processor time of a booking by program, µs, of those that take any.
    fn each(&self) -> BTreeMap<String, f64> {
        let bought = self.bought.max(1) as f64;
        let each = self.processors.iter().map(|(name, time)| (name.clone(), time * 1e6 / bought));
        each.filter(|(_, time)| *time >= 1.0).collect()
    }

    fn json(&self) -> Value {
        json!({
            "rate": self.rate, "p50_ms": self.p50_ms, "p99_ms": self.p99_ms,
            "archived_a_second": self.archived, "clean": self.is_clean, "held": self.held(),
            "processor_us_a_booking": self.each(), "sale": self.report,
        })
    }
}

// -- The archive's lag ---------------------------------------------------------------------------

/// Sells so many seats in a closed loop of [`LAG_CALLS`] calls.
async fn lag(options: &Options, seats: u64) -> Result<Value, Box<dyn Error>> {
    let engine = start::existing_engine(&options.config.load()?).await?;
    let buyers = seats / LAG_SEATS_A_BOOKING;
    let timeout_ms = LAG_TIME_MAX.as_millis().to_string();
    let arguments = [
        ("--buyers", buyers.to_string()),
        ("--seats", seats.to_string()),
        ("--rate", "1000000".to_owned()),
        ("--spike", "0%".to_owned()),
        ("--by", "quantity".to_owned()),
        ("--wants", LAG_SEATS_A_BOOKING.to_string()),
        ("--in-flight", LAG_CALLS.to_string()),
        ("--timeout-ms", timeout_ms),
        ("--hold-ttl-seconds", LAG_TIME_MAX.as_secs().to_string()),
        ("--settle-seconds", (LAG_TIME_MAX.as_secs() + 10).to_string()),
    ];
    let (mut most, mut last_behind) = (0, SystemTime::now());
    let mut selling = std::pin::pin!(flash_sale(options, "lag", &arguments));
    let report = loop {
        tokio::select! {
            report = &mut selling => break report?,
            () = tokio::time::sleep(LAG_PAUSE) => {
                // A failed read counts as being behind.
                let behind = behind(&engine).await.unwrap_or(1);
                most = most.max(behind);
                if behind > 0 {
                    last_behind = SystemTime::now();
                }
            }
        }
    };
    let (first_ms, last_ms) = sold_between(&options.histories.join("lag.jsonl"))?;
    let last_behind_ms = last_behind.duration_since(UNIX_EPOCH)?.as_secs_f64() * 1e3;
    let lag = ((last_behind_ms - last_ms) / 1e3).max(0.0);
    let bought = report.pointer("/fates/bought").and_then(Value::as_u64).unwrap_or_default();
    let selling_seconds = (last_ms - first_ms) / 1e3;
    let clean = report["clean"] == true;
    println!("seats sold (bookings)                   {} ({bought})", bought * LAG_SEATS_A_BOOKING);
    println!("from first to last confirmation         {selling_seconds:>8.1} s");
    println!("log entries not archived, at most       {most:>8}");
    println!(
        "archive complete after the last sale    {lag:>8.2} s  (at most {LAG_SECONDS_TARGET})"
    );
    println!("checked: {}", if clean { "clean" } else { "NOT CLEAN" });
    Ok(json!({
        "seats": bought * LAG_SEATS_A_BOOKING, "bookings": bought, "selling_seconds": selling_seconds,
        "behind_entries_max": most, "lag_seconds": lag, "lag_seconds_target": LAG_SECONDS_TARGET,
        "clean": clean, "sale": report,
    }))
}

/// Log entries that are not archived.
async fn behind(engine: &Engine) -> Result<u64, Box<dyn Error>> {
    let mut behind = 0;
    for partition in engine.keys().all_partitions() {
        let log = engine.log_state(partition, WORKER_GROUP).await?;
        behind += log.undelivered.unwrap_or_default() + log.pending;
    }
    Ok(behind)
}

/// When the first and the last confirmation were answered, Unix ms.
fn sold_between(history: &PathBuf) -> Result<(f64, f64), Box<dyn Error>> {
    let (mut began_ms, mut first, mut last) = (0.0, f64::MAX, 0.0_f64);
    for line in BufReader::new(std::fs::File::open(history)?).lines() {
        let line: Value = serde_json::from_str(&line?)?;
        if let Some(began) = line["began_unix_ms"].as_f64() {
            began_ms = began;
        }
        let is_sale = line["operation"] == "confirm" && line["error"].is_null();
        if let Some(answered) = line["answered_ns"].as_f64().filter(|_| is_sale) {
            (first, last) = (first.min(answered), last.max(answered));
        }
    }
    Ok((began_ms + first / 1e6, began_ms + last / 1e6))
}

/// Runs a sale in which everybody pays at once with a card that is accepted; returns its report.
async fn flash_sale(
    options: &Options,
    name: &str,
    arguments: &[(&str, String)],
) -> Result<Value, Box<dyn Error>> {
    let mut command = Command::new("holdfast-flash-sale");
    command.args(["run", "--json", "--url", &options.url, "--think", "0s", "--pay", "100%"]);
    command.args(["--cancel", "0%", "--declined", "0%", "--returned", "0%"]);
    command.args(["--double-click", "0%", "--keyed", "100%"]);
    command.arg("--history").arg(options.histories.join(format!("{name}.jsonl")));
    for (option, value) in arguments {
        command.args([option, value.as_str()]);
    }
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).kill_on_drop(true);
    let output = output.output().await?;
    serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("the sale ended with {}: {error}", output.status).into())
}
