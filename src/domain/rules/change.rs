//! Changes of limit rules, as settings and operators write them. Absent fields stay as they are;
//! an invalid result is refused.

use serde::{Deserialize, Serialize};

use super::{Counting, Limit, Mode, Place, RouteClass, Rule, Scope, WhenRedisIsAway};

/// Most rules of one policy: each has a cost on every request.
pub const RULES_MAX: usize = 32;
/// Highest quota of a window: its log has an entry per request.
pub const QUOTA_MAX: u32 = 10_000;
/// Longest window, seconds.
pub const WINDOW_SECONDS_MAX: u32 = 7 * 86_400;
/// Highest rate and burst.
pub const RATE_MAX: u32 = 1_000_000;
/// Bytes of a rule's name.
pub const RULE_NAME_BYTES_MAX: usize = 40;
/// A change of one rule, or a new rule. Absent fields stay as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RuleChange {
    /// The rule's name.
    pub name: String,
    /// Whose requests are counted together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// The classes of requests it counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub routes: Option<Vec<RouteClass>>,
    /// What it counts of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counts: Option<Counting>,
    /// Requests in a window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota: Option<u32>,
    /// The window, seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window_seconds: Option<u32>,
    /// Requests a second; with `burst`, instead of `quota` and `window_seconds`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_second: Option<u32>,
    /// Requests at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
    /// What happens beyond the limit: everywhere, including loopback.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Where it counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// Its behaviour while Redis is away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when_redis_is_away: Option<WhenRedisIsAway>,
}

/// An invalid rule; the text explains how to mend it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("rule {name:?}: {reason}")]
pub struct RuleError {
    /// The rule's name.
    pub name: String,
    /// The fault, and how to mend it.
    pub reason: String,
}

impl RuleChange {
    /// Applies this change to a rule; `before` is `None` for a new one.
    ///
    /// # Errors
    /// If the result is incomplete, out of bounds, or counts in the wrong place.
    pub fn apply(&self, before: Option<&Rule>) -> Result<Rule, RuleError> {
        let wrong = |reason: String| RuleError { name: self.name.clone(), reason };
        check_name(&self.name).map_err(|reason| wrong(reason.to_owned()))?;
        let missing = |what| wrong(format!("is new and needs {what}"));
        let scope =
            self.scope.or(before.map(|rule| rule.scope)).ok_or_else(|| missing("a scope"))?;
        let routes = self.routes.clone().or(before.map(|rule| rule.routes.clone()));
        let routes = routes.ok_or_else(|| missing("routes"))?;
        let limit = self.limit(before.map(|rule| rule.limit)).map_err(wrong)?;
        let place = self.place.or(before.map(|rule| rule.place)).unwrap_or(Place::Redis);
        let is_rate = matches!(limit, Limit::Rate { .. });
        let counting = self.counts.or(before.map(|rule| rule.counting));
        let counting = counting.unwrap_or(Counting::Requests);
        if place == Place::Process && (!is_rate || scope == Scope::UserEvent) {
            let reason = "counts in each process, which only rates of addresses and users can: \
                set place to redis";
            return Err(wrong(reason.to_owned()));
        }
        let about_holds = routes.iter().all(|route| *route == RouteClass::Hold);
        if counting == Counting::Grants && (is_rate || !about_holds) {
            let reason = "counts grants, which only a quota of holds can: set routes to hold, and \
                quota and window_seconds";
            return Err(wrong(reason.to_owned()));
        }
        let mode = self.mode.or(before.map(|rule| rule.mode)).unwrap_or(Mode::Enforce);
        Ok(Rule {
            name: self.name.clone(),
            scope,
            routes,
            counting,
            limit,
            mode,
            mode_on_loopback: match self.mode {
                Some(_) => None,
                None => before.and_then(|rule| rule.mode_on_loopback),
            },
            place,
            when_redis_is_away: self
                .when_redis_is_away
                .or(before.map(|rule| rule.when_redis_is_away))
                .unwrap_or(WhenRedisIsAway::Local),
            forgiven_by_booking: before.is_some_and(|rule| rule.forgiven_by_booking),
            detail: before.and_then(|rule| rule.detail.clone()),
        })
    }

    /// Merges a later change of the same rule into this one.
    pub fn merge(&mut self, above: RuleChange) {
        // One kind of limit replaces the other.
        if above.quota.or(above.window_seconds).is_some() {
            (self.per_second, self.burst) = (None, None);
        }
        if above.per_second.or(above.burst).is_some() {
            (self.quota, self.window_seconds) = (None, None);
        }
        self.scope = above.scope.or(self.scope);
        self.routes = above.routes.or(self.routes.take());
        self.counts = above.counts.or(self.counts);
        self.quota = above.quota.or(self.quota);
        self.window_seconds = above.window_seconds.or(self.window_seconds);
        self.per_second = above.per_second.or(self.per_second);
        self.burst = above.burst.or(self.burst);
        self.mode = above.mode.or(self.mode);
        self.place = above.place.or(self.place);
        self.when_redis_is_away = above.when_redis_is_away.or(self.when_redis_is_away);
    }

