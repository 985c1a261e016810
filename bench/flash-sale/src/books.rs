//! Direct reads of Redis and MongoDB behind the API: the archive's lag, the report of `verify`, the
//! archived bookings.

use std::time::{Duration, Instant};

use holdfast::archive::{Archive, ArchivedBooking};
use holdfast::config::ConfigArgs;
use holdfast::domain::EventId;
use holdfast::redis::{Engine, WORKER_GROUP};
use holdfast::sale::verify::{Report, verify};
use holdfast::start;
use serde::Serialize;

use crate::Failure;
use crate::check::Archived;

/// Bookings read at once.
const PAGE: u32 = 1_000;
/// Timeouts of Redis and MongoDB, ms; the most that the settings allow.
const REDIS_TIMEOUT_MS: u64 = 900;
const MONGODB_TIMEOUT_MS: u64 = 30_000;
/// Attempts to compare Redis, booking log and archive when one of them does not respond.
const VERIFY_TRIES_MAX: u32 = 5;
/// Pause between two attempts.
const VERIFY_PAUSE: Duration = Duration::from_secs(2);
/// Pause between two reads of the booking log's state.
pub const LOOK_PAUSE: Duration = Duration::from_millis(250);

/// Connections to both services.
#[derive(Clone)]
pub struct Books {
    engine: Engine,
    archive: Archive,
}

/// The archive's lag during the sale.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct ArchiveLag {
    /// Greatest measured number of log entries that were not archived yet.
    pub behind_entries_max: u64,
    /// Failed measurements, at which the lag may have been greater.
    pub looks_failed: u64,
    /// Time from the last response until the archive was complete, seconds; `null` if it was not
    /// in time.
    pub caught_up_seconds: Option<f64>,
}

impl Books {
    /// Connects to the services that the settings name.
    pub async fn connect(config: &ConfigArgs) -> Result<Self, Failure> {
        let mut config = config.load()?;
        // These reads are not urgent, and the machine is busy with the sale.
        config.redis_timeout_ms = REDIS_TIMEOUT_MS;
        config.mongodb_timeout_ms = config.mongodb_timeout_ms.max(MONGODB_TIMEOUT_MS);
        let engine = start::existing_engine(&config).await?;
        let archive = start::existing_archive(&config).await?;
        Ok(Books { engine, archive })
    }

    /// Returns the number of the event's log entries that are not archived; `None` if Redis cannot count them.
    pub async fn behind(&self, event: u32) -> Result<Option<u64>, Failure> {
        let partition = self.engine.keys().partition_of(EventId(event));
        let log = self.engine.log_state(partition, WORKER_GROUP).await?;
        Ok(log.undelivered.map(|undelivered| undelivered + log.pending))
    }

    /// Waits until the archive is complete, at most until `until`; returns whether it is.
    pub async fn await_archive(&self, event: u32, until: Instant) -> Result<bool, Failure> {
        loop {
            match self.behind(event).await {
                Ok(Some(0)) => return Ok(true),
                Ok(_) if Instant::now() >= until => return Ok(false),
                Err(error) if Instant::now() >= until => return Err(error),
                // A busy Redis may time out now and respond to the next read.
                Ok(_) | Err(_) => tokio::time::sleep(LOOK_PAUSE).await,
            }
        }
    }

    /// Returns the report of `holdfastctl verify --event`.
    pub async fn verify(&self, event: u32, wait: Duration) -> Result<Report, Failure> {
        let event = Some(EventId(event));
        let mut tries = 1;
        loop {
            match verify(&self.engine, &self.archive, WORKER_GROUP, event, wait).await {
                Ok(report) => return Ok(report),
                Err(error) if tries == VERIFY_TRIES_MAX => return Err(error.into()),
                Err(_) => tries += 1,
            }
            tokio::time::sleep(VERIFY_PAUSE).await;
        }
    }

    /// Returns every booking of the event in the archive.
    pub async fn bookings(&self, event: u32) -> Result<Vec<Archived>, Failure> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let page = self.archive.bookings_of_event(EventId(event), after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(all) };
            after = Some(last.booking.id);
            all.extend(page.into_iter().map(archived));
        }
    }
}

fn archived(found: ArchivedBooking) -> Archived {
    let ArchivedBooking { booking, outcome, .. } = found;
    Archived {
        id: booking.id.to_string(),
        user: booking.user.to_string(),
        seats: booking.seats.iter().map(|seat| seat.0).collect(),
        amount: booking.amount,
        outcome,
    }
}
