//! Settings: defaults, overridden by a TOML file (`--config`), overridden by `HOLDFAST_*` variables.
//!
//! Misspelt settings are refused by name, and contradictory settings are refused at start with a hint
//! how to correct them; nothing is silently ignored.

mod check;
mod check_access;
mod check_proxies;
mod check_services;
mod check_traces;
mod check_unused;
mod derived;
mod fields;
pub mod jwt_keys;
mod layers;
mod live;
mod log_level;
mod print;
mod reload;
mod ring_provider;
mod secret_values;
mod table;
pub mod values;

use std::path::PathBuf;

pub use fields::Config;
pub use jwt_keys::KeyError;
pub use layers::{ConfigError, Loaded};
pub use live::LiveConfig;
pub use log_level::check as check_log_level;
pub use reload::{Change, ReloadPlan};

use crate::telemetry::LogFormat;

/// The flags shared by all programs.
#[derive(clap::Args, Clone, Debug)]
pub struct ConfigArgs {
    /// Settings file in TOML; HOLDFAST_* variables override it
    #[arg(long, global = true, help_heading = "Settings", value_name = "FILE",
          env = layers::FILE_VARIABLE)]
    pub config: Option<PathBuf>,
    /// Print the settings in effect as a commented TOML file (secrets masked) and exit
    #[arg(long, global = true, help_heading = "Settings")]
    pub print_config: bool,
}

impl ConfigArgs {
    /// Reads and checks the settings from the file and the process's environment.
    pub fn load(&self) -> Result<Config, ConfigError> {
        self.read().map(|loaded| loaded.config)
    }

    /// The same, with the settings of the file that variables override.
    ///
    /// # Errors
    /// Lists all faults, those of the file with their lines.
    pub fn read(&self) -> Result<Loaded, ConfigError> {
        let mut environment = Vec::new();
        for (name, value) in std::env::vars_os() {
            // Names of settings are plain ASCII.
            let Ok(name) = name.into_string() else { continue };
            match value.into_string() {
                Ok(value) => environment.push((name, value)),
                Err(_) if layers::is_setting(&name) => {
                    return Err(ConfigError(format!("{name} is not UTF-8")));
                }
                Err(_) => {}
            }
        }
        Loaded::read(self.config.as_deref(), environment)
    }

    /// The format of log lines, also where other settings cannot be used: the environment's or else
    /// the file's, if it can be read, or else the default.
    pub fn log_format(&self) -> LogFormat {
        let file = self.config.as_ref().and_then(|path| std::fs::read_to_string(path).ok());
        layers::log_format(std::env::var("HOLDFAST_LOG_FORMAT").ok(), file)
    }
}
