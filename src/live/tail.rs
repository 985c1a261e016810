//! The tail: follows the booking log in this process, for every partition, until told to stop.
//!
//! INVARIANT: what is handed on are successive entries of one chain: each names its predecessor by
//! position and tag. Where one does not follow (entries were trimmed before they were read, or a
//! failover lost some that had been), where one cannot be read, or where the log turns out to end
//! below our place, [`LogSubscriber::lost`] is told before anything else, and all that was built on the
//! chain is void. After a lost connection the tail goes on where it was: the chain says whether it can.

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
/// How often the place is checked.
const PLACE_CHECK_INTERVAL: Duration = Duration::from_secs(3);

/// Where a reader stands: position and tag of the entry it read last. The default is before the
/// first entry.
pub type Place = (LogId, String);

/// Why a chain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// An entry does not follow the one before it.
    Broken,
    /// An entry cannot be read.
    Unreadable,
    /// The log ends below our place, or with another entry there.
    Past,
    /// The task that follows it ended unexpectedly, at any point of handing an entry on.
    Restarted,
}

impl Lost {
    /// For metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Lost::Broken => "broken",
            Lost::Unreadable => "unreadable",
            Lost::Past => "past",
            Lost::Restarted => "restarted",
        }
    }
}

/// Who hears what a tail reads, of each partition in its log's order.
pub trait LogSubscriber: Send {
    /// From here on entries follow each other.
    fn begins(&mut self, partition: Partition, at: &Place);
    /// The next entry.
    fn hears(&mut self, partition: Partition, entry: &Entry);
    /// The chain ended; [`LogSubscriber::begins`] follows.
    fn lost(&mut self, partition: Partition, why: Lost);
    /// All entries of one read were handed on.
    fn pauses(&mut self);
    /// Whether the tail is connected.
    fn connected(&mut self, lane: &[Partition], is_connected: bool);
    /// Whether to stand still for now: tests.
    fn is_held_up(&self) -> bool;
}

/// Follows one lane until shutdown is requested.
pub async fn follow(
    engine: Engine,
    lane: Vec<Partition>,
    hears: impl LogSubscriber,
    shutdown: Shutdown,
) {
    let mut following = Following { lane, hears, has_ended: false };
    tokio::select! {
        () = following.follow_on(&engine) => {}
        () = shutdown.requested() => {}
    }
    following.has_ended = true;
}

/// A lane that is followed. If this ends before its time, by a panic at any point, all that was
/// built on the chain is void at once, not only when the task begins anew.
struct Following<H: LogSubscriber> {
    lane: Vec<Partition>,
    hears: H,
    has_ended: bool,
}

impl<H: LogSubscriber> Following<H> {
    async fn follow_on(&mut self, engine: &Engine) {
        let (lane, mut places) = (&self.lane, None);
        loop {
            let followed = follow_connected(engine, lane, &mut places, &mut self.hears).await;
            if let Err(error) = followed {
                warn_repeated!(%error, "the tail lost its connection");
            }
            self.hears.connected(lane, false);
            tokio::time::sleep(PAUSE_AFTER_ERROR).await;
        }
    }
}

impl<H: LogSubscriber> Drop for Following<H> {
    fn drop(&mut self) {
        if !self.has_ended {
            self.hears.connected(&self.lane, false);
            self.lane.iter().for_each(|partition| self.hears.lost(*partition, Lost::Restarted));
        }
    }
}

async fn follow_connected(
    engine: &Engine,
    lane: &[Partition],
    places: &mut Option<Vec<Place>>,
    hears: &mut impl LogSubscriber,
) -> Result<(), RedisError> {
    if places.is_none() {
        let newest = newest(engine, lane).await?;
        lane.iter().zip(&newest).for_each(|(partition, place)| hears.begins(*partition, place));
        *places = Some(newest);
    }
    let places = places.get_or_insert_default();
    let reader = engine.lane_reader(lane, BLOCK_MS).await?;
    hears.connected(lane, true);
    let result = read_on(engine, lane, &reader, places, hears).await;
    reader.close().await;
    result
}

async fn read_on(
    engine: &Engine,
    lane: &[Partition],
    reader: &LaneReader,
    places: &mut [Place],
    hears: &mut impl LogSubscriber,
) -> Result<(), RedisError> {
    let mut checked_at: Option<Instant> = None;
    loop {
        if checked_at.is_none_or(|at| at.elapsed() >= PLACE_CHECK_INTERVAL) {
            checked_at = Some(Instant::now());
            let newest = newest(engine, lane).await?;
            for ((partition, place), newest) in lane.iter().zip(&mut *places).zip(newest) {
                if is_past(place, &newest) {
                    warn!(partition = partition.0, at = %place.0, newest = %newest.0, "the booking log ends below the tail's place");
                    hears.lost(*partition, Lost::Past);
                    hears.begins(*partition, &newest);
                    *place = newest;
                }
            }
        }
        while hears.is_held_up() {
            tokio::time::sleep(PAUSE_AFTER_ERROR).await;
        }
        let after: Vec<LogId> = places.iter().map(|place| place.0).collect();
        for read in reader.tail(&after, ENTRIES_PER_READ).await? {
            if let Some(index) = lane.iter().position(|partition| *partition == read.partition) {
                take(&read, &mut places[index], hears);
            }
        }
        hears.pauses();
    }
}

/// Hands one entry on, if it follows; else what was is void, and the chain begins anew behind it.
fn take(read: &Read, place: &mut Place, hears: &mut impl LogSubscriber) {
    let (partition, next) = (read.partition, (read.id, read.tag().to_owned()));
    if !read.follows(place.0, &place.1) {
        warn!(partition = partition.0, after = %place.0, id = %read.id, "the booking log has a gap or a fork");
        hears.lost(partition, Lost::Broken);
        hears.begins(partition, &next);
    } else if let Err(error) = &read.entry {
        // The worker parks it as a dead letter.
        warn!(partition = partition.0, id = %read.id, %error, "an entry that cannot be read");
        hears.lost(partition, Lost::Unreadable);
        hears.begins(partition, &next);
    }
    if let Ok(entry) = &read.entry {
        hears.hears(partition, entry);
    }
    *place = next;
}

/// Whether a log that ends with `newest` does not have our place. (One that has gone on says so by
/// its next entry.)
fn is_past(place: &Place, newest: &Place) -> bool {
    newest.0 < place.0 || (newest.0 == place.0 && newest.1 != place.1)
}

async fn newest(engine: &Engine, lane: &[Partition]) -> Result<Vec<Place>, RedisError> {
    let mut places = Vec::with_capacity(lane.len());
    for partition in lane {
        places.push(engine.link(*partition).await?.unwrap_or_default());
    }
    Ok(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(ms: u64, tag: &str) -> Place {
        (LogId { ms, seq: 0 }, tag.to_owned())
    }

    #[test]
    fn a_log_that_lacks_our_place_is_past() {
        let ours = place(5, "t");
        assert!(!is_past(&ours, &place(5, "t")));
        assert!(!is_past(&ours, &place(6, "u")));
        assert!(is_past(&ours, &place(4, "s")));
        assert!(is_past(&ours, &place(5, "other")));
        assert!(is_past(&ours, &Place::default()));
    }
}
