//! `payments`: lists payments, shows one with its movements of money, and settles refunds that failed.

mod list;
mod refund;
mod show;

use std::process::ExitCode;

use crate::config::Config;

use super::failure::Failure;
use super::output::Output;

#[derive(clap::Subcommand, Debug)]
pub(super) enum Command {
    List(list::Arguments),
    Show(show::Arguments),
    /// Retry a refund that failed, or record that its money was returned by another way
    #[command(subcommand)]
    Refund(refund::Command),
}

impl Command {
    /// The act for the audit log; `None` for a read-only command.
    pub(super) fn changes(&self) -> Option<(&'static str, String)> {
        match self {
            Command::List(_) | Command::Show(_) => None,
            Command::Refund(command) => Some(command.changes()),
        }
    }

    /// Asks before anything is recorded or done.
    pub(super) async fn confirm(&self, config: &Config) -> Result<(), Failure> {
        match self {
            Command::List(_) | Command::Show(_) => Ok(()),
            Command::Refund(command) => command.confirm(config).await,
        }
    }

    pub(super) async fn run(self, config: &Config, output: &Output) -> Result<ExitCode, Failure> {
        match self {
            Command::List(arguments) => output.show(&arguments.run(config).await?),
            Command::Show(arguments) => output.show(&arguments.run(config).await?),
            Command::Refund(command) => Box::pin(command.run(config, output)).await,
        }
    }
}
