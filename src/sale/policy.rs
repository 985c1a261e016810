//! The live policy of the gates: operators change it in the archive, a mark in Redis announces the
//! change, every process adopts it.
//!
//! ```text
//! operator: new mark (Redis) → compare-and-set on the revision (MongoDB) → new mark (Redis)
//! process:  every 500 ms the mark; if it changed → the archive, at each turn for 10 s
//! ```
//!
//! * *The operator's tool dies between the steps*: either nothing was written, or the first mark
//!   makes every process read the archive until the change under way has ended.
//! * *Redis is unavailable*: the tool writes nevertheless. A process that does not reach Redis reads
//!   the archive at each turn; a process that reaches Redis while the tool does not finds the change
//!   by its periodic read, every 30 s.
//! * *Redis has lost the mark*: a missing mark differs from the previous one.
//! * *MongoDB is unavailable*: nothing can be changed, and processes keep their policy. A process
//!   that alone does not reach MongoDB tries at each turn until it does.
//! * *The stored policy is unreadable or invalid*: processes keep their policy and report it in the
//!   log and a metric. A process that starts uses its settings.
//! * *Two operators at once*: the compare-and-set of the second fails; it reads again and applies its
//!   change on top.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::unix_now_ms;
use crate::archive::{Archive, ArchiveError, StoredPolicy};
use crate::backoff::Backoff;
use crate::domain::Policy;
use crate::domain::live_policy::PolicyError;
use crate::domain::policy::{BasePolicy, LivePolicy};
use crate::lifecycle::Shutdown;
use crate::redis::{Engine, RedisError};

/// How often a process reads the mark.
const TURN: Duration = Duration::from_millis(500);
/// How long it reads the archive at each turn after the mark has changed. Longer than a change can
/// be under way after the tool that sent it has died.
const WATCHFUL: Duration = Duration::from_secs(10);
/// How often it reads the archive regardless of the mark.
const READ_INTERVAL: Duration = Duration::from_secs(30);
/// Within this time an announced change reaches every process, seconds.
pub const REACHES_ALL_SECONDS: u64 = 2;
/// Within this time a change without an announcement reaches every process, seconds.
pub const REACHES_ALL_UNANNOUNCED_SECONDS: u64 = READ_INTERVAL.as_secs() + REACHES_ALL_SECONDS;
/// Attempts of one change when other operators are first; each time one of their changes has
/// succeeded.
const CHANGE_ATTEMPTS_MAX: u32 = 100;
const CHANGE_PAUSE_MIN: Duration = Duration::from_millis(10);
const CHANGE_PAUSE_MAX: Duration = Duration::from_millis(200);

/// Why a change was not made, or its result is unknown.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ChangeError {
    /// The change is not allowed; the text says how to correct it.
    #[error("{0}")]
    Refused(String),
    /// The resulting policy is invalid.
    #[error(transparent)]
    Impossible(#[from] PolicyError),
    /// The archive did not answer; the change may have been made, and repeating it is safe.
    #[error("{0}. Make the same change again: repeating it is safe")]
    Unavailable(String),
    /// This build cannot read the stored policy.
    #[error("{0}. Change it with the version that wrote it")]
    Unreadable(String),
    /// Other operators changed the policy at each attempt.
    #[error("the policy was changed {CHANGE_ATTEMPTS_MAX} times by others meanwhile; try again")]
    Busy,
}

impl From<ArchiveError> for ChangeError {
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::Unavailable(_) | ArchiveError::NotRun(_) => {
                ChangeError::Unavailable(error.to_string())
            }
            _ => ChangeError::Unreadable(error.to_string()),
        }
    }
}

/// A successful change.
#[derive(Clone, Debug)]
pub struct Changed {
    /// The stored policy.
    pub stored: StoredPolicy,
    /// Whether this change wrote it; otherwise it had no effect.
    pub is_new: bool,
    /// Whether the change was announced; otherwise processes find it by their periodic read.
    pub announced: bool,
}

/// Stores operators' changes of the policy.
#[derive(Clone)]
pub struct PolicyStore {
    engine: Option<Engine>,
    archive: Archive,
}

impl PolicyStore {
    /// Uses these services; without Redis changes are stored and not announced.
    pub fn new(engine: Option<Engine>, archive: Archive) -> Self {
        PolicyStore { engine, archive }
    }

    /// Returns the stored policy.
    ///
    /// # Errors
    /// If the archive does not answer, or this build cannot read the policy.
    pub async fn stored(&self) -> Result<StoredPolicy, ArchiveError> {
        self.archive.stored_policy().await
    }

