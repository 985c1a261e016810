//! Which states of the three differ, and what a repair does about it.
//!
//! Amounts are compared, not only states. With the intent's record of movements:
//!
//! * sold: charged − refunded at the provider = price − recorded refunds;
//! * cancelled or refused: refunded at the provider + marked as paid = price, both recorded.

use serde::Serialize;

use super::PaymentFacts;
use crate::domain::money::format_amount;
use crate::domain::refund::OVERDUE_MS as REFUND_OVERDUE_MS;
use crate::domain::{Intent, IntentState, Outcome, RefundProgress, RefundState, Status};
use crate::payments::{Payment, PaymentState};

/// How long after an intent is due a worker should have reconciled it, ms.
const OVERDUE_MS: i64 = 30_000;
const DAY_MS: i64 = 86_400_000;

/// The kind of a difference: stable, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DifferenceKind {
    /// Sold or to be refunded, and there is no intent.
    IntentMissing,
    /// Paid, and the archive has decided nothing.
    PaidUndecided,
    /// Sold, and the provider has no paid object.
    SoldUnpaid,
    /// To be refunded, and the provider does not know the payment.
    PaymentUnknown,
    /// Another amount was charged than was to be paid.
    ChargeDiffers,
    /// The provider shows refunds that are not recorded, or fewer than are.
    RefundUnrecorded,
    /// Money is to be returned and is not.
    RefundMissing,
    /// The same, and every automatic attempt failed.
    RefundFailed,
    /// A refund has been pending for longer than banks take.
    RefundOverdue,
    /// More was returned than was paid, by two ways.
    RefundedTwice,
    /// Redis shows another state than the archive.
    RedisDiffers,
    /// Its intent is not closed as the archive's outcome says.
    IntentOpen,
}

/// A difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Difference {
    pub kind: DifferenceKind,
    /// In words.
    pub problem: String,
}

impl DifferenceKind {
    /// What a repair does about it, or why it cannot end it.
    pub fn fix(self) -> &'static str {
        match self {
            DifferenceKind::IntentMissing => {
                "writes the intent again, if the provider shows the payment; else a person decides"
            }
            DifferenceKind::PaidUndecided => {
                "sells it, or decides to refund it; a worker archives the sale"
            }
            DifferenceKind::SoldUnpaid => {
                "nothing: whether the buyer pays or loses the seats is a person's decision"
            }
            DifferenceKind::PaymentUnknown => {
                "nothing: the provider has no such payment; return the money by another way, then \
                 `payments refund mark-paid`"
            }
            DifferenceKind::ChargeDiffers => {
                "nothing: a person refunds the difference at the provider, which is then recorded"
            }
            DifferenceKind::RefundUnrecorded => "records what the provider shows",
            DifferenceKind::RefundMissing => "sends the refund",
            DifferenceKind::RefundFailed => {
                "sends it once more; if that fails, return the money by another way, then `payments \
                 refund mark-paid`"
            }
            DifferenceKind::RefundOverdue => {
                "nothing: the bank has it; ask the provider, who can cancel it or say that it failed"
            }
            DifferenceKind::RefundedTwice => {
                "nothing: the money went back by two ways; only the buyer can return it"
            }
            DifferenceKind::RedisDiffers => "settles Redis by the archive",
            DifferenceKind::IntentOpen => "closes the intent",
        }
    }
}

fn found(kind: DifferenceKind, problem: impl Into<String>) -> Option<Difference> {
    Some(Difference { kind, problem: problem.into() })
}

/// The difference between the three, if any. A payment in progress that a worker handles is none.
pub(super) fn problem(facts: &PaymentFacts, now_ms: i64) -> Option<Difference> {
    let outcome = facts.archived.as_ref().and_then(|archived| archived.outcome);
    let Some(intent) = &facts.intent else {
        let problem = match outcome {
            Some(Outcome::Sold) => "sold, and nothing is known of a payment",
            _ => "to be given back, and nothing is known of a payment",
        };
        return found(DifferenceKind::IntentMissing, problem);
    };
    let paid = facts.payment.as_ref().filter(|payment| payment.state == PaymentState::Paid);
    let money = match (outcome, paid) {
        (Some(Outcome::Sold), Some(paid)) => sold(intent, paid),
        (Some(Outcome::Sold), None) => {
            found(DifferenceKind::SoldUnpaid, "sold, and not paid: ask the provider")
        }
        (Some(Outcome::Refund | Outcome::Cancelled), Some(paid)) => to_return(intent, paid, now_ms),
        (Some(_), None) => unknown_payment(intent, facts),
        (None, Some(paid)) => charge_differs(intent, paid).or_else(|| {
            found(DifferenceKind::PaidUndecided, "paid, and neither sold nor given back")
        }),
        (None, None) => None,
    };
    money
        .or_else(|| in_redis(outcome, facts.redis))
        .or_else(|| unclosed(intent, outcome, facts, now_ms))
}

fn charge_differs(intent: &Intent, paid: &Payment) -> Option<Difference> {
    if paid.amount == intent.amount {
        return None;
    }
    let (due, paid) = (shown(intent, intent.amount), shown(intent, paid.amount));
    let problem = format!("{due} was to be paid, {paid} is: ask the provider");
    found(DifferenceKind::ChargeDiffers, problem)
}

