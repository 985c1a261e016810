//! Running scripts: one bounded call to one partition, with a deadline by Redis' own clock.
//!
//! Promises: a call that is given up never takes effect later than its `not_after`; a script
//! that Redis forgot is sent again; at most `in_flight_max` scripts are under way on one node; every
//! reply narrows what we know of that node's clock. Where a partition is served, and over which
//! connection, [`super::routing`] knows.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use fred::types::Value;

use super::clock::RedisClock;
use super::codes::Code;
use super::connect::RedisSettings;
use super::error::RedisError;
use super::keys::Keys;
use super::replication::Replication;
use super::reply::{self, Answer};
use super::routing::{Router, Urgency};
use super::scripts::{Script, Scripts};
use crate::domain::Partition;

/// Told of every script call; metrics hang here.
pub trait Observer: Send + Sync {
    /// A script answered with a code (or `unknown`, `not_run`, `unexpected`) after `seconds`.
    fn script_called(&self, script: &'static str, code: &'static str, seconds: f64);
}

/// Runs scripts. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    settings: RedisSettings,
    keys: Keys,
    router: Arc<Router>,
    scripts: Scripts,
    observer: Arc<dyn Observer>,
    /// Who asks replicas, where that is configured.
    replication: OnceLock<Replication>,
    /// `not_after` of all calls, once a test has pinned it.
    pinned_not_after: OnceLock<AtomicI64>,
}

/// The part of the time-out that is kept for the reply.
const REPLY_TIME_DIVISOR: u64 = 5;

/// What a caller can ask for again is refused first where there are too many calls.
fn urgency(script: Script) -> Urgency {
    match script {
        Script::Hold
        | Script::Limit
        | Script::Extend
        | Script::ConfirmBegin
        | Script::GetBooking
        | Script::RoomJoin
        | Script::RoomClaim => Urgency::Request,
        _ => Urgency::Upkeep,
    }
}

/// When a call is too late to run, by Redis' clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAfter(pub i64);

