//! Payment intents: written before a charge, changed by compare-and-set on `rev`, so that one of several
//! writers wins. `domain::intent` decides which changes are valid.

use mongodb::bson::{Document, doc};
use mongodb::options::FindOptions;
use serde::Deserialize;

use super::Archive;
use super::documents::{INTENTS, parse_booking, seat_numbers, signed};
use super::error::ArchiveError;
use super::gateway::{DUPLICATE_KEY, Verb};
use crate::domain::refund::{ATTEMPTS_MAX, OVERDUE_MS};
use crate::domain::{
    BookingId, EventId, Intent, IntentState, Movement, RefundCounts, RefundProgress, RefundState,
    SeatId, UserId,
};
use crate::telemetry::TraceContext;

/// Which intents to list.
#[derive(Clone, Copy, Debug, Default)]
pub struct IntentFilter {
    /// Only this event.
    pub event: Option<EventId>,
    /// Only those in this state.
    pub state: Option<IntentState>,
    /// Only those whose refund is in this state.
    pub refund: Option<RefundState>,
    /// Only those with recorded movements of money after the charge.
    pub moved: bool,
}

/// An intent as it is read.
#[derive(Deserialize)]
struct IntentDocument {
    #[serde(rename = "_id")]
    id: String,
    user: UserId,
    seats: Vec<SeatId>,
    amount: i64,
    currency: String,
    created_ms: i64,
    deadline_ms: i64,
    idempotency: String,
    fingerprint: String,
    trace: String,
    /// Written by [`Archive::intent_due`] alone; absent where no request caused a refund.
    #[serde(default)]
    refund_trace: String,
    payment: String,
    attempt: u32,
    lease: u64,
    nonce: String,
    state: IntentState,
    due_ms: Option<i64>,
    refunded: i64,
    /// Absent in documents of older versions.
    #[serde(default)]
    refund: Option<RefundProgress>,
    #[serde(default)]
    movements: Vec<Movement>,
    #[serde(default)]
    outside_pending: i64,
    rev: u64,
}

impl TryFrom<IntentDocument> for Intent {
    type Error = ArchiveError;
    fn try_from(document: IntentDocument) -> Result<Self, ArchiveError> {
        Ok(Intent {
            booking: parse_booking(&document.id)?,
            user: document.user,
            seats: document.seats,
            amount: document.amount,
            currency: document.currency,
            created_ms: document.created_ms,
            deadline_ms: document.deadline_ms,
            idempotency: document.idempotency,
            fingerprint: document.fingerprint,
            trace: document.trace,
            refund_trace: document.refund_trace,
            payment: document.payment,
            attempt: document.attempt,
            lease: document.lease,
            nonce: document.nonce,
            state: document.state,
            due_ms: document.due_ms,
            refunded: document.refunded,
            refund: document.refund,
            movements: document.movements,
            outside_pending: document.outside_pending,
            rev: document.rev,
        })
    }
}

impl Archive {
    /// Inserts a booking's first intent; returns false if it has one.
    pub async fn insert_intent(&self, intent: &Intent) -> Result<bool, ArchiveError> {
        let mut document = fields(intent).map_err(ArchiveError::Corrupt)?;
        document.insert("_id", intent.booking.to_string());
        document.extend(intent.due_ms.map(|due_ms| ("due_ms".to_owned(), due_ms.into())));
        match self.intent_inserts.write(&self.gateway, document).await? {
            Some(error) if error.code == DUPLICATE_KEY => Ok(false),
            Some(error) => Err(ArchiveError::Unavailable(error.message)),
            None => Ok(true),
        }
    }

    /// Replaces an intent's previous state by the next; returns false if another writer won.
    pub async fn change_intent(&self, next: &Intent) -> Result<bool, ArchiveError> {
        Ok(self.change_intents(std::slice::from_ref(next)).await? == 1)
    }

