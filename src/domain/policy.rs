//! The gates' policy: limit rules, bot rules and access lists. Operators' changes at run time
//! override the settings' own policy.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::rules::{self, Mode, Rule, RuleChange, RuleError};
use super::{Network, UserId};

/// Most entries of both lists together.
pub const ACCESS_ENTRIES_MAX: usize = 10_000;
/// Most patterns of user agents.
pub const USER_AGENTS_MAX: usize = 100;

/// How strict the shipped rules are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Each rule as it is shipped.
    #[default]
    Standard,
    /// Every rule enforced.
    Strict,
}

/// A mode for all rules at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AllRules {
    /// Each rule has its own mode.
    #[default]
    Each,
    /// All are enforced.
    Enforce,
    /// All are observed.
    Observe,
    /// All are off.
    Off,
}

impl AllRules {
    fn mode(self) -> Option<Mode> {
        match self {
            AllRules::Each => None,
            AllRules::Enforce => Some(Mode::Enforce),
            AllRules::Observe => Some(Mode::Observe),
            AllRules::Off => Some(Mode::Off),
        }
    }
}

/// The rules that recognize automated clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BotRules {
    /// What happens to them.
    pub mode: Mode,
    /// The same for callers on this machine, with `auth = "trusted"`.
    pub mode_on_loopback: Option<Mode>,
    /// Regular expressions of user agents, case-insensitive.
    pub user_agents: Vec<String>,
    /// Headers that every honest client sends.
    pub required_headers: Vec<String>,
}

/// The settings' own policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BasePolicy {
    /// How strict the shipped rules are.
    pub profile: Profile,
    /// A mode for all rules at once.
    pub all_rules: AllRules,
    /// Changes of shipped rules, and further rules.
    pub rules: Vec<RuleChange>,
    /// The rules for automated clients.
    pub bots: BotRules,
}

/// The subject of a list entry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Who {
    /// All addresses of a network.
    Network(Network),
    /// A user.
    User(UserId),
}

/// The prefix of a user's id, which distinguishes it from a network.
const USER_PREFIX: &str = "user:";

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Who::User(user) => write!(f, "{USER_PREFIX}{user}"),
            Who::Network(network) => network.fmt(f),
        }
    }
}

impl FromStr for Who {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(user) = text.strip_prefix(USER_PREFIX) {
            return user.parse().map(Who::User).map_err(|error| format!("{text:?}: {error}"));
        }
        text.parse().map(Who::Network).map_err(|_| {
            format!("{text:?} is no address (10.1.2.3), network (10.0.0.0/8) or user:ID")
        })
    }
}

/// The list of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Every request is refused.
    Deny,
    /// Neither limits nor bot rules apply.
    Allow,
}

/// One entry of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessEntry {
    /// The network or user.
    pub who: Who,
    /// The list.
    pub access: Access,
    /// When it expires, Unix ms; `None` is never.
    pub until_ms: Option<i64>,
    /// The reason.
    pub reason: String,
    /// The operator who made it.
    pub by: String,
    /// When it was made, Unix ms.
    pub at_ms: i64,
}

/// Operators' changes at run time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LivePolicy {
    /// Incremented by each change; 0 if there is none.
    pub revision: i64,
    /// Overrides the settings' profile.
    pub profile: Option<Profile>,
    /// Overrides the settings' mode of all rules.
    pub all_rules: Option<AllRules>,
    /// Changes of rules, one per rule.
    pub rules: Vec<RuleChange>,
    /// Overrides the mode of the bot rules.
    pub bots_mode: Option<Mode>,
    /// Both lists.
    pub access: Vec<AccessEntry>,
}

/// The policy in force.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The revision of the operators' changes.
    pub revision: i64,
    /// How strict the rules are.
    pub profile: Profile,
    /// A mode for all rules at once.
    pub all_rules: AllRules,
    /// The rules, in order.
    pub rules: Vec<Rule>,
    /// The rules for automated clients.
    pub bots: BotRules,
    access: AccessLists,
}

