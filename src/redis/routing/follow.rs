//! Follows the slots of a Cluster: a failover, a node that came back, a slot that was moved.
//!
//! Several nodes are queried, and the majority of their answers counts: a node that is cut off from
//! the others, or has just come back, has an old state. A wrong answer costs a redirection and no
//! more, since a node refuses commands for slots that it does not serve.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use fred::types::Value;
use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::node::Node;
use super::slot_map::{SlotMap, agreed_primary};
use super::{Cluster, KnownNode, Route, Router, State};
use crate::domain::Partition;
use crate::redis::connect::{self, NodeAddress, Purpose, RedisSettings};
use crate::redis::connection::Connection;
use crate::redis::error::RedisError;

/// How often the slot map is refreshed.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// The same while a partition's node is not connected.
const LOOK_EVERY_GONE: Duration = Duration::from_millis(250);
/// Shortest time between two refreshes.
const LOOK_PAUSE: Duration = Duration::from_millis(50);
/// Nodes that are queried in one refresh.
const QUERIED_MAX: usize = 5;
/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(1_000);
/// Addresses that are remembered.
const ADDRESSES_MAX: usize = 100;
/// How long a node without partitions keeps its connections.
const UNUSED_MAX: Duration = Duration::from_secs(30);
/// How long the start waits for nodes that are slow to connect, once one has answered.
const START_WAIT: Duration = Duration::from_secs(2);

/// Connects to the nodes of a Cluster, as far as they answer, and follows it from now on.
pub(super) async fn connect(
    settings: RedisSettings,
    routes: Vec<Route>,
) -> Result<Arc<Router>, RedisError> {
    let addresses = settings.address.cluster_nodes();
    let look_now = Arc::new(Notify::new());
    let cluster = Cluster {
        runtime: Handle::current(),
        state: Mutex::new(State { addresses, ..State::default() }),
        look_now: look_now.clone(),
        is_closed: AtomicBool::new(false),
    };
    let router = Arc::new(Router { settings, routes, cluster: Some(cluster) });
    router.look().await?;
    let nodes = router.nodes();
    if nodes.is_empty() {
        return Err(RedisError::NotRun("no node of the cluster has slots".into()));
    }
    let connected = join_all(nodes.iter().map(|one| one.0.is_up_within(START_WAIT))).await;
    for ((node, _, partitions), is_up) in nodes.iter().zip(&connected) {
        if !is_up {
            tracing::warn!(%node, partitions, "a node of the cluster does not answer");
        }
    }
    if !connected.contains(&true) {
        return Err(RedisError::NotRun("no primary of the cluster answers".into()));
    }
    tokio::spawn(keep_looking(Arc::downgrade(&router), look_now));
    Ok(router)
}

/// Refreshes the slot map until the router is closed or dropped.
async fn keep_looking(router: Weak<Router>, look_now: Arc<Notify>) {
    loop {
        let Some(pause) = router.upgrade().and_then(|router| router.look_in()) else { return };
        tokio::select! {
            () = look_now.notified() => {}
            () = sleep(pause) => {}
        }
        let Some(router) = router.upgrade() else { return };
        match AssertUnwindSafe(router.look()).catch_unwind().await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "no node returns a slot map"),
            // The panic hook has logged and counted the panic itself.
            Err(_) => tracing::error!("refreshing the slot map panicked, and continues"),
        }
        drop(router);
        sleep(LOOK_PAUSE).await;
    }
}

impl Router {
    /// Time until the next refresh; `None` after the end.
    fn look_in(&self) -> Option<Duration> {
        let cluster = self.cluster.as_ref().filter(|one| !one.is_closed.load(Ordering::Relaxed))?;
        let is_gone = |route: &Route| route.node.load().as_ref().is_none_or(|node| !node.is_up());
        cluster.state().retire_unused();
        Some(if self.routes.iter().any(is_gone) { LOOK_EVERY_GONE } else { LOOK_EVERY })
    }