    /// [`Archive::change_intent`] for several intents independently; returns how many were changed.
    pub async fn change_intents(&self, nexts: &[Intent]) -> Result<u64, ArchiveError> {
        let operations: Result<Vec<Document>, String> =
            nexts.iter().map(change_operation).collect();
        let operations = operations.map_err(ArchiveError::Corrupt)?;
        let written = self.gateway.write_plain(Verb::Update, INTENTS, operations).await?;
        Ok(written.touched.unsigned_abs())
    }

    /// Reads a booking's intent.
    pub async fn intent(&self, booking: BookingId) -> Result<Option<Intent>, ArchiveError> {
        let found: Option<IntentDocument> =
            self.gateway.find_by_id(INTENTS, booking.to_string()).await?;
        found.map(Intent::try_from).transpose()
    }

    /// Reads the existing intents of these bookings, in no order.
    pub async fn intents_by_id(&self, ids: &[BookingId]) -> Result<Vec<Intent>, ArchiveError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<String> = ids.iter().map(BookingId::to_string).collect();
        self.intents_where(doc! { "_id": { "$in": ids } }, FindOptions::default()).await
    }

    /// Makes a booking's intent due for the reconciler from `now_ms` on, also a closed one: its outcome
    /// has changed. The current task's trace, if any, becomes that of the refund that may follow.
    pub async fn intent_due(&self, booking: BookingId, now_ms: i64) -> Result<(), ArchiveError> {
        let mut set = doc! { "due_ms": now_ms };
        if let Some(context) = TraceContext::current() {
            set.insert("refund_trace", context.traceparent());
        }
        let operation = doc! {
            "q": { "_id": booking.to_string() },
            // INVARIANT: raising `rev` makes a concurrent closing of the intent fail.
            "u": { "$set": set, "$inc": { "rev": 1_i64 } },
        };
        self.gateway.write_plain(Verb::Update, INTENTS, vec![operation]).await.map(drop)
    }

    /// Reads at most `limit` due intents, oldest first.
    pub async fn intents_due(
        &self,
        before_ms: i64,
        limit: u32,
    ) -> Result<Vec<Intent>, ArchiveError> {
        let options = FindOptions::builder().sort(doc! { "due_ms": 1 }).limit(i64::from(limit));
        self.intents_where(doc! { "due_ms": { "$lt": before_ms } }, options.build()).await
    }

    /// Reads at most `limit` intents of an event in any state, by booking id after `after`.
    pub async fn intents_of_event(
        &self,
        event: EventId,
        after: Option<BookingId>,
        limit: u32,
    ) -> Result<Vec<Intent>, ArchiveError> {
        let mut filter = doc! { "event": i64::from(event.0) };
        if let Some(after) = after {
            filter.insert("_id", doc! { "$gt": after.to_string() });
        }
        let options = FindOptions::builder().sort(doc! { "_id": 1 }).limit(i64::from(limit));
        self.intents_where(filter, options.build()).await
    }

    /// Reads at most `limit` intents that match, of all events or one, by booking id after `after`.
    pub async fn intents_matching(
        &self,
        filter: &IntentFilter,
        after: Option<BookingId>,
        limit: u32,
    ) -> Result<Vec<Intent>, ArchiveError> {
        let mut matching = Document::new();
        if let Some(event) = filter.event {
            matching.insert("event", i64::from(event.0));
        }
        if let Some(state) = filter.state {
            matching.insert("state", state.as_str());
        }
        if let Some(refund) = filter.refund {
            matching.insert("refund.state", refund.as_str());
        }
        if filter.moved {
            matching.insert("movements.0", doc! { "$exists": true });
        }
        if let Some(after) = after {
            matching.insert("_id", doc! { "$gt": after.to_string() });
        }
        let options = FindOptions::builder().sort(doc! { "_id": 1 }).limit(i64::from(limit));
        self.intents_where(matching, options.build()).await
    }

    /// Counts the unfinished refunds.
    pub async fn refund_counts(&self, now_ms: i64) -> Result<RefundCounts, ArchiveError> {
        let pending = RefundState::Pending.as_str();
        let failed = RefundState::Failed.as_str();
        let overdue = doc! { "$lt": now_ms - OVERDUE_MS };
        let many = i64::from(ATTEMPTS_MAX);
        let count = async |filter| self.gateway.count(INTENTS, filter).await;
        Ok(RefundCounts {
            pending: count(doc! { "refund.state": pending }).await?,
            overdue: count(doc! { "refund.state": pending, "refund.since_ms": overdue }).await?,
            retrying: count(doc! { "refund.state": failed, "refund.failures": { "$lt": many } })
                .await?,
            failed: count(doc! { "refund.state": failed, "refund.failures": { "$gte": many } })
                .await?,
        })
    }

    pub(super) async fn intents_where(
        &self,
        filter: Document,
        options: FindOptions,
    ) -> Result<Vec<Intent>, ArchiveError> {
        let found: Vec<IntentDocument> = self.gateway.find(INTENTS, filter, options).await?;
        found.into_iter().map(Intent::try_from).collect()
    }
}

