//! Refunds as Stripe has them: each with a status that may change later, listed newest first.

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Value, json};

use super::{Intent, Said, StripeServer, error};

/// Refunds that a charge lists, and that one page has where no limit is given.
const LISTED_MAX: usize = 10;

/// A refund.
#[derive(Clone, Debug)]
pub struct Refund {
    pub id: String,
    pub payment: String,
    pub amount: i64,
    pub status: &'static str,
    pub metadata: BTreeMap<String, String>,
}

impl Refund {
    /// Whether it counts among what a charge shows as refunded: also while it may still fail.
    fn counts(&self) -> bool {
        !["failed", "canceled"].contains(&self.status)
    }

    /// The attempt that its metadata names.
    pub fn attempt(&self) -> Option<u32> {
        self.metadata.get("refund_attempt")?.parse().ok()
    }

    fn shown(&self) -> Value {
        let failure_reason = (self.status == "failed").then_some("expired_or_canceled_card");
        json!({
            "id": self.id, "object": "refund", "amount": self.amount, "status": self.status,
            "payment_intent": self.payment, "metadata": self.metadata,
            "failure_reason": failure_reason,
        })
    }
}

#[derive(Default)]
pub(super) struct RefundBooks {
    all: Vec<Refund>,
    /// What the next refunds are at first; then they succeed at once.
    next: VecDeque<&'static str>,
    /// What all are at first that have no status in `next`.
    standard: Option<&'static str>,
    /// Whether the next refund is one of an older version, which named nothing.
    is_of_old: bool,
}

impl RefundBooks {
    fn of<'a>(&'a self, payment: &'a str) -> impl DoubleEndedIterator<Item = &'a Refund> {
        self.all.iter().filter(move |refund| refund.payment == payment)
    }

    fn sum(&self, payment: &str, counts: impl Fn(&Refund) -> bool) -> i64 {
        self.of(payment).filter(|refund| counts(refund)).map(|refund| refund.amount).sum()
    }

    /// What arrived.
    pub fn succeeded(&self, payment: &str) -> i64 {
        self.sum(payment, |refund| refund.status == "succeeded")
    }

    /// What a charge shows.
    pub fn shown_as_refunded(&self, payment: &str) -> i64 {
        self.sum(payment, Refund::counts)
    }

    pub fn list(&self, payment: &str, limit: Option<usize>) -> Value {
        let limit = limit.unwrap_or(LISTED_MAX);
        let data: Vec<Value> = self.of(payment).rev().take(limit).map(Refund::shown).collect();
        let has_more = self.of(payment).count() > limit;
        json!({ "object": "list", "data": data, "has_more": has_more })
    }

    pub fn create(&mut self, intent: &Intent, form: &BTreeMap<String, String>) -> Said {
        let payment = form["payment_intent"].clone();
        let amount: i64 = form["amount"].parse().unwrap();
        let status = self.next.pop_front().or(self.standard).unwrap_or("succeeded");
        if status == "refused" {
            let text = "the charge is disputed";
            return error(400, "invalid_request_error", "charge_disputed", text);
        }
        if intent.status != "succeeded" || self.shown_as_refunded(&payment) + amount > intent.amount
        {
            return error(400, "invalid_request_error", "charge_already_refunded", "too much");
        }
        let named = form.iter().filter_map(|(name, value)| {
            let name = name.strip_prefix("metadata[")?.strip_suffix(']')?;
            Some((name.to_owned(), value.clone()))
        });
        let is_of_old = std::mem::take(&mut self.is_of_old);
        let metadata = named.filter(|_| !is_of_old).collect();
        let id = format!("re_{}", self.all.len() + 1);
        let refund = Refund { id, payment, amount, status, metadata };
        let shown = refund.shown();
        self.all.push(refund);
        (200, shown)
    }
}

impl StripeServer {
    /// What the next refunds are at first, one after another: a status, or `refused`.
    pub fn next_refunds(&self, statuses: &[&'static str]) {
        self.books.lock().unwrap().refunds.next.extend(statuses);
    }

    /// What all further refunds are at first.
    pub fn refunds_are(&self, status: &'static str) {
        self.books.lock().unwrap().refunds.standard = Some(status);
    }

    /// The next refund is as one of an older version: it names nothing.
    pub fn forget_metadata(&self) {
        self.books.lock().unwrap().refunds.is_of_old = true;
    }

    /// A payment's refunds, oldest first.
    pub fn refunds(&self, payment: &str) -> Vec<Refund> {
        self.books.lock().unwrap().refunds.of(payment).cloned().collect()
    }

    /// What became of a refund in the end, or in between.
    pub fn settle_refund(&self, id: &str, status: &'static str) {
        let mut books = self.books.lock().unwrap();
        let refund = books.refunds.all.iter_mut().find(|refund| refund.id == id);
        refund.expect("a refund").status = status;
    }

    /// A refund from the dashboard: nothing of it names us.
    pub fn refund_by_hand(&self, payment: &str, amount: i64, status: &'static str) -> String {
        let mut books = self.books.lock().unwrap();
        let id = format!("re_{}", books.refunds.all.len() + 1);
        let (payment, metadata) = (payment.to_owned(), BTreeMap::new());
        books.refunds.all.push(Refund { id: id.clone(), payment, amount, status, metadata });
        id
    }
}
