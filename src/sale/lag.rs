//! How far the archive is behind each partition's booking log.

use futures_util::future::join_all;
use serde::Serialize;

use super::SaleError;
use crate::domain::time::age_seconds;
use crate::domain::{LogId, Partition};
use crate::redis::{Engine, LogState, RedisError, WORKER_GROUP};

/// The lag of all partitions.
#[derive(Clone, Debug, Serialize)]
pub struct Lag {
    /// Over all partitions.
    pub totals: LagTotals,
    /// Those that answer.
    pub partitions: Vec<PartitionLag>,
    /// Partitions without data: their cluster node does not answer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub silent_partitions: Vec<u16>,
}

/// The lag over all partitions.
#[derive(Clone, Debug, Serialize)]
pub struct LagTotals {
    /// Entries of the logs, archived ones included until they are trimmed.
    pub length: u64,
    /// Entries that are not delivered to a worker; `None`: Redis cannot tell.
    pub waiting: Option<u64>,
    /// Entries that are delivered and not archived.
    pub pending: u64,
    /// Age of the oldest entry that is not archived, seconds; 0 if there is none.
    pub behind_seconds: f64,
    /// Entries that the worker gave up on.
    pub dead_letters: u64,
}

/// The lag of one partition.
#[derive(Clone, Debug, Serialize)]
pub struct PartitionLag {
    /// Its number.
    pub partition: u16,
    /// See [`LagTotals`].
    pub length: u64,
    /// See [`LagTotals`].
    pub waiting: Option<u64>,
    /// See [`LagTotals`].
    pub pending: u64,
    /// Age of the oldest entry that is delivered and not archived, seconds.
    pub oldest_pending_seconds: Option<f64>,
    /// See [`LagTotals`].
    pub behind_seconds: f64,
    /// The newest entry.
    pub newest: String,
    /// Age of the newest entry of any kind, seconds; `None` if there never was one.
    pub newest_seconds: Option<f64>,
    /// Up to which entry the log is archived.
    pub watermark: String,
    /// See [`LagTotals`].
    pub dead_letters: u64,
}

impl Lag {
    /// Reads the lag of every partition. Some cluster nodes may not answer.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn read(engine: &Engine) -> Result<Self, SaleError> {
        let (mut partitions, mut silent_partitions) = (Vec::new(), Vec::new());
        let all: Vec<Partition> = engine.keys().all_partitions().collect();
        let lags = join_all(all.iter().map(|partition| lag_of(engine, *partition))).await;
        for (partition, lag) in all.into_iter().zip(lags) {
            match lag {
                Ok(lag) => partitions.push(lag),
                Err(_) if engine.is_node_gone(partition) => silent_partitions.push(partition.0),
                Err(error) => return Err(error.into()),
            }
        }
        if partitions.is_empty() {
            let error = RedisError::NotRun("no node of the cluster answers".to_owned());
            return Err(error.into());
        }
        Ok(Lag { totals: LagTotals::of(&partitions), partitions, silent_partitions })
    }
}

async fn lag_of(engine: &Engine, partition: Partition) -> Result<PartitionLag, RedisError> {
    let now_ms = engine.redis_time_ms(partition).await?;
    let state = engine.log_state(partition, WORKER_GROUP).await?;
    let oldest = match state.watermark() {
        watermark if watermark >= state.newest => None,
        watermark => engine.range(partition, watermark.next(), None, 1).await?.pop(),
    };
    let age = |ms| age_seconds(now_ms, ms);
    Ok(PartitionLag {
        partition: partition.0,
        length: state.length,
        waiting: waiting(&state),
        pending: state.pending,
        oldest_pending_seconds: state.oldest_pending.map(|id| age(id.ms)),
        behind_seconds: oldest.map_or(0.0, |read| age(read.id.ms)),
        newest: state.newest.to_string(),
        newest_seconds: (state.newest > LogId::default()).then(|| age(state.newest.ms)),
        watermark: state.watermark().to_string(),
        dead_letters: state.dead_letters,
    })
}

/// Entries not delivered to any worker: all of them if there never was one.
fn waiting(state: &LogState) -> Option<u64> {
    match state.delivered {
        None => Some(state.length),
        Some(_) => state.undelivered,
    }
}

impl PartitionLag {
    /// Whether the partition ever had an entry.
    pub fn is_used(&self) -> bool {
        self.length > 0 || self.dead_letters > 0 || self.newest_seconds.is_some()
    }
}

impl LagTotals {
    fn of(partitions: &[PartitionLag]) -> Self {
        let sum = |part: fn(&PartitionLag) -> u64| partitions.iter().map(part).sum();
        LagTotals {
            length: sum(|one| one.length),
            waiting: partitions.iter().map(|one| one.waiting).sum(),
            pending: sum(|one| one.pending),
            behind_seconds: partitions.iter().map(|one| one.behind_seconds).fold(0.0, f64::max),
            dead_letters: sum(|one| one.dead_letters),
        }
    }
}
