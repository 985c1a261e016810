//! Detects that Redis lost something: an event, a generation, or the end of a booking log.
//!
//! *An event is lost* if MongoDB says `opened` and a responding master lacks it, or has it in an earlier
//! generation, or has only a load other than the one that MongoDB recorded; in two checks with a pause
//! between, or at once if another process found and reported it (`loss_reported`). *A repair is stuck*
//! if MongoDB says that it has not ended, and its beat has stopped.
//!
//! *A log has lost entries* if it lacks an archived entry. MongoDB keeps two kinds of such entries. The
//! *mark*, one a partition, moves upwards by compare-and-set, and only if first the next mark and then
//! the current mark and all heads above it were read from the log, in this order: if Redis fell back in
//! between, either the current mark or a head is missing, or nothing below the new mark is. *Heads* are
//! the newest entries that readers archived since: each reader (a lane of a worker, a claimed batch, a
//! repair) raises its own head with each batch, concurrently with the batch's other writes. So before a
//! sale is confirmed, the log is required to contain an entry at or above it, whichever process crashes.
//!
//! | what may happen between the steps | result |
//! |---|---|
//! | a worker dies with Redis right after a sale was confirmed | Its head is in MongoDB, and the first check of any worker finds that the log lacks it. |
//! | one of two workers dies | The other writes its own heads and overwrites nothing. |
//! | a worker survives Redis and continues reading in the fork | An entry that does not follow the one read last is a gap (`worker/chain.rs`). The head is not raised over the gap before it is explained or recorded as a suspicion, which stays until a repair has ended. |
//! | a worker starts in the fork before any check | It is another reader. |
//! | the mark moves and its mover dies before it removes heads | Heads at or below the mark are ignored, and removed with the next move. |
//! | a worker dies between a repair and moving the mark | The next worker repairs again, without effect. |
//! | two processes move the mark | One wins. |
//! | a suspicion is recorded during a repair | Moving the mark fails, and the log is checked again. |
//! | Redis loses entries again during a repair | Each repair requires its own last entry by a head of its own, and ends only if Redis has not restarted or failed over since it began: an earlier loss makes it fail, a later one shows as a missing entry. The log is not accepted while an event of its partition is being repaired, or while it lacks a newer head. |
//! | a repair is overtaken, or fails because of another loss | Its events are repaired again unless the loss is the same. |
//!
//! Trimming stops below the mark, and heads that count are above it, so a missing entry was never just
//! trimmed. A missing entry is confirmed by reading the mark again: it may have moved, and the log may
//! have been trimmed since it was read.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use futures_util::future::join_all;

use super::loss_tracker::{Loss, LossTracker, is_in_progress, is_lost};
use super::{BEAT, Restorer};
use crate::archive::{LogHead, LogMark, WatchedEvent};
use crate::domain::{EventId, LoadState, LogId, Partition};
use crate::redis::{LogLink, RedisError, WORKER_GROUP};
use crate::sale::SaleError;

/// The result of checking the booking logs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogCheck {
    /// Logs that lack archived entries.
    pub broken: Vec<BrokenLog>,
    /// Why some logs could not be checked: their Redis node does not respond.
    pub unreachable: Option<SaleError>,
}

/// A booking log that lacks archived entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenLog {
    /// The log's partition.
    pub partition: Partition,
    /// Its mark, which is missing, suspected, or neither.
    pub mark: LogMark,
    /// The missing heads.
    pub heads: Vec<LogHead>,
}

/// Whether a log whose events are repaired is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogAcceptance {
    /// It continues with what is archived now.
    Yes,
    /// A repair is still in progress, or something was lost since: it must be checked again.
    NotYet,
    /// Another process moved the mark or found a fork: it must be checked again.
    Overtaken,
}

