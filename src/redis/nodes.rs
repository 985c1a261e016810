//! The nodes that serve partitions: whether each one answers, and its server facts. A single Redis
//! is one node.

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

/// One node's answer to a command that was sent to every node.
#[derive(Clone, Debug)]
pub struct NodeAnswer<T> {
    /// Its address; `redis` for a single node.
    pub node: String,
    /// How many partitions it serves.
    pub partitions: usize,
    /// The answer.
    pub answer: Result<T, RedisError>,
}

impl Engine {
    /// Whether each node that serves partitions answers within the command bound, and takes writes;
    /// all are pinged concurrently. Not counted among the calls in flight: too many of those do not
    /// make Redis unavailable.
    pub async fn ping_nodes(&self) -> Vec<NodeAnswer<()>> {
        let nodes = self.router().nodes();
        let sections = || args!["replication", "persistence"];
        let requests: Vec<_> =
            nodes.iter().map(|one| self.command("INFO", one.1, sections())).collect();
        let answers = join_all(requests).await;
        let answers = answers.into_iter().map(|info| takes_writes(&text(Some(info?))?));
        nodes.into_iter().zip(answers).map(answer_of).collect()
    }

    /// The server facts of each node that serves partitions, read concurrently.
    pub async fn nodes_facts(&self) -> Vec<NodeAnswer<ServerFacts>> {
        let nodes = self.router().nodes();
        let requests: Vec<_> =
            nodes.iter().map(|one| self.command("INFO", one.1, Vec::new())).collect();
        let answers = join_all(requests).await;
        let facts = answers.into_iter().map(|info| Ok(server_facts(&text(Some(info?))?)));
        nodes.into_iter().zip(facts).map(answer_of).collect()
    }

    /// The text of `INFO` of each node that serves partitions, read concurrently.
    pub async fn nodes_info(&self) -> Vec<NodeAnswer<String>> {
        let nodes = self.router().nodes();
        let requests: Vec<_> =
            nodes.iter().map(|one| self.command("INFO", one.1, Vec::new())).collect();
        let answers = join_all(requests).await;
        let texts = answers.into_iter().map(|info| text(Some(info?)));
        nodes.into_iter().zip(texts).map(answer_of).collect()
    }

    /// Whether any node answers within the command bound: the first answer counts, so that a silent
    /// node delays no caller.
    ///
    /// # Errors
    /// If none answers; the error is one node's.
    pub async fn ping(&self) -> Result<(), RedisError> {
        let nodes = self.router().nodes();
        let mut requests: FuturesUnordered<_> =
            nodes.iter().map(|one| self.redis_time_ms(one.1)).collect();
        let mut error = RedisError::NotRun("no node serves anything".into());
        while let Some(answer) = requests.next().await {
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

/// Whether a node with this INFO takes writes.
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
