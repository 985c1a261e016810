//! The three-way check: what Redis, the archive and the provider say of every payment, held against
//! each other, booking by booking. Reads only, unless it is told to mend; and mending is no more than
//! [`PaymentService::reconcile_now`], which anybody may run at any time.
//!
//! May run during a sale: what is on its way differs for a moment, so only what a later look finds
//! again is told.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use tokio::time::sleep;

use super::PaymentService;
use crate::archive::ArchivedBooking;
use crate::domain::refund::OVERDUE_MS as REFUND_OVERDUE_MS;
use crate::domain::{
    BookingId, EventId, Intent, IntentState, Outcome, RefundProgress, RefundState, Status,
};
use crate::payments::{Payment, State};
use crate::redis::GetBookingReply;
use crate::sale::{SaleError, unix_now_ms};

/// Intents and bookings read at once.
const PAGE: u32 = 500;
/// Bookings looked at at the same time: each asks Redis and the provider.
const AT_ONCE_MAX: usize = 8;
/// Pause between two looks at what differs.
const LOOK_PAUSE: Duration = Duration::from_millis(500);
/// How long after an intent is due a worker should have looked at it, ms.
const OVERDUE_MS: i64 = 30_000;
const DAY_MS: i64 = 86_400_000;
/// Differences kept; there may be more.
const DIFFERENCES_MAX: usize = 10_000;

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PaymentsReport {
    /// Whether there is no difference.
    pub clean: bool,
    /// Bookings with an intent.
    pub payments: u64,
    /// Money by currency.
    pub totals: BTreeMap<String, MoneyTotals>,
    /// What was mended.
    pub mended: Vec<Mended>,
    /// What differs.
    pub differences: Vec<Difference>,
}

/// Money in one currency, minor units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MoneyTotals {
    /// What the archive's sold bookings cost.
    pub sold: i64,
    /// What the provider has taken.
    pub charged: i64,
    /// What the provider has given back.
    pub refunded: i64,
    /// What is on its way back.
    pub refund_pending: i64,
}

/// A booking about which the three do not agree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Which booking.
    pub booking: BookingId,
    /// What differs, and how it can be mended where that takes a person.
    pub problem: String,
}

/// A booking that was mended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mended {
    /// Which booking.
    pub booking: BookingId,
    /// What became of it.
    pub result: &'static str,
}

/// How to check.
#[derive(Clone, Copy, Debug)]
pub struct CheckOptions {
    /// This event alone.
    pub only: Option<EventId>,
    /// Whether to mend what differs.
    pub mend: bool,
    /// How long what differs has to become right by itself.
    pub wait: Duration,
}

/// What the three say of one booking.
struct Facts {
    intent: Option<Intent>,
    archived: Option<ArchivedBooking>,
    payment: Option<Payment>,
    /// In Redis; `None` if it is not there.
    redis: Option<Status>,
}

impl PaymentService {
    /// Holds the three against each other; `told` is called with how many payments were looked at.
    ///
    /// # Errors
    /// If one of the three does not answer.
    pub async fn check(
        &self,
        options: CheckOptions,
        told: impl Fn(u64),
    ) -> Result<PaymentsReport, SaleError> {
        let mut report = PaymentsReport::default();
        let mut differing: Vec<BookingId> = Vec::new();
        for event in self.events(options.only).await? {
            self.look_at_event(event, &mut report, &mut differing, &told).await?;
        }
        if options.mend {
            for id in &differing {
                let result = match self.reconcile_now(*id).await {
                    Ok(reconciled) => reconciled.as_str(),
                    Err(error) => {
                        tracing::warn!(booking_id = %id, %error, "a payment is not mended");
                        "error"
                    }
                };
                report.mended.push(Mended { booking: *id, result });
            }
        }
        self.see_what_stays(differing, options.wait, &mut report).await?;
        report.clean = report.differences.is_empty();
        Ok(report)
    }

