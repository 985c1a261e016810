//! The three-way check: compares the archive, Redis and the provider for every payment, booking by
//! booking. Read-only unless it is to repair; a repair is [`PaymentService::reconcile_now`], which is
//! safe at any time.
//!
//! Safe during a sale: payments in progress differ for a moment, so only differences that a later
//! query confirms are reported.

mod compare;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use tokio::time::sleep;

use super::PaymentService;
use crate::archive::ArchivedBooking;
use crate::domain::{BookingId, EventId, Intent, Outcome, Status};
use crate::payments::{Payment, PaymentState};
use crate::redis::GetBookingReply;
use crate::sale::{SaleError, unix_now_ms};
use compare::{Difference, problem};

pub use compare::DifferenceKind;

/// Intents and bookings per query.
const PAGE: u32 = 500;
/// Bookings compared at the same time: each queries Redis and the provider.
const AT_ONCE_MAX: usize = 8;
/// Pause between two queries of what differs.
const RECHECK_PAUSE: Duration = Duration::from_millis(500);
/// The maximum number of differences kept.
const DIFFERENCES_MAX: usize = 10_000;

/// The result of a check.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PaymentsReport {
    /// Whether there is no difference.
    pub clean: bool,
    /// Differences beyond the most that are listed: not clean, whatever became of the others.
    #[serde(skip)]
    pub left_out: u64,
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
    /// Of the refunded: refunds that were not sent by Holdfast.
    pub refunded_outside: i64,
    /// Of the refunded: refunds of bookings that stay sold.
    pub refunded_of_sold: i64,
    /// What was returned by another way than the provider.
    pub marked_paid: i64,
}

/// A booking about which the three disagree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PaymentDifference {
    /// The booking.
    pub booking: BookingId,
    /// The kind of difference.
    pub kind: DifferenceKind,
    /// The difference, and how to correct it if that takes a person.
    pub problem: String,
    /// What `--fix` does about it, or why it cannot end it.
    pub fix: &'static str,
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
        if report.left_out > 0 {
            let left_out = report.left_out;
            tracing::warn!(left_out, "differences beyond the first are not listed: check again");
        }
        report.clean = report.differences.is_empty() && report.left_out == 0;
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
                    Some(_) => report.left_out += 1,
                    None => report.count(&facts.1),
                }
            }
            progress(report.payments);
        }
        // Paid bookings without an intent do not appear above.
        let mut after = None;
        loop {
            let page = self.archive.bookings_of_event(event, after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.booking.id);
            let paid = page.iter().filter(|one| {
                let is_refundable = one.outcome.is_some() && !one.booking.payment.is_empty();
                one.booking.amount > 0 && (one.outcome == Some(Outcome::Sold) || is_refundable)
            });
            let ids: Vec<BookingId> = paid.map(|one| one.booking.id).collect();
            let intents = self.archive.intents_by_id(&ids).await?;
            let without = ids.into_iter().filter(|id| intents.iter().all(|i| i.booking != *id));
            let without: Vec<BookingId> = without.collect();
            let kept = without.len().min(DIFFERENCES_MAX.saturating_sub(differing.len()));
            report.left_out += (without.len() - kept) as u64;
            differing.extend(without.into_iter().take(kept));
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
                let of_intent = intent.as_ref().map(|intent| intent.payment.as_str());
                let of_booking = archived.as_ref().map(|one| one.booking.payment.as_str());
                let payment = match of_intent.or(of_booking).unwrap_or_default() {
                    "" => None,
                    payment => self.provider.get(payment).await?,
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
                        Some(Difference { kind, problem }) if is_last => {
                            let fix = kind.fix();
                            let difference = PaymentDifference { booking, kind, problem, fix };
                            report.differences.push(difference);
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
        let is_sold = facts.archived.as_ref().and_then(|one| one.outcome) == Some(Outcome::Sold);
        if is_sold {
            totals.sold += intent.amount;
        }
        totals.marked_paid += intent.marked_paid();
        if let Some(payment) = facts.payment.as_ref().filter(|one| one.state == PaymentState::Paid)
        {
            totals.charged += payment.amount;
            totals.refunded += payment.refunded;
            totals.refund_pending += payment.refund_pending;
            totals.refunded_outside += payment.refunded_outside;
            if is_sold {
                totals.refunded_of_sold += payment.refunded;
            }
        }
    }
}
