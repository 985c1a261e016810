//! Noticing that Redis lost something: an event, a generation, or the end of a booking log.
//!
//! *An event is lost* if MongoDB says `opened` and a master that answers lacks it, or has it in an
//! earlier generation, or has only a load of it that is not the one that MongoDB recorded; twice in
//! a row with a pause between, or at once if somebody else has met it and reported it
//! (`loss_reported`). *A repair is stuck* if MongoDB says that it has not come to its end, and its
//! beat stands still.
//!
//! *A log has lost writes* if it lacks an entry that was archived. MongoDB keeps two kinds of such
//! entries. One *mark* a partition moves upwards, by compare-and-set, and only if first the next one
//! and then the mark and all heads above it were read from the log, in this order: had Redis become
//! another one in between, what stands would be missing there, or else nothing below the new mark is.
//! *Heads* are what readers have archived since: each reader (a lane of a worker, a batch that was
//! taken over, a repair) raises its own head with each batch, beside the batch's other writes. So
//! before a sale is confirmed, an entry at or above it is demanded of the log, whoever dies then.
//!
//! What comes between the steps:
//!
//! * *A worker dies with Redis right after a sale was confirmed*: its head stands in MongoDB, and the
//!   first look of any worker finds that the log lacks it.
//! * *One of two workers dies*: the other one writes heads of its own, so it overwrites nothing.
//! * *A worker outlives Redis and reads on in the fork*: an entry that does not follow the one read
//!   last is a break of the links (`worker/links.rs`). Its head is not raised over the break before
//!   the break is known to be none, or is recorded as a suspicion, which stays until a repair has
//!   ended.
//! * *A worker starts in the fork before anybody has looked*: it is another reader.
//! * *The mark moves and its mover dies before it drops heads*: those at or below the mark say
//!   nothing any more, and go with the next move.
//! * *A worker dies between repair and the mark's move*: the next one repairs again, which changes
//!   nothing. *Two move the mark*: one wins. *A suspicion comes while we repair*: the mark's move
//!   fails, and all is looked at again.
//! * *Redis loses writes again while we repair*: each repair demands its own last entry, by a head of
//!   its own, and ends only if Redis is still the one that it began with; so what is lost before its
//!   end makes it fail, and what is lost later is missed. The log is not accepted while an event of
//!   its partition is being repaired, or lacks a head that came meanwhile.
//! * *A repair is overtaken, or fails, by another's loss*: what it had repaired is repaired again
//!   unless the loss is the same one.
//!
//! Trimming stops below the mark, and heads that count are above it, so what is missing is never
//! just old. What is missing is looked at once more with the mark read anew: it may have moved and
//! the log been trimmed since it was read.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use futures_util::future::join_all;

use super::sightings::{Broken, Sightings, is_at_work, is_lost};
use super::{BEAT, Restorer};
use crate::archive::{LogHead, LogMark, Watched};
use crate::domain::{EventId, LoadState, LogId, Partition};
use crate::redis::{RedisError, WORKER_GROUP};
use crate::sale::SaleError;

/// What one look at the booking logs found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogCheck {
    /// Logs that lack what was archived.
    pub broken: Vec<BrokenLog>,
    /// Why some could not be looked at: their Redis does not answer.
    pub silence: Option<SaleError>,
}

/// A booking log that lacks what was archived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenLog {
    /// Which log.
    pub partition: Partition,
    /// Its mark, which is missing, suspected, or neither.
    pub mark: LogMark,
    /// The heads that are missing.
    pub heads: Vec<LogHead>,
}

/// What became of a log whose events are repaired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// It goes on with what is archived now.
    Yes,
    /// Something is still being repaired, or was lost since: it is to be looked at again.
    NotYet,
    /// Somebody else has moved the mark, or met a fork: it is to be looked at again.
    Overtaken,
}

