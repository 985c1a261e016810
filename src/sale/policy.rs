//! What the gates go by, changed while they work: by operators in the archive, announced by a mark
//! in Redis, followed by every process.
//!
//! ```text
//! operator: new mark (Redis) → compare-and-set on the revision (MongoDB) → new mark (Redis)
//! process:  every 500 ms the mark; another than before → the archive, each turn for 10 s
//! ```
//!
//! * *The operator's tool dies between the steps*: either nothing was written, or the first mark
//!   has every process look at the archive until what is under way has ended.
//! * *Redis is away*: the tool writes all the same. A process that does not reach Redis looks at
//!   the archive each turn; one that does, while the tool does not, is not told, and finds it by
//!   the look that everyone takes every 30 s.
//! * *Redis has forgotten the mark*: that is another mark than before.
//! * *MongoDB is away*: nothing can be changed; processes go by what they know. One that alone does
//!   not reach it looks each turn until it does.
//! * *What is stored cannot be read or cannot be*: processes go by what they know, and say so in
//!   the log and by a metric. One that starts goes by its settings.
//! * *Two operators at once*: the second is told by MongoDB that it was not the first, looks
//!   again, and makes its change on top.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::unix_now_ms;
use crate::archive::{Archive, ArchiveError, StoredPolicy};
use crate::backoff::Backoff;
use crate::domain::Policy;
use crate::domain::live_policy::PolicyError;
use crate::domain::policy::{BasePolicy, LivePolicy};
use crate::lifecycle::Shutdown;
use crate::redis::{Engine, RedisError};

/// How often a process asks for the mark.
const TURN: Duration = Duration::from_millis(500);
/// How long it looks at the archive each turn once the mark is another. Longer than a change may
/// be under way after the tool that sent it has died.
const WATCHFUL: Duration = Duration::from_secs(10);
/// How often it looks at the archive whatever the mark says.
const LOOK_INTERVAL: Duration = Duration::from_secs(30);
/// Within this time a change that was announced reaches every process, seconds.
pub const REACHES_ALL_SECONDS: u64 = 2;
/// The same for one that could not be announced.
pub const REACHES_ALL_UNANNOUNCED_SECONDS: u64 = LOOK_INTERVAL.as_secs() + REACHES_ALL_SECONDS;
/// How often a change is tried again because another operator was quicker: each time one of
/// them has come through.
const CHANGE_ATTEMPTS_MAX: u32 = 100;
const CHANGE_PAUSE_MIN: Duration = Duration::from_millis(10);
const CHANGE_PAUSE_MAX: Duration = Duration::from_millis(200);

/// Why a change was not made, or is not known to be.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ChangeError {
    /// It cannot be made; the text says how to mend it.
    #[error("{0}")]
    Refused(String),
    /// The result cannot be.
    #[error(transparent)]
    Impossible(#[from] PolicyError),
    /// The archive did not answer; the change may have been made, and may be made again.
    #[error("{0}. Make the same change again: twice is the same as once")]
    Unavailable(String),
    /// The archive has what this build cannot read.
    #[error("{0}. Change it with the version that wrote it")]
    Unreadable(String),
    /// Others changed it all the time.
    #[error("others changed the policy {CHANGE_ATTEMPTS_MAX} times meanwhile; try again")]
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

/// What became of a change.
#[derive(Clone, Debug)]
pub struct Changed {
    /// What is stored now.
    pub stored: StoredPolicy,
    /// Whether this change did it; else everything was so before.
    pub is_new: bool,
    /// Whether processes were told; else they find out by themselves.
    pub announced: bool,
}

/// Where operators' changes are kept.
#[derive(Clone)]
pub struct PolicyStore {
    engine: Option<Engine>,
    archive: Archive,
}

impl PolicyStore {
    /// On these services; without Redis changes are made and not announced.
    pub fn new(engine: Option<Engine>, archive: Archive) -> Self {
        PolicyStore { engine, archive }
    }

    /// What operators changed so far.
    ///
    /// # Errors
    /// If the archive does not answer, or has what this build cannot read.
    pub async fn stored(&self) -> Result<StoredPolicy, ArchiveError> {
        self.archive.stored_policy().await
    }

    /// Makes a change on top of all that were made before, and tells every process. `edit` may be
    /// run several times. With `base`, a result that cannot be is refused; changes that only take
    /// away come without, as they may be what mends it.
    ///
    /// # Errors
    /// See [`ChangeError`]; nothing was changed but with [`ChangeError::Unavailable`], where that is
    /// unknown.
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
                // An earlier run may have written it and not come to say so.
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
            // For the case that we do not come to the second one, which tells whether it worked.
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

/// Who goes by the policy.
pub trait PolicyFollower: Send + Sync {
    /// Goes by this one from now on.
    fn adopt(&self, policy: Policy);

    /// Learns whether what is stored now cannot be used.
    fn note_unusable(&self, is_unusable: bool);
}

/// Has a process follow what operators change.
pub struct PolicyWatch {
    engine: Engine,
    archive: Archive,
    base: BasePolicy,
    follower: Arc<dyn PolicyFollower>,
    /// Of what is adopted.
    revision: i64,
    /// The mark of the last turn; `None` where Redis did not answer.
    mark: Option<Option<String>>,
    /// Until when each turn looks at the archive.
    watchful_until: Instant,
    looked_at: Instant,
    /// What was wrong the last time, and has been told.
    trouble: Option<Trouble>,
}

/// Why a look brought no policy.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Trouble {
    /// The archive does not answer.
    Unavailable(String),
    /// There is one, and it is of no use.
    Unusable(String),
}

impl From<ArchiveError> for Trouble {
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::Unavailable(_) | ArchiveError::NotRun(_) => {
                Trouble::Unavailable(error.to_string())
            }
            _ => Trouble::Unusable(error.to_string()),
        }
    }
}

