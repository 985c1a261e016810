//! `verify`: Redis, the booking log and the archive tell one story, or which part does not.
//!
//! Takes each log's position, waits until the archive has caught up with it, then compares event
//! by event. A sale may go on meanwhile: an event that differs while its log moves is looked at
//! again, until the time is up.

mod compare;

use std::time::{Duration, Instant};

use serde::Serialize;

use super::SaleError;
use crate::archive::{Archive, ArchivedBooking, Claim, EventHead, transition_id};
use crate::domain::{Entry, EventId, LogId, Partition, SeatCounts};
use crate::redis::{Detail, Engine};

pub use compare::{Facts, compare};

/// Documents and entries read at once.
const PAGE: u32 = 5_000;
/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(100);
/// Problems told of one event or log; the rest is counted.
const PROBLEMS_SHOWN_MAX: usize = 20;

/// What `verify` found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Whether there is no problem.
    pub clean: bool,
    /// One line a partition.
    pub logs: Vec<LogReport>,
    /// One line an event.
    pub events: Vec<EventReport>,
}

/// A partition's booking log.
#[derive(Clone, Debug, Serialize)]
pub struct LogReport {
    /// Which partition.
    pub partition: u16,
    /// Entries in the log.
    pub entries: u64,
    /// Where it stood when verify began.
    pub position: String,
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
    /// Seats in each state, by Redis.
    pub free: u32,
    /// Held seats.
    pub held: u32,
    /// Sold seats.
    pub sold: u32,
    /// Seats kept back.
    pub blocked: u32,
    /// Bookings Redis knows.
    pub bookings_in_redis: usize,
    /// Bookings the archive knows.
    pub bookings_in_archive: usize,
    /// What differs.
    pub problems: Vec<String>,
}

/// Compares everything; a difference is looked at again until `wait` is over.
pub async fn verify(
    engine: &Engine,
    archive: &Archive,
    group: &str,
    only: Option<EventId>,
    wait: Duration,
) -> Result<Report, SaleError> {
    let deadline = Instant::now() + wait;
    let mut report = Report::default();
    for partition in engine.keys().all_partitions() {
        if only.is_none_or(|event| engine.keys().partition_of(event) == partition) {
            report.logs.push(verify_log(engine, archive, group, partition, deadline).await?);
        }
    }
    let mut after = EventId(0);
    loop {
        let heads = archive.event_heads(after, PAGE).await?;
        let Some(last) = heads.last() else { break };
        after = last.id;
        for head in heads.iter().filter(|head| only.is_none_or(|event| event == head.id)) {
            report.events.push(verify_event(engine, archive, group, head, deadline).await?);
        }
    }
    report.clean = report.logs.iter().all(|log| log.problems.is_empty())
        && report.events.iter().all(|event| event.problems.is_empty());
    Ok(report)
}

async fn verify_log(
    engine: &Engine,
    archive: &Archive,
    group: &str,
    partition: Partition,
    deadline: Instant,
) -> Result<LogReport, SaleError> {
    let position = engine.link(partition).await?.map(|link| link.0).unwrap_or_default();
    let mut problems = Vec::new();
    let state = await_archive(engine, group, partition, position, deadline).await?;
    if let Some(watermark) = state {
        problems.push(format!("the archive is at {watermark}, the log at {position}"));
    }
    check_entries(engine, archive, partition, position, &mut problems).await?;
    let entries = engine.log_state(partition, group).await?.length;
    shorten(&mut problems);
    Ok(LogReport { partition: partition.0, entries, position: position.to_string(), problems })
}

