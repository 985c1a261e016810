//! Refunds: what an intent records until the money is returned. Pure rules; the archive changes an
//! intent only by compare-and-set on its `rev`, so of several processes one wins each step.
//!
//! ```text
//!  none ──► pending(1) ──► done            (a refund that succeeds at once is never recorded here)
//!    │          └────────► failed: attempt 2 after a pause ──► pending(2) ──► …
//!    └───────────────────► failed: …
//!  done ──► failed         (a bank can return a refund weeks after it succeeded)
//! ```
//!
//! Guarantees, together with the provider's (an attempt refunds at most once, all refunds together at
//! most what was paid):
//!
//! * The attempt rises only after the provider has shown that the previous one ended without the
//!   money, so an attempt of unknown outcome is only repeated, under its own key.
//! * Attempts are bounded: after [`ATTEMPTS_MAX`] failures only a person starts another one.

use serde::{Deserialize, Serialize};

use super::Intent;

/// Failures of a booking's refund after which there is no automatic retry.
pub const ATTEMPTS_MAX: u32 = 5;
/// Pause after the first failure, ms; each further one is [`PAUSE_FACTOR`] times as long.
const PAUSE_FIRST_MS: i64 = 10_000;
const PAUSE_FACTOR: i64 = 6;
/// How often a refund that needs a person is checked: it may have been made at the provider, ms.
const CHECK_MS: i64 = 3_600_000;
/// Shortest and longest poll interval of a pending refund, ms.
const POLL_MIN_MS: i64 = 5_000;
const POLL_MAX_MS: i64 = 3_600_000;
/// The poll interval in between, as a part of the time that the refund has been pending.
const POLL_PART: i64 = 4;
/// How long a refund may be pending before a person should check it at the provider, ms: banks take
/// five to ten working days.
pub const OVERDUE_MS: i64 = 14 * 86_400_000;
/// Bytes of the provider's reason that are kept.
const REASON_BYTES_MAX: usize = 300;

/// The state of a refund.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefundState {
    /// Sent; it may still fail.
    Pending,
    /// The attempt before `attempt` ended without the money.
    Failed,
    /// Refunded, as far as the provider knows.
    Done,
}

impl RefundState {
    /// The name in the archive and in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            RefundState::Pending => "pending",
            RefundState::Failed => "failed",
            RefundState::Done => "done",
        }
    }
}

/// The refund record of an intent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefundProgress {
    /// The total to refund, minor units.
    pub total: i64,
    /// The attempt that may be sent, from 1; with `total` it names the provider's idempotency key.
    pub attempt: u32,
    /// Its state.
    pub state: RefundState,
    /// When it entered this state, Unix ms.
    pub since_ms: i64,
    /// When `attempt` may be sent, Unix ms.
    pub retry_at_ms: i64,
    /// Attempts that failed.
    pub failures: u32,
    /// The provider's reason for the last failure.
    pub reason: String,
    /// Until when an attempt after a failure may be under way, Unix ms: nobody returns the money by
    /// another way before.
    #[serde(default)]
    pub sending_until_ms: i64,
}

impl RefundProgress {
    /// Whether only a person can start another attempt.
    pub fn needs_person(&self) -> bool {
        self.state == RefundState::Failed && self.failures >= ATTEMPTS_MAX
    }
}

/// Numbers of unfinished refunds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RefundCounts {
    /// Pending at the provider.
    pub pending: u64,
    /// Pending for more than two weeks.
    pub overdue: u64,
    /// Failed, and retried automatically.
    pub retrying: u64,
    /// Failed [`ATTEMPTS_MAX`] times or more: a person must act.
    pub failed: u64,
}

impl Intent {
    /// The attempt that may be sent to refund this booking.
    pub fn refund_attempt(&self) -> u32 {
        self.refund.as_ref().map_or(1, |refund| refund.attempt)
    }

    /// The time before which no further attempt may be sent, Unix ms; `None`: it may be sent now.
    pub fn refund_waits_until(&self, now_ms: i64) -> Option<i64> {
        let refund = self.refund.as_ref().filter(|one| one.state == RefundState::Failed)?;
        if refund.needs_person() {
            return Some(now_ms + CHECK_MS);
        }
        (refund.retry_at_ms > now_ms).then_some(refund.retry_at_ms)
    }

    /// When to poll a pending refund again, Unix ms.
    pub fn refund_poll_at(&self, now_ms: i64) -> i64 {
        let pending = self.refund.as_ref().filter(|one| one.state == RefundState::Pending);
        let since_ms = pending.map_or(now_ms, |refund| refund.since_ms);
        let pause_ms = (now_ms - since_ms) / POLL_PART;
        now_ms + pause_ms.clamp(POLL_MIN_MS, POLL_MAX_MS)
    }

    /// Records that its refund is pending; `None` if that is already recorded.
    pub fn refund_pending(&self, total: i64, now_ms: i64) -> Option<Self> {
        let known = self.refund.as_ref();
        if known.is_some_and(|one| one.state == RefundState::Pending && one.total == total) {
            return None;
        }
        let refund = RefundProgress {
            total,
            attempt: self.refund_attempt(),
            state: RefundState::Pending,
            since_ms: now_ms,
            retry_at_ms: now_ms,
            failures: known.map_or(0, |one| one.failures),
            reason: known.map(|one| one.reason.clone()).unwrap_or_default(),
            sending_until_ms: 0,
        };
        let due_ms = Some(now_ms + POLL_MIN_MS);
        Some(Intent { refund: Some(refund), due_ms, ..self.changed() })
    }

