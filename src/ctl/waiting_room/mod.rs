//! `waiting-room`: shows an event's waiting room, and switches it.

mod change;
mod show;

use std::process::ExitCode;

use crate::config::Config;

use super::failure::Failure;
use super::output::Output;

#[derive(clap::Subcommand, Debug)]
pub(super) enum Command {
    Show(show::Arguments),
    Enable(Box<change::Enable>),
    Disable(change::Disable),
}

impl Command {
    /// The act for the audit log.
    pub(super) fn changes(&self) -> Option<(&'static str, String)> {
        match self {
            Command::Show(_) => None,
            Command::Enable(enable) => Some(("waiting_room_enable", enable.target())),
            Command::Disable(disable) => Some(("waiting_room_disable", disable.target())),
        }
    }

    pub(super) async fn run(self, config: &Config, output: &Output) -> Result<ExitCode, Failure> {
        match self {
            Command::Show(arguments) => output.show(&arguments.run(config).await?),
            Command::Enable(enable) => output.show(&enable.run(config).await?),
            Command::Disable(disable) => output.show(&disable.run(config).await?),
        }
    }
}
