//! `holdfast-flash-sale`: a crowd of simulated buyers, and a check of what they were told.
//!
//! `run` draws the crowd ([`plan`]), lets every buyer run its course ([`buyer`]) against the API
//! and nothing else, counts ([`tally`]) and writes down ([`history`]) every call. Then it reads the
//! history back and holds it against itself and against the archive ([`check`]); `check` does that
//! alone, for a history that is there.

mod books;
mod buyer;
mod check;
mod client;
mod distribution;
mod history;
mod options;
mod plan;
mod prepare;
mod progress;
mod report;
mod run;
mod seats;
mod shop;
mod tally;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use options::{CheckOptions, RunOptions};

/// Why it could not be done; told in one line.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Something contradicts.
const EXIT_PROBLEMS: u8 = 1;
/// It could not be done; clap's own for usage errors.
const EXIT_FAILURE: u8 = 2;

/// A flash sale's load, told honestly: thousands of simulated buyers over HTTP in open loop, every
/// answer written down, and at the end a proof that nobody was told something that is not so.
#[derive(Parser, Debug)]
#[command(name = "holdfast-flash-sale", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Run(Box<RunOptions>),
    Check(CheckOptions),
}

#[tokio::main]
async fn main() -> ExitCode {
    holdfast::start::raise_open_files();
    let done = match Arguments::parse().command {
        Command::Run(options) => run::run(*options).await,
        Command::Check(options) => run::check(options).await,
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(EXIT_PROBLEMS),
        Err(error) => {
            eprintln!("holdfast-flash-sale: {error}");
            ExitCode::from(EXIT_FAILURE)
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn every_command_explains_itself_with_an_example() {
        let mut command = Arguments::command();
        command.clone().debug_assert();
        for command in command.get_subcommands_mut().filter(|one| one.get_name() != "help") {
            let help = command.render_long_help().to_string();
            assert!(help.contains("Example") && help.contains("Exits with 0"), "{help}");
        }
    }
}
