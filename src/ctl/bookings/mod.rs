//! `bookings`: lists bookings, shows one in detail, cancels and refunds one, for support.

mod cancel;
mod found;
mod list;
mod refund;
mod show;

use std::process::ExitCode;

use crate::config::Config;

use super::failure::Failure;
use super::output::Output;
pub(super) use found::find;
pub(super) use refund::{confirm_refund, refund_now};

#[derive(clap::Subcommand, Debug)]
pub(super) enum Command {
    List(list::Arguments),
    Show(show::Arguments),
    Cancel(cancel::Arguments),
    Refund(refund::Arguments),
}

impl Command {
    /// The act for the audit log; `None` for a read-only command.
    pub(super) fn changes(&self) -> Option<(&'static str, String)> {
        match self {
            Command::List(_) | Command::Show(_) => None,
            Command::Cancel(arguments) => Some(arguments.changes()),
            Command::Refund(arguments) => Some(arguments.changes()),
        }
    }

    /// Asks before anything is recorded or done.
    pub(super) async fn confirm(&self, config: &Config) -> Result<(), Failure> {
        match self {
            Command::List(_) | Command::Show(_) => Ok(()),
            Command::Cancel(arguments) => arguments.confirm(config).await,
            Command::Refund(arguments) => arguments.confirm(config).await,
        }
    }

    pub(super) async fn run(self, config: &Config, output: &Output) -> Result<ExitCode, Failure> {
        match self {
            Command::List(arguments) => output.show(&arguments.run(config).await?),
            Command::Show(arguments) => output.show(&arguments.run(config).await?),
            Command::Cancel(arguments) => output.show(&Box::pin(arguments.run(config)).await?),
            Command::Refund(arguments) => output.show(&Box::pin(arguments.run(config)).await?),
        }
    }
}
