//! `limits list`: the rules as they are in effect, and where each value comes from.

use serde::Serialize;

use crate::archive::StoredPolicy;
use crate::config::Config;
use crate::ctl::failure::Failure;
use crate::ctl::output::{Column, CommandResult, printable, table};
use crate::ctl::policy::{LastChange, open_for_reading, serialized_name};
use crate::domain::policy::{AllRules, BasePolicy, LivePolicy, Profile};
use crate::domain::{
    Counting, Limit, Mode, Place, Policy, RouteClass, Rule, RuleChange, Scope, WhenRedisIsAway,
};

/// List the limit and bot rules, and where each value comes from
///
/// "shipped" is Holdfast's default, "settings" the file and the HOLDFAST_* variables of this tool,
/// which must be those of the servers, "operator" a change made with this tool. Such changes
/// outrank the settings. Where `limits` or `profile` applies to all rules, it is shown in place of a
/// rule's own mode. In a process, a rule costs no call; in Redis, all processes count together.
///
/// Exits with 1 if the operators' changes cannot be in effect.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  holdfastctl limits list
  holdfastctl limits list --json | jq '.rules[] | select(.mode.value != \"enforce\") | .name'")]
pub(in crate::ctl) struct Arguments {}

impl Arguments {
    pub(super) async fn run(self, config: &Config) -> Result<Limits, Failure> {
        Ok(Limits::of(&open_for_reading(config).await?.stored().await?, config))
    }
}

/// The source of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Source {
    Shipped,
    Settings,
    Operator,
    /// `limits`, for all rules.
    Limits,
    /// `profile`, for all rules.
    Profile,
}

/// A value and its source.
#[derive(Debug, Serialize)]
struct Sourced<T> {
    value: T,
    from: Source,
}

impl<T: Serialize> Sourced<T> {
    fn text(&self) -> String {
        format!("{} ({})", serialized_name(&self.value), serialized_name(&self.from))
    }
}

/// The rules in effect.
#[derive(Serialize)]
pub(super) struct Limits {
    changed_last: Option<LastChange>,
    /// Why the operators' changes are not in effect.
    problem: Option<String>,
    limits: Sourced<AllRules>,
    profile: Sourced<Profile>,
    bots: Sourced<Mode>,
    bots_on_loopback: Mode,
    rules: Vec<RuleLine>,
}

#[derive(Serialize)]
struct RuleLine {
    name: String,
    scope: Sourced<Scope>,
    routes: Sourced<Vec<RouteClass>>,
    counts: Sourced<Counting>,
    limit: Sourced<LimitShown>,
    mode: Sourced<Mode>,
    mode_on_loopback: Mode,
    place: Sourced<Place>,
    when_redis_is_away: Sourced<WhenRedisIsAway>,
}

/// A limit, with the flags that change it.
#[derive(Serialize)]
#[serde(untagged)]
enum LimitShown {
    Window { quota: u32, window_seconds: u64 },
    Rate { per_second: u32, burst: u32 },
}

impl LimitShown {
    fn text(&self) -> String {
        match *self {
            LimitShown::Window { quota, window_seconds } => {
                Limit::Window { quota, window_ms: window_seconds * 1_000 }.to_string()
            }
            LimitShown::Rate { per_second, burst } => Limit::Rate { per_second, burst }.to_string(),
        }
    }
}

impl Limits {
    /// The rules in effect with these settings and these changes.
    pub(super) fn of(stored: &StoredPolicy, config: &Config) -> Self {
        let base = config.base_policy();
        let mut problem = None;
        let mut live = stored.live.clone();
        let policy = live.above(&base).unwrap_or_else(|error| {
            problem = Some(error.to_string());
            live = LivePolicy::default();
            // Validated by `Config::check`.
            Policy::new(&base, &live).unwrap_or_else(|_| unreachable!("settings are checked"))
        });
        let shipped = Config::default().base_policy();
        let source_of = |by_operator: bool, by_settings: bool| match (by_operator, by_settings) {
            (true, _) => Source::Operator,
            (false, true) => Source::Settings,
            (false, false) => Source::Shipped,
        };
        let bots_from = source_of(live.bots_mode.is_some(), base.bots.mode != shipped.bots.mode);
        Limits {
            changed_last: LastChange::of(stored),
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
            rules: policy.rules.iter().map(|rule| line(rule, &policy, &base, &live)).collect(),
        }
    }

    /// Whether a rule of this name is in effect.
    pub(super) fn has_rule(&self, name: &str) -> bool {
        self.rules.iter().any(|rule| rule.name == name)
    }

    /// The names of all rules.
    pub(super) fn names(&self) -> String {
        self.rules.iter().map(|rule| rule.name.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// Why operators' changes are not in effect.
    pub(super) fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
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

fn line(rule: &Rule, policy: &Policy, base: &BasePolicy, live: &LivePolicy) -> RuleLine {
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
    RuleLine {
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

/// A mode, and the one on loopback if it differs.
fn modes(mode: Mode, on_loopback: Mode) -> String {
    match mode == on_loopback {
        true => mode.as_str().to_owned(),
        false => format!("{}, on loopback {}", mode.as_str(), on_loopback.as_str()),
    }
}

impl CommandResult for Limits {
    fn text(&self) -> String {
        let columns = [
            Column::Words("rule"),
            Column::Words("counts by"),
            Column::Words("in"),
            Column::Words("limit"),
            Column::Words("from"),
            Column::Words("mode"),
            Column::Words("from"),
            Column::Words("routes"),
        ];
        let row = |rule: &RuleLine| {
            let routes: Vec<&str> = rule.routes.value.iter().map(|route| route.as_str()).collect();
            let all = routes.len() == RouteClass::ALL.len();
            [
                rule.name.clone(),
                rule.scope.value.as_str().to_owned(),
                rule.place.value.as_str().to_owned(),
                rule.limit.value.text(),
                serialized_name(&rule.limit.from),
                modes(rule.mode.value, rule.mode_on_loopback),
                serialized_name(&rule.mode.from),
                match (all, rule.counts.value) {
                    (true, _) => "all".to_owned(),
                    (false, Counting::Requests) => routes.join(", "),
                    (false, Counting::Grants) => format!("{}, granted alone", routes.join(", ")),
                },
            ]
        };
        let rules = table(columns, self.rules.iter().map(row).collect());
        let bots = modes(self.bots.value, self.bots_on_loopback);
        let mut lines = vec![
            format!("limits   {}", self.limits.text()),
            format!("profile  {}", self.profile.text()),
            format!("bots     {bots} ({})", serialized_name(&self.bots.from)),
            String::new(),
            rules,
            String::new(),
            LastChange::text(self.changed_last.as_ref()),
        ];
        if let Some(problem) = &self.problem {
            let problem = printable(problem);
            lines.push(format!(
                "NOT IN EFFECT, with these settings: {problem}. CommandResult is what the settings say; \
                 `limits reset` takes back what was changed"
            ));
        }
        lines.join("\n")
    }

    fn has_problems(&self) -> bool {
        self.problem.is_some()
    }
}
