//! `limits list`: the rules as they are in effect, and where each value comes from.

use serde::Serialize;

use crate::archive::StoredPolicy;
use crate::config::Config;
use crate::ctl::failure::Failure;
use crate::ctl::output::{Column, CommandResult, printable, table};
use crate::ctl::policy::{LastChange, open_for_reading, serialized_name};
use crate::domain::{Counting, Mode, RouteClass};
use crate::sale::rules_in_effect::{RuleInEffect, RulesInEffect, Sourced};

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

/// The rules in effect.
#[derive(Serialize)]
pub(super) struct Limits {
    changed_last: Option<LastChange>,
    #[serde(flatten)]
    in_effect: RulesInEffect,
}

impl Limits {
    /// The rules in effect with these settings and these changes.
    pub(super) fn of(stored: &StoredPolicy, config: &Config) -> Self {
        let shipped = Config::default().base_policy();
        Limits {
            changed_last: LastChange::of(stored),
            in_effect: RulesInEffect::of(stored, &config.base_policy(), &shipped),
        }
    }

    /// Whether a rule of this name is in effect.
    pub(super) fn has_rule(&self, name: &str) -> bool {
        self.in_effect.has_rule(name)
    }

    /// The names of all rules.
    pub(super) fn names(&self) -> String {
        self.in_effect.names()
    }

    /// Why operators' changes are not in effect.
    pub(super) fn problem(&self) -> Option<&str> {
        self.in_effect.problem.as_deref()
    }
}

/// A value with its source.
fn sourced<T: Serialize>(value: &Sourced<T>) -> String {
    format!("{} ({})", serialized_name(&value.value), serialized_name(&value.from))
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
        let rules = &self.in_effect;
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
        let row = |rule: &RuleInEffect| {
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
        let lines_of_rules = table(columns, rules.rules.iter().map(row).collect());
        let bots = modes(rules.bots.value, rules.bots_on_loopback);
        let mut lines = vec![
            format!("limits   {}", sourced(&rules.limits)),
            format!("profile  {}", sourced(&rules.profile)),
            format!("bots     {bots} ({})", serialized_name(&rules.bots.from)),
            String::new(),
            lines_of_rules,
            String::new(),
            LastChange::text(self.changed_last.as_ref()),
        ];
        if let Some(problem) = &rules.problem {
            let problem = printable(problem);
            lines.push(format!(
                "NOT IN EFFECT, with these settings: {problem}. CommandResult is what the settings say; \
                 `limits reset` takes back what was changed"
            ));
        }
        lines.join("\n")
    }

    fn has_problems(&self) -> bool {
        self.in_effect.problem.is_some()
    }
}