    /// Applies a change to the stored policy and announces it. `edit` may run several times. With
    /// `base`, an invalid result is refused; a change that only removes entries comes without, as it
    /// may be the one that corrects an invalid policy.
    ///
    /// # Errors
    /// See [`ChangeError`]. Nothing was changed, except that with [`ChangeError::Unavailable`] this
    /// is unknown.
    pub async fn change(
        &self,
        by: &str,
        base: Option<&BasePolicy>,
        edit: impl Fn(&mut LivePolicy) -> Result<(), ChangeError>,
    ) -> Result<Changed, ChangeError> {
        let mut backoff = Backoff::new(CHANGE_PAUSE_MIN, CHANGE_PAUSE_MAX);
        for _ in 0..CHANGE_ATTEMPTS_MAX {
            let before = self.stored().await?;
            let mut live = before.live.clone();
            edit(&mut live)?;
            if live == before.live {
                // An earlier run may have written it without announcing it.
                let announced = self.announce().await.is_ok();
                return Ok(Changed { stored: before, is_new: false, announced });
            }
            let at_ms = unix_now_ms();
            live.drop_ended(at_ms);
            live.revision += 1;
            if let Some(base) = base {
                live.above(base)?;
            }
            let next = StoredPolicy { live, by: by.to_owned(), at_ms };
            // In case this process dies before the second announcement, whose result counts.
            let _ = self.announce().await;
            if self.archive.change_policy(&next).await? {
                let announced = self.announce().await.is_ok();
                return Ok(Changed { stored: next, is_new: true, announced });
            }
            tokio::time::sleep(backoff.pause()).await;
        }
        Err(ChangeError::Busy)
    }

    async fn announce(&self) -> Result<(), RedisError> {
        match &self.engine {
            Some(engine) => engine.renew_gates_mark().await,
            None => Err(RedisError::NotRun("not connected".to_owned())),
        }
    }
}

/// Uses the policy.
pub trait PolicyFollower: Send + Sync {
    /// Uses this policy from now on.
    fn adopt(&self, policy: Policy);

    /// Reports whether the stored policy is unusable.
    fn note_unusable(&self, is_unusable: bool);
}

/// The policy in force in a process: the settings' own, and the operators' changes above it. Both may
/// change while it runs.
pub struct PolicyInForce {
    parts: Mutex<(BasePolicy, LivePolicy)>,
    follower: Arc<dyn PolicyFollower>,
}

impl PolicyInForce {
    /// The settings' policy, until the operators' changes are read.
    pub fn new(base: BasePolicy, follower: Arc<dyn PolicyFollower>) -> Self {
        PolicyInForce { parts: Mutex::new((base, LivePolicy::default())), follower }
    }

    /// Adopts the operators' changes; returns their revision.
    ///
    /// # Errors
    /// If the result is invalid: nothing changes.
    fn adopt_live(&self, live: LivePolicy) -> Result<i64, PolicyError> {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let policy = live.above(&parts.0)?;
        let revision = policy.revision;
        parts.1 = live;
        self.follower.adopt(policy);
        Ok(revision)
    }

    /// Checks whether the operators' changes fit another policy of the settings.
    ///
    /// # Errors
    /// If the result is invalid.
    pub fn check_base(&self, base: &BasePolicy) -> Result<(), PolicyError> {
        let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        parts.1.above(base).map(drop)
    }

    /// Adopts another policy of the settings.
    ///
    /// # Errors
    /// If the operators' changes do not fit it: nothing changes.
    pub fn adopt_base(&self, base: BasePolicy) -> Result<(), PolicyError> {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let policy = parts.1.above(&base)?;
        parts.0 = base;
        self.follower.adopt(policy);
        Ok(())
    }
}

/// Keeps a process' policy up to date.
pub struct PolicyWatch {
    engine: Engine,
    archive: Archive,
    in_force: Arc<PolicyInForce>,
    /// Revision of the adopted policy.
    revision: i64,
    /// The mark of the last turn; `None` if Redis did not answer.
    mark: Option<Option<String>>,
    /// Until this time each turn reads the archive.
    watchful_until: Instant,
    read_at: Instant,
    /// The last failure, which has been logged.
    failure: Option<ReadFailure>,
}

/// Why a read brought no policy.
#[derive(Clone, Debug, PartialEq, Eq)]
enum ReadFailure {
    /// The archive does not answer.
    Unavailable(String),
    /// The stored policy is invalid or unreadable.
    Unusable(String),
}

impl From<ArchiveError> for ReadFailure {
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::Unavailable(_) | ArchiveError::NotRun(_) => {
                ReadFailure::Unavailable(error.to_string())
            }
            _ => ReadFailure::Unusable(error.to_string()),
        }
    }
}

