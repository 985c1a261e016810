//! `debug-bundle`: collects what a bug report needs in one file, without secrets and personal data.

mod archive_file;
mod collect;
mod redact;

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Serialize;

use crate::config::Config;

use super::failure::Failure;
use super::fresh_file::FreshFile;
use super::output::CommandResult;
use collect::Bundle;

/// Addresses of metrics, at most.
const METRICS_MAX: usize = 64;

/// Collect what a bug report needs in one file, without secrets and personal data
///
/// A tar.gz with the settings (secrets masked), versions, `status`, `lag`, readiness and metrics of the
/// processes that answer, Redis' INFO, facts of MongoDB, and the kinds of recent admin acts without
/// their authors and objects. Names of events are in it; user ids, bookings and addresses of clients
/// are not. Every part is searched for the secrets of the settings before it is written. What could not
/// be had is named in its README.txt. Look it through before you send it.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  holdfastctl debug-bundle
  holdfastctl debug-bundle --output /tmp/report.tar.gz --metrics 10.0.0.5:8002 --metrics 10.0.0.6:8001")]
pub(super) struct Arguments {
    /// The file [default: holdfast-debug-TIME.tar.gz]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Address of a process' /metrics and /health; without any, those of the settings
    #[arg(long, value_name = "ADDRESS", num_args = 1, action = clap::ArgAction::Append)]
    metrics: Vec<SocketAddr>,
}

/// The written file.
#[derive(Serialize)]
pub(super) struct Written {
    file: String,
    bytes: u64,
    /// The files inside.
    parts: Vec<String>,
    /// What could not be had, and why.
    missing: Vec<String>,
}

impl Arguments {
    pub(super) async fn run(self, config: &Config) -> Result<Written, Failure> {
        if self.metrics.len() > METRICS_MAX {
            return Err(Failure::new(format!("{METRICS_MAX} addresses at most")));
        }
        let time = jiff::Zoned::now().strftime("%Y%m%dT%H%M%S").to_string();
        let name = format!("holdfast-debug-{time}");
        let bundle = Bundle::collect(config, &self.metrics).await;
        let path = self.output.unwrap_or_else(|| PathBuf::from(format!("{name}.tar.gz")));
        let named = |error: std::io::Error| Failure::new(format!("{}: {error}", path.display()));
        let parts = bundle.parts(config);
        let bytes = archive_file::tar_gz(&name, &parts).map_err(named)?;
        let mut fresh = FreshFile::beside(&path).map_err(named)?;
        std::io::Write::write_all(fresh.file(), &bytes).map_err(named)?;
        fresh.rename_to(&path).map_err(named)?;
        Ok(Written {
            file: path.display().to_string(),
            bytes: bytes.len() as u64,
            parts: parts.into_iter().map(|(name, _)| name).collect(),
            missing: bundle.missing,
        })
    }
}

impl CommandResult for Written {
    fn text(&self) -> String {
        let mut lines: Vec<String> =
            self.missing.iter().map(|one| format!("missing: {one}")).collect();
        let parts = self.parts.len();
        lines.push(format!("{parts} files, {} bytes, are in {}", self.bytes, self.file));
        lines.push("Look it through before you send it.".to_owned());
        lines.join("\n")
    }
}
