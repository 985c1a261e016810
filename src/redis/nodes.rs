//! The nodes that serve partitions, each by itself: whether it answers, and what it says of itself.
//! One Redis is one node.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;

use super::connect::{ServerFacts, server_facts};
use super::engine::Engine;
use super::error::RedisError;
use super::routing::Node;
use super::value::args;
use super::value::text;
use crate::domain::Partition;

/// What was asked of each node.
#[derive(Clone, Debug)]
pub struct NodeAnswer<T> {
    /// Where it is; `redis` where there is one alone.
    pub node: String,
    /// How many partitions it serves.
    pub partitions: usize,
    /// What it answered.
    pub answer: Result<T, RedisError>,
}

impl Engine {
    /// Whether each node that serves partitions answers within the command bound, and takes writes;
    /// all are asked at the same time. Takes no place among the calls under way: a process with too
    /// many of them is no reason to call Redis unavailable.
    pub async fn ping_nodes(&self) -> Vec<NodeAnswer<()>> {
        let nodes = self.router().nodes();
        let sections = || args!["replication", "persistence"];
        let asks: Vec<_> =
            nodes.iter().map(|one| self.command("INFO", one.1, sections())).collect();
        let answers = join_all(asks).await;
        let answers = answers.into_iter().map(|info| takes_writes(&text(Some(info?))?));
        nodes.into_iter().zip(answers).map(answer_of).collect()
    }

    /// What each node that serves partitions says of itself; all are asked at the same time.
    pub async fn nodes_facts(&self) -> Vec<NodeAnswer<ServerFacts>> {
        let nodes = self.router().nodes();
        let asks: Vec<_> =
            nodes.iter().map(|one| self.command("INFO", one.1, Vec::new())).collect();
        let answers = join_all(asks).await;
        let facts = answers.into_iter().map(|info| Ok(server_facts(&text(Some(info?))?)));
        nodes.into_iter().zip(facts).map(answer_of).collect()
    }

    /// Whether any node answers within the command bound: the first answer counts, so that a silent
    /// node holds nobody up.
    ///
    /// # Errors
    /// Why one does not, if none does.
    pub async fn ping(&self) -> Result<(), RedisError> {
        let nodes = self.router().nodes();
        let mut asks: FuturesUnordered<_> =
            nodes.iter().map(|one| self.redis_time_ms(one.1)).collect();
        let mut error = RedisError::NotRun("no node serves anything".into());
        while let Some(answer) = asks.next().await {
            match answer {
                Ok(_) => return Ok(()),
                Err(why) => error = why,
            }
        }
        Err(error)
    }

    /// Whether a partition's node of a Cluster is gone, while others may be there.
    pub fn is_node_gone(&self, partition: Partition) -> bool {
        self.settings().is_cluster() && !self.is_connected(partition)
    }

    /// Whether the node that serves a partition is connected.
    pub fn is_connected(&self, partition: Partition) -> bool {
        self.router().node(partition).is_ok_and(|node| node.is_up())
    }
}

/// Whether a node that says this of itself takes writes.
fn takes_writes(info: &str) -> Result<(), RedisError> {
    let ServerFacts { is_loading, role, primary, .. } = server_facts(info);
    match role.as_str() {
        _ if is_loading => Err(RedisError::NotRun("it is loading its data".into())),
        "master" => Ok(()),
        _ => Err(RedisError::NotRun(format!("it is a replica of {primary} and takes no writes"))),
    }
}

fn answer_of<T>(
    ((node, _, partitions), answer): ((Arc<Node>, Partition, usize), Result<T, RedisError>),
) -> NodeAnswer<T> {
    NodeAnswer { node: node.to_string(), partitions, answer }
}
