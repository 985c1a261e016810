//! Whether replicas have what was just written: `WAIT`, shared by all concurrent callers.
//!
//! Guarantees: a caller gets `true` only if the required number of replicas acknowledged what it
//! had written before the call; it waits no longer than the bound, whatever the replicas do; and the
//! connections on which scripts run never wait.
//!
//! `WAIT` blocks its connection, so a *lane* has one of its own. A lane takes all callers that are
//! waiting, writes one small key, waits until the replicas have that key, and answers all of them;
//! callers that arrive meanwhile are in the next round. A replica applies writes in its primary's
//! order: with the lane's key it has everything before it. On a cluster, where partitions are on
//! different nodes, each partition has a lane.
//!
//! A reconnected connection may lead to another node than the one that ran the script: a promoted
//! replica, which may lack what its predecessor wrote. So each connection is given a name, which
//! ends with it, and a round that does not find the name answers `false`. This does not detect a
//! primary that is cut off and still runs scripts while the lane is connected to its successor;
//! `min-replicas-to-write` on the server prevents that.

use std::sync::Arc;
use std::time::Duration;

use fred::types::Value;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::timeout;

use super::connect::{self, NodeAddress, Purpose, RedisSettings};
use super::connection::Connection;
use super::error::RedisError;
use super::keys::Keys;
use super::routing::Router;
use super::scripts::new_nonce;
use super::value::args;
use super::value::integer;
use crate::domain::Partition;
use crate::lifecycle::Supervisor;
use crate::telemetry::warn_repeated;

/// A caller that waits for the result of a round.
type Waiter = oneshot::Sender<bool>;

/// Callers of one round.
const ROUND_MAX: usize = 10_000;

/// Confirms replication, by partition.
pub(super) struct Replication {
    /// One for all partitions, or one each.
    lanes: Vec<mpsc::Sender<Waiter>>,
    bound: Duration,
}

impl Replication {
    pub(super) async fn confirm(&self, partition: Partition) -> bool {
        let lane = usize::from(partition.0) % self.lanes.len();
        let (answer, answered) = oneshot::channel();
        // Too many callers wait, or the lane has ended: the replicas' state is unknown.
        if self.lanes[lane].try_send(answer).is_err() {
            return false;
        }
        matches!(timeout(self.bound, answered).await, Ok(Ok(true)))
    }
}

impl Replication {
    /// Connects one lane for each group of partitions that one node serves.
    ///
    /// # Errors
    /// If a node of a deployment that is not a Cluster cannot be reached.
    pub(super) async fn connect(
        groups: Vec<Vec<Partition>>,
        keys: &Keys,
        router: &Arc<Router>,
        settings: &RedisSettings,
        (replicas, bound): (u32, Duration),
        supervisor: &Supervisor,
    ) -> Result<Self, RedisError> {
        let waiters_max = settings.in_flight_max.max(1);
        let mut lanes = Vec::new();
        for partitions in groups {
            let bound_ms = bound.as_millis() as u64;
            let purpose = Purpose::BlockingReads { block_ms: bound_ms };
            let key = keys.replication(partitions[0]);
            let router = router.clone();
            let (settings, partition) = (settings.clone(), partitions[0]);
            let mut lane =
                Lane { router, settings, purpose, partition, key, replicas, bound_ms, own: None };
            match lane.connect_now().await {
                // One node of a cluster may be gone.
                Err(error) if lane.settings.is_cluster() => {
                    warn_repeated!(%error, %partition, "replication is checked once its node is back");
                }
                connected => connected?,
            }
            let (sender, waiters) = mpsc::channel(waiters_max);
            // The channel survives a panic: callers of the round get `false`, later ones are in the
            // next round. It ends with the engine, which has the only sender.
            let (lane, waiters) = (Arc::new(Mutex::new(lane)), Arc::new(Mutex::new(waiters)));
            let run = move || Lane::run(lane.clone(), waiters.clone());
            tokio::spawn(supervisor.until_done("replication", run));
            lanes.push(sender);
        }
        Ok(Replication { lanes, bound })
    }
}

struct Lane {
    router: Arc<Router>,
    settings: RedisSettings,
    purpose: Purpose,
    /// The first of its partitions.
    partition: Partition,
    key: String,
    replicas: u32,
    bound_ms: u64,
    own: Option<NamedConnection>,
}

/// A connection with its name.
struct NamedConnection {
    connection: Connection,
    name: String,
    /// The Cluster's node that it leads to.
    node: Option<NodeAddress>,
}

impl Lane {
    async fn run(lane: Arc<Mutex<Self>>, waiters: Arc<Mutex<mpsc::Receiver<Waiter>>>) {
        let (mut lane, mut waiters) = (lane.lock().await, waiters.lock().await);
        let mut round = Vec::new();
        while waiters.recv_many(&mut round, ROUND_MAX).await > 0 {
            let replicated = lane.round().await.unwrap_or_else(|error| {
                tracing::debug!(%error, "replication could not be checked");
                false
            });
            for answer in round.drain(..) {
                // The caller may have given up.
                let _ = answer.send(replicated);
            }
        }
        if let Some(own) = lane.own.take() {
            own.connection.close().await;
        }
    }

    /// Whether the replicas have all that was written before this call.
    async fn round(&mut self) -> Result<bool, RedisError> {
        let node = self.router.address(self.partition)?;
        let Some(own) = self.own.as_ref().filter(|own| own.node == node) else {
            // Scripts before this connection may have run on another node.
            self.connect(node).await?;
            return Ok(false);
        };
        send(&own.connection, "SET", args![self.key.as_str(), "1"]).await?;
        let wait = args![i64::from(self.replicas), self.bound_ms as i64];
        let have = integer(&send(&own.connection, "WAIT", wait).await?)?;
        let name = send(&own.connection, "CLIENT", args!["GETNAME"]).await?;
        if name.as_str().as_deref() == Some(own.name.as_str()) {
            return Ok(have >= i64::from(self.replicas));
        }
        own.name_connection().await?;
        Ok(false)
    }

    async fn connect_now(&mut self) -> Result<(), RedisError> {
        let node = self.router.address(self.partition)?;
        self.connect(node).await
    }

    /// Connects, under a new name, to the node that serves the partition.
    async fn connect(&mut self, node: Option<NodeAddress>) -> Result<(), RedisError> {
        if let Some(old) = self.own.take() {
            old.connection.close().await;
        }
        let client = connect::connect(&self.settings, self.purpose, node.as_ref()).await?;
        let named =
            NamedConnection { connection: Connection::new(client), name: new_nonce(), node };
        named.name_connection().await?;
        self.own = Some(named);
        Ok(())
    }
}

impl NamedConnection {
    async fn name_connection(&self) -> Result<(), RedisError> {
        send(&self.connection, "CLIENT", args!["SETNAME", self.name.as_str()]).await.map(drop)
    }
}

async fn send(
    connection: &Connection,
    name: &'static str,
    args: Vec<Value>,
) -> Result<Value, RedisError> {
    connection.send(name, args, None).await.map_err(RedisError::from)
}
