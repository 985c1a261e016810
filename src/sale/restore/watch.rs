//! Noticing that Redis lost something: an event, or the end of a booking log.
//!
//! *An event is lost* if MongoDB says `opened` and a master that answers lacks it, twice in a row
//! with a pause between. *A repair is stuck* if MongoDB says that it has not come to its end, and
//! its beat stands still.
//!
//! *A log has lost writes* if it lacks an entry that was archived. MongoDB keeps one such entry a
//! partition, the mark. It moves upwards, by compare-and-set, and only if first the next one and
//! then the one before it were read from the log, in this order: had Redis become another one in
//! between, the old mark would be missing there, or else nothing below the new one is. Trimming
//! stops below the mark, so a mark that is missing, or has another tag, is never just old. What
//! was archived since the mark moved last is guarded by the workers that carried it: each compares
//! the links of what it reads (`worker/links.rs`), and records a fork that it meets as a suspicion,
//! which stays until a repair has ended.
//!
//! *A worker dies between repair and the mark's move*: the next one repairs again, which changes
//! nothing. *Two move the mark*: one wins. *A suspicion comes while we repair*: the mark's move
//! fails, and all is looked at again.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use super::{BEAT, Restorer, TAKE_OVER_AFTER};
use crate::archive::{LogMark, Watched};
use crate::domain::{EventId, LoadState, LogId, Partition};
use crate::redis::WORKER_GROUP;
use crate::sale::SaleError;

/// How long an event must be missing before it is taken for lost.
pub const MISSING_FOR: Duration = Duration::from_secs(1);
/// Pauses before a repair that failed is tried again.
const RETRY_MIN: Duration = Duration::from_secs(2);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// Something that has to be repaired.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Broken {
    /// Redis lacks the event.
    Lost(EventId),
    /// A repair or load of the event does not end.
    Stuck(EventId),
    /// The log of this partition lacks what was archived.
    Log(Partition),
}

/// What one look at the booking logs found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogCheck {
    /// Logs that lack what was archived, with the marks that told it.
    pub broken: Vec<(Partition, LogMark)>,
}

/// What was seen in earlier looks.
#[derive(Debug, Default)]
pub struct Sightings {
    missing: HashMap<EventId, Instant>,
    loading: HashMap<EventId, (u64, i64, Instant)>,
    failed: HashMap<Broken, (Instant, Duration)>,
}

impl Sightings {
    /// Notes what is `missing` of what is watched; what is to be repaired now.
    pub fn look(
        &mut self,
        now: Instant,
        watched: &[Watched],
        missing: &HashSet<EventId>,
    ) -> Vec<Broken> {
        self.missing.retain(|event, _| missing.contains(event));
        let is_at_work =
            |one: &Watched| one.load_state == LoadState::Loading || one.load_unfinished;
        let at_work: HashSet<EventId> =
            watched.iter().filter(|one| is_at_work(one)).map(|one| one.id).collect();
        self.loading.retain(|event, _| at_work.contains(event));
        let mut broken = Vec::new();
        for one in watched {
            let id = one.id;
            if is_at_work(one) {
                let fresh = (one.generation, one.load_beat, now);
                let seen = self.loading.entry(id).or_insert(fresh);
                if (seen.0, seen.1) != (one.generation, one.load_beat) {
                    *seen = fresh;
                }
                if now.saturating_duration_since(seen.2) >= TAKE_OVER_AFTER {
                    broken.push(Broken::Stuck(id));
                }
            } else if missing.contains(&id) {
                let since = *self.missing.entry(id).or_insert(now);
                if now.saturating_duration_since(since) >= MISSING_FOR {
                    broken.push(Broken::Lost(id));
                }
            }
        }
        broken.retain(|one| self.may_try(now, one));
        broken
    }

    /// Whether there is more that may turn out to be broken than these.
    pub fn has_more_than(&self, broken: &[Broken]) -> bool {
        self.missing.len() + self.loading.len() > broken.len()
    }