impl Engine {
    /// Connects. Errors name what is wrong with the URL or the server.
    pub async fn connect(
        settings: RedisSettings,
        scripts: Scripts,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, RedisError> {
        let keys = Keys::new(&settings.namespace, settings.partitions);
        let inner = Inner {
            router: Router::connect(settings.clone(), &keys).await?,
            keys,
            scripts,
            observer,
            settings,
            replication: OnceLock::new(),
            pinned_not_after: OnceLock::new(),
        };
        Ok(Engine { inner: Arc::new(inner) })
    }

    /// The key names in use.
    pub fn keys(&self) -> &Keys {
        &self.inner.keys
    }

    /// The settings in use.
    pub fn settings(&self) -> &RedisSettings {
        &self.inner.settings
    }

    pub(super) fn router(&self) -> &Arc<Router> {
        &self.inner.router
    }

    /// How many calls are under way, on all nodes.
    pub fn in_flight(&self) -> usize {
        self.inner.router.nodes().iter().map(|one| one.0.load().under_way()).sum()
    }

    /// What we know of the clock of a partition's node.
    pub fn clock(&self, partition: Partition) -> &RedisClock {
        self.inner.router.clock(partition)
    }

    /// Redis' time, Unix ms, asked now.
    pub async fn redis_time_ms(&self, partition: Partition) -> Result<i64, RedisError> {
        let keys = vec![self.keys().log(partition)];
        Ok(self.run(Script::Clock, partition, keys, Vec::new()).await?.now_ms)
    }

    /// Ends all connections.
    pub async fn close(&self) {
        self.inner.router.close().await;
    }

    pub(super) fn replication(&self) -> Option<&Replication> {
        self.inner.replication.get()
    }

    /// Once; a second one is dropped, and its lanes end.
    pub(super) fn set_replication(&self, replication: Replication) {
        let _ = self.inner.replication.set(replication);
    }

    /// Gives all calls from now on this `not_after`. For tests that set Redis' clock.
    #[doc(hidden)]
    pub fn pin_not_after(&self, not_after: NotAfter) {
        let pinned = self.inner.pinned_not_after.get_or_init(AtomicI64::default);
        pinned.store(not_after.0, Ordering::Relaxed);
    }

    /// The moment, by Redis' clock, after which a call sent now does not run. It is a little before
    /// we give up, so that a call that comes too late is still heard to have done nothing.
    pub async fn not_after(&self, partition: Partition) -> Result<NotAfter, RedisError> {
        if let Some(pinned) = self.inner.pinned_not_after.get() {
            return Ok(NotAfter(pinned.load(Ordering::Relaxed)));
        }
        let now_ms = match self.clock(partition).now_at_least_ms() {
            Some(now_ms) => now_ms,
            None => self.redis_time_ms(partition).await?,
        };
        let timeout_ms = self.inner.settings.timeout_ms;
        Ok(NotAfter(now_ms + (timeout_ms - timeout_ms / REPLY_TIME_DIVISOR) as i64))
    }

    /// Runs a mutating script: `build` makes its arguments from the call's `not_after`. A call
    /// that comes too late because Redis' clock was set is made once more.
    pub(super) async fn mutate(
        &self,
        script: Script,
        partition: Partition,
        keys: Vec<String>,
        build: impl Fn(NotAfter) -> Vec<Value>,
    ) -> Result<Answer, RedisError> {
        let began = Instant::now();
        let not_after = self.not_after(partition).await?;
        let answer = self.run(script, partition, keys.clone(), build(not_after)).await?;
        let in_time = began.elapsed() < self.timeout() / 2;
        if answer.code == Code::TooLate && in_time {
            let not_after = self.not_after(partition).await?;
            return Box::pin(self.run(script, partition, keys, build(not_after))).await;
        }
        Ok(answer)
    }

    /// The same for a caller who waits for half the time-out at most: what comes after it has to
    /// answer in time, too.
    pub(super) async fn mutate_promptly(
        &self,
        script: Script,
        partition: Partition,
        keys: Vec<String>,
        build: impl Fn(NotAfter) -> Vec<Value>,
    ) -> Result<Answer, RedisError> {
        let bound = self.timeout() / 2;
        match tokio::time::timeout(bound, self.mutate(script, partition, keys, build)).await {
            Ok(result) => result,
            Err(_) => {
                self.inner.observer.script_called(script.name(), "unknown", bound.as_secs_f64());
                Err(RedisError::Unknown("no reply in half the time-out".into()))
            }
        }
    }

    /// Runs a script once, bounded.
    pub(super) async fn run(
        &self,
        script: Script,
        partition: Partition,
        keys: Vec<String>,
        args: Vec<Value>,
    ) -> Result<Answer, RedisError> {
        let began = Instant::now();
        let result = self.run_unobserved(script, partition, keys, args).await;
        let label = match &result {
            Ok(answer) => answer.code.as_str(),
            Err(RedisError::NotRun(_)) => "not_run",
            Err(RedisError::Unknown(_)) => "unknown",
            Err(RedisError::Unexpected(_)) => "unexpected",
        };
        self.inner.observer.script_called(script.name(), label, began.elapsed().as_secs_f64());
        result
    }

    async fn run_unobserved(
        &self,
        script: Script,
        partition: Partition,
        keys: Vec<String>,
        args: Vec<Value>,
    ) -> Result<Answer, RedisError> {
        let (router, sent) = (&self.inner.router, Instant::now());
        let node = router.node(partition)?;
        let place = node.load().enter(urgency(script)).ok_or_else(RedisError::overloaded)?;
        let changes = router.changes(partition);
        let reply = self.bounded(self.evaluate(script, partition, keys, args)).await;
        if !matches!(reply, Err(RedisError::NotRun(_))) {
            place.note_answered();
        }
        let answer = reply::parse(reply?)?;
        // The clock of a node that served it before is another one.
        if changes == router.changes(partition) {
            self.clock(partition).observe(sent, Instant::now(), answer.now_ms);
        }
        Ok(answer)
    }

    async fn evaluate(
        &self,
        script: Script,
        partition: Partition,
        keys: Vec<String>,
        args: Vec<Value>,
    ) -> Result<Value, RedisError> {
        let assembled = self.inner.scripts.get(script);
        let mut values = Vec::with_capacity(2 + keys.len() + args.len());
        values.push(Value::from(assembled.sha1.as_str()));
        values.push(Value::from(keys.len() as i64));
        values.extend(keys.into_iter().map(Value::from));
        values.extend(args);
        match self.inner.router.send("EVALSHA", partition, &values).await {
            Err(RedisError::Unexpected(text)) if text.contains("NOSCRIPT") => {
                // Redis forgot the script (restart, SCRIPT FLUSH): EVAL also teaches it again.
                values[0] = Value::from(assembled.text.as_str());
                Box::pin(self.inner.router.send("EVAL", partition, &values)).await
            }
            other => other,
        }
    }

    /// Sends one command about a partition, bounded.
    pub(super) async fn command(
        &self,
        name: &'static str,
        partition: Partition,
        args: Vec<Value>,
    ) -> Result<Value, RedisError> {
        self.bounded(self.inner.router.send(name, partition, &args)).await
    }

    async fn bounded(
        &self,
        call: impl Future<Output = Result<Value, RedisError>>,
    ) -> Result<Value, RedisError> {
        // The library's own bound is the same; it tells the connection. This one covers two
        // commands in a row.
        match tokio::time::timeout(self.timeout() * 2, call).await {
            Ok(result) => result,
            Err(_) => Err(RedisError::Unknown("no reply in time".into())),
        }
    }

    fn timeout(&self) -> Duration {
        Duration::from_millis(self.inner.settings.timeout_ms)
    }
}
