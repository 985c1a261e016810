//! `dead-letters show`: one letter in full, its meaning, and what to do about it.

use serde::{Serialize, Serializer};

use super::letter_id::{LetterId, find};
use crate::config::Config;
use crate::ctl::failure::Failure;
use crate::ctl::output::{Column, CommandResult, printable, table};
use crate::ctl::time::{age_seconds, span};
use crate::domain::Partition;

use crate::domain::time::iso8601;
use crate::redis::DeadLetter;
use crate::sale::replay::{is_sale, read};
use crate::start;

/// Show a dead letter with all its fields, its meaning and what to do
///
/// Reads only Redis.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  holdfastctl dead-letters show 3:1795243836470-0
  holdfastctl dead-letters show 3:1795243836470-0 --json | jq .fields.booking")]
pub(in crate::ctl) struct Arguments {
    /// The letter's id, as `dead-letters list` shows it
    #[arg(value_name = "ID")]
    letter: LetterId,
}

/// One letter.
#[derive(Serialize)]
pub(super) struct Letter {
    id: String,
    partition: u16,
    entry_id: String,
    reason: String,
    parked_at: String,
    age_seconds: f64,
    /// Whether this build can read its entry.
    readable: bool,
    means: &'static str,
    todo: String,
    /// In the entry's order, other fields last.
    #[serde(serialize_with = "as_map")]
    fields: Vec<(String, String)>,
}

impl Arguments {
    pub(super) async fn run(self, config: &Config) -> Result<Letter, Failure> {
        let engine = start::existing_engine(config).await?;
        let (partition, letter) = find(self.letter, &engine).await?;
        let now_ms = engine.redis_time_ms(partition).await?;
        Ok(Letter::of(partition, letter, now_ms))
    }
}

impl Letter {
    fn of(partition: Partition, letter: DeadLetter, now_ms: i64) -> Self {
        let id = LetterId::new(partition, letter.id).to_string();
        let (means, todo) = explained(&id, &letter);
        Letter {
            fields: letter.named_values(),
            partition: partition.0,
            parked_at: iso8601(i64::try_from(letter.id.ms).unwrap_or(i64::MAX)),
            age_seconds: age_seconds(now_ms, letter.id.ms),
            readable: read(&letter).is_ok(),
            means,
            todo,
            entry_id: letter.entry_id,
            reason: letter.reason,
            id,
        }
    }
}

fn as_map<S: Serializer>(fields: &[(String, String)], to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(fields.iter().map(|(name, value)| (name, value)))
}

/// The meaning of a letter, and what to do.
fn explained(id: &str, letter: &DeadLetter) -> (&'static str, String) {
    let details = match letter.value("booking") {
        Some(booking) => format!("`holdfastctl bookings show {}` shows more", printable(booking)),
        None => "It names no booking".to_owned(),
    };
    let replay = format!(
        "Correct what the reason says, then `holdfastctl dead-letters replay {id}`. {details}."
    );
    match (read(letter).is_ok(), is_sale(letter)) {
        (true, true) => (
            "A paid sale that the archive could not store, or Redis not settle: its buyer waits, \
             and the booking stays CONFIRMING.",
            replay,
        ),
        (true, false) => (
            "A transition that the archive's ledger lacks; the booking's archived state may be \
             behind.",
            replay,
        ),
        (false, true) => (
            "It calls itself a paid sale, and this build cannot read it: another build wrote it, \
             or somebody by hand. If it is real, its buyer waits.",
            format!(
                "During an upgrade: finish it, then `holdfastctl dead-letters replay {id}`. \
                 Else see whether the booking is real. {details}."
            ),
        ),
        (false, false) => (
            "This build cannot read it: another build wrote it, or a person did.",
            format!(
                "During an upgrade: finish it, then `holdfastctl dead-letters replay {id}`. \
                 Else nothing: it stays and is harmless. {details}."
            ),
        ),
    }
}

impl CommandResult for Letter {
    fn text(&self) -> String {
        let head = format!(
            "dead letter {}: log entry {} of partition {}\nparked    {}, {} ago\nreason    {}\n\
             means     {}\ndo        {}\n\n",
            self.id,
            printable(&self.entry_id),
            self.partition,
            self.parked_at,
            span(self.age_seconds),
            printable(&self.reason),
            self.means,
            self.todo,
        );
        let rows = self.fields.iter().map(|(name, value)| [name.clone(), value.clone()]);
        head + &table([Column::Words("field"), Column::Words("value")], rows.collect())
    }
}
