//! `verify`: Redis, the booking log and the archive tell one story, or which part does not.
//!
//! Takes each booking log's position, waits until the archive has caught up with it, then
//! compares event by event. A sale may go on meanwhile: what differs is looked at again, and only
//! what stays different is told. Everything is read in pages, with short commands.

mod booking_log;
mod compare;
mod event;
mod problems;

use std::time::{Duration, Instant};

use serde::Serialize;

use super::SaleError;
use crate::archive::Archive;
use crate::domain::{EventId, LogId, Partition};
use crate::redis::Engine;

/// Documents and entries read at once.
const PAGE: u32 = 1_000;
/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// What `verify` found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Whether there is no problem.
    pub clean: bool,
    /// What differs beyond single partitions and events.
    pub problems: Vec<String>,
    /// One line a partition's booking log.
    pub partitions: Vec<PartitionReport>,
    /// One line an event.
    pub events: Vec<EventReport>,
}

/// A partition's booking log.
#[derive(Clone, Debug, Serialize)]
pub struct PartitionReport {
    /// Which partition.
    pub partition: u16,
    /// Entries that were looked at.
    pub entries: u64,
    /// Where the log stood when verify began.
    pub position: String,
    /// How far it was archived then, after waiting.
    pub watermark: String,
    /// Unreadable entries that the worker has parked as dead letters: known, and no problem.
    pub parked: u64,
    /// What differs.
    pub problems: Vec<String>,
}

/// One event.
#[derive(Clone, Debug, Default, Serialize)]
pub struct EventReport {
    /// Which event.
    pub event: u32,
    /// What it is called.
    pub name: String,
    /// How many seats it has.
    pub capacity: u32,
    /// Whether Redis has it. If not, its counts are zero.
    pub loaded: bool,
    /// Free seats by Redis.
    pub free: u32,
    /// Held seats.
    pub held: u32,
    /// Sold seats.
    pub sold: u32,
    /// Seats kept back.
    pub blocked: u32,
    /// Bookings Redis knows; ended ones leave it in time.
    pub bookings_in_redis: u64,
    /// Bookings the archive knows.
    pub bookings_in_archive: u64,
    /// Sales in Redis that the archive has not judged.
    pub undecided: u64,
    /// What differs.
    pub problems: Vec<String>,
}

impl Report {
    /// How many problems are told.
    pub fn problem_count(&self) -> usize {
        let partitions = self.partitions.iter().map(|partition| partition.problems.len());
        let events = self.events.iter().map(|event| event.problems.len());
        self.problems.len() + partitions.sum::<usize>() + events.sum::<usize>()
    }
}

/// What all parts of a run share.
struct Run<'a> {
    engine: &'a Engine,
    archive: &'a Archive,
    group: &'a str,
    deadline: Instant,
    /// Whether an event that is unloaded counts as opened: Redis still has it.
    still_open: bool,
}

/// Compares one event alone, once the archive has what was logged before. That it has not by the
/// time `wait` is over is a problem, too. An event that Redis still has, though its unloading was
/// begun, is looked at as if that had not been.
pub async fn event(
    engine: &Engine,
    archive: &Archive,
    group: &str,
    id: EventId,
    wait: Duration,
) -> Result<EventReport, SaleError> {
    let run = Run { engine, archive, group, deadline: Instant::now() + wait, still_open: true };
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

/// Compares everything, or one event and its partition; waits for the archive, for what is on its
/// way and for services that do not answer until `wait` is over.
pub async fn verify(
    engine: &Engine,
    archive: &Archive,
    group: &str,
    only: Option<EventId>,
    wait: Duration,
) -> Result<Report, SaleError> {
    let run = Run { engine, archive, group, deadline: Instant::now() + wait, still_open: false };
    let mut report = Report::default();
    let home = only.map(|event| engine.keys().partition_of(event));
    for partition in engine.keys().all_partitions() {
        if home.is_none_or(|home| home == partition) {
            report.partitions.push(run.answered(async || run.partition(partition).await).await?);
        }
    }
    match only {
        Some(id) => {
            let head = archive.event_head(id).await?.ok_or(SaleError::EventUnknown(id))?;
            report.events.push(run.answered(async || run.event(&head).await).await?);
        }
        None => {
            run.all_events(&mut report.events).await?;
            report.problems = run.unknown_events(&report.events).await?;
        }
    }
    report.clean = report.problem_count() == 0;
    Ok(report)
}

impl Run<'_> {
    /// Looks again, while there is time, where a service did not answer.
    async fn answered<T>(
        &self,
        look: impl AsyncFn() -> Result<T, SaleError>,
    ) -> Result<T, SaleError> {
        loop {
            // Boxed: it is large, and those who wait for it are deep.
            match Box::pin(look()).await {
                Err(SaleError::Unavailable { .. }) if !self.is_over() => {}
                told => return told,
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
                reports.push(self.answered(async || self.event(head).await).await?);
            }
        }
    }

    /// Events that Redis sells and the catalogue does not have.
    async fn unknown_events(&self, known: &[EventReport]) -> Result<Vec<String>, SaleError> {
        let mut problems = Vec::new();
        for partition in self.engine.keys().all_partitions() {
            for id in self.engine.loaded_events(partition).await? {
                // Reports are in order of their ids. One made since is in the catalogue now.
                let reported = known.binary_search_by_key(&id.0, |report| report.event).is_ok();
                if !reported && self.archive.event_head(id).await?.is_none() {
                    problems.push(format!("event {id} is in Redis, but not in the archive"));
                }
            }
        }
        Ok(problems)
    }

    /// Waits for the watermark to reach `position`; where it is then, or when the time is up.
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
