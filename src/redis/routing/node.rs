//! One Redis: its connections for commands, and a bound of the calls under way on them.
//!
//! A thread that serves requests has a connection of its own ([`Pipeline`]). All other threads, and
//! these while their connection is not up, use the library's connections in turn.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, ThreadId};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::future::join_all;
use tokio::time::{sleep, timeout};

use super::load::InFlightLimit;
use crate::circuit_breaker::{BreakerSettings, CircuitBreaker};
use crate::redis::connect::{self, NodeAddress, Purpose, RedisSettings};
use crate::redis::connection::Connection;
use crate::redis::dial::Dialer;
use crate::redis::error::RedisError;
use crate::redis::pipeline::Pipeline;

/// Pause between looks whether a node is connected.
const CONNECTED_STEP: Duration = Duration::from_millis(5);

/// Requests are refused at once after so many calls in a row without an answer, until a few have been
/// answered again.
const BREAKER: BreakerSettings = BreakerSettings {
    dependency: "redis",
    failures_max: 5,
    pause: Duration::from_millis(500),
    probes: 3,
};

thread_local! {
    static SERVES_REQUESTS: Cell<bool> = const { Cell::new(false) };
}

/// Gives the present thread, which has a runtime of its own, connections of its own from now on.
pub fn serve_requests_here() {
    SERVES_REQUESTS.set(true);
}

/// The connections of threads that serve requests.
type Pipelines = Vec<(ThreadId, Arc<Pipeline>)>;

/// One Redis.
pub struct Node {
    settings: RedisSettings,
    /// `None`: whatever the URL leads to, one Redis or the primary that Sentinels name.
    address: Option<NodeAddress>,
    connections: Vec<Connection>,
    next: AtomicUsize,
    pipelines: ArcSwap<Pipelines>,
    load: InFlightLimit,
    breaker: CircuitBreaker,
}

impl Node {
    /// The Redis that the URL leads to, connected.
    pub async fn connected(settings: &RedisSettings) -> Result<Self, RedisError> {
        let mut connections = Vec::with_capacity(settings.clients);
        for _ in 0..settings.clients.max(1) {
            let client = connect::connect(settings, Purpose::Commands, None).await?;
            connections.push(Connection::new(client));
        }
        Ok(Node::of(settings, None, connections))
    }

    /// A Cluster's node, which connects in the background, on this thread's runtime, and for ever.
    pub fn connecting(settings: &RedisSettings, address: NodeAddress) -> Result<Self, RedisError> {
        let connections: Result<Vec<Connection>, RedisError> = (0..settings.clients.max(1))
            .map(|_| connect::connect_later(settings, &address).map(Connection::new))
            .collect();
        Ok(Node::of(settings, Some(address), connections?))
    }

    fn of(
        settings: &RedisSettings,
        address: Option<NodeAddress>,
        connections: Vec<Connection>,
    ) -> Self {
        Node {
            settings: settings.clone(),
            address,
            connections,
            next: AtomicUsize::new(0),
            pipelines: ArcSwap::default(),
            load: InFlightLimit::new(
                settings.in_flight_max,
                Duration::from_millis(settings.timeout_ms),
            ),
            breaker: CircuitBreaker::new(BREAKER),
        }
    }

    /// Where a Cluster's node is.
    pub fn address(&self) -> Option<&NodeAddress> {
        self.address.as_ref()
    }

    /// The calls under way.
    pub fn load(&self) -> &InFlightLimit {
        &self.load
    }

    /// Whether it answers.
    pub fn breaker(&self) -> &CircuitBreaker {
        &self.breaker
    }

    /// The next of the library's connections that is up, in turn.
    pub fn connection(&self) -> Option<&Connection> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        (0..self.connections.len())
            .map(|step| &self.connections[(turn.wrapping_add(step)) % self.connections.len()])
            .find(|connection| connection.is_up())
    }

    /// This thread's own connection, if it serves requests and its connection is up. The first call
    /// opens it, in the background.
    pub fn pipeline(&self) -> Option<Arc<Pipeline>> {
        if !SERVES_REQUESTS.get() {
            return None;
        }
        let here = thread::current().id();
        let known = self.pipelines.load();
        let pipeline = match known.iter().find(|(thread, _)| *thread == here) {
            Some((_, pipeline)) if !pipeline.has_panicked() => pipeline.clone(),
            _ => self.open_pipeline(here)?,
        };
        Some(pipeline).filter(|pipeline| pipeline.is_up())
    }

    fn open_pipeline(&self, here: ThreadId) -> Option<Arc<Pipeline>> {
        let library = self.connections.first()?.client().clone();
        let dialer = Dialer::new(&self.settings.address, self.address.as_ref(), library);
        let timeout = Duration::from_millis(self.settings.timeout_ms);
        let pipeline = Arc::new(Pipeline::open(dialer, timeout));
        self.pipelines.rcu(|all| {
            let mut all = Pipelines::clone(all);
            all.retain(|(thread, _)| *thread != here);
            all.push((here, pipeline.clone()));
            all
        });
        Some(pipeline)
    }

    /// How many threads' own connections are up.
    pub fn pipelines_up(&self) -> usize {
        self.pipelines.load().iter().filter(|(_, pipeline)| pipeline.is_up()).count()
    }

    /// Whether a call could be sent.
    pub fn is_up(&self) -> bool {
        self.connections.iter().any(Connection::is_up)
    }

    /// Waits until it is, at most so long; whether it is.
    pub async fn is_up_within(&self, bound: Duration) -> bool {
        let connected = async {
            while !self.is_up() {
                sleep(CONNECTED_STEP).await;
            }
        };
        timeout(bound, connected).await.is_ok()
    }

    /// Ends its connections.
    pub async fn close(&self) {
        self.pipelines.load().iter().for_each(|(_, pipeline)| pipeline.close());
        join_all(self.connections.iter().map(Connection::close)).await;
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            Some(address) => address.fmt(f),
            None => f.write_str("redis"),
        }
    }
}
