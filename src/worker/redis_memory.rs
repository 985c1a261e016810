//! Shows the memory of each Redis in metrics, at one command a node and interval.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use super::Worker;
use crate::telemetry::Metrics;

/// How often it is read.
const INTERVAL: Duration = Duration::from_secs(15);

/// The nodes that are shown.
#[derive(Default)]
pub(super) struct RedisMemory {
    nodes: HashSet<String>,
    read_at: Option<Instant>,
}

impl RedisMemory {
    /// Shows the memory if it is due. Nodes that do not answer are not shown: an old number would look
    /// current.
    pub async fn show(&mut self, worker: &Worker, redis_responds: bool) {
        if redis_responds && self.read_at.is_some_and(|at| at.elapsed() < INTERVAL) {
            return;
        }
        let answers = match redis_responds {
            true => worker.engine.nodes_facts().await,
            false => Vec::new(),
        };
        self.read_at = redis_responds.then(Instant::now);
        let metrics = &worker.metrics;
        let mut shown = HashSet::new();
        for (node, facts) in
            answers.into_iter().filter_map(|one| Some((one.node, one.answer.ok()?)))
        {
            let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
            let used = metrics.redis_memory_used.with_label_values(&[&node]);
            used.set(bytes(facts.memory_used_bytes));
            match facts.memory_limit_bytes {
                Some(limit) => {
                    metrics.redis_memory_max.with_label_values(&[&node]).set(bytes(limit));
                }
                // An error means that the gauge does not exist.
                None => drop(metrics.redis_memory_max.remove_label_values(&[&node])),
            }
            shown.insert(node);
        }
        self.nodes.difference(&shown).for_each(|node| remove(metrics, node));
        self.nodes = shown;
    }
}

fn remove(metrics: &Metrics, node: &str) {
    // An error means that the gauge does not exist.
    let _ = metrics.redis_memory_used.remove_label_values(&[node]);
    let _ = metrics.redis_memory_max.remove_label_values(&[node]);
}
