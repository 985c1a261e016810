//! What a look at a booking's money comes to.

use crate::domain::IntentState;

/// Where a booking's money stands after a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reconciled {
    /// Settled for good; the intent is closed.
    Done(IntentState),
    /// Paid and sold in Redis: the archive decides next.
    Committed,
    /// No money can come of it now: the booking is held again, or over.
    Released,
    /// Nothing is left to do for a booking without a payment.
    Nothing,
    /// Its money is on its way back, or is sent again later: both are recorded, and looked at then.
    Refunding {
        /// When, Unix ms.
        until_ms: i64,
    },
    /// To be looked at again.
    Waiting(Wait),
}

/// What a payment waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// In words.
    pub why: &'static str,
    /// When another look is worth while, Unix ms, where that is known.
    pub until_ms: Option<i64>,
}

pub(super) fn wait(why: &'static str) -> Reconciled {
    Reconciled::Waiting(Wait { why, until_ms: None })
}

pub(super) fn wait_until(why: &'static str, until_ms: i64) -> Reconciled {
    Reconciled::Waiting(Wait { why, until_ms: Some(until_ms) })
}

impl Reconciled {
    /// Whether another look, without anything new, would find the same.
    pub fn is_final(self) -> bool {
        !matches!(self, Reconciled::Waiting(_))
    }

    /// The word in metrics and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Reconciled::Done(state) => state.as_str(),
            Reconciled::Committed => "committed",
            Reconciled::Released => "released",
            Reconciled::Nothing => "nothing",
            Reconciled::Refunding { .. } => "refunding",
            Reconciled::Waiting(_) => "waiting",
        }
    }
}
