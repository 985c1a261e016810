//! Direct reads of Redis and MongoDB behind the API: the archive's lag, the report of `verify`, the
//! archived bookings.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast::archive::{Archive, ArchivedBooking};
use holdfast::config::{Config, ConfigArgs};
use holdfast::domain::{EventId, LogId, Partition};
use holdfast::faults::Faults;
use holdfast::redis::{Engine, WORKER_GROUP};
use holdfast::sale::verify::{PartitionReport, Report, verify};
use holdfast::sale::{CheckOptions, PaymentsReport};
use holdfast::start;
use holdfast::telemetry::Metrics;

use crate::Failure;
use crate::check::Archived;

/// Bookings read at once.
const PAGE: u32 = 1_000;
/// Timeouts of Redis and MongoDB, ms; the most that the settings allow.
const REDIS_TIMEOUT_MS: u64 = 900;
const MONGODB_TIMEOUT_MS: u64 = 30_000;
/// Attempts of `verify` and of `reconcile` when a service does not respond.
const CHECK_TRIES_MAX: u32 = 5;
/// Pause between two attempts.
const CHECK_PAUSE: Duration = Duration::from_secs(2);
/// Pause between two reads of the booking log's state.
pub const LOOK_PAUSE: Duration = Duration::from_millis(250);

