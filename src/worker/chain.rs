//! The links of the entries that this worker reads: whether what it read before is still in the
//! log.
//!
//! Each entry names its predecessor. Where that is not the one read last, another worker has the
//! ones between, or they were trimmed, or the log is another one: a failover that lost writes, a
//! file that was cut, a Redis that was emptied. Redis is asked, beside the carrying: if the last
//! one read is there no more, and was not trimmed, it is a fork. That is recorded in MongoDB, so
//! that a repair follows also if this worker dies now. Until it is, no batch read since raises this
//! reader's head (`sale/restore/watch.rs`): what it says of the lost branch would be overwritten.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, ready};
use tracing::error;

use super::Worker;
use crate::backoff::Backoff;
use crate::domain::{LogId, Partition};
use crate::redis::Read;
use crate::telemetry::warn_repeated;

/// Pauses between tries to learn whether it is a fork, and to record it.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Whether what the links left open so far is known, or recorded; shared by all batches read since.
/// False: it was time to stop before.
pub(super) type LinkCheck = Shared<BoxFuture<'static, bool>>;

/// Nothing was left open.
pub(super) fn no_link_open() -> LinkCheck {
    ready(true).boxed().shared()
}

/// An entry that was read and did not turn up as the next one's predecessor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ChainGap {
    pub partition: Partition,
    pub id: LogId,
    pub tag: String,
}

/// The last entry read of each partition.
#[derive(Debug, Default)]
pub(super) struct ChainTracker(HashMap<Partition, (LogId, String)>);

impl ChainTracker {
    /// Goes on with these entries, which are in the order of each log.
    pub fn follow(&mut self, reads: &[Read]) -> Vec<ChainGap> {
        let mut seams = Vec::new();
        for read in reads {
            let partition = read.partition;
            let last = self.0.insert(partition, (read.id, read.tag().to_owned()));
            if let Some((id, tag)) = last
                && !read.follows(id, &tag)
            {
                seams.push(ChainGap { partition, id, tag });
            }
        }
        seams
    }
}

impl Worker {
    /// Goes on from an earlier check with these seams.
    pub(super) fn check_links(&self, earlier: LinkCheck, seams: Vec<ChainGap>) -> LinkCheck {
        let worker = self.clone();
        let check = async move { earlier.await && worker.look_at_seams(seams).await };
        check.boxed().shared()
    }

    /// Finds out what these seams are, and records forks; whether it did before it was time to stop.
    async fn look_at_seams(&self, seams: Vec<ChainGap>) -> bool {
        for ChainGap { partition, id, tag } in seams {
            let mut backoff = Backoff::new(PAUSE_MIN, PAUSE_MAX);
            // Bounded by the shutdown: whatever is not known must not be taken for whole.
            loop {
                match self.restorer.is_fork(partition, id, &tag).await {
                    Ok(false) => break,
                    Ok(true) => {
                        if !self.met_fork(partition, id).await {
                            return false;
                        }
                        break;
                    }
                    Err(error) => {
                        warn_repeated!(partition = partition.0, %id, %error, "a link is looked at later");
                    }
                }
                if !self.shutdown.sleep_or_shutdown(backoff.pause()).await {
                    return false;
                }
            }
        }
        true
    }

    /// Whether it is recorded.
    async fn met_fork(&self, partition: Partition, id: LogId) -> bool {
        self.metrics.log_forks.inc();
        error!(partition = partition.0, %id, "ALARM: the booking log has lost an entry that was read");
        let mut backoff = Backoff::new(PAUSE_MIN, PAUSE_MAX);
        while let Err(error) = self.archive.suspect_log(partition).await {
            warn_repeated!(partition = partition.0, %error, "a fork is recorded later");
            if !self.shutdown.sleep_or_shutdown(backoff.pause()).await {
                return false;
            }
        }
        self.look_now.notify_one();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(partition: u16, ms: u64, tag: &str, prev: (u64, &str)) -> Read {
        let (prev_id, prev_tag) = (LogId { ms: prev.0, seq: 0 }, prev.1);
        let fields = [("tag", tag), ("prev_id", &prev_id.to_string()), ("prev_tag", prev_tag)];
        let fields: HashMap<String, String> =
            fields.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let id = LogId { ms, seq: 0 };
        let entry = crate::domain::Entry::from_fields(id, &fields);
        Read { partition: Partition(partition), id, entry, fields }
    }

    #[test]
    fn a_chain_has_no_seam() {
        let mut links = ChainTracker::default();
        let first = [read(1, 5, "e", (4, "d")), read(2, 5, "x", (0, ""))];
        assert_eq!(links.follow(&first), []);
        assert_eq!(links.follow(&[read(1, 6, "f", (5, "e"))]), []);
        assert_eq!(links.follow(&[read(1, 7, "g", (6, "f")), read(2, 6, "y", (5, "x"))]), []);
    }

    #[test]
    fn what_was_passed_over_is_a_seam() {
        let seam = |ms, tag: &str| {
            let id = LogId { ms, seq: 0 };
            ChainGap { partition: Partition(1), id, tag: tag.to_owned() }
        };
        let mut links = ChainTracker::default();
        links.follow(&[read(1, 5, "e", (4, "d"))]);
        // Another has 6; the entry before 9 has another tag; the log begins anew.
        assert_eq!(links.follow(&[read(1, 7, "g", (6, "f"))]), [seam(5, "e")]);
        let forked = [read(1, 8, "h", (7, "g")), read(1, 9, "i", (8, "k"))];
        assert_eq!(links.follow(&forked), [seam(8, "h")]);
        assert_eq!(links.follow(&[read(1, 10, "a", (0, ""))]), [seam(9, "i")]);
    }
}
