//! The comparison's figures: medians of the rounds, as tables and as JSON.

mod tables;

use std::collections::BTreeMap;
use std::error::Error;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::contender::HOLDFAST;
use super::rates::{Break, MixRound, RateRound};
use super::sales::{CASES, CaseRound};
use super::verdict::{Verdict, verdicts};
use super::{Bench, Found, Options};
use crate::decisions::median;

/// Version of the document.
const FORMAT: u32 = 1;

/// All of a run.
#[derive(Debug, Serialize)]
pub struct Report {
    format: u32,
    /// When it ended, Unix ms.
    ended_ms: u64,
    command: Vec<String>,
    machine: Machine,
    how: How,
    /// The rate of the equal load, requests a second.
    equal_rate: f64,
    strategies: Vec<Row>,
    /// Strategies that did not run, and why.
    skipped: BTreeMap<&'static str, String>,
    verdicts: Vec<Verdict>,
}

/// The machine and its servers.
#[derive(Debug, Serialize)]
struct Machine {
    processor: String,
    processors: usize,
    memory_bytes: u64,
    system: String,
    redis: String,
    mongodb: String,
    /// `debug` or `release`.
    build: &'static str,
}

/// The size of the measurement.
#[derive(Debug, Serialize)]
struct How {
    rounds: usize,
    sale_rounds: usize,
    round_ms: u128,
    connections: usize,
    sale_connections: usize,
    /// What programs that wait cost a second; subtracted from all but Holdfast's counts.
    background_redis_commands: f64,
    background_database_operations: f64,
}

/// A strategy's figures.
#[derive(Debug, Serialize)]
pub struct Row {
    pub name: &'static str,
    pub label: &'static str,
    pub best_at: &'static str,
    pub gives_up: &'static str,
    pub cases: BTreeMap<&'static str, Case>,
    pub grants_per_second: f64,
    pub refusals_per_second: f64,
    pub equal_load: EqualLoad,
    /// Of the equal load, in which nine requests of ten are refused.
    pub redis_commands_per_request: f64,
    pub database_operations_per_request: f64,
    pub redis_commands_per_grant: f64,
    pub database_operations_per_grant: f64,
    pub redis_commands_per_refusal: f64,
    pub database_operations_per_refusal: f64,
    /// How long after the last response of a round of grants all bookings were in MongoDB.
    pub documents_after_ms: f64,
    /// In all sales, rounds and steps.
    pub oversold: u64,
    /// Grants without a document in MongoDB, in all sales, rounds and steps.
    pub missing_documents: u64,
    /// The highest rate that was served, and the lowest that was not, requests a second.
    pub last_good_per_second: f64,
    pub breaks_at_per_second: Option<f64>,
    pub breaks_by: String,
    rounds: Rounds,
}

/// What the medians were taken of.
#[derive(Debug, Serialize)]
struct Rounds {
    grants: Vec<RateRound>,
    refusals: Vec<RateRound>,
    equal_load: Vec<MixRound>,
    steps: Vec<MixRound>,
}

/// A sale's figures.
#[derive(Debug, Serialize)]
pub struct Case {
    pub label: &'static str,
    pub users: usize,
    pub seats: u32,
    pub granted: f64,
    pub refused: f64,
    pub failed: f64,
    /// The most of a round.
    pub oversold: u64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub seconds: f64,
    pub documents_after_ms: f64,
    pub rounds: Vec<CaseRound>,
}

/// Latencies when all have the same load.
#[derive(Debug, Serialize)]
pub struct EqualLoad {
    pub rate: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub grants_p50_ms: f64,
    pub grants_p99_ms: f64,
    pub failed: u64,
}

impl Report {
    pub(super) async fn new(bench: &Bench) -> Result<Self, Box<dyn Error>> {
        let pairs = bench.contenders.iter().zip(&bench.found);
        let rows: Vec<Row> =
            pairs.map(|(contender, found)| Row::new(contender.strategy, found)).collect();
        let [redis, mongodb] = bench.counters.versions().await?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
        let skipped = bench.skipped.iter().map(|one| (one.strategy.name, one.reason.clone()));
        let options = &bench.options;
        Ok(Report {
            format: FORMAT,
            ended_ms: u64::try_from(now)?,
            command: command(),
            machine: Machine::here(redis, mongodb)?,
            how: How {
                rounds: options.rounds(),
                sale_rounds: options.sale_rounds(),
                round_ms: options.round_time().as_millis(),
                connections: options.connections,
                sale_connections: options.sale_connections,
                background_redis_commands: bench.background.redis,
                background_database_operations: bench.background.mongodb,
            },
            equal_rate: bench.equal_rate,
            verdicts: verdicts(&rows),
            strategies: rows,
            skipped: skipped.collect(),
        })
    }

    /// Prints the tables and the verdicts.
    pub fn print(&self) {
        println!("{}", self.tables(false));
        for verdict in &self.verdicts {
            println!("{}", verdict.line());
        }
    }

