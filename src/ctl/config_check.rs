//! `config check`: checks a settings file as the programs do at their start, without connecting.

use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;

use crate::config::values::Auth;
use crate::config::{Config, ConfigArgs, jwt_keys};
use crate::start;

use super::failure::Failure;
use super::output::{CommandResult, Output};

#[derive(clap::Subcommand, Debug)]
pub(super) enum Command {
    Check(Check),
}

impl Command {
    /// Runs the command, which needs no valid settings of this tool.
    pub(super) fn run(&self, output: &Output) -> Result<ExitCode, Failure> {
        match self {
            Command::Check(check) => output.show(&check.run()?),
        }
    }
}

/// Check a settings file, and list all its faults
///
/// As the programs do at their start and at a reload: names, values, ranges, contradictions, and the
/// files of keys and certificates that it names. HOLDFAST_* variables of this shell override the file,
/// as they would there. Connects to nothing.
///
/// Exits with 0 if there is no fault, with 1 if there is one, with 2 if the file cannot be read.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  holdfastctl config check /etc/holdfast.toml
  env -i holdfastctl config check --no-files new.toml --json | jq -r '.faults[]'")]
pub(super) struct Check {
    /// The settings file
    file: PathBuf,
    /// Leave out the files of keys and certificates, which may be on another machine
    #[arg(long)]
    no_files: bool,
}

/// The faults of a file.
#[derive(Serialize)]
pub(super) struct Checked {
    file: String,
    faults: Vec<String>,
    /// Settings of the file that a variable overrides.
    overridden: Vec<&'static str>,
}

impl Check {
    fn run(&self) -> Result<Checked, Failure> {
        std::fs::File::open(&self.file).map_err(|error| {
            Failure::new(format!("cannot read {}: {error}", self.file.display()))
        })?;
        let arguments = ConfigArgs { config: Some(self.file.clone()), print_config: false };
        let (faults, overridden) = match arguments.read() {
            Ok(loaded) => (self.faults_of_files(&loaded.config), loaded.overridden),
            Err(error) => (error.0.lines().map(str::to_owned).collect(), Vec::new()),
        };
        Ok(Checked { file: self.file.display().to_string(), faults, overridden })
    }

    fn faults_of_files(&self, config: &Config) -> Vec<String> {
        if self.no_files {
            return Vec::new();
        }
        let redis = start::redis_settings(config).err().map(|error| error.0);
        let keys = match config.auth {
            Auth::Jwt => jwt_keys::read(&config.jwt_key_files, config.jwt_algorithm).err(),
            Auth::Trusted => None,
        };
        let keys = keys.map(|error| error.to_string());
        redis.into_iter().chain(keys).collect()
    }
}

impl CommandResult for Checked {
    fn text(&self) -> String {
        let mut lines = self.faults.clone();
        if !self.overridden.is_empty() {
            lines.push(format!("overridden by variables: {}", self.overridden.join(", ")));
        }
        lines.push(match self.faults.len() {
            0 => format!("{}: no faults", self.file),
            1 => format!("{}: 1 FAULT", self.file),
            many => format!("{}: {many} FAULTS", self.file),
        });
        lines.join("\n")
    }

    fn has_problems(&self) -> bool {
        !self.faults.is_empty()
    }
}
