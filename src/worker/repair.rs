//! Repairs what Redis lost: events that are gone, and events whose log has lost writes that were
//! archived. How a loss is noticed stands in `sale/restore/watch.rs`, how an event is restored in
//! `sale/restore/mod.rs`. Any number of workers may do this at once.
//!
//! With `restore_on_loss` off, a loss is an alarm alone; `holdfastctl restore` repairs it.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use tracing::{error, info, warn};

use super::Worker;
use crate::archive::{LogMark, Watched};
use crate::domain::{EventId, LoadState, Partition};
use crate::sale::SaleError;
use crate::sale::restore::{Broken, Progress, Sightings};
use crate::telemetry::warn_repeated;

/// Pause between two looks; a fork that is met ends it.
const PAUSE: Duration = Duration::from_secs(2);
/// The same while something looks lost, or is being repaired.
const PAUSE_SUSPICIOUS: Duration = Duration::from_secs(1);
/// Events repaired at the same time by one worker.
const AT_ONCE_MAX: usize = 4;

/// Looks and repairs until told to stop.
pub(super) async fn repair(worker: Worker) {
    let mut sightings = Sightings::default();
    let mut told: HashSet<Broken> = HashSet::new();
    loop {
        let pause = if sightings.has_more_than(&[]) { PAUSE_SUSPICIOUS } else { PAUSE };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = worker.look_now.notified() => {}
            () = worker.shutdown.requested() => return,
        }
        if let Err(error) = worker.look(&mut sightings, &mut told).await {
            warn_repeated!(%error, "losses are looked for later");
        }
    }
}

/// The log of a worker tells how far a repair has come.
struct Logged;

impl Progress for Logged {
    fn tell(&self, event: EventId, what: &str) {
        info!(event_id = %event, what, "a repair goes on");
    }
}

impl Worker {
    async fn look(
        &self,
        sightings: &mut Sightings,
        told: &mut HashSet<Broken>,
    ) -> Result<(), SaleError> {
        let (mut events, watched) = self.restorer.look_at_events(sightings).await?;
        let logs = self.restorer.look_at_logs().await?.broken;
        let broken: HashSet<Broken> =
            events.iter().cloned().chain(logs.iter().map(|log| Broken::Log(log.0))).collect();
        told.retain(|one| broken.contains(one));
        for one in &broken {
            if told.insert(one.clone()) {
                error!(what = ?one, "ALARM: redis has lost something");
            }
        }
        if !self.config.restore_on_loss {
            return Ok(());
        }
        for (partition, mark) in logs {
            if sightings.may_try(Instant::now(), &Broken::Log(partition)) {
                let done = self.repair_log(partition, &mark, &watched).await?;
                sightings.ended(Instant::now(), Broken::Log(partition), done);
                // They were among those of the partition.
                events.retain(|one| self.partition_of(one) != Some(partition));
            }
        }
        let repairs = stream::iter(events).map(|one| async move {
            let done = match one {
                Broken::Lost(event) | Broken::Stuck(event) => self.repair_event(event).await,
                Broken::Log(_) => true,
            };
            (one, done)
        });
        let ended: Vec<(Broken, bool)> = repairs.buffer_unordered(AT_ONCE_MAX).collect().await;
        for (one, done) in ended {
            sightings.ended(Instant::now(), one, done);
        }
        Ok(())
    }

    fn partition_of(&self, broken: &Broken) -> Option<Partition> {
        match broken {
            Broken::Lost(event) => Some(self.engine.keys().partition_of(*event)),
            // Nobody else takes it over.
            Broken::Stuck(_) | Broken::Log(_) => None,
        }
    }

    /// Repairs all events of a partition, then lets its log go on; whether that is done. An event
    /// that another is repairing is left to it: the other began after the loss, or ends with it.
    async fn repair_log(
        &self,
        partition: Partition,
        mark: &LogMark,
        watched: &[Watched],
    ) -> Result<bool, SaleError> {
        let is_ours = |one: &&Watched| {
            one.load_state == LoadState::Opened
                && self.engine.keys().partition_of(one.id) == partition
        };
        let events: Vec<EventId> = watched.iter().filter(is_ours).map(|one| one.id).collect();
        warn!(partition = partition.0, events = events.len(), "a log has lost writes: repairing");
        let repairs = stream::iter(events).map(|event| self.repair_event(event));
        let done: Vec<bool> = repairs.buffer_unordered(AT_ONCE_MAX).collect().await;
        if done.contains(&false) {
            return Ok(false);
        }
        let accepted = self.restorer.accept_log(partition, mark).await?;
        info!(partition = partition.0, accepted, "a log goes on");
        // If not, another has moved the mark, or met a fork since: the next look tells.
        Ok(true)
    }

    /// Repairs one event; whether it is repaired, by whomever.
    async fn repair_event(&self, event: EventId) -> bool {
        let began = Instant::now();
        let restored = self.restorer.restore(event, &Logged).await;
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
