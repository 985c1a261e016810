//! What every process does before it works: connect to Redis and MongoDB, look whether they are
//! fit for a sale, and say plainly what is wrong if they are not.

mod checks;
mod observers;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::archive::{Archive, ArchiveConfig, ArchiveError};
use crate::config::Config;
use crate::payments::AlwaysYes;
use crate::redis::scripts::ClockSource;
use crate::redis::{Engine, RedisError, RedisSettings};
use crate::sale::{Sale, SaleSettings};
use crate::shutdown::Shutdown;
use crate::telemetry::Metrics;

/// The workers' consumer group in every booking log.
pub const WORKER_GROUP: &str = "archive";

/// Why a process does not start; the text says how to mend it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StartError(pub String);

impl From<RedisError> for StartError {
    fn from(error: RedisError) -> Self {
        StartError(format!("{error}. Is Redis running? HOLDFAST_REDIS_URL says where"))
    }
}

impl From<ArchiveError> for StartError {
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::Unavailable(_) => {
                StartError(format!("{error}. Is it running? HOLDFAST_MONGODB_URL says where"))
            }
            other => StartError(other.to_string()),
        }
    }
}

/// The two services a process works with, connected and found fit.
pub struct Services {
    /// Redis.
    pub engine: Engine,
    /// MongoDB.
    pub archive: Archive,
}

/// Connects to both services and checks them.
///
/// # Errors
/// If one does not answer, is too old, belongs to another deployment, or is set up in a way that
/// the settings refuse.
pub async fn connect(config: &Config, metrics: &Metrics) -> Result<Services, StartError> {
    let observer = Arc::new(observers::RedisMetrics::new(metrics));
    let engine = Engine::connect(redis_settings(config), ClockSource::Redis, observer).await?;
    checks::redis(&engine.server_facts().await?, config)?;
    let archive = Archive::connect(&archive_config(config)).await?;
    checks::mongodb(&archive.server_info().await?);
    archive.prepare(config.partitions).await?;
    Ok(Services { engine, archive })
}

/// The use cases on these services, with the handles of their background tasks, which end when
/// shutdown is requested.
pub fn sale(
    services: &Services,
    config: &Config,
    metrics: &Metrics,
    shutdown: &Shutdown,
) -> (Sale, Vec<JoinHandle<()>>) {
    Sale::start(
        services.engine.clone(),
        services.archive.clone(),
        Arc::new(AlwaysYes),
        sale_settings(config),
        Arc::new(observers::SaleMetrics::new(metrics)),
        shutdown.watch(),
    )
}

/// Raises the soft limit of open files to the hard one: every connection is a file, and the usual
/// soft limit is 1,024.
pub fn raise_open_files() {
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

fn redis_settings(config: &Config) -> RedisSettings {
    RedisSettings {
        url: config.redis_url.expose().to_owned(),
        namespace: config.redis_namespace.clone(),
        partitions: config.partitions,
        clients: config.redis_clients as usize,
        timeout_ms: config.redis_timeout_ms,
        in_flight_max: config.redis_in_flight_max as usize,
    }
}

fn archive_config(config: &Config) -> ArchiveConfig {
    ArchiveConfig {
        url: config.mongodb_url.expose().to_owned(),
        database: config.mongodb_database.clone(),
        op_timeout_ms: config.mongodb_timeout_ms,
    }
}

fn sale_settings(config: &Config) -> SaleSettings {
    let ms = |seconds: u32| i64::from(seconds) * 1_000;
    SaleSettings {
        hold_ttl_ms: ms(config.hold_ttl_seconds),
        max_hold_ms: ms(config.max_hold_seconds),
        max_seats_per_user: config.max_seats_per_user,
        currency: config.currency.clone(),
        idempotency_ttl_ms: ms(config.idempotency_ttl_seconds),
        confirm_wait: Duration::from_millis(config.confirm_wait_ms),
        // `config` bounds it far below what an i64 holds.
        confirm_lease_ms: config.confirm_lease_ms as i64,
        confirm_attempts_max: i64::from(config.confirm_attempts_max),
        unfinished_max: config.abort_queue_max as usize,
        log_entries_max: config.log_entries_max,
        worker_group: WORKER_GROUP.to_owned(),
    }
}
