//! Redis and MongoDB behind the API, for whoever may look there: how far the archive is behind,
//! what `verify` says, which bookings were sold.

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
/// How long Redis and MongoDB may take to answer, ms; the most that the settings allow.
const REDIS_TIMEOUT_MS: u64 = 900;
const MONGODB_TIMEOUT_MS: u64 = 30_000;
/// Times that Redis, booking log and archive are compared, where one of them does not answer.
const VERIFY_TRIES_MAX: u32 = 5;
/// Pause between these.
const VERIFY_PAUSE: Duration = Duration::from_secs(2);
/// Pause between two looks at the booking log.
pub const LOOK_PAUSE: Duration = Duration::from_millis(250);

/// Both services.
#[derive(Clone)]
pub struct Books {
    engine: Engine,
    archive: Archive,
}

/// How the archive followed the sale.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Followed {
    /// Most log entries that waited to be archived at any look.
    pub behind_entries_max: u64,
    /// Looks that got no answer: the most may have been more.
    pub looks_failed: u64,
    /// From the last buyer's last answer until nothing waited, seconds; `null` if that did not
    /// come in time.
    pub caught_up_seconds: Option<f64>,
}

impl Books {
    /// Connects to what the settings name.
    pub async fn connect(config: &ConfigArgs) -> Result<Self, Failure> {
        let mut config = config.load()?;
        // Nobody waits for these answers, and the machine is busy with the sale.
        config.redis_timeout_ms = REDIS_TIMEOUT_MS;
        config.mongodb_timeout_ms = config.mongodb_timeout_ms.max(MONGODB_TIMEOUT_MS);
        let engine = start::existing_engine(&config).await?;
        let archive = start::existing_archive(&config).await?;
        Ok(Books { engine, archive })
    }

    /// Entries of the event's booking log that are not archived; `None` if that cannot be told.
    pub async fn behind(&self, event: u32) -> Result<Option<u64>, Failure> {
        let partition = self.engine.keys().partition_of(EventId(event));
        let log = self.engine.log_state(partition, WORKER_GROUP).await?;
        Ok(log.undelivered.map(|undelivered| undelivered + log.pending))
    }

    /// Waits until nothing is behind, at most until `until`; whether that came.
    pub async fn await_archive(&self, event: u32, until: Instant) -> Result<bool, Failure> {
        loop {
            match self.behind(event).await {
                Ok(Some(0)) => return Ok(true),
                Ok(_) if Instant::now() >= until => return Ok(false),
                Err(error) if Instant::now() >= until => return Err(error),
                // A busy Redis that does not answer now is asked again in a moment.
                Ok(_) | Err(_) => tokio::time::sleep(LOOK_PAUSE).await,
            }
        }
    }

    /// What `holdfastctl verify --event` says.
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

    /// Every booking of the event in the archive.
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
