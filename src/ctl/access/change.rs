//! `access deny`, `allow` and `remove`.

use serde::Serialize;

use super::list::{Line, lines};
use crate::config::Config;
use crate::ctl::failure::Failure;
use crate::ctl::output::CommandResult;
use crate::ctl::policy::{ChangeResult, open_for_changing};
use crate::ctl::time::parse_span;
use crate::domain::limits::REASON_BYTES_MAX;
use crate::domain::policy::{ACCESS_ENTRIES_MAX, Access, AccessEntry, Who};
use crate::domain::{Network, UserId};

/// Most bits of an IPv6 address that one client controls.
const CLIENT_BITS_IPV6: u8 = 64;

#[derive(clap::Args, Debug)]
pub(in crate::ctl) struct AddEntries {
    /// Addresses, networks, or users as user:ID
    #[arg(required = true, value_parser = parse_some, num_args = 1..=ACCESS_ENTRIES_MAX)]
    who: Vec<Who>,
    /// Duration, as 30m, 2h or 7d; without it until it is removed
    #[arg(long = "for", value_name = "TIME", value_parser = parse_span)]
    for_ms: Option<i64>,
    /// Reason
    #[arg(long, value_name = "TEXT", value_parser = parse_reason)]
    reason: String,
    /// Name of the operator
    #[arg(long, value_name = "NAME", env = "USER", default_value = "holdfastctl")]
    by: UserId,
}

/// Parses the subject of an entry; everybody is not allowed.
fn parse_some(text: &str) -> Result<Who, String> {
    let who: Who = text.parse()?;
    match who {
        Who::Network(network) if network.prefix_bits() == 0 => Err(format!(
            "{text} is everybody: to stop a sale pause its event, to let everybody through use \
             `limits mode off`"
        )),
        who => Ok(who),
    }
}

fn parse_reason(text: &str) -> Result<String, String> {
    let fits = (1..=REASON_BYTES_MAX).contains(&text.len());
    match fits && !text.chars().any(char::is_control) {
        true => Ok(text.to_owned()),
        false => Err(format!("give 1 to {REASON_BYTES_MAX} bytes on one line")),
    }
}

/// The added entries.
#[derive(Serialize)]
pub(super) struct EntriesAdded {
    #[serde(flatten)]
    done: ChangeResult,
    revision: i64,
    entries: Vec<Line>,
    /// Hints at what the operator may have meant.
    notes: Vec<String>,
}

impl AddEntries {
    pub(super) async fn run(
        self,
        config: &Config,
        access: Access,
    ) -> Result<EntriesAdded, Failure> {
        let store = open_for_changing(config).await?;
        let at_ms = jiff::Timestamp::now().as_millisecond();
        let entry = |who: &Who| AccessEntry {
            who: who.clone(),
            access,
            until_ms: self.for_ms.map(|for_ms| at_ms + for_ms),
            reason: self.reason.clone(),
            by: self.by.to_string(),
            at_ms,
        };
        let entries: Vec<AccessEntry> = self.who.iter().map(entry).collect();
        let base = config.base_policy();
        let put = store.change(self.by.as_str(), Some(&base), |live| {
            entries.iter().cloned().for_each(|entry| live.put_entry(entry));
            Ok(())
        });
        let changed = put.await?;
        Ok(EntriesAdded {
            done: ChangeResult::from(&changed),
            revision: changed.stored.live.revision,
            entries: entries.iter().map(Line::from).collect(),
            notes: self.who.iter().filter_map(|who| note(who, access)).collect(),
        })
    }
}

/// The hint for a single IPv6 address: rarely what is meant.
fn note(who: &Who, access: Access) -> Option<String> {
    match who {
        Who::Network(network)
            if access == Access::Deny
                && !network.is_ipv4()
                && network.prefix_bits() > CLIENT_BITS_IPV6 =>
        {
            let whole = Network::of(network.base(), CLIENT_BITS_IPV6);
            Some(format!(
                "{network} is a part of what an IPv6 client has for itself: to keep the client out, \
                 deny {whole}"
            ))
        }
        _ => None,
    }
}

impl CommandResult for EntriesAdded {
    fn text(&self) -> String {
        let notes: String = self.notes.iter().map(|note| format!("\n{note}")).collect();
        format!("{}\n\n{}{notes}", self.done.text(), lines(&self.entries))
    }
}

/// Remove addresses, networks or users from the lists
///
/// Entries are removed as they were added: removing an address keeps the network that contains it.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  holdfastctl access remove 203.0.113.7 user:u-4711")]
pub(in crate::ctl) struct Remove {
    /// Addresses, networks, or users as user:ID
    #[arg(required = true, num_args = 1..=ACCESS_ENTRIES_MAX)]
    who: Vec<Who>,
    /// Name of the operator
    #[arg(long, value_name = "NAME", env = "USER", default_value = "holdfastctl")]
    by: UserId,
}

/// The removed entries.
#[derive(Serialize)]
pub(super) struct Removed {
    #[serde(flatten)]
    done: ChangeResult,
    revision: i64,
    /// Remaining entries that still apply to the named subjects.
    entries: Vec<Line>,
}

impl Remove {
    pub(super) async fn run(self, config: &Config) -> Result<Removed, Failure> {
        let store = open_for_changing(config).await?;
        let remove = store.change(self.by.as_str(), None, |live| {
            for who in &self.who {
                live.remove_entry(who);
            }
            Ok(())
        });
        let changed = remove.await?;
        let now_ms = jiff::Timestamp::now().as_millisecond();
        let left = |entry: &&AccessEntry| {
            entry.is_current(now_ms) && self.who.iter().any(|who| entry.is_about(who))
        };
        Ok(Removed {
            done: ChangeResult::from(&changed),
            revision: changed.stored.live.revision,
            entries: changed.stored.live.access.iter().filter(left).map(Line::from).collect(),
        })
    }
}

impl CommandResult for Removed {
    fn text(&self) -> String {
        match self.entries.as_slice() {
            [] => self.done.text(),
            left => format!(
                "{}\n\nThese are left and say something about them:\n\n{}",
                self.done.text(),
                lines(left)
            ),
        }
    }
}
