//! Connections to Redis: the client library's settings, and the facts about servers that are
//! checked at start.

use std::time::Duration;

use fred::prelude::*;
use fred::types::config::{ReconnectError, UnresponsiveConfig};

pub(super) use super::address::NodeAddress;
use super::address::RedisAddress;
use super::error::RedisError;

/// How to reach Redis.
#[derive(Clone, Debug)]
pub struct RedisSettings {
    /// The address, with credentials and TLS.
    pub address: RedisAddress,
    /// Prefix of all keys.
    pub namespace: String,
    /// Number of partitions.
    pub partitions: u16,
    /// Connections for commands.
    pub clients: usize,
    /// Bound of one command, ms.
    pub timeout_ms: u64,
    /// Maximum number of commands in flight.
    pub in_flight_max: usize,
}

impl RedisSettings {
    /// Whether keys live on several nodes, so that one read cannot span partitions.
    pub fn is_cluster(&self) -> bool {
        self.address.is_cluster()
    }
}

/// Bound of the first connection at start.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Bound of one TCP connection attempt.
const CONNECTION_ATTEMPT_TIMEOUT: Duration = Duration::from_millis(1000);
/// How much longer than its block a blocking read may stay unanswered. (For command connections see
/// [`super::connection`].)
const UNRESPONSIVE_TIMEOUT: Duration = Duration::from_millis(1200);
/// How often this is checked.
const UNRESPONSIVE_INTERVAL: Duration = Duration::from_millis(300);
/// Longest pause between two reconnects, which are tried for ever, ms.
const RECONNECT_DELAY_MS_MAX: u32 = 500;
const RECONNECT_DELAY_MS_MIN: u32 = 20;

/// The purpose of a connection: blocking reads wait, commands do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Commands,
    BlockingReads { block_ms: u64 },
}

/// The client library's configuration for what the URL leads to, or for one node of its Cluster.
fn config(settings: &RedisSettings, node: Option<&NodeAddress>) -> Result<Config, RedisError> {
    let config = match node {
        Some(node) => settings.address.node_config(node),
        None => settings.address.config(),
    };
    config.map_err(|fault| RedisError::NotRun(format!("redis_url is not usable: {fault}")))
}

/// One client, connected to what the URL leads to or to one node of its Cluster. Errors name what
/// is wrong.
pub(super) async fn connect(
    settings: &RedisSettings,
    purpose: Purpose,
    node: Option<&NodeAddress>,
) -> Result<Client, RedisError> {
    let client = client(settings, purpose, node, true)?;
    let where_to = node.map_or_else(|| settings.address.to_string(), ToString::to_string);
    match tokio::time::timeout(CONNECT_TIMEOUT, client.init()).await {
        // The connection task ends with the client; `quit` is called when the engine is closed.
        Ok(Ok(_task)) => Ok(client),
        Ok(Err(e)) => Err(RedisError::NotRun(format!("cannot connect to {where_to}: {e}"))),
        Err(_) => Err(RedisError::NotRun(format!("no connection to {where_to} in time"))),
    }
}

/// One client for commands to one node of a Cluster; it connects in the background, with retries.
pub(super) fn connect_later(
    settings: &RedisSettings,
    node: &NodeAddress,
) -> Result<Client, RedisError> {
    let client = client(settings, Purpose::Commands, Some(node), false)?;
    // The task ends with the client.
    drop(client.connect());
    Ok(client)
}

fn client(
    settings: &RedisSettings,
    purpose: Purpose,
    node: Option<&NodeAddress>,
    is_tried_once: bool,
) -> Result<Client, RedisError> {
    let mut config = config(settings, node)?;
    config.fail_fast = is_tried_once;
    let command_timeout_ms = match purpose {
        Purpose::Commands => settings.timeout_ms,
        Purpose::BlockingReads { block_ms } => block_ms + settings.timeout_ms,
    };
    let unresponsive = match purpose {
        Purpose::Commands => UNRESPONSIVE_TIMEOUT,
        Purpose::BlockingReads { block_ms } => {
            UNRESPONSIVE_TIMEOUT + Duration::from_millis(block_ms)
        }
    };
    Builder::from_config(config)
        .with_performance_config(|performance| {
            performance.default_command_timeout = Duration::from_millis(command_timeout_ms);
        })
        .with_connection_config(|connection| {
            connection.connection_timeout = CONNECTION_ATTEMPT_TIMEOUT;
            connection.internal_command_timeout = CONNECTION_ATTEMPT_TIMEOUT;
            // A lost reply must not run a script twice behind our back.
            connection.max_command_attempts = 1;
            connection.tcp.nodelay = Some(true);
            connection.unresponsive = UnresponsiveConfig {
                max_timeout: Some(unresponsive),
                interval: UNRESPONSIVE_INTERVAL,
            };
            // The library answers every command under way on the connection with such an error,
            // so these are reported as unknown outcomes (see `RedisError`). `LOADING` is not one of
            // them: it passes by itself. On a Cluster the router follows such replies itself.
            connection.reconnect_errors = match node {
                Some(_) => Vec::new(),
                None => vec![
                    ReconnectError::ClusterDown,
                    ReconnectError::MasterDown,
                    ReconnectError::ReadOnly,
                ],
            };
        })
        .set_policy(ReconnectPolicy::new_exponential(
            0,
            RECONNECT_DELAY_MS_MIN,
            RECONNECT_DELAY_MS_MAX,
            2,
        ))
        .build()
        .map_err(|e| RedisError::NotRun(e.to_string()))
}

/// The facts about a Redis server that Holdfast uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFacts {
    /// `redis` or `valkey`.
    pub flavor: &'static str,
    /// Its version, e.g. `7.0.15`.
    pub version: String,
    /// Major version of Redis that it is compatible with (Valkey reports 7).
    pub major: u32,
    /// `maxmemory-policy`; `noeviction` is the one that keeps seats.
    pub eviction_policy: String,
    /// Whether the append-only file is on.
    pub append_only: bool,
    /// `master` or `slave`.
    pub role: String,
    /// Its primary, as `host:port`, if it is a replica.
    pub primary: String,
    /// Whether it is still reading its data.
    pub is_loading: bool,
    /// Replicas that are connected to it.
    pub replicas: u64,
    /// Bytes in use.
    pub memory_used_bytes: u64,
    /// `maxmemory`; `None` is no limit.
    pub memory_limit_bytes: Option<u64>,
    /// Open connections of clients.
    pub clients: u64,
}

/// Parses the reply of `INFO`.
pub(super) fn server_facts(info: &str) -> ServerFacts {
    let field = |name: &str| {
        info.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    let (flavor, version) = match field("valkey_version") {
        valkey if !valkey.is_empty() => ("valkey", valkey),
        _ => ("redis", field("redis_version")),
    };
    let spoken = field("redis_version");
    let major = spoken.split('.').next().and_then(|part| part.parse().ok()).unwrap_or(0);
    let number = |name: &str| field(name).parse().unwrap_or(0);
    ServerFacts {
        flavor,
        version,
        major,
        eviction_policy: field("maxmemory_policy"),
        append_only: field("aof_enabled") == "1",
        role: field("role"),
        primary: format!("{}:{}", field("master_host"), field("master_port")),
        is_loading: field("loading") == "1",
        replicas: number("connected_slaves"),
        memory_used_bytes: number("used_memory"),
        memory_limit_bytes: Some(number("maxmemory")).filter(|limit| *limit > 0),
        clients: number("connected_clients"),
    }
}
