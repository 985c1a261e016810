//! `lag`: how far the archive is behind each partition's booking log.

use crate::config::Config;
pub(super) use crate::sale::lag::{Lag, PartitionLag};
use crate::start;

use super::failure::Failure;
use super::output::{Column, CommandResult, or_dash, table};
use super::time::span;

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

impl Arguments {
    pub(super) async fn run(self, config: &Config) -> Result<Lag, Failure> {
        Ok(Lag::read(&start::existing_engine(config).await?).await?)
    }
}

/// The sentence about partitions without data.
pub(super) fn silent_partitions_text(partitions: &[u16]) -> String {
    let list: Vec<String> = partitions.iter().map(u16::to_string).collect();
    format!("no node of the cluster answers for partition {}", list.join(", "))
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