impl PolicyWatch {
    /// Adopts the stored policy; [`PolicyWatch::run`] continues.
    ///
    /// # Errors
    /// If the archive does not answer. An unusable policy is logged and ignored.
    pub async fn begin(
        engine: Engine,
        archive: Archive,
        in_force: Arc<PolicyInForce>,
    ) -> Result<Self, ArchiveError> {
        let now = Instant::now();
        let mut watch = PolicyWatch {
            engine,
            archive,
            in_force,
            revision: 0,
            mark: None,
            watchful_until: now,
            read_at: now,
            failure: None,
        };
        match watch.read().await {
            Some(ReadFailure::Unavailable(reason)) => Err(ArchiveError::Unavailable(reason)),
            _ => Ok(watch),
        }
    }

    /// A watch that has read nothing yet, for the same follower.
    pub fn anew(&self) -> Self {
        let now = Instant::now();
        PolicyWatch {
            engine: self.engine.clone(),
            archive: self.archive.clone(),
            in_force: self.in_force.clone(),
            revision: 0,
            mark: None,
            watchful_until: now,
            read_at: now,
            failure: None,
        }
    }

    /// Runs until shutdown is requested.
    pub async fn run(mut self, shutdown: Shutdown) {
        while shutdown.sleep_or_shutdown(TURN).await {
            // A turn may be cut off: its result is no longer needed.
            tokio::select! {
                () = self.turn() => {}
                () = shutdown.requested() => break,
            }
        }
    }

    async fn turn(&mut self) {
        let now = Instant::now();
        let is_due = self.mark.is_none()
            || now < self.watchful_until
            // Announcements made while the archive was unavailable were missed.
            || matches!(self.failure, Some(ReadFailure::Unavailable(_)))
            || now.duration_since(self.read_at) >= READ_INTERVAL;
        let engine = self.engine.clone();
        let mark = if is_due {
            // Concurrently: while Redis is silent, reading the mark takes long.
            tokio::join!(engine.gates_mark(), self.read()).0
        } else {
            engine.gates_mark().await
        };
        let mark = mark.ok();
        let has_changed = mark != self.mark;
        self.mark = mark;
        if has_changed {
            self.watchful_until = Instant::now() + WATCHFUL;
            self.read().await;
        }
    }

    /// Reads the archive and adopts a new policy. Logs a failure once, and its end.
    async fn read(&mut self) -> Option<ReadFailure> {
        self.read_at = Instant::now();
        let failure = self.adopt_new().await.err();
        if failure != self.failure {
            let revision = self.revision;
            match &failure {
                Some(ReadFailure::Unavailable(reason)) => {
                    tracing::warn!(reason, revision, "the gates' policy cannot be read");
                }
                Some(ReadFailure::Unusable(reason)) => tracing::error!(
                    reason,
                    revision,
                    "ALARM: the stored policy of the gates cannot be used; the previous one stays in force"
                ),
                None => tracing::info!(revision, "the gates' policy can be read again"),
            }
            self.failure.clone_from(&failure);
        }
        // While the archive is unavailable, whether the policy is usable is unknown.
        if !matches!(failure, Some(ReadFailure::Unavailable(_))) {
            self.in_force.follower.note_unusable(failure.is_some());
        }
        failure
    }

    async fn adopt_new(&mut self) -> Result<(), ReadFailure> {
        let archive = self.archive.promptly();
        if archive.policy_revision().await? == self.revision {
            return Ok(());
        }
        let stored = archive.stored_policy().await?;
        let revision = self.in_force.adopt_live(stored.live);
        self.revision = revision.map_err(|error| ReadFailure::Unusable(error.to_string()))?;
        let (revision, by) = (self.revision, stored.by.as_str());
        tracing::info!(revision, by, "the gates adopted a changed policy");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The longest Redis timeout that settings allow (`redis_timeout_ms`).
    const REDIS_TIMEOUT_MAX: Duration = Duration::from_millis(900);

    #[test]
    fn announced_change_reaches_all_processes_within_the_bound() {
        // Redis is silent: each turn reads the archive and pauses after both have ended.
        let silent = REDIS_TIMEOUT_MAX + TURN;
        // It falls silent during the read of the mark: the archive is read afterwards.
        let falling_silent = TURN + REDIS_TIMEOUT_MAX;
        let bound = Duration::from_secs(REACHES_ALL_SECONDS);
        let archive_read = Duration::from_millis(500);
        assert!(silent.max(falling_silent) + archive_read < bound);
    }
}
