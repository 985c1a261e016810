//! `access`: who is kept out, and who is let through whatever the rules say.

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
    /// Keep addresses, networks or users out
    ///
    /// They are refused with 403 whatever they ask of /api/v1, admin calls included; this tool is
    /// not. An entry takes the place of one for the same address, network or user. Where an address
    /// lies in a denied and in an allowed network, it is allowed. The client's address is what trusted
    /// proxies say it is (`trusted_proxies`).
    #[command(after_help = "Examples:
  holdfastctl access deny 203.0.113.7 --for 2h --reason 'scraping seat maps'
  holdfastctl access deny 2001:db8:1:2::/64 198.51.100.0/24 --reason 'known bot farm'
  holdfastctl access deny user:u-4711 --reason 'chargebacks' --by ann")]
    Deny(change::Put),
    /// Let addresses, networks or users through, whatever limits and bot rules say
    ///
    /// For a box office, a partner's programs, a load test. A user is believed only as far as `auth`
    /// says. Who is denied as a user stays out at an allowed address, and the other way round.
    #[command(after_help = "Examples:
  holdfastctl access allow 192.0.2.10 --reason 'box office'
  holdfastctl access allow user:load-test --for 30m --reason 'rehearsal'")]
    Allow(change::Put),
    Remove(change::Remove),
}

impl Command {
    /// What it changes.
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
