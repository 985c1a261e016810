//! `bookings`: lists bookings and shows one in detail, for support.

mod list;
mod show;

use std::process::ExitCode;

use crate::config::Config;

use super::failure::Failure;
use super::output::Output;

#[derive(clap::Subcommand, Debug)]
pub(super) enum Command {
    List(list::Arguments),
    Show(show::Arguments),
}

impl Command {
    pub(super) async fn run(self, config: &Config, output: &Output) -> Result<ExitCode, Failure> {
        match self {
            Command::List(arguments) => output.show(&arguments.run(config).await?),
            Command::Show(arguments) => output.show(&arguments.run(config).await?),
        }
    }
}
