//! Reloads the settings while the process runs: at SIGHUP, and when an operator asks (`control`).
//!
//! The file, the environment and the files that settings name are read and checked first; whatever is
//! wrong, nothing changes. Then each part takes over its values, every one of them at once: a request
//! sees a part as it was before or after. Which settings can change is marked in the table of settings;
//! the report names those that need a restart.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::log_level::LogLevel;
use crate::archive::ReloadAnswer;
use crate::config::{Change, Config, ConfigArgs, LiveConfig, ReloadPlan};
use crate::domain::TokenKeys;
use crate::redis::Engine;
use crate::sale::waiting_room::WaitingRoom;
use crate::telemetry::Metrics;

/// How long reading and checking may take: files may hang where they are on a network.
const READ_BOUND: Duration = Duration::from_secs(10);
/// How long taking over may take after that: it is only memory.
const APPLY_BOUND: Duration = Duration::from_secs(5);
const TOO_LONG: &str = "reading the settings and the files they name takes too long";

/// A part of a process that takes over changed settings.
pub trait Reloadable: Send + Sync {
    /// Reads and checks what the settings name; changes nothing yet.
    ///
    /// # Errors
    /// Why the part cannot use the settings: then nothing of the process changes.
    fn prepare(&self, new: &Config) -> Result<Prepared, String>;
}

/// What a part is ready to take over.
pub struct Prepared {
    /// What changes besides values of settings, such as the contents of a file.
    pub changes: Vec<String>,
    /// Takes it over. INVARIANT: only the first part of a process may fail here.
    pub apply: Box<dyn FnOnce() -> Result<(), String> + Send>,
}

impl Prepared {
    /// Nothing to take over.
    pub fn nothing() -> Self {
        Prepared { changes: Vec::new(), apply: Box::new(|| Ok(())) }
    }
}

/// The parts of a process that a reload changes, and the settings in effect. Cheap to clone.
#[derive(Clone)]
pub struct Reloads {
    settings: LiveConfig,
    parts: Arc<Mutex<Vec<Arc<dyn Reloadable>>>>,
}

impl Reloads {
    /// No parts besides the settings.
    pub fn new(config: &Config) -> Self {
        Reloads { settings: config.into(), parts: Arc::default() }
    }

    /// The settings in effect.
    pub fn settings(&self) -> &LiveConfig {
        &self.settings
    }

    /// Adds the part that takes over first, which may fail then.
    pub fn register_first(&self, part: Arc<dyn Reloadable>) {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner).insert(0, part);
    }

    /// Adds a part.
    pub fn register(&self, part: Arc<dyn Reloadable>) {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner).push(part);
    }

    fn parts(&self) -> Vec<Arc<dyn Reloadable>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Reloads the settings of one process.
pub struct Reloader {
    arguments: ConfigArgs,
    reloads: Reloads,
    log_level: LogLevel,
    metrics: Metrics,
    /// Held by the one reload at a time.
    turn: Mutex<()>,
}

impl Reloader {
    /// Reloads these parts, by the command line of this process.
    pub fn new(arguments: ConfigArgs, reloads: Reloads, metrics: &Metrics) -> Self {
        let log_level = LogLevel::new(&reloads.settings.load().log_level);
        Reloader { arguments, reloads, log_level, metrics: metrics.clone(), turn: Mutex::default() }
    }

    /// The log level of this process.
    pub fn log_level(&self) -> &LogLevel {
        &self.log_level
    }

