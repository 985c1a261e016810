//! Checks in the background whether Redis and MongoDB respond. Each has its own interval and bound;
//! readers get the last result.
//!
//! Reading never waits, and an unresponsive dependency does not delay the check of the other. A
//! result is at most [`AGE_MAX`] old; an older or missing result counts as "does not respond".

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::archive::Archive;
use crate::circuit_breaker::BreakerReport;
use crate::lifecycle::Shutdown;
use crate::lifecycle::Supervisor;
use crate::redis::{Engine, NodeAnswer};

/// Pauses between two checks.
const REDIS_INTERVAL: Duration = Duration::from_millis(500);
const MONGODB_INTERVAL: Duration = Duration::from_secs(1);
/// Bounds of one check. (A call of Redis takes at most 900 ms.)
const REDIS_BOUND: Duration = Duration::from_secs(1);
const MONGODB_BOUND: Duration = Duration::from_secs(2);
/// How long a result is valid: several checks, for a busy machine.
const AGE_MAX: Duration = Duration::from_secs(10);

/// The last check results of both dependencies. Cheap to clone.
#[derive(Clone)]
pub struct Dependencies {
    redis: Arc<DependencyCheck>,
    mongodb: Arc<DependencyCheck>,
}

/// Whether the dependencies respond.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// Whether Redis responds, or why not. In a Cluster: any node that serves partitions.
    pub redis: Result<(), String>,
    /// The Cluster nodes that do not respond while others do, and why.
    pub redis_lacks: Option<String>,
    /// Whether MongoDB responds, or why not.
    pub mongodb: Result<(), String>,
}

