//! What a reload changes: compares the settings in effect with those just read.

use std::fmt;

use serde::Serialize;

use super::fields::{Config, FIELDS};
use super::layers::{ConfigError, Loaded};

/// Longest value in a message, characters.
const SHOWN_CHARACTERS_MAX: usize = 200;

/// A setting with another value, secrets masked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The setting.
    pub setting: &'static str,
    /// Its value in effect.
    pub from: String,
    /// Its value in the file or the environment.
    pub to: String,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} → {}", self.setting, self.from, self.to)
    }
}

/// A reload that was checked and has changed nothing yet.
#[derive(Debug)]
pub struct ReloadPlan {
    /// The settings that will be in effect: of the new ones, those that can change.
    pub config: Config,
    /// What changes.
    pub changed: Vec<Change>,
    /// What differs and needs a restart.
    pub needs_restart: Vec<Change>,
    /// Settings of the file that a variable overrides.
    pub overridden: Vec<&'static str>,
    /// How many settings are as they were.
    pub unchanged: usize,
}

impl ReloadPlan {
    /// Plans the change from the settings in effect to those read.
    ///
    /// # Errors
    /// If the new values contradict those in effect that only a restart changes.
    pub fn new(current: &Config, loaded: Loaded) -> Result<Self, ConfigError> {
        let Loaded { config: new, overridden } = loaded;
        let config = current.with_reloadable_of(&new);
        config.check().map_err(|fault| {
            ConfigError(format!(
                "with the settings that only a restart changes as they are in effect: {fault}"
            ))
        })?;
        let (mut changed, mut needs_restart, mut unchanged) = (Vec::new(), Vec::new(), 0);
        let shown = current.shown().into_iter().zip(new.shown());
        let all = FIELDS.iter().zip(current.differs_from(&new)).zip(shown);
        for ((field, differs), (from, to)) in all {
            let change = Change { setting: field.name, from: brief(&from), to: brief(&to) };
            match (differs, field.is_reloadable) {
                (false, _) => unchanged += 1,
                (true, true) => changed.push(change),
                (true, false) => needs_restart.push(change),
            }
        }
        Ok(ReloadPlan { config, changed, needs_restart, overridden, unchanged })
    }
}

/// A value on one line of bounded length.
fn brief(value: &toml::Value) -> String {
    let text = value.to_string().replace('\n', " ");
    match text.char_indices().nth(SHOWN_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

impl Config {
    /// The names of the settings that a reload changes.
    pub fn reloadable() -> Vec<&'static str> {
        FIELDS.iter().filter(|field| field.is_reloadable).map(|field| field.name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(config: Config) -> Loaded {
        Loaded { config, overridden: Vec::new() }
    }

    #[test]
    fn plan_changes_what_can_change_and_names_the_rest() {
        let current = Config { payment_webhook_secret: "hunter2".into(), ..Config::default() };
        let new = Config {
            log_level: "debug".into(),
            payment_webhook_secret: format!("hunter3{}", "x".repeat(32)).as_str().into(),
            partitions: 8,
            ..Config::default()
        };
        let plan = ReloadPlan::new(&current, loaded(new)).unwrap();
        let names = |all: &[Change]| all.iter().map(|one| one.setting).collect::<Vec<_>>();
        assert_eq!(names(&plan.changed), ["payment_webhook_secret", "log_level"]);
        assert_eq!(names(&plan.needs_restart), ["partitions"]);
        assert_eq!(plan.needs_restart[0].to_string(), "partitions: 16 → 8");
        assert_eq!((plan.config.partitions, plan.config.log_level.as_str()), (16, "debug"));
        assert_eq!(plan.unchanged, FIELDS.len() - 3);
        let all = format!("{:?}{:?}", plan.changed, plan.needs_restart);
        assert!(!all.contains("hunter"), "{all}");
    }

    #[test]
    fn plan_is_refused_if_new_values_contradict_those_that_stay() {
        let new = Config {
            listen: "127.0.0.1:9".parse().unwrap(),
            sweep_interval_ms: 50,
            ..Config::default()
        };
        let open = Config {
            listen: "0.0.0.0:9".parse().unwrap(),
            admin_keys_sha256: vec![format!("ops:{}", "ab".repeat(32)).parse().unwrap()],
            token_secrets: vec![format!("k1:{}", "x".repeat(32)).as_str().into()],
            identity_proxies: vec!["10.0.0.1".parse().unwrap()],
            ..Config::default()
        };
        open.check().unwrap();
        let error = ReloadPlan::new(&open, loaded(new)).unwrap_err().0;
        assert!(
            error.contains("only a restart changes") && error.contains("admin_keys"),
            "{error}"
        );
    }
}
