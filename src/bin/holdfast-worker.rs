//! The worker. `holdfast-worker --help` describes its use.

use std::net::TcpListener;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use holdfast::config::{Config, ConfigArgs};
use holdfast::lifecycle::shutdown_channel;
use holdfast::start::Failure;
use holdfast::telemetry::Metrics;
use holdfast::{start, worker};

/// Holdfast's worker: archives the booking log from Redis in MongoDB
///
/// MongoDB decides every sale, and the worker settles the outcome in Redis: only then is a booking
/// CONFIRMED. The worker also releases overdue holds and confirmations, parks log entries that cannot
/// be stored, and trims archived entries.
///
/// Run one or more. They share the work; after worker_reclaim_idle_ms the others take over the entries
/// of a worker that crashed or hangs. Each needs a unique name (HOLDFAST_WORKER_CONSUMER; host name and
/// port if not set) that is the same after a restart, and its own port (HOLDFAST_WORKER_LISTEN) for
/// /metrics, /health/live and /health/ready.
///
/// Settings come from the file named by --config and, with precedence, from HOLDFAST_* variables;
/// --print-config lists all of them. Redis, MongoDB and partitions must be set as for the API.
///
/// At its start it waits for Redis and MongoDB (start_wait_seconds).
///
/// SIGTERM ends it in order: reading stops, batches in progress finish. A second signal ends it at
/// once, also without loss: entries that are not acknowledged are delivered again.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(flatten)]
    config: ConfigArgs,
}

#[tokio::main]
async fn main() -> ExitCode {
    start::program(worker::SERVICE, &Arguments::parse().config, work).await
}

async fn work(config: Arc<Config>) -> Result<(), Failure> {
    let listener = TcpListener::bind(config.worker_listen)
        .map_err(|error| format!("cannot listen on {}: {error}", config.worker_listen))?;
    let metrics = Metrics::new(worker::SERVICE);
    let (trigger, shutdown) = shutdown_channel();
    trigger.on_signals()?;
    tracing::info!(address = %listener.local_addr()?, "serving health and metrics");
    let connected =
        start::connect_patiently(worker::SERVICE, &[&listener], &config, &metrics, &shutdown)
            .await?;
    let Some(services) = connected else { return Ok(()) };
    worker::run(listener, config, services, metrics, shutdown).await?;
    tracing::info!("ended in order");
    Ok(())
}
