//! What becomes of views, for metrics and readiness.

/// Told of what becomes of views; metrics hang here.
pub trait LiveObserver: Send + Sync {
    /// A view was `built`, or ended: `broken`, `unreadable`, `past` (what its log came to),
    /// `restarted` (the task that feeds it), `reopened`, `gap`, `idle`; or could not be built: `failed`, `differs` (its lists and bytes
    /// disagree, or cannot be read: a defect, or somebody else's writes).
    fn view(&self, what: &'static str);
    /// A beat was asked for.
    fn beat(&self);
    /// How things are now.
    fn state(&self, state: &LiveState);
}

/// How things are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LiveState {
    /// Views in memory.
    pub views: usize,
    /// Their seats.
    pub seats: usize,
    /// Events whose view is wanted and not there.
    pub missing: usize,
    /// The age of the oldest of the partitions that somebody asks about: how long ago its newest entry was
    /// read, ms.
    pub age_ms: u64,
    /// Whether a partition that somebody asks about stays stale, or the tail is not connected.
    pub is_stale: bool,
}
