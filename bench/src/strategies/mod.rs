//! Holdfast beside what people would otherwise build (`bench/strategies`): the same requests to all
//! of them, on the same Redis and MongoDB, in alternating rounds of one run.
//!
//! All programs run all the time; those that are not measured are idle. Before the next one is measured, the
//! bookings of the one before are in MongoDB and Redis is quiet: no strategy is charged with another's
//! background work.

mod contender;
mod counts;
mod drive;
mod rates;
mod report;
mod sales;
mod verdict;

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use contender::{Contender, Skipped};
use counts::{Cost, Counters, Counts};
use rates::{Break, MixRound, RateRound};
use sales::{CASES, CaseRound};

/// How long programs that wait are watched.
const BACKGROUND_TIME: Duration = Duration::from_secs(2);

/// When Holdfast has begun to write what its limits counted (`gates/quotas/flush.rs`).
const LIMITS_WRITTEN_AFTER: Duration = Duration::from_millis(4_500);

/// The command line's options.
#[derive(clap::Args)]
pub struct Options {
    /// Address of a Holdfast API process, such as http://127.0.0.1:8000
    #[arg(long)]
    url: String,
    /// The Redis of all
    #[arg(long, default_value = "redis://127.0.0.1:6379")]
    redis_url: String,
    /// The MongoDB of all
    #[arg(long, default_value = "mongodb://127.0.0.1:27017")]
    mongodb_url: String,
    /// Holdfast's database
    #[arg(long, env = "HOLDFAST_MONGODB_DATABASE", default_value = "holdfast")]
    mongodb_database: String,
    /// Folder of the Express program
    #[arg(long, default_value_os_t = contender::express_folder())]
    express: PathBuf,
    /// Only these strategies, comma separated; Holdfast always
    #[arg(long, value_delimiter = ',', value_parser = contender::STRATEGIES.map(|one| one.name))]
    only: Vec<String>,
    /// Few and short rounds: two to three minutes in all
    #[arg(long)]
    quick: bool,
    /// Rounds of each measurement
    #[arg(long)]
    rounds: Option<usize>,
    /// Length of a round, ms
    #[arg(long)]
    round_ms: Option<u64>,
    /// Connections while rates are measured
    #[arg(long, default_value_t = 128)]
    connections: usize,
    /// Connections of a sale, and of open loops
    #[arg(long, default_value_t = 256)]
    sale_connections: usize,
    /// A file that is to have all figures as JSON
    #[arg(long)]
    json: Option<PathBuf>,
    /// A file that is to have the tables as Markdown
    #[arg(long)]
    markdown: Option<PathBuf>,
}

impl Options {
    fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.quick { 2 } else { 5 })
    }

    /// Rounds of each sale.
    fn sale_rounds(&self) -> usize {
        self.rounds().div_ceil(2)
    }

    /// The factor from one step of a rising load to the next.
    fn step_factor(&self) -> f64 {
        if self.quick { 1.5 } else { 1.25 }
    }

    fn round_time(&self) -> Duration {
        Duration::from_millis(self.round_ms.unwrap_or(if self.quick { 700 } else { 2_000 }))
    }
}

/// The figures of one strategy.
#[derive(Default)]
struct Found {
    /// By case, as in [`CASES`].
    cases: [Vec<CaseRound>; CASES.len()],
    grants: Vec<RateRound>,
    refusals: Vec<RateRound>,
    equal: Vec<MixRound>,
    breaks: Option<Break>,
}

/// A run.
struct Bench {
    options: Options,
    counters: Counters,
    contenders: Vec<Contender>,
    skipped: Vec<Skipped>,
    /// In the order of the contenders.
    found: Vec<Found>,
    /// What programs that wait cost a second.
    background: Cost,
    /// The rate of the equal load, requests a second.
    equal_rate: f64,
    /// Whether it matters what a round costs Redis.
    is_counting: bool,
}

