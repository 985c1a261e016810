//! `holdfastctl`: the operator's command-line tool.
//!
//! Results go to standard output, as a table or (`--json`) as one JSON document; an error is one line
//! on standard error that says how to correct it. Exit codes: 0 success; 1 the result shows problems; 2
//! failure, or an incomplete result where the result says so.

mod access;
mod audit;
mod bookings;
mod completions;
mod config_check;
mod confirmation;
mod dead_letters;
mod debug_bundle;
mod draw;
mod events;
mod export;
mod failure;
mod fresh_file;
mod health;
mod lag;
mod limits;
mod log_level;
mod man;
mod output;
mod payments;
mod policy;
mod processes;
mod reconcile;
mod reload;
mod restore;
mod seats;
mod status;
mod time;
mod top;
mod trace;
mod verify;
mod waiting_room;

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};

use crate::config::{Config, ConfigArgs};
use crate::start;
use failure::Failure;
use output::Output;

/// Exit code of a failure; clap's own for usage errors.
const EXIT_FAILURE: u8 = 2;
/// This program's name.
const NAME: &str = "holdfastctl";

/// Operates a Holdfast deployment: creates and pauses events, shows how far the archive has come, and
/// verifies that Redis, the booking log and the archive agree.
///
/// Uses Redis and MongoDB directly and needs no running holdfast-api. It takes the same settings:
/// from the file named by --config, overridden by HOLDFAST_* variables, in particular
/// HOLDFAST_REDIS_URL, HOLDFAST_MONGODB_URL and HOLDFAST_MONGODB_DATABASE. `make run` prints
/// those of its services.
///
/// Exit codes: 0 success; 1 the result shows problems (verify, reconcile, draw verify, limits, health,
/// config check, a process that refused a reload, a refund that is not done, a replay that left letters); 2 wrong usage, or a service is unavailable (status, lag, dead-letters and
/// restore then still show what could be reached or done).
#[derive(Parser, Debug)]
#[command(name = NAME, version)]
pub struct Arguments {
    #[command(flatten)]
    config: ConfigArgs,
    /// Print one JSON document instead of tables
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand, Debug)]
enum Command {
    Status(status::Arguments),
    Top(top::Arguments),
    Verify(verify::Arguments),
    Reconcile(reconcile::Arguments),
    Restore(restore::Arguments),
    /// Create, list, show, pause, resume and close events
    #[command(subcommand)]
    Event(events::Command),
    /// Withhold seats from the sale, release them, list these changes
    #[command(subcommand)]
    Seats(seats::Command),
    /// List bookings, show one in detail, cancel and refund one
    #[command(subcommand)]
    Bookings(bookings::Command),
    /// List payments, show one with its movements of money, settle refunds that failed
    #[command(subcommand)]
    Payments(payments::Command),
    /// List and change limit and bot rules while the API runs
    #[command(subcommand)]
    Limits(limits::Command),
    /// Deny addresses and users, exempt others, list both
    #[command(subcommand)]
    Access(access::Command),
    /// Show waiting rooms, switch them on and off
    #[command(subcommand)]
    WaitingRoom(waiting_room::Command),
    Reload(reload::Arguments),
    LogLevel(log_level::Arguments),
    /// Check settings files
    #[command(subcommand)]
    Config(config_check::Command),
    Lag(lag::Arguments),
    Health(health::Arguments),
    /// Show the draw of a pre-queue, and verify it from public data alone
    #[command(subcommand)]
    Draw(draw::Command),
    /// List, explain and replay log entries that the worker could not store
    #[command(subcommand)]
    DeadLetters(dead_letters::Command),
    /// Export sales and the ledger of payments as files
    #[command(subcommand)]
    Export(export::Command),
    Audit(audit::Arguments),
    DebugBundle(debug_bundle::Arguments),
    Trace(trace::Arguments),
    Completions(completions::Arguments),
    Man(man::Arguments),
}

/// Runs one command and reports a failure.
pub async fn run(arguments: Arguments) -> ExitCode {
    warn_on_stderr();
    execute(arguments).await.unwrap_or_else(|failure| failed(&failure))
}

/// Reports that no runtime could be started.
pub fn no_runtime(error: &std::io::Error) -> ExitCode {
    failed(&Failure::new(format!("no threads to run with: {error}")))
}

fn failed(failure: &Failure) -> ExitCode {
    eprintln!("{NAME}: {failure}");
    ExitCode::from(EXIT_FAILURE)
}

async fn execute(arguments: Arguments) -> Result<ExitCode, Failure> {
    let output = Output { json: arguments.json };
    match &arguments.command {
        // These work with invalid settings, too.
        Some(Command::Completions(arguments)) => return output.show(&arguments.run()?),
        Some(Command::Man(arguments)) => return output.show(&arguments.run()?),
        Some(Command::Config(command)) => return command.run(&output),
        _ => {}
    }
    let config = arguments.config.load()?;
    if arguments.config.print_config {
        return output.text(&config.to_commented_toml());
    }
    match arguments.command {
        Some(command) => command.run_recorded(&config, &output).await,
        None => {
            let text = "no command; holdfastctl --help lists them";
            Arguments::command().error(ErrorKind::MissingSubcommand, text).exit()
        }
    }
}