    /// Reloads the settings, logs the result and returns it, without the request's id.
    pub async fn reload(self: Arc<Self>, cause: &'static str) -> ReloadAnswer {
        // It reads files, which may hang where they are on a network.
        let reload = tokio::task::spawn_blocking(move || self.reload_now(cause));
        match tokio::time::timeout(READ_BOUND + APPLY_BOUND, reload).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => refused(&format!("the reload did not end: {error}")),
            Err(_) => refused(TOO_LONG),
        }
    }

    fn reload_now(&self, cause: &'static str) -> ReloadAnswer {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = match self.try_reload() {
            Ok(answer) => answer,
            Err(reason) => refused(&reason),
        };
        let result = if answer.is_done { "ok" } else { "refused" };
        self.metrics.config_reloads.with_label_values(&[result]).inc();
        self.metrics.config_last_reload_success.set(answer.is_done.into());
        match &answer.reason {
            None => {
                self.metrics.config_last_reload_seconds.set(now_ms() as f64 / 1_000.0);
                log_done(cause, &answer);
            }
            Some(reason) => {
                tracing::error!(cause, reason, "the settings are not reloaded: nothing changes");
            }
        }
        answer
    }

    fn try_reload(&self) -> Result<ReloadAnswer, String> {
        let began = Instant::now();
        let current = self.reloads.settings.load_full();
        let loaded = self.arguments.read().map_err(|error| error.to_string())?;
        let plan = ReloadPlan::new(&current, loaded).map_err(|error| error.to_string())?;
        let mut changed: Vec<String> = plan.changed.iter().map(Change::to_string).collect();
        let mut prepared = Vec::new();
        for part in self.reloads.parts() {
            let part = part.prepare(&plan.config)?;
            changed.extend(part.changes);
            prepared.push(part.apply);
        }
        // INVARIANT: what is answered as refused is not applied later.
        if began.elapsed() > READ_BOUND {
            return Err(TOO_LONG.to_owned());
        }
        for (index, apply) in prepared.into_iter().enumerate() {
            match apply() {
                Ok(()) => {}
                Err(reason) if index == 0 => return Err(reason),
                Err(reason) => tracing::error!(reason, "a part did not take over new settings"),
            }
        }
        self.log_level.configure(&plan.config.log_level, now_ms());
        super::show_certificates(&plan.config, &self.metrics);
        self.reloads.settings.store(plan.config);
        Ok(ReloadAnswer {
            is_done: true,
            changed,
            needs_restart: plan.needs_restart.iter().map(Change::to_string).collect(),
            overridden: plan.overridden.iter().map(|name| (*name).to_owned()).collect(),
            ..ReloadAnswer::default()
        })
    }
}

fn log_done(cause: &'static str, answer: &ReloadAnswer) {
    for change in &answer.changed {
        tracing::info!(change, "a setting has changed");
    }
    for change in &answer.needs_restart {
        tracing::warn!(change, "a setting differs: it needs a restart");
    }
    if !answer.overridden.is_empty() {
        let settings = answer.overridden.join(", ");
        tracing::info!(settings, "settings of the file are overridden by HOLDFAST_* variables");
    }
    let (changed, needs_restart) = (answer.changed.len(), answer.needs_restart.len());
    let others = "all others are as they were";
    tracing::info!(cause, changed, needs_restart, others, "the settings are reloaded");
}

fn refused(reason: &str) -> ReloadAnswer {
    ReloadAnswer { reason: Some(reason.replace('\n', "; ")), ..ReloadAnswer::default() }
}

/// The certificates and keys of connections to Redis; connections that are open keep theirs.
pub(super) struct RedisTls(pub Engine);

impl Reloadable for RedisTls {
    fn prepare(&self, new: &Config) -> Result<Prepared, String> {
        let address = &self.0.settings().address;
        let new_tls = address.prepare_tls(&new.redis_tls_files());
        let Some(new_tls) = new_tls.map_err(|error| error.to_string())? else {
            return Ok(Prepared::nothing());
        };
        let apply = Box::new(move || {
            new_tls.apply();
            Ok(())
        });
        let changes = vec!["redis_tls_*: the files are read again, for new connections".to_owned()];
        Ok(Prepared { changes, apply })
    }
}

/// The keys of the waiting rooms' tokens.
pub(super) struct RoomTokens {
    pub rooms: WaitingRoom,
    pub settings: LiveConfig,
    pub deployment_id: String,
}

impl Reloadable for RoomTokens {
    fn prepare(&self, new: &Config) -> Result<Prepared, String> {
        let keys = new_token_keys(&self.settings.load(), new, &self.deployment_id)?;
        let Some(keys) = keys else { return Ok(Prepared::nothing()) };
        let rooms = self.rooms.clone();
        let apply = Box::new(move || {
            rooms.replace_token_keys(keys);
            Ok(())
        });
        Ok(Prepared { changes: Vec::new(), apply })
    }
}

/// The keys that a reload changes to; refuses those that would not accept what is being signed now.
fn new_token_keys(
    current: &Config,
    new: &Config,
    deployment_id: &str,
) -> Result<Option<TokenKeys>, String> {
    if current.token_secrets == new.token_secrets {
        return Ok(None);
    }
    let signing = current.token_secrets.first();
    if !signing.is_some_and(|signing| new.token_secrets.contains(signing)) {
        return Err(
            "token_secrets: the secret that signs now must stay in the list, or everybody in a \
             waiting room loses their place: remove it once another has signed for as long as its \
             tokens last (waiting_room_token_ttl_seconds); a restart applies any list"
                .to_owned(),
        );
    }
    if !new.token_secrets.first().is_some_and(|first| current.token_secrets.contains(first)) {
        return Err(
            "token_secrets: the secret that is to sign is new, and processes that reload a moment \
             later would not accept its tokens: put it behind the others, reload every process, and \
             then put it first"
                .to_owned(),
        );
    }
    new.token_keys(deployment_id).map_err(|error| error.to_string())
}

pub(super) fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