    /// Refreshes the slot map, and leads partitions to their nodes.
    async fn look(&self) -> Result<(), RedisError> {
        let Some(cluster) = &self.cluster else { return Ok(()) };
        let maps = self.slot_maps(cluster).await?;
        let mut moved = 0_usize;
        for route in &self.routes {
            let present = route.node.load_full();
            let answers = present.as_ref().is_some_and(|node| node.is_up());
            let present = present.as_ref().and_then(|node| node.address());
            // No node has the slot: the last one may come back.
            let agreed = agreed_primary(&maps, route.slot, present, answers);
            if let Some(address) = agreed {
                moved += usize::from(route.lead_to(&self.node_at(&address)?));
            }
        }
        if moved > 0 {
            let nodes: Vec<String> =
                self.nodes().iter().map(|(node, _, count)| format!("{node}: {count}")).collect();
            tracing::info!(moved, partitions_by_node = nodes.join(", "), "partitions have moved");
        }
        let mut state = cluster.state();
        for address in maps.into_iter().flat_map(|map| map.nodes) {
            if !state.addresses.contains(&address) {
                state.addresses.insert(0, address);
            }
        }
        state.addresses.truncate(ADDRESSES_MAX);
        let used: Vec<Arc<Node>> = self.nodes().into_iter().map(|one| one.0).collect();
        for known in state.nodes.values_mut() {
            let is_used = used.iter().any(|node| Arc::ptr_eq(node, &known.node));
            known.unused_since = match is_used {
                true => None,
                false => Some(known.unused_since.unwrap_or_else(Instant::now)),
            };
        }
        Ok(())
    }

    /// The slot maps of some nodes: connected ones, else those that answer at any known address.
    async fn slot_maps(&self, cluster: &Cluster) -> Result<Vec<SlotMap>, RedisError> {
        let (connected, addresses) = cluster.state().candidates();
        let queries = connected.iter().map(|node| async move {
            let (connection, address) = (node.connection()?, node.address()?);
            query(connection, address).await.ok()
        });
        let maps: Vec<SlotMap> = join_all(queries).await.into_iter().flatten().collect();
        if !maps.is_empty() {
            return Ok(maps);
        }
        let queries = addresses.iter().map(|address| async move {
            let connecting = connect::connect(&self.settings, Purpose::Commands, Some(address));
            let connection = Connection::new(connecting.await?);
            let answer = query(&connection, address).await;
            connection.close().await;
            answer
        });
        let answers = join_all(queries).await;
        let mut error = RedisError::NotRun("no node of the cluster is known".into());
        let mut maps = Vec::new();
        for answer in answers {
            match answer {
                Ok(map) => maps.push(map),
                Err(why) => error = why,
            }
        }
        if maps.is_empty() { Err(error) } else { Ok(maps) }
    }

    /// The node at an address, connected soon.
    pub(super) fn node_at(&self, address: &NodeAddress) -> Result<Arc<Node>, RedisError> {
        let no_cluster = || RedisError::Unexpected("a redirection without a cluster".into());
        let cluster = self.cluster.as_ref().ok_or_else(no_cluster)?;
        let mut state = cluster.state();
        if let Some(known) = state.nodes.get(address) {
            return Ok(known.node.clone());
        }
        let _guard = cluster.runtime.enter();
        let node = Arc::new(Node::connecting(&self.settings, address.clone())?);
        let known = KnownNode { node: node.clone(), unused_since: Some(Instant::now()) };
        state.nodes.insert(address.clone(), known);
        Ok(node)
    }

    /// Leads a partition to this address, after a node's redirection.
    pub(super) fn moved(
        &self,
        partition: Partition,
        address: NodeAddress,
    ) -> Result<Arc<Node>, RedisError> {
        let node = self.node_at(&address)?;
        if self.route(partition).lead_to(&node) {
            tracing::info!(%partition, %address, "a partition has moved");
        }
        self.look_now();
        Ok(node)
    }
}

impl State {
    /// The connected nodes to query, in rotation; and all addresses.
    fn candidates(&mut self) -> (Vec<Arc<Node>>, Vec<NodeAddress>) {
        let mut connected: Vec<Arc<Node>> =
            self.nodes.values().map(|known| known.node.clone()).filter(|n| n.is_up()).collect();
        if !connected.is_empty() {
            self.turn = self.turn.wrapping_add(1);
            let turn = self.turn % connected.len();
            connected.rotate_left(turn);
        }
        connected.truncate(QUERIED_MAX);
        (connected, self.addresses.iter().take(2 * QUERIED_MAX).cloned().collect())
    }

    /// Ends connections to nodes that have long had no partition.
    fn retire_unused(&mut self) {
        self.nodes.retain(|address, known| {
            let is_over = known.unused_since.is_some_and(|since| since.elapsed() > UNUSED_MAX);
            if is_over {
                tracing::info!(%address, "a node of the cluster is not used any more");
                let node = known.node.clone();
                tokio::spawn(async move { node.close().await });
            }
            !is_over
        });
    }
}

async fn query(connection: &Connection, address: &NodeAddress) -> Result<SlotMap, RedisError> {
    let sent = connection.send("CLUSTER", vec![Value::from("SLOTS")], Some(ANSWER_TIMEOUT));
    let reply = timeout(ANSWER_TIMEOUT, sent).await;
    let reply = reply.map_err(|_| RedisError::Unknown("no reply in time".into()))?;
    SlotMap::parse(reply.map_err(RedisError::from)?, address)
}
