//! Repairs what Redis lost: events that are gone, and events whose log has lost writes that were
//! archived. How a loss is noticed stands in `sale/restore/watch.rs`, how an event is restored in
//! `sale/restore/mod.rs`. Any number of workers may do this at once.
//!
//! With `restore_on_loss` off, a loss is an alarm alone; `holdfastctl restore` repairs it.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use tracing::{error, info, warn};

use super::Worker;
use crate::archive::Watched;
use crate::domain::{EventId, LoadState, Partition};
use crate::sale::SaleError;
use crate::sale::restore::{Accepted, Broken, BrokenLog, Progress, Sightings};
use crate::telemetry::warn_repeated;

/// Pause between two looks; a fork that is met ends it.
const PAUSE: Duration = Duration::from_secs(2);
/// The same while something looks lost, or is being repaired.
const PAUSE_SUSPICIOUS: Duration = Duration::from_secs(1);
/// Events repaired at the same time by one worker.
const AT_ONCE_MAX: usize = 4;

/// Looks and repairs until told to stop.
pub(super) async fn repair(worker: Worker) {
    let mut seen = Seen::default();
    // At once: what was lost with the workers before this one is found before anything else is.
    loop {
        if let Err(error) = worker.look(&mut seen).await {
            warn_repeated!(%error, "losses are looked for later");
        }
        let pause = if seen.sightings.has_more_than(&[]) { PAUSE_SUSPICIOUS } else { PAUSE };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = worker.look_now.notified() => {}
            () = worker.shutdown.requested() => return,
        }
    }
}

/// What was seen, told and done in earlier looks.
#[derive(Default)]
struct Seen {
    sightings: Sightings,
    told: HashSet<Broken>,
    /// Of a log that is not accepted yet: the loss, and the events that are repaired since.
    repaired: HashMap<Partition, (BrokenLog, HashSet<EventId>)>,
}

/// The log of a worker tells how far a repair has come.
struct Logged;

impl Progress for Logged {
    fn tell(&self, event: EventId, what: &str) {
        info!(event_id = %event, what, "a repair goes on");
    }
}

impl Worker {
    async fn look(&self, seen: &mut Seen) -> Result<(), SaleError> {
        let Seen { sightings, told, repaired } = seen;
        let (mut events, watched) = self.restorer.look_at_events(sightings).await?;
        let checked = self.restorer.look_at_logs().await?;
        if let Some(error) = sightings.silence() {
            warn_repeated!(%error, "some lost events are looked for later");
        }
        if let Some(error) = &checked.silence {
            warn_repeated!(%error, "some booking logs are looked at later");
        }
        let logs = checked.broken;
        let broken: HashSet<Broken> = events
            .iter()
            .cloned()
            .chain(logs.iter().map(|log| Broken::Log(log.partition)))
            .collect();
        told.retain(|one| broken.contains(one));
        for one in &broken {
            if told.insert(one.clone()) {
                error!(what = ?one, "ALARM: redis has lost something");
            }
        }
        if !self.config.restore_on_loss {
            return Ok(());
        }
        repaired.retain(|partition, _| broken.contains(&Broken::Log(*partition)));
        for log in logs {
            let partition = log.partition;
            if sightings.may_try(Instant::now(), &Broken::Log(partition)) {
                let mut done_before = repaired.remove(&partition).filter(|one| one.0 == log);
                let mended =
                    &mut done_before.get_or_insert_with(|| (log.clone(), HashSet::new())).1;
                let done = self.repair_log(&log, &watched, mended).await;
                let done = done.unwrap_or_else(|error| {
                    warn_repeated!(%error, partition = partition.0, "a log is repaired later");
                    false
                });
                repaired.extend(done_before.map(|one| (partition, one)));
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

    /// Repairs all events of a partition but those that are repaired since this loss, then lets its
    /// log go on; whether that is done. An event that another is repairing is left to it, and the log
    /// does not go on before that has ended: the other began after the loss, or fails by it.
    async fn repair_log(
        &self,
        log: &BrokenLog,
        watched: &[Watched],
        repaired: &mut HashSet<EventId>,
    ) -> Result<bool, SaleError> {
        let partition = log.partition;
        let is_ours = |one: &&Watched| {
            one.load_state == LoadState::Opened
                && self.engine.keys().partition_of(one.id) == partition
                && !repaired.contains(&one.id)
        };
        let events: Vec<EventId> = watched.iter().filter(is_ours).map(|one| one.id).collect();
        if !events.is_empty() {
            let events = events.len();
            warn!(partition = partition.0, events, "a log has lost writes: repairing");
        }
        let repairs = stream::iter(events)
            .map(|event| async move { (event, self.repair_event(event).await) });
        let ended: Vec<(EventId, bool)> = repairs.buffer_unordered(AT_ONCE_MAX).collect().await;
        repaired.extend(ended.iter().filter(|(_, done)| *done).map(|(event, _)| *event));
        if ended.iter().any(|(_, done)| !done) {
            return Ok(false);
        }
        let accepted = self.restorer.accept_log(log).await?;
        info!(partition = partition.0, ?accepted, "whether a log goes on");
        // Where another has moved the mark, or met a fork since, the next look tells.
        Ok(accepted != Accepted::NotYet)
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
