//! `limits`: what the limit and bot rules are, and how they are changed while the API runs.

mod change;
mod list;

use std::process::ExitCode;

use crate::config::Config;

use super::failure::Failure;
use super::output::Output;

#[derive(clap::Subcommand, Debug)]
pub(super) enum Command {
    List(list::Arguments),
    Set(change::Set),
    Reset(change::Reset),
    Mode(change::AllModes),
    Profile(change::SetProfile),
    Bots(change::Bots),
}

impl Command {
    pub(super) async fn run(self, config: &Config, output: &Output) -> Result<ExitCode, Failure> {
        let result = match self {
            Command::List(arguments) => return output.show(&arguments.run(config).await?),
            Command::Set(arguments) => arguments.run(config).await?,
            Command::Reset(arguments) => arguments.run(config).await?,
            Command::Mode(arguments) => arguments.run(config).await?,
            Command::Profile(arguments) => arguments.run(config).await?,
            Command::Bots(arguments) => arguments.run(config).await?,
        };
        output.show(&result)
    }
}