    /// Whether a repair of this has not just failed.
    pub fn may_try(&self, now: Instant, broken: &Broken) -> bool {
        self.failed
            .get(broken)
            .is_none_or(|(at, pause)| now.saturating_duration_since(*at) >= *pause)
    }

    /// Notes how a repair ended.
    pub fn ended(&mut self, now: Instant, broken: Broken, is_done: bool) {
        if is_done {
            self.failed.remove(&broken);
            return;
        }
        let pause = self.failed.get(&broken).map_or(RETRY_MIN, |(_, pause)| *pause * 2);
        self.failed.insert(broken, (now, pause.min(RETRY_MAX)));
    }
}

impl Restorer {
    /// Looks for lost events and stuck repairs; also answers with everything that is watched.
    pub async fn look_at_events(
        &self,
        sightings: &mut Sightings,
    ) -> Result<(Vec<Broken>, Vec<Watched>), SaleError> {
        let watched = self.archive.watched_events().await?;
        let mut by_partition: HashMap<Partition, Vec<EventId>> = HashMap::new();
        for one in watched.iter().filter(|one| one.load_state == LoadState::Opened) {
            by_partition.entry(self.engine.keys().partition_of(one.id)).or_default().push(one.id);
        }
        let mut missing = HashSet::new();
        for (partition, events) in by_partition {
            let some = self.engine.missing_events(partition, &events).await?;
            if !some.is_empty() && self.engine.is_master(partition).await? {
                missing.extend(some);
            }
        }
        Ok((sightings.look(Instant::now(), &watched, &missing), watched))
    }

    /// The partition of an event.
    pub fn partition_of(&self, event: EventId) -> Partition {
        self.engine.keys().partition_of(event)
    }

    /// Whether somebody is at work on this event's repair or load; waits for two beats.
    pub async fn is_worked_on(&self, id: EventId) -> Result<bool, SaleError> {
        let of = |watched: Vec<Watched>| watched.into_iter().find(|one| one.id == id);
        let before = of(self.archive.watched_events().await?);
        if before.is_none_or(|one| one.load_state != LoadState::Loading) {
            return Ok(false);
        }
        tokio::time::sleep(BEAT * 2).await;
        let after = of(self.archive.watched_events().await?);
        Ok(before != after)
    }

    /// Looks at every booking log, and moves the marks of those that are whole.
    pub async fn look_at_logs(&self) -> Result<LogCheck, SaleError> {
        let marks = self.archive.log_marks().await?;
        let mut check = LogCheck::default();
        for partition in self.engine.keys().all_partitions() {
            let mark = marks.get(&partition).cloned().unwrap_or_default();
            let is_whole = self.follow(partition, &mark).await?;
            if !is_whole && self.engine.is_master(partition).await? {
                check.broken.push((partition, mark));
            }
        }
        Ok(check)
    }

    /// Whether a log has its mark; moves the mark if there is a newer one.
    async fn follow(&self, partition: Partition, mark: &LogMark) -> Result<bool, SaleError> {
        if mark.suspicions > 0 {
            return Ok(false);
        }
        let is_set = mark.id != LogId::default();
        let newest = self.engine.link(partition).await?;
        if is_set && newest.is_some_and(|(id, tag)| (id, &tag) == (mark.id, &mark.tag)) {
            return Ok(true);
        }
        // INVARIANT: the next mark is read before the one that stands.
        let next = self.newest_archived(partition).await?;
        if is_set && !self.engine.has_entry(partition, mark.id, &mark.tag).await? {
            return Ok(false);
        }
        if let Some((id, tag)) = next
            && id > mark.id
        {
            // Another may have been quicker: then its mark stands.
            self.archive.move_mark(partition, mark, id, &tag).await?;
        }
        Ok(true)
    }

    /// Position and tag of the newest entry at or below the watermark.
    async fn newest_archived(
        &self,
        partition: Partition,
    ) -> Result<Option<(LogId, String)>, SaleError> {
        let state = self.engine.log_state(partition, WORKER_GROUP).await?;
        match state.watermark() {
            watermark if watermark == LogId::default() => Ok(None),
            watermark => Ok(self.engine.newest_entry_below(partition, watermark).await?),
        }
    }

