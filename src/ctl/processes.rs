//! Shared by `reload` and `log-level`: waits until every process has done what was asked.

use std::time::{Duration, Instant};

use crate::sale::control::{ControlStore, ProcessRecord};

use super::failure::Failure;

/// How often the processes' records are read.
const READ_INTERVAL: Duration = Duration::from_millis(200);

/// Reads the records of running processes until all of them satisfy, or the time is up. Processes that
/// begin meanwhile are included, those that end are left out. Returns the last records.
pub(super) async fn wait_until(
    store: &ControlStore,
    bound: Duration,
    is_done: impl Fn(&ProcessRecord) -> bool,
) -> Result<Vec<ProcessRecord>, Failure> {
    let until = Instant::now() + bound;
    loop {
        let running = store.running().await?;
        if running.iter().all(&is_done) || Instant::now() >= until {
            return Ok(running);
        }
        tokio::time::sleep(READ_INTERVAL).await;
    }
}
