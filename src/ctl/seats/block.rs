//! `seats block` and `seats release`.

use serde::Serialize;

use super::ranges::{SeatList, ranges};
use crate::config::Config;
use crate::ctl::failure::Failure;
use crate::ctl::output::CommandResult;
use crate::domain::limits::BLOCK_SEATS_MAX;
use crate::domain::{EventId, SeatId, UserId};
use crate::redis::BlockAction;
use crate::sale::{BlockRequest, BlockSelection, Events};
use crate::start;

#[derive(clap::Args, Debug)]
pub(in crate::ctl) struct Arguments {
    /// The event's id
    #[arg(value_name = "EVENT")]
    event: u32,
    #[command(flatten)]
    which: SeatArguments,
    /// One row of the section
    #[arg(long, requires = "section", conflicts_with = "seats")]
    row: Option<String>,
    /// Reason; kept for ever
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Name of the operator; kept for ever
    #[arg(long, value_name = "NAME", env = "USER", default_value = "holdfastctl")]
    by: UserId,
}

#[derive(clap::Args, Debug)]
#[group(required = true, multiple = false)]
struct SeatArguments {
    /// Seats by their ids, as the seat map has them
    #[arg(long, value_name = "1-20,33")]
    seats: Option<SeatList>,
    /// All seats of a section
    #[arg(long, value_name = "NAME")]
    section: Option<String>,
}

/// The result of a block or a release.
#[derive(Serialize)]
pub(super) struct BlockResult {
    event: u32,
    action: &'static str,
    /// The number of named seats.
    seats: usize,
    /// The number of seats whose state changed.
    changed: u32,
}

impl Arguments {
    /// The target for the audit log.
    pub(super) fn target(&self) -> String {
        format!("event {}", self.event)
    }

    pub(super) async fn run(
        self,
        config: &Config,
        action: BlockAction,
    ) -> Result<BlockResult, Failure> {
        let engine = start::existing_engine(config).await?;
        let archive = start::existing_archive(config).await?;
        let events = Events::new(engine, archive, start::sale_settings(config));
        let id = EventId(self.event);
        let seats = match (self.which.seats, self.which.section) {
            (Some(SeatList(seats)), _) => seats,
            (None, Some(section)) => {
                let selection = BlockSelection::Of { section, row: self.row };
                events.selected_seats(id, &selection).await?
            }
            (None, None) => return Err(Failure::new("name --seats or --section")),
        };
        let mut done = BlockResult {
            event: self.event,
            action: action.as_str(),
            seats: seats.len(),
            changed: 0,
        };
        let mut finished = 0;
        for step in seats.chunks(BLOCK_SEATS_MAX) {
            let request = BlockRequest {
                event: id,
                action,
                seats: BlockSelection::Named(step.to_vec()),
                actor: self.by.to_string(),
                reason: self.reason.clone(),
            };
            match events.block(&request).await {
                Ok(changed) => done.changed += changed,
                Err(error) => return Err(cut_off(error.into(), &seats[..finished])),
            }
            finished += step.len();
        }
        Ok(done)
    }
}

/// A failure, with what was already done.
fn cut_off(error: Failure, finished: &[SeatId]) -> Failure {
    match finished.is_empty() {
        true => error,
        false => Failure::new(format!("{error}. Done already: seats {}", ranges(finished))),
    }
}

impl CommandResult for BlockResult {
    fn text(&self) -> String {
        let verb = if self.action == BlockAction::Block.as_str() { "blocked" } else { "released" };
        match self.seats as u64 - u64::from(self.changed) {
            0 => format!("{} seats of event {} are {verb}.", self.changed, self.event),
            rest => format!(
                "{} seats of event {} are {verb}; {rest} were left unchanged.",
                self.changed, self.event
            ),
        }
    }
}
