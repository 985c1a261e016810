//! `limits set`, `reset`, `mode`, `profile` and `bots`.

use std::str::FromStr;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::list::Limits;
use crate::config::Config;
use crate::ctl::failure::Failure;
use crate::ctl::output::CommandResult;
use crate::ctl::policy::{ChangeResult, open_for_changing, parse_word};
use crate::domain::policy::{AllRules, LivePolicy, Profile};
use crate::domain::{
    Counting, Mode, Place, RouteClass, RuleChange, Scope, UserId, WhenRedisIsAway,
};
use crate::sale::policy::{ChangeError, PolicyStore};

/// The result of a change, with the rules now in effect.
#[derive(Serialize)]
pub(super) struct LimitsChanged {
    #[serde(flatten)]
    done: ChangeResult,
    #[serde(flatten)]
    limits: Limits,
}

impl CommandResult for LimitsChanged {
    fn text(&self) -> String {
        format!("{}\n\n{}", self.done.text(), self.limits.text())
    }

    fn has_problems(&self) -> bool {
        self.limits.has_problems()
    }
}

#[derive(clap::Args, Debug)]
struct By {
    /// Name of the operator
    #[arg(long, value_name = "NAME", env = "USER", default_value = "holdfastctl")]
    by: UserId,
}

/// Whether the result of a change must be valid.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ChangeKind {
    /// An invalid result is refused.
    Adds,
    /// The change only removes: an invalid policy may have been there before.
    TakesAway,
}

async fn change(
    config: &Config,
    by: &By,
    kind: ChangeKind,
    edit: impl Fn(&mut LivePolicy),
) -> Result<LimitsChanged, Failure> {
    let store = open_for_changing(config).await?;
    change_in(&store, config, by, kind, edit).await
}

async fn change_in(
    store: &PolicyStore,
    config: &Config,
    by: &By,
    kind: ChangeKind,
    edit: impl Fn(&mut LivePolicy),
) -> Result<LimitsChanged, Failure> {
    let base = config.base_policy();
    let edit = |live: &mut LivePolicy| -> Result<(), ChangeError> {
        edit(live);
        Ok(())
    };
    let base = (kind == ChangeKind::Adds).then_some(&base);
    let changed = store.change(by.by.as_str(), base, edit).await?;
    Ok(LimitsChanged {
        done: ChangeResult::from(&changed),
        limits: Limits::of(&changed.stored, config),
    })
}

/// Change a rule, or make one
///
/// Absent values stay as they are. A new mode applies to callers on this machine, too. A new rule
/// needs --scope, --routes and a limit: --quota and --window-seconds, an exact number in any window
/// of that length, or --per-second and --burst. Counts under a previous limit are discarded.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  holdfastctl limits set requests --quota 50
  holdfastctl limits set seat_probing --mode enforce
  holdfastctl limits set holds_of_an_event --scope user_event --routes hold --quota 3 --window-seconds 600")]
pub(in crate::ctl) struct Set {
    /// The rule's name
    name: String,
    #[command(flatten)]
    values: Values,
    #[command(flatten)]
    by: By,
}

#[derive(clap::Args, Debug)]
#[group(required = true, multiple = true)]
struct Values {
    /// Requests in a window
    #[arg(long, value_name = "N")]
    quota: Option<u32>,
    /// The window
    #[arg(long, value_name = "SECONDS")]
    window_seconds: Option<u32>,
    /// Requests a second, on average
    #[arg(long, value_name = "N", conflicts_with_all = ["quota", "window_seconds"])]
    per_second: Option<u32>,
    /// Requests at once
    #[arg(long, value_name = "N", conflicts_with_all = ["quota", "window_seconds"])]
    burst: Option<u32>,
    /// What happens beyond the limit: enforce, observe (count, let pass) or off
    #[arg(long, value_parser = parse_word::<Mode>)]
    mode: Option<Mode>,
    /// Whose requests are counted together: address, user or user_event
    #[arg(long, value_parser = parse_word::<Scope>)]
    scope: Option<Scope>,
    /// RuleSelection requests: events, seats, hold, bookings, booking_changes, waiting_room_join, push, admin
    #[arg(long, value_delimiter = ',', value_parser = parse_word::<RouteClass>)]
    routes: Option<Vec<RouteClass>>,
    /// What it counts of them: requests, or grants (holds that took seats)
    #[arg(long, value_parser = parse_word::<Counting>)]
    counts: Option<Counting>,
    /// Where it counts: redis, or process (rates of addresses and users alone)
    #[arg(long, value_parser = parse_word::<Place>)]
    place: Option<Place>,
    /// What it does while Redis does not answer: pass, local (a share in each process) or refuse
    #[arg(long, value_name = "WHAT", value_parser = parse_word::<WhenRedisIsAway>)]
    when_redis_is_away: Option<WhenRedisIsAway>,
}

