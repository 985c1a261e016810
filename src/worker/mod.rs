//! The worker: carries the booking log into the archive and what the archive decides back into
//! Redis. Any number of processes share the work; none of them is special, and any may die, stop
//! or wake up late at any point.
//!
//! ```text
//! booking log ──► drain ──► archive (ledger, states, claims, outcomes) ──► settle ──► Redis
//!       ▲           reclaim: what another worker left pending goes the same way
//!       └── settle appends the transition that wakes the waiting confirmation
//! ```
//!
//! | task | what it sees to |
//! |---|---|
//! | `drain` | entries that nobody has read, and what this worker left over |
//! | `reclaim` | entries of dead consumers, and failed ones; dead letters |
//! | `admit` | waiting rooms: places, draws, floors |
//! | `sweep` | overdue holds of quiet events |
//! | `reconcile` | payments that nobody looks after, confirmations whose lease lapsed |
//! | `mend` | openings, changes and cancellations that were cut off |
//! | `repair` | events and writes that Redis lost |
//! | `retain` | bookings that ended long ago: they leave Redis |
//! | `trim` | archived entries, once they are old |
//! | `watch` | gauges and alarms, from outside the drain |
//!
//! [`run`] serves the binary and the tests alike.

mod admit;
mod batch;
mod chain;
mod drain;
mod finish_interrupted;
mod health;
mod http;
mod reclaim;
mod reconcile;
mod repair;
mod retain;
mod store;
mod sweep;
mod trim;
mod watch;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};

use crate::archive::Archive;
use crate::config::Config;
use crate::domain::Partition;
use crate::faults::Faults;
use crate::lifecycle::Shutdown;
use crate::lifecycle::Supervisor;
use crate::redis::Engine;
use crate::sale::archiving::Archiver;
use crate::sale::restore::Restorer;
use crate::sale::{Dependencies, PaymentService};
use crate::start::{self, Services};
use crate::telemetry::Metrics;

use health::WorkerHealth;

/// What this program calls itself in logs, metrics and `/health`.
pub const SERVICE: &str = crate::telemetry::metrics::WORKER;

/// What all tasks of one worker share. Cheap to clone.
#[derive(Clone)]
struct Worker(Arc<Shared>);

struct Shared {
    engine: Engine,
    archive: Archive,
    config: Arc<Config>,
    metrics: Metrics,
    shutdown: Shutdown,
    /// Its name in the consumer group.
    consumer: String,
    /// Batches that may be under way.
    places: Arc<Semaphore>,
    carrier: Archiver,
    restorer: Restorer,
    /// Ends the pause of `repair`: a fork was met.
    look_now: Notify,
    payments: PaymentService,
    vitals: WorkerHealth,
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
    /// After how long a pending entry is anybody's.
    fn reclaim_idle(&self) -> Duration {
        Duration::from_millis(self.config.worker_reclaim_idle_ms)
    }
}

/// Works until shutdown is requested, then ends in order: reading ends at once, what is under way
/// has `shutdown_seconds` to finish, and what does not is delivered again.
///
/// # Errors
/// If the HTTP server of health and metrics cannot run.
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
        places: Arc::new(Semaphore::new(config.worker_batches_in_flight as usize)),
        carrier: Archiver::new(
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
        look_now: Notify::new(),
        dependencies: Dependencies::start(
            &services.engine,
            &services.archive,
            &supervisor,
            &shutdown,
        ),
        supervisor: supervisor.clone(),
        faults,
        vitals: WorkerHealth::new(lanes.len(), metrics.batches_in_flight.clone()),
        engine: services.engine,
        archive: services.archive,
        metrics: metrics.clone(),
        shutdown: shutdown.clone(),
        consumer,
        config: config.clone(),
    }));
    let http = http::server(listener, worker.clone())?;
    let http_handle = http.handle();
    let mut http = tokio::spawn(http);
    // Admissions go by it: what is not known yet would slow them.
    worker.dependencies.are_known().await;
    start(&worker, &supervisor, lanes);
    let served = tokio::select! {
        () = shutdown.requested() => None,
        ended = &mut http => Some(ended),
    };
    if !supervisor.finish(Duration::from_secs(config.shutdown_seconds)).await {
        tracing::warn!("not all could be finished; the rest is delivered again");
    }
    worker.engine.close().await;
    match served {
        // Health and metrics are gone, though nobody asked for it.
        Some(ended) => ended.map_err(io::Error::other)?,
        None => {
            http_handle.stop(true).await;
            http.await.map_err(io::Error::other)?
        }
    }
}

fn start(worker: &Worker, supervisor: &Supervisor, lanes: Vec<Vec<Partition>>) {
    let shutdown = &worker.shutdown;
    for (number, lane) in lanes.into_iter().enumerate() {
        let worker = worker.clone();
        let drain = move || drain::drain(worker.clone(), number, lane.clone());
        supervisor.spawn("drain", shutdown, drain);
    }
    supervisor.spawn("reclaim", shutdown, with(worker, reclaim::reclaim));
    supervisor.spawn("admit", shutdown, with(worker, admit::admit));
    supervisor.spawn("sweep", shutdown, with(worker, sweep::sweep));
    supervisor.spawn("reconcile", shutdown, with(worker, reconcile::reconcile));
    supervisor.spawn("mend", shutdown, with(worker, finish_interrupted::finish_interrupted));
    supervisor.spawn("repair", shutdown, with(worker, repair::repair));
    supervisor.spawn("retain", shutdown, with(worker, retain::retain));
    supervisor.spawn("trim", shutdown, with(worker, trim::trim));
    supervisor.spawn("watch", shutdown, with(worker, watch::watch));
}

/// Begins a task with the worker, as often as asked.
fn with<F>(worker: &Worker, task: fn(Worker) -> F) -> impl Fn() -> F + use<F> {
    let worker = worker.clone();
    move || task(worker.clone())
}

/// The configured name, or the host's name and our port: stable over restarts and unique among
/// running workers.
fn consumer_name(config: &Config, address: SocketAddr) -> String {
    if !config.worker_consumer.is_empty() {
        return config.worker_consumer.clone();
    }
    let asked = std::process::Command::new("uname").arg("-n").output();
    let name = asked.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    let host = name.ok().filter(|name| !name.is_empty()).unwrap_or_else(|| "localhost".to_owned());
    format!("{host}:{}", address.port())
}
