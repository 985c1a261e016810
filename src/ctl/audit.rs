//! `audit`: lists the audit log of admin acts, and records this tool's own: a change is recorded
//! before it is made.

use std::process::{Command as Program, ExitCode};

use serde::Serialize;

use super::failure::Failure;
use super::output::{Column, CommandResult, or_dash, table};
use crate::archive::Archive;
use crate::archive::AuditPosition;
use crate::config::Config;
use crate::domain::time::iso8601;
use crate::sale::{Audit, AuditEntry, NewAuditEntry, audit_cursor, audit_position};
use crate::start;

/// Maximum number of acts per page.
const LIMIT_MAX: i64 = crate::archive::AUDIT_ENTRIES_MAX as i64;
/// The result of a successful act.
const DONE: &str = "ok";
/// The result of an act with problems or an incomplete result.
const DONE_IN_PART: &str = "ok, with problems";

/// List the acts of admins and operators, newest first
///
/// Over HTTP (by the name of the admin key) and with this tool (`ctl:user@host`): every change, and
/// every read for which the key is needed, but for those that the console asks again every few seconds
/// and that show nobody's bookings. Each act is recorded before it is carried out; its result
/// afterwards. An act without a result is in progress, or its process ended before recording it.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  holdfastctl audit
  holdfastctl audit --who box-office --limit 1000
  holdfastctl audit --before MSBhdWRpdCAx...
  holdfastctl audit --json | jq '.acts[] | select(.result == null)'")]
pub(super) struct Arguments {
    /// Maximum number
    #[arg(long, value_name = "N", default_value_t = 50,
          value_parser = clap::value_parser!(u32).range(1..=LIMIT_MAX))]
    limit: u32,
    /// Only this actor: the name of an admin key, or `ctl:user@host`
    #[arg(long, value_name = "NAME")]
    who: Option<String>,
    /// Only acts older than the last one of the previous page: its `next`
    #[arg(long, value_name = "CURSOR", value_parser = position)]
    before: Option<AuditPosition>,
}

fn position(text: &str) -> Result<AuditPosition, String> {
    audit_position(text).ok_or_else(|| "the `next` of a page that `audit` listed".to_owned())
}

/// Acts, newest first.
#[derive(Serialize)]
pub(super) struct Listed {
    acts: Vec<Line>,
    /// What to pass as `--before` for older ones; absent if there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Serialize)]
struct Line {
    at: String,
    who: String,
    act: String,
    target: String,
    detail: String,
    trace_id: Option<String>,
    result: Option<String>,
}

impl Arguments {
    pub(super) async fn run(self, config: &Config) -> Result<Listed, Failure> {
        let audit = Audit::new(start::existing_archive(config).await?);
        // One more, to learn whether there are more.
        let mut acts = audit.entries(self.who.as_deref(), self.before, self.limit + 1).await?;
        let has_more = acts.len() > self.limit as usize;
        acts.truncate(self.limit as usize);
        let last = acts.last().filter(|_| has_more).map(AuditEntry::position);
        let next = last.map(|last| audit_cursor(&last));
        Ok(Listed { acts: acts.into_iter().map(Line::of).collect(), next })
    }
}

impl Line {
    fn of(act: AuditEntry) -> Self {
        Line {
            at: iso8601(act.at_ms),
            who: act.who,
            act: act.act,
            target: act.target,
            detail: act.detail,
            trace_id: Some(act.trace_id).filter(|id| !id.is_empty()),
            result: act.result,
        }
    }
}

impl CommandResult for Listed {
    fn text(&self) -> String {
        if self.acts.is_empty() {
            return "No such acts are recorded.".to_owned();
        }
        let columns = [
            Column::Words("at"),
            Column::Words("who"),
            Column::Words("act"),
            Column::Words("target"),
            Column::Words("result"),
            Column::Words("detail"),
        ];
        let row = |one: &Line| {
            [
                one.at.clone(),
                one.who.clone(),
                one.act.clone(),
                one.target.clone(),
                or_dash(one.result.as_ref()),
                one.detail.clone(),
            ]
        };
        let text = table(columns, self.acts.iter().map(row).collect());
        match &self.next {
            Some(next) => format!("{text}\n\nolder ones: --before {next}"),
            None => text,
        }
    }
}

/// Runs a command after recording it in this archive.
pub(super) async fn recorded(
    archive: Archive,
    act: &'static str,
    target: String,
    doing: impl Future<Output = Result<ExitCode, Failure>>,
) -> Result<ExitCode, Failure> {
    let (act, who) = (format!("ctl {act}"), actor());
    let begun = Audit::new(archive)
        .begin(NewAuditEntry {
            who,
            act,
            target,
            detail: command_line(),
            ..NewAuditEntry::default()
        })
        .await?;
    // Boxed: commands are large.
    let result = Box::pin(doing).await;
    match &result {
        Ok(code) if *code == ExitCode::SUCCESS => begun.end(DONE).await,
        Ok(_) => begun.end(DONE_IN_PART).await,
        Err(failure) => begun.end(&failure.to_string()).await,
    }
    result
}

/// The user and host of this tool. The log distinguishes honest operators; anybody with the
/// database's password can write anything.
pub(super) fn actor() -> String {
    let output_of = |program: &str, flag: &str| {
        let output = Program::new(program).arg(flag).output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        Some(text).filter(|text| !text.is_empty())
    };
    let user = output_of("id", "-un").unwrap_or_else(|| "?".to_owned());
    let host = output_of("uname", "-n").unwrap_or_else(|| "?".to_owned());
    format!("ctl:{user}@{host}")
}

/// The command line. No flag of this tool takes a secret.
fn command_line() -> String {
    let words = std::env::args_os().skip(1);
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}