impl PolicyWatch {
    /// Has `follower` adopt what is stored; goes on with [`PolicyWatch::run`].
    ///
    /// # Errors
    /// If the archive does not answer. What is stored and of no use is told, and left aside.
    pub async fn begin(
        engine: Engine,
        archive: Archive,
        base: BasePolicy,
        follower: Arc<dyn PolicyFollower>,
    ) -> Result<Self, ArchiveError> {
        let now = Instant::now();
        let mut watch = PolicyWatch {
            engine,
            archive,
            base,
            follower,
            revision: 0,
            mark: None,
            watchful_until: now,
            looked_at: now,
            trouble: None,
        };
        match watch.look().await {
            Some(Trouble::Unavailable(reason)) => Err(ArchiveError::Unavailable(reason)),
            _ => Ok(watch),
        }
    }

    /// One that has seen nothing yet, for the same follower.
    pub fn anew(&self) -> Self {
        let now = Instant::now();
        PolicyWatch {
            engine: self.engine.clone(),
            archive: self.archive.clone(),
            base: self.base.clone(),
            follower: self.follower.clone(),
            revision: 0,
            mark: None,
            watchful_until: now,
            looked_at: now,
            trouble: None,
        }
    }

    /// Follows until shutdown is requested.
    pub async fn run(mut self, shutdown: Shutdown) {
        while shutdown.sleep_or_shutdown(TURN).await {
            // What a turn that is cut off would have learnt is of no use any more.
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
            // What was announced meanwhile was missed, for as long as the archive was away.
            || matches!(self.trouble, Some(Trouble::Unavailable(_)))
            || now.duration_since(self.looked_at) >= LOOK_INTERVAL;
        let engine = self.engine.clone();
        let mark = if is_due {
            // At once: while Redis is silent, asking it takes long.
            tokio::join!(engine.gates_mark(), self.look()).0
        } else {
            engine.gates_mark().await
        };
        let mark = mark.ok();
        let is_news = mark != self.mark;
        self.mark = mark;
        if is_news {
            self.watchful_until = Instant::now() + WATCHFUL;
            self.look().await;
        }
    }

    /// Looks at the archive, and adopts what is new. Tells of trouble, once, and when it is over.
    async fn look(&mut self) -> Option<Trouble> {
        self.looked_at = Instant::now();
        let trouble = self.adopt_news().await.err();
        if trouble != self.trouble {
            let revision = self.revision;
            match &trouble {
                Some(Trouble::Unavailable(reason)) => {
                    tracing::warn!(reason, revision, "the gates' policy cannot be looked at");
                }
                Some(Trouble::Unusable(reason)) => tracing::error!(
                    reason,
                    revision,
                    "ALARM: the stored policy of the gates cannot be used; they go by what was before"
                ),
                None => tracing::info!(revision, "the gates' policy can be looked at again"),
            }
            self.trouble.clone_from(&trouble);
        }
        // While the archive is away nothing new is known.
        if !matches!(trouble, Some(Trouble::Unavailable(_))) {
            self.follower.note_unusable(trouble.is_some());
        }
        trouble
    }

    async fn adopt_news(&mut self) -> Result<(), Trouble> {
        let archive = self.archive.promptly();
        if archive.policy_revision().await? == self.revision {
            return Ok(());
        }
        let stored = archive.stored_policy().await?;
        let policy = stored.live.above(&self.base);
        let policy = policy.map_err(|error| Trouble::Unusable(error.to_string()))?;
        self.revision = policy.revision;
        let (revision, by) = (self.revision, stored.by.as_str());
        tracing::info!(revision, by, "the gates go by what operators changed");
        self.follower.adopt(policy);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The longest call of Redis that settings allow (`redis_timeout_ms`).
    const REDIS_TIMEOUT_MAX: Duration = Duration::from_millis(900);

    #[test]
    fn a_change_reaches_all_in_time() {
        // Redis is silent: each turn looks at the archive, and rests after both have ended.
        let silent = REDIS_TIMEOUT_MAX + TURN;
        // It falls silent just as it is asked: the look comes after it.
        let falling_silent = TURN + REDIS_TIMEOUT_MAX;
        let bound = Duration::from_secs(REACHES_ALL_SECONDS);
        let look = Duration::from_millis(500);
        assert!(silent.max(falling_silent) + look < bound);
    }
}
