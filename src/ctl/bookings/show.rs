//! `bookings show`: the report of one booking.

use serde::Serialize;

use crate::archive::{ArchivedBooking, LedgerEntry};
use crate::config::Config;
use crate::ctl::failure::Failure;
use crate::ctl::output::{Column, CommandResult, or_dash, printable, table};
use crate::domain::booking::format_seats;
use crate::domain::money::format_amount;
use crate::domain::time::iso8601;
use crate::domain::{Booking, BookingId};
use crate::sale::booking_report::{
    AtProvider, BookingReport, HISTORY_MAX, InRedis, booking_report,
};
use crate::start::{self, Services};

/// Show a booking in detail
///
/// Its state in Redis and in the archive, the owners of the claims on its seats, and its history from
/// the archive's ledger: every transition in order. "differences" lists where Redis and the archive
/// contradict each other; during a sale a booking differs for as long as `lag` shows. Reading an
/// overdue hold releases it.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  holdfastctl bookings show 019a8f6e-5f2c-8a31-8000-0001c0000000
  holdfastctl bookings show 019a8f6e-5f2c-8a31-8000-0001c0000000 --json | jq '.history[].kind'")]
pub(in crate::ctl) struct Arguments {
    /// The booking's id
    booking: BookingId,
}

/// The report of a booking.
#[derive(Serialize)]
pub(super) struct BookingDetails {
    id: String,
    event: u32,
    /// Absent if the catalogue does not have the event.
    event_name: Option<String>,
    /// `found`, `unknown` or `event_not_loaded`.
    in_redis: &'static str,
    redis: Option<Side>,
    archive: Option<ArchivedSide>,
    provider: ProviderSide,
    seats: Vec<SeatLine>,
    history: Vec<HistoryLine>,
    /// Whether the ledger has more than was read.
    history_is_cut: bool,
    differences: Vec<String>,
}

/// A booking in Redis or in the archive.
#[derive(Serialize)]
struct Side {
    status: &'static str,
    version: u64,
    user: String,
    seats: Vec<u32>,
    amount: i64,
    currency: String,
    created_at: Option<String>,
    hold_expires_at: Option<String>,
    lease: u64,
    payment: Option<String>,
    paid_at: Option<String>,
    confirmed_at: Option<String>,
    ended_at: Option<String>,
    trace: Option<String>,
    #[serde(skip)]
    seats_text: String,
}

#[derive(Serialize)]
struct ArchivedSide {
    #[serde(flatten)]
    side: Side,
    outcome: Option<&'static str>,
    generation: u64,
    /// Since when a cancellation has not been settled in Redis.
    cancel_unsettled_since: Option<String>,
}

/// The booking's payment at its provider.
#[derive(Serialize)]
struct ProviderSide {
    name: &'static str,
    /// `paid`, `open`, `processing`, `cancelled`, `none` or `unavailable`.
    state: &'static str,
    amount: Option<i64>,
    currency: Option<String>,
    refunded: Option<i64>,
    /// Why the provider does not say.
    error: Option<String>,
}

#[derive(Serialize)]
struct SeatLine {
    seat: u32,
    label: Option<String>,
    section: Option<String>,
    /// The booking that owns the claim.
    claimed_by: Option<String>,
    /// Whether that is this booking.
    is_own: bool,
}

#[derive(Serialize)]
struct HistoryLine {
    at: String,
    kind: String,
    status: String,
    version: u64,
    generation: u64,
    log_id: String,
    hold_expires_at: Option<String>,
    lease: u64,
    payment: Option<String>,
    detail: Option<String>,
}

/// A time that may not have come.
fn time(unix_ms: i64) -> Option<String> {
    (unix_ms > 0).then(|| iso8601(unix_ms))
}