impl Restorer {
    /// Looks for lost events and stuck repairs; also answers with everything that is watched.
    pub async fn look_at_events(
        &self,
        sightings: &mut Sightings,
    ) -> Result<(Vec<Broken>, Vec<Watched>), SaleError> {
        let watched = self.archive.watched_events().await?;
        let mut by_partition: HashMap<Partition, Vec<&Watched>> = HashMap::new();
        for one in watched.iter().filter(|one| one.load_state == LoadState::Opened) {
            by_partition.entry(self.engine.keys().partition_of(one.id)).or_default().push(one);
        }
        // All at the same time: a node that is slow or gone holds up its own partitions alone, of
        // which nothing is known.
        let looks = by_partition.iter().map(async |(partition, events)| {
            let ids: Vec<EventId> = events.iter().map(|one| one.id).collect();
            // INVARIANT: MongoDB is read before Redis: whatever MongoDB says is opened was in Redis.
            let states = self.engine.event_states(*partition, &ids).await?;
            let lost =
                events.iter().zip(states).filter(|(one, state)| is_lost(one, state.as_ref()));
            let lost: Vec<EventId> = lost.map(|(one, _)| one.id).collect();
            let is_lost = !lost.is_empty() && self.engine.is_master(*partition).await?;
            Ok::<_, RedisError>(if is_lost { lost } else { Vec::new() })
        });
        let mut missing = HashSet::new();
        sightings.note_silence(None);
        for found in join_all(looks).await {
            match found {
                Ok(some) => missing.extend(some),
                Err(error) => sightings.note_silence(Some(error)),
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
        if before.as_ref().is_none_or(|one| one.load_state != LoadState::Loading) {
            return Ok(false);
        }
        tokio::time::sleep(BEAT * 2).await;
        let after = of(self.archive.watched_events().await?);
        Ok(before != after)
    }

    /// Looks at every booking log, and moves the marks of those that are whole.
    pub async fn look_at_logs(&self) -> Result<LogCheck, SaleError> {
        let (marks, heads) = (self.archive.log_marks().await?, self.archive.log_heads().await?);
        let mut check = LogCheck::default();
        let looks = self.engine.keys().all_partitions().map(async |partition| {
            let mark = marks.get(&partition).cloned().unwrap_or_default();
            let heads = heads.get(&partition).map_or(&[][..], Vec::as_slice);
            let broken = self.follow(partition, mark, heads).await?;
            let is_lost = broken.is_some() && self.engine.is_master(partition).await?;
            Ok::<_, SaleError>(broken.filter(|_| is_lost))
        });
        for found in join_all(looks).await {
            match found {
                Ok(broken) => check.broken.extend(broken),
                Err(error) if error.is_redis_unavailable() => check.silence = Some(error),
                Err(error) => return Err(error),
            }
        }
        Ok(check)
    }

    /// What a log lacks; moves its mark, if it lacks nothing and there is a newer one.
    async fn follow(
        &self,
        partition: Partition,
        mark: LogMark,
        heads: &[LogHead],
    ) -> Result<Option<BrokenLog>, SaleError> {
        let is_set = mark.id != LogId::default();
        let is_demanded = |head: &&LogHead| head.id > mark.id;
        let demanded: Vec<&LogHead> = heads.iter().filter(is_demanded).collect();
        if mark.suspicions == 0 && is_set && demanded.is_empty() {
            let newest = self.engine.link(partition).await?;
            if newest.is_some_and(|(id, tag)| (id, &tag) == (mark.id, &mark.tag)) {
                self.archive.drop_heads(heads).await?;
                return Ok(None);
            }
        }
        // INVARIANT: the next mark is read before those entries that are demanded.
        let next = self.newest_archived(partition).await?;
        let mut missing = Vec::new();
        for head in demanded {
            if !self.engine.has_entry(partition, head.id, &head.tag).await? {
                missing.push(head.clone());
            }
        }
        let lacks_mark = is_set && !self.engine.has_entry(partition, mark.id, &mark.tag).await?;
        if mark.suspicions > 0 {
            return Ok(Some(BrokenLog { partition, mark, heads: missing }));
        }
        if lacks_mark || !missing.is_empty() {
            let stands = self.archive.log_marks().await?.remove(&partition).unwrap_or_default();
            // If it has moved, what is missing may have been trimmed since.
            return Ok((stands == mark).then_some(BrokenLog { partition, mark, heads: missing }));
        }
        if let Some((id, tag)) = next
            && id > mark.id
            // Another may have been quicker: then its mark stands.
            && self.archive.move_mark(partition, &mark, id, &tag).await?
        {
            let passed = heads.iter().filter(|head| head.id <= id).cloned();
            self.archive.drop_heads(&passed.collect::<Vec<_>>()).await?;
        }
        Ok(None)
    }

    /// Demands the log's newest entry from now on, for a reader of this name.
    pub(super) async fn demand_log(
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

    /// The events of a partition are repaired: its log begins anew with what is archived now, unless
    /// something of the partition is still being repaired, or was lost since.
    pub async fn accept_log(&self, log: &BrokenLog) -> Result<Accepted, SaleError> {
        let partition = log.partition;
        let watched = self.archive.watched_events().await?;
        let is_here = |one: &&Watched| self.partition_of(one.id) == partition;
        if watched.iter().filter(is_here).any(is_at_work) {
            return Ok(Accepted::NotYet);
        }
        // INVARIANT: the next mark is read before the heads that came meanwhile.
        let (id, tag) = self.newest_archived(partition).await?.unwrap_or_default();
        let heads = self.archive.log_heads().await?.remove(&partition).unwrap_or_default();
        for head in heads.iter().filter(|head| !log.heads.contains(head)) {
            // One at or below the mark that stood said nothing any more.
            if head.id > log.mark.id
                && !self.engine.has_entry(partition, head.id, &head.tag).await?
            {
                return Ok(Accepted::NotYet);
            }
        }
        if !self.archive.move_mark(partition, &log.mark, id, &tag).await? {
            return Ok(Accepted::Overtaken);
        }
        self.archive.drop_heads(&log.heads).await?;
        Ok(Accepted::Yes)
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
