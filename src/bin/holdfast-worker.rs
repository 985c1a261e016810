//! The worker. `holdfast-worker --help` tells how to run it.

use std::net::TcpListener;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use holdfast::config::{Config, ConfigArgs};
use holdfast::lifecycle::shutdown_channel;
use holdfast::start::Failure;
use holdfast::telemetry::Metrics;
use holdfast::{start, worker};

/// Holdfast's worker: carries the booking log from Redis into MongoDB.
///
/// Every sale is judged there, and the verdict is brought back into Redis: a booking is CONFIRMED
/// only once a worker has done that. It also releases holds and confirmations whose time is up,
/// parks log entries that cannot be stored, and trims what is archived.
///
/// Run one or more. They share the work; one that dies or hangs is relieved by the others after
/// worker_reclaim_idle_ms. Each needs a name of its own (HOLDFAST_WORKER_CONSUMER; host name and
/// port if not set) that is the same after a restart, and a port of its own
/// (HOLDFAST_WORKER_LISTEN) for /metrics, /health/live and /health/ready.
///
/// Settings come from the file named by --config and, above it, from HOLDFAST_* variables;
/// --print-config lists them all. Those about Redis, MongoDB and partitions must be the API's.
///
/// It waits at its start for a Redis and a MongoDB that are not there yet (start_wait_seconds).
///
/// SIGTERM ends it in order: reading ends, what is under way is finished. A second signal ends it
/// at once, which loses nothing either: what is not acknowledged is delivered again.
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
    tracing::info!(address = %listener.local_addr()?, "health and metrics");
    let connected =
        start::connect_patiently(worker::SERVICE, &listener, &config, &metrics, &shutdown).await?;
    let Some(services) = connected else { return Ok(()) };
    worker::run(listener, config, services, metrics, shutdown).await?;
    tracing::info!("ended in order");
    Ok(())
}
