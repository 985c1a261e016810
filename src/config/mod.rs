//! Settings: defaults, below a TOML file (`--config`), below `HOLDFAST_*` in the environment.
//!
//! Whatever is misspelt is refused by name, and settings that contradict each other are refused
//! at start with a word on how to mend them; nothing is silently ignored.

mod check;
mod check_access;
mod check_proxies;
mod check_services;
mod check_unused;
mod fields;
mod layers;
mod log_level;
mod print;
pub mod values;

use std::path::PathBuf;

pub use fields::Config;
pub use layers::ConfigError;

/// The flags that all binaries share.
#[derive(clap::Args, Clone, Debug)]
pub struct ConfigArgs {
    /// Settings file in TOML; HOLDFAST_* variables stand above it
    #[arg(long, global = true, help_heading = "Settings", value_name = "FILE",
          env = layers::FILE_VARIABLE)]
    pub config: Option<PathBuf>,
    /// Print the settings in effect as a commented TOML file (secrets masked) and exit
    #[arg(long, global = true, help_heading = "Settings")]
    pub print_config: bool,
}

impl ConfigArgs {
    /// Reads and checks the settings from the file named here and the process's environment.
    pub fn load(&self) -> Result<Config, ConfigError> {
        let mut environment = Vec::new();
        for (name, value) in std::env::vars_os() {
            // A name of ours is plain ASCII.
            let Ok(name) = name.into_string() else { continue };
            match value.into_string() {
                Ok(value) => environment.push((name, value)),
                Err(_) if layers::is_setting(&name) => {
                    return Err(ConfigError(format!("{name} is not UTF-8")));
                }
                Err(_) => {}
            }
        }
        Config::load(self.config.as_deref(), environment)
    }
}