/// Connections to both services.
#[derive(Clone)]
pub struct Books {
    engine: Engine,
    archive: Archive,
    config: Arc<Config>,
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
        Ok(Books { engine, archive, config: Arc::new(config) })
    }

    /// Returns the number of log entries of these events' partitions that are not archived; `None` if
    /// Redis cannot count them.
    pub async fn behind(&self, events: &[u32]) -> Result<Option<u64>, Failure> {
        let mut behind = Some(0);
        for partition in self.partitions(events) {
            let log = self.engine.log_state(partition, WORKER_GROUP).await?;
            let entries = log.undelivered.map(|undelivered| undelivered + log.pending);
            behind = behind.zip(entries).map(|(sum, entries)| sum + entries);
        }
        Ok(behind)
    }

    /// Waits until the archive has every entry that these events' logs have now, at most until `until`;
    /// returns whether it has. Other events may share the logs, and fill them further.
    pub async fn await_archive(&self, events: &[u32], until: Instant) -> Result<bool, Failure> {
        for partition in self.partitions(events) {
            let mut position = None;
            loop {
                match self.is_archived(partition, &mut position).await {
                    Ok(true) => break,
                    Ok(false) if Instant::now() >= until => return Ok(false),
                    Err(error) if Instant::now() >= until => return Err(error),
                    // A busy Redis may time out now and respond to the next read.
                    Ok(false) | Err(_) => tokio::time::sleep(LOOK_PAUSE).await,
                }
            }
        }
        Ok(true)
    }

    /// Whether the archive has the log's entries up to `position`, which is the log's end at the first call.
    async fn is_archived(
        &self,
        partition: Partition,
        position: &mut Option<LogId>,
    ) -> Result<bool, Failure> {
        let end = match *position {
            Some(end) => end,
            None => self.engine.link(partition).await?.map_or(LogId::default(), |(id, _)| id),
        };
        *position = Some(end);
        Ok(self.engine.log_state(partition, WORKER_GROUP).await?.watermark() >= end)
    }

    fn partitions(&self, events: &[u32]) -> BTreeSet<Partition> {
        events.iter().map(|event| self.engine.keys().partition_of(EventId(*event))).collect()
    }

    /// Returns the report of `holdfastctl verify --event`, of all of these events in one.
    pub async fn verify(&self, events: &[u32], wait: Duration) -> Result<Report, Failure> {
        let mut all: Option<Report> = None;
        for event in events {
            let one = self.verify_event(*event, wait).await?;
            all = Some(match all {
                None => one,
                Some(before) => merged(before, one),
            });
        }
        all.ok_or_else(|| "there is no event to verify".into())
    }

    async fn verify_event(&self, event: u32, wait: Duration) -> Result<Report, Failure> {
        let event = Some(EventId(event));
        let mut tries = 1;
        loop {
            match verify(&self.engine, &self.archive, WORKER_GROUP, event, wait).await {
                Ok(report) => return Ok(report),
                Err(error) if tries == CHECK_TRIES_MAX => return Err(error.into()),
                Err(_) => tries += 1,
            }
            tokio::time::sleep(CHECK_PAUSE).await;
        }
    }

    /// Returns the report of `holdfastctl reconcile --event`, of all of these events in one, without
    /// repairing anything.
    pub async fn reconcile(
        &self,
        events: &[u32],
        wait: Duration,
    ) -> Result<PaymentsReport, Failure> {
        let services = start::existing(&self.config).await?;
        // The metrics of this process are not read.
        let metrics = Metrics::new("holdfast-flash-sale");
        let faults = Arc::new(Faults::default());
        let payments = start::payments(&services, &self.config, &metrics, faults);
        let mut all = PaymentsReport { clean: true, ..PaymentsReport::default() };
        for event in events {
            let mut tries = 1;
            let one = loop {
                let options = CheckOptions { only: Some(EventId(*event)), mend: false, wait };
                match payments.check(options, |_| {}).await {
                    Ok(one) => break one,
                    Err(error) if tries == CHECK_TRIES_MAX => return Err(error.into()),
                    Err(_) => tries += 1,
                }
                tokio::time::sleep(CHECK_PAUSE).await;
            };
            all.clean &= one.clean;
            all.payments += one.payments;
            all.differences.extend(one.differences);
            for (currency, money) in one.totals {
                let total = all.totals.entry(currency).or_default();
                total.sold += money.sold;
                total.charged += money.charged;
                total.refunded += money.refunded;
                total.refund_pending += money.refund_pending;
            }
        }
        Ok(all)
    }

    /// Returns the versions of Redis (or Valkey) and MongoDB, as far as they say so.
    pub async fn programs(&self) -> BTreeMap<String, String> {
        let mut programs = BTreeMap::new();
        for node in self.engine.nodes_facts().await {
            if let Ok(facts) = node.answer {
                programs.insert(facts.flavor.to_owned(), facts.version);
            }
        }
        if let Ok(info) = self.archive.server_info().await {
            programs.insert("mongodb".to_owned(), info.version);
        }
        programs
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

/// Joins the reports of two events, which may share a partition.
fn merged(mut all: Report, one: Report) -> Report {
    all.clean &= one.clean;
    all.problems.extend(one.problems);
    for mut partition in one.partitions {
        match all.partitions.iter_mut().find(|known| known.partition == partition.partition) {
            Some(known) => {
                let mut problems = std::mem::take(&mut known.problems);
                partition.problems.retain(|problem| !problems.contains(problem));
                problems.append(&mut partition.problems);
                *known = PartitionReport { problems, ..partition };
            }
            None => all.partitions.push(partition),
        }
    }
    all.events.extend(one.events);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joined_reports_keep_the_problems_of_both() {
        let report = |entries, problems: &[&str]| Report {
            clean: problems.is_empty(),
            partitions: vec![PartitionReport {
                partition: 3,
                entries,
                position: "1-0".to_owned(),
                watermark: "1-0".to_owned(),
                parked: 0,
                problems: problems.iter().map(|one| (*one).to_owned()).collect(),
            }],
            ..Report::default()
        };
        let joined = merged(report(1, &["first", "both"]), report(2, &["both", "second"]));
        assert_eq!(joined.partitions.len(), 1);
        assert_eq!(joined.partitions[0].entries, 2);
        assert_eq!(joined.partitions[0].problems, ["first", "both", "second"]);
        let joined = merged(report(1, &["first"]), report(2, &[]));
        assert_eq!(joined.partitions[0].problems, ["first"]);
        assert!(!joined.clean);
    }
}
