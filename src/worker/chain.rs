//! Checks the chain of log entries that this worker reads, to detect that the log lost entries.
//!
//! Each entry names its predecessor. A *gap* is an entry whose predecessor is not the entry read
//! last. Either another worker read the entries between, or they were trimmed, or the log is a fork
//! that lacks the entry read last: after a failover that lost writes, with a truncated file, or in an
//! emptied Redis. Redis is queried concurrently with storing: if the entry read last is gone and was
//! not trimmed, the log is a fork. The fork is recorded in MongoDB, so that it is repaired even if
//! this worker dies now. Until then no later batch raises this reader's head
//! (`sale/restore/watch.rs`), which would overwrite the evidence of the lost branch.

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

/// Pauses between attempts to check for a fork, and to record it.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Resolves to true once all gaps so far are explained or recorded as forks, to false if shutdown was
/// requested first. Shared by all batches read since.
pub(super) type GapCheck = Shared<BoxFuture<'static, bool>>;

/// A check without gaps.
pub(super) fn no_gaps() -> GapCheck {
    ready(true).boxed().shared()
}

/// The last entry before a gap: the next entry read does not name it as its predecessor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ChainGap {
    pub partition: Partition,
    pub id: LogId,
    pub tag: String,
}

/// The last entry read in each partition.
#[derive(Debug, Default)]
pub(super) struct ChainTracker(HashMap<Partition, (LogId, String)>);

impl ChainTracker {
    /// Follows the chain through these entries, which are in log order, and returns the gaps.
    pub fn follow(&mut self, reads: &[Read]) -> Vec<ChainGap> {
        let mut gaps = Vec::new();
        for read in reads {
            let partition = read.partition;
            let last = self.0.insert(partition, (read.id, read.tag()));
            if let Some((id, tag)) = last
                && !read.follows(id, &tag)
            {
                gaps.push(ChainGap { partition, id, tag });
            }
        }
        gaps
    }
}

impl Worker {
    /// Extends an earlier check by these gaps.
    pub(super) fn check_gaps(&self, earlier: GapCheck, gaps: Vec<ChainGap>) -> GapCheck {
        let worker = self.clone();
        let check = async move { earlier.await && worker.resolve_gaps(gaps).await };
        check.boxed().shared()
    }

    /// Explains these gaps and records forks. Returns false if shutdown was requested first.
    async fn resolve_gaps(&self, gaps: Vec<ChainGap>) -> bool {
        for ChainGap { partition, id, tag } in gaps {
            let mut backoff = Backoff::new(PAUSE_MIN, PAUSE_MAX);
            // Bounded by shutdown: an unexplained gap must not pass as harmless.
            loop {
                match self.restorer.is_fork(partition, id, &tag).await {
                    Ok(false) => break,
                    Ok(true) => {
                        if !self.record_fork(partition, id).await {
                            return false;
                        }
                        break;
                    }
                    Err(error) => {
                        warn_repeated!(partition = partition.0, %id, %error, "checking a gap of the log failed; it is retried");
                    }
                }
                if !self.shutdown.sleep_or_shutdown(backoff.pause()).await {
                    return false;
                }
            }
        }
        true
    }

    /// Records a fork in MongoDB. Returns false if shutdown was requested first.
    async fn record_fork(&self, partition: Partition, id: LogId) -> bool {
        self.metrics.log_forks.inc();
        error!(partition = partition.0, %id, "ALARM: the booking log has lost an entry that was read");
        let mut backoff = Backoff::new(PAUSE_MIN, PAUSE_MAX);
        while let Err(error) = self.archive.suspect_log(partition).await {
            warn_repeated!(partition = partition.0, %error, "recording a fork failed; it is retried");
            if !self.shutdown.sleep_or_shutdown(backoff.pause()).await {
                return false;
            }
        }
        self.wake_repairer.notify_one();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(partition: u16, ms: u64, tag: &str, prev: (u64, &str)) -> Read {
        let (prev_id, prev_tag) = (LogId { ms: prev.0, seq: 0 }, prev.1);
        let line = format!("2\tbeat\t\t0\t0\t{ms}\t{tag}\t{prev_id} {prev_tag}\t");
        let id = LogId { ms, seq: 0 };
        let entry = crate::domain::Entry::parse(id, &line);
        Read { partition: Partition(partition), id, entry, fields: vec![("entry".into(), line)] }
    }

    #[test]
    fn unbroken_chain_has_no_gaps() {
        let mut chain = ChainTracker::default();
        let first = [read(1, 5, "e", (4, "d")), read(2, 5, "x", (0, ""))];
        assert_eq!(chain.follow(&first), []);
        assert_eq!(chain.follow(&[read(1, 6, "f", (5, "e"))]), []);
        assert_eq!(chain.follow(&[read(1, 7, "g", (6, "f")), read(2, 6, "y", (5, "x"))]), []);
    }

    #[test]
    fn entry_with_another_predecessor_makes_a_gap() {
        let gap = |ms, tag: &str| {
            let id = LogId { ms, seq: 0 };
            ChainGap { partition: Partition(1), id, tag: tag.to_owned() }
        };
        let mut chain = ChainTracker::default();
        chain.follow(&[read(1, 5, "e", (4, "d"))]);
        // Another worker has 6; the entry before 9 has another tag; the log starts anew.
        assert_eq!(chain.follow(&[read(1, 7, "g", (6, "f"))]), [gap(5, "e")]);
        let forked = [read(1, 8, "h", (7, "g")), read(1, 9, "i", (8, "k"))];
        assert_eq!(chain.follow(&forked), [gap(8, "h")]);
        assert_eq!(chain.follow(&[read(1, 10, "a", (0, ""))]), [gap(9, "i")]);
    }
}
