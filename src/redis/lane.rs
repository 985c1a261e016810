//! Reading the booking log as it grows: as a tail (every API process sees every entry) and as a
//! member of a consumer group.
//!
//! On one Redis a single connection reads all partitions; on a cluster, where a read cannot span
//! slots, each partition has a reader of its own, connected to the node that serves it. A *lane* is
//! the set of partitions of one reader. A reader ends with an error when its partition moves to
//! another node; the next one connects there.

use fred::clients::Client;
use fred::interfaces::ClientLike;
use fred::types::{ClusterHash, CustomCommand, Value};

use super::connect::{self, NodeAddress, Purpose};
use super::engine::Engine;
use super::error::RedisError;
use super::log::{Read, entries, flat_map};
use super::value::unexpected;
use crate::domain::{LogId, Partition};

/// A connection of its own for blocking reads of one lane.
pub struct LaneReader {
    engine: Engine,
    client: Client,
    /// The Cluster's node that it reads from.
    node: Option<NodeAddress>,
    block_ms: u64,
    partitions: Vec<(Partition, String)>,
}

impl Engine {
    /// The partitions that are read together.
    pub fn lanes(&self) -> Vec<Vec<Partition>> {
        if self.settings().is_cluster() {
            self.keys().all_partitions().map(|partition| vec![partition]).collect()
        } else {
            vec![self.keys().all_partitions().collect()]
        }
    }

    /// Opens a reader with its own connection; reads wait at most `block_ms` for new entries.
    ///
    /// # Errors
    /// If the lane's node does not answer; at once, if it is known to be gone.
    pub async fn lane_reader(
        &self,
        lane: &[Partition],
        block_ms: u64,
    ) -> Result<LaneReader, RedisError> {
        let first = *lane.first().ok_or_else(|| unexpected("a lane without partitions".into()))?;
        let (purpose, node) = (Purpose::BlockingReads { block_ms }, self.router().address(first)?);
        let client = connect::connect(self.settings(), purpose, node.as_ref()).await?;
        let partitions =
            lane.iter().map(|partition| (*partition, self.keys().log(*partition))).collect();
        Ok(LaneReader { engine: self.clone(), client, node, block_ms, partitions })
    }
}

impl LaneReader {
    /// Waits for entries after the given positions, one a partition of the lane, in its order.
    pub async fn tail(&self, after: &[LogId], count: u64) -> Result<Vec<Read>, RedisError> {
        let ids = after.iter().map(LogId::to_string);
        let head = ["COUNT".to_owned(), count.to_string()];
        self.read("XREAD", head.into(), ids.collect()).await
    }

    /// Waits for entries that were not delivered to the group yet.
    pub async fn group(
        &self,
        group: &str,
        consumer: &str,
        count: u64,
    ) -> Result<Vec<Read>, RedisError> {
        let head = ["GROUP", group, consumer, "COUNT", &count.to_string()].map(str::to_owned);
        let ids = self.partitions.iter().map(|_| ">".to_owned());
        self.read("XREADGROUP", head.into(), ids.collect()).await
    }

    /// Entries after the given positions that were delivered to this consumer before and not
    /// acknowledged; returns at once.
    pub async fn own_pending(
        &self,
        group: &str,
        consumer: &str,
        after: &[LogId],
        count: u64,
    ) -> Result<Vec<Read>, RedisError> {
        let head = ["GROUP", group, consumer, "COUNT", &count.to_string()].map(str::to_owned);
        let ids = after.iter().map(LogId::to_string);
        self.read("XREADGROUP", head.into(), ids.collect()).await
    }

    /// Ends the connection.
    pub async fn close(&self) {
        // A client that is gone already has nothing to quit.
        let _ = self.client.quit().await;
    }

    async fn read(
        &self,
        name: &'static str,
        head: Vec<String>,
        ids: Vec<String>,
    ) -> Result<Vec<Read>, RedisError> {
        let mut args: Vec<Value> = head.into_iter().map(Value::from).collect();
        args.extend([Value::from("BLOCK"), Value::from(self.block_ms.to_string())]);
        args.push(Value::from("STREAMS"));
        args.extend(self.partitions.iter().map(|(_, key)| Value::from(key.as_str())));
        args.extend(ids.into_iter().map(Value::from));
        self.is_served_here()?;
        // The client is connected to one node: the slot does not matter.
        let command = CustomCommand::new_static(name, ClusterHash::Custom(0), true);
        match self.client.custom(command, args).await {
            Ok(reply) => self.parse_streams(reply),
            Err(error) => {
                if let (Some(node), Some((partition, _))) = (&self.node, self.partitions.first()) {
                    self.engine.router().note_read_failed(*partition, node, &error);
                }
                Err(error.into())
            }
        }
    }

    /// Fails if the node does not serve the partition any more.
    fn is_served_here(&self) -> Result<(), RedisError> {
        let (Some(node), Some((partition, _))) = (&self.node, self.partitions.first()) else {
            return Ok(());
        };
        match self.engine.router().node(*partition)?.address() {
            Some(address) if address == node => Ok(()),
            _ => Err(RedisError::NotRun(format!("{partition} is not served by {node} any more"))),
        }
    }

    /// Reads `{key: entries}`, as a list of pairs (RESP2) or a map (RESP3); nil means none.
    fn parse_streams(&self, reply: Value) -> Result<Vec<Read>, RedisError> {
        let mut reads = Vec::new();
        for (key, value) in flat_map(reply)? {
            let partition = self
                .partitions
                .iter()
                .find(|(_, log)| *log == key)
                .ok_or_else(|| unexpected(format!("a read of {key}")))?
                .0;
            reads.extend(entries(partition, Some(value))?);
        }
        Ok(reads)
    }
}
