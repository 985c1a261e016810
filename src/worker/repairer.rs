//! Repairs data that Redis lost: missing events, and events whose log lost archived entries.
//! `sale/restore/watch.rs` describes how a loss is detected, `sale/restore/mod.rs` how an event is
//! restored. Any number of workers may do this concurrently.
//!
//! With `restore_on_loss` off, a loss only raises an alarm; `holdfastctl restore` repairs it.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use tracing::{error, info, warn};

use super::Worker;
use crate::archive::WatchedEvent;
use crate::domain::{EventId, LoadState, Partition};
use crate::sale::SaleError;
use crate::sale::restore::{BrokenLog, LogAcceptance, Loss, LossTracker, Progress};
use crate::telemetry::warn_repeated;

/// Pause between two rounds; finding a fork ends it.
const PAUSE: Duration = Duration::from_secs(2);
/// The pause while a loss is suspected or being repaired.
const PAUSE_SUSPICIOUS: Duration = Duration::from_secs(1);
/// Events repaired concurrently by one worker.
const AT_ONCE_MAX: usize = 4;

/// Detects and repairs losses until shutdown.
pub(super) async fn run(worker: Worker) {
    let mut state = RepairState::default();
    // The first failure is seen as an increase from 0.
    worker.metrics.restores.with_label_values(&["failed"]);
    // The first round comes without a pause: it finds a loss that earlier workers died with.
    loop {
        if let Err(error) = worker.repair_round(&mut state).await {
            warn_repeated!(%error, "checking for losses failed; it is retried");
        }
        let pause = if state.tracker.has_more_than(&[]) { PAUSE_SUSPICIOUS } else { PAUSE };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = worker.wake_repairer.notified() => {}
            () = worker.shutdown.requested() => return,
        }
    }
}

/// What earlier rounds observed, reported and repaired.
#[derive(Default)]
struct RepairState {
    tracker: LossTracker,
    reported: HashSet<Loss>,
    /// For each log that is not accepted yet: the loss, and the events repaired since.
    repaired: HashMap<Partition, (BrokenLog, HashSet<EventId>)>,
}

/// Writes the progress of a repair to the process log.
struct LogProgress;

impl Progress for LogProgress {
    fn report(&self, event: EventId, what: &str) {
        info!(event_id = %event, what, "repair in progress");
    }
}

impl Worker {
    async fn repair_round(&self, state: &mut RepairState) -> Result<(), SaleError> {
        let RepairState { tracker, reported, repaired } = state;
        let (mut events, watched) = self.restorer.check_events(tracker).await?;
        let checked = self.restorer.check_logs().await?;
        if let Some(error) = tracker.unreachable() {
            warn_repeated!(%error, "some events cannot be checked for losses; it is retried");
        }
        if let Some(error) = &checked.unreachable {
            warn_repeated!(%error, "some booking logs cannot be checked; it is retried");
        }
        let logs = checked.broken;
        let losses: HashSet<Loss> =
            events.iter().cloned().chain(logs.iter().map(|log| Loss::Log(log.partition))).collect();
        reported.retain(|loss| losses.contains(loss));
        for loss in &losses {
            if reported.insert(loss.clone()) {
                error!(what = ?loss, "ALARM: redis has lost something");
            }
        }
        if !self.config.load().restore_on_loss {
            return Ok(());
        }
        repaired.retain(|partition, _| losses.contains(&Loss::Log(*partition)));
        for log in logs {
            let partition = log.partition;
            if tracker.may_try(Instant::now(), &Loss::Log(partition)) {
                let mut earlier = repaired.remove(&partition).filter(|one| one.0 == log);
                let repaired_events =
                    &mut earlier.get_or_insert_with(|| (log.clone(), HashSet::new())).1;
                let done = self.repair_log(&log, &watched, repaired_events).await;
                let done = done.unwrap_or_else(|error| {
                    warn_repeated!(%error, partition = partition.0, "repairing a log failed; it is retried");
                    false
                });
                repaired.extend(earlier.map(|one| (partition, one)));
                tracker.record_end(Instant::now(), Loss::Log(partition), done);
                // Repaired with the partition's log.
                events.retain(|loss| self.partition_of(loss) != Some(partition));
            }
        }
        let repairs = stream::iter(events).map(|loss| async move {
            let done = match loss {
                Loss::Event(event) | Loss::StuckRepair(event) => self.repair_event(event).await,
                Loss::Log(_) => true,
            };
            (loss, done)
        });
        let ended: Vec<(Loss, bool)> = repairs.buffer_unordered(AT_ONCE_MAX).collect().await;
        for (loss, done) in ended {
            tracker.record_end(Instant::now(), loss, done);
        }
        Ok(())
    }

    /// The partition whose repair includes this loss.
    fn partition_of(&self, loss: &Loss) -> Option<Partition> {
        match loss {
            Loss::Event(event) => Some(self.engine.keys().partition_of(*event)),
            // A stuck repair is not taken over by the repair of its log.
            Loss::StuckRepair(_) | Loss::Log(_) => None,
        }
    }

    /// Repairs all events of a partition that were not repaired since this loss, then accepts its
    /// log; returns whether it is accepted. An event that another process is repairing is skipped,
    /// and the log is not accepted before that repair ends: it began after the loss, or fails.
    async fn repair_log(
        &self,
        log: &BrokenLog,
        watched: &[WatchedEvent],
        repaired: &mut HashSet<EventId>,
    ) -> Result<bool, SaleError> {
        let partition = log.partition;
        let needs_repair = |one: &&WatchedEvent| {
            one.load_state == LoadState::Opened
                && self.engine.keys().partition_of(one.id) == partition
                && !repaired.contains(&one.id)
        };
        let events: Vec<EventId> = watched.iter().filter(needs_repair).map(|one| one.id).collect();
        if !events.is_empty() {
            let events = events.len();
            warn!(partition = partition.0, events, "a log has lost entries: repairing its events");
        }
        let repairs = stream::iter(events)
            .map(|event| async move { (event, self.repair_event(event).await) });
        let ended: Vec<(EventId, bool)> = repairs.buffer_unordered(AT_ONCE_MAX).collect().await;
        repaired.extend(ended.iter().filter(|(_, done)| *done).map(|(event, _)| *event));
        if ended.iter().any(|(_, done)| !done) {
            return Ok(false);
        }
        let accepted = self.restorer.accept_log(log).await?;
        info!(partition = partition.0, ?accepted, "checked whether a log is accepted");
        // If another process moved the mark or found a fork since, the next round handles it.
        Ok(accepted != LogAcceptance::NotYet)
    }

    /// Repairs one event; returns whether it is repaired, also if another process did it.
    async fn repair_event(&self, event: EventId) -> bool {
        let began = Instant::now();
        let restored = self.restorer.restore(event, &LogProgress).await;
        let seconds = began.elapsed().as_secs_f64();
        let (result, done) = match &restored {
            Ok(Some(restored)) => (if restored.merged { "merged" } else { "loaded" }, true),
            Ok(None) => ("overtaken", true),
            Err(_) => ("failed", false),
        };
        self.metrics.restores.with_label_values(&[result]).inc();
        self.metrics.restore_seconds.with_label_values::<&str>(&[]).observe(seconds);
        match restored {
            Ok(restored) => info!(event_id = %event, result, seconds, ?restored, "a repair ended"),
            Err(error) => error!(event_id = %event, %error, "ALARM: an event is not repaired"),
        }
        done
    }
}
