//! `dead-letters replay`: stores parked entries again. Its guarantees during concurrent work are
//! described in `sale::replay`.

use serde::Serialize;

use super::letter_id::{LetterId, find};
use crate::config::Config;
use crate::ctl::failure::Failure;
use crate::ctl::output::{Column, CommandResult, or_dash, table};
use crate::domain::{LogId, Outcome, Partition};
use crate::redis::{DeadLetter, Engine};
use crate::sale::replay::{Replay, ReplayPreview, ReplayResult};
use crate::start;

/// Maximum number of letters per run; the others are left for the next run.
const LETTERS_MAX: usize = 10_000;
/// Letters per query.
const PAGE: u64 = 100;

/// Store parked entries again
///
/// Each entry is processed as by the worker: it is stored, its sale is decided, the decision is
/// settled in Redis, and then its letter is removed. An entry that still cannot be read or stored
/// stays, with the reason. Safe to repeat, beside workers, and by several people at once: nothing
/// happens twice. --all takes the letters present at the start, at most 10,000.
///
/// Exits with 1 if letters stay, with 2 if a service became unavailable: then letters that the result
/// does not name were not processed.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  holdfastctl dead-letters replay --all --dry-run
  holdfastctl dead-letters replay 3:1795243836470-0
  holdfastctl dead-letters replay --all --json | jq '.letters[] | select(.fate == \"stays\")'")]
pub(in crate::ctl) struct Arguments {
    #[command(flatten)]
    which: LetterSelection,
    /// Only show what would happen
    #[arg(long)]
    dry_run: bool,
}

#[derive(clap::Args, Debug)]
#[group(required = true, multiple = false)]
struct LetterSelection {
    /// Letters' ids, as `dead-letters list` shows them
    #[arg(value_name = "ID")]
    letters: Vec<LetterId>,
    /// All letters, oldest first
    #[arg(long)]
    all: bool,
}

/// The result of a replay.
#[derive(Serialize)]
pub(super) struct Replayed {
    dry_run: bool,
    replayed: u64,
    stay: u64,
    letters: Vec<Line>,
    /// Letters beyond the maximum of one run.
    left_for_the_next_run: u64,
    /// Why the run ended early, if it did.
    stopped: Option<String>,
}

#[derive(Serialize)]
struct Line {
    id: String,
    entry_id: String,
    kind: Option<String>,
    booking: Option<String>,
    /// `replayed`, `would_be_replayed`, `stays` or `later`.
    fate: &'static str,
    /// The archive's decision about a sale.
    outcome: Option<&'static str>,
    note: Option<String>,
}

/// Letters and their partitions.
type Letters = Vec<(Partition, DeadLetter)>;

impl Arguments {
    /// The act for the audit log.
    pub(super) fn changes(&self) -> Option<(&'static str, String)> {
        let target = match self.which.letters.as_slice() {
            [] => "all letters".to_owned(),
            [letter] => format!("letter {letter}"),
            letters => format!("{} letters", letters.len()),
        };
        (!self.dry_run).then_some(("dead-letters replay", target))
    }

    pub(super) async fn run(self, config: &Config) -> Result<Replayed, Failure> {
        let engine = start::existing_engine(config).await?;
        let archive = start::existing_archive(config).await?;
        let (letters, left) = match self.which.all {
            true => all_letters(&engine).await?,
            false => (named_letters(&engine, &self.which.letters).await?, 0),
        };
        let replay = Replay::new(engine, archive, config.ended_keep_seconds);
        let mut result = Replayed {
            dry_run: self.dry_run,
            replayed: 0,
            stay: 0,
            letters: Vec::with_capacity(letters.len()),
            left_for_the_next_run: left,
            stopped: None,
        };
        for (partition, letter) in &letters {
            let line = match self.dry_run {
                true => replay
                    .preview(letter)
                    .await
                    .map(|forecast| Line::forecast_line(*partition, letter, forecast)),
                false => {
                    let fate = replay.replay(*partition, letter).await;
                    fate.map(|fate| Line::done(*partition, letter, fate))
                }
            };
            match line {
                Ok(line) => result.add(line),
                Err(error) => {
                    let letter = LetterId::new(*partition, letter.id);
                    let why = Failure::from(error);
                    result.stopped = Some(format!("at {letter}, which is still there: {why}"));
                    break;
                }
            }
        }
        Ok(result)
    }
}