    async fn events(&self, only: Option<EventId>) -> Result<Vec<EventId>, SaleError> {
        if let Some(event) = only {
            let head = self.archive.event_head(event).await?;
            return head.map(|head| vec![head.id]).ok_or(SaleError::EventUnknown(event));
        }
        let mut events = Vec::new();
        loop {
            let after = events.last().copied().unwrap_or(EventId(0));
            let heads = self.archive.event_heads(after, PAGE).await?;
            if heads.is_empty() {
                return Ok(events);
            }
            events.extend(heads.iter().map(|head| head.id));
        }
    }

    async fn look_at_event(
        &self,
        event: EventId,
        report: &mut PaymentsReport,
        differing: &mut Vec<BookingId>,
        told: &impl Fn(u64),
    ) -> Result<(), SaleError> {
        let mut after = None;
        loop {
            let intents = self.archive.intents_of_event(event, after, PAGE).await?;
            let Some(last) = intents.last() else { break };
            after = Some(last.booking);
            let ids: Vec<BookingId> = intents.iter().map(|intent| intent.booking).collect();
            let now_ms = unix_now_ms();
            for facts in self.facts_of(ids).await? {
                report.payments += 1;
                // What differs is counted as it is in the end.
                match problem(&facts.1, now_ms) {
                    Some(_) if differing.len() < DIFFERENCES_MAX => differing.push(facts.0),
                    _ => report.count(&facts.1),
                }
            }
            told(report.payments);
        }
        // What was sold without an intent has no trace above.
        let mut after = None;
        loop {
            let page = self.archive.bookings_of_event(event, after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.booking.id);
            let sold = page
                .iter()
                .filter(|one| one.outcome == Some(Outcome::Sold) && one.booking.amount > 0);
            let ids: Vec<BookingId> = sold.map(|one| one.booking.id).collect();
            let intents = self.archive.intents_by_id(&ids).await?;
            let without = ids.into_iter().filter(|id| intents.iter().all(|i| i.booking != *id));
            differing.extend(without.take(DIFFERENCES_MAX.saturating_sub(differing.len())));
        }
    }

    async fn facts_of(&self, ids: Vec<BookingId>) -> Result<Vec<(BookingId, Facts)>, SaleError> {
        let intents = self.archive.intents_by_id(&ids).await?;
        let archived = self.archive.bookings_by_id(&ids).await?;
        let mut intents: HashMap<BookingId, Intent> =
            intents.into_iter().map(|intent| (intent.booking, intent)).collect();
        let mut archived: HashMap<BookingId, ArchivedBooking> =
            archived.into_iter().map(|one| (one.booking.id, one)).collect();
        let looks = ids.into_iter().map(|id| {
            let (intent, archived) = (intents.remove(&id), archived.remove(&id));
            async move {
                let payment = match &intent {
                    Some(intent) if !intent.payment.is_empty() => {
                        self.provider.get(&intent.payment).await?
                    }
                    _ => None,
                };
                let redis = match self.engine.get_booking(id).await?.reply {
                    GetBookingReply::Found { booking } => Some(booking.status),
                    GetBookingReply::BookingUnknown | GetBookingReply::EventNotLoaded => None,
                };
                Ok::<_, SaleError>((id, Facts { intent, archived, payment, redis }))
            }
        });
        stream::iter(looks).buffered(AT_ONCE_MAX).try_collect().await
    }

    /// Reports those of these that still differ when the time is over.
    async fn see_what_stays(
        &self,
        mut differing: Vec<BookingId>,
        wait: Duration,
        report: &mut PaymentsReport,
    ) -> Result<(), SaleError> {
        let began = Instant::now();
        loop {
            let is_last = began.elapsed() >= wait;
            let mut left = Vec::new();
            for ids in differing.chunks(PAGE as usize) {
                for (booking, facts) in self.facts_of(ids.to_vec()).await? {
                    let problem = problem(&facts, unix_now_ms());
                    if problem.is_none() || is_last {
                        report.count(&facts);
                    }
                    match problem {
                        Some(problem) if is_last => {
                            report.differences.push(Difference { booking, problem });
                        }
                        Some(_) => left.push(booking),
                        None => {}
                    }
                }
            }
            if left.is_empty() {
                return Ok(());
            }
            differing = left;
            sleep(LOOK_PAUSE).await;
        }
    }
}

