//! `payments show`: one payment, its movements of money, and what the provider shows.

use serde::Serialize;

use crate::config::Config;
use crate::ctl::failure::Failure;
use crate::ctl::output::{Column, CommandResult, or_dash, printable, table};
use crate::domain::money::format_amount;
use crate::domain::time::iso8601;
use crate::domain::{BookingId, Intent, Outcome};
use crate::payments::Payment;
use crate::sale::SaleError;
use crate::sale::ledger::movements_of;
use crate::start::{self, Services};

/// Show a payment: every movement of money, and what the provider shows
///
/// The intent and its movements as recorded in the archive, the archive's decision, the progress of a
/// refund, and the payment at its provider now. A payment without a decision has no movements yet.
///
/// Exits with 1 if the provider's refunds are not those that are recorded.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  holdfastctl payments show 019a8f6e-5f2c-8a31-8000-0001c0000000
  holdfastctl payments show 019a8f6e-5f2c-8a31-8000-0001c0000000 --json | jq '.movements[]'")]
pub(in crate::ctl) struct Arguments {
    /// The booking's id
    booking: BookingId,
}

/// A payment.
#[derive(Serialize)]
pub(super) struct Shown {
    booking: String,
    event: u32,
    user: String,
    /// The archive's decision; absent if there is none.
    outcome: Option<&'static str>,
    state: &'static str,
    amount: i64,
    /// What is left of the charge, by the movements.
    kept: i64,
    currency: String,
    payment: Option<String>,
    due_at: Option<String>,
    refund: Option<RefundLine>,
    movements: Vec<MovementLine>,
    /// Refunds of a sold booking that were made outside and may still fail.
    outside_pending: i64,
    provider: ProviderSide,
}

#[derive(Serialize)]
struct RefundLine {
    state: &'static str,
    total: i64,
    since: String,
    failures: u32,
    reason: Option<String>,
    /// Whether every automatic attempt failed.
    needs_person: bool,
    next_attempt_at: Option<String>,
}

#[derive(Serialize)]
struct MovementLine {
    number: usize,
    kind: String,
    channel: &'static str,
    amount: i64,
    at: String,
    reference: Option<String>,
    recorded_by: Option<String>,
}

#[derive(Serialize)]
struct ProviderSide {
    name: &'static str,
    /// `paid`, `open`, `processing`, `cancelled`, `none` or `unavailable`.
    state: &'static str,
    amount: Option<i64>,
    refunded: Option<i64>,
    refunded_outside: Option<i64>,
    refund_pending: Option<i64>,
    /// Whether its refunds are those that are recorded; absent if it is not paid.
    is_recorded: Option<bool>,
    error: Option<String>,
}

fn text(text: &str) -> Option<String> {
    Some(text.to_owned()).filter(|text| !text.is_empty())
}

impl Arguments {
    pub(super) async fn run(self, config: &Config) -> Result<Shown, Failure> {
        let Services { archive, provider, .. } = start::existing(config).await?;
        let id = self.booking;
        let Some(intent) = archive.intent(id).await? else {
            return Err(match archive.booking(id).await? {
                Some(_) => Failure::new(format!("booking {id} has no payment")),
                None => SaleError::BookingUnknown(id).into(),
            });
        };
        let archived = archive.booking(id).await?;
        let found = match intent.payment.as_str() {
            "" => Ok(None),
            payment => provider.get(payment).await.map_err(|error| error.to_string()),
        };
        let movements = movements_of(&intent, archived.as_ref());
        Ok(Shown {
            booking: id.to_string(),
            event: id.event().0,
            user: intent.user.to_string(),
            outcome: archived.and_then(|one| one.outcome).map(|outcome| outcome.as_str()),
            state: intent.state.as_str(),
            amount: intent.amount,
            kept: movements.iter().map(|line| line.amount).sum(),
            payment: text(&intent.payment),
            due_at: intent.due_ms.map(iso8601),
            refund: RefundLine::of(&intent),
            movements: movements
                .into_iter()
                .map(|line| MovementLine {
                    channel: line.channel(),
                    number: line.number,
                    kind: line.kind,
                    amount: line.amount,
                    at: iso8601(line.at_ms),
                    reference: text(&line.reference),
                    recorded_by: text(&line.by),
                })
                .collect(),
            outside_pending: intent.outside_pending,
            provider: ProviderSide::of(provider.name(), found, &intent),
            currency: intent.currency,
        })
    }
}