/// Waits for the watermark; the one that stayed below, if the time was up first.
async fn await_archive(
    engine: &Engine,
    group: &str,
    partition: Partition,
    position: LogId,
    deadline: Instant,
) -> Result<Option<LogId>, SaleError> {
    loop {
        let watermark = engine.log_state(partition, group).await?.watermark();
        if watermark >= position {
            return Ok(None);
        }
        if Instant::now() >= deadline {
            return Ok(Some(watermark));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Every entry up to `position` follows its predecessor and is in the archive's ledger.
async fn check_entries(
    engine: &Engine,
    archive: &Archive,
    partition: Partition,
    position: LogId,
    problems: &mut Vec<String>,
) -> Result<(), SaleError> {
    let mut from = LogId::default();
    let mut previous: Option<Entry> = None;
    loop {
        let reads = engine.range(partition, from, Some(position), u64::from(PAGE)).await?;
        let Some(last) = reads.last() else { return Ok(()) };
        from = LogId { ms: last.id.ms, seq: last.id.seq + 1 };
        let mut ids = Vec::with_capacity(reads.len());
        for read in reads {
            match read.entry {
                Ok(entry) => {
                    if previous.as_ref().is_some_and(|p| !p.is_followed_by(&entry)) {
                        problems.push(format!("entry {} does not follow its predecessor", read.id));
                    }
                    ids.extend(transition_id(&entry));
                    previous = Some(entry);
                }
                // It has no place in the chain; the dead letters have it.
                Err(error) => problems.push(format!("entry {}: {error}", read.id)),
            }
        }
        for id in archive.missing_transitions(ids).await? {
            problems.push(format!("{id} is not in the archive"));
        }
    }
}

async fn verify_event(
    engine: &Engine,
    archive: &Archive,
    group: &str,
    head: &EventHead,
    deadline: Instant,
) -> Result<EventReport, SaleError> {
    let partition = engine.keys().partition_of(head.id);
    loop {
        let before = engine.link(partition).await?;
        if let Some((position, _)) = &before {
            await_archive(engine, group, partition, *position, deadline).await?;
        }
        let report = look_at(engine, archive, head).await?;
        let moved = engine.link(partition).await? != before;
        if report.problems.is_empty() || !moved || Instant::now() >= deadline {
            return Ok(report);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn look_at(
    engine: &Engine,
    archive: &Archive,
    head: &EventHead,
) -> Result<EventReport, SaleError> {
    let snapshot = engine.snapshot(head.id, Detail::All).await?;
    let bookings = all_bookings(archive, head.id).await?;
    let claims = all_claims(archive, head.id).await?;
    let counts = match snapshot.as_ref().and_then(|snapshot| snapshot.inventory.as_ref()) {
        Some(inventory) => inventory.totals(),
        None => SeatCounts::default(),
    };
    let facts = Facts { head, snapshot: snapshot.as_ref(), bookings: &bookings, claims: &claims };
    let mut problems = compare(&facts);
    shorten(&mut problems);
    Ok(EventReport {
        event: head.id.0,
        name: head.name.clone(),
        capacity: head.total_seats,
        free: counts.available,
        held: counts.hold,
        sold: counts.booked,
        blocked: counts.blocked,
        bookings_in_redis: snapshot.map_or(0, |snapshot| snapshot.bookings.len()),
        bookings_in_archive: bookings.len(),
        problems,
    })
}

async fn all_bookings(
    archive: &Archive,
    event: EventId,
) -> Result<Vec<ArchivedBooking>, SaleError> {
    let mut all: Vec<ArchivedBooking> = Vec::new();
    loop {
        let after = all.last().map(|archived| archived.booking.id);
        let page = archive.bookings_of_event(event, after, PAGE).await?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page);
    }
}

async fn all_claims(archive: &Archive, event: EventId) -> Result<Vec<Claim>, SaleError> {
    let mut all: Vec<Claim> = Vec::new();
    loop {
        let after = all.last().map(|claim| claim.seat);
        let page = archive.claims_of_event(event, after, PAGE).await?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page);
    }
}

fn shorten(problems: &mut Vec<String>) {
    if problems.len() > PROBLEMS_SHOWN_MAX {
        let more = problems.len() - PROBLEMS_SHOWN_MAX;
        problems.truncate(PROBLEMS_SHOWN_MAX);
        problems.push(format!("and {more} more"));
    }
}
