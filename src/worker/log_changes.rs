//! Finds the booking logs that have changed, with one command a lane: where the log has not
//! changed, neither has what it records, so it need not be read again.

use std::collections::{HashMap, HashSet};

use futures_util::future::join_all;
use tracing::debug;

use crate::domain::Partition;
use crate::redis::{Engine, LogLink};

/// The newest entry of each log at the last call.
#[derive(Debug, Default)]
pub(super) struct LogChanges(HashMap<Partition, Option<LogLink>>);

impl LogChanges {
    /// The partitions whose newest entry is another than at the last call: entries were appended, or
    /// lost. At first all of them; also those whose node does not respond.
    pub async fn find(&mut self, engine: &Engine) -> HashSet<Partition> {
        let lanes = engine.lanes();
        // Concurrently: a slow or unavailable node delays only its own partitions.
        let results = join_all(lanes.iter().map(|lane| engine.links(lane))).await;
        let mut changed = HashSet::new();
        for (lane, links) in lanes.iter().zip(results) {
            match links {
                Ok(links) => changed.extend(self.update(lane, links)),
                Err(error) => {
                    debug!(%error, ?lane, "reading the newest entries failed");
                    lane.iter().for_each(|partition| drop(self.0.remove(partition)));
                    changed.extend(lane);
                }
            }
        }
        changed
    }

    /// Remembers the links of a lane; returns the partitions that had others.
    fn update(&mut self, lane: &[Partition], links: Vec<Option<LogLink>>) -> Vec<Partition> {
        let mut changed = Vec::new();
        for (partition, link) in lane.iter().zip(links) {
            if self.0.get(partition) != Some(&link) {
                self.0.insert(*partition, link);
                changed.push(*partition);
            }
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::LogId;

    #[test]
    fn logs_with_another_newest_entry_have_changed() {
        let link = |ms, tag: &str| Some((LogId { ms, seq: 0 }, tag.to_owned()));
        let (lane, [one, two]) = ([Partition(1), Partition(2)], [Partition(1), Partition(2)]);
        let mut changes = LogChanges::default();
        assert_eq!(changes.update(&lane, vec![None, link(5, "a")]), [one, two], "first");
        assert_eq!(changes.update(&lane, vec![None, link(5, "a")]), []);
        assert_eq!(changes.update(&lane, vec![link(6, "b"), link(5, "a")]), [one], "appended");
        assert_eq!(changes.update(&lane, vec![link(6, "b"), link(5, "c")]), [two], "a fork");
        assert_eq!(changes.update(&lane, vec![link(4, "z"), None]), [one, two], "lost");
    }
}
