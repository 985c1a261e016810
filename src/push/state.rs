//! What all sockets of one server share.

use std::sync::Arc;

use prometheus::IntCounter;

use super::protocol::Protocol;
use super::registry::ChannelRegistry;
use super::sockets::{OpenSocket, Sockets};
use crate::config::Config;
use crate::domain::ClientNetwork;
use crate::http::problem::Problem;
use crate::http::response_memory::ResponseMemory;
use crate::lifecycle::{Shutdown, Supervisor};
use crate::live::Live;
use crate::telemetry::Metrics;

/// The shared parts of push; one per server.
pub struct PushState {
    /// Open sockets and their bounds.
    pub sockets: Arc<Sockets>,
    pub(super) channels: Arc<ChannelRegistry>,
    pub(super) live: Live,
    pub(super) config: Arc<Config>,
    pub(super) memory: Arc<ResponseMemory>,
    pub(super) shutdown: Shutdown,
    pub(super) missed_notices: IntCounter,
}

impl PushState {
    /// No sockets are open yet. Must be called within the runtime that runs the channels.
    pub fn new(
        live: &Live,
        supervisor: &Supervisor,
        config: &Arc<Config>,
        memory: &Arc<ResponseMemory>,
        metrics: &Metrics,
        shutdown: &Shutdown,
    ) -> Self {
        let channels =
            ChannelRegistry::new(live, supervisor, config, memory, metrics, shutdown.clone());
        PushState {
            sockets: Arc::new(Sockets::new(config, metrics)),
            channels: Arc::new(channels),
            live: live.clone(),
            config: config.clone(),
            memory: memory.clone(),
            shutdown: shutdown.clone(),
            missed_notices: metrics.push_notices_missed.clone(),
        }
    }

    /// Registers a socket. `client` is the network that the socket counts for, if any.
    ///
    /// # Errors
    /// If there are too many sockets, in total or of this client, or the process ends.
    pub fn open(
        &self,
        client: Option<ClientNetwork>,
        protocol: Protocol,
    ) -> Result<OpenSocket, Problem> {
        self.sockets.open(client, protocol, self.shutdown.is_requested())
    }
}