    /// The events of this partition are repaired: its log begins anew with what is archived now.
    /// False if a fork was met meanwhile.
    pub async fn accept_log(
        &self,
        partition: Partition,
        mark: &LogMark,
    ) -> Result<bool, SaleError> {
        let (id, tag) = self.newest_archived(partition).await?.unwrap_or_default();
        Ok(self.archive.move_mark(partition, mark, id, &tag).await?)
    }

    /// Whether an entry that was read from a log is there no more though nobody trimmed it.
    pub async fn is_fork(
        &self,
        partition: Partition,
        id: LogId,
        tag: &str,
    ) -> Result<bool, SaleError> {
        if self.engine.has_entry(partition, id, tag).await? {
            return Ok(false);
        }
        // Trimmed, if everything that is left is younger, and the log has its mark.
        let oldest = self.engine.range(partition, LogId::default(), None, 1).await?;
        let is_below = oldest.first().is_some_and(|oldest| id < oldest.id);
        let marks = self.archive.log_marks().await?;
        let is_marked = match marks.get(&partition) {
            Some(mark) => self.engine.has_entry(partition, mark.id, &mark.tag).await?,
            None => false,
        };
        Ok(!(is_below && is_marked))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watched(id: u32, load_state: LoadState, generation: u64, load_beat: i64) -> Watched {
        let load_unfinished = false;
        Watched { id: EventId(id), load_state, generation, load_beat, load_unfinished }
    }

    #[test]
    fn an_event_is_lost_when_it_stays_missing() {
        let (mut sightings, start) = (Sightings::default(), Instant::now());
        let events = [watched(1, LoadState::Opened, 1, 0), watched(2, LoadState::Opened, 1, 0)];
        let missing = HashSet::from([EventId(1)]);
        assert_eq!(sightings.look(start, &events, &missing), []);
        assert_eq!(sightings.look(start + MISSING_FOR / 2, &events, &missing), []);
        let lost = sightings.look(start + MISSING_FOR, &events, &missing);
        assert_eq!(lost, [Broken::Lost(EventId(1))]);
        // Seen again: it begins anew.
        assert_eq!(sightings.look(start + MISSING_FOR, &events, &HashSet::new()), []);
        assert_eq!(sightings.look(start + MISSING_FOR * 2, &events, &missing), []);
    }

    #[test]
    fn a_repair_is_stuck_when_its_beat_stands_still() {
        let (mut sightings, start) = (Sightings::default(), Instant::now());
        let mut see = |after, generation, beat| {
            let events = [watched(1, LoadState::Loading, generation, beat)];
            sightings.look(start + after, &events, &HashSet::new())
        };
        let almost = TAKE_OVER_AFTER - Duration::from_millis(1);
        assert_eq!(see(Duration::ZERO, 2, 1), []);
        assert_eq!(see(almost, 2, 1), []);
        assert_eq!(see(TAKE_OVER_AFTER, 2, 2), [], "it beats");
        assert_eq!(see(TAKE_OVER_AFTER + almost, 3, 2), [], "another has begun");
        let later = TAKE_OVER_AFTER + almost + TAKE_OVER_AFTER;
        assert_eq!(see(later, 3, 2), [Broken::Stuck(EventId(1))]);
    }

    #[test]
    fn what_fails_is_tried_less_and_less_often() {
        let (mut sightings, start) = (Sightings::default(), Instant::now());
        let broken = Broken::Log(Partition(3));
        assert!(sightings.may_try(start, &broken));
        for pause in [2, 4, 8, 16, 30, 30].map(Duration::from_secs) {
            sightings.ended(start, broken.clone(), false);
            assert!(!sightings.may_try(start + pause - Duration::from_millis(1), &broken));
            assert!(sightings.may_try(start + pause, &broken));
        }
        sightings.ended(start, broken.clone(), true);
        assert!(sightings.may_try(start, &broken));
    }
}
