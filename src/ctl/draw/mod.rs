//! `draw`: shows the published draw of a pre-queue, and verifies it.

mod fetch;
mod show;
mod verify;

use std::process::ExitCode;

use crate::config::Config;

use super::failure::Failure;
use super::output::Output;

#[derive(clap::Subcommand, Debug)]
pub(super) enum Command {
    Show(show::Arguments),
    Verify(verify::Arguments),
}

impl Command {
    pub(super) async fn run(self, config: &Config, output: &Output) -> Result<ExitCode, Failure> {
        match self {
            Command::Show(arguments) => output.show(&arguments.run(config).await?),
            Command::Verify(arguments) => output.show(&arguments.run().await?),
        }
    }
}
