//! `dead-letters list`: the newest letters, with their reasons.

use serde::Serialize;

use crate::config::Config;
use crate::domain::{LogId, Partition};
use crate::redis::DeadLetter;
use crate::sale::dead_letters::{LetterPage, list};
use crate::start;

use super::letter_id::LetterId;
use crate::ctl::failure::Failure;
use crate::ctl::lag::silent_partitions_text;
use crate::ctl::output::{Column, CommandResult, or_dash, table};
use crate::ctl::time::{age_seconds, span};
use crate::domain::time::iso8601;

/// Maximum number of dead letters per page.
const COUNT_MAX: u64 = 10_000;

/// List dead letters, newest first
///
/// The worker parks an entry that it can never store (unreadable, or repeatedly refused by the
/// archive) so that it does not delay the others. "entry" is its position in the booking log of its
/// partition. A parked `sold` is a waiting buyer: its booking stays CONFIRMING. `show` explains a
/// letter, `replay` stores its entry again. Reads only Redis.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  holdfastctl dead-letters list
  holdfastctl dead-letters list --count 500 --json | jq -r '.dead_letters[].booking'")]
pub(in crate::ctl) struct Arguments {
    /// Maximum number
    #[arg(long, value_name = "N", default_value_t = 50,
          value_parser = clap::value_parser!(u64).range(1..=COUNT_MAX))]
    count: u64,
    /// Only letters older than this one: the last one of the previous page
    #[arg(long, value_name = "ID", value_parser = whole_id)]
    before: Option<(Partition, LogId)>,
}

fn whole_id(text: &str) -> Result<(Partition, LogId), String> {
    let id: LetterId = text.parse()?;
    id.parts().ok_or_else(|| "an id with its partition, such as 3:1795243836470-0".to_owned())
}

/// A page of dead letters, with their total number.
#[derive(Serialize)]
pub(super) struct Listed {
    total: u64,
    dead_letters: Vec<Letter>,
    /// What to pass as `--before` for older ones; absent if there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    /// Partitions without data: their cluster node does not answer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    silent_partitions: Vec<u16>,
}

#[derive(Serialize)]
struct Letter {
    id: String,
    partition: u16,
    entry_id: String,
    kind: Option<String>,
    booking: Option<String>,
    reason: String,
    parked_at: String,
    age_seconds: f64,
}

impl Arguments {
    pub(super) async fn run(self, config: &Config) -> Result<Listed, Failure> {
        let engine = start::existing_engine(config).await?;
        Ok(listed(list(&engine, self.before, self.count).await?))
    }
}

/// The command's result.
fn listed(page: LetterPage) -> Listed {
    let LetterPage { total, letters, has_more, silent_partitions } = page;
    let last = letters.last().filter(|_| has_more);
    let next = last.map(|(partition, _, last)| LetterId::new(*partition, last.id).to_string());
    let shown = letters
        .into_iter()
        .map(|(partition, now_ms, letter)| Letter::new(letter, partition, now_ms));
    Listed { total, dead_letters: shown.collect(), next, silent_partitions }
}

impl Letter {
    fn new(letter: DeadLetter, partition: Partition, now_ms: i64) -> Self {
        let field = |name| letter.value(name).map(str::to_owned);
        Letter {
            id: LetterId::new(partition, letter.id).to_string(),
            partition: partition.0,
            kind: field("kind"),
            booking: field("booking"),
            entry_id: letter.entry_id,
            reason: letter.reason,
            parked_at: iso8601(i64::try_from(letter.id.ms).unwrap_or(i64::MAX)),
            age_seconds: age_seconds(now_ms, letter.id.ms),
        }
    }
}

impl CommandResult for Listed {
    fn is_incomplete(&self) -> bool {
        !self.silent_partitions.is_empty()
    }

    fn text(&self) -> String {
        if self.is_incomplete() {
            let silent = silent_partitions_text(&self.silent_partitions);
            return format!("{}\n\n{silent}", self.listed_text());
        }
        self.listed_text()
    }
}

impl Listed {
    fn listed_text(&self) -> String {
        if self.dead_letters.is_empty() {
            return "No dead letters.".to_owned();
        }
        let columns = [
            Column::Words("id"),
            Column::Words("entry"),
            Column::Words("kind"),
            Column::Words("booking"),
            Column::Number("age"),
            Column::Words("reason"),
        ];
        let row = |one: &Letter| {
            [
                one.id.clone(),
                one.entry_id.clone(),
                or_dash(one.kind.as_ref()),
                or_dash(one.booking.as_ref()),
                span(one.age_seconds),
                one.reason.clone(),
            ]
        };
        let text = table(columns, self.dead_letters.iter().map(row).collect());
        match &self.next {
            Some(next) => format!("{text}\n\n{} in all; older ones: --before {next}", self.total),
            None => text,
        }
    }
}
