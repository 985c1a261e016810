//! Runs scripts: one bounded call to one partition, with a deadline by Redis' own clock.
//!
//! Guarantees: a call that is given up never takes effect later than its `not_after`; a script
//! that Redis lost is sent again; at most `in_flight_max` scripts are in flight on one node; every
//! reply narrows the estimate of that node's clock. [`super::routing`] chooses node and connection.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use fred::types::Value;

use super::clock::{NotAfter, RedisClock};
use super::connect::RedisSettings;
use super::error::RedisError;
use super::keys::Keys;
use super::replication::Replication;
use super::routing::{Node, Router, Urgency};
use super::scripts::call::ScriptCall;
use super::scripts::{Script, ScriptReply, Scripts, Timed};
use crate::circuit_breaker::{BreakerReport, CircuitBreaker};
use crate::domain::Partition;
use crate::lifecycle::Supervisor;
use crate::telemetry::spans::{Span, SpanKind};

/// Receives every script call, for metrics.
pub trait Observer: Send + Sync {
    /// A script replied with a code (or `unknown`, `not_run`, `unexpected`) after `seconds`.
    fn script_called(&self, script: &'static str, code: &'static str, seconds: f64);
    /// A script has no reply.
    fn call_failed(&self, _error: &RedisError) {}
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
    /// Confirms replication, where that is configured.
    replication: OnceLock<Replication>,
    /// `not_after` of all calls, once a test has pinned it.
    pinned_not_after: OnceLock<AtomicI64>,
}

/// No script has more arguments; the capacity of a command.
const ARGUMENTS_MAX: usize = 32;
/// The part of the time-out that is kept for the reply.
const REPLY_TIME_DIVISOR: u64 = 5;