impl PaymentsReport {
    fn count(&mut self, facts: &Facts) {
        let Some(intent) = &facts.intent else { return };
        let totals = self.totals.entry(intent.currency.clone()).or_default();
        if facts.archived.as_ref().and_then(|one| one.outcome) == Some(Outcome::Sold) {
            totals.sold += intent.amount;
        }
        if let Some(payment) = facts.payment.as_ref().filter(|one| one.state == State::Paid) {
            totals.charged += payment.amount;
            totals.refunded += payment.refunded;
            totals.refund_pending += payment.refund_pending;
        }
    }
}

/// What the three do not agree about. Nothing, where a payment is still on its way and looked after.
fn problem(facts: &Facts, now_ms: i64) -> Option<String> {
    let outcome = facts.archived.as_ref().and_then(|archived| archived.outcome);
    let Some(intent) = &facts.intent else {
        return Some("sold, and nothing is known of a payment".to_owned());
    };
    let paid = facts.payment.as_ref().filter(|payment| payment.state == State::Paid);
    let amount = intent.amount;
    if let Some(paid) = paid.filter(|paid| paid.amount != amount) {
        return Some(format!("{amount} was to be paid, {} is: ask the provider", paid.amount));
    }
    let (refunded, pending) = paid.map_or((0, 0), |paid| (paid.refunded, paid.refund_pending));
    let money = match (outcome, paid) {
        (Some(Outcome::Sold), None) => Some("sold, and not paid: ask the provider".to_owned()),
        (Some(Outcome::Sold), Some(_)) if refunded + pending > 0 => {
            Some(format!("sold, and {} given back: ask the provider", refunded + pending))
        }
        (Some(Outcome::Refund | Outcome::Cancelled), Some(_)) if refunded < amount => {
            unreturned(intent, refunded, pending, now_ms)
        }
        (None, Some(_)) => Some("paid, and neither sold nor given back".to_owned()),
        _ => None,
    };
    money
        .or_else(|| in_redis(outcome, facts.redis))
        .or_else(|| unclosed(intent, outcome, facts, now_ms))
}

/// Money that is to be given back and is not yet. Nothing, where it is on its way for no longer than
/// banks take.
fn unreturned(intent: &Intent, refunded: i64, pending: i64, now_ms: i64) -> Option<String> {
    let (amount, refund) = (intent.amount, intent.refund.as_ref());
    let missing = amount - refunded - pending;
    if missing <= 0 {
        let since_ms = refund.map_or(now_ms, |refund| refund.since_ms);
        let days = (now_ms - since_ms) / DAY_MS;
        return (now_ms - since_ms > REFUND_OVERDUE_MS).then(|| {
            format!("{pending} of {amount} is on its way back for {days} days: ask the provider")
        });
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
    Some(format!("{missing} of {amount} is to be given back{why}"))
}

fn in_redis(outcome: Option<Outcome>, redis: Option<Status>) -> Option<String> {
    let (outcome, status) = (outcome?, redis?);
    let (is, should) = (status.as_str(), outcome.status().as_str());
    (status != outcome.status()).then(|| format!("{is} in Redis, {should} by the archive"))
}

fn unclosed(
    intent: &Intent,
    outcome: Option<Outcome>,
    facts: &Facts,
    now_ms: i64,
) -> Option<String> {
    // A worker will look at it, or has hardly had the time.
    if intent.due_ms.is_some_and(|due_ms| now_ms < due_ms + OVERDUE_MS) {
        return None;
    }
    let expected = match outcome {
        Some(Outcome::Sold) => IntentState::Sold,
        Some(Outcome::Refund | Outcome::Cancelled) => IntentState::Refunded,
        // Still to be paid, perhaps.
        None if facts.redis.is_some_and(Status::is_live) => return None,
        None => IntentState::Cancelled,
    };
    let is_closed = intent.state == expected && intent.due_ms.is_none();
    (!is_closed).then(|| {
        let (is, should) = (intent.state.as_str(), expected.as_str());
        format!("its intent is {is} and to be closed as {should}")
    })
}
