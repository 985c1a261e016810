//! The three-way check: compares the archive, Redis and the provider for every payment, booking by
//! booking. Read-only unless it is to repair; a repair is [`PaymentService::reconcile_now`], which is
//! safe at any time.
//!
//! Safe during a sale: payments in progress differ for a moment, so only differences that a later
//! query confirms are reported.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use tokio::time::sleep;

use super::PaymentService;
use crate::archive::ArchivedBooking;
use crate::domain::money::format_amount;
use crate::domain::refund::OVERDUE_MS as REFUND_OVERDUE_MS;
use crate::domain::{
    BookingId, EventId, Intent, IntentState, Outcome, RefundProgress, RefundState, Status,
};
use crate::payments::{Payment, PaymentState};
use crate::redis::GetBookingReply;
use crate::sale::{SaleError, unix_now_ms};

/// Intents and bookings per query.
const PAGE: u32 = 500;
/// Bookings compared at the same time: each queries Redis and the provider.
const AT_ONCE_MAX: usize = 8;
/// Pause between two queries of what differs.
const RECHECK_PAUSE: Duration = Duration::from_millis(500);
/// How long after an intent is due a worker should have reconciled it, ms.
const OVERDUE_MS: i64 = 30_000;
const DAY_MS: i64 = 86_400_000;
/// The maximum number of differences kept.
const DIFFERENCES_MAX: usize = 10_000;

/// The result of a check.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PaymentsReport {
    /// Whether there is no difference.
    pub clean: bool,
    /// Bookings with an intent.
    pub payments: u64,
    /// Money by currency.
    pub totals: BTreeMap<String, MoneyTotals>,
    /// What was reconciled to repair it.
    pub mended: Vec<MendedPayment>,
    /// The remaining differences.
    pub differences: Vec<PaymentDifference>,
}

/// Money in one currency, minor units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MoneyTotals {
    /// The price of the archive's sold bookings.
    pub sold: i64,
    /// What the provider has charged.
    pub charged: i64,
    /// What the provider has refunded.
    pub refunded: i64,
    /// Refunds that are pending.
    pub refund_pending: i64,
}

/// A booking about which the three disagree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PaymentDifference {
    /// The booking.
    pub booking: BookingId,
    /// The difference, and how to correct it if that takes a person.
    pub problem: String,
}

/// A booking that was reconciled to repair it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MendedPayment {
    /// The booking.
    pub booking: BookingId,
    /// The result.
    pub result: &'static str,
}

/// Options of a check.
#[derive(Clone, Copy, Debug)]
pub struct CheckOptions {
    /// Only this event.
    pub only: Option<EventId>,
    /// Whether to repair differences.
    pub mend: bool,
    /// How long differences have to resolve by themselves.
    pub wait: Duration,
}

/// The state of one booking in the three places.
struct PaymentFacts {
    intent: Option<Intent>,
    archived: Option<ArchivedBooking>,
    payment: Option<Payment>,
    /// Its status in Redis; `None` if absent.
    redis: Option<Status>,
}

impl PaymentService {
    /// Compares the three; `progress` receives the number of payments compared so far.
    ///
    /// # Errors
    /// If one of the three does not answer.
    pub async fn check(
        &self,
        options: CheckOptions,
        progress: impl Fn(u64),
    ) -> Result<PaymentsReport, SaleError> {
        let mut report = PaymentsReport::default();
        let mut differing: Vec<BookingId> = Vec::new();
        for event in self.events(options.only).await? {
            self.check_event(event, &mut report, &mut differing, &progress).await?;
        }
        if options.mend {
            for id in &differing {
                let result = match self.reconcile_now(*id).await {
                    Ok(reconciled) => reconciled.as_str(),
                    Err(error) => {
                        tracing::warn!(booking_id = %id, %error, "a payment is not repaired");
                        "error"
                    }
                };
                report.mended.push(MendedPayment { booking: *id, result });
            }
        }
        self.report_persistent(differing, options.wait, &mut report).await?;
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

    async fn check_event(
        &self,
        event: EventId,
        report: &mut PaymentsReport,
        differing: &mut Vec<BookingId>,
        progress: &impl Fn(u64),
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
                // A difference is counted by its final state.
                match problem(&facts.1, now_ms) {
                    Some(_) if differing.len() < DIFFERENCES_MAX => differing.push(facts.0),
                    _ => report.count(&facts.1),
                }
            }
            progress(report.payments);
        }
        // Sold bookings without an intent do not appear above.
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

