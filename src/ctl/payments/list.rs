//! `payments list`: payments by event, state, and state of the refund.

use clap::ValueEnum;
use serde::Serialize;

use crate::archive::IntentFilter;
use crate::config::Config;
use crate::ctl::failure::Failure;
use crate::ctl::output::{Column, CommandResult, or_dash, table};
use crate::domain::money::format_amount;
use crate::domain::time::iso8601;
use crate::domain::{BookingId, EventId, Intent, IntentState, RefundState};
use crate::start;

/// Maximum number of payments per page.
const LIMIT_MAX: i64 = 1_000;

/// List payments, by booking
///
/// One line a booking whose payment was begun: its state, what was returned, and when it is looked at
/// next. Reads the archive: what the provider shows now is in `payments show` and `reconcile`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  holdfastctl payments list --refund failed
  holdfastctl payments list --event 7 --returned
  holdfastctl payments list --event 7 --state sold --limit 1000 --json | jq '.payments[]'")]
pub(in crate::ctl) struct Arguments {
    /// Only this event
    #[arg(long, value_name = "ID")]
    event: Option<u32>,
    /// Only those in this state
    #[arg(long)]
    state: Option<StateWord>,
    /// Only those with a refund in this state
    #[arg(long)]
    refund: Option<RefundWord>,
    /// Only those of which money was returned, in whole or in part
    #[arg(long)]
    returned: bool,
    /// Only bookings after this one: the last one of the previous page
    #[arg(long, value_name = "BOOKING")]
    after: Option<BookingId>,
    /// Maximum number
    #[arg(long, value_name = "N", default_value_t = 50,
          value_parser = clap::value_parser!(u32).range(1..=LIMIT_MAX))]
    limit: u32,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum StateWord {
    Open,
    Idle,
    Cancelled,
    Sold,
    Refunded,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum RefundWord {
    Pending,
    Failed,
    Done,
}

impl StateWord {
    fn state(self) -> IntentState {
        match self {
            StateWord::Open => IntentState::Open,
            StateWord::Idle => IntentState::Idle,
            StateWord::Cancelled => IntentState::Cancelled,
            StateWord::Sold => IntentState::Sold,
            StateWord::Refunded => IntentState::Refunded,
        }
    }
}

impl RefundWord {
    fn state(self) -> RefundState {
        match self {
            RefundWord::Pending => RefundState::Pending,
            RefundWord::Failed => RefundState::Failed,
            RefundWord::Done => RefundState::Done,
        }
    }
}

/// A page of payments.
#[derive(Serialize)]
pub(super) struct Listed {
    payments: Vec<Line>,
    /// What to pass as `--after` for further ones; absent if there are none.
    next: Option<String>,
}

#[derive(Serialize)]
struct Line {
    booking: String,
    event: u32,
    user: String,
    state: &'static str,
    amount: i64,
    /// By the provider, as recorded.
    refunded: i64,
    /// Of that: not sent by Holdfast.
    refunded_outside: i64,
    marked_paid: i64,
    currency: String,
    payment: Option<String>,
    /// The state of a refund that did not succeed at once.
    refund: Option<&'static str>,
    refund_failures: Option<u32>,
    refund_reason: Option<String>,
    /// Whether every automatic attempt to refund failed.
    needs_person: bool,
    /// When it is looked at next.
    due_at: Option<String>,
}

impl Arguments {
    pub(super) async fn run(self, config: &Config) -> Result<Listed, Failure> {
        let archive = start::existing_archive(config).await?;
        let filter = IntentFilter {
            event: self.event.map(EventId),
            state: self.state.map(StateWord::state),
            refund: self.refund.map(RefundWord::state),
            moved: self.returned,
        };
        // One more, to learn whether there are more.
        let mut found = archive.intents_matching(&filter, self.after, self.limit + 1).await?;
        let has_more = found.len() > self.limit as usize;
        found.truncate(self.limit as usize);
        let next = found.last().filter(|_| has_more).map(|last| last.booking.to_string());
        Ok(Listed { payments: found.into_iter().map(Line::of).collect(), next })
    }
}

impl Line {
    fn of(intent: Intent) -> Self {
        let refund = intent.refund.as_ref();
        Line {
            booking: intent.booking.to_string(),
            event: intent.booking.event().0,
            user: intent.user.to_string(),
            state: intent.state.as_str(),
            amount: intent.amount,
            refunded: intent.refunded_at_provider(),
            refunded_outside: intent.refunded_outside(),
            marked_paid: intent.marked_paid(),
            payment: Some(intent.payment.clone()).filter(|payment| !payment.is_empty()),
            refund: refund.map(|refund| refund.state.as_str()),
            refund_failures: refund.map(|refund| refund.failures),
            refund_reason: refund.map(|one| one.reason.clone()).filter(|text| !text.is_empty()),
            needs_person: refund.is_some_and(|refund| refund.needs_person()),
            due_at: intent.due_ms.map(iso8601),
            currency: intent.currency,
        }
    }
}

impl CommandResult for Listed {
    fn text(&self) -> String {
        if self.payments.is_empty() {
            return "No such payments in the archive.".to_owned();
        }
        let columns = [
            Column::Words("booking"),
            Column::Number("event"),
            Column::Words("state"),
            Column::Number("amount"),
            Column::Number("given back"),
            Column::Words("refund"),
            Column::Words("looked at next"),
            Column::Words("payment"),
        ];
        let row = |one: &Line| {
            let refund = match (one.refund, one.needs_person) {
                (Some(state), true) => format!("{state}: needs a person"),
                (state, _) => or_dash(state),
            };
            [
                one.booking.clone(),
                one.event.to_string(),
                one.state.to_owned(),
                format_amount(one.amount, &one.currency),
                format_amount(one.refunded + one.marked_paid, &one.currency),
                refund,
                or_dash(one.due_at.as_ref()),
                or_dash(one.payment.as_ref()),
            ]
        };
        let text = table(columns, self.payments.iter().map(row).collect());
        match &self.next {
            Some(next) => format!("{text}\n\nfurther ones: --after {next}"),
            None => text,
        }
    }
}