impl Policy {
    /// Applies the operators' changes to the settings' policy.
    ///
    /// # Errors
    /// If a rule is invalid.
    pub fn new(base: &BasePolicy, live: &LivePolicy) -> Result<Self, RuleError> {
        let rules = rules::changed(rules::shipped(), &base.rules)?;
        let rules = rules::changed(rules, &live.rules)?;
        let mut bots = base.bots.clone();
        if let Some(mode) = live.bots_mode {
            (bots.mode, bots.mode_on_loopback) = (mode, None);
        }
        Ok(Policy {
            revision: live.revision,
            profile: live.profile.unwrap_or(base.profile),
            all_rules: live.all_rules.unwrap_or(base.all_rules),
            rules,
            bots,
            access: AccessLists::new(&live.access),
        })
    }

    /// The mode of a rule for a caller; `on_loopback` is one on this machine with
    /// `auth = "trusted"`.
    pub fn mode_of(&self, rule: &Rule, on_loopback: bool) -> Mode {
        self.mode(rule.mode, rule.mode_on_loopback, on_loopback)
    }

    /// The mode of the bot rules for a caller.
    pub fn bots_mode(&self, on_loopback: bool) -> Mode {
        self.mode(self.bots.mode, self.bots.mode_on_loopback, on_loopback)
    }

    fn mode(&self, mode: Mode, mode_on_loopback: Option<Mode>, on_loopback: bool) -> Mode {
        if let Some(mode) = self.all_rules.mode() {
            return mode;
        }
        match (self.profile, mode_on_loopback) {
            (Profile::Strict, _) => Mode::Enforce,
            (Profile::Standard, Some(mode)) if on_loopback => mode,
            (Profile::Standard, _) => mode,
        }
    }

    /// The list that an address is on; `now_ms` is called only where an entry expires.
    pub fn access_of_address(&self, address: IpAddr, now_ms: impl Fn() -> i64) -> Option<Access> {
        self.access.of_address(address, now_ms)
    }

    /// The list that a user is on.
    pub fn access_of_user(&self, user: &UserId, now_ms: impl Fn() -> i64) -> Option<Access> {
        strongest(self.access.users.get(user)?, now_ms)
    }
}

/// The lists of one network or user, each with its expiry.
type Said = Vec<(Access, Option<i64>)>;

/// The lists, indexed: one lookup per prefix length that occurs.
#[derive(Clone, Debug, Default)]
struct AccessLists {
    users: HashMap<UserId, Said>,
    networks: HashMap<Network, Said>,
    lengths_ipv4: Vec<u8>,
    lengths_ipv6: Vec<u8>,
}

impl AccessLists {
    fn new(entries: &[AccessEntry]) -> Self {
        let mut lists = AccessLists::default();
        let mut lengths = HashSet::new();
        for entry in entries {
            let said = match &entry.who {
                Who::User(user) => lists.users.entry(user.clone()).or_default(),
                Who::Network(network) => {
                    lengths.insert((network.is_ipv4(), network.prefix_bits()));
                    lists.networks.entry(*network).or_default()
                }
            };
            said.push((entry.access, entry.until_ms));
        }
        for (is_ipv4, bits) in lengths {
            let lengths = if is_ipv4 { &mut lists.lengths_ipv4 } else { &mut lists.lengths_ipv6 };
            lengths.push(bits);
        }
        lists
    }

    fn of_address(&self, address: IpAddr, now_ms: impl Fn() -> i64) -> Option<Access> {
        let address = address.to_canonical();
        let lengths = if address.is_ipv4() { &self.lengths_ipv4 } else { &self.lengths_ipv6 };
        let said =
            lengths.iter().filter_map(|bits| self.networks.get(&Network::of(address, *bits)));
        let said: Vec<_> = said.filter_map(|said| strongest(said, &now_ms)).collect();
        // A network may be denied but for one address in it: allowing is the exception.
        said.contains(&Access::Allow).then_some(Access::Allow).or_else(|| said.first().copied())
    }
}

