//! `status --watch`: shows the status again and again.

use std::io::{IsTerminal, Write, stdout};
use std::process::ExitCode;
use std::time::Duration;

use super::StatusReader;
use crate::ctl::failure::Failure;
use crate::ctl::output::{CommandResult, Output};
use crate::domain::time::iso8601;

/// Clears a terminal.
const CLEAR: &str = "\x1b[H\x1b[2J\x1b[3J";

/// Shows the status every so many seconds until the process is interrupted or the reader is gone. With
/// `--json` each is one line.
pub(super) async fn run(
    mut reader: StatusReader<'_>,
    seconds: u32,
    output: &Output,
) -> Result<ExitCode, Failure> {
    let mut turns = tokio::time::interval(Duration::from_secs(seconds.into()));
    loop {
        turns.tick().await;
        let status = reader.read().await?;
        let text = match output.json {
            true => serde_json::to_string(&status)?,
            false => {
                let now = iso8601(jiff::Timestamp::now().as_millisecond());
                let clear = if stdout().is_terminal() { CLEAR } else { "" };
                format!("{clear}{now}\n{}\n", status.text().trim_end())
            }
        };
        let mut out = stdout().lock();
        if writeln!(out, "{text}").and_then(|()| out.flush()).is_err() {
            // The reader has gone.
            return Ok(ExitCode::SUCCESS);
        }
    }
}
