//! `status`: the whole deployment on one screen.
//!
//! Redis and MongoDB are queried independently: if one is unavailable, the other's part is still
//! shown. All lists are bounded, and omitted items are counted.

mod events;
mod view;
mod watch;

use std::process::ExitCode;

use serde::Serialize;

use crate::archive::{Archive, EventHead};
use crate::config::Config;
use crate::domain::{EventId, LoadState, RefundCounts};
use crate::redis::{Engine, ServerFacts};
use crate::sale::workers::{WorkerStatus, workers};
use crate::start;

use super::failure::Failure;
use super::lag::Lag;
use super::output::Output;
pub(super) use events::{EventSeats, Takings};
use events::{Events, Priced, all_heads};

/// Maximum number of events shown.
const EVENTS_MAX: u32 = 1_000;
/// The archive is reported as behind from here on, seconds.
const BEHIND_SECONDS: f64 = 10.0;

/// Show the state of the whole deployment on one screen
///
/// Redis, MongoDB, the booking log, the events on sale with their seats, newest first, and the
/// workers that read the log. "look at" lists what needs attention. A worker's "last read" is the age
/// of its last read of any partition (Redis before 7.2: of its last read that returned something).
/// Seats of overdue holds count as held until they are read. `lag` has every partition,
/// `event show` every section.
///
/// Exits with 2 if Redis or MongoDB is unavailable or refuses the connection; the other one is still
/// shown.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  holdfastctl status
  holdfastctl status --events 100
  holdfastctl status --json | jq '.attention[]'
  holdfastctl status --watch 5")]
pub(super) struct Arguments {
    /// How many events on sale to show with their seats
    #[arg(long, value_name = "N", default_value_t = 8,
          value_parser = clap::value_parser!(u32).range(..=i64::from(EVENTS_MAX)))]
    events: u32,
    /// Show it again every so many seconds, until interrupted
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2",
          value_parser = clap::value_parser!(u32).range(1..=3_600))]
    watch: Option<u32>,
}

/// The state of a deployment.
#[derive(Serialize)]
pub(in crate::ctl) struct Status {
    redis: Service<RedisFacts>,
    mongodb: Service<MongoFacts>,
    /// Absent while Redis is unavailable.
    log: Option<LogStatus>,
    events: Events,
    /// Unfinished refunds; absent while MongoDB is unavailable.
    refunds: Option<RefundCounts>,
    /// The readers of the booking log, last reader first.
    workers: Vec<WorkerStatus>,
    /// What needs attention.
    attention: Vec<String>,
}

/// A service, or why it is unavailable.
#[derive(Serialize)]
#[serde(untagged)]
enum Service<T> {
    There {
        connected: bool,
        #[serde(flatten)]
        facts: T,
    },
    Away {
        connected: bool,
        error: String,
    },
}

#[derive(Serialize)]
struct RedisFacts {
    flavor: &'static str,
    version: String,
    /// Whether it is a cluster, of which one node's facts are shown.
    cluster: bool,
    role: String,
    memory_used_bytes: u64,
    memory_limit_bytes: Option<u64>,
    eviction_policy: String,
    append_only: bool,
    connected_clients: u64,
    /// Nodes of the cluster that do not answer, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    silent_nodes: Vec<String>,
}

#[derive(Serialize)]
struct MongoFacts {
    version: String,
    /// Absent for a standalone server.
    replica_set: Option<String>,
    sharded: bool,
}

#[derive(Serialize)]
struct LogStatus {
    #[serde(flatten)]
    lag: Lag,
    /// Length of one partition's log at which new holds stop.
    entries_max: u64,
}

/// The data from Redis.
struct RedisSide {
    engine: Engine,
    facts: RedisFacts,
    lag: Lag,
    workers: Vec<WorkerStatus>,
    /// Its events, in order.
    loaded: Vec<EventId>,
}

/// The data from MongoDB.
struct MongoSide {
    facts: MongoFacts,
    /// Every event, by id.
    heads: Vec<EventHead>,
    refunds: RefundCounts,
}

impl Arguments {
    pub(super) async fn run(self, config: &Config, output: &Output) -> Result<ExitCode, Failure> {
        let mut reader = StatusReader::new(config, self.events);
        match self.watch {
            None => output.show(&reader.read().await?),
            Some(seconds) => watch::run(reader, seconds, output).await,
        }
    }
}

