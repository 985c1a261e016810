//! The channels of all events with subscribers; one task advances each.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::channel::{ChannelMetrics, EventChannel};
use super::protocol::Protocol;
use super::seat_updates::{SeatUpdates, StartOptions};
use crate::config::Config;
use crate::domain::EventId;
use crate::http::response_memory::ResponseMemory;
use crate::lifecycle::{Shutdown, Supervisor};
use crate::live::Live;
use crate::telemetry::Metrics;

/// The channels of a process: at most as many as there are sockets.
pub struct ChannelRegistry {
    live: Live,
    supervisor: Supervisor,
    runtime: Handle,
    shutdown: Shutdown,
    tick_interval: Duration,
    metrics: ChannelMetrics,
    active: Mutex<ActiveChannels>,
}

#[derive(Default)]
struct ActiveChannels {
    channels: HashMap<EventId, Arc<EventChannel>>,
    tasks: JoinSet<()>,
}

impl ChannelRegistry {
    /// No channels yet. Must be called within the runtime that runs their tasks.
    pub fn new(
        live: &Live,
        supervisor: &Supervisor,
        config: &Config,
        memory: &Arc<ResponseMemory>,
        metrics: &Metrics,
        shutdown: Shutdown,
    ) -> Self {
        ChannelRegistry {
            live: live.clone(),
            supervisor: supervisor.clone(),
            runtime: Handle::current(),
            shutdown,
            tick_interval: Duration::from_millis(config.push_tick_ms),
            metrics: ChannelMetrics::new(memory, metrics),
            active: Mutex::default(),
        }
    }

    /// Subscribes to the seats of an event, which must exist.
    pub fn subscribe(
        self: &Arc<Self>,
        event: EventId,
        protocol: Protocol,
        start: StartOptions,
    ) -> SeatUpdates {
        let mut active = self.active();
        while active.tasks.try_join_next().is_some() {}
        if let Some(channel) = active.channels.get(&event) {
            return SeatUpdates::new(channel.clone(), protocol, start);
        }
        let channel = Arc::new(EventChannel::new(self.live.slot(event), self.metrics.clone()));
        // Subscribed before the task starts, which ends when there is no subscriber.
        let updates = SeatUpdates::new(channel.clone(), protocol, start);
        active.channels.insert(event, channel.clone());
        // Supervised: without its task a channel would stay silent for later subscribers, too.
        let registry = self.clone();
        let task = move || registry.clone().run_channel(channel.clone());
        active.tasks.spawn_on(self.supervisor.until_done("event_channel", task), &self.runtime);
        updates
    }

    /// Advances a channel whenever its view has changed, until it has no subscribers.
    async fn run_channel(self: Arc<Self>, channel: Arc<EventChannel>) {
        let mut changes = channel.slot().changes();
        let mut next = Instant::now();
        loop {
            changes.borrow_and_update();
            // The first change after a quiet time is sent at once; those that follow are batched.
            if channel.advance() {
                next = Instant::now() + self.tick_interval;
            }
            tokio::select! {
                changed = changes.changed() => {
                    // The channel owns the slot, so the sender lives as long.
                    if changed.is_err() {
                        return;
                    }
                }
                () = channel.unsubscribed() => {
                    if self.remove_if_unused(&channel) {
                        return;
                    }
                    continue;
                }
                () = self.shutdown.requested() => return,
            }
            tokio::time::sleep_until(next).await;
        }
    }

    /// Removes a channel without subscribers; returns whether it did.
    fn remove_if_unused(&self, channel: &EventChannel) -> bool {
        let mut active = self.active();
        let is_unused = channel.subscriber_count() == 0;
        if is_unused {
            active.channels.remove(&channel.event());
        }
        is_unused
    }

    fn active(&self) -> MutexGuard<'_, ActiveChannels> {
        // Nothing under this lock panics half-way through a change.
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