impl Command {
    async fn run(self, config: &Config, output: &Output) -> Result<ExitCode, Failure> {
        match self {
            Command::Status(arguments) => Box::pin(arguments.run(config, output)).await,
            Command::Top(arguments) => Box::pin(arguments.run(config, output)).await,
            Command::Verify(arguments) => output.show(&arguments.run(config).await?),
            Command::Reconcile(arguments) => output.show(&Box::pin(arguments.run(config)).await?),
            Command::Restore(arguments) => output.show(&arguments.run(config).await?),
            Command::Event(command) => command.run(config, output).await,
            Command::Seats(command) => command.run(config, output).await,
            Command::Bookings(command) => command.run(config, output).await,
            Command::Payments(command) => command.run(config, output).await,
            Command::Limits(command) => command.run(config, output).await,
            Command::Access(command) => command.run(config, output).await,
            Command::WaitingRoom(command) => Box::pin(command.run(config, output)).await,
            Command::Reload(arguments) => output.show(&arguments.run(config).await?),
            Command::LogLevel(arguments) => output.show(&arguments.run(config).await?),
            Command::Config(command) => command.run(output),
            Command::Lag(arguments) => output.show(&arguments.run(config).await?),
            Command::Health(arguments) => output.show(&arguments.run(config).await?),
            Command::Draw(command) => command.run(config, output).await,
            Command::DeadLetters(command) => command.run(config, output).await,
            Command::Export(command) => command.run(config, output).await,
            Command::Audit(arguments) => output.show(&arguments.run(config).await?),
            Command::DebugBundle(arguments) => output.show(&Box::pin(arguments.run(config)).await?),
            Command::Trace(arguments) => output.show(&arguments.run(config).await?),
            Command::Completions(arguments) => output.show(&arguments.run()?),
            Command::Man(arguments) => output.show(&arguments.run()?),
        }
    }

    /// The act and its target as recorded in the audit log; `None` for a read-only command.
    fn changes(&self) -> Option<(&'static str, String)> {
        match self {
            Command::Event(command) => command.changes(),
            Command::Seats(command) => command.changes(),
            Command::DeadLetters(command) => command.changes(),
            Command::Limits(command) => command.changes(),
            Command::Access(command) => command.changes(),
            Command::WaitingRoom(command) => command.changes(),
            Command::Restore(arguments) => Some(("restore", arguments.target())),
            Command::Reconcile(arguments) => arguments.changes(),
            Command::Bookings(command) => command.changes(),
            Command::Payments(command) => command.changes(),
            Command::Reload(_) => Some(("reload", "all processes".to_owned())),
            Command::LogLevel(arguments) => arguments.changes(),
            Command::Status(_)
            | Command::Top(_)
            | Command::Verify(_)
            | Command::Draw(_)
            | Command::Config(_)
            | Command::Lag(_)
            | Command::Health(_)
            | Command::Export(_)
            | Command::Audit(_)
            | Command::DebugBundle(_)
            | Command::Trace(_)
            | Command::Completions(_)
            | Command::Man(_) => None,
        }
    }

    /// Runs the command and records what it changes.
    async fn run_recorded(self, config: &Config, output: &Output) -> Result<ExitCode, Failure> {
        let Some((act, target)) = self.changes() else { return self.run(config, output).await };
        match &self {
            Command::Bookings(command) => command.confirm(config).await?,
            Command::Payments(command) => command.confirm(config).await?,
            _ => {}
        }
        let archive = match &self {
            // It may be the first command of a deployment.
            Command::Event(command) if command.begins() => start::archive(config).await?,
            _ => start::existing_archive(config).await?,
        };
        audit::recorded(archive, act, target, self.run(config, output)).await
    }
}

/// Shows warnings of the use cases ("Redis follows later") on standard error; standard output is for
/// results. That a dependency gives no answers is the error of the command itself.
fn warn_on_stderr() {
    let warnings = tracing_subscriber::fmt()
        .with_env_filter("holdfast=warn,holdfast::circuit_breaker=off")
        .with_writer(std::io::stderr)
        .without_time()
        .with_target(false)
        .compact();
    // A subscriber is installed already: it receives the warnings.
    let _ = warnings.try_init();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_command_has_an_example() {
        fn check(command: &mut clap::Command) {
            let help = command.render_long_help().to_string();
            let leaf = command.get_subcommands().next().is_none();
            assert!(!leaf || help.contains("Example"), "{help}");
            command.get_subcommands_mut().filter(|c| c.get_name() != "help").for_each(check);
        }
        check(&mut Arguments::command());
    }

    #[test]
    fn global_flags_are_accepted_anywhere() {
        let parse = |line: &str| Arguments::try_parse_from(line.split(' '));
        assert!(parse("holdfastctl --json lag").unwrap().json);
        assert!(parse("holdfastctl event list --json --config x").unwrap().json);
        assert!(parse("holdfastctl event close many").is_err());
    }
}