    /// Writes the files that were asked for.
    ///
    /// # Errors
    /// If one cannot be written.
    pub fn write(&self, options: &Options) -> Result<(), Box<dyn Error>> {
        if let Some(path) = &options.json {
            std::fs::write(path, format!("{}\n", serde_json::to_string_pretty(self)?))?;
        }
        if let Some(path) = &options.markdown {
            let verdicts: Vec<String> =
                self.verdicts.iter().map(|verdict| format!("- {}\n", verdict.line())).collect();
            std::fs::write(path, format!("{}\n{}", self.tables(true), verdicts.concat()))?;
        }
        Ok(())
    }
}

/// The command without options that name addresses, which differ from run to run.
fn command() -> Vec<String> {
    let mut words = vec!["holdfast-bench".to_owned()];
    let given: Vec<String> = std::env::args().skip(1).collect();
    for (index, word) in given.iter().enumerate() {
        let is_address = |word: &String| word.contains("://");
        if !is_address(word) && !given.get(index + 1).is_some_and(is_address) {
            words.push(word.clone());
        }
    }
    words
}

impl Row {
    fn new(strategy: &super::contender::Strategy, found: &Found) -> Self {
        let rate = |rounds: &[RateRound], figure: fn(&RateRound) -> f64| {
            median(rounds.iter().map(figure).collect())
        };
        let mix = |figure: fn(&MixRound) -> f64| median(found.equal.iter().map(figure).collect());
        let (grants, refusals) = (&found.grants, &found.refusals);
        let breaks = found.breaks.clone().unwrap_or_else(Break::unknown);
        let cases = CASES.iter().zip(&found.cases);
        Row {
            name: strategy.name,
            label: strategy.label,
            best_at: strategy.best_at,
            gives_up: strategy.gives_up,
            cases: cases.map(|(case, rounds)| (case.key, Case::new(case, rounds))).collect(),
            grants_per_second: rate(grants, |one| one.per_second),
            refusals_per_second: rate(refusals, |one| one.per_second),
            equal_load: EqualLoad {
                rate: mix(|one| one.rate),
                p50_ms: mix(|one| one.p50_ms),
                p99_ms: mix(|one| one.p99_ms),
                grants_p50_ms: mix(|one| one.grants_p50_ms),
                grants_p99_ms: mix(|one| one.grants_p99_ms),
                failed: found.equal.iter().map(|one| one.failed).sum(),
            },
            redis_commands_per_request: mix(|one| one.redis_commands),
            database_operations_per_request: mix(|one| one.database_operations),
            redis_commands_per_grant: rate(grants, |one| one.redis_commands),
            database_operations_per_grant: rate(grants, |one| one.database_operations),
            redis_commands_per_refusal: rate(refusals, |one| one.redis_commands),
            database_operations_per_refusal: rate(refusals, |one| one.database_operations),
            documents_after_ms: rate(grants, |one| one.documents_after_ms),
            oversold: found.oversold(),
            missing_documents: found.missing_documents(),
            last_good_per_second: breaks.last_good_per_second,
            breaks_at_per_second: breaks.breaks_at_per_second,
            breaks_by: breaks.reason,
            rounds: Rounds {
                grants: grants.clone(),
                refusals: refusals.clone(),
                equal_load: found.equal.clone(),
                steps: breaks.steps,
            },
        }
    }

    /// Whether this is Holdfast's.
    pub fn is_holdfast(&self) -> bool {
        self.name == HOLDFAST
    }
}

impl Case {
    fn new(case: &super::sales::Case, rounds: &[CaseRound]) -> Self {
        let of = |figure: fn(&CaseRound) -> f64| median(rounds.iter().map(figure).collect());
        Case {
            label: case.label,
            users: case.users,
            seats: case.seats,
            granted: of(|one| one.granted as f64),
            refused: of(|one| one.refused as f64),
            failed: of(|one| one.failed as f64),
            oversold: rounds.iter().map(|one| one.oversold).max().unwrap_or_default(),
            p50_ms: of(|one| one.p50_ms),
            p99_ms: of(|one| one.p99_ms),
            seconds: of(|one| one.seconds),
            documents_after_ms: of(|one| one.documents_after_ms),
            rounds: rounds.to_vec(),
        }
    }
}

impl Break {
    fn unknown() -> Self {
        Break {
            last_good_per_second: 0.0,
            breaks_at_per_second: None,
            reason: "not measured".to_owned(),
            steps: Vec::new(),
        }
    }
}

impl Machine {
    /// Empty texts and zeros where there is no `/proc`.
    fn here(redis: String, mongodb: String) -> Result<Self, Box<dyn Error>> {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let value = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            line.split_once(':').map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
        };
        let memory = value(&read("/proc/meminfo"), "MemTotal");
        let kibibytes: u64 = memory.trim_end_matches(" kB").parse().unwrap_or_default();
        Ok(Machine {
            processor: value(&read("/proc/cpuinfo"), "model name"),
            processors: std::thread::available_parallelism()?.get(),
            memory_bytes: kibibytes * 1_024,
            system: format!("Linux {}", read("/proc/sys/kernel/osrelease").trim()),
            redis,
            mongodb,
            build: if cfg!(debug_assertions) { "debug" } else { "release" },
        })
    }
}
