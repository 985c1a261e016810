//! `log-level`: shows and changes what processes log, for a time.

use std::time::Duration;

use serde::Serialize;

use crate::config::{Config, check_log_level};
use crate::domain::time::iso8601;
use crate::sale::control::{ControlStore, LOG_LEVEL_FOR_MAX, LogOverride, ProcessRecord, ms};
use crate::start;

use super::audit::actor;
use super::failure::Failure;
use super::output::{Column, CommandResult, table};
use super::processes::wait_until;
use super::time::parse_span;

/// How long to wait for the processes.
const WAIT: Duration = Duration::from_secs(10);

/// Show or change what processes log, for a time
///
/// Without arguments: the log level of every running process. With DIRECTIVES, as of the setting
/// log_level: all processes (or the one named by --process) log by them until the time ends; then the
/// level of their settings returns, without this tool. That holds over a reload and over a restart. A
/// process reads the change within two seconds. Needs MongoDB, not Redis.
///
/// Exits with 1 if a process does not show the change within ten seconds.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  holdfastctl log-level
  holdfastctl log-level info,holdfast::sale=debug --for 10m
  holdfastctl log-level debug --for 2m --process holdfast-worker@w1:8001
  holdfastctl log-level --reset")]
pub(super) struct Arguments {
    /// A level (error, warn, info, debug, trace, off), or directives such as info,holdfast::api=debug
    #[arg(value_name = "DIRECTIVES", conflicts_with = "reset", value_parser = directives)]
    directives: Option<String>,
    /// How long, such as 10m; 24h at most
    #[arg(long = "for", value_name = "TIME", default_value = "10m", value_parser = parse_for)]
    for_ms: i64,
    /// Return to the level of the settings now
    #[arg(long)]
    reset: bool,
    /// Only this process, by the name that this command shows
    #[arg(long, value_name = "NAME")]
    process: Option<String>,
}

fn directives(text: &str) -> Result<String, String> {
    check_log_level(text).map(|()| text.to_owned())
}

fn parse_for(text: &str) -> Result<i64, String> {
    let span_ms = parse_span(text)?;
    match span_ms <= ms(LOG_LEVEL_FOR_MAX) {
        true => Ok(span_ms),
        false => Err("give 24h at most: for longer, change the setting log_level".to_owned()),
    }
}

/// The log levels of processes.
#[derive(Serialize)]
pub(super) struct Levels {
    processes: Vec<Line>,
}

#[derive(Serialize)]
struct Line {
    process: String,
    log_level: String,
    /// When the level of the settings returns; absent if it is in effect.
    until: Option<String>,
    /// Whether it shows what was asked for.
    is_done: bool,
}

impl Arguments {
    /// The act for the audit log.
    pub(super) fn changes(&self) -> Option<(&'static str, String)> {
        let target = self.process.clone().unwrap_or_else(|| "all processes".to_owned());
        (self.reset || self.directives.is_some()).then_some(("log-level", target))
    }

    pub(super) async fn run(self, config: &Config) -> Result<Levels, Failure> {
        let store = ControlStore::new(start::existing_archive(config).await?);
        if let Some(name) = &self.process {
            check_known(&store, name).await?;
        }
        let asked = self.directives.map(|directives| LogOverride {
            process: self.process.clone(),
            directives,
            until_ms: jiff::Timestamp::now().as_millisecond() + self.for_ms,
            for_ms: self.for_ms,
            by: actor(),
        });
        match &asked {
            Some(level) => store.set_log_level(level).await?,
            None if self.reset => store.reset_log_level(self.process.as_deref()).await?,
            None => {}
        }
        let is_meant =
            |one: &ProcessRecord| self.process.as_ref().is_none_or(|name| *name == one.name);
        let is_done = |one: &ProcessRecord| match &asked {
            _ if !is_meant(one) => true,
            Some(level) => one.log_level == level.directives && one.log_level_until_ms.is_some(),
            // A level of all processes may apply where that of one has ended.
            None => !self.reset || self.process.is_some() || one.log_level_until_ms.is_none(),
        };
        let bound = if asked.is_some() || self.reset { WAIT } else { Duration::ZERO };
        let running = wait_until(&store, bound, is_done).await?;
        let line = |one: &ProcessRecord| Line {
            process: one.name.clone(),
            log_level: one.log_level.clone(),
            until: one.log_level_until_ms.map(iso8601),
            is_done: is_done(one),
        };
        Ok(Levels { processes: running.iter().filter(|one| is_meant(one)).map(line).collect() })
    }
}

async fn check_known(store: &ControlStore, name: &str) -> Result<(), Failure> {
    let running = store.running().await?;
    if running.iter().any(|one| one.name == *name) {
        return Ok(());
    }
    let names: Vec<&str> = running.iter().map(|one| one.name.as_str()).collect();
    let names = if names.is_empty() { "none" } else { &names.join(", ") };
    Err(Failure::new(format!("no process {name:?} runs; those that do: {names}")))
}

impl CommandResult for Levels {
    fn text(&self) -> String {
        if self.processes.is_empty() {
            return "No process runs, or none reaches MongoDB.".to_owned();
        }
        let columns =
            [Column::Words("process"), Column::Words("log level"), Column::Words("until")];
        let row = |one: &Line| {
            let until = match (&one.until, one.is_done) {
                (_, false) => "NOT YET as asked for",
                (Some(until), _) => until,
                (None, _) => "(of its settings)",
            };
            [one.process.clone(), one.log_level.clone(), until.to_owned()]
        };
        table(columns, self.processes.iter().map(row).collect())
    }

    fn has_problems(&self) -> bool {
        self.processes.iter().any(|one| !one.is_done)
    }
}
