//! The state of every booking log as read last, by the monitor, so that other tasks need not ask
//! Redis about logs at rest.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::domain::Partition;
use crate::redis::LogState;

/// How old a state may be where nothing shows that the log has changed: what leaves no trace in the
/// log (dead letters that are replayed, another worker's trimming, a group that is lost) is seen
/// within this time.
const REREAD_AFTER: Duration = Duration::from_secs(15);

/// A log's state and when it was read.
#[derive(Clone, Debug)]
struct KnownLog {
    state: LogState,
    at: Instant,
}

/// The states read last; a log whose state could not be read has none.
#[derive(Debug, Default)]
pub(super) struct KnownLogs(Mutex<HashMap<Partition, KnownLog>>);

impl KnownLogs {
    /// The state read last. INVARIANT: entries are delivered only after they are appended, so a log
    /// whose newest entry is unchanged since all were acknowledged has nothing pending, unless its
    /// group was lost and created again.
    pub fn get(&self, partition: Partition) -> Option<LogState> {
        self.lock().get(&partition).map(|known| known.state.clone())
    }

    /// Whether the log is at rest and its state recent: it need not be read again if its newest
    /// entry is unchanged.
    pub fn is_at_rest(&self, partition: Partition, now: Instant) -> bool {
        self.lock().get(&partition).is_some_and(|known| {
            known.state.is_caught_up() && now.saturating_duration_since(known.at) < REREAD_AFTER
        })
    }

    /// Remembers a state that was read at `at`, or that it could not be read.
    pub fn set(&self, partition: Partition, state: Option<LogState>, at: Instant) {
        let mut known = self.lock();
        match state {
            Some(state) => drop(known.insert(partition, KnownLog { state, at })),
            None => drop(known.remove(&partition)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Partition, KnownLog>> {
        // Poisoning can be ignored: no code under this lock panics halfway through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::LogId;

    #[test]
    fn log_is_at_rest_while_archived_and_recently_read() {
        let (logs, partition, now) = (KnownLogs::default(), Partition(3), Instant::now());
        let newest = LogId { ms: 9, seq: 1 };
        let archived = LogState { newest, delivered: Some(newest), ..LogState::default() };
        assert!(!logs.is_at_rest(partition, now), "never read");
        logs.set(partition, Some(archived.clone()), now);
        assert!(logs.is_at_rest(partition, now));
        assert!(!logs.is_at_rest(partition, now + REREAD_AFTER), "read too long ago");
        logs.set(partition, Some(LogState { pending: 1, ..archived.clone() }), now);
        assert!(!logs.is_at_rest(partition, now), "an entry is pending");
        let behind = LogId { ms: 8, seq: 0 };
        logs.set(partition, Some(LogState { delivered: Some(behind), ..archived }), now);
        assert!(!logs.is_at_rest(partition, now), "an entry is not delivered");
        logs.set(partition, None, now);
        assert_eq!(logs.get(partition), None);
    }
}
