//! `limits`: shows the limit and bot rules, and changes them while the API runs.

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
    /// The act for the audit log.
    pub(super) fn changes(&self) -> Option<(&'static str, String)> {
        let act = match self {
            Command::List(_) => return None,
            Command::Set(_) => "limits set",
            Command::Reset(_) => "limits reset",
            Command::Mode(_) => "limits mode",
            Command::Profile(_) => "limits profile",
            Command::Bots(_) => "limits bots",
        };
        Some((act, "policy".to_owned()))
    }

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
