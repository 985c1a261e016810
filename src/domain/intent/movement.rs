//! Money movements after the charge: what an intent records of refunds. Pure rules.
//!
//! A movement is recorded in the same compare-and-set as the step that learned of it, so of several
//! processes that see the same refund one records it. What is recorded is the difference between what the
//! provider shows and what was recorded before: seeing the same refund twice records nothing, and a
//! refund that the bank sends back becomes a movement in the other direction.
//!
//! The charge is no movement: an intent is charged once, its whole amount, or not at all.

use serde::{Deserialize, Serialize};

use super::Intent;

/// Movements of one booking that are kept apart; further ones are added to the last of their kind.
pub const MOVEMENTS_MAX: usize = 100;
/// How often a refund from outside that may still fail is looked at, ms; a webhook is faster.
pub const OUTSIDE_POLL_MS: i64 = 900_000;
/// Bytes of a reference, and of an actor's name.
pub const REFERENCE_BYTES_MAX: usize = 200;

/// What moved the money.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MovementKind {
    /// A refund that Holdfast sent.
    Refund,
    /// A refund that was made outside, as in the provider's dashboard.
    RefundOutside,
    /// Money that was returned by another way than the provider, as by bank transfer.
    MarkedPaid,
    /// Of another version; kept as it is.
    #[serde(untagged)]
    Other(String),
}

impl MovementKind {
    /// The name in the archive and in exports.
    pub fn as_str(&self) -> &str {
        match self {
            MovementKind::Refund => "refund",
            MovementKind::RefundOutside => "refund_outside",
            MovementKind::MarkedPaid => "marked_paid",
            MovementKind::Other(name) => name,
        }
    }

    /// Whether the provider's books have it.
    pub fn is_at_provider(&self) -> bool {
        matches!(self, MovementKind::Refund | MovementKind::RefundOutside)
    }
}

/// One movement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Movement {
    /// What moved the money.
    pub kind: MovementKind,
    /// The amount, minor units: negative to the buyer, positive where it came back.
    pub amount: i64,
    /// When it was recorded, Unix ms; 0 if a version recorded it that kept no time.
    pub at_ms: i64,
    /// A person's reference, as of a bank transfer; empty for the provider's.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reference: String,
    /// Who recorded it by hand; empty where nobody did.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
}

/// The refunds of a payment as its provider shows them, minor units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SeenRefunds {
    /// Refunds that succeeded.
    pub refunded: i64,
    /// Of these: refunds that were not sent by Holdfast.
    pub outside: i64,
    /// Refunds that may still fail.
    pub pending: i64,
}

impl Intent {
    /// What is recorded as refunded by the provider, minor units.
    pub fn refunded_at_provider(&self) -> i64 {
        match self.movements.is_empty() {
            // Of a version that kept only the sum.
            true => self.refunded,
            false => -self.sum(MovementKind::is_at_provider),
        }
    }

    /// What is recorded as refunded by others, minor units.
    pub fn refunded_outside(&self) -> i64 {
        -self.sum(|kind| *kind == MovementKind::RefundOutside)
    }

    /// What was returned by another way than the provider, minor units.
    pub fn marked_paid(&self) -> i64 {
        -self.sum(|kind| *kind == MovementKind::MarkedPaid)
    }

    /// Whether the recorded refunds of this payment differ from what the provider shows.
    pub fn differs_from(&self, seen: SeenRefunds) -> bool {
        seen.refunded != self.refunded_at_provider()
            || seen.outside != self.refunded_outside() && !self.movements.is_empty()
    }

    /// This intent with what the provider shows. Not a change by itself: it is written by the step that
    /// follows, which raises `rev`.
    pub fn with_seen(&self, seen: SeenRefunds, now_ms: i64) -> Self {
        let mut next = Intent { outside_pending: 0, ..self.clone() };
        if self.movements.is_empty() && seen.refunded == self.refunded {
            return next;
        }
        if self.movements.is_empty() && self.refunded != 0 {
            next.push(MovementKind::Refund, -self.refunded, 0);
        }
        let ours = -next.sum(|kind| *kind == MovementKind::Refund);
        let outside = next.refunded_outside();
        next.push(MovementKind::Refund, ours - (seen.refunded - seen.outside), now_ms);
        next.push(MovementKind::RefundOutside, outside - seen.outside, now_ms);
        next.refunded = seen.refunded;
        next
    }

    /// Closes the intent of a sold booking with what the provider shows; `None` if all of that is
    /// recorded. While a refund from outside may still fail, the intent stays due.
    pub fn sold_with(&self, seen: SeenRefunds, now_ms: i64) -> Option<Self> {
        let closed = self.closed_with(super::IntentState::Sold, seen, now_ms);
        let due_ms = (seen.pending > 0).then_some(now_ms + OUTSIDE_POLL_MS);
        let next = Intent { outside_pending: seen.pending, due_ms, ..closed };
        let is_known = self.state == next.state
            && self.outside_pending == next.outside_pending
            && self.due_ms.is_some() == due_ms.is_some()
            && !self.differs_from(seen);
        (!is_known).then_some(next)
    }

    /// [`Intent::closed`] with what the provider shows.
    pub fn closed_with(&self, state: super::IntentState, seen: SeenRefunds, now_ms: i64) -> Self {
        self.with_seen(seen, now_ms).closed(state, seen.refunded)
    }

