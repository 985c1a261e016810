//! The result of reconciling a booking's payment.

use crate::domain::IntentState;

/// The state of a booking's payment after a reconciliation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReconcileResult {
    /// Settled for good; the intent is closed.
    Done(IntentState),
    /// Paid and sold in Redis: the archive decides next.
    Committed,
    /// No money can move now: the booking is held again, or over.
    Released,
    /// A booking without a payment needs no step.
    Nothing,
    /// A refund is pending at the provider, or is retried later; both are recorded.
    Refunding {
        /// When it is reconciled next, Unix ms.
        until_ms: i64,
    },
    /// It must be reconciled again.
    Waiting(WaitReason),
}

/// The reason for waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitReason {
    /// In words.
    pub why: &'static str,
    /// When a retry is useful, Unix ms, if known.
    pub until_ms: Option<i64>,
}

pub(super) fn wait(why: &'static str) -> ReconcileResult {
    ReconcileResult::Waiting(WaitReason { why, until_ms: None })
}

pub(super) fn wait_until(why: &'static str, until_ms: i64) -> ReconcileResult {
    ReconcileResult::Waiting(WaitReason { why, until_ms: Some(until_ms) })
}

impl ReconcileResult {
    /// Whether a retry without any change elsewhere would find the same.
    pub fn is_final(self) -> bool {
        !matches!(self, ReconcileResult::Waiting(_))
    }

    /// The name in metrics and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            ReconcileResult::Done(state) => state.as_str(),
            ReconcileResult::Committed => "committed",
            ReconcileResult::Released => "released",
            ReconcileResult::Nothing => "nothing",
            ReconcileResult::Refunding { .. } => "refunding",
            ReconcileResult::Waiting(_) => "waiting",
        }
    }
}