    /// Records that the sent attempt ended without the money; the next may follow after a pause.
    pub fn refund_failed(&self, total: i64, mut reason: String, now_ms: i64) -> Self {
        let failures = self.refund.as_ref().map_or(0, |one| one.failures).saturating_add(1);
        let exponent = failures.min(ATTEMPTS_MAX) - 1;
        let retry_at_ms = now_ms + PAUSE_FIRST_MS * PAUSE_FACTOR.pow(exponent);
        reason.truncate(reason.floor_char_boundary(REASON_BYTES_MAX));
        let refund = RefundProgress {
            total,
            attempt: self.refund_attempt().saturating_add(1),
            state: RefundState::Failed,
            since_ms: now_ms,
            retry_at_ms,
            failures,
            reason,
            sending_until_ms: 0,
        };
        let due_ms = Some(retry_at_ms);
        Intent { refund: Some(refund), due_ms, ..self.changed() }
    }

    /// Announces that an attempt after a failure is sent; `None` if none has failed. INVARIANT: written
    /// before such an attempt is sent, so [`Intent::mark_paid`] of an intent read before fails on `rev`.
    /// If the attempt has no answer, the intent is due again at `due_ms`.
    pub fn refund_sending(&self, until_ms: i64, due_ms: i64) -> Option<Self> {
        let refund = self.refund.clone().filter(|one| one.state == RefundState::Failed)?;
        let sending_until_ms = until_ms.max(refund.sending_until_ms);
        let refund = Some(RefundProgress { sending_until_ms, ..refund });
        Some(Intent { refund, due_ms: Some(due_ms), ..self.changed() })
    }

    /// The record of a completed refund.
    pub(super) fn refund_done(&self) -> Option<RefundProgress> {
        let refund = self.refund.clone()?;
        Some(RefundProgress { state: RefundState::Done, ..refund })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::IntentState;

    const NOW_MS: i64 = 1_000_000;

    fn failed_times(failures: u32) -> Intent {
        (0..failures).fold(Intent::of_ann(), |intent, _| {
            intent.refund_failed(100, "closed account".into(), NOW_MS)
        })
    }

    #[test]
    fn attempt_rises_only_after_a_failure() {
        let fresh = Intent::of_ann();
        assert_eq!((fresh.refund_attempt(), fresh.refund_waits_until(NOW_MS)), (1, None));
        let pending = fresh.refund_pending(100, NOW_MS).unwrap();
        assert_eq!((pending.refund_attempt(), pending.rev), (1, fresh.rev + 1));
        assert_eq!(pending.refund_pending(100, NOW_MS + 1), None, "it is recorded");
        assert_eq!(pending.refund_waits_until(NOW_MS), None, "its key may be repeated");
        let failed = pending.refund_failed(100, "x".into(), NOW_MS);
        assert_eq!(failed.refund_attempt(), 2);
        let again = failed.refund_pending(100, NOW_MS).unwrap();
        let refund = again.refund.as_ref().unwrap();
        assert_eq!((refund.attempt, refund.failures, refund.reason.as_str()), (2, 1, "x"));
        // Returned by the bank long after it had succeeded.
        let done = again.closed(IntentState::Refunded, 100);
        assert_eq!(done.refund.as_ref().unwrap().state, RefundState::Done);
        assert_eq!(done.refund_failed(100, "y".into(), NOW_MS).refund_attempt(), 3);
    }

    #[test]
    fn pauses_grow_until_a_person_must_act() {
        let pauses: Vec<i64> = (1..ATTEMPTS_MAX)
            .map(|failures| {
                let failed = failed_times(failures);
                let until_ms = failed.refund_waits_until(NOW_MS).unwrap();
                assert_eq!(failed.due_ms, Some(until_ms));
                assert_eq!(failed.refund_waits_until(until_ms), None, "it may be sent");
                assert!(!failed.refund.unwrap().needs_person());
                until_ms - NOW_MS
            })
            .collect();
        assert_eq!(pauses, [10_000, 60_000, 360_000, 2_160_000]);
        for failures in [ATTEMPTS_MAX, ATTEMPTS_MAX + 1, 100] {
            let stuck = failed_times(failures);
            assert!(stuck.refund.as_ref().unwrap().needs_person());
            let much_later = NOW_MS + OVERDUE_MS;
            assert_eq!(stuck.refund_waits_until(much_later), Some(much_later + CHECK_MS));
        }
    }

    #[test]
    fn polling_slows_down() {
        let pending = Intent::of_ann().refund_pending(100, NOW_MS).unwrap();
        let pause = |age_ms| pending.refund_poll_at(NOW_MS + age_ms) - NOW_MS - age_ms;
        assert_eq!([pause(0), pause(60_000), pause(86_400_000)], [5_000, 15_000, 3_600_000]);
        assert_eq!(pause(-60_000), 5_000, "clocks differ");
    }

    #[test]
    fn reasons_are_bounded_and_words_are_what_is_stored() {
        let failed = Intent::of_ann().refund_failed(100, "é".repeat(1_000), NOW_MS);
        assert_eq!(failed.refund.unwrap().reason.len(), REASON_BYTES_MAX);
        for state in [RefundState::Pending, RefundState::Failed, RefundState::Done] {
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
    }
}