    /// Records that this amount was returned by another way than the provider. No refund is sent for it
    /// any more.
    pub fn mark_paid(&self, amount: i64, reference: &str, by: &str, now_ms: i64) -> Self {
        let mut next = self.changed();
        if next.movements.is_empty() && next.refunded != 0 {
            // Of a version that kept only the sum: as a movement it counts beside the new one.
            next.push(MovementKind::Refund, -next.refunded, 0);
        }
        let bounded = |text: &str| text[..text.floor_char_boundary(REFERENCE_BYTES_MAX)].to_owned();
        next.movements.push(Movement {
            kind: MovementKind::MarkedPaid,
            amount: -amount,
            at_ms: now_ms,
            reference: bounded(reference),
            by: bounded(by),
        });
        next.refund = next.refund_done();
        next.due_ms = Some(now_ms);
        next
    }

    fn sum(&self, counts: impl Fn(&MovementKind) -> bool) -> i64 {
        let these = self.movements.iter().filter(|one| counts(&one.kind));
        these.map(|one| one.amount).sum()
    }

    fn push(&mut self, kind: MovementKind, amount: i64, at_ms: i64) {
        if amount == 0 {
            return;
        }
        let is_full = self.movements.len() >= MOVEMENTS_MAX;
        match self.movements.iter_mut().rev().find(|one| is_full && one.kind == kind) {
            Some(last) => (last.amount, last.at_ms) = (last.amount + amount, at_ms),
            None => self.movements.push(Movement {
                kind,
                amount,
                at_ms,
                reference: String::new(),
                by: String::new(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::IntentState;

    fn seen(refunded: i64, outside: i64) -> SeenRefunds {
        SeenRefunds { refunded, outside, pending: 0 }
    }

    fn amounts(intent: &Intent) -> Vec<(&str, i64, i64)> {
        let movements = intent.movements.iter();
        movements.map(|one| (one.kind.as_str(), one.amount, one.at_ms)).collect()
    }

    #[test]
    fn only_what_is_new_is_recorded() {
        let sold = Intent::of_ann().closed(IntentState::Sold, 0);
        assert_eq!(sold.sold_with(seen(0, 0), 5), None);
        let part = sold.sold_with(seen(30, 30), 5).unwrap();
        assert_eq!((part.rev, part.refunded), (sold.rev + 1, 30));
        assert_eq!(part.sold_with(seen(30, 30), 6), None, "it is recorded");
        let more = part.sold_with(seen(50, 50), 6).unwrap();
        let came_back = more.sold_with(seen(20, 20), 7).unwrap();
        let cancelled = came_back.closed_with(IntentState::Refunded, seen(100, 20), 8);
        let expected = [
            ("refund_outside", -30, 5),
            ("refund_outside", -20, 6),
            ("refund_outside", 30, 7),
            ("refund", -80, 8),
        ];
        assert_eq!(amounts(&cancelled), expected);
        assert_eq!((cancelled.refunded_at_provider(), cancelled.refunded_outside()), (100, 20));
        assert_eq!((cancelled.refunded, cancelled.due_ms), (100, None));
    }

    #[test]
    fn sum_of_an_older_version_becomes_a_movement_when_it_changes() {
        let old = Intent { refunded: 100, state: IntentState::Refunded, ..Intent::of_ann() };
        assert_eq!(old.refunded_at_provider(), 100);
        assert!(!old.differs_from(seen(100, 100)), "who made it is not known");
        let came_back = old.with_seen(seen(0, 0), 5);
        assert_eq!(amounts(&came_back), [("refund", -100, 0), ("refund", 100, 5)]);
    }

    #[test]
    fn pending_refund_of_a_sale_is_watched_until_it_ends() {
        let sold = Intent::of_ann().closed(IntentState::Sold, 0);
        let pending = sold.sold_with(SeenRefunds { pending: 40, ..seen(0, 0) }, 5).unwrap();
        assert_eq!((pending.outside_pending, pending.movements.len()), (40, 0));
        assert_eq!(pending.due_ms, Some(5 + OUTSIDE_POLL_MS));
        let failed = pending.sold_with(seen(0, 0), 6).unwrap();
        assert_eq!((failed.outside_pending, failed.movements.len()), (0, 0));
        assert_eq!(failed.due_ms, None);
    }

    #[test]
    fn marked_amount_is_not_the_providers() {
        let failed = Intent::of_ann().refund_failed(100, "closed account".into(), 5);
        let marked = failed.mark_paid(100, &"é".repeat(300), "ctl:ann@host", 6);
        assert_eq!((marked.marked_paid(), marked.refunded_at_provider()), (100, 0));
        assert_eq!((marked.rev, marked.due_ms), (failed.rev + 1, Some(6)));
        assert_eq!(marked.movements[0].reference.len(), REFERENCE_BYTES_MAX);
        assert!(!marked.refund.unwrap().needs_person(), "it is solved");
    }

    #[test]
    fn number_of_movements_is_bounded_and_sums_stay_right() {
        let mut intent = Intent::of_ann().closed(IntentState::Sold, 0);
        for step in 1..=300 {
            intent = intent.sold_with(seen(step % 7, step % 7), step).unwrap_or(intent.clone());
        }
        assert!(intent.movements.len() <= MOVEMENTS_MAX + 1, "{}", intent.movements.len());
        assert_eq!(intent.refunded_at_provider(), 300 % 7);
    }

    #[test]
    fn kinds_of_other_versions_are_kept() {
        for kind in ["refund", "refund_outside", "marked_paid", "fee"] {
            let read: MovementKind = serde_json::from_value(kind.into()).unwrap();
            assert_eq!((read.as_str(), serde_json::to_value(&read).unwrap()), (kind, kind.into()));
        }
        let fee: MovementKind = serde_json::from_value("fee".into()).unwrap();
        assert_eq!((fee.clone(), fee.is_at_provider()), (MovementKind::Other("fee".into()), false));
    }
}