/// A sold booking: what is kept is its price, less what is recorded as refunded.
fn sold(intent: &Intent, paid: &Payment) -> Option<Difference> {
    let recorded = intent.refunded_at_provider();
    // Refunding what was charged too much mends it.
    if paid.amount - paid.refunded != intent.amount - recorded
        && let Some(differs) = charge_differs(intent, paid)
    {
        let is_mended = paid.amount - paid.refunded == intent.amount;
        return if is_mended { unrecorded(intent, paid) } else { Some(differs) };
    }
    unrecorded(intent, paid)
}

fn unrecorded(intent: &Intent, paid: &Payment) -> Option<Difference> {
    if !intent.differs_from(paid.seen_refunds()) {
        return None;
    }
    let (back, recorded) =
        (shown(intent, paid.refunded), shown(intent, intent.refunded_at_provider()));
    let outside = shown(intent, paid.refunded_outside);
    let problem = format!(
        "{back} given back by the provider, {outside} of it outside of Holdfast; {recorded} is recorded"
    );
    found(DifferenceKind::RefundUnrecorded, problem)
}

/// A cancelled or refused booking: all of it goes back.
fn to_return(intent: &Intent, paid: &Payment, now_ms: i64) -> Option<Difference> {
    let (marked, refunded) = (intent.marked_paid(), paid.refunded);
    // All that was charged went back, whatever it was.
    let is_returned = refunded >= paid.amount && marked == 0;
    if paid.amount != intent.amount && !is_returned {
        return charge_differs(intent, paid);
    }
    if marked > 0 && refunded + marked > intent.amount {
        let (back, marked) = (shown(intent, refunded), shown(intent, marked));
        let problem = format!("{back} given back by the provider and {marked} by another way");
        return found(DifferenceKind::RefundedTwice, problem);
    }
    if !is_returned && refunded + marked < intent.amount {
        return unreturned(intent, refunded + marked, paid.refund_pending, now_ms);
    }
    // A worker that has not seen it yet closes the intent.
    if intent.due_ms.is_some() { None } else { unrecorded(intent, paid) }
}

fn unknown_payment(intent: &Intent, facts: &PaymentFacts) -> Option<Difference> {
    let is_known = facts.payment.is_some() || intent.payment.is_empty();
    if is_known || intent.refunded_at_provider() + intent.marked_paid() >= intent.amount {
        return None;
    }
    let amount = shown(intent, intent.amount);
    let problem = format!("{amount} is to be given back: the provider has no such payment");
    found(DifferenceKind::PaymentUnknown, problem)
}

/// Money that is to be refunded and is not yet. `None` if it has been pending for no longer than
/// banks take.
fn unreturned(intent: &Intent, returned: i64, pending: i64, now_ms: i64) -> Option<Difference> {
    let (amount, refund) = (intent.amount, intent.refund.as_ref());
    let missing = amount - returned - pending;
    let shown = |minor| shown(intent, minor);
    if missing <= 0 {
        let since_ms = refund.map_or(now_ms, |refund| refund.since_ms);
        let days = (now_ms - since_ms) / DAY_MS;
        if now_ms - since_ms <= REFUND_OVERDUE_MS {
            return None;
        }
        let (pending, amount) = (shown(pending), shown(amount));
        let problem =
            format!("{pending} of {amount} is on its way back for {days} days: ask the provider");
        return found(DifferenceKind::RefundOverdue, problem);
    }
    let failed = refund.filter(|refund| refund.state == RefundState::Failed);
    let why = match failed {
        Some(refund) => {
            let RefundProgress { failures, reason, .. } = refund;
            let next = match refund.needs_person() {
                true => "--fix tries once more, or give it back at the provider",
                false => "it is tried again by itself",
            };
            format!(": its refund failed {failures} times ({reason}); {next}")
        }
        None => String::new(),
    };
    let kind = match failed.is_some_and(RefundProgress::needs_person) {
        true => DifferenceKind::RefundFailed,
        false => DifferenceKind::RefundMissing,
    };
    found(kind, format!("{} of {} is to be given back{why}", shown(missing), shown(amount)))
}

fn in_redis(outcome: Option<Outcome>, redis: Option<Status>) -> Option<Difference> {
    let (outcome, status) = (outcome?, redis?);
    if status == outcome.status() {
        return None;
    }
    let (is, should) = (status.as_str(), outcome.status().as_str());
    let problem = format!("{is} in Redis, {should} by the archive");
    found(DifferenceKind::RedisDiffers, problem)
}

fn unclosed(
    intent: &Intent,
    outcome: Option<Outcome>,
    facts: &PaymentFacts,
    now_ms: i64,
) -> Option<Difference> {
    // A worker will reconcile it, or has hardly had the time.
    if intent.due_ms.is_some_and(|due_ms| now_ms < due_ms + OVERDUE_MS) {
        return None;
    }
    let expected = match outcome {
        Some(Outcome::Sold) => IntentState::Sold,
        Some(Outcome::Refund | Outcome::Cancelled) => IntentState::Refunded,
        // It may still be paid.
        None if facts.redis.is_some_and(Status::is_live) => return None,
        None => IntentState::Cancelled,
    };
    if intent.state == expected && intent.due_ms.is_none() {
        return None;
    }
    let (is, should) = (intent.state.as_str(), expected.as_str());
    let problem = format!("its intent is {is} and to be closed as {should}");
    found(DifferenceKind::IntentOpen, problem)
}

fn shown(intent: &Intent, minor: i64) -> String {
    format_amount(minor, &intent.currency)
}