    async fn facts_of(
        &self,
        ids: Vec<BookingId>,
    ) -> Result<Vec<(BookingId, PaymentFacts)>, SaleError> {
        let intents = self.archive.intents_by_id(&ids).await?;
        let archived = self.archive.bookings_by_id(&ids).await?;
        let mut intents: HashMap<BookingId, Intent> =
            intents.into_iter().map(|intent| (intent.booking, intent)).collect();
        let mut archived: HashMap<BookingId, ArchivedBooking> =
            archived.into_iter().map(|one| (one.booking.id, one)).collect();
        let queries = ids.into_iter().map(|id| {
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
                Ok::<_, SaleError>((id, PaymentFacts { intent, archived, payment, redis }))
            }
        });
        stream::iter(queries).buffered(AT_ONCE_MAX).try_collect().await
    }

    /// Reports the differences that remain when the time is over.
    async fn report_persistent(
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
                            report.differences.push(PaymentDifference { booking, problem });
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
            sleep(RECHECK_PAUSE).await;
        }
    }
}

impl PaymentsReport {
    fn count(&mut self, facts: &PaymentFacts) {
        let Some(intent) = &facts.intent else { return };
        let totals = self.totals.entry(intent.currency.clone()).or_default();
        if facts.archived.as_ref().and_then(|one| one.outcome) == Some(Outcome::Sold) {
            totals.sold += intent.amount;
        }
        if let Some(payment) = facts.payment.as_ref().filter(|one| one.state == PaymentState::Paid)
        {
            totals.charged += payment.amount;
            totals.refunded += payment.refunded;
            totals.refund_pending += payment.refund_pending;
        }
    }
}

/// The difference between the three, if any. A payment in progress that a worker handles is none.
fn problem(facts: &PaymentFacts, now_ms: i64) -> Option<String> {
    let outcome = facts.archived.as_ref().and_then(|archived| archived.outcome);
    let Some(intent) = &facts.intent else {
        return Some("sold, and nothing is known of a payment".to_owned());
    };
    let paid = facts.payment.as_ref().filter(|payment| payment.state == PaymentState::Paid);
    let (amount, shown) = (intent.amount, |minor| format_amount(minor, &intent.currency));
    if let Some(paid) = paid.filter(|paid| paid.amount != amount) {
        let (due, paid) = (shown(amount), shown(paid.amount));
        return Some(format!("{due} was to be paid, {paid} is: ask the provider"));
    }
    let (refunded, pending) = paid.map_or((0, 0), |paid| (paid.refunded, paid.refund_pending));
    let money = match (outcome, paid) {
        (Some(Outcome::Sold), None) => Some("sold, and not paid: ask the provider".to_owned()),
        (Some(Outcome::Sold), Some(_)) if refunded + pending > 0 => {
            Some(format!("sold, and {} given back: ask the provider", shown(refunded + pending)))
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

/// Money that is to be refunded and is not yet. `None` if it has been pending for no longer than
/// banks take.
fn unreturned(intent: &Intent, refunded: i64, pending: i64, now_ms: i64) -> Option<String> {
    let (amount, refund) = (intent.amount, intent.refund.as_ref());
    let (missing, shown) =
        (amount - refunded - pending, |minor| format_amount(minor, &intent.currency));
    if missing <= 0 {
        let since_ms = refund.map_or(now_ms, |refund| refund.since_ms);
        let days = (now_ms - since_ms) / DAY_MS;
        return (now_ms - since_ms > REFUND_OVERDUE_MS).then(|| {
            let (pending, amount) = (shown(pending), shown(amount));
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
    Some(format!("{} of {} is to be given back{why}", shown(missing), shown(amount)))
}

fn in_redis(outcome: Option<Outcome>, redis: Option<Status>) -> Option<String> {
    let (outcome, status) = (outcome?, redis?);
    let (is, should) = (status.as_str(), outcome.status().as_str());
    (status != outcome.status()).then(|| format!("{is} in Redis, {should} by the archive"))
}

fn unclosed(
    intent: &Intent,
    outcome: Option<Outcome>,
    facts: &PaymentFacts,
    now_ms: i64,
) -> Option<String> {
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
    let is_closed = intent.state == expected && intent.due_ms.is_none();
    (!is_closed).then(|| {
        let (is, should) = (intent.state.as_str(), expected.as_str());
        format!("its intent is {is} and to be closed as {should}")
    })
}