/// Calls that their callers can repeat are refused first under overload.
fn urgency(script: Script) -> Urgency {
    match script {
        Script::Limit => Urgency::First,
        Script::Hold
        | Script::Extend
        | Script::Cancel
        | Script::Block
        | Script::RoomLeave
        | Script::ConfirmBegin
        | Script::GetBooking
        | Script::RoomJoin
        | Script::RoomClaim => Urgency::Request,
        _ => Urgency::Upkeep,
    }
}

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

    /// The number of calls in flight, on all nodes.
    pub fn in_flight(&self) -> usize {
        self.inner.router.nodes().iter().map(|one| one.0.load().under_way()).sum()
    }

    /// The number of connections of HTTP threads that are up, to all nodes.
    pub fn thread_connections(&self) -> usize {
        self.inner.router.nodes().iter().map(|one| one.0.pipelines_up()).sum()
    }

    /// The circuit breakers of all nodes as one: the worst state, and the sums.
    pub fn breaker(&self) -> BreakerReport {
        let now = Instant::now();
        let nodes = self.inner.router.nodes();
        let reports = nodes.iter().map(|(node, ..)| node.breaker().report(now));
        reports.fold(BreakerReport::default(), BreakerReport::and)
    }

    /// For how long a partition's node has given no answers; `None` while its breaker is closed.
    pub fn away_for(&self, partition: Partition) -> Option<Duration> {
        self.inner.router.node(partition).ok()?.breaker().away_for(Instant::now())
    }

    /// Whether requests to a partition are refused now because its node gave no answers.
    pub fn refuses(&self, partition: Partition) -> bool {
        let refuses = |node: Arc<Node>| node.breaker().refuses(Instant::now());
        self.inner.router.node(partition).is_ok_and(refuses)
    }

    /// The greatest number of calls under way, on any node, at which requests are refused now.
    pub fn concurrency_limit(&self) -> usize {
        let nodes = self.inner.router.nodes();
        nodes.iter().map(|(node, ..)| node.load().request_limit()).max().unwrap_or_default()
    }

    /// The number of requests that were refused because too many calls were under way.
    pub fn overload_refusals(&self) -> u64 {
        self.inner.router.nodes().iter().map(|(node, ..)| node.load().refused()).sum()
    }

    /// The estimate of the clock of a partition's node.
    pub fn clock(&self, partition: Partition) -> &RedisClock {
        self.inner.router.clock(partition)
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

    /// Makes [`Engine::is_replicated`] require this many replicas and wait at most `bound`.
    pub async fn ask_replicas(
        &self,
        replicas: u32,
        bound: Duration,
        supervisor: &Supervisor,
    ) -> Result<(), RedisError> {
        let (groups, required) = (self.lanes(), (replicas, bound));
        let (keys, router, settings) = (self.keys(), self.router(), self.settings());
        let replication =
            Replication::connect(groups, keys, router, settings, required, supervisor).await?;
        self.set_replication(replication);
        Ok(())
    }

    /// Whether replicas are known to have all that this partition's scripts had written when this
    /// was called. `false` where replication is not checked.
    pub async fn is_replicated(&self, partition: Partition) -> bool {
        match self.replication() {
            Some(replication) => replication.confirm(partition).await,
            None => false,
        }
    }

    /// The moment, by Redis' clock, after which a call sent now does not run. It is a little before
    /// the caller gives up, so that the reply of a call that arrives too late is still received.
    pub async fn not_after(&self, partition: Partition) -> Result<NotAfter, RedisError> {
        if let Some(pinned) = self.inner.pinned_not_after.get() {
            return Ok(NotAfter(pinned.load(Ordering::Relaxed)));
        }
        let now_ms = match self.clock(partition).now_at_least_ms() {
            Some(now_ms) => now_ms,
            None if self.refuses(partition) => return Err(RedisError::no_answers()),
            None => self.redis_time_ms(partition).await?,
        };
        let timeout_ms = self.inner.settings.timeout_ms;
        Ok(NotAfter(now_ms + (timeout_ms - timeout_ms / REPLY_TIME_DIVISOR) as i64))
    }

    /// Runs a script, with the current `not_after` where it has one. A call that arrives too late
    /// because Redis' clock was set is repeated once.
    pub(super) async fn call<C: ScriptCall>(
        &self,
        call: &C,
    ) -> Result<Timed<C::Reply>, RedisError> {
        self.call_until(call, NotAfter(i64::MAX)).await
    }

    /// Like [`Engine::call`], with a `not_after` of at most `latest`.
    pub(super) async fn call_until<C: ScriptCall>(
        &self,
        call: &C,
        latest: NotAfter,
    ) -> Result<Timed<C::Reply>, RedisError> {
        if !C::HAS_NOT_AFTER {
            return self.call_once(call, None).await;
        }
        let began = Instant::now();
        let mut repeated = false;
        loop {
            let not_after = self.not_after(call.partition(self.keys())).await?;
            let not_after = NotAfter(not_after.0.min(latest.0));
            let timed = self.call_once(call, Some(not_after)).await?;
            let in_time = began.elapsed() < self.timeout() / 2;
            if timed.code() != "too_late" || !in_time || repeated {
                return Ok(timed);
            }
            repeated = true;
        }
    }

    /// Runs a script once.
    pub(super) async fn call_once<C: ScriptCall>(
        &self,
        call: &C,
        not_after: Option<NotAfter>,
    ) -> Result<Timed<C::Reply>, RedisError> {
        let began = Instant::now();
        let mut span = Span::child(C::SCRIPT.span_name(), SpanKind::Client);
        let result = self.call_unobserved(call, not_after).await;
        let label = match &result {
            Ok(timed) => timed.reply.code(),
            Err(RedisError::NotRun(_)) => "not_run",
            Err(RedisError::Unknown(_)) => "unknown",
            Err(RedisError::Unexpected(_)) => "unexpected",
        };
        if span.is_recorded() {
            span.set("db.system.name", "redis");
            span.set("db.operation.name", "EVALSHA");
            span.set("db.stored_procedure.name", C::SCRIPT.name());
            span.set("holdfast.partition", i64::from(call.partition(self.keys()).0));
            span.set("holdfast.script.reply", label);
            if let Err(error) = &result {
                span.fail(label);
                span.set_text("holdfast.script.error", error);
            }
        }
        self.inner.observer.script_called(C::SCRIPT.name(), label, began.elapsed().as_secs_f64());
        if let Err(error) = &result {
            self.inner.observer.call_failed(error);
        }
        result
    }

    async fn call_unobserved<C: ScriptCall>(
        &self,
        call: &C,
        not_after: Option<NotAfter>,
    ) -> Result<Timed<C::Reply>, RedisError> {
        let (router, partition) = (&self.inner.router, call.partition(self.keys()));
        let (node, sent) = (router.node(partition)?, Instant::now());
        let urgency = urgency(C::SCRIPT);
        if urgency != Urgency::Upkeep && !node.breaker().allows(sent) {
            return Err(RedisError::no_answers());
        }
        let entered = node.load().enter(urgency).ok_or_else(RedisError::overloaded)?;
        let changes = router.changes(partition);
        let assembled = self.inner.scripts.get(C::SCRIPT);
        let command = command_of(call, self.keys(), &assembled.sha1, not_after);
        let value = self.bounded(self.evaluate(C::SCRIPT, partition, command)).await;
        note_result(node.breaker(), &value);
        if !matches!(value, Err(RedisError::NotRun(_))) {
            entered.note_answered();
        }
        let timed = Timed::parse(value?)?;
        // Another node has another clock.
        if changes == router.changes(partition) {
            self.clock(partition).observe(sent, Instant::now(), timed.now_ms);
        }
        Ok(timed)
    }

    async fn evaluate(
        &self,
        script: Script,
        partition: Partition,
        mut command: Vec<Value>,
    ) -> Result<Value, RedisError> {
        match self.inner.router.send("EVALSHA", partition, &command).await {
            Err(RedisError::Unexpected(text)) if text.contains("NOSCRIPT") => {
                // Redis lost the script (restart, SCRIPT FLUSH): EVAL loads it again.
                command[0] = Value::from(self.inner.scripts.get(script).text.as_str());
                Box::pin(self.inner.router.send("EVAL", partition, &command)).await
            }
            other => other,
        }
    }

    /// Like [`Engine::call`], for a caller that waits for at most half the time-out: what follows
    /// the call has to end in time, too.
    pub(super) async fn call_promptly<C: ScriptCall>(
        &self,
        call: &C,
    ) -> Result<Timed<C::Reply>, RedisError> {
        let bound = self.timeout() / 2;
        match tokio::time::timeout(bound, self.call(call)).await {
            Ok(result) => result,
            Err(_) => {
                let (script, seconds) = (C::SCRIPT.name(), bound.as_secs_f64());
                self.inner.observer.script_called(script, "unknown", seconds);
                Err(RedisError::Unknown("no reply in half the time-out".into()))
            }
        }
    }

    /// Sends one command about a partition, bounded.
    pub(super) async fn command(
        &self,
        name: &'static str,
        partition: Partition,
        args: Vec<Value>,
    ) -> Result<Value, RedisError> {
        let reply = self.bounded(self.inner.router.send(name, partition, &args)).await;
        if let Ok(node) = self.inner.router.node(partition) {
            note_result(node.breaker(), &reply);
        }
        reply
    }

    async fn bounded(
        &self,
        call: impl Future<Output = Result<Value, RedisError>>,
    ) -> Result<Value, RedisError> {
        // The library has the same bound per command. This one covers two commands in a row.
        match tokio::time::timeout(self.timeout() * 2, call).await {
            Ok(result) => result,
            Err(_) => Err(RedisError::Unknown("no reply in time".into())),
        }
    }

    fn timeout(&self) -> Duration {
        Duration::from_millis(self.inner.settings.timeout_ms)
    }
}

/// Reports the result of a call to its node's breaker. An error reply is an answer.
fn note_result(breaker: &CircuitBreaker, result: &Result<Value, RedisError>) {
    match result {
        Err(error) if error.is_away() => breaker.failed(Instant::now()),
        // Refused here, or it was another node's: says nothing of this one.
        Err(RedisError::NotRun(_)) => {}
        Ok(_) | Err(_) => breaker.succeeded(Instant::now()),
    }
}

/// The arguments of EVALSHA.
fn command_of<C: ScriptCall>(
    call: &C,
    keys: &Keys,
    sha1: &str,
    not_after: Option<NotAfter>,
) -> Vec<Value> {
    let keys = call.keys(keys);
    let mut command = Vec::with_capacity(3 + keys.len() + ARGUMENTS_MAX);
    command.push(Value::from(sha1));
    command.push(Value::from(keys.len() as i64));
    command.extend(keys.into_iter().map(Value::from));
    command.extend(not_after.map(|moment| Value::from(moment.0)));
    call.push_arguments(&mut command);
    command
}
