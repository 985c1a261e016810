//! `seats blocks`: lists which seats were blocked, by whom and why.

use serde::Serialize;

use super::ranges::ranges;
use crate::archive::BlockPosition;
use crate::config::Config;
use crate::ctl::failure::Failure;
use crate::ctl::output::{Column, CommandResult, table};
use crate::domain::EventId;
use crate::domain::time::iso8601;
use crate::redis::BlockAction;
use crate::start;

/// Maximum number of entries per page.
const LIMIT_MAX: u32 = 100_000;

/// List an event's blocks and releases, oldest first
///
/// From the archive's ledger, which is behind as shown by `lag`. `event show` shows how many seats
/// are blocked now.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  holdfastctl seats blocks 7
  holdfastctl seats blocks 7 --limit 100
  holdfastctl seats blocks 7 --json | jq '.blocks[] | select(.by == \"ann\")'")]
pub(in crate::ctl) struct Arguments {
    /// The event's id
    #[arg(value_name = "EVENT")]
    event: u32,
    /// Maximum number
    #[arg(long, value_name = "N", default_value_t = LIMIT_MAX,
          value_parser = clap::value_parser!(u32).range(1..=i64::from(LIMIT_MAX)))]
    limit: u32,
    /// Only entries after the last one of the previous page: its `next`
    #[arg(long, value_name = "CURSOR")]
    after: Option<String>,
}

/// The blocks and releases of an event.
#[derive(Serialize)]
pub(super) struct Blocks {
    event: u32,
    blocks: Vec<Line>,
    /// What to pass as `--after` for later ones; absent if there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Serialize)]
struct Line {
    at: String,
    action: &'static str,
    by: String,
    reason: String,
    /// The seats whose state changed.
    seats: Vec<u32>,
    #[serde(skip)]
    ranges: String,
}

impl Arguments {
    pub(super) async fn run(self, config: &Config) -> Result<Blocks, Failure> {
        let archive = start::existing_archive(config).await?;
        let id = EventId(self.event);
        if archive.event_head(id).await?.is_none() {
            return Err(crate::sale::SaleError::EventUnknown(id).into());
        }
        let line = |block: crate::archive::ArchivedBlock| {
            let action = if block.is_block() { BlockAction::Block } else { BlockAction::Release };
            let mut seats = block.seats;
            seats.sort_unstable();
            Line {
                at: iso8601(block.time_ms),
                action: action.as_str(),
                by: block.actor,
                reason: block.reason,
                ranges: ranges(&seats),
                seats: seats.into_iter().map(|seat| seat.0).collect(),
            }
        };
        let after = self
            .after
            .as_deref()
            .map(|after| BlockPosition::parse(id, after).ok_or_else(not_a_cursor));
        // One more, to learn whether there are more.
        let mut found =
            archive.blocks_after(id, after.transpose()?.as_ref(), self.limit + 1).await?;
        let has_more = found.len() > self.limit as usize;
        found.truncate(self.limit as usize);
        let last = found.last().filter(|_| has_more);
        let next = last.map(|last| last.position().cursor(id));
        Ok(Blocks { event: self.event, blocks: found.into_iter().map(line).collect(), next })
    }
}

fn not_a_cursor() -> Failure {
    Failure::new("`--after` must be the `next` of a page that `seats blocks` listed of this event")
}

impl CommandResult for Blocks {
    fn text(&self) -> String {
        if self.blocks.is_empty() {
            return format!("Nothing was ever blocked in event {}.", self.event);
        }
        let columns = [
            Column::Words("at"),
            Column::Words("what"),
            Column::Words("by"),
            Column::Words("reason"),
            Column::Words("seats"),
        ];
        let row = |one: &Line| {
            [
                one.at.clone(),
                one.action.to_owned(),
                one.by.clone(),
                one.reason.clone(),
                one.ranges.clone(),
            ]
        };
        let text = table(columns, self.blocks.iter().map(row).collect());
        match &self.next {
            Some(next) => format!("{text}\n\nlater ones: --after {next}"),
            None => text,
        }
    }
}
