//! Views of the sales that are open, or soon will be, are in memory before anybody asks: at the
//! start, once the log is followed and before the process says that it is ready; later, ahead of each sale's time. Views of other
//! events are built when somebody asks.

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
/// How often sales that soon begin are looked for.
const LOOK_INTERVAL: Duration = Duration::from_secs(30);
/// Sales that are looked for at once, those created last first.
const SALES_MAX: u32 = 1_000;
/// How long the views of open sales are waited for. After that the process is ready without those
/// that lack: their requests go to Redis.
const WARM_WITHIN: Duration = Duration::from_secs(30);
/// Pause between two looks at the views that are waited for, or tries at an archive that is away.
const STEP: Duration = Duration::from_millis(50);

/// Whether the views of open sales are in memory. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Warmth(Arc<AtomicBool>);

impl Warmth {
    /// Keeps views of sales in memory, until shutdown is requested.
    pub fn start(
        catalogue: Catalogue,
        archive: Archive,
        live: Live,
        supervisor: &Supervisor,
        shutdown: &Shutdown,
    ) -> Self {
        let (warmth, stop) = (Warmth::default(), shutdown.clone());
        let reached = warmth.clone();
        supervisor.spawn("warming", shutdown, move || {
            let (catalogue, archive, live) = (catalogue.clone(), archive.clone(), live.clone());
            keep_warm(catalogue, archive, live, reached.clone(), stop.clone())
        });
        warmth
    }

    pub fn is_reached(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

async fn keep_warm(
    catalogue: Catalogue,
    archive: Archive,
    live: Live,
    warmth: Warmth,
    shutdown: Shutdown,
) {
    let work = async {
        warm_up(&archive, &live).await;
        warmth.0.store(true, Ordering::Relaxed);
        loop {
            // Lists are there when MongoDB goes, also where nobody has asked for one.
            if let Err(error) = catalogue.index().bring_up_to_date().await {
                tracing::debug!(%error, "the events are not known");
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
            let now_ms = unix_now_ms();
            match archive.sales(now_ms, Some(now_ms), now_ms + AHEAD_MS, SALES_MAX).await {
                Ok(sales) => sales.into_iter().for_each(|event| drop(live.slot(event))),
                Err(error) => tracing::debug!(%error, "sales that soon begin are not known"),
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
            tracing::warn!("MongoDB does not say which sales are open: ready without their views");
            return;
        }
    };
    let lacks =
        |event: &EventId| live.slot(*event).view().is_none() && !live.is_out_of_reach(*event);
    let lacking = || sales.iter().filter(|event| lacks(event)).count();
    let is_behind = || !live.is_connected() || live.state().is_stale;
    while (lacking() > 0 || is_behind()) && Instant::now() < until {
        tokio::time::sleep(STEP).await;
    }
    match lacking() {
        0 => tracing::info!(sales = sales.len(), "the views of open sales are in memory"),
        lacking => tracing::warn!(lacking, sales = sales.len(), "ready without these views"),
    }
}

async fn open_sales(archive: &Archive) -> Vec<EventId> {
    loop {
        let now_ms = unix_now_ms();
        let found: Result<_, ArchiveError> =
            archive.sales(now_ms, None, now_ms + AHEAD_MS, SALES_MAX).await;
        match found {
            Ok(sales) => return sales,
            Err(error) => tracing::debug!(%error, "open sales are not known yet"),
        }
        tokio::time::sleep(STEP).await;
    }
}