/// All fields of an intent except its id, due time and the refund's trace.
fn fields(intent: &Intent) -> Result<Document, String> {
    let mut fields = doc! {
        "event": i64::from(intent.booking.event().0),
        "user": intent.user.as_str(),
        "seats": seat_numbers(&intent.seats),
        "amount": intent.amount,
        "currency": &intent.currency,
        "created_ms": intent.created_ms,
        "deadline_ms": intent.deadline_ms,
        "idempotency": &intent.idempotency,
        "fingerprint": &intent.fingerprint,
        "trace": &intent.trace,
        "payment": &intent.payment,
        "attempt": i64::from(intent.attempt),
        "lease": signed(intent.lease, "lease")?,
        "nonce": &intent.nonce,
        "state": intent.state.as_str(),
        "refunded": intent.refunded,
        "rev": signed(intent.rev, "rev")?,
    };
    // Never removed once present.
    if let Some(refund) = &intent.refund {
        fields.insert("refund", refund_fields(refund));
    }
    if !intent.movements.is_empty() {
        let movements: Vec<Document> = intent.movements.iter().map(movement_fields).collect();
        fields.insert("movements", movements);
    }
    if intent.outside_pending != 0 {
        fields.insert("outside_pending", intent.outside_pending);
    }
    Ok(fields)
}

fn refund_fields(refund: &RefundProgress) -> Document {
    doc! {
        "total": refund.total,
        "attempt": i64::from(refund.attempt),
        "state": refund.state.as_str(),
        "since_ms": refund.since_ms,
        "retry_at_ms": refund.retry_at_ms,
        "failures": i64::from(refund.failures),
        "reason": &refund.reason,
        "sending_until_ms": refund.sending_until_ms,
    }
}

fn movement_fields(movement: &Movement) -> Document {
    let mut fields = doc! {
        "kind": movement.kind.as_str(),
        "amount": movement.amount,
        "at_ms": movement.at_ms,
    };
    for (name, text) in [("reference", &movement.reference), ("by", &movement.by)] {
        if !text.is_empty() {
            fields.insert(name, text);
        }
    }
    fields
}

fn change_operation(next: &Intent) -> Result<Document, String> {
    let before = signed(next.rev - 1, "rev")?;
    let mut set = fields(next)?;
    let mut unset = Document::new();
    match next.due_ms {
        Some(due_ms) => drop(set.insert("due_ms", due_ms)),
        None => drop(unset.insert("due_ms", "")),
    }
    if next.outside_pending == 0 {
        unset.insert("outside_pending", "");
    }
    let mut update = doc! { "$set": set };
    if !unset.is_empty() {
        update.insert("$unset", unset);
    }
    Ok(doc! { "q": { "_id": next.booking.to_string(), "rev": before }, "u": update })
}
