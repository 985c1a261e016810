//! The API server. `holdfast-api --help` tells how to run it.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use holdfast::config::{Config, ConfigArgs};
use holdfast::sale::Sale;
use holdfast::telemetry::{Metrics, logs};
use holdfast::{api, shutdown};

/// Holdfast's API: decides, in Redis, who gets which seat.
///
/// Needs a Redis (7.0 or newer, or Valkey) and a MongoDB; runs beside any number of its like, and
/// beside at least one holdfast-worker, which carries what was decided into MongoDB.
///
/// Settings come from the file named by --config and, above it, from HOLDFAST_* variables:
/// HOLDFAST_LISTEN, HOLDFAST_REDIS_URL, HOLDFAST_MONGODB_URL and those that --print-config lists.
///
/// SIGTERM ends it in order: readiness turns 503, what is under way is finished. A second signal
/// ends it at once.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(flatten)]
    config: ConfigArgs,
}

#[tokio::main]
async fn main() -> ExitCode {
    match start(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", api::SERVICE);
            ExitCode::FAILURE
        }
    }
}

async fn start(arguments: Arguments) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let config = arguments.config.load()?;
    if arguments.config.print_config {
        print!("{}", config.to_commented_toml());
        return Ok(());
    }
    let _logs = logs::init(api::SERVICE, config.log_format, &config.log_level)?;
    serve(Arc::new(config)).await
}

async fn serve(config: Arc<Config>) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    raise_open_files();
    let (trigger, shutdown) = shutdown::channel();
    trigger.on_signals()?;
    let metrics = Metrics::new(api::SERVICE);
    let sale = Sale::fake();
    let listener = api::bind(config.listen)
        .map_err(|error| format!("cannot listen on {}: {error}", config.listen))?;
    tracing::info!(address = %listener.local_addr()?, "listening");
    api::run(listener, config, sale, metrics, shutdown).await?;
    tracing::info!("ended in order");
    Ok(())
}

/// Every connection is an open file, and the usual soft limit is 1,024.
fn raise_open_files() {
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}
