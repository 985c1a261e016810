//! `seats blocks`: who kept which seats back, and why.

use serde::Serialize;

use super::ranges::ranges;
use crate::config::Config;
use crate::ctl::failure::Failure;
use crate::ctl::output::{Column, Shown, table};
use crate::domain::EventId;
use crate::domain::time::iso8601;
use crate::redis::BlockAction;
use crate::start;

/// List an event's blocks and releases, oldest first
///
/// From the archive's ledger, which is behind for as long as `lag` says. How many seats are blocked
/// now, `event show` tells.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  holdfastctl seats blocks 7
  holdfastctl seats blocks 7 --json | jq '.blocks[] | select(.by == \"ann\")'")]
pub(in crate::ctl) struct Arguments {
    /// The event's id
    #[arg(value_name = "EVENT")]
    event: u32,
}

/// What the house did with an event's seats.
#[derive(Serialize)]
pub(super) struct Blocks {
    event: u32,
    blocks: Vec<Line>,
}

#[derive(Serialize)]
struct Line {
    at: String,
    action: &'static str,
    by: String,
    reason: String,
    /// Those that became others.
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
            let action = if block.blocked() { BlockAction::Block } else { BlockAction::Release };
            let mut seats = block.seats;
            seats.sort_unstable();
            Line {
                at: iso8601(block.time_ms),
                action: action.word(),
                by: block.actor,
                reason: block.reason,
                ranges: ranges(&seats),
                seats: seats.into_iter().map(|seat| seat.0).collect(),
            }
        };
        let found = archive.blocks_of_event(id).await?;
        Ok(Blocks { event: self.event, blocks: found.into_iter().map(line).collect() })
    }
}

impl Shown for Blocks {
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
        table(columns, self.blocks.iter().map(row).collect())
    }
}
