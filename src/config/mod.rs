//! Settings: defaults, below a TOML file (`--config`), below `HOLDFAST_*` in the environment.
//!
//! Whatever is misspelt is refused by name, and settings that contradict each other are refused
//! at start with a word on how to mend them; nothing is silently ignored.

mod check;
mod check_access;
pub mod fault;
mod fields;
mod layers;
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
        let environment = std::env::vars_os().filter_map(|(name, value)| {
            // A name of ours is plain ASCII; a value that is not UTF-8 is refused by its check.
            Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
        });
        Config::load(self.config.as_deref(), environment)
    }
}
