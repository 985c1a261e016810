//! `completions`: prints a shell completion script.

use clap::CommandFactory;
use clap_complete::{Shell, generate};
use serde::Serialize;

use super::failure::Failure;
use super::output::CommandResult;

/// Print a shell completion script for holdfastctl
///
/// Needs neither settings nor services. The script belongs to this build: generate it again after an
/// upgrade.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  holdfastctl completions bash > ~/.local/share/bash-completion/completions/holdfastctl
  holdfastctl completions zsh > \"${fpath[1]}/_holdfastctl\"
  holdfastctl completions fish > ~/.config/fish/completions/holdfastctl.fish")]
pub(super) struct Arguments {
    /// The shell
    shell: Shell,
}

/// The script.
#[derive(Serialize)]
pub(super) struct Completions {
    shell: String,
    script: String,
}

impl Arguments {
    pub(super) fn run(&self) -> Result<Completions, Failure> {
        let mut script = Vec::new();
        generate(self.shell, &mut super::Arguments::command(), super::NAME, &mut script);
        let script = String::from_utf8(script)
            .map_err(|_| Failure::new("the completion script is no text: a defect"))?;
        Ok(Completions { shell: self.shell.to_string(), script })
    }
}

impl CommandResult for Completions {
    fn text(&self) -> String {
        self.script.clone()
    }
}