    fn limit(&self, before: Option<Limit>) -> Result<Limit, String> {
        let window = self.quota.is_some() || self.window_seconds.is_some();
        let rate = self.per_second.is_some() || self.burst.is_some();
        let both = "needs `quota` and `window_seconds`, or `per_second` and `burst`";
        let bounded = |what: &str, value: u32, max: u32| {
            let fits = (1..=max).contains(&value);
            if fits { Ok(value) } else { Err(format!("has {what} {value}: 1 to {max} will do")) }
        };
        match (window, rate, before) {
            (true, true, _) => Err(format!("{both}, not all of them")),
            (false, false, Some(limit)) => Ok(limit),
            (false, false, None) => Err(both.to_owned()),
            (true, false, before) => {
                let (quota, window_ms) = match before {
                    Some(Limit::Window { quota, window_ms }) => (Some(quota), Some(window_ms)),
                    _ => (None, None),
                };
                let quota = self.quota.or(quota).ok_or(both)?;
                let window_ms = match self.window_seconds {
                    Some(seconds) => {
                        let seconds = bounded("window_seconds", seconds, WINDOW_SECONDS_MAX)?;
                        u64::from(seconds) * 1_000
                    }
                    None => window_ms.ok_or(both)?,
                };
                Ok(Limit::Window { quota: bounded("quota", quota, QUOTA_MAX)?, window_ms })
            }
            (false, true, before) => {
                let (rate, burst) = match before {
                    Some(Limit::Rate { per_second, burst }) => (Some(per_second), Some(burst)),
                    _ => (None, None),
                };
                Ok(Limit::Rate {
                    per_second: bounded(
                        "per_second",
                        self.per_second.or(rate).ok_or(both)?,
                        RATE_MAX,
                    )?,
                    burst: bounded("burst", self.burst.or(burst).ok_or(both)?, RATE_MAX)?,
                })
            }
        }
    }
}

fn check_name(name: &str) -> Result<(), &'static str> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if name.is_empty() || name.len() > RULE_NAME_BYTES_MAX || !name.chars().all(plain) {
        return Err("a name is 1 to 40 small letters, digits and `_`");
    }
    Ok(())
}

/// Applies changes to rules, in order.
///
/// # Errors
/// The first invalid change.
pub fn changed(mut rules: Vec<Rule>, changes: &[RuleChange]) -> Result<Vec<Rule>, RuleError> {
    for change in changes {
        let at = rules.iter().position(|rule| rule.name == change.name);
        let rule = change.apply(at.map(|at| &rules[at]))?;
        match at {
            Some(at) => rules[at] = rule,
            None if rules.len() >= RULES_MAX => {
                let reason = format!("is one more than the {RULES_MAX} that there can be");
                return Err(RuleError { name: change.name.clone(), reason });
            }
            None => rules.push(rule),
        }
    }
    Ok(rules)
}

#[cfg(test)]
mod tests {
    use super::super::shipped;
    use super::*;

    fn named(name: &str) -> RuleChange {
        RuleChange { name: name.to_owned(), ..RuleChange::default() }
    }

    #[test]
    fn change_keeps_absent_fields() {
        let change = RuleChange { quota: Some(3), ..named("seat_map") };
        let rules = changed(shipped(), &[change]).unwrap();
        let rule = rules.iter().find(|rule| rule.name == "seat_map").unwrap();
        assert_eq!(rule.limit, Limit::Window { quota: 3, window_ms: 60_000 });
        assert_eq!((rule.mode, rule.limit.share()), (Mode::Enforce, 1));
        assert_eq!(rules.len(), shipped().len());
    }

    #[test]
    fn changed_mode_applies_on_loopback_too() {
        let change = RuleChange { mode: Some(Mode::Enforce), ..named("per_address") };
        let rules = changed(shipped(), &[change]).unwrap();
        assert_eq!((rules[0].mode, rules[0].mode_on_loopback), (Mode::Enforce, None));
    }

    #[test]
    fn invalid_rule_is_refused_with_the_remedy() {
        let whole = RuleChange {
            scope: Some(Scope::User),
            routes: Some(vec![RouteClass::Hold]),
            quota: Some(1),
            window_seconds: Some(1),
            ..named("mine")
        };
        assert!(changed(shipped(), std::slice::from_ref(&whole)).is_ok());
        type Break = fn(&mut RuleChange);
        let cases: [(Break, &str); 10] = [
            (|c| c.name = "Mine!".into(), "small letters"),
            (|c| c.scope = None, "needs a scope"),
            (|c| c.routes = None, "needs routes"),
            (|c| c.quota = None, "needs `quota` and `window_seconds`"),
            (|c| c.quota = Some(0), "1 to 10000 will do"),
            (|c| c.burst = Some(1), "not all of them"),
            (|c| c.place = Some(Place::Process), "set place to redis"),
            (
                |c| {
                    (c.scope, c.place) = (Some(Scope::UserEvent), Some(Place::Process));
                    (c.quota, c.window_seconds) = (None, None);
                    (c.per_second, c.burst) = (Some(1), Some(1));
                },
                "set place to redis",
            ),
            (
                |c| {
                    c.counts = Some(Counting::Grants);
                    c.routes = Some(vec![RouteClass::Hold, RouteClass::Seats]);
                },
                "set routes to hold",
            ),
            (
                |c| {
                    c.counts = Some(Counting::Grants);
                    (c.quota, c.window_seconds) = (None, None);
                    (c.per_second, c.burst) = (Some(1), Some(1));
                },
                "only a quota of holds",
            ),
        ];
        for (break_it, expected) in cases {
            let mut change = whole.clone();
            break_it(&mut change);
            let error = changed(shipped(), &[change]).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let many: Vec<_> =
            (0..RULES_MAX).map(|n| RuleChange { name: format!("r{n}"), ..whole.clone() }).collect();
        assert!(changed(shipped(), &many).unwrap_err().to_string().contains("one more than"));
    }

    #[test]
    fn later_kind_of_limit_replaces_earlier() {
        let mut change = RuleChange { quota: Some(5), window_seconds: Some(9), ..named("r") };
        change.merge(RuleChange { per_second: Some(1), burst: Some(2), ..named("r") });
        let expected = RuleChange { per_second: Some(1), burst: Some(2), ..named("r") };
        assert_eq!(change, expected);
    }
}
