//! `holdfast-flash-sale`: simulates buyers and checks every response.
//!
//! `run` draws the buyers' plans ([`plan`]), runs every buyer ([`buyer`]) against the API alone, counts
//! ([`tally`]) and records ([`history`]) every call. Then it reads the history and checks it for
//! contradictions within itself and with the archive ([`check`]). `check` does only the latter, for
//! an existing history.

mod books;
mod buyer;
mod check;
mod client;
mod distribution;
mod history;
mod line;
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

/// An error that is printed in one line.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Exit status if there are contradictions.
const EXIT_PROBLEMS: u8 = 1;
/// Exit status of failures, which clap uses for usage errors as well.
const EXIT_FAILURE: u8 = 2;

/// Load test of a flash sale: thousands of simulated buyers over HTTP in open loop. Every response is
/// recorded, and all of them are checked for contradictions at the end.
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
