//! Whether Redis and MongoDB answer: each is asked in the background, at its own pace and within its
//! own bound, and readers are answered from what is known.
//!
//! Promises: asking here never waits; one dependency's silence delays nothing that is said of the
//! other; what is said is at most [`AGE_MAX`] old, and what is older, or was never found out, counts
//! as "does not answer".

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::archive::Archive;
use crate::lifecycle::Shutdown;
use crate::lifecycle::Supervisor;
use crate::redis::{Engine, NodeAnswer};

/// Pauses between two questions.
const REDIS_INTERVAL: Duration = Duration::from_millis(500);
const MONGODB_INTERVAL: Duration = Duration::from_secs(1);
/// How long an answer may take. (A call of Redis takes 900 ms at most by itself.)
const REDIS_BOUND: Duration = Duration::from_secs(1);
const MONGODB_BOUND: Duration = Duration::from_secs(2);
/// How long an answer stands: some questions, on a busy machine.
const AGE_MAX: Duration = Duration::from_secs(10);

/// What is known of both dependencies. Cheap to clone.
#[derive(Clone)]
pub struct Dependencies {
    redis: Arc<Check>,
    mongodb: Arc<Check>,
}

/// Whether the dependencies answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// Redis, or why not. Of a Cluster, any node that serves partitions.
    pub redis: Result<(), String>,
    /// The Cluster's nodes that do not answer while others do, and why.
    pub redis_lacks: Option<String>,
    /// MongoDB, or why not.
    pub mongodb: Result<(), String>,
}

/// One dependency.
struct Check {
    interval: Duration,
    bound: Duration,
    last: ArcSwapOption<Answer>,
    /// Whether there is an answer.
    known: watch::Sender<bool>,
}

/// What it said last.
#[derive(Debug)]
struct Answer {
    at: Instant,
    took: Duration,
    result: Result<Lacks, String>,
}

/// What of a dependency does not answer though the rest does.
type Lacks = Option<String>;

impl Dependencies {
    /// Asks both from now on, until shutdown is requested.
    pub fn start(
        engine: &Engine,
        archive: &Archive,
        supervisor: &Supervisor,
        shutdown: &Shutdown,
    ) -> Self {
        let (redis, engine) = (Check::new(REDIS_INTERVAL, REDIS_BOUND), engine.clone());
        let ping = move || {
            let engine = engine.clone();
            async move { redis_answers(engine.ping_nodes().await) }
        };
        redis.supervise("redis_check", ping, supervisor, shutdown);
        let (mongodb, archive) = (Check::new(MONGODB_INTERVAL, MONGODB_BOUND), archive.clone());
        let ping = move || {
            let archive = archive.clone();
            async move { archive.ping().await.map(|()| None).map_err(|error| error.to_string()) }
        };
        mongodb.supervise("mongodb_check", ping, supervisor, shutdown);
        Dependencies { redis, mongodb }
    }

    /// Waits until both have answered once, or their bound is over.
    pub async fn are_known(&self) {
        for check in [&self.redis, &self.mongodb] {
            // The sender lives as long as the check.
            let _ = check.known.subscribe().wait_for(|known| *known).await;
        }
    }

    /// What is known of both.
    pub fn readiness(&self) -> Readiness {
        let now = Instant::now();
        let (redis, mongodb) = (self.redis.result(now), self.mongodb.result(now));
        let redis_lacks = redis.clone().ok().flatten();
        Readiness { redis: redis.map(drop), redis_lacks, mongodb: mongodb.map(drop) }
    }

    /// How long Redis took to answer the last time, ms; the bound if it did not.
    pub fn redis_ms(&self) -> u64 {
        let took = self.redis.last.load().as_ref().map_or(Duration::ZERO, |answer| answer.took);
        u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
    }
}

impl Check {
    fn new(interval: Duration, bound: Duration) -> Arc<Self> {
        let (last, known) = (ArcSwapOption::empty(), watch::Sender::new(false));
        Arc::new(Check { interval, bound, last, known })
    }

    fn supervise<F>(
        self: &Arc<Self>,
        name: &'static str,
        ping: impl Fn() -> F + Clone + Send + Sync + 'static,
        supervisor: &Supervisor,
        shutdown: &Shutdown,
    ) where
        F: Future<Output = Result<Lacks, String>> + Send,
    {
        let (check, stop) = (self.clone(), shutdown.clone());
        supervisor.spawn(name, shutdown, move || {
            let (check, ping, stop) = (check.clone(), ping.clone(), stop.clone());
            async move {
                loop {
                    check.ask(ping()).await;
                    if !stop.sleep_or_shutdown(check.interval).await {
                        return;
                    }
                }
            }
        });
    }

    async fn ask(&self, ping: impl Future<Output = Result<Lacks, String>>) {
        let asked_at = Instant::now();
        let slow = |_| Err(format!("no answer within {} ms", self.bound.as_millis()));
        let result = timeout(self.bound, ping).await.unwrap_or_else(slow);
        let answer = Answer { at: Instant::now(), took: asked_at.elapsed(), result };
        self.last.store(Some(Arc::new(answer)));
        self.known.send_replace(true);
    }

    fn result(&self, now: Instant) -> Result<Lacks, String> {
        let last = self.last.load();
        let Some(answer) = last.as_deref() else { return Err("it was not asked yet".to_owned()) };
        let age = now.saturating_duration_since(answer.at);
        if age > AGE_MAX {
            return Err(format!("it was not asked for {} s", age.as_secs()));
        }
        answer.result.clone()
    }
}

/// One Redis, or the nodes of a Cluster: a sale goes on where any of them answers.
fn redis_answers(nodes: Vec<NodeAnswer<()>>) -> Result<Lacks, String> {
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
    async fn answer_is_known_only_while_it_is_young() {
        let check = Check::new(REDIS_INTERVAL, REDIS_BOUND);
        let now = Instant::now();
        assert_eq!(check.result(now), Err("it was not asked yet".to_owned()));
        check.ask(async { Ok(None) }).await;
        assert_eq!(check.result(Instant::now()), Ok(None));
        let later = Instant::now() + AGE_MAX + Duration::from_secs(1);
        assert_eq!(check.result(later), Err("it was not asked for 11 s".to_owned()));
        check.ask(async { Err("away".to_owned()) }).await;
        assert_eq!(check.result(Instant::now()), Err("away".to_owned()));
    }

    #[tokio::test]
    async fn silent_dependency_is_away_after_its_bound() {
        let check = Check::new(REDIS_INTERVAL, Duration::from_millis(20));
        check.ask(std::future::pending()).await;
        assert_eq!(check.result(Instant::now()), Err("no answer within 20 ms".to_owned()));
    }

    #[test]
    fn redis_answers_while_any_node_does() {
        let node = |node: &str, answer: bool| NodeAnswer {
            node: node.to_owned(),
            partitions: 5,
            answer: if answer { Ok(()) } else { Err(RedisError::NotRun("gone".to_owned())) },
        };
        assert_eq!(redis_answers(vec![node("a", true), node("b", true)]), Ok(None));
        let lacks = "1 of 2 nodes: b (5 partitions): redis is unavailable: gone";
        assert_eq!(
            redis_answers(vec![node("a", true), node("b", false)]),
            Ok(Some(lacks.to_owned()))
        );
        let away = Err("redis is unavailable: gone".to_owned());
        assert_eq!(redis_answers(vec![node("a", false), node("b", false)]), away);
    }
}
