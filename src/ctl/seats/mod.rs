//! `seats`: withholds seats from the sale, and releases them.

mod block;
mod blocks;
mod ranges;

use std::process::ExitCode;

use crate::config::Config;
use crate::redis::BlockAction;

use super::failure::Failure;
use super::output::Output;

#[derive(clap::Subcommand, Debug)]
pub(super) enum Command {
    /// Withhold seats from the sale
    ///
    /// Only free seats, all or none: the block is refused if one is held or sold. Blocked seats stay
    /// blocked, so repeating a block changes nothing. More than 1,000 seats are blocked in steps of
    /// 1,000. Each block is written to the archive with its operator and reason.
    #[command(after_help = "Examples:
  holdfastctl seats block 7 --section Stalls --row A --reason 'sight lines'
  holdfastctl seats block 7 --seats 1-20,33 --reason 'press' --by ann")]
    Block(block::Arguments),
    /// Release blocked seats to the sale
    ///
    /// Those of the named seats that are blocked; others stay as they are.
    #[command(after_help = "Examples:
  holdfastctl seats release 7 --section Stalls --row A --reason 'camera is gone'
  holdfastctl seats release 7 --seats 1-20,33 --reason 'press did not come'")]
    Release(block::Arguments),
    Blocks(blocks::Arguments),
}

impl Command {
    /// The act for the audit log.
    pub(super) fn changes(&self) -> Option<(&'static str, String)> {
        match self {
            Command::Block(arguments) => Some(("seats block", arguments.target())),
            Command::Release(arguments) => Some(("seats release", arguments.target())),
            Command::Blocks(_) => None,
        }
    }

    pub(super) async fn run(self, config: &Config, output: &Output) -> Result<ExitCode, Failure> {
        match self {
            Command::Block(arguments) => {
                output.show(&arguments.run(config, BlockAction::Block).await?)
            }
            Command::Release(arguments) => {
                output.show(&arguments.run(config, BlockAction::Release).await?)
            }
            Command::Blocks(arguments) => output.show(&arguments.run(config).await?),
        }
    }
}