impl Restorer {
    /// Finds lost events and stuck repairs; also returns all watched events.
    pub async fn check_events(
        &self,
        tracker: &mut LossTracker,
    ) -> Result<(Vec<Loss>, Vec<WatchedEvent>), SaleError> {
        let watched = self.archive.watched_events().await?;
        let mut by_partition: HashMap<Partition, Vec<&WatchedEvent>> = HashMap::new();
        for one in watched.iter().filter(|one| one.load_state == LoadState::Opened) {
            by_partition.entry(self.engine.keys().partition_of(one.id)).or_default().push(one);
        }
        // Concurrently: a slow or unavailable node delays only its own partitions, whose events are
        // not judged.
        let checks = by_partition.iter().map(async |(partition, events)| {
            let ids: Vec<EventId> = events.iter().map(|one| one.id).collect();
            // INVARIANT: MongoDB is read before Redis: an event that MongoDB says is opened was in
            // Redis before.
            let states = self.engine.event_states(*partition, &ids).await?;
            let lost =
                events.iter().zip(states).filter(|(one, state)| is_lost(one, state.as_ref()));
            let lost: Vec<EventId> = lost.map(|(one, _)| one.id).collect();
            let is_lost = !lost.is_empty() && self.engine.is_master(*partition).await?;
            Ok::<_, RedisError>(if is_lost { lost } else { Vec::new() })
        });
        let mut missing = HashSet::new();
        tracker.set_unreachable(None);
        for found in join_all(checks).await {
            match found {
                Ok(lost) => missing.extend(lost),
                Err(error) => tracker.set_unreachable(Some(error)),
            }
        }
        Ok((tracker.observe(Instant::now(), &watched, &missing), watched))
    }

    /// The partition of an event.
    pub fn partition_of(&self, event: EventId) -> Partition {
        self.engine.keys().partition_of(event)
    }

    /// Whether a process is repairing or loading this event; waits for two beats.
    pub async fn is_in_repair(&self, id: EventId) -> Result<bool, SaleError> {
        let of = |watched: Vec<WatchedEvent>| watched.into_iter().find(|one| one.id == id);
        let before = of(self.archive.watched_events().await?);
        if before.as_ref().is_none_or(|one| one.load_state != LoadState::Loading) {
            return Ok(false);
        }
        tokio::time::sleep(BEAT * 2).await;
        let after = of(self.archive.watched_events().await?);
        Ok(before != after)
    }

    /// Checks every booking log and moves the marks of complete ones.
    pub async fn check_logs(&self) -> Result<LogCheck, SaleError> {
        let (marks, heads) = (self.archive.log_marks().await?, self.archive.log_heads().await?);
        let mut check = LogCheck::default();
        let check_one = async |partition, newest: Option<LogLink>| {
            let mark = marks.get(&partition).cloned().unwrap_or_default();
            let heads = heads.get(&partition).map_or(&[][..], Vec::as_slice);
            let broken = self.check_log(partition, mark, heads, newest).await?;
            let is_lost = broken.is_some() && self.engine.is_master(partition).await?;
            Ok::<_, SaleError>(broken.filter(|_| is_lost))
        };
        // Concurrently: a slow or unavailable node delays only its own partitions.
        let lanes = self.engine.lanes();
        let checks = lanes.iter().map(async |lane| match self.engine.links(lane).await {
            Ok(links) => {
                let logs = lane.iter().zip(links);
                join_all(logs.map(|(partition, newest)| check_one(*partition, newest))).await
            }
            Err(error) => vec![Err(error.into())],
        });
        for found in join_all(checks).await.into_iter().flatten() {
            match found {
                Ok(broken) => check.broken.extend(broken),
                Err(error) if error.is_redis_unavailable() => check.unreachable = Some(error),
                Err(error) => return Err(error),
            }
        }
        Ok(check)
    }

