//! The worker: copies the booking log into the archive and applies the archive's decisions to Redis.
//! Any number of processes share the work. All are equal, and each may crash, stop or resume late at
//! any point.
//!
//! ```text
//! booking log ──► drain ──► archive (ledger, states, claims, outcomes) ──► settle ──► Redis
//!       ▲           reclaim: entries that another worker left pending take the same path
//!       └── settle appends the transition that wakes the waiting confirmation
//! ```
//!
//! | task (metrics label) | module | what it handles |
//! |---|---|---|
//! | `drain` | [`drain`] | unread entries, and this worker's own pending ones |
//! | `reclaim` | [`reclaimer`] | pending entries of dead consumers, and failed ones; dead letters |
//! | `admit` | [`admitter`] | waiting rooms: places, draws, floors |
//! | `sweep` | [`sweeper`] | overdue holds of quiet events |
//! | `reconcile` | [`reconciler`] | abandoned payments, confirmations whose lease lapsed |
//! | `mend` | [`finish_interrupted`] | interrupted openings, changes of settings and cancellations |
//! | `repair` | [`repairer`] | events and writes that Redis lost |
//! | `retain` | [`retention`] | removal from Redis of bookings that ended long ago |
//! | `trim` | [`log_trimmer`] | removal of old archived log entries |
//! | `watch` | [`log_monitor`] | gauges and alarms, independent of the drain |
//!
//! The binary and the tests both call [`run`].

mod admitter;
mod batch;
mod chain;
mod drain;
mod entry_spans;
mod finish_interrupted;
mod health;
mod known_logs;
mod log_changes;
mod log_monitor;
mod log_trimmer;
mod monitoring;
mod reclaimer;
mod reconciler;
mod redis_memory;
mod repairer;
mod retention;
mod store;
mod sweeper;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};

use crate::archive::Archive;
use crate::config::{Config, LiveConfig};
use crate::domain::Partition;
use crate::faults::Faults;
use crate::http;
use crate::lifecycle::{Shutdown, Supervisor, host_name};
use crate::redis::Engine;
use crate::sale::archiving::Archiver;
use crate::sale::restore::Restorer;
use crate::sale::{Dependencies, PaymentService};
use crate::start::{self, Services};
use crate::telemetry::Metrics;

use health::WorkerHealth;
use known_logs::KnownLogs;

/// The program's name in logs, metrics and `/health`.
pub const SERVICE: &str = crate::telemetry::metrics::WORKER;

/// State shared by all tasks of one worker. Cheap to clone.
#[derive(Clone)]
struct Worker(Arc<Shared>);

struct Shared {
    engine: Engine,
    archive: Archive,
    /// The settings in effect.
    config: LiveConfig,
    metrics: Metrics,
    shutdown: Shutdown,
    /// This worker's name in the consumer group.
    consumer: String,
    /// Bounds the batches in flight.
    batch_permits: Arc<Semaphore>,
    archiver: Archiver,
    restorer: Restorer,
    /// Ends the pause of the repairer: a loss was found.
    wake_repairer: Notify,
    payments: PaymentService,
    health: WorkerHealth,
    /// The logs' states, as the monitor read them last.
    known_logs: KnownLogs,
    dependencies: Dependencies,
    supervisor: Supervisor,
    faults: Arc<Faults>,
}