/// Reads the state of a deployment, repeatedly over the same connections.
pub(super) struct StatusReader<'a> {
    config: &'a Config,
    /// How many events are read with their seats.
    events: u32,
    engine: Option<Engine>,
    archive: Option<Archive>,
    priced: Option<Priced>,
}

impl<'a> StatusReader<'a> {
    pub fn new(config: &'a Config, events: u32) -> Self {
        StatusReader { config, events, engine: None, archive: None, priced: None }
    }

    /// The same with takings: the first read of an event reads its whole layout.
    pub fn with_takings(self) -> Self {
        StatusReader { priced: Some(Priced::new()), ..self }
    }

    /// Redis, if it answered.
    pub fn engine(&self) -> Option<&Engine> {
        self.engine.as_ref()
    }

    /// The archive, if it answered.
    pub fn archive(&self) -> Option<&Archive> {
        self.archive.as_ref()
    }

    async fn query_redis(
        engine: &mut Option<Engine>,
        config: &Config,
    ) -> Result<RedisSide, Failure> {
        let connected = match engine.take() {
            Some(connected) => connected,
            None => start::existing_engine(config).await?,
        };
        RedisSide::query(engine.insert(connected).clone()).await
    }

    async fn query_mongodb(
        archive: &mut Option<Archive>,
        config: &Config,
    ) -> Result<MongoSide, Failure> {
        let connected = match archive.take() {
            Some(connected) => connected,
            None => start::existing_archive(config).await?,
        };
        MongoSide::query(archive.insert(connected).clone()).await
    }

    /// Reads the prices of the events that are shown and were not read before.
    async fn read_prices(&mut self, heads: &[EventHead]) -> Result<(), Failure> {
        let (Some(priced), Some(archive)) = (&mut self.priced, &self.archive) else {
            return Ok(());
        };
        let shown = heads.iter().rev().filter(|head| head.load_state == LoadState::Opened);
        for head in shown.take(self.events as usize) {
            if !priced.contains_key(&head.id)
                && let Some(event) = archive.event(head.id).await?
            {
                priced.insert(head.id, event);
            }
        }
        Ok(())
    }

    pub async fn read(&mut self) -> Result<Status, Failure> {
        let config = self.config;
        let (redis, mongodb) = tokio::join!(
            Self::query_redis(&mut self.engine, config),
            Self::query_mongodb(&mut self.archive, config)
        );
        if let Ok(side) = &mongodb {
            self.read_prices(&side.heads).await?;
        }
        let priced = self.priced.clone().unwrap_or_default();
        // Every figure appears once: events combine the data of both.
        let (redis, events) = match redis {
            Ok(side) => {
                let heads = mongodb.as_ref().ok().map(|side| side.heads.as_slice());
                let max = self.events;
                match Events::with_seats(&side.engine, &side.loaded, heads, max, &priced).await {
                    Ok(events) => (Ok(side), events),
                    // It became unavailable in between.
                    Err(error) => (Err(error), Events::without_seats(heads)),
                }
            }
            Err(error) => {
                let heads = mongodb.as_ref().ok().map(|side| side.heads.as_slice());
                (Err(error), Events::without_seats(heads))
            }
        };
        Ok(Status::of(redis, mongodb, events, config))
    }
}

impl RedisSide {
    async fn query(engine: Engine) -> Result<Self, Failure> {
        let (found, silent_nodes) = facts_of(&engine).await?;
        let facts = RedisFacts {
            flavor: found.flavor,
            version: found.version,
            cluster: engine.settings().is_cluster(),
            role: found.role,
            memory_used_bytes: found.memory_used_bytes,
            memory_limit_bytes: found.memory_limit_bytes,
            eviction_policy: found.eviction_policy,
            append_only: found.append_only,
            connected_clients: found.clients,
            silent_nodes,
        };
        let mut loaded = Vec::new();
        for partition in engine.keys().all_partitions() {
            match engine.loaded_events(&[partition]).await {
                Ok(events) => loaded.extend(events),
                Err(_) if engine.is_node_gone(partition) => {}
                Err(error) => return Err(error.into()),
            }
        }
        loaded.sort_unstable();
        let (lag, workers) = (Lag::read(&engine).await?, workers(&engine).await?);
        Ok(RedisSide { engine, facts, lag, workers, loaded })
    }
}

