//! Operators' changes at run time, and validation of the result. Each change is idempotent.

use super::RuleChange;
use super::policy::{ACCESS_ENTRIES_MAX, AccessEntry, BasePolicy, LivePolicy, Policy, Who};
use super::rules::RuleError;

/// An invalid policy; the text explains how to mend it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// A rule is invalid.
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// The lists are too long.
    #[error(
        "the lists would have {0} entries, {ACCESS_ENTRIES_MAX} at most: remove some, or name \
         networks instead of addresses"
    )]
    TooManyEntries(usize),
}

impl LivePolicy {
    /// The policy that results from these changes of the settings' own.
    ///
    /// # Errors
    /// If it is invalid.
    pub fn above(&self, base: &BasePolicy) -> Result<Policy, PolicyError> {
        if self.access.len() > ACCESS_ENTRIES_MAX {
            return Err(PolicyError::TooManyEntries(self.access.len()));
        }
        Ok(Policy::new(base, self)?)
    }

    /// The change of a rule.
    pub fn rule(&self, name: &str) -> Option<&RuleChange> {
        self.rules.iter().find(|change| change.name == name)
    }

    /// Changes a rule, on top of earlier changes.
    pub fn set_rule(&mut self, change: RuleChange) {
        match self.rules.iter_mut().find(|before| before.name == change.name) {
            Some(before) => before.merge(change),
            None => self.rules.push(change),
        }
    }

    /// Removes a rule's changes; false if there are none.
    pub fn reset_rule(&mut self, name: &str) -> bool {
        let before = self.rules.len();
        self.rules.retain(|change| change.name != name);
        self.rules.len() < before
    }

    /// Removes everything but the lists.
    pub fn reset(&mut self) {
        let (revision, access) = (self.revision, std::mem::take(&mut self.access));
        *self = LivePolicy { revision, access, ..LivePolicy::default() };
    }

    /// Adds an entry to its list, in place of any other for the same subject.
    pub fn put_entry(&mut self, entry: AccessEntry) {
        match self.access.iter_mut().find(|before| before.who == entry.who) {
            Some(before) => *before = entry,
            None => self.access.push(entry),
        }
    }

    /// Removes an entry from its list; false if there is none.
    pub fn remove_entry(&mut self, who: &Who) -> bool {
        let before = self.access.len();
        self.access.retain(|entry| entry.who != *who);
        self.access.len() < before
    }

    /// Removes expired entries.
    pub fn drop_ended(&mut self, now_ms: i64) {
        self.access.retain(|entry| entry.is_current(now_ms));
    }
}

impl AccessEntry {
    /// Whether it has not expired.
    pub fn is_current(&self, now_ms: i64) -> bool {
        self.until_ms.is_none_or(|until_ms| now_ms < until_ms)
    }

    /// Whether it covers this subject: a network covers all networks within it.
    pub fn is_about(&self, who: &Who) -> bool {
        match (&self.who, who) {
            (Who::Network(network), Who::Network(other)) => network.holds(other),
            (own, other) => own == other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Mode;
    use crate::domain::policy::{Access, AllRules, BotRules, Profile};

    fn entry(who: &str, access: Access, until_ms: Option<i64>) -> AccessEntry {
        let who = who.parse().unwrap();
        AccessEntry { who, access, until_ms, reason: "r".into(), by: "b".into(), at_ms: 1 }
    }

    #[test]
    fn later_entry_replaces_earlier() {
        let mut live = LivePolicy::default();
        live.put_entry(entry("10.0.0.1", Access::Deny, None));
        live.put_entry(entry("::ffff:10.0.0.1", Access::Allow, Some(5)));
        assert_eq!(live.access, [entry("10.0.0.1/32", Access::Allow, Some(5))]);
        live.drop_ended(4);
        assert_eq!(live.access.len(), 1);
        live.drop_ended(5);
        assert_eq!(live.access, []);
        live.put_entry(entry("user:ann", Access::Deny, None));
        assert!(!live.remove_entry(&"user:bob".parse().unwrap()));
        assert!(live.remove_entry(&"user:ann".parse().unwrap()));
    }

    #[test]
    fn reset_keeps_the_lists() {
        let change = |quota| RuleChange {
            name: "requests".into(),
            quota: Some(quota),
            ..RuleChange::default()
        };
        let mut live = LivePolicy { revision: 3, ..LivePolicy::default() };
        live.put_entry(entry("user:ann", Access::Deny, None));
        live.set_rule(change(1));
        live.set_rule(change(2));
        assert_eq!(live.rule("requests"), Some(&change(2)));
        assert!(live.reset_rule("requests") && !live.reset_rule("requests"));
        live.set_rule(change(3));
        live.reset();
        assert_eq!((live.revision, live.rules.len(), live.access.len()), (3, 0, 1));
    }

    #[test]
    fn lists_are_bounded() {
        let base = BasePolicy {
            profile: Profile::Standard,
            all_rules: AllRules::Each,
            rules: Vec::new(),
            bots: BotRules {
                mode: Mode::Off,
                mode_on_loopback: None,
                user_agents: Vec::new(),
                required_headers: Vec::new(),
            },
        };
        let mut live = LivePolicy::default();
        let user = |n| entry(&format!("user:{n}"), Access::Deny, None);
        live.access.extend((0..ACCESS_ENTRIES_MAX).map(user));
        assert!(live.above(&base).is_ok());
        live.put_entry(user(ACCESS_ENTRIES_MAX));
        assert!(live.above(&base).unwrap_err().to_string().contains("10001 entries"));
    }

    #[test]
    fn entry_covers_all_networks_within_it() {
        for (own, other, is_about) in [
            ("10.0.0.0/8", "10.1.2.3", true),
            ("10.0.0.0/8", "10.0.0.0/7", false),
            ("10.1.2.3", "10.0.0.0/8", false),
            ("10.0.0.0/8", "::1", false),
            ("2001:db8::/32", "2001:db8:1::/48", true),
            ("user:ann", "user:ann", true),
            ("user:ann", "user:anna", false),
            ("0.0.0.0/0", "user:ann", false),
        ] {
            let entry = entry(own, Access::Deny, None);
            assert_eq!(entry.is_about(&other.parse().unwrap()), is_about, "{own} {other}");
        }
        for bad in ["ann", "user:", "10.0.0.0/33", "user:a\tb"] {
            assert!(bad.parse::<Who>().is_err(), "{bad}");
        }
    }
}
