//! The tail: follows the booking log of every partition until shutdown is requested.
//!
//! INVARIANT: a subscriber gets successive entries of one chain: each names its predecessor by position
//! and tag. If an entry does not follow (entries were trimmed before they were read, or a failover lost
//! some that had been read), if one is unreadable, or if the log ends below the tail's position,
//! [`LogSubscriber::on_end`] is called before anything else, and everything built on the chain is void.
//! After a lost connection the tail continues at its position: the chain shows whether it can.

use std::time::{Duration, Instant};

use tracing::warn;

use crate::domain::{Entry, LogId, Partition};
use crate::lifecycle::Shutdown;
use crate::redis::{Engine, LaneReader, Read, RedisError};
use crate::telemetry::warn_repeated;

/// Longest wait of one read, ms.
const BLOCK_MS: u64 = 1_000;
/// Entries of one read and partition.
const ENTRIES_PER_READ: u64 = 1_000;
/// Pause after a failed read.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(100);
/// How often the position is compared with the end of the log.
const POSITION_CHECK_INTERVAL: Duration = Duration::from_secs(3);

/// Id and tag of the entry read last. The default is before the first entry.
pub type LogPosition = (LogId, String);

/// Why a chain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainEnd {
    /// An entry does not follow its predecessor.
    Broken,
    /// An entry is unreadable.
    Unreadable,
    /// The log ends below the tail's position, or with another entry there.
    Past,
    /// The tail's task ended unexpectedly, at any point of applying an entry.
    Restarted,
}

impl ChainEnd {
    /// The label in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            ChainEnd::Broken => "broken",
            ChainEnd::Unreadable => "unreadable",
            ChainEnd::Past => "past",
            ChainEnd::Restarted => "restarted",
        }
    }
}

/// Receives what a tail reads, for each partition in the order of its log.
pub trait LogSubscriber: Send {
    /// A chain starts: entries follow from this position.
    fn on_start(&mut self, partition: Partition, at: &LogPosition);
    /// The next entry.
    fn on_entry(&mut self, partition: Partition, entry: &Entry);
    /// The chain ended; [`LogSubscriber::on_start`] follows.
    fn on_end(&mut self, partition: Partition, why: ChainEnd);
    /// All entries of one read were delivered.
    fn on_read_end(&mut self);
    /// The tail connected or disconnected.
    fn on_connection(&mut self, lane: &[Partition], is_connected: bool);
    /// Whether to pause, for tests.
    fn is_paused(&self) -> bool;
}

/// Follows one lane until shutdown is requested.
pub async fn follow(
    engine: Engine,
    lane: Vec<Partition>,
    subscriber: impl LogSubscriber,
    shutdown: Shutdown,
) {
    let mut followed = FollowedLane { lane, subscriber, has_ended: false };
    tokio::select! {
        () = followed.run(&engine) => {}
        () = shutdown.requested() => {}
    }
    followed.has_ended = true;
}

/// A lane that is followed. If it is dropped early, by a panic at any point, everything built on its
/// chains becomes void at once, not only when the task restarts.
struct FollowedLane<S: LogSubscriber> {
    lane: Vec<Partition>,
    subscriber: S,
    has_ended: bool,
}

impl<S: LogSubscriber> FollowedLane<S> {
    async fn run(&mut self, engine: &Engine) {
        let (lane, mut positions) = (&self.lane, None);
        loop {
            let result = follow_connected(engine, lane, &mut positions, &mut self.subscriber).await;
            if let Err(error) = result {
                warn_repeated!(%error, "the tail lost its connection");
            }
            self.subscriber.on_connection(lane, false);
            tokio::time::sleep(PAUSE_AFTER_ERROR).await;
        }
    }
}

impl<S: LogSubscriber> Drop for FollowedLane<S> {
    fn drop(&mut self) {
        if !self.has_ended {
            self.subscriber.on_connection(&self.lane, false);
            self.lane
                .iter()
                .for_each(|partition| self.subscriber.on_end(*partition, ChainEnd::Restarted));
        }
    }
}

