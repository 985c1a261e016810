//! Which Redis serves a partition, and sending commands there.
//!
//! One Redis, or the primary that Sentinels name, serves all partitions. On a Cluster all keys of a
//! partition share one slot, and each partition is sent to the primary of its slot over connections
//! to that node alone, so a node that is dead stops its own partitions and no others.
//!
//! Promises, on a Cluster:
//! - a command for a node that is not connected is refused at once, and not sent;
//! - after a node's reply that it did not run a command (`MOVED`, `ASK`, `TRYAGAIN`), the
//!   command is sent again where it belongs, within half the time-out; if that is over, the answer is
//!   that it did not run;
//! - where slots are is learned from the nodes that answer ([`follow`]): after a `MOVED`, while a
//!   node is gone, and every few seconds.

mod follow;
mod load;
mod node;
mod redirect;
mod slot_map;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use fred::error::Error;
use fred::types::Value;
use tokio::runtime::Handle;
use tokio::sync::Notify;

pub use load::Urgency;
pub use node::{Node, serve_requests_here};
use redirect::Redirect;

use super::clock::RedisClock;
use super::connect::{NodeAddress, RedisSettings};
use super::error::RedisError;
use super::keys::Keys;
use crate::domain::Partition;

/// Pause before a command is sent again whose keys are on two nodes.
const TRY_AGAIN_PAUSE: Duration = Duration::from_millis(10);
/// How often one command is sent, at most; time bounds it sooner.
const SENDS_MAX: u32 = 64;

/// Sends commands where their partition is served.
pub struct Router {
    settings: RedisSettings,
    routes: Vec<Route>,
    /// `None`: one Redis serves all.
    cluster: Option<Cluster>,
}

/// Where one partition is served.
struct Route {
    slot: u16,
    node: ArcSwapOption<Node>,
    /// Of the node's clock.
    clock: RedisClock,
    /// Rises whenever the node becomes another.
    changes: AtomicU64,
}

/// What is known of a Cluster.
struct Cluster {
    /// Where tasks of connections run: calls also come from threads that end with their request.
    runtime: Handle,
    state: Mutex<State>,
    /// Requests a refresh of the slot map.
    look_now: Arc<Notify>,
    is_closed: AtomicBool,
}

#[derive(Default)]
struct State {
    nodes: HashMap<NodeAddress, KnownNode>,
    /// All addresses that the URL or any node named last.
    addresses: Vec<NodeAddress>,
    /// Rotates the nodes that are queried.
    turn: usize,
}

/// A command that is being sent.
struct Call<'a> {
    name: &'static str,
    partition: Partition,
    args: &'a [Value],
    began: Instant,
}

/// A node that has connections.
struct KnownNode {
    node: Arc<Node>,
    /// Since when no partition is served there.
    unused_since: Option<Instant>,
}

impl Router {
    /// Connects. Of a Cluster at least one node must answer; the others are tried for ever.
    pub async fn connect(settings: RedisSettings, keys: &Keys) -> Result<Arc<Self>, RedisError> {
        let route = |partition| Route {
            slot: fred::util::redis_keyslot(keys.log(partition).as_bytes()),
            node: ArcSwapOption::empty(),
            clock: RedisClock::default(),
            changes: AtomicU64::new(0),
        };
        let routes: Vec<Route> = keys.all_partitions().map(route).collect();
        if settings.is_cluster() {
            return follow::connect(settings, routes).await;
        }
        let node = Arc::new(Node::connected(&settings).await?);
        routes.iter().for_each(|route| route.node.store(Some(node.clone())));
        Ok(Arc::new(Router { settings, routes, cluster: None }))
    }

    fn route(&self, partition: Partition) -> &Route {
        &self.routes[usize::from(partition.0)]
    }

    /// What is known of the clock of the node that serves a partition.
    pub fn clock(&self, partition: Partition) -> &RedisClock {
        &self.route(partition).clock
    }

    /// How often a partition has come to another node: a clock that was read before is another's.
    pub fn changes(&self, partition: Partition) -> u64 {
        self.route(partition).changes.load(Ordering::Relaxed)
    }

    /// The node that serves a partition, connected or not.
    pub fn node(&self, partition: Partition) -> Result<Arc<Node>, RedisError> {
        self.route(partition).node.load_full().ok_or_else(|| {
            self.look_now();
            RedisError::NotRun(format!("no node of the cluster serves {partition}"))
        })
    }

    /// Where blocking reads of a partition have to connect; `None`: where the URL leads.
    ///
    /// # Errors
    /// If its node is not connected.
    pub fn address(&self, partition: Partition) -> Result<Option<NodeAddress>, RedisError> {
        let node = self.node(partition)?;
        match node.address() {
            Some(address) if node.is_up() => Ok(Some(address.clone())),
            Some(_) => Err(self.not_connected(&node)),
            None => Ok(None),
        }
    }

