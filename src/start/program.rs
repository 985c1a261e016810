//! What the `main` of every server does around its work.

use std::process::ExitCode;
use std::sync::Arc;

use crate::config::{Config, ConfigArgs};
use crate::telemetry::logs;

/// Why a server ended other than in order; told in one line.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Reads the settings (or prints them, if asked), begins the log, works, and says in one line on
/// standard error why it failed, if it did.
pub async fn program<Work>(
    service: &'static str,
    arguments: &ConfigArgs,
    work: impl FnOnce(Arc<Config>) -> Work,
) -> ExitCode
where
    Work: Future<Output = Result<(), Failure>>,
{
    match run(service, arguments, work).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{service}: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run<Work>(
    service: &'static str,
    arguments: &ConfigArgs,
    work: impl FnOnce(Arc<Config>) -> Work,
) -> Result<(), Failure>
where
    Work: Future<Output = Result<(), Failure>>,
{
    let config = arguments.load()?;
    if arguments.print_config {
        print!("{}", config.to_commented_toml());
        return Ok(());
    }
    let _logs = logs::init(service, config.log_format, &config.log_level)?;
    super::raise_open_files();
    work(Arc::new(config)).await
}