/// Allowing takes precedence over denying.
fn strongest(said: &Said, now_ms: impl Fn() -> i64) -> Option<Access> {
    let current = |until: Option<i64>| until.is_none_or(|until| now_ms() < until);
    let mut found = None;
    for (access, until) in said {
        if current(*until) && found != Some(Access::Allow) {
            found = Some(*access);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> BasePolicy {
        BasePolicy {
            profile: Profile::Standard,
            all_rules: AllRules::Each,
            rules: Vec::new(),
            bots: BotRules {
                mode: Mode::Enforce,
                mode_on_loopback: Some(Mode::Observe),
                user_agents: Vec::new(),
                required_headers: Vec::new(),
            },
        }
    }

    fn entry(who: Who, access: Access, until_ms: Option<i64>) -> AccessEntry {
        AccessEntry { who, access, until_ms, reason: String::new(), by: String::new(), at_ms: 0 }
    }

    fn network(text: &str) -> Who {
        Who::Network(text.parse().unwrap())
    }

    #[test]
    fn mode_follows_precedence() {
        let mode = |base: &BasePolicy, live: &LivePolicy, name: &str, on_loopback| {
            let policy = Policy::new(base, live).unwrap();
            let rule = policy.rules.iter().find(|rule| rule.name == name).unwrap().clone();
            policy.mode_of(&rule, on_loopback)
        };
        let (plain, none) = (base(), LivePolicy::default());
        assert_eq!(mode(&plain, &none, "per_address", true), Mode::Observe);
        assert_eq!(mode(&plain, &none, "per_address", false), Mode::Enforce);
        assert_eq!(mode(&plain, &none, "seat_probing", false), Mode::Observe);
        assert_eq!(mode(&plain, &none, "requests", true), Mode::Enforce);
        let strict = BasePolicy { profile: Profile::Strict, ..base() };
        assert_eq!(mode(&strict, &none, "per_address", true), Mode::Enforce);
        assert_eq!(mode(&strict, &none, "seat_probing", true), Mode::Enforce);
        let off = BasePolicy { all_rules: AllRules::Off, ..strict };
        assert_eq!(mode(&off, &none, "requests", false), Mode::Off);
        let each = LivePolicy { all_rules: Some(AllRules::Each), ..LivePolicy::default() };
        assert_eq!(mode(&off, &each, "seat_probing", false), Mode::Enforce);
        assert_eq!(Policy::new(&plain, &none).unwrap().bots_mode(true), Mode::Observe);
        let bots = LivePolicy { bots_mode: Some(Mode::Off), ..LivePolicy::default() };
        assert_eq!(Policy::new(&plain, &bots).unwrap().bots_mode(true), Mode::Off);
    }

    #[test]
    fn address_is_found_by_its_networks() {
        let access = vec![
            entry(network("10.0.0.0/8"), Access::Deny, None),
            entry(network("10.1.1.1"), Access::Allow, None),
            entry(network("2001:db8::/32"), Access::Deny, Some(100)),
            entry(Who::User("eve".parse().unwrap()), Access::Deny, None),
        ];
        let policy = Policy::new(&base(), &LivePolicy { access, ..Default::default() }).unwrap();
        for (address, now_ms, expected) in [
            ("10.9.9.9", 0, Some(Access::Deny)),
            ("::ffff:10.9.9.9", 0, Some(Access::Deny)),
            ("10.1.1.1", 0, Some(Access::Allow)),
            ("11.0.0.1", 0, None),
            ("2001:db8:1::1", 99, Some(Access::Deny)),
            ("2001:db8:1::1", 100, None),
        ] {
            let access = policy.access_of_address(address.parse().unwrap(), || now_ms);
            assert_eq!(access, expected, "{address}");
        }
        assert_eq!(policy.access_of_user(&"eve".parse().unwrap(), || 0), Some(Access::Deny));
        assert_eq!(policy.access_of_user(&"ann".parse().unwrap(), || 0), None);
    }
}
