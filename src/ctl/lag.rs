//! `lag`: how far the archive is behind each partition's booking log.

use serde::Serialize;

use crate::config::Config;
use crate::domain::{LogId, Partition};
use crate::redis::{Engine, LogState, WORKER_GROUP};
use crate::start;

use super::failure::Failure;
use super::output::{Column, CommandResult, or_dash, table};
use super::time::{age_seconds, span};

/// Show how far the archive is behind the booking log, partition by partition
///
/// "length" counts the log's entries, including archived ones until they are trimmed; "waiting" are
/// not delivered to a worker yet ("-": Redis cannot tell), "pending" are delivered and not archived
/// yet; "behind" is the age of the oldest entry that is not archived, 0 if there is none. If waiting
/// grows while nothing is pending, no worker runs. The table omits partitions that never had an
/// entry. Reads only Redis.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  holdfastctl lag
  holdfastctl lag --json | jq .totals.behind_seconds
  watch -n 1 holdfastctl lag")]
pub(super) struct Arguments {}

/// The lag of all partitions.
#[derive(Serialize)]
pub(super) struct Lag {
    pub totals: Totals,
    pub partitions: Vec<PartitionLag>,
    /// Partitions without data: their cluster node does not answer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub silent_partitions: Vec<u16>,
}

#[derive(Serialize)]
pub(super) struct Totals {
    pub length: u64,
    pub waiting: Option<u64>,
    pub pending: u64,
    pub behind_seconds: f64,
    pub dead_letters: u64,
}

#[derive(Serialize)]
pub(super) struct PartitionLag {
    pub partition: u16,
    pub length: u64,
    pub waiting: Option<u64>,
    pub pending: u64,
    pub oldest_pending_seconds: Option<f64>,
    pub behind_seconds: f64,
    newest: String,
    /// Age of the newest entry of any kind; `None` if there never was one.
    pub newest_seconds: Option<f64>,
    watermark: String,
    pub dead_letters: u64,
}

impl Arguments {
    pub(super) async fn run(self, config: &Config) -> Result<Lag, Failure> {
        Lag::read(&start::existing_engine(config).await?).await
    }
}

impl Lag {
    /// Reads the lag of every partition. Some cluster nodes may not answer.
    pub(super) async fn read(engine: &Engine) -> Result<Self, Failure> {
        let (mut partitions, mut silent_partitions) = (Vec::new(), Vec::new());
        for partition in engine.keys().all_partitions() {
            match lag_of(engine, partition).await {
                Ok(lag) => partitions.push(lag),
                Err(_) if engine.is_node_gone(partition) => silent_partitions.push(partition.0),
                Err(error) => return Err(error),
            }
        }
        if partitions.is_empty() {
            return Err(Failure::new("no node of the cluster answers".to_owned()));
        }
        Ok(Lag { totals: Totals::of(&partitions), partitions, silent_partitions })
    }
}

async fn lag_of(engine: &Engine, partition: Partition) -> Result<PartitionLag, Failure> {
    let now_ms = engine.redis_time_ms(partition).await?;
    let state = engine.log_state(partition, WORKER_GROUP).await?;
    let oldest = match state.watermark() {
        watermark if watermark >= state.newest => None,
        watermark => engine.range(partition, watermark.next(), None, 1).await?.pop(),
    };
    let age = |ms| age_seconds(now_ms, ms);
    Ok(PartitionLag {
        partition: partition.0,
        length: state.length,
        waiting: waiting(&state),
        pending: state.pending,
        oldest_pending_seconds: state.oldest_pending.map(|id| age(id.ms)),
        behind_seconds: oldest.map_or(0.0, |read| age(read.id.ms)),
        newest: state.newest.to_string(),
        newest_seconds: (state.newest > LogId::default()).then(|| age(state.newest.ms)),
        watermark: state.watermark().to_string(),
        dead_letters: state.dead_letters,
    })
}

/// The sentence about partitions without data.
pub(super) fn silent_partitions_text(partitions: &[u16]) -> String {
    let list: Vec<String> = partitions.iter().map(u16::to_string).collect();
    format!("no node of the cluster answers for partition {}", list.join(", "))
}

/// Entries not delivered to any worker: all of them if there never was one.
fn waiting(state: &LogState) -> Option<u64> {
    match state.delivered {
        None => Some(state.length),
        Some(_) => state.undelivered,
    }
}

impl PartitionLag {
    /// Whether the partition ever had an entry.
    pub(super) fn is_used(&self) -> bool {
        self.length > 0 || self.dead_letters > 0 || self.newest_seconds.is_some()
    }
}

impl Totals {
    fn of(partitions: &[PartitionLag]) -> Self {
        let sum = |part: fn(&PartitionLag) -> u64| partitions.iter().map(part).sum();
        Totals {
            length: sum(|one| one.length),
            waiting: partitions.iter().map(|one| one.waiting).sum(),
            pending: sum(|one| one.pending),
            behind_seconds: partitions.iter().map(|one| one.behind_seconds).fold(0.0, f64::max),
            dead_letters: sum(|one| one.dead_letters),
        }
    }
}

impl CommandResult for Lag {
    fn text(&self) -> String {
        let columns = [
            Column::Number("partition"),
            Column::Number("length"),
            Column::Number("waiting"),
            Column::Number("pending"),
            Column::Number("oldest pending"),
            Column::Number("behind"),
            Column::Words("newest"),
            Column::Words("archived up to"),
            Column::Number("dead letters"),
        ];
        let used = self.partitions.iter().filter(|one| one.is_used());
        let mut rows: Vec<[String; 9]> = used.map(row).collect();
        let totals = &self.totals;
        rows.push([
            "all".to_owned(),
            totals.length.to_string(),
            or_dash(totals.waiting),
            totals.pending.to_string(),
            String::new(),
            span(totals.behind_seconds),
            String::new(),
            String::new(),
            totals.dead_letters.to_string(),
        ]);
        let text = table(columns, rows);
        match self.silent_partitions.as_slice() {
            [] => text,
            silent => format!("{text}\n\n{}", silent_partitions_text(silent)),
        }
    }

    fn is_incomplete(&self) -> bool {
        !self.silent_partitions.is_empty()
    }
}

fn row(one: &PartitionLag) -> [String; 9] {
    [
        one.partition.to_string(),
        one.length.to_string(),
        or_dash(one.waiting),
        one.pending.to_string(),
        or_dash(one.oldest_pending_seconds.map(span)),
        span(one.behind_seconds),
        one.newest.clone(),
        one.watermark.clone(),
        one.dead_letters.to_string(),
    ]
}
