//! `access`: who is denied, and who is exempt from the rules.

mod change;
mod list;

use std::process::ExitCode;

use crate::config::Config;
use crate::domain::policy::Access;

use super::failure::Failure;
use super::output::Output;

#[derive(clap::Subcommand, Debug)]
pub(super) enum Command {
    List(list::Arguments),
    /// Deny addresses, networks or users
    ///
    /// All their requests to /api/v1 are refused with 403, including admin calls; this tool is not
    /// affected. An entry replaces one for the same address, network or user. An address that is in
    /// a denied and in an allowed network is allowed. The client's address is the one reported by
    /// trusted proxies (`trusted_proxies`).
    #[command(after_help = "Examples:
  holdfastctl access deny 203.0.113.7 --for 2h --reason 'scraping seat maps'
  holdfastctl access deny 2001:db8:1:2::/64 198.51.100.0/24 --reason 'known bot farm'
  holdfastctl access deny user:u-4711 --reason 'chargebacks' --by ann")]
    Deny(change::AddEntries),
    /// Exempt addresses, networks or users from limits and bot rules
    ///
    /// For a box office, a partner's programs, a load test. A user is trusted only as far as `auth`
    /// says. A denied user stays denied at an allowed address, and vice versa.
    #[command(after_help = "Examples:
  holdfastctl access allow 192.0.2.10 --reason 'box office'
  holdfastctl access allow user:load-test --for 30m --reason 'rehearsal'")]
    Allow(change::AddEntries),
    Remove(change::Remove),
}

impl Command {
    /// The act for the audit log.
    pub(super) fn changes(&self) -> Option<(&'static str, String)> {
        let act = match self {
            Command::List(_) => return None,
            Command::Deny(_) => "access deny",
            Command::Allow(_) => "access allow",
            Command::Remove(_) => "access remove",
        };
        Some((act, "policy".to_owned()))
    }

    pub(super) async fn run(self, config: &Config, output: &Output) -> Result<ExitCode, Failure> {
        match self {
            Command::List(arguments) => output.show(&arguments.run(config).await?),
            Command::Deny(put) => output.show(&put.run(config, Access::Deny).await?),
            Command::Allow(put) => output.show(&put.run(config, Access::Allow).await?),
            Command::Remove(remove) => output.show(&remove.run(config).await?),
        }
    }
}
