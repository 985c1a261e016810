//! The deployment's parts in an overview.

use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use crate::api::health::{self, CircuitBreakers};
use crate::api::state::RequestContext;
use crate::http::words;
use crate::sale::{Deployment, LiveReadiness};

/// How far the archive is behind the booking log.
#[derive(Serialize, ToSchema)]
pub struct ArchiveBody {
    /// Entries that are not archived; null if Redis cannot tell.
    #[schema(example = 12, required = true)]
    entries_behind: Option<u64>,
    /// Age of the oldest of them, seconds.
    #[schema(example = 0.4)]
    seconds_behind: f64,
    /// Length of the longest partition's log, archived entries included until they are trimmed.
    #[schema(example = 48_211)]
    log_entries: u64,
    /// Its length at which holds stop.
    #[schema(example = 1_000_000)]
    log_entries_max: u64,
    /// Entries that the worker gave up on.
    #[schema(example = 0)]
    dead_letters: u64,
    /// Partitions whose Redis node does not answer.
    silent_partitions: Vec<u16>,
}

impl ArchiveBody {
    pub fn new(deployment: &Deployment) -> Self {
        let lag = &deployment.lag;
        ArchiveBody {
            entries_behind: lag.totals.waiting.map(|waiting| waiting + lag.totals.pending),
            seconds_behind: lag.totals.behind_seconds,
            log_entries: lag.partitions.iter().map(|one| one.length).max().unwrap_or_default(),
            log_entries_max: deployment.log_entries_max,
            dead_letters: lag.totals.dead_letters,
            silent_partitions: lag.silent_partitions.clone(),
        }
    }
}

/// The state of this process, of its dependencies and of the workers.
#[derive(Serialize, ToSchema)]
pub struct HealthOverviewBody {
    /// `ok`, `degraded`, `warming`, `unavailable` or `ending`, as in `/health`.
    #[schema(value_type = words::HealthStatus)]
    status: &'static str,
    /// Redis.
    redis: RedisHealthBody,
    /// MongoDB.
    mongodb: DependencyBody,
    /// The circuit breakers of this process.
    circuit_breakers: CircuitBreakers,
    /// The live view: `ok`, `warming` or `stale`.
    #[schema(value_type = words::CheckStatus)]
    live: &'static str,
    /// The background tasks: `ok` or `failing`.
    #[schema(value_type = words::CheckStatus)]
    tasks: &'static str,
    /// Those that fail.
    failing_tasks: Vec<&'static str>,
    /// The readers of the booking log, last reader first; empty while Redis does not answer.
    workers: Vec<WorkerBody>,
}

/// A dependency by the last check.
#[derive(Serialize, ToSchema)]
pub struct DependencyBody {
    /// `ok`, `partial` or `unavailable`.
    #[schema(value_type = words::CheckStatus)]
    status: &'static str,
    /// How long the last check took, ms.
    #[schema(example = 0.6)]
    response_ms: f64,
    /// What is wrong.
    #[schema(required = true)]
    detail: Option<String>,
}

/// Redis by the last check, with its memory.
#[derive(Serialize, ToSchema)]
pub struct RedisHealthBody {
    /// The check.
    #[serde(flatten)]
    check: DependencyBody,
    /// Bytes in use; null while Redis does not answer.
    #[schema(example = 222_298_112_u64, required = true)]
    memory_used_bytes: Option<u64>,
    /// Its limit; null without one.
    #[schema(required = true)]
    memory_limit_bytes: Option<u64>,
}

/// A worker.
#[derive(Serialize, ToSchema)]
pub struct WorkerBody {
    /// Its name.
    name: String,
    /// Age of its last read, seconds.
    #[schema(example = 0.2)]
    last_read_seconds: f64,
    /// Entries that it has not archived.
    #[schema(example = 12)]
    pending: u64,
}

impl HealthOverviewBody {
    pub fn new(context: &RequestContext, deployment: Option<&Deployment>) -> Self {
        let sale = &context.state.sale;
        let checks = sale.dependencies();
        let readiness = checks.readiness();
        let (redis_took, mongodb_took) = checks.response_times();
        let failing_tasks = sale.supervisor().failing();
        let live = match sale.live_readiness() {
            LiveReadiness::Warming => "warming",
            LiveReadiness::Fresh => "ok",
            LiveReadiness::Stale => "stale",
        };
        let workers = deployment.map(|one| one.workers.as_slice()).unwrap_or_default();
        let status = health::assess(&context.state).1.status();
        HealthOverviewBody {
            status,
            redis: RedisHealthBody {
                check: DependencyBody::new(readiness.redis, readiness.redis_lacks, redis_took),
                memory_used_bytes: deployment.map(|one| one.memory_used_bytes),
                memory_limit_bytes: deployment.and_then(|one| one.memory_limit_bytes),
            },
            mongodb: DependencyBody::new(readiness.mongodb, None, mongodb_took),
            circuit_breakers: CircuitBreakers::of(&sale.breakers()),
            live,
            tasks: if failing_tasks.is_empty() { "ok" } else { "failing" },
            failing_tasks,
            workers: workers
                .iter()
                .map(|worker| WorkerBody {
                    name: worker.name.clone(),
                    last_read_seconds: worker.last_read_seconds,
                    pending: worker.pending,
                })
                .collect(),
        }
    }
}

impl DependencyBody {
    fn new(result: Result<(), String>, lacks: Option<String>, took: Duration) -> Self {
        let status = match (&result, &lacks) {
            (Err(_), _) => "unavailable",
            (Ok(()), Some(_)) => "partial",
            (Ok(()), None) => "ok",
        };
        // In hundredths: more digits would only flicker.
        let response_ms = (took.as_secs_f64() * 100_000.0).round() / 100.0;
        DependencyBody { status, response_ms, detail: result.err().or(lacks) }
    }
}