    /// The nodes that serve partitions, each with the first of them and their number.
    pub fn nodes(&self) -> Vec<(Arc<Node>, Partition, usize)> {
        let mut nodes: Vec<(Arc<Node>, Partition, usize)> = Vec::new();
        for (number, route) in (0..).zip(&self.routes) {
            let Some(node) = route.node.load_full() else { continue };
            match nodes.iter_mut().find(|one| Arc::ptr_eq(&one.0, &node)) {
                Some(one) => one.2 += 1,
                None => nodes.push((node, Partition(number), 1)),
            }
        }
        nodes
    }

    /// Sends one command about a partition to the node that serves it.
    pub async fn send(
        &self,
        name: &'static str,
        partition: Partition,
        args: &[Value],
    ) -> Result<Value, RedisError> {
        let began = Instant::now();
        let node = self.node(partition)?;
        let sent = match node.pipeline() {
            Some(pipeline) => pipeline.send(name, args).await,
            None => {
                let connection = node.connection().ok_or_else(|| self.not_connected(&node))?;
                connection.send(name, args.to_vec(), None).await
            }
        };
        match sent {
            Ok(reply) => Ok(reply),
            Err(error) if node.address().is_none() => Err(error.into()),
            // Boxed: it is rare, and would make every call's future larger.
            Err(error) => {
                let call = Call { name, partition, args, began };
                Box::pin(self.send_again(call, node, error)).await
            }
        }
    }

    /// Sends a command again as long as nodes redirect it.
    async fn send_again(
        &self,
        call: Call<'_>,
        mut node: Arc<Node>,
        mut error: Error,
    ) -> Result<Value, RedisError> {
        for _ in 0..SENDS_MAX {
            let redirect = node.address().and_then(|address| Redirect::of(&error, address));
            let Some(redirect) = redirect else { return Err(self.failed(error.into())) };
            let not_run = RedisError::NotRun(format!("{node}: {error}"));
            let is_asking = matches!(redirect, Redirect::Ask(_));
            let patience = (self.timeout() / 2).saturating_sub(call.began.elapsed());
            node = match redirect {
                Redirect::Moved(address) => self.moved(call.partition, address)?,
                Redirect::Ask(address) => self.node_at(&address)?,
                Redirect::TryAgain => {
                    tokio::time::sleep(TRY_AGAIN_PAUSE.min(patience)).await;
                    self.node(call.partition)?
                }
                Redirect::Refused => {
                    self.look_now();
                    return Err(not_run);
                }
            };
            // One that was not known before is being connected to.
            if patience.is_zero() || !node.is_up_within(patience).await {
                return Err(not_run);
            }
            let connection = node.connection().ok_or_else(|| self.not_connected(&node))?;
            let args = call.args.to_vec();
            let time_left = self.timeout().saturating_sub(call.began.elapsed());
            let sent = match is_asking {
                true => connection.send_asking(call.name, args).await,
                false => connection.send(call.name, args, Some(time_left)).await,
            };
            match sent {
                Ok(reply) => return Ok(reply),
                Err(next) => error = next,
            }
        }
        Err(RedisError::NotRun(format!("{} is sent from node to node", call.partition)))
    }

    /// Handles the failure of a blocking read of a partition at this node: the slot may have moved.
    pub fn note_read_failed(
        &self,
        partition: Partition,
        at: &NodeAddress,
        error: &fred::error::Error,
    ) {
        match Redirect::of(error, at) {
            // An address that cannot be used fails the next call.
            Some(Redirect::Moved(address)) => drop(self.moved(partition, address)),
            _ => self.look_now(),
        }
    }

    /// Ends all connections.
    pub async fn close(&self) {
        let mut nodes: Vec<Arc<Node>> = self.nodes().into_iter().map(|one| one.0).collect();
        if let Some(cluster) = &self.cluster {
            cluster.is_closed.store(true, Ordering::Relaxed);
            cluster.look_now.notify_one();
            let mut state = cluster.state();
            nodes.extend(state.nodes.drain().map(|(_, known)| known.node));
        }
        for node in nodes {
            node.close().await;
        }
    }

    fn not_connected(&self, node: &Node) -> RedisError {
        self.look_now();
        RedisError::NotRun(format!("not connected to {node}"))
    }

    /// A command has failed without an answer: its node may be gone.
    fn failed(&self, error: RedisError) -> RedisError {
        if matches!(error, RedisError::Unknown(_)) {
            self.look_now();
        }
        error
    }

    fn look_now(&self) {
        if let Some(cluster) = &self.cluster {
            cluster.look_now.notify_one();
        }
    }

    fn timeout(&self) -> Duration {
        Duration::from_millis(self.settings.timeout_ms)
    }
}

impl Route {
    /// From now on this node serves the partition; whether it is another one.
    fn lead_to(&self, node: &Arc<Node>) -> bool {
        let present = self.node.load_full();
        if present.as_ref().is_some_and(|present| Arc::ptr_eq(present, node)) {
            return false;
        }
        self.changes.fetch_add(1, Ordering::Relaxed);
        self.clock.forget();
        self.node.store(Some(node.clone()));
        true
    }
}

impl Cluster {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing under this lock panics half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
