//! `holdfast-flash-sale`: simulates buyers and checks every response.
//!
//! `run` draws the buyers' plans ([`plan`]), runs every buyer ([`buyer`]) against the API alone, counts
//! ([`tally`]) and records ([`history`]) every call, and what the API says of the seats and of itself each
//! second ([`series`]). Then it reads the history and checks it for contradictions within itself and with
//! the archive ([`check`]), and makes the result document ([`outcome`]). `check` checks an existing
//! history; `report` and `compare` show result documents.

mod arrivals;
mod behind;
mod books;
mod bot;
mod buyer;
mod check;
mod client;
mod distribution;
mod frame;
mod history;
mod line;
mod machine;
mod options;
mod outcome;
mod plan;
mod prepare;
mod progress;
mod run;
mod sampler;
mod scenarios;
mod seats;
mod sell;
mod series;
mod shop;
mod tally;
mod text;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use options::{CheckOptions, CompareOptions, ReportOptions, RunOptions};

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
    Report(ReportOptions),
    Compare(CompareOptions),
    /// List the scenarios of `run` with their options
    ///
    /// Exits with 0.
    #[command(after_help = "Example:
  holdfast-flash-sale run --scenario last-ten-seats")]
    Scenarios,
}

#[tokio::main]
async fn main() -> ExitCode {
    holdfast::start::raise_open_files();
    let done = match arguments() {
        Ok(Command::Run(options)) => run::run(*options).await,
        Ok(Command::Check(options)) => run::check(options).await,
        Ok(Command::Report(options)) => run::report(&options),
        Ok(Command::Compare(options)) => run::compare(&options),
        Ok(Command::Scenarios) => run::say(&scenarios::list()).map(|()| true),
        Err(error) => Err(error),
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

/// Reads the command line, with the options of a scenario before those that are given.
fn arguments() -> Result<Command, Failure> {
    let words = scenarios::expand(std::env::args_os().collect())?;
    Ok(Arguments::parse_from(words).command)
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