/// The circuit breaker of each dependency, by its name.
pub type Breakers = [(&'static str, BreakerReport); 3];

/// The states of the circuit breakers, for health reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct BreakerStates {
    /// Redis; of a Cluster, the worst of its nodes.
    pub redis: &'static str,
    /// MongoDB.
    pub mongodb: &'static str,
    /// The payment provider.
    pub payments: &'static str,
}

impl BreakerStates {
    /// The states in words.
    pub fn of(breakers: &Breakers) -> Self {
        let [redis, mongodb, payments] = breakers.map(|(_, report)| report.state.as_str());
        BreakerStates { redis, mongodb, payments }
    }
}

/// The check of one dependency.
struct DependencyCheck {
    interval: Duration,
    bound: Duration,
    last: ArcSwapOption<CheckResult>,
    /// Whether there is a result.
    known: watch::Sender<bool>,
}

/// The result of one check.
#[derive(Debug)]
struct CheckResult {
    at: Instant,
    took: Duration,
    result: Result<MissingNodes, String>,
}

/// Nodes that do not respond while others do, and why.
type MissingNodes = Option<String>;

impl Dependencies {
    /// Starts both checks, which run until shutdown.
    pub fn start(
        engine: &Engine,
        archive: &Archive,
        supervisor: &Supervisor,
        shutdown: &Shutdown,
    ) -> Self {
        let redis = DependencyCheck::new(REDIS_INTERVAL, REDIS_BOUND);
        let engine = engine.clone();
        let ping = move || {
            let engine = engine.clone();
            async move { redis_result(engine.ping_nodes().await) }
        };
        redis.supervise("redis_check", ping, supervisor, shutdown);
        let mongodb = DependencyCheck::new(MONGODB_INTERVAL, MONGODB_BOUND);
        let archive = archive.clone();
        let ping = move || {
            let archive = archive.clone();
            async move { archive.ping().await.map(|()| None).map_err(|error| error.to_string()) }
        };
        mongodb.supervise("mongodb_check", ping, supervisor, shutdown);
        Dependencies { redis, mongodb }
    }

    /// Waits until each check has its first result, which its bound limits.
    pub async fn are_known(&self) {
        for check in [&self.redis, &self.mongodb] {
            // The sender lives as long as the check.
            let _ = check.known.subscribe().wait_for(|known| *known).await;
        }
    }

    /// The current state of both.
    pub fn readiness(&self) -> Readiness {
        let now = Instant::now();
        let (redis, mongodb) = (self.redis.result(now), self.mongodb.result(now));
        let redis_lacks = redis.clone().ok().flatten();
        Readiness { redis: redis.map(drop), redis_lacks, mongodb: mongodb.map(drop) }
    }

    /// Durations of the last checks of Redis and MongoDB; the bound if one timed out, zero before the first.
    pub fn response_times(&self) -> (Duration, Duration) {
        let took = |check: &DependencyCheck| {
            check.last.load().as_ref().map_or(Duration::ZERO, |last| last.took)
        };
        (took(&self.redis), took(&self.mongodb))
    }

    /// Duration of the last check of Redis, ms; the bound if it timed out.
    pub fn redis_ms(&self) -> u64 {
        let took = self.redis.last.load().as_ref().map_or(Duration::ZERO, |last| last.took);
        u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
    }
}

impl DependencyCheck {
    fn new(interval: Duration, bound: Duration) -> Arc<Self> {
        let (last, known) = (ArcSwapOption::empty(), watch::Sender::new(false));
        Arc::new(DependencyCheck { interval, bound, last, known })
    }

    fn supervise<F>(
        self: &Arc<Self>,
        name: &'static str,
        ping: impl Fn() -> F + Clone + Send + Sync + 'static,
        supervisor: &Supervisor,
        shutdown: &Shutdown,
    ) where
        F: Future<Output = Result<MissingNodes, String>> + Send,
    {
        let (check, stop) = (self.clone(), shutdown.clone());
        supervisor.spawn(name, shutdown, move || {
            let (check, ping, stop) = (check.clone(), ping.clone(), stop.clone());
            async move {
                loop {
                    check.run(ping()).await;
                    if !stop.sleep_or_shutdown(check.interval).await {
                        return;
                    }
                }
            }
        });
    }

    async fn run(&self, ping: impl Future<Output = Result<MissingNodes, String>>) {
        let began = Instant::now();
        let slow = |_| Err(format!("no answer within {} ms", self.bound.as_millis()));
        let result = timeout(self.bound, ping).await.unwrap_or_else(slow);
        let last = CheckResult { at: Instant::now(), took: began.elapsed(), result };
        self.last.store(Some(Arc::new(last)));
        self.known.send_replace(true);
    }

    fn result(&self, now: Instant) -> Result<MissingNodes, String> {
        let last = self.last.load();
        let Some(last) = last.as_deref() else { return Err("not checked yet".to_owned()) };
        let age = now.saturating_duration_since(last.at);
        if age > AGE_MAX {
            return Err(format!("not checked for {} s", age.as_secs()));
        }
        last.result.clone()
    }
}

/// Combines the results of one Redis or of a Cluster's nodes: sales continue on nodes that respond.
fn redis_result(nodes: Vec<NodeAnswer<()>>) -> Result<MissingNodes, String> {
    let all = nodes.len();
    let away: Vec<NodeAnswer<()>> = nodes.into_iter().filter(|one| one.answer.is_err()).collect();
    let (Some(first), count) = (away.first(), away.len()) else { return Ok(None) };
    let why = first.answer.as_ref().err().map(ToString::to_string).unwrap_or_default();
    if count == all {
        return Err(why);
    }
    let away = away.iter().map(|one| format!("{} ({} partitions)", one.node, one.partitions));
    let away = away.collect::<Vec<_>>().join(", ");
    Ok(Some(format!("{count} of {all} nodes: {away}: {why}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::RedisError;

    #[tokio::test]
    async fn check_result_expires() {
        let check = DependencyCheck::new(REDIS_INTERVAL, REDIS_BOUND);
        let now = Instant::now();
        assert_eq!(check.result(now), Err("not checked yet".to_owned()));
        check.run(async { Ok(None) }).await;
        assert_eq!(check.result(Instant::now()), Ok(None));
        let later = Instant::now() + AGE_MAX + Duration::from_secs(1);
        assert_eq!(check.result(later), Err("not checked for 11 s".to_owned()));
        check.run(async { Err("away".to_owned()) }).await;
        assert_eq!(check.result(Instant::now()), Err("away".to_owned()));
    }

    #[tokio::test]
    async fn unresponsive_dependency_fails_its_check_at_the_bound() {
        let check = DependencyCheck::new(REDIS_INTERVAL, Duration::from_millis(20));
        check.run(std::future::pending()).await;
        assert_eq!(check.result(Instant::now()), Err("no answer within 20 ms".to_owned()));
    }

    #[test]
    fn redis_is_ready_while_any_node_responds() {
        let node = |node: &str, answer: bool| NodeAnswer {
            node: node.to_owned(),
            partitions: 5,
            answer: if answer { Ok(()) } else { Err(RedisError::NotRun("gone".to_owned())) },
        };
        assert_eq!(redis_result(vec![node("a", true), node("b", true)]), Ok(None));
        let lacks = "1 of 2 nodes: b (5 partitions): redis is unavailable: gone";
        assert_eq!(
            redis_result(vec![node("a", true), node("b", false)]),
            Ok(Some(lacks.to_owned()))
        );
        let away = Err("redis is unavailable: gone".to_owned());
        assert_eq!(redis_result(vec![node("a", false), node("b", false)]), away);
    }
}