/// The facts of the first node that answers, and the nodes that do not.
async fn facts_of(engine: &Engine) -> Result<(ServerFacts, Vec<String>), Failure> {
    let (mut found, mut silent, mut error) = (None, Vec::new(), None);
    for one in engine.nodes_facts().await {
        match one.answer {
            Ok(facts) => drop(found.get_or_insert(facts)),
            Err(why) => {
                silent.push(format!("{} ({} partitions): {why}", one.node, one.partitions));
                error = Some(why);
            }
        }
    }
    match (found, error) {
        (Some(found), _) => Ok((found, silent)),
        (None, Some(error)) => Err(error.into()),
        (None, None) => Err(Failure::new("no node of redis serves anything".to_owned())),
    }
}

impl MongoSide {
    async fn query(archive: Archive) -> Result<Self, Failure> {
        let info = archive.server_info().await?;
        let facts = MongoFacts {
            version: info.version,
            replica_set: info.replica_set,
            sharded: info.sharded,
        };
        let refunds = archive.refund_counts(jiff::Timestamp::now().as_millisecond()).await?;
        Ok(MongoSide { facts, heads: all_heads(&archive).await?, refunds })
    }
}

impl<T> Service<T> {
    fn of(queried: Result<T, Failure>) -> Self {
        match queried {
            Ok(facts) => Service::There { connected: true, facts },
            Err(error) => Service::Away { connected: false, error: error.to_string() },
        }
    }

    fn is_there(&self) -> bool {
        matches!(self, Service::There { .. })
    }
}

impl Status {
    fn of(
        redis: Result<RedisSide, Failure>,
        mongodb: Result<MongoSide, Failure>,
        events: Events,
        config: &Config,
    ) -> Self {
        let mut attention = Vec::new();
        let (mut log, mut workers) = (None, Vec::new());
        let redis = redis.map(|side| {
            attention.extend(side.attention(config.log_entries_max));
            log = Some(LogStatus { lag: side.lag, entries_max: config.log_entries_max });
            workers = side.workers;
            side.facts
        });
        attention.extend(events.attention());
        let mut refunds = None;
        let mongodb = mongodb.map(|side| {
            attention.extend(refunds_attention(&side.refunds));
            refunds = Some(side.refunds);
            side.facts
        });
        Status {
            redis: Service::of(redis),
            mongodb: Service::of(mongodb),
            log,
            events,
            refunds,
            workers,
            attention,
        }
    }
}

/// The issues of refunds.
fn refunds_attention(counts: &RefundCounts) -> Vec<String> {
    let mut issues = Vec::new();
    let RefundCounts { overdue, retrying, failed, .. } = counts;
    if *failed > 0 {
        issues.push(format!(
            "{failed} refunds failed and wait for a person: `holdfastctl payments list --refund failed`"
        ));
    }
    if *retrying > 0 {
        issues.push(format!("{retrying} refunds failed and are tried again"));
    }
    if *overdue > 0 {
        issues.push(format!("{overdue} refunds are on their way for two weeks: ask the provider"));
    }
    issues
}

impl RedisSide {
    /// The issues of Redis and the log.
    fn attention(&self, entries_max: u64) -> Vec<String> {
        let mut issues = Vec::new();
        if self.facts.eviction_policy != "noeviction" {
            let policy = &self.facts.eviction_policy;
            issues.push(format!("Redis may evict seats and bookings (maxmemory-policy {policy})"));
        }
        if !self.facts.append_only {
            issues.push("Redis keeps no append-only file: a restart loses holds".to_owned());
        }
        let silent = self.facts.silent_nodes.iter();
        issues.extend(silent.map(|node| format!("a node of Redis does not answer: {node}")));
        let Lag { totals, partitions, .. } = &self.lag;
        if totals.dead_letters > 0 {
            let count = totals.dead_letters;
            issues.push(format!("{count} dead letters: `holdfastctl dead-letters list`"));
        }
        if self.workers.is_empty() && totals.length > 0 {
            issues.push("no worker has ever read the booking log".to_owned());
        } else if totals.behind_seconds > BEHIND_SECONDS {
            let behind = totals.behind_seconds;
            issues.push(format!("the archive is {behind:.0} s behind: `holdfastctl lag`"));
        }
        // From nine tenths on.
        let full = partitions.iter().filter(|one| one.length / 9 >= entries_max / 10);
        issues.extend(full.map(|one| {
            let (partition, length) = (one.partition, one.length);
            format!("partition {partition} has {length} entries: at {entries_max} holds stop")
        }));
        issues
    }
}
