//! `reload`: has every running process read its settings again, and shows each one's result.

use std::time::Duration;

use serde::Serialize;

use crate::config::Config;
use crate::sale::control::{ControlStore, ProcessRecord, ReloadAnswer};
use crate::start;

use super::audit::actor;
use super::failure::Failure;
use super::output::{CommandResult, printable};
use super::processes::wait_until;

/// Longest wait, seconds.
const WAIT_SECONDS_MAX: u64 = 600;

/// Have every running process read its settings again
///
/// Each process reads its own file (--config), the key files and certificates that settings name, and
/// applies what can change while it runs; the same happens at SIGHUP. A process refuses a file with any
/// fault as a whole, goes on as before and says why. Shown for each process: what changed, what needs a
/// restart, and what a HOLDFAST_* variable overrides. --print-config marks the settings that a reload
/// applies. Needs MongoDB, not Redis. Repeating it is safe.
///
/// Exits with 1 if a process refused, did not answer in time, or none runs.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  holdfastctl config check /etc/holdfast.toml && holdfastctl reload
  holdfastctl reload --json | jq '.processes[] | select(.result != \"ok\")'")]
pub(super) struct Arguments {
    /// How long to wait for all processes
    #[arg(long, value_name = "SECONDS", default_value_t = 10,
          value_parser = clap::value_parser!(u64).range(1..=WAIT_SECONDS_MAX))]
    wait_seconds: u64,
}

/// What became of a reload.
#[derive(Serialize)]
pub(super) struct Reloaded {
    processes: Vec<Line>,
}

#[derive(Serialize)]
struct Line {
    process: String,
    /// `ok`, `refused` or `no_answer`.
    result: &'static str,
    /// Why nothing changed.
    reason: Option<String>,
    /// What changed, secrets masked.
    changed: Vec<String>,
    needs_restart: Vec<String>,
    /// Settings of the file that a variable overrides.
    overridden: Vec<String>,
}

impl Arguments {
    pub(super) async fn run(self, config: &Config) -> Result<Reloaded, Failure> {
        let store = ControlStore::new(start::existing_archive(config).await?);
        let id = store.request_reload(&actor()).await?;
        let bound = Duration::from_secs(self.wait_seconds);
        let answer_to = |one: &ProcessRecord| {
            one.reload.as_ref().filter(|answer| answer.request == id).cloned()
        };
        let running = wait_until(&store, bound, |one| answer_to(one).is_some()).await?;
        let line = |one: ProcessRecord| Line::of(answer_to(&one), one.name);
        Ok(Reloaded { processes: running.into_iter().map(line).collect() })
    }
}

impl Line {
    fn of(answer: Option<ReloadAnswer>, process: String) -> Self {
        let (result, answer) = match answer {
            None => ("no_answer", ReloadAnswer::default()),
            Some(answer) => (if answer.is_done { "ok" } else { "refused" }, answer),
        };
        let ReloadAnswer { reason, changed, needs_restart, overridden, .. } = answer;
        Line { process, result, reason, changed, needs_restart, overridden }
    }

    fn text(&self) -> String {
        let word = match self.result {
            "ok" => "ok",
            "refused" => "REFUSED",
            _ => "NO ANSWER in time; it may still reload",
        };
        let mut lines = vec![format!("{}: {word}", printable(&self.process))];
        let mut add = |what: &str, all: &[String]| {
            lines.extend(all.iter().map(|one| format!("  {what} {}", printable(one))));
        };
        add("nothing changed:", self.reason.as_slice());
        add("changed", &self.changed);
        add("needs a restart", &self.needs_restart);
        add("overridden by a variable", &self.overridden);
        if lines.len() == 1 && self.result == "ok" {
            lines.push("  nothing has changed".to_owned());
        }
        lines.join("\n")
    }
}

impl CommandResult for Reloaded {
    fn text(&self) -> String {
        if self.processes.is_empty() {
            return "No process runs, or none reaches MongoDB.".to_owned();
        }
        self.processes.iter().map(Line::text).collect::<Vec<String>>().join("\n")
    }

    fn has_problems(&self) -> bool {
        self.processes.is_empty() || self.processes.iter().any(|one| one.result != "ok")
    }
}
