//! `verify`: checks that Redis, the booking log and the archive agree.

use std::time::Duration;

use crate::config::Config;
use crate::domain::EventId;
use crate::redis::WORKER_GROUP;
use crate::sale::verify::{EventReport, PartitionReport, Report, verify};
use crate::start;

use super::failure::Failure;
use super::output::{Column, CommandResult, printable, table};

/// Longest wait, seconds.
const WAIT_SECONDS_MAX: u64 = 3_600;

/// Compare Redis, the booking log and the archive, event by event
///
/// Takes each booking log's position, waits until the worker has archived it, then compares: every
/// log entry follows its predecessor and is in the archive; every seat in Redis belongs to the
/// booking that names it; every booking has the same status, version, user, seats and amount in
/// both; every sold seat has one buyer, who owns the claim on it. Read-only, in short commands, and
/// safe during a sale: only persistent differences are reported.
///
/// Exits with 1 if there is any problem. docs/OPERATIONS.md explains each.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  holdfastctl verify
  holdfastctl verify --event 7 --wait-seconds 60
  holdfastctl verify --json | jq '.events[] | select(.problems != [])'")]
pub(super) struct Arguments {
    /// Only this event and its partition's booking log
    #[arg(long, value_name = "ID")]
    event: Option<u32>,
    /// How long to wait for the archive to catch up, and for differences to resolve
    #[arg(long, value_name = "SECONDS", default_value_t = 10,
          value_parser = clap::value_parser!(u64).range(..=WAIT_SECONDS_MAX))]
    wait_seconds: u64,
}

impl Arguments {
    pub(super) async fn run(self, config: &Config) -> Result<Report, Failure> {
        let engine = start::existing_engine(config).await?;
        let archive = start::existing_archive(config).await?;
        let wait = Duration::from_secs(self.wait_seconds);
        let only = self.event.map(EventId);
        Ok(verify(&engine, &archive, WORKER_GROUP, only, wait).await?)
    }
}

impl CommandResult for Report {
    fn text(&self) -> String {
        let mut text = String::new();
        if !self.events.is_empty() {
            text.push_str(&events(&self.events));
            text.push_str("\n\n");
        }
        let used = |one: &&PartitionReport| one.entries > 0 || !one.problems.is_empty();
        let partitions: Vec<&PartitionReport> = self.partitions.iter().filter(used).collect();
        if !partitions.is_empty() {
            text.push_str(&logs(&partitions));
            text.push_str("\n\n");
        }
        for line in self.lines() {
            text.push_str(&printable(&line));
            text.push('\n');
        }
        text.push_str(&self.summary());
        text
    }

    fn has_problems(&self) -> bool {
        !self.clean
    }
}

impl Report {
    /// Every problem with its location.
    fn lines(&self) -> Vec<String> {
        let beyond = self.problems.iter().cloned();
        let partitions = self.partitions.iter().flat_map(|one| {
            let location = format!("partition {}", one.partition);
            one.problems.iter().map(move |problem| format!("{location}: {problem}"))
        });
        let events = self.events.iter().flat_map(|one| {
            let location = format!("event {}", one.event);
            one.problems.iter().map(move |problem| format!("{location}: {problem}"))
        });
        beyond.chain(partitions).chain(events).collect()
    }

    fn summary(&self) -> String {
        let events = self.events.len();
        let entries: u64 = self.partitions.iter().map(|partition| partition.entries).sum();
        let plural = if events == 1 { "" } else { "s" };
        let compared = format!("{events} event{plural}, {entries} log entries");
        match self.problem_count() {
            0 => format!("Clean: {compared}, no problem."),
            problems => format!("NOT CLEAN: {compared}, {problems} problems, listed above."),
        }
    }
}

fn events(reports: &[EventReport]) -> String {
    let columns = [
        Column::Number("event"),
        Column::Words("name"),
        Column::Number("capacity"),
        Column::Number("free"),
        Column::Number("held"),
        Column::Number("sold"),
        Column::Number("blocked"),
        Column::Number("in Redis"),
        Column::Number("in archive"),
        Column::Number("problems"),
    ];
    let row = |one: &EventReport| {
        let seats = |count: u32| if one.loaded { count.to_string() } else { "-".to_owned() };
        [
            one.event.to_string(),
            one.name.clone(),
            one.capacity.to_string(),
            seats(one.free),
            seats(one.held),
            seats(one.sold),
            seats(one.blocked),
            one.bookings_in_redis.to_string(),
            one.bookings_in_archive.to_string(),
            one.problems.len().to_string(),
        ]
    };
    table(columns, reports.iter().map(row).collect())
}

fn logs(reports: &[&PartitionReport]) -> String {
    let columns = [
        Column::Number("partition"),
        Column::Number("entries"),
        Column::Words("log at"),
        Column::Words("archived up to"),
        Column::Number("parked"),
        Column::Number("problems"),
    ];
    let row = |one: &&PartitionReport| {
        [
            one.partition.to_string(),
            one.entries.to_string(),
            one.position.clone(),
            one.watermark.clone(),
            one.parked.to_string(),
            one.problems.len().to_string(),
        ]
    };
    table(columns, reports.iter().map(row).collect())
}
