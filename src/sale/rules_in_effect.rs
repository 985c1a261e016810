//! The limit and bot rules as they are in effect, and where each value comes from.

use serde::Serialize;

use crate::archive::StoredPolicy;
use crate::domain::policy::{AllRules, BasePolicy, LivePolicy, Profile};
use crate::domain::{
    Counting, Limit, Mode, Place, Policy, RouteClass, Rule, RuleChange, Scope, WhenRedisIsAway,
};

/// The source of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// Holdfast's default.
    Shipped,
    /// The settings.
    Settings,
    /// A change at run time.
    Operator,
    /// `limits`, for all rules.
    Limits,
    /// `profile`, for all rules.
    Profile,
}

/// A value and its source.
#[derive(Clone, Debug, Serialize)]
pub struct Sourced<T> {
    /// The value.
    pub value: T,
    /// Its source.
    pub from: Source,
}

/// The rules in effect.
#[derive(Clone, Debug, Serialize)]
pub struct RulesInEffect {
    /// Why the operators' changes are not in effect.
    pub problem: Option<String>,
    /// The mode of all rules at once.
    pub limits: Sourced<AllRules>,
    /// How strict the rules are.
    pub profile: Sourced<Profile>,
    /// How programs are treated.
    pub bots: Sourced<Mode>,
    /// The same for callers on this machine.
    pub bots_on_loopback: Mode,
    /// The rules.
    pub rules: Vec<RuleInEffect>,
}

/// One rule.
#[derive(Clone, Debug, Serialize)]
pub struct RuleInEffect {
    /// Its name.
    pub name: String,
    /// Whose requests are counted together.
    pub scope: Sourced<Scope>,
    /// The classes of requests it counts.
    pub routes: Sourced<Vec<RouteClass>>,
    /// What it counts of them.
    pub counts: Sourced<Counting>,
    /// Its limit.
    pub limit: Sourced<LimitShown>,
    /// What happens beyond the limit.
    pub mode: Sourced<Mode>,
    /// The same for callers on this machine.
    pub mode_on_loopback: Mode,
    /// Where it counts.
    pub place: Sourced<Place>,
    /// What it does while Redis does not answer.
    pub when_redis_is_away: Sourced<WhenRedisIsAway>,
}

/// A limit, with the flags that change it.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(untagged)]
pub enum LimitShown {
    /// Exact in any window of this length.
    Window {
        /// Requests in the window.
        quota: u32,
        /// The window.
        window_seconds: u64,
    },
    /// On average.
    Rate {
        /// Requests a second.
        per_second: u32,
        /// Requests at once.
        burst: u32,
    },
}

impl LimitShown {
    /// The limit in words.
    pub fn text(&self) -> String {
        match *self {
            LimitShown::Window { quota, window_seconds } => {
                Limit::Window { quota, window_ms: window_seconds * 1_000 }.to_string()
            }
            LimitShown::Rate { per_second, burst } => Limit::Rate { per_second, burst }.to_string(),
        }
    }
}

impl RulesInEffect {
    /// The rules in effect with these settings, which differ from the shipped ones, and these changes.
    pub fn of(stored: &StoredPolicy, base: &BasePolicy, shipped: &BasePolicy) -> Self {
        let mut problem = None;
        let mut live = stored.live.clone();
        let policy = live.above(base).unwrap_or_else(|error| {
            problem = Some(error.to_string());
            live = LivePolicy::default();
            // Validated by `Config::check`.
            Policy::new(base, &live).unwrap_or_else(|_| unreachable!("settings are checked"))
        });
        let source_of = |by_operator: bool, by_settings: bool| match (by_operator, by_settings) {
            (true, _) => Source::Operator,
            (false, true) => Source::Settings,
            (false, false) => Source::Shipped,
        };
        let bots_from = source_of(live.bots_mode.is_some(), base.bots.mode != shipped.bots.mode);
        RulesInEffect {
            problem,
            limits: Sourced {
                value: policy.all_rules,
                from: source_of(live.all_rules.is_some(), base.all_rules != shipped.all_rules),
            },
            profile: Sourced {
                value: policy.profile,
                from: source_of(live.profile.is_some(), base.profile != shipped.profile),
            },
            bots: Sourced {
                value: policy.bots_mode(false),
                from: outranked(&policy).unwrap_or(bots_from),
            },
            bots_on_loopback: policy.bots_mode(true),
            rules: policy.rules.iter().map(|rule| line(rule, &policy, base, &live)).collect(),
        }
    }

    /// Whether a rule of this name is in effect.
    pub fn has_rule(&self, name: &str) -> bool {
        self.rules.iter().any(|rule| rule.name == name)
    }

    /// The names of all rules.
    pub fn names(&self) -> String {
        self.rules.iter().map(|rule| rule.name.as_str()).collect::<Vec<_>>().join(", ")
    }
}

/// The source that overrides all rules, if any.
fn outranked(policy: &Policy) -> Option<Source> {
    match (policy.all_rules, policy.profile) {
        (AllRules::Each, Profile::Standard) => None,
        (AllRules::Each, Profile::Strict) => Some(Source::Profile),
        _ => Some(Source::Limits),
    }
}

fn line(rule: &Rule, policy: &Policy, base: &BasePolicy, live: &LivePolicy) -> RuleInEffect {
    let source = |has: fn(&RuleChange) -> bool| {
        let by_settings =
            || base.rules.iter().any(|change| change.name == rule.name && has(change));
        match live.rule(&rule.name).is_some_and(has) {
            true => Source::Operator,
            false if by_settings() => Source::Settings,
            false => Source::Shipped,
        }
    };
    let limit_from = source(|change| {
        let window = change.quota.or(change.window_seconds);
        window.or(change.per_second).or(change.burst).is_some()
    });
    let limit = match rule.limit {
        Limit::Window { quota, window_ms } => {
            LimitShown::Window { quota, window_seconds: window_ms / 1_000 }
        }
        Limit::Rate { per_second, burst } => LimitShown::Rate { per_second, burst },
    };
    let mode_from = outranked(policy).unwrap_or(source(|change| change.mode.is_some()));
    let away_from = source(|change| change.when_redis_is_away.is_some());
    RuleInEffect {
        name: rule.name.clone(),
        scope: Sourced { value: rule.scope, from: source(|change| change.scope.is_some()) },
        routes: Sourced {
            value: rule.routes.clone(),
            from: source(|change| change.routes.is_some()),
        },
        counts: Sourced { value: rule.counting, from: source(|change| change.counts.is_some()) },
        limit: Sourced { value: limit, from: limit_from },
        mode: Sourced { value: policy.mode_of(rule, false), from: mode_from },
        mode_on_loopback: policy.mode_of(rule, true),
        place: Sourced { value: rule.place, from: source(|change| change.place.is_some()) },
        when_redis_is_away: Sourced { value: rule.when_redis_is_away, from: away_from },
    }
}
