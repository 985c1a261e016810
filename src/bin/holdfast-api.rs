//! The API server. `holdfast-api --help` describes its use.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use holdfast::config::{Config, ConfigArgs};
use holdfast::lifecycle::shutdown_channel;
use holdfast::start::Failure;
use holdfast::telemetry::Metrics;
use holdfast::{api, start};

/// Bound of the shutdown of the sale's background tasks.
const TASKS_END_TIMEOUT: Duration = Duration::from_secs(4);

/// Holdfast's API: decides in Redis who gets which seat
///
/// Needs Redis (7.0 or newer, or Valkey) and MongoDB, and waits for them at its start
/// (start_wait_seconds). Any number of API processes may run, with at least one holdfast-worker,
/// which archives the bookings in MongoDB.
///
/// Settings come from the file named by --config and, with precedence, from HOLDFAST_* variables:
/// HOLDFAST_LISTEN, HOLDFAST_METRICS_LISTEN (/metrics and /health), HOLDFAST_REDIS_URL, HOLDFAST_MONGODB_URL and the others that --print-config lists.
///
/// SIGTERM ends it in order: readiness becomes 503, requests in progress finish. A second signal ends
/// it at once.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(flatten)]
    config: ConfigArgs,
}

#[tokio::main]
async fn main() -> ExitCode {
    start::program(api::SERVICE, &Arguments::parse().config, serve).await
}

async fn serve(config: Arc<Config>) -> Result<(), Failure> {
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
    tracing::info!(address = %listeners.monitoring.local_addr()?, "serving metrics");
    tracing::info!(address = %listeners.clients.local_addr()?, "serving");
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