impl RefundLine {
    fn of(intent: &Intent) -> Option<Self> {
        let refund = intent.refund.as_ref()?;
        Some(RefundLine {
            state: refund.state.as_str(),
            total: refund.total,
            since: iso8601(refund.since_ms),
            failures: refund.failures,
            reason: text(&refund.reason),
            needs_person: refund.needs_person(),
            next_attempt_at: intent
                .refund_waits_until(refund.since_ms)
                .filter(|_| !refund.needs_person())
                .map(iso8601),
        })
    }

    fn text(&self, currency: &str) -> String {
        let RefundLine { state, total, since, failures, .. } = self;
        let total = format_amount(*total, currency);
        let mut text = format!("refund of {total}: {state} since {since}, {failures} failures");
        if let Some(reason) = &self.reason {
            text.push_str(&format!(" ({})", printable(reason)));
        }
        match (&self.next_attempt_at, self.needs_person) {
            (_, true) => text.push_str("\nIT NEEDS A PERSON: `payments refund retry|mark-paid`"),
            (Some(at), _) => text.push_str(&format!("\nnext attempt at {at}")),
            _ => {}
        }
        text
    }
}

impl ProviderSide {
    fn of(name: &'static str, found: Result<Option<Payment>, String>, intent: &Intent) -> Self {
        let (state, payment, error) = match found {
            Ok(Some(payment)) => (payment.state.as_str(), Some(payment), None),
            Ok(None) => ("none", None, None),
            Err(error) => ("unavailable", None, Some(error)),
        };
        let payment = payment.as_ref();
        ProviderSide {
            name,
            state,
            amount: payment.map(|one| one.amount),
            refunded: payment.map(|one| one.refunded),
            refunded_outside: payment.map(|one| one.refunded_outside),
            refund_pending: payment.map(|one| one.refund_pending),
            is_recorded: payment
                .filter(|_| state == "paid")
                .map(|one| !intent.differs_from(one.seen_refunds())),
            error,
        }
    }

    fn text(&self, currency: &str) -> String {
        let ProviderSide { name, state, .. } = self;
        let shown = |minor: Option<i64>| format_amount(minor.unwrap_or_default(), currency);
        match (&self.amount, &self.error) {
            (Some(_), _) => format!(
                "payment at {name}: {state} {}, given back {}, {} of it outside of Holdfast, on its way \
                 {}{}",
                shown(self.amount),
                shown(self.refunded),
                shown(self.refunded_outside),
                shown(self.refund_pending),
                match self.is_recorded {
                    Some(false) => "\nNOT RECORDED: `reconcile --fix` records it",
                    _ => "",
                }
            ),
            (_, Some(error)) => format!("payment at {name}: unavailable, {}", printable(error)),
            _ => format!("payment at {name}: {state}"),
        }
    }
}

impl CommandResult for Shown {
    fn text(&self) -> String {
        let amount = format_amount(self.amount, &self.currency);
        let kept = format_amount(self.kept, &self.currency);
        let mut parts = vec![format!(
            "booking {} of {} (event {})\n{}, {amount}, payment {}; archive: {}; looked at next: {}",
            self.booking,
            printable(&self.user),
            self.event,
            self.state,
            or_dash(self.payment.as_ref()),
            or_dash(self.outcome),
            or_dash(self.due_at.as_ref()),
        )];
        let columns = [
            Column::Number("no"),
            Column::Words("movement"),
            Column::Number("amount"),
            Column::Words("at"),
            Column::Words("by"),
            Column::Words("reference"),
        ];
        let row = |line: &MovementLine| {
            [
                line.number.to_string(),
                line.kind.clone(),
                format_amount(line.amount, &self.currency),
                line.at.clone(),
                line.recorded_by.clone().unwrap_or_else(|| line.channel.to_owned()),
                or_dash(line.reference.as_ref()),
            ]
        };
        match self.movements.as_slice() {
            [] => parts.push("no money has moved, or the archive has not decided yet".to_owned()),
            lines => {
                let table = table(columns, lines.iter().map(row).collect());
                parts.push(format!("{table}\nkept: {kept}"));
            }
        }
        parts.extend(self.refund.as_ref().map(|refund| refund.text(&self.currency)));
        parts.push(self.provider.text(&self.currency));
        parts.join("\n\n")
    }

    fn has_problems(&self) -> bool {
        // Of another one a refund may be under way, which is recorded once it is done.
        let is_followed = self.due_at.is_none() || self.outcome == Some(Outcome::Sold.as_str());
        is_followed && self.provider.is_recorded == Some(false)
    }
}
