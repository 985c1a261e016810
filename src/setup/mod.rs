//! From settings to services: what the three binaries have in common at their start.
//!
//! Promises: a service that is away, too old, set up to lose a sale, or made for another
//! deployment is told in one line that says how to mend it, before any work begins.

mod checks;
mod metrics;

use std::sync::Arc;
use std::time::Duration;

use crate::archive::{Archive, ArchiveConfig, ArchiveError};
use crate::config::Config;
use crate::redis::scripts::ClockSource;
use crate::redis::{Engine, Observer, RedisError, RedisSettings, WORKER_GROUP};
use crate::sale::SaleSettings;

pub use checks::Risk;

/// Why a process cannot start. One line; the text says how to mend it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StartError {
    /// Redis is away.
    #[error("{0}. Start Redis, or set redis_url (HOLDFAST_REDIS_URL), now {1}")]
    Redis(RedisError, String),
    /// MongoDB is away.
    #[error("{0}. Start MongoDB, or set mongodb_url (HOLDFAST_MONGODB_URL), now {1}")]
    MongoDb(ArchiveError, String),
    /// The archive is not one this process may work with.
    #[error("{0}")]
    Archive(ArchiveError),
    /// A service can lose a sale the way it is set up, or is too old.
    #[error("{0}")]
    Risk(Risk),
}

/// Nobody looks at the metrics of tools.
struct Unobserved;

impl Observer for Unobserved {
    fn script_called(&self, _: &'static str, _: &'static str, _: f64) {}
}

/// How to reach Redis.
pub fn redis_settings(config: &Config) -> RedisSettings {
    RedisSettings {
        url: config.redis_url.expose().to_owned(),
        namespace: config.redis_namespace.clone(),
        partitions: config.partitions,
        clients: config.redis_clients as usize,
        timeout_ms: config.redis_timeout_ms,
        in_flight_max: config.redis_in_flight_max as usize,
    }
}

/// How to reach the archive.
pub fn archive_config(config: &Config) -> ArchiveConfig {
    ArchiveConfig {
        url: config.mongodb_url.expose().to_owned(),
        database: config.mongodb_database.clone(),
        op_timeout_ms: config.mongodb_timeout_ms,
    }
}

/// The rules of a sale.
pub fn sale_settings(config: &Config) -> SaleSettings {
    SaleSettings {
        hold_ttl_ms: i64::from(config.hold_ttl_seconds) * 1_000,
        max_hold_ms: i64::from(config.max_hold_seconds) * 1_000,
        max_seats_per_user: config.max_seats_per_user,
        currency: config.currency.clone(),
        idempotency_ttl_ms: i64::from(config.idempotency_ttl_seconds) * 1_000,
        confirm_wait: Duration::from_millis(config.confirm_wait_ms),
        confirm_lease_ms: i64::try_from(config.confirm_lease_ms).unwrap_or(i64::MAX),
        confirm_attempts_max: i64::from(config.confirm_attempts_max),
        unfinished_max: config.abort_queue_max as usize,
        log_entries_max: config.log_entries_max,
        worker_group: WORKER_GROUP.to_owned(),
    }
}

/// Redis, connected and checked. What the settings say to warn about is logged.
pub async fn engine(config: &Config, observer: Arc<dyn Observer>) -> Result<Engine, StartError> {
    let away = |error| StartError::Redis(error, config.redis_url.to_string());
    let settings = redis_settings(config);
    let engine = Engine::connect(settings, ClockSource::Redis, observer).await.map_err(away)?;
    let facts = engine.server_facts().await.map_err(away)?;
    checks::check_redis(&facts, config).map_err(StartError::Risk)?;
    Ok(engine)
}

/// Redis, connected. For tools: how it is set up is for the servers to judge.
pub async fn existing_engine(config: &Config) -> Result<Engine, StartError> {
    let away = |error| StartError::Redis(error, config.redis_url.to_string());
    let settings = RedisSettings { clients: 1, ..redis_settings(config) };
    Engine::connect(settings, ClockSource::Redis, Arc::new(Unobserved)).await.map_err(away)
}

/// The archive, reached, claimed for this deployment and indexed.
pub async fn archive(config: &Config) -> Result<Archive, StartError> {
    let refused = |error| refusal(error, config);
    let archive = Archive::connect(&archive_config(config)).await.map_err(refused)?;
    archive.prepare(config.partitions).await.map_err(refused)?;
    Ok(archive)
}

/// The archive, reached and recognised as this deployment's; nothing is written. For tools.
pub async fn existing_archive(config: &Config) -> Result<Archive, StartError> {
    let refused = |error| refusal(error, config);
    let archive = Archive::connect(&archive_config(config)).await.map_err(refused)?;
    archive.recognise(config.partitions).await.map_err(refused)?;
    Ok(archive)
}

fn refusal(error: ArchiveError, config: &Config) -> StartError {
    match error {
        ArchiveError::Unavailable(_) => StartError::MongoDb(error, config.mongodb_url.to_string()),
        other => StartError::Archive(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_become_milliseconds() {
        let config = Config { hold_ttl_seconds: 7, max_hold_seconds: 9, ..Config::default() };
        let settings = sale_settings(&config);
        assert_eq!((settings.hold_ttl_ms, settings.max_hold_ms), (7_000, 9_000));
        assert_eq!(settings.idempotency_ttl_ms, 86_400_000);
    }

    #[test]
    fn an_absent_mongodb_is_told_in_one_line_without_its_password() {
        let config = Config { mongodb_url: "mongodb://ann:pw@h".into(), ..Config::default() };
        let error = ArchiveError::Unavailable("No available servers".to_owned());
        let told = refusal(error, &config).to_string();
        let expected = "MongoDB is unavailable: No available servers. Start MongoDB, or set \
            mongodb_url (HOLDFAST_MONGODB_URL), now mongodb://ann:***@h";
        assert_eq!(told, expected);
    }
}
