//! The common frame of every server's `main`.

use std::process::ExitCode;
use std::sync::Arc;

use super::reloading::ReloadSource;
use crate::config::{Config, ConfigArgs};
use crate::telemetry::logs;

/// Why a server failed, in one line.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Loads the settings (or prints them for `--print-config`), initialises logging and runs `work`. Prints an
/// error in one line to standard error, in the format of the log; where the settings cannot be read,
/// in the format that they ask for as far as that can be seen.
pub async fn program<Work>(
    service: &'static str,
    arguments: &ConfigArgs,
    work: impl FnOnce(Arc<Config>, ReloadSource) -> Work,
) -> ExitCode
where
    Work: Future<Output = Result<(), Failure>>,
{
    match run(service, arguments, work).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let format = arguments.log_format();
            eprint!("{}", logs::failure_line(service, format, &error.to_string()));
            ExitCode::FAILURE
        }
    }
}

async fn run<Work>(
    service: &'static str,
    arguments: &ConfigArgs,
    work: impl FnOnce(Arc<Config>, ReloadSource) -> Work,
) -> Result<(), Failure>
where
    Work: Future<Output = Result<(), Failure>>,
{
    let config = arguments.load()?;
    if arguments.print_config {
        print!("{}", config.to_commented_toml());
        return Ok(());
    }
    let reload = ReloadSource::new(arguments)?;
    let _logs = logs::init(service, config.log_format, &config.log_level)?;
    super::raise_open_files();
    work(Arc::new(config), reload).await
}