impl Set {
    pub(super) async fn run(self, config: &Config) -> Result<LimitsChanged, Failure> {
        let Set { name, values, by } = self;
        let Values { quota, window_seconds, per_second, burst, .. } = values;
        let Values { mode, scope, routes, counts, place, when_redis_is_away, .. } = values;
        let store = open_for_changing(config).await?;
        let before = Limits::of(&store.stored().await?, config);
        if before.problem().is_none() && !before.has_rule(&name) && scope.is_none() {
            return Err(unknown(&name, &before));
        }
        let rule = RuleChange {
            name,
            scope,
            routes,
            counts,
            quota,
            window_seconds,
            per_second,
            burst,
            mode,
            place,
            when_redis_is_away,
        };
        change_in(&store, config, &by, ChangeKind::Adds, |live| live.set_rule(rule.clone())).await
    }
}

fn unknown(name: &str, limits: &Limits) -> Failure {
    Failure::new(format!(
        "there is no rule {name:?}, but {}; a new one needs --scope, --routes and a limit",
        limits.names()
    ))
}

/// Revert the changes of a rule, or all changes
///
/// The settings' values are in effect again; a rule that is not in the settings is removed. --all
/// reverts the changes of rules, modes, profile and bots. The lists of `access` stay.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  holdfastctl limits reset seat_probing
  holdfastctl limits reset --all")]
pub(in crate::ctl) struct Reset {
    #[command(flatten)]
    which: RuleSelection,
    #[command(flatten)]
    by: By,
}

#[derive(clap::Args, Debug)]
#[group(required = true, multiple = false)]
struct RuleSelection {
    /// The rule's name
    name: Option<String>,
    /// Everything but the lists
    #[arg(long)]
    all: bool,
}

impl Reset {
    pub(super) async fn run(self, config: &Config) -> Result<LimitsChanged, Failure> {
        let Reset { which, by } = self;
        let Some(name) = which.name else {
            return change(config, &by, ChangeKind::TakesAway, LivePolicy::reset).await;
        };
        let store = open_for_changing(config).await?;
        let stored = store.stored().await?;
        let before = Limits::of(&stored, config);
        if stored.live.rule(&name).is_none() && !before.has_rule(&name) {
            return Err(unknown(&name, &before));
        }
        let edit = |live: &mut LivePolicy| {
            live.reset_rule(&name);
        };
        change_in(&store, config, &by, ChangeKind::TakesAway, edit).await
    }
}

/// A value, or `settings` for the settings' value.
#[derive(Clone, Copy, Debug)]
struct OrSettings<T>(Option<T>);

impl<T: DeserializeOwned> FromStr for OrSettings<T> {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "settings" => Ok(OrSettings(None)),
            text => parse_word(text)
                .map(|value| OrSettings(Some(value)))
                .map_err(|error| format!("{error}, or `settings` for the value in the settings")),
        }
    }
}

/// Set the mode of all limit and bot rules at once
///
/// enforce, observe (count and log, let everything pass), off, or each: every rule by its own mode.
/// settings: the value in the servers' settings. The lists of `access` are not affected: denied
/// subjects stay denied.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  holdfastctl limits mode observe
  holdfastctl limits mode settings")]
pub(in crate::ctl) struct AllModes {
    /// each, enforce, observe, off or settings
    mode: OrSettings<AllRules>,
    #[command(flatten)]
    by: By,
}

impl AllModes {
    pub(super) async fn run(self, config: &Config) -> Result<LimitsChanged, Failure> {
        let OrSettings(mode) = self.mode;
        change(config, &self.by, ChangeKind::Adds, |live| live.all_rules = mode).await
    }
}

/// Set how strict the rules are
///
/// standard: every rule by its own mode. strict: all are enforced, those of bots too, for callers on
/// this machine as well. settings: the value in the servers' settings.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  holdfastctl limits profile strict
  holdfastctl limits profile settings")]
pub(in crate::ctl) struct SetProfile {
    /// standard, strict or settings
    profile: OrSettings<Profile>,
    #[command(flatten)]
    by: By,
}

impl SetProfile {
    pub(super) async fn run(self, config: &Config) -> Result<LimitsChanged, Failure> {
        let OrSettings(profile) = self.profile;
        change(config, &self.by, ChangeKind::Adds, |live| live.profile = profile).await
    }
}

/// Set how programs are treated
///
/// enforce: a client that identifies as a program, or lacks a header that every honest client sends,
/// is refused with 403. observe: it is counted. off: not checked. settings: the value in the servers'
/// settings, which also have the patterns.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  holdfastctl limits bots observe
  holdfastctl limits bots settings")]
pub(in crate::ctl) struct Bots {
    /// enforce, observe, off or settings
    mode: OrSettings<Mode>,
    #[command(flatten)]
    by: By,
}

impl Bots {
    pub(super) async fn run(self, config: &Config) -> Result<LimitsChanged, Failure> {
        let OrSettings(mode) = self.mode;
        change(config, &self.by, ChangeKind::Adds, |live| live.bots_mode = mode).await
    }
}