/// Finds the letters with these ids, without duplicates. All must exist before anything is done.
async fn named_letters(engine: &Engine, names: &[LetterId]) -> Result<Letters, Failure> {
    let mut letters: Letters = Vec::with_capacity(names.len());
    for name in names {
        let (partition, letter) = find(*name, engine).await?;
        if !letters.iter().any(|known| (known.0, known.1.id) == (partition, letter.id)) {
            letters.push((partition, letter));
        }
    }
    Ok(letters)
}

/// The present letters, oldest first, and how many exceed the maximum of one run.
async fn all_letters(engine: &Engine) -> Result<(Letters, u64), Failure> {
    let (mut letters, mut total) = (Letters::new(), 0);
    for partition in engine.keys().all_partitions() {
        total += engine.dead_letter_count(partition).await?;
        let newest = engine.dead_letters(partition, None, 1).await?;
        let Some(newest) = newest.first().map(|letter| letter.id) else { continue };
        let mut after = LogId::default();
        while letters.len() < LETTERS_MAX {
            let page = engine.dead_letters_after(partition, after, newest, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = last.id;
            letters.extend(page.into_iter().map(|letter| (partition, letter)));
        }
    }
    letters.truncate(LETTERS_MAX);
    letters.sort_by_key(|(_, letter)| letter.id);
    let left = total.saturating_sub(letters.len() as u64);
    Ok((letters, left))
}

impl Line {
    fn of(partition: Partition, letter: &DeadLetter, fate: &'static str) -> Self {
        let field = |name| letter.value(name).map(str::to_owned);
        Line {
            id: LetterId::new(partition, letter.id).to_string(),
            entry_id: letter.entry_id.clone(),
            kind: field("kind"),
            booking: field("booking"),
            fate,
            outcome: None,
            note: None,
        }
    }

    fn done(partition: Partition, letter: &DeadLetter, fate: ReplayResult) -> Self {
        let line = |word| Line::of(partition, letter, word);
        match fate {
            ReplayResult::Replayed { outcome, removed } => {
                let refused = "a seat was sold to another booking: the buyer is refunded";
                let note = match outcome {
                    Some(Outcome::Refund) => Some(refused),
                    _ if !removed => Some("the letter was removed concurrently"),
                    _ => None,
                };
                let outcome = outcome.map(Outcome::as_str);
                Line { outcome, note: note.map(str::to_owned), ..line("replayed") }
            }
            ReplayResult::Stays(why) => Line { note: Some(why), ..line("stays") },
            ReplayResult::Later(why) => {
                Line { note: Some(format!("{why}; try again")), ..line("later") }
            }
        }
    }

    fn forecast_line(partition: Partition, letter: &DeadLetter, forecast: ReplayPreview) -> Self {
        let (word, note) = match forecast {
            ReplayPreview::Replay { in_ledger: true } => {
                ("would_be_replayed", Some("the ledger has it already".to_owned()))
            }
            ReplayPreview::Replay { in_ledger: false } => ("would_be_replayed", None),
            ReplayPreview::Stays(why) => ("stays", Some(why)),
        };
        Line { note, ..Line::of(partition, letter, word) }
    }
}

impl Replayed {
    fn add(&mut self, line: Line) {
        match line.fate {
            "stays" | "later" => self.stay += 1,
            _ => self.replayed += 1,
        }
        self.letters.push(line);
    }
}

impl CommandResult for Replayed {
    fn text(&self) -> String {
        let mut text = String::new();
        if !self.letters.is_empty() {
            let columns = [
                Column::Words("letter"),
                Column::Words("kind"),
                Column::Words("booking"),
                Column::Words("fate"),
                Column::Words("outcome"),
                Column::Words("note"),
            ];
            let row = |one: &Line| {
                [
                    one.id.clone(),
                    or_dash(one.kind.as_ref()),
                    or_dash(one.booking.as_ref()),
                    one.fate.replace('_', " "),
                    or_dash(one.outcome),
                    or_dash(one.note.as_ref()),
                ]
            };
            text = table(columns, self.letters.iter().map(row).collect()) + "\n\n";
        }
        let verb = if self.dry_run { "would be replayed" } else { "replayed" };
        text.push_str(&format!("{} {verb}, {} stay", self.replayed, self.stay));
        if self.left_for_the_next_run > 0 {
            text.push_str(&format!(", {} are for the next run", self.left_for_the_next_run));
        }
        if let Some(why) = &self.stopped {
            text.push_str(&format!("\nSTOPPED {why}"));
        }
        text
    }

    fn has_problems(&self) -> bool {
        self.stay > 0
    }

    fn is_incomplete(&self) -> bool {
        self.stopped.is_some()
    }
}