fn text(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

impl Arguments {
    pub(super) async fn run(self, config: &Config) -> Result<BookingDetails, Failure> {
        let Services { engine, archive, provider, .. } = start::existing(config).await?;
        let report = booking_report(&engine, &archive, &*provider, self.booking).await?;
        Ok(BookingDetails::of(self.booking, report))
    }
}

impl BookingDetails {
    fn of(id: BookingId, booking_report: BookingReport) -> Self {
        let event = booking_report.event.as_ref();
        let seat = |(seat, owner): &(_, Option<BookingId>)| {
            let info = event.and_then(|event| event.layout.seat(*seat));
            SeatLine {
                seat: seat.0,
                label: info.map(|info| info.label()),
                section: info.map(|info| info.section.to_owned()),
                claimed_by: owner.map(|owner| owner.to_string()),
                is_own: *owner == Some(id),
            }
        };
        let (in_redis, redis) = match booking_report.in_redis {
            InRedis::Found(booking) => ("found", Some(Side::of(*booking))),
            InRedis::Unknown => ("unknown", None),
            InRedis::EventNotLoaded => ("event_not_loaded", None),
        };
        BookingDetails {
            id: id.to_string(),
            event: id.event().0,
            event_name: event.map(|event| event.name.clone()),
            in_redis,
            redis,
            archive: booking_report.archived.map(ArchivedSide::of),
            provider: ProviderSide::of(booking_report.provider, booking_report.at_provider),
            seats: booking_report.seats.iter().map(seat).collect(),
            history_is_cut: booking_report.history.len() >= HISTORY_MAX as usize,
            history: booking_report.history.into_iter().map(HistoryLine::of).collect(),
            differences: booking_report.differences,
        }
    }
}

impl Side {
    fn of(booking: Booking) -> Self {
        Side {
            status: booking.status.as_str(),
            version: booking.version,
            user: booking.user.to_string(),
            seats_text: format_seats(&booking.seats),
            seats: booking.seats.iter().map(|seat| seat.0).collect(),
            amount: booking.amount,
            currency: booking.currency,
            created_at: time(booking.created_ms),
            hold_expires_at: time(booking.deadline_ms),
            lease: booking.lease,
            payment: text(booking.payment),
            paid_at: time(booking.paid_ms),
            confirmed_at: time(booking.confirmed_ms),
            ended_at: time(booking.ended_ms),
            trace: text(booking.trace),
        }
    }
}

impl ArchivedSide {
    fn of(archived: ArchivedBooking) -> Self {
        ArchivedSide {
            side: Side::of(archived.booking),
            outcome: archived.outcome.map(|outcome| outcome.as_str()),
            generation: archived.generation,
            cancel_unsettled_since: archived.cancel_unsettled_ms.and_then(time),
        }
    }
}

impl ProviderSide {
    fn of(name: &'static str, at_provider: AtProvider) -> Self {
        let (state, error, payment) = match at_provider {
            AtProvider::Found(payment) => (payment.state.as_str(), None, Some(payment)),
            AtProvider::Nothing => ("none", None, None),
            AtProvider::Unavailable(why) => ("unavailable", Some(why), None),
        };
        ProviderSide {
            name,
            state,
            amount: payment.as_ref().map(|one| one.amount),
            refunded: payment.as_ref().map(|one| one.refunded),
            currency: payment.map(|one| one.currency),
            error,
        }
    }

    fn text(&self) -> String {
        let name = self.name;
        match (self.amount, &self.currency, &self.error) {
            (Some(amount), Some(currency), _) => {
                let amount = format_amount(amount, currency);
                let refunded = format_amount(self.refunded.unwrap_or_default(), currency);
                format!("payment at {name}: {} {amount}, given back {refunded}", self.state)
            }
            (.., Some(error)) => format!("payment at {name}: unavailable, {}", printable(error)),
            _ => format!("payment at {name}: none"),
        }
    }
}

impl HistoryLine {
    fn of(entry: LedgerEntry) -> Self {
        HistoryLine {
            at: iso8601(entry.time_ms),
            kind: entry.kind,
            status: entry.status,
            version: entry.version,
            generation: entry.generation,
            log_id: entry.log_id,
            hold_expires_at: time(entry.deadline_ms),
            lease: entry.lease,
            payment: text(entry.payment),
            detail: text(entry.detail),
        }
    }
}

impl CommandResult for BookingDetails {
    fn text(&self) -> String {
        let event = match &self.event_name {
            Some(name) => format!("event {} {}", self.event, printable(name)),
            None => format!("event {}, which the catalogue does not have", self.event),
        };
        let mut parts = vec![format!("booking {} of {event}", self.id), self.sides()];
        parts.push(self.provider.text());
        parts.push(self.seats());
        parts.push(self.history());
        parts.push(match self.differences.as_slice() {
            [] => "Redis and the archive agree.".to_owned(),
            lines => {
                let lines: Vec<String> =
                    lines.iter().map(|line| format!("DIFFERS: {}", printable(line))).collect();
                lines.join("\n")
            }
        });
        parts.join("\n\n")
    }
}

impl BookingDetails {
    /// Both states side by side.
    fn sides(&self) -> String {
        let here = self.redis.as_ref();
        let there = self.archive.as_ref();
        let absent = match self.in_redis {
            "event_not_loaded" => "(event not loaded)",
            _ => "(unknown)",
        };
        let cell = |name: &str, of: &dyn Fn(&Side) -> String| {
            let here = here.map_or_else(|| "-".to_owned(), of);
            let there = there.map_or_else(|| "-".to_owned(), |there| of(&there.side));
            [name.to_owned(), here, there]
        };
        let mut rows = vec![
            [
                "status".to_owned(),
                here.map_or(absent, |side| side.status).to_owned(),
                there.map_or("(unknown)", |there| there.side.status).to_owned(),
            ],
            cell("version", &|side| side.version.to_string()),
            cell("user", &|side| side.user.clone()),
            cell("seats", &|side| side.seats_text.clone()),
            cell("amount", &|side| format_amount(side.amount, &side.currency)),
            cell("made", &|side| or_dash(side.created_at.as_ref())),
            cell("held until", &|side| or_dash(side.hold_expires_at.as_ref())),
            cell("payment", &|side| or_dash(side.payment.as_ref())),
            cell("paid", &|side| or_dash(side.paid_at.as_ref())),
            cell("confirmed", &|side| or_dash(side.confirmed_at.as_ref())),
            cell("ended", &|side| or_dash(side.ended_at.as_ref())),
        ];
        let outcome = or_dash(there.and_then(|there| there.outcome));
        rows.push(["outcome".to_owned(), String::new(), outcome]);
        if let Some(since) = there.and_then(|there| there.cancel_unsettled_since.as_ref()) {
            rows.push(["cancelled, not settled since".to_owned(), String::new(), since.clone()]);
        }
        let columns = [Column::Words(""), Column::Words("Redis"), Column::Words("archive")];
        table(columns, rows)
    }

    fn seats(&self) -> String {
        let columns = [
            Column::Number("seat"),
            Column::Words("label"),
            Column::Words("section"),
            Column::Words("claimed by"),
        ];
        let row = |one: &SeatLine| {
            [
                one.seat.to_string(),
                or_dash(one.label.as_ref()),
                or_dash(one.section.as_ref()),
                match (&one.claimed_by, one.is_own) {
                    (Some(_), true) => "this booking".to_owned(),
                    (owner, _) => or_dash(owner.as_ref()),
                },
            ]
        };
        table(columns, self.seats.iter().map(row).collect())
    }

    fn history(&self) -> String {
        if self.history.is_empty() {
            return "Nothing in the ledger yet.".to_owned();
        }
        let columns = [
            Column::Words("at"),
            Column::Words("what"),
            Column::Words("then"),
            Column::Number("version"),
            Column::Words("log entry"),
            Column::Words("detail"),
        ];
        let row = |one: &HistoryLine| {
            [
                one.at.clone(),
                one.kind.clone(),
                one.status.clone(),
                one.version.to_string(),
                one.log_id.clone(),
                or_dash(one.detail.as_ref()),
            ]
        };
        let mut text = table(columns, self.history.iter().map(row).collect());
        if self.history_is_cut {
            text.push_str("\nand more, which are not shown");
        }
        text
    }
}
