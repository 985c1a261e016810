//! `man`: writes the manual pages of all programs.

use std::path::PathBuf;

use clap::CommandFactory;
use serde::Serialize;

use crate::start;

use super::failure::Failure;
use super::output::CommandResult;

/// Write the manual pages of holdfast-api, holdfast-worker and holdfastctl
///
/// One page for each program, and for each command of holdfastctl, as `man` reads them. Needs neither
/// settings nor services. The pages belong to this build: write them again after an upgrade.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  holdfastctl man /usr/local/share/man/man1
  holdfastctl man pages && man ./pages/holdfastctl-reload.1")]
pub(super) struct Arguments {
    /// The folder, which is made if it does not exist
    folder: PathBuf,
}

/// The pages that were written.
#[derive(Serialize)]
pub(super) struct Pages {
    folder: String,
    pages: Vec<String>,
}

impl Arguments {
    pub(super) fn run(&self) -> Result<Pages, Failure> {
        let folder = &self.folder;
        let named = |error: std::io::Error| Failure::new(format!("{}: {error}", folder.display()));
        std::fs::create_dir_all(folder).map_err(named)?;
        let mut pages = Vec::new();
        for command in start::server_commands().into_iter().chain([super::Arguments::command()]) {
            let mut command = command.disable_help_subcommand(true);
            clap_mangen::generate_to(command.clone(), folder).map_err(named)?;
            // This names the pages.
            command.build();
            names(&command, &mut pages);
        }
        Ok(Pages { folder: folder.display().to_string(), pages })
    }
}

/// The files of a command and of its own commands.
fn names(command: &clap::Command, pages: &mut Vec<String>) {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    pages.push(format!("{name}.1"));
    command.get_subcommands().for_each(|inner| names(inner, pages));
}

impl CommandResult for Pages {
    fn text(&self) -> String {
        format!("{} pages are in {}", self.pages.len(), self.folder)
    }
}