/// Runs the comparison, prints and writes it.
///
/// # Errors
/// If a program does not start or respond, or if Holdfast sold a seat twice.
pub async fn run(options: Options) -> Result<(), Box<dyn Error>> {
    let mongodb = mongodb::Client::with_uri_str(&options.mongodb_url).await?;
    let counters = Counters::connect(&options.redis_url, &mongodb).await?;
    let (contenders, skipped) = contender::start(&options, &mongodb).await?;
    let found = contenders.iter().map(|_| Found::default()).collect();
    let background = Cost::default();
    let mut bench = Bench {
        options,
        counters,
        contenders,
        skipped,
        found,
        background,
        equal_rate: 0.0,
        is_counting: false,
    };
    bench.measure().await?;
    let report = report::Report::new(&bench).await?;
    report.print();
    report.write(&bench.options)?;
    let is_wrong = bench.is_holdfast_wrong();
    for contender in bench.contenders {
        contender.stop().await?;
    }
    match is_wrong {
        true => Err("Holdfast sold a seat twice, or a grant of it has no document".into()),
        false => Ok(()),
    }
}

impl Bench {
    async fn measure(&mut self) -> Result<(), Box<dyn Error>> {
        let estimates = self.warm_up().await?;
        for who in 0..self.contenders.len() {
            self.settled(who).await?;
        }
        self.background = self.counters.background(BACKGROUND_TIME).await?;
        self.is_counting = true;
        self.sales().await?;
        let estimates = self.rates(estimates).await?;
        self.equal_load(&estimates).await?;
        self.breaks(&estimates).await
    }

    /// The strategies' numbers in the sequence of a round: each round begins with the next one.
    fn turns(&self, round: usize) -> Vec<usize> {
        let count = self.contenders.len();
        (0..count).map(|turn| (round + turn) % count).collect()
    }

    /// What to subtract from a strategy's counts. Holdfast's own background is part of its cost.
    fn background_of(&self, who: usize) -> Cost {
        if self.contenders[who].is_holdfast() { Cost::default() } else { self.background }
    }

    /// Waits until a program's work after its last response is done; returns the counts then.
    /// Holdfast writes the counts of its limits after three seconds, four at most.
    async fn settled(&self, who: usize) -> Result<Counts, Box<dyn Error>> {
        if self.contenders[who].is_holdfast() {
            tokio::time::sleep(LIMITS_WRITTEN_AFTER).await;
        }
        self.counters.quiet().await
    }

    /// The same if commands are being counted, else not for long.
    async fn worked_off(&self, who: usize) -> Result<Counts, Box<dyn Error>> {
        if self.is_counting { self.settled(who).await } else { self.counters.quiet().await }
    }

    fn tell(&self, what: &str, who: usize, round: usize) {
        let label = self.contenders[who].strategy.label;
        eprint!("\r{:<76}", format!("{what}, round {}: {label}", round + 1));
    }

    fn is_holdfast_wrong(&self) -> bool {
        let pairs = self.contenders.iter().zip(&self.found);
        pairs
            .filter(|(contender, _)| contender.is_holdfast())
            .any(|(_, found)| found.oversold() + found.missing_documents() > 0)
    }
}

impl Found {
    /// Seats that were given to more than one user, of all sales, rounds and steps.
    fn oversold(&self) -> u64 {
        let sales = self.cases.iter().flatten().map(|round| round.oversold);
        let rounds = self.grants.iter().chain(&self.refusals).map(|round| round.oversold);
        let mixes = self.mixes().map(|round| round.oversold);
        sales.chain(rounds).chain(mixes).sum()
    }

    /// Grants without a document in MongoDB, of all sales, rounds and steps.
    fn missing_documents(&self) -> u64 {
        let sales = self.cases.iter().flatten().map(|round| round.missing_documents);
        let rounds = self.grants.iter().chain(&self.refusals).map(|round| round.missing_documents);
        let mixes = self.mixes().map(|round| round.missing_documents);
        sales.chain(rounds).chain(mixes).sum()
    }

    fn mixes(&self) -> impl Iterator<Item = &MixRound> {
        self.equal.iter().chain(self.breaks.iter().flat_map(|breaks| &breaks.steps))
    }
}