impl std::ops::Deref for Worker {
    type Target = Shared;
    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl Shared {
    /// How long an entry must be pending before any worker may claim it.
    fn reclaim_idle(&self) -> Duration {
        Duration::from_millis(self.config.load().worker_reclaim_idle_ms)
    }
}

/// Runs until shutdown is requested. Then reading stops at once, batches in flight have
/// `shutdown_seconds` to finish, and entries of unfinished batches are delivered again.
///
/// # Errors
/// If the HTTP server for health and metrics cannot run.
pub async fn run(
    listener: TcpListener,
    config: Arc<Config>,
    services: Services,
    metrics: Metrics,
    shutdown: Shutdown,
) -> io::Result<()> {
    let consumer = consumer_name(&config, listener.local_addr()?);
    tracing::info!(consumer, "working");
    let (lanes, supervisor) = (services.engine.lanes(), services.supervisor.clone());
    let faults = Arc::new(Faults::new(config.worker_fault_point));
    let worker = Worker(Arc::new(Shared {
        batch_permits: Arc::new(Semaphore::new(config.worker_batches_in_flight as usize)),
        archiver: Archiver::new(
            services.engine.clone(),
            services.archive.clone(),
            config.ended_keep_seconds,
        ),
        payments: start::payments(&services, &config, &metrics, faults.clone()),
        restorer: Restorer::new(
            services.engine.clone(),
            services.archive.clone(),
            &start::sale_settings(&config),
        ),
        wake_repairer: Notify::new(),
        dependencies: Dependencies::start(
            &services.engine,
            &services.archive,
            &supervisor,
            &shutdown,
        ),
        supervisor: supervisor.clone(),
        faults,
        known_logs: KnownLogs::default(),
        health: WorkerHealth::new(lanes.len(), metrics.batches_in_flight.clone()),
        engine: services.engine,
        archive: services.archive,
        metrics: metrics.clone(),
        shutdown: shutdown.clone(),
        consumer,
        config: services.reloads.settings().clone(),
    }));
    let traces = services.traces;
    let http = http::monitoring::server(listener, worker.clone(), worker.config.clone())?;
    let http_handle = http.handle();
    let mut http = tokio::spawn(http);
    // The admitter throttles while a dependency's state is unknown.
    worker.dependencies.are_known().await;
    spawn_tasks(&worker, &supervisor, lanes);
    let served = tokio::select! {
        () = shutdown.requested() => None,
        ended = &mut http => Some(ended),
    };
    if !supervisor.finish(Duration::from_secs(config.shutdown_seconds)).await {
        tracing::warn!("not all batches finished in time; their entries are delivered again");
    }
    worker.engine.close().await;
    traces.finish().await;
    match served {
        // The HTTP server ended without a shutdown request.
        Some(ended) => ended.map_err(io::Error::other)?,
        None => {
            http_handle.stop(true).await;
            http.await.map_err(io::Error::other)?
        }
    }
}

fn spawn_tasks(worker: &Worker, supervisor: &Supervisor, lanes: Vec<Vec<Partition>>) {
    let shutdown = &worker.shutdown;
    for (number, lane) in lanes.into_iter().enumerate() {
        let worker = worker.clone();
        let drain = move || drain::run(worker.clone(), number, lane.clone());
        supervisor.spawn("drain", shutdown, drain);
    }
    supervisor.spawn("reclaim", shutdown, with(worker, reclaimer::run));
    supervisor.spawn("admit", shutdown, with(worker, admitter::run));
    supervisor.spawn("sweep", shutdown, with(worker, sweeper::run));
    supervisor.spawn("reconcile", shutdown, with(worker, reconciler::run));
    supervisor.spawn("mend", shutdown, with(worker, finish_interrupted::run));
    supervisor.spawn("repair", shutdown, with(worker, repairer::run));
    supervisor.spawn("retain", shutdown, with(worker, retention::run));
    supervisor.spawn("trim", shutdown, with(worker, log_trimmer::run));
    supervisor.spawn("watch", shutdown, with(worker, log_monitor::run));
}

/// Returns a function that starts the task with a clone of the worker.
fn with<F>(worker: &Worker, task: fn(Worker) -> F) -> impl Fn() -> F + use<F> {
    let worker = worker.clone();
    move || task(worker.clone())
}

/// The configured name, or the host's name and this process' port: stable across restarts and unique
/// among running workers.
fn consumer_name(config: &Config, address: SocketAddr) -> String {
    if !config.worker_consumer.is_empty() {
        return config.worker_consumer.clone();
    }
    format!("{}:{}", host_name(), address.port())
}
