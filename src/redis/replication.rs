//! Whether replicas have what was just written: `WAIT`, shared by all who ask at the same time.
//!
//! Promises: a caller is told `true` only if so many replicas acknowledged what it had written
//! before it asked; it waits no longer than the bound, whatever the replicas do; and the
//! connections on which scripts run never wait.
//!
//! `WAIT` holds up its connection, so a *lane* has one of its own. It takes all callers that have
//! asked by now, writes one small key, waits until the replicas have that, and answers them all;
//! who asks meanwhile is in the next round. A replica takes writes in the order in which its primary made
//! them: with the lane's key it has all that came before. On a cluster, where partitions live on
//! different nodes, each partition has a lane.
//!
//! A connection that was made anew may speak to another node than the one that ran the script: a
//! replica that was promoted, and may lack what its predecessor wrote. So each connection is given
//! a name, which dies with it, and a round that does not find the name answers `false`. What this
//! cannot tell is a primary that is cut off and still takes scripts while the lane has found its
//! successor; `min-replicas-to-write` on the server ends that.

use std::sync::Arc;
use std::time::Duration;

use fred::types::Value;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::timeout;

use super::connect::{self, NodeAddress, Purpose, RedisSettings};
use super::connection::Connection;
use super::engine::Engine;
use super::error::RedisError;
use super::routing::Router;
use super::scripts::new_nonce;
use super::value::args;
use super::value::integer;
use crate::domain::Partition;
use crate::lifecycle::Supervisor;
use crate::telemetry::warn_repeated;

/// Tells a caller whether replicas have what it asked about.
type Asked = oneshot::Sender<bool>;

/// Callers of one round.
const ROUND_MAX: usize = 10_000;

/// Asks replicas, by partition.
pub(super) struct Replication {
    /// One for all partitions, or one each.
    lanes: Vec<mpsc::Sender<Asked>>,
    bound: Duration,
}

impl Replication {
    async fn ask(&self, partition: Partition) -> bool {
        let lane = usize::from(partition.0) % self.lanes.len();
        let (answer, answered) = oneshot::channel();
        // Too many wait already, or the lane has ended: nothing is known of the replicas.
        if self.lanes[lane].try_send(answer).is_err() {
            return false;
        }
        matches!(timeout(self.bound, answered).await, Ok(Ok(true)))
    }
}

impl Engine {
    /// From now on [`Engine::is_replicated`] asks for this many replicas and waits at most `bound`.
    pub async fn ask_replicas(
        &self,
        replicas: u32,
        bound: Duration,
        supervisor: &Supervisor,
    ) -> Result<(), RedisError> {
        let waiters_max = self.settings().in_flight_max.max(1);
        let mut lanes = Vec::new();
        for partitions in self.lanes() {
            let bound_ms = bound.as_millis() as u64;
            let purpose = Purpose::BlockingReads { block_ms: bound_ms };
            let key = self.keys().replication(partitions[0]);
            let router = self.router().clone();
            let (settings, partition) = (self.settings().clone(), partitions[0]);
            let mut lane =
                Lane { router, settings, purpose, partition, key, replicas, bound_ms, own: None };
            match lane.connect_now().await {
                // One node of a cluster may be gone.
                Err(error) if self.settings().is_cluster() => {
                    warn_repeated!(%error, %partition, "replicas are asked once its node is back");
                }
                connected => connected?,
            }
            let (asks, asked) = mpsc::channel(waiters_max);
            // What outlives a panic is the channel: callers of the round are told `false`, who asks
            // meanwhile is in the next one. It ends with the engine, which has the only sender.
            let (lane, asked) = (Arc::new(Mutex::new(lane)), Arc::new(Mutex::new(asked)));
            let run = move || Lane::run(lane.clone(), asked.clone());
            tokio::spawn(supervisor.until_done("replication", run));
            lanes.push(asks);
        }
        self.set_replication(Replication { lanes, bound });
        Ok(())
    }

    /// Whether replicas are known to have all that this partition's scripts had written when this
    /// was called. `false` where nobody asks them.
    pub async fn is_replicated(&self, partition: Partition) -> bool {
        match self.replication() {
            Some(replication) => replication.ask(partition).await,
            None => false,
        }
    }
}

struct Lane {
    router: Arc<Router>,
    settings: RedisSettings,
    purpose: Purpose,
    /// The first of those it asks for.
    partition: Partition,
    key: String,
    replicas: u32,
    bound_ms: u64,
    own: Option<Named>,
}

/// A connection that has a name.
struct Named {
    connection: Connection,
    name: String,
    /// The Cluster's node that it leads to.
    node: Option<NodeAddress>,
}

impl Lane {
    async fn run(lane: Arc<Mutex<Self>>, asked: Arc<Mutex<mpsc::Receiver<Asked>>>) {
        let (mut lane, mut asked) = (lane.lock().await, asked.lock().await);
        let mut round = Vec::new();
        while asked.recv_many(&mut round, ROUND_MAX).await > 0 {
            let replicated = lane.round().await.unwrap_or_else(|error| {
                tracing::debug!(%error, "replicas could not be asked");
                false
            });
            for answer in round.drain(..) {
                // Who did not wait so long is not there any more.
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
            // Scripts of before this connection may have run on another node.
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
        let named = Named { connection: Connection::new(client), name: new_nonce(), node };
        named.name_connection().await?;
        self.own = Some(named);
        Ok(())
    }
}

impl Named {
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
