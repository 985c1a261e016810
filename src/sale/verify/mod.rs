//! `verify`: compares Redis, the booking log and the archive, and reports differences.
//!
//! Takes each booking log's position, waits until the archive has caught up with it, then compares event
//! by event. Sales may continue meanwhile: a difference is checked again and reported only if it
//! persists. Everything is read in pages, with short commands.

mod booking_log;
mod compare;
mod event;
mod findings;

use std::time::{Duration, Instant};

use serde::Serialize;

use super::SaleError;
use crate::archive::Archive;
use crate::domain::{EventId, LogId, Partition};
use crate::redis::Engine;

/// Documents and entries read at once.
const PAGE: u32 = 1_000;
/// Pause between two checks.
const PAUSE: Duration = Duration::from_millis(100);

/// The result of `verify`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Whether there are no problems.
    pub clean: bool,
    /// Differences beyond single partitions and events.
    pub problems: Vec<String>,
    /// One report a partition's booking log.
    pub partitions: Vec<PartitionReport>,
    /// One report an event.
    pub events: Vec<EventReport>,
}

/// The result for a partition's booking log.
#[derive(Clone, Debug, Serialize)]
pub struct PartitionReport {
    /// The partition's number.
    pub partition: u16,
    /// Entries that were checked.
    pub entries: u64,
    /// The log's position when verify began.
    pub position: String,
    /// How far the log was archived, after waiting.
    pub watermark: String,
    /// Unreadable entries that the worker has parked as dead letters, which are no problems.
    pub parked: u64,
    /// The differences.
    pub problems: Vec<String>,
}

/// The result for one event.
#[derive(Clone, Debug, Default, Serialize)]
pub struct EventReport {
    /// The event's id.
    pub event: u32,
    /// The event's name.
    pub name: String,
    /// How many seats it has.
    pub capacity: u32,
    /// Whether Redis has it. If not, its counts are zero.
    pub loaded: bool,
    /// Free seats in Redis.
    pub free: u32,
    /// Held seats.
    pub held: u32,
    /// Sold seats.
    pub sold: u32,
    /// Blocked seats.
    pub blocked: u32,
    /// Bookings in Redis; ended ones leave it after a while.
    pub bookings_in_redis: u64,
    /// Bookings in the archive.
    pub bookings_in_archive: u64,
    /// Sales in Redis that the archive has not decided.
    pub undecided: u64,
    /// The differences.
    pub problems: Vec<String>,
}

impl Report {
    /// The number of reported problems.
    pub fn problem_count(&self) -> usize {
        let partitions = self.partitions.iter().map(|partition| partition.problems.len());
        let events = self.events.iter().map(|event| event.problems.len());
        self.problems.len() + partitions.sum::<usize>() + events.sum::<usize>()
    }
}

/// One verification in progress.
struct Verification<'a> {
    engine: &'a Engine,
    archive: &'a Archive,
    group: &'a str,
    deadline: Instant,
    /// Whether an unloaded event that Redis still has is compared like an opened one.
    still_open: bool,
}

/// Compares one event once the archive has caught up with the log; not catching up within `wait` is a
/// problem, too. An event that Redis still has after an interrupted unload is compared like an opened
/// one.
pub async fn event(
    engine: &Engine,
    archive: &Archive,
    group: &str,
    id: EventId,
    wait: Duration,
) -> Result<EventReport, SaleError> {
    let deadline = Instant::now() + wait;
    let run = Verification { engine, archive, group, deadline, still_open: true };
    let head = archive.event_head(id).await?.ok_or(SaleError::EventUnknown(id))?;
    let partition = engine.keys().partition_of(id);
    let position = engine.link(partition).await?.map_or(LogId::default(), |(id, _)| id);
    let watermark = run.await_archive(partition, position).await?;
    let mut report = Box::pin(run.event(&head)).await?;
    if watermark < position {
        let text = format!("archived up to {watermark} only, the log is at {position}");
        report.problems.insert(0, text);
    }
    Ok(report)
}

/// Compares everything, or one event and its partition. Waits at most `wait` for the archive to catch
/// up, for changes in progress and for services that do not respond.
pub async fn verify(
    engine: &Engine,
    archive: &Archive,
    group: &str,
    only: Option<EventId>,
    wait: Duration,
) -> Result<Report, SaleError> {
    let deadline = Instant::now() + wait;
    let run = Verification { engine, archive, group, deadline, still_open: false };
    let mut report = Report::default();
    let home = only.map(|event| engine.keys().partition_of(event));
    for partition in engine.keys().all_partitions() {
        if home.is_none_or(|home| home == partition) {
            report.partitions.push(run.retried(async || run.partition(partition).await).await?);
        }
    }
    match only {
        Some(id) => {
            let head = archive.event_head(id).await?.ok_or(SaleError::EventUnknown(id))?;
            report.events.push(run.retried(async || run.event(&head).await).await?);
        }
        None => {
            run.all_events(&mut report.events).await?;
            report.problems = run.unknown_events(&report.events).await?;
        }
    }
    report.clean = report.problem_count() == 0;
    Ok(report)
}

impl Verification<'_> {
    /// Retries a check until the deadline while a service does not respond.
    async fn retried<T>(
        &self,
        check: impl AsyncFn() -> Result<T, SaleError>,
    ) -> Result<T, SaleError> {
        loop {
            // Boxed: the future is large, and its callers are deeply nested.
            match Box::pin(check()).await {
                Err(SaleError::Unavailable { .. }) if !self.is_over() => {}
                result => return result,
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn all_events(&self, reports: &mut Vec<EventReport>) -> Result<(), SaleError> {
        let mut after = EventId(0);
        loop {
            let heads = self.archive.event_heads(after, PAGE).await?;
            let Some(last) = heads.last() else { return Ok(()) };
            after = last.id;
            for head in &heads {
                reports.push(self.retried(async || self.event(head).await).await?);
            }
        }
    }

    /// Reports events that Redis has and the catalogue lacks.
    async fn unknown_events(&self, known: &[EventReport]) -> Result<Vec<String>, SaleError> {
        let mut problems = Vec::new();
        for partition in self.engine.keys().all_partitions() {
            for id in self.engine.loaded_events(&[partition]).await? {
                // Reports are in order of ids. An event created since is in the catalogue by now.
                let reported = known.binary_search_by_key(&id.0, |report| report.event).is_ok();
                if !reported && self.archive.event_head(id).await?.is_none() {
                    problems.push(format!("event {id} is in Redis, but not in the archive"));
                }
            }
        }
        Ok(problems)
    }

    /// Waits until the watermark reaches `position`, or until the deadline; returns the watermark.
    async fn await_archive(
        &self,
        partition: Partition,
        position: LogId,
    ) -> Result<LogId, SaleError> {
        loop {
            let watermark = self.engine.log_state(partition, self.group).await?.watermark();
            if watermark >= position || self.is_over() {
                return Ok(watermark);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn is_over(&self) -> bool {
        Instant::now() >= self.deadline
    }
}
