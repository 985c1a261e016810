//! What the ledger is given, and what it gives to be sent.

use crate::domain::{Limit, Partition, Rule, Subject};

/// A request to be noted under one rule.
pub(super) struct Note<'a> {
    pub(super) partition: Partition,
    pub(super) subject: &'a Subject,
    pub(super) rule: &'a Rule,
    pub(super) enforced: bool,
}

/// Why a request was not noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denied {
    /// No place is left under the rule of the n-th note; after so long one is.
    Used { at: usize, wait_ms: u64 },
    /// The ledger is at its bound.
    Full,
}

/// What is to be told to Redis about one subject and rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) subject: Subject,
    pub(super) rule: Box<str>,
    pub(super) limit: Limit,
    /// Whether the subject is to be blocked if it is over.
    pub(super) enforced: bool,
    pub(super) noted: u32,
    /// Moments of requests that Redis is to count no longer.
    pub(super) uncounted: Vec<i64>,
    /// What was counted is forgiven first.
    pub(super) forgives: bool,
}

/// How a request that this process decided alone is noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Noted {
    /// Not at all: the rule lets pass, or only observes.
    Not,
    /// To be sent.
    Unsent,
    /// As sent: nobody knows whether Redis has counted it.
    Sent,
}

/// What one call takes along of a subject and rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Taken {
    /// Requests to be counted.
    pub(super) noted: u32,
    /// Moments of requests that are to be counted no longer.
    pub(super) uncounted: Vec<i64>,
}
