//! `dead-letters`: entries of the booking log that the worker could not store: lists, explains and
//! replays them.

mod letter_id;
mod list;
mod replay;
mod show;

use std::process::ExitCode;

use crate::config::Config;

use super::failure::Failure;
use super::output::Output;

#[derive(clap::Subcommand, Debug)]
pub(super) enum Command {
    List(list::Arguments),
    Show(show::Arguments),
    Replay(replay::Arguments),
}

impl Command {
    /// The act for the audit log.
    pub(super) fn changes(&self) -> Option<(&'static str, String)> {
        match self {
            Command::List(_) | Command::Show(_) => None,
            Command::Replay(arguments) => arguments.changes(),
        }
    }

    pub(super) async fn run(self, config: &Config, output: &Output) -> Result<ExitCode, Failure> {
        match self {
            Command::List(arguments) => output.show(&arguments.run(config).await?),
            Command::Show(arguments) => output.show(&arguments.run(config).await?),
            Command::Replay(arguments) => output.show(&arguments.run(config).await?),
        }
    }
}
