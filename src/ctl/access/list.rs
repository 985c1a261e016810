//! `access list`: both lists, or the entries that apply to somebody.

use serde::Serialize;

use crate::config::Config;
use crate::ctl::failure::Failure;
use crate::ctl::output::{Column, CommandResult, or_dash, table};
use crate::ctl::policy::{LastChange, open_for_reading};
use crate::domain::policy::{Access, AccessEntry, Who};
use crate::domain::time::iso8601;

/// List who is denied and who is exempt
///
/// Oldest first, without expired entries. With an address, a network or a user: the entries that
/// apply to it, including those of networks.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  holdfastctl access list
  holdfastctl access list 203.0.113.7
  holdfastctl access list --json | jq -r '.entries[] | select(.access == \"deny\") | .who'")]
pub(in crate::ctl) struct Arguments {
    /// An address, a network or user:ID
    who: Option<Who>,
}

/// Entries of the lists.
#[derive(Serialize)]
pub(super) struct Listed {
    changed_last: Option<LastChange>,
    entries: Vec<Line>,
}

/// One entry.
#[derive(Serialize)]
pub(super) struct Line {
    who: String,
    access: Access,
    until: Option<String>,
    by: String,
    at: String,
    reason: String,
}

impl From<&AccessEntry> for Line {
    fn from(entry: &AccessEntry) -> Self {
        Line {
            who: entry.who.to_string(),
            access: entry.access,
            until: entry.until_ms.map(iso8601),
            by: entry.by.clone(),
            at: iso8601(entry.at_ms),
            reason: entry.reason.clone(),
        }
    }
}

impl Arguments {
    pub(super) async fn run(self, config: &Config) -> Result<Listed, Failure> {
        let stored = open_for_reading(config).await?.stored().await?;
        let now_ms = jiff::Timestamp::now().as_millisecond();
        let wanted = |entry: &&AccessEntry| {
            entry.is_current(now_ms) && self.who.as_ref().is_none_or(|who| entry.is_about(who))
        };
        let mut entries: Vec<&AccessEntry> = stored.live.access.iter().filter(wanted).collect();
        entries.sort_by_key(|entry| entry.at_ms);
        Ok(Listed {
            changed_last: LastChange::of(&stored),
            entries: entries.into_iter().map(Line::from).collect(),
        })
    }
}

/// Formats entries as a table.
pub(super) fn lines(lines: &[Line]) -> String {
    let columns = [
        Column::Words("who"),
        Column::Words("is"),
        Column::Words("until"),
        Column::Words("by"),
        Column::Words("at"),
        Column::Words("reason"),
    ];
    let row = |line: &Line| {
        [
            line.who.clone(),
            said(line.access).to_owned(),
            or_dash(line.until.as_ref()),
            line.by.clone(),
            line.at.clone(),
            line.reason.clone(),
        ]
    };
    table(columns, lines.iter().map(row).collect())
}

fn said(access: Access) -> &'static str {
    match access {
        Access::Deny => "denied",
        Access::Allow => "allowed",
    }
}

impl CommandResult for Listed {
    fn text(&self) -> String {
        let last = LastChange::text(self.changed_last.as_ref());
        match self.entries.as_slice() {
            [] => "Nobody is on a list.".to_owned(),
            entries => format!("{}\n\n{} entries. {last}", lines(entries), entries.len()),
        }
    }
}