async fn follow_connected(
    engine: &Engine,
    lane: &[Partition],
    positions: &mut Option<Vec<LogPosition>>,
    subscriber: &mut impl LogSubscriber,
) -> Result<(), RedisError> {
    if positions.is_none() {
        let newest = newest(engine, lane).await?;
        lane.iter()
            .zip(&newest)
            .for_each(|(partition, position)| subscriber.on_start(*partition, position));
        *positions = Some(newest);
    }
    let positions = positions.get_or_insert_default();
    let reader = engine.lane_reader(lane, BLOCK_MS).await?;
    subscriber.on_connection(lane, true);
    let result = read_on(engine, lane, &reader, positions, subscriber).await;
    reader.close().await;
    result
}

async fn read_on(
    engine: &Engine,
    lane: &[Partition],
    reader: &LaneReader,
    positions: &mut [LogPosition],
    subscriber: &mut impl LogSubscriber,
) -> Result<(), RedisError> {
    let mut checked_at: Option<Instant> = None;
    loop {
        if checked_at.is_none_or(|at| at.elapsed() >= POSITION_CHECK_INTERVAL) {
            checked_at = Some(Instant::now());
            let newest = newest(engine, lane).await?;
            for ((partition, position), newest) in lane.iter().zip(&mut *positions).zip(newest) {
                if is_past(position, &newest) {
                    warn!(partition = partition.0, at = %position.0, newest = %newest.0, "the booking log ends below the tail's position");
                    subscriber.on_end(*partition, ChainEnd::Past);
                    subscriber.on_start(*partition, &newest);
                    *position = newest;
                }
            }
        }
        while subscriber.is_paused() {
            tokio::time::sleep(PAUSE_AFTER_ERROR).await;
        }
        let after: Vec<LogId> = positions.iter().map(|position| position.0).collect();
        for read in reader.tail(&after, ENTRIES_PER_READ).await? {
            if let Some(index) = lane.iter().position(|partition| *partition == read.partition) {
                deliver(&read, &mut positions[index], subscriber);
            }
        }
        subscriber.on_read_end();
    }
}

/// Delivers one entry. If it does not follow, the chain ends, and a new one starts at the entry.
fn deliver(read: &Read, position: &mut LogPosition, subscriber: &mut impl LogSubscriber) {
    let (partition, next) = (read.partition, (read.id, read.tag()));
    if !read.follows(position.0, &position.1) {
        warn!(partition = partition.0, after = %position.0, id = %read.id, "the booking log has a gap or a fork");
        subscriber.on_end(partition, ChainEnd::Broken);
        subscriber.on_start(partition, &next);
    } else if let Err(error) = &read.entry {
        // The worker moves it to the dead letters.
        warn!(partition = partition.0, id = %read.id, %error, "an unreadable entry in the booking log");
        subscriber.on_end(partition, ChainEnd::Unreadable);
        subscriber.on_start(partition, &next);
    }
    if let Ok(entry) = &read.entry {
        subscriber.on_entry(partition, entry);
    }
    *position = next;
}

/// Whether a log that ends with `newest` lacks this position. (In a log that has grown, the next entry
/// shows whether it follows.)
fn is_past(position: &LogPosition, newest: &LogPosition) -> bool {
    newest.0 < position.0 || (newest.0 == position.0 && newest.1 != position.1)
}

async fn newest(engine: &Engine, lane: &[Partition]) -> Result<Vec<LogPosition>, RedisError> {
    Ok(engine.links(lane).await?.into_iter().map(Option::unwrap_or_default).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(ms: u64, tag: &str) -> LogPosition {
        (LogId { ms, seq: 0 }, tag.to_owned())
    }

    #[test]
    fn log_without_the_position_is_past() {
        let ours = position(5, "t");
        assert!(!is_past(&ours, &position(5, "t")));
        assert!(!is_past(&ours, &position(6, "u")));
        assert!(is_past(&ours, &position(4, "s")));
        assert!(is_past(&ours, &position(5, "other")));
        assert!(is_past(&ours, &LogPosition::default()));
    }
}
