//! The API server. `holdfast-api --help` describes its use.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use holdfast::config::Config;
use holdfast::lifecycle::shutdown_channel;
use holdfast::start::{ApiArguments, Failure, ReloadSource};
use holdfast::telemetry::Metrics;
use holdfast::{api, start};

/// Bound of the shutdown of the sale's background tasks.
const TASKS_END_TIMEOUT: Duration = Duration::from_secs(4);

#[tokio::main]
async fn main() -> ExitCode {
    start::program(api::SERVICE, &ApiArguments::parse().config, serve).await
}

async fn serve(config: Arc<Config>, reload: ReloadSource) -> Result<(), Failure> {
    let listeners = api::Listeners::bind(&config)?;
    let metrics = Metrics::new(api::SERVICE);
    let (trigger, shutdown) = shutdown_channel();
    trigger.on_signals()?;
    let probed = [&listeners.clients, &listeners.monitoring];
    let connected =
        start::connect_patiently(api::SERVICE, &probed, &config, &metrics, &shutdown).await?;
    let Some(services) = connected else { return Ok(()) };
    start::replication(&services, &config).await?;
    // The sale's tasks end after the server: requests in progress still need them.
    let (sale_trigger, sale_shutdown) = shutdown_channel();
    let sale = start::sale(&services, &config, &metrics, &sale_shutdown)?;
    let gates = api::start_gates(&services, &config, &metrics, &sale_shutdown).await?;
    let address = listeners.clients.local_addr()?;
    reload.begin(api::SERVICE, address, &services, &metrics, &sale_shutdown);
    tracing::info!(address = %listeners.monitoring.local_addr()?, "serving metrics");
    tracing::info!(%address, "serving");
    let served = api::run(listeners, config, sale, gates, metrics, shutdown).await;
    sale_trigger.request();
    if !services.supervisor.finish(TASKS_END_TIMEOUT).await {
        tracing::warn!("not all background tasks ended in time");
    }
    services.engine.close().await;
    services.traces.finish().await;
    tracing::info!("ended in order");
    Ok(served?)
}
