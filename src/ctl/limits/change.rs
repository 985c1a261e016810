//! `limits set`, `reset`, `mode`, `profile` and `bots`.

use std::str::FromStr;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::list::Limits;
use crate::config::Config;
use crate::ctl::failure::Failure;
use crate::ctl::output::Shown;
use crate::ctl::policy::{Done, to_change, word};
use crate::domain::policy::{AllRules, LivePolicy, Profile};
use crate::domain::{
    Counting, Mode, Place, RouteClass, RuleChange, Scope, UserId, WhenRedisIsAway,
};
use crate::sale::policy::{ChangeError, PolicyStore};

/// What became of a change, and what is in effect then.
#[derive(Serialize)]
pub(super) struct LimitsChanged {
    #[serde(flatten)]
    done: Done,
    #[serde(flatten)]
    limits: Limits,
}

impl Shown for LimitsChanged {
    fn text(&self) -> String {
        format!("{}\n\n{}", self.done.text(), self.limits.text())
    }

    fn has_problems(&self) -> bool {
        self.limits.has_problems()
    }
}

#[derive(clap::Args, Debug)]
struct By {
    /// Who does it
    #[arg(long, value_name = "NAME", env = "USER", default_value = "holdfastctl")]
    by: UserId,
}

/// Whether a change may lead to what cannot be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Refused where it does.
    Adds,
    /// Takes away: what is left may have been wrong before.
    TakesAway,
}

async fn change(
    config: &Config,
    by: &By,
    kind: Kind,
    edit: impl Fn(&mut LivePolicy),
) -> Result<LimitsChanged, Failure> {
    let store = to_change(config).await?;
    change_in(&store, config, by, kind, edit).await
}

async fn change_in(
    store: &PolicyStore,
    config: &Config,
    by: &By,
    kind: Kind,
    edit: impl Fn(&mut LivePolicy),
) -> Result<LimitsChanged, Failure> {
    let base = config.base_policy();
    let edit = |live: &mut LivePolicy| -> Result<(), ChangeError> {
        edit(live);
        Ok(())
    };
    let base = (kind == Kind::Adds).then_some(&base);
    let changed = store.change(by.by.as_str(), base, edit).await?;
    Ok(LimitsChanged { done: Done::from(&changed), limits: Limits::of(&changed.stored, config) })
}

/// Change a rule, or make one
///
/// What is not named stays as it is. A mode that is set holds for callers on this machine, too. A new
/// rule needs --scope, --routes and a limit: --quota and --window-seconds, an exact number in any
/// window of that length, or --per-second and --burst. What was counted under another limit is
/// forgotten.
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
    /// What happens beyond: enforce, observe (count, let pass) or off
    #[arg(long, value_parser = word::<Mode>)]
    mode: Option<Mode>,
    /// Whose requests are counted together: address, user or user_event
    #[arg(long, value_parser = word::<Scope>)]
    scope: Option<Scope>,
    /// Which requests: events, seats, hold, bookings, booking_changes, waiting_room_join, push, admin
    #[arg(long, value_delimiter = ',', value_parser = word::<RouteClass>)]
    routes: Option<Vec<RouteClass>>,
    /// What it counts of them: requests, or grants (holds that took seats)
    #[arg(long, value_parser = word::<Counting>)]
    counts: Option<Counting>,
    /// Where it counts: redis, or process (rates of addresses and users alone)
    #[arg(long, value_parser = word::<Place>)]
    place: Option<Place>,
    /// What it does while Redis does not answer: pass, local (a share in each process) or refuse
    #[arg(long, value_name = "WHAT", value_parser = word::<WhenRedisIsAway>)]
    when_redis_is_away: Option<WhenRedisIsAway>,
}

impl Set {
    pub(super) async fn run(self, config: &Config) -> Result<LimitsChanged, Failure> {
        let Set { name, values, by } = self;
        let Values { quota, window_seconds, per_second, burst, .. } = values;
        let Values { mode, scope, routes, counts, place, when_redis_is_away, .. } = values;
        let store = to_change(config).await?;
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
        change_in(&store, config, &by, Kind::Adds, |live| live.set_rule(rule.clone())).await
    }
}

fn unknown(name: &str, limits: &Limits) -> Failure {
    Failure::new(format!(
        "there is no rule {name:?}, but {}; a new one needs --scope, --routes and a limit",
        limits.names()
    ))
}

/// Take back what was changed of a rule, or everything
///
/// The settings' own values are in effect again; a rule that they do not know is gone. --all takes
/// back what was changed of rules, modes, profile and bots. The lists of `access` stay.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  holdfastctl limits reset seat_probing
  holdfastctl limits reset --all")]
pub(in crate::ctl) struct Reset {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    by: By,
}

#[derive(clap::Args, Debug)]
#[group(required = true, multiple = false)]
struct Which {
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
            return change(config, &by, Kind::TakesAway, LivePolicy::reset).await;
        };
        let store = to_change(config).await?;
        let stored = store.stored().await?;
        let before = Limits::of(&stored, config);
        if stored.live.rule(&name).is_none() && !before.has_rule(&name) {
            return Err(unknown(&name, &before));
        }
        let edit = |live: &mut LivePolicy| {
            live.reset_rule(&name);
        };
        change_in(&store, config, &by, Kind::TakesAway, edit).await
    }
}

/// A value, or the word `settings`: what the settings say.
#[derive(Clone, Copy, Debug)]
struct OrSettings<T>(Option<T>);

impl<T: DeserializeOwned> FromStr for OrSettings<T> {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "settings" => Ok(OrSettings(None)),
            text => word(text)
                .map(|value| OrSettings(Some(value)))
                .map_err(|error| format!("{error}, or `settings` for what the settings say")),
        }
    }
}

/// Decide for all limit and bot rules at once
///
/// enforce, observe (count and log, let everything pass), off, or each: every rule by its own mode.
/// settings: what the servers' settings say. The lists of `access` are not touched: who is denied stays
/// out.
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
        change(config, &self.by, Kind::Adds, |live| live.all_rules = mode).await
    }
}

/// Choose how strict the rules are
///
/// standard: every rule by its own mode. strict: all are enforced, those of bots too, for callers on
/// this machine as well. settings: what the servers' settings say.
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
        change(config, &self.by, Kind::Adds, |live| live.profile = profile).await
    }
}

/// Choose what happens to programs
///
/// enforce: who says to be a program, or lacks a header that every honest client sends, is refused
/// with 403. observe: is counted. off: nobody looks. settings: what the servers' settings say, where
/// also the patterns are.
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
        change(config, &self.by, Kind::Adds, |live| live.bots_mode = mode).await
    }
}
