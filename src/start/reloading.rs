//! What makes a process reload its settings: SIGHUP, and operators through `control`.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Mutex;

use super::Services;
use super::control::{self, Identity};
use super::reload::{RedisTls, Reloader, now_ms};
use crate::config::ConfigArgs;
use crate::lifecycle::Shutdown;
use crate::telemetry::Metrics;

/// What reloading needs from the start of the process on: SIGHUP no longer ends it.
pub struct ReloadSource {
    arguments: ConfigArgs,
    hang_ups: Signal,
    started_ms: i64,
}

impl ReloadSource {
    /// Begins to listen to SIGHUP; those that arrive before [`ReloadSource::begin`] count then.
    ///
    /// # Errors
    /// If the process cannot listen to signals.
    pub fn new(arguments: &ConfigArgs) -> std::io::Result<Self> {
        let hang_ups = signal(SignalKind::hangup())?;
        Ok(ReloadSource { arguments: arguments.clone(), hang_ups, started_ms: now_ms() })
    }

    /// Reloads from now on at SIGHUP and when operators ask. `address` is the process' own, for its
    /// name.
    pub fn begin(
        self,
        service: &'static str,
        address: SocketAddr,
        services: &Services,
        metrics: &Metrics,
        shutdown: &Shutdown,
    ) {
        metrics.config_last_reload_success.set(1);
        metrics.config_last_reload_seconds.set(self.started_ms as f64 / 1_000.0);
        services.reloads.register(Arc::new(RedisTls(services.engine.clone())));
        let reloader = Reloader::new(self.arguments, services.reloads.clone(), metrics);
        let reloader = Arc::new(reloader);
        let hang_ups = Arc::new(Mutex::new(self.hang_ups));
        let (by_signal, stop) = (reloader.clone(), shutdown.clone());
        services.supervisor.spawn("reload", shutdown, move || {
            follow_signals(hang_ups.clone(), by_signal.clone(), stop.clone())
        });
        let identity = Identity::new(service, address, services, self.started_ms);
        let (archive, stop) = (services.archive.clone(), shutdown.clone());
        services.supervisor.spawn("control", shutdown, move || {
            control::follow(archive.clone(), identity.clone(), reloader.clone(), stop.clone())
        });
    }
}

async fn follow_signals(hang_ups: Arc<Mutex<Signal>>, reloader: Arc<Reloader>, shutdown: Shutdown) {
    let mut hang_ups = hang_ups.lock().await;
    loop {
        tokio::select! {
            received = hang_ups.recv() => match received {
                Some(()) => drop(reloader.clone().reload("SIGHUP").await),
                // No more signals can be received.
                None => return shutdown.requested().await,
            },
            () = shutdown.requested() => return,
        }
    }
}
