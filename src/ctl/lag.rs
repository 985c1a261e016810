//! `lag`: how far the archive is behind each partition's booking log.

use serde::Serialize;

use crate::config::Config;
use crate::domain::{LogId, Partition};
use crate::redis::{Engine, LogState, WORKER_GROUP};
use crate::start;

use super::failure::Failure;
use super::output::{Column, Shown, or_dash, table};
use super::time::{age_seconds, span};

/// Tell how far the archive is behind the booking log, partition by partition
///
/// "length" counts the log's entries, archived ones included until they are trimmed; "waiting" are
/// not yet delivered to a worker ("-": Redis cannot tell), "pending" are delivered and not archived
/// yet; "behind" is the age of the oldest entry that is not archived, 0 if there is none. Waiting
/// that grows while nothing is pending: no worker runs. The table leaves out partitions that never
/// had an entry. Asks Redis alone.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  holdfastctl lag
  holdfastctl lag --json | jq .totals.behind_seconds
  watch -n 1 holdfastctl lag")]
pub(super) struct Arguments {}

/// The lag of all partitions.
#[derive(Serialize)]
pub(super) struct Lag {
    totals: Totals,
    partitions: Vec<PartitionLag>,
}

#[derive(Serialize)]
struct Totals {
    length: u64,
    waiting: Option<u64>,
    pending: u64,
    behind_seconds: f64,
    dead_letters: u64,
}

#[derive(Serialize)]
struct PartitionLag {
    partition: u16,
    length: u64,
    waiting: Option<u64>,
    pending: u64,
    oldest_pending_seconds: Option<f64>,
    behind_seconds: f64,
    newest: String,
    watermark: String,
    dead_letters: u64,
}

impl Arguments {
    pub(super) async fn run(self, config: &Config) -> Result<Lag, Failure> {
        let engine = start::existing_engine(config).await?;
        let mut partitions = Vec::with_capacity(usize::from(config.partitions));
        for partition in engine.keys().all_partitions() {
            partitions.push(lag_of(&engine, partition).await?);
        }
        Ok(Lag { totals: Totals::of(&partitions), partitions })
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
        watermark: state.watermark().to_string(),
        dead_letters: state.dead_letters,
    })
}

/// Entries no worker has seen: all of them where no worker ever was.
fn waiting(state: &LogState) -> Option<u64> {
    match state.delivered {
        None => Some(state.length),
        Some(_) => state.undelivered,
    }
}

impl PartitionLag {
    /// Whether there was ever anything in it.
    fn is_used(&self) -> bool {
        self.length > 0 || self.dead_letters > 0 || self.newest != LogId::default().to_string()
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

impl Shown for Lag {
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
        table(columns, rows)
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
