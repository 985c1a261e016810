//! Events and state of the live view, for metrics and readiness.

/// Receives view life-cycle events, for metrics.
pub trait LiveObserver: Send + Sync {
    /// A view was `built`; or it ended: `broken`, `unreadable`, `past` (the state of its log), `restarted`
    /// (its tail's task), `reopened`, `gap`, `idle`; or it could not be built: `failed`, `differs` (its
    /// lists and bytes disagree, or are unreadable: a defect, or writes by another program).
    fn view(&self, what: &'static str);
    /// A beat was requested.
    fn beat(&self);
    /// The current state.
    fn state(&self, state: &LiveState);
}

/// A snapshot of the live view's state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LiveState {
    /// Views in memory.
    pub views: usize,
    /// Their seats.
    pub seats: usize,
    /// Events whose view was requested and is missing.
    pub missing: usize,
    /// The greatest age of the requested partitions: how long ago the newest entry was read, ms.
    pub age_ms: u64,
    /// Whether a requested partition remains stale, or the tail is not connected.
    pub is_stale: bool,
}
