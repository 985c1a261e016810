//! The state of the deployment's parts, for operators: read at most once every two seconds by a process,
//! however many ask.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::lag::Lag;
use super::workers::{WorkerStatus, workers};
use super::{Sale, SaleError};
use crate::redis::Engine;

/// How old a state may be that is returned again.
const FRESH_FOR: Duration = Duration::from_secs(2);

/// What Redis says of the deployment.
#[derive(Clone, Debug)]
pub struct Deployment {
    /// The booking log's lag.
    pub lag: Lag,
    /// The workers.
    pub workers: Vec<WorkerStatus>,
    /// Bytes that Redis uses; of a Cluster, the node that uses most of its limit.
    pub memory_used_bytes: u64,
    /// Its limit.
    pub memory_limit_bytes: Option<u64>,
    /// Length of one partition's log at which holds stop.
    pub log_entries_max: u64,
}

/// The last state, with the time of its read; no state if Redis did not answer.
#[derive(Default)]
pub(super) struct DeploymentReads {
    last: Mutex<Option<(Instant, Option<Arc<Deployment>>)>>,
}

impl Sale {
    /// Returns the state of the deployment, two seconds old at most.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn deployment(&self) -> Result<Arc<Deployment>, SaleError> {
        let mut last = self.inner.deployment.last.lock().await;
        if let Some((at, known)) = &*last
            && at.elapsed() < FRESH_FOR
        {
            return known.clone().ok_or_else(|| SaleError::Unavailable {
                dependency: "redis",
                reason: "it did not answer a moment ago".to_owned(),
                unknown: false,
            });
        }
        let log_entries_max = self.inner.settings.log_entries_max;
        let read = Deployment::read(&self.inner.engine, log_entries_max).await.map(Arc::new);
        *last = Some((Instant::now(), read.as_ref().ok().cloned()));
        read
    }
}

impl Deployment {
    async fn read(engine: &Engine, log_entries_max: u64) -> Result<Self, SaleError> {
        let (lag, workers, facts) =
            tokio::join!(Lag::read(engine), workers(engine), engine.nodes_facts());
        let nodes = facts.into_iter().filter_map(|node| node.answer.ok());
        let memory = nodes.map(|facts| (facts.memory_used_bytes, facts.memory_limit_bytes));
        let fullest = memory.max_by_key(|(used, limit)| match limit {
            Some(limit) if *limit > 0 => (1, u128::from(*used) * 1_000_000 / u128::from(*limit)),
            _ => (0, u128::from(*used)),
        });
        let (memory_used_bytes, memory_limit_bytes) = fullest.unwrap_or_default();
        Ok(Deployment {
            lag: lag?,
            workers: workers?,
            memory_used_bytes,
            memory_limit_bytes,
            log_entries_max,
        })
    }
}
