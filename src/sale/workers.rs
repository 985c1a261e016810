//! The workers that read the booking log, as Redis knows them.

use std::collections::HashMap;

use futures_util::future::join_all;
use serde::Serialize;

use super::SaleError;
use crate::domain::Partition;
use crate::redis::{Engine, WORKER_GROUP};

/// One reader of the booking log.
#[derive(Clone, Debug, Serialize)]
pub struct WorkerStatus {
    /// Its name.
    pub name: String,
    /// Age of its last read of any partition, seconds.
    pub last_read_seconds: f64,
    /// Entries that it was given and has not archived.
    pub pending: u64,
}

/// Reads the members of the workers' group over all partitions, last reader first.
///
/// # Errors
/// If Redis does not answer.
pub async fn workers(engine: &Engine) -> Result<Vec<WorkerStatus>, SaleError> {
    let mut by_name: HashMap<String, (u64, u64)> = HashMap::new();
    let partitions: Vec<Partition> = engine.keys().all_partitions().collect();
    let groups = partitions.iter().map(|partition| engine.consumers(*partition, WORKER_GROUP));
    for (partition, consumers) in partitions.iter().zip(join_all(groups).await) {
        let consumers = match consumers {
            Ok(consumers) => consumers,
            Err(_) if engine.is_node_gone(*partition) => continue,
            Err(error) => return Err(error.into()),
        };
        for consumer in consumers {
            let (idle_ms, pending) = by_name.entry(consumer.name).or_insert((u64::MAX, 0));
            *idle_ms = consumer.idle_ms.min(*idle_ms);
            *pending += consumer.pending;
        }
    }
    let mut workers: Vec<(u64, WorkerStatus)> = by_name
        .into_iter()
        .map(|(name, (idle_ms, pending))| {
            let last_read_seconds = idle_ms as f64 / 1_000.0;
            (idle_ms, WorkerStatus { name, last_read_seconds, pending })
        })
        .collect();
    workers.sort_by(|a, b| (a.0, &a.1.name).cmp(&(b.0, &b.1.name)));
    Ok(workers.into_iter().map(|(_, worker)| worker).collect())
}