    /// Returns what a log lacks, whose newest entry was read after marks and heads. If it lacks
    /// nothing, moves its mark to a newer entry.
    async fn check_log(
        &self,
        partition: Partition,
        mark: LogMark,
        heads: &[LogHead],
        newest: Option<LogLink>,
    ) -> Result<Option<BrokenLog>, SaleError> {
        let is_set = mark.id != LogId::default();
        let is_required = |head: &&LogHead| head.id > mark.id;
        let required: Vec<&LogHead> = heads.iter().filter(is_required).collect();
        if mark.suspicions == 0 && required.is_empty() {
            // Nothing is required of a log that was never archived, and none has begun.
            if !is_set && newest.is_none() {
                return Ok(None);
            }
            if is_set && newest.is_some_and(|(id, tag)| (id, &tag) == (mark.id, &mark.tag)) {
                self.archive.drop_heads(heads).await?;
                return Ok(None);
            }
        }
        // INVARIANT: the next mark is read before the required entries.
        let next = self.newest_archived(partition).await?;
        let mut missing = Vec::new();
        for head in required {
            if !self.engine.has_entry(partition, head.id, &head.tag).await? {
                missing.push(head.clone());
            }
        }
        let lacks_mark = is_set && !self.engine.has_entry(partition, mark.id, &mark.tag).await?;
        if mark.suspicions > 0 {
            return Ok(Some(BrokenLog { partition, mark, heads: missing }));
        }
        if lacks_mark || !missing.is_empty() {
            let current = self.archive.log_marks().await?.remove(&partition).unwrap_or_default();
            // If the mark has moved, the missing entry may have been trimmed since.
            return Ok((current == mark).then_some(BrokenLog { partition, mark, heads: missing }));
        }
        if let Some((id, tag)) = next
            && id > mark.id
            // Fails if another process moved the mark first.
            && self.archive.move_mark(partition, &mark, id, &tag).await?
        {
            let passed = heads.iter().filter(|head| head.id <= id).cloned();
            self.archive.drop_heads(&passed.collect::<Vec<_>>()).await?;
        }
        Ok(None)
    }

    /// Requires the log to contain its current newest entry from now on, as the head of this reader.
    pub(super) async fn require_newest(
        &self,
        partition: Partition,
        reader: String,
    ) -> Result<(), SaleError> {
        let Some((id, tag)) = self.engine.link(partition).await? else { return Ok(()) };
        let head = LogHead { partition, reader, id, tag };
        Ok(self.archive.raise_heads(&[head]).await?)
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

    /// Accepts the log of a partition whose events are repaired: its mark moves to what is archived
    /// now, unless an event of the partition is still being repaired, or something was lost since.
    pub async fn accept_log(&self, log: &BrokenLog) -> Result<LogAcceptance, SaleError> {
        let partition = log.partition;
        let watched = self.archive.watched_events().await?;
        let is_here = |one: &&WatchedEvent| self.partition_of(one.id) == partition;
        if watched.iter().filter(is_here).any(is_in_progress) {
            return Ok(LogAcceptance::NotYet);
        }
        // INVARIANT: the next mark is read before newer heads.
        let (id, tag) = self.newest_archived(partition).await?.unwrap_or_default();
        let heads = self.archive.log_heads().await?.remove(&partition).unwrap_or_default();
        for head in heads.iter().filter(|head| !log.heads.contains(head)) {
            // Heads at or below the former mark are ignored.
            if head.id > log.mark.id
                && !self.engine.has_entry(partition, head.id, &head.tag).await?
            {
                return Ok(LogAcceptance::NotYet);
            }
        }
        if !self.archive.move_mark(partition, &log.mark, id, &tag).await? {
            return Ok(LogAcceptance::Overtaken);
        }
        self.archive.drop_heads(&log.heads).await?;
        Ok(LogAcceptance::Yes)
    }

    /// Whether an entry that was read from a log is missing there without having been trimmed.
    pub async fn is_fork(
        &self,
        partition: Partition,
        id: LogId,
        tag: &str,
    ) -> Result<bool, SaleError> {
        if self.engine.has_entry(partition, id, tag).await? {
            return Ok(false);
        }
        // It was trimmed if all remaining entries are younger and the log has its mark.
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
