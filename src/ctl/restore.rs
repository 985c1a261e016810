//! `restore`: brings events and writes that Redis lost back from the archive.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::time::sleep;

use crate::config::Config;
use crate::domain::{EventId, LoadState};
use crate::sale::SaleError;
use crate::sale::restore::{BrokenLog, Loss, LossTracker, Progress, RestoreReport, Restorer};
use crate::start;

use super::failure::Failure;
use super::output::{Column, CommandResult, printable, table};

/// Pause between two checks for losses.
const PAUSE: Duration = Duration::from_millis(500);

/// Restore what Redis lost: missing events, and writes lost by a failover or a truncated file
///
/// Without --event: everything that needs it, as the worker does automatically unless
/// restore_on_loss is off. With --event: this event, even if nothing seems wrong with it. An event
/// that Redis has is merged with the archive while its sale continues; a missing one is answered with
/// 503 until it is back. Sales, payments in progress, holds that are not overdue, blocked seats and
/// saved responses come back. Safe to repeat, also after a crash, and beside workers.
///
/// Exits with 2 if something could not be restored.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  holdfastctl restore
  holdfastctl restore --event 7 && holdfastctl verify --event 7
  holdfastctl restore --json | jq '.events[] | select(.error)'")]
pub(super) struct Arguments {
    /// Restore this event, whether it seems to need it or not
    #[arg(long, value_name = "ID")]
    event: Option<u32>,
}

/// The result of a restore.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    /// One line per event.
    events: Vec<Line>,
    /// Partitions whose booking log had lost writes.
    logs: Vec<u16>,
}

/// The result for one event.
#[derive(Debug, Serialize)]
struct Line {
    event: u32,
    /// `loaded`, `merged`, `overtaken` (by another process) or `failed`.
    result: &'static str,
    #[serde(flatten)]
    restored: Option<RestoreReport>,
    seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Prints progress on standard error.
struct StderrProgress;

impl Progress for StderrProgress {
    fn report(&self, event: EventId, what: &str) {
        eprintln!("event {event}: {what}");
    }
}

impl Arguments {
    /// The target for the audit log.
    pub(super) fn target(&self) -> String {
        self.event.map_or_else(|| "all events".to_owned(), |event| format!("event {event}"))
    }

    pub(super) async fn run(self, config: &Config) -> Result<Report, Failure> {
        let engine = start::existing_engine(config).await?;
        let archive = start::existing_archive(config).await?;
        let restorer = Restorer::new(engine, archive, &start::sale_settings(config));
        let mut report = Report::default();
        match self.event.map(EventId) {
            Some(event) => {
                if restorer.is_in_repair(event).await? {
                    let text = format!("event {event} is being restored or loaded: wait for that");
                    return Err(Failure::new(text));
                }
                report.restore(&restorer, event).await;
            }
            None => report.restore_all(&restorer).await?,
        }
        Ok(report)
    }
}

impl Report {
    async fn restore_all(&mut self, restorer: &Restorer) -> Result<(), Failure> {
        let mut tracker = LossTracker::default();
        let (broken, watched) = loop {
            let found = restorer.check_events(&mut tracker).await?;
            if let Some(error) = tracker.unreachable() {
                return Err(SaleError::from(error.clone()).into());
            }
            if !tracker.has_more_than(&found.0) {
                break found;
            }
            sleep(PAUSE).await;
        };
        let checked = restorer.check_logs().await?;
        if let Some(error) = checked.unreachable {
            return Err(error.into());
        }
        let broken_logs = checked.broken;
        let mut events: BTreeSet<EventId> = BTreeSet::new();
        events.extend(broken.iter().filter_map(|one| match one {
            Loss::Event(event) | Loss::StuckRepair(event) => Some(*event),
            Loss::Log(_) => None,
        }));
        for BrokenLog { partition, .. } in &broken_logs {
            let opened = watched.iter().filter(|one| one.load_state == LoadState::Opened);
            let of = opened.filter(|one| restorer.partition_of(one.id) == *partition);
            events.extend(of.map(|one| one.id));
        }
        for event in events {
            self.restore(restorer, event).await;
        }
        for log in broken_logs {
            let partition = log.partition;
            self.logs.push(partition.0);
            let failed = |line: &&Line| {
                line.error.is_some() && restorer.partition_of(EventId(line.event)) == partition
            };
            // After a failure the log's mark stays as it is: the next run, or a worker, continues.
            if self.events.iter().find(failed).is_none() {
                restorer.accept_log(&log).await?;
            }
        }
        Ok(())
    }

    async fn restore(&mut self, restorer: &Restorer, event: EventId) {
        let began = Instant::now();
        let ended = restorer.restore(event, &StderrProgress).await;
        let (result, restored, error) = match ended {
            Ok(Some(restored)) if restored.merged => ("merged", Some(restored), None),
            Ok(Some(restored)) => ("loaded", Some(restored), None),
            Ok(None) => ("overtaken", None, None),
            Err(error) => ("failed", None, Some(Failure::from(error).to_string())),
        };
        let seconds = began.elapsed().as_secs_f64();
        self.events.push(Line { event: event.0, result, restored, seconds, error });
    }
}

impl CommandResult for Report {
    fn text(&self) -> String {
        if self.events.is_empty() && self.logs.is_empty() {
            return "Nothing is lost.".to_owned();
        }
        let columns = [
            Column::Number("event"),
            Column::Words("result"),
            Column::Number("sold"),
            Column::Number("undone"),
            Column::Number("live"),
            Column::Number("ended"),
            Column::Number("blocked"),
            Column::Number("seconds"),
        ];
        let row = |line: &Line| {
            let number = |of: fn(&RestoreReport) -> u64| {
                line.restored.as_ref().map_or("-".to_owned(), |restored| of(restored).to_string())
            };
            [
                line.event.to_string(),
                line.result.to_owned(),
                number(|one| one.sold),
                number(|one| one.undone),
                number(|one| one.live),
                number(|one| one.ended),
                number(|one| one.blocked),
                format!("{:.1}", line.seconds),
            ]
        };
        let mut text = table(columns, self.events.iter().map(row).collect());
        for line in &self.events {
            if let Some(error) = &line.error {
                text.push_str(&format!("\n\nevent {}: {}", line.event, printable(error)));
            }
        }
        if !self.logs.is_empty() {
            let logs: Vec<String> = self.logs.iter().map(u16::to_string).collect();
            text.push_str(&format!("\n\nLost writes in partitions {}.", logs.join(", ")));
        }
        text
    }

    fn is_incomplete(&self) -> bool {
        self.events.iter().any(|line| line.error.is_some())
    }
}
