//! Builds the live views of open and imminent sales before requests need them: at the start, once the
//! log is followed and before the process is ready; later, ahead of each sale's begin. Views of other
//! events are built on demand.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::catalogue::Catalogue;
use super::unix_now_ms;
use crate::archive::{Archive, ArchiveError};
use crate::domain::EventId;
use crate::lifecycle::Shutdown;
use crate::lifecycle::Supervisor;
use crate::live::Live;

/// How long before a sale begins its view is built, ms.
const AHEAD_MS: i64 = 5 * 60_000;
/// How often imminent sales are listed.
const LIST_INTERVAL: Duration = Duration::from_secs(30);
/// Sales listed at once, the newest first.
const SALES_MAX: u32 = 1_000;
/// How long the start waits for the views of open sales. Then the process is ready without the missing
/// ones: their requests go to Redis.
const WARM_WITHIN: Duration = Duration::from_secs(30);
/// Pause between two checks of the views, and between attempts to reach the archive.
const STEP: Duration = Duration::from_millis(50);

/// Whether the views of open sales are built. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct WarmUp(Arc<AtomicBool>);

impl WarmUp {
    /// Starts the task that builds views of sales until shutdown.
    pub fn start(
        catalogue: Catalogue,
        archive: Archive,
        live: Live,
        supervisor: &Supervisor,
        shutdown: &Shutdown,
    ) -> Self {
        let (warm_up, stop) = (WarmUp::default(), shutdown.clone());
        let done = warm_up.clone();
        supervisor.spawn("warming", shutdown, move || {
            let (catalogue, archive, live) = (catalogue.clone(), archive.clone(), live.clone());
            keep_warm(catalogue, archive, live, done.clone(), stop.clone())
        });
        warm_up
    }

    pub fn is_done(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

async fn keep_warm(
    catalogue: Catalogue,
    archive: Archive,
    live: Live,
    done: WarmUp,
    shutdown: Shutdown,
) {
    let work = async {
        warm_up(&archive, &live).await;
        done.0.store(true, Ordering::Relaxed);
        loop {
            // Keeps the list of events current, so that it can be served while MongoDB is unavailable.
            if let Err(error) = catalogue.index().bring_up_to_date().await {
                tracing::debug!(%error, "updating the list of events failed; it is retried");
            }
            tokio::time::sleep(LIST_INTERVAL).await;
            let now_ms = unix_now_ms();
            match archive.sales(now_ms, Some(now_ms), now_ms + AHEAD_MS, SALES_MAX).await {
                Ok(sales) => sales.into_iter().for_each(|event| drop(live.slot(event))),
                Err(error) => {
                    tracing::debug!(%error, "listing imminent sales failed; it is retried")
                }
            }
        }
    };
    tokio::select! {
        () = work => {}
        () = shutdown.requested() => {}
    }
}

async fn warm_up(archive: &Archive, live: &Live) {
    let until = Instant::now() + WARM_WITHIN;
    let sales = match tokio::time::timeout_at(until, open_sales(archive)).await {
        Ok(sales) => sales,
        Err(_) => {
            tracing::warn!("MongoDB does not respond: ready without the views of open sales");
            return;
        }
    };
    let is_missing =
        |event: &EventId| live.slot(*event).view().is_none() && !live.is_out_of_reach(*event);
    let missing = || sales.iter().filter(|event| is_missing(event)).count();
    let is_behind = || !live.is_connected() || live.state().is_stale;
    while (missing() > 0 || is_behind()) && Instant::now() < until {
        tokio::time::sleep(STEP).await;
    }
    match missing() {
        0 => tracing::info!(sales = sales.len(), "built the views of open sales"),
        missing => tracing::warn!(missing, sales = sales.len(), "ready without some views"),
    }
}

async fn open_sales(archive: &Archive) -> Vec<EventId> {
    loop {
        let now_ms = unix_now_ms();
        let found: Result<_, ArchiveError> =
            archive.sales(now_ms, None, now_ms + AHEAD_MS, SALES_MAX).await;
        match found {
            Ok(sales) => return sales,
            Err(error) => tracing::debug!(%error, "listing open sales failed; it is retried"),
        }
        tokio::time::sleep(STEP).await;
    }
}
