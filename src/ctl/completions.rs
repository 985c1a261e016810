//! `completions`: what a shell needs to complete this tool's commands and flags.

use clap::CommandFactory;
use clap_complete::{Shell, generate};
use serde::Serialize;

use super::failure::Failure;
use super::output::Shown;

/// Print a script that makes a shell complete holdfastctl
///
/// Needs neither settings nor services. The script is for this build: make it again after an
/// upgrade.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  holdfastctl completions bash > ~/.local/share/bash-completion/completions/holdfastctl
  holdfastctl completions zsh > \"${fpath[1]}/_holdfastctl\"
  holdfastctl completions fish > ~/.config/fish/completions/holdfastctl.fish")]
pub(super) struct Arguments {
    /// Which shell
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

impl Shown for Completions {
    fn text(&self) -> String {
        self.script.clone()
    }
}
