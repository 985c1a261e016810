//! The worker. `holdfast-worker --help` describes its use.

use std::net::TcpListener;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use holdfast::config::Config;
use holdfast::lifecycle::shutdown_channel;
use holdfast::start::{Failure, ReloadSource, WorkerArguments};
use holdfast::telemetry::Metrics;
use holdfast::{start, worker};

#[tokio::main]
async fn main() -> ExitCode {
    start::program(worker::SERVICE, &WorkerArguments::parse().config, work).await
}

async fn work(config: Arc<Config>, reload: ReloadSource) -> Result<(), Failure> {
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
    reload.begin(worker::SERVICE, listener.local_addr()?, &services, &metrics, &shutdown);
    worker::run(listener, config, services, metrics, shutdown).await?;
    tracing::info!("ended in order");
    Ok(())
}
