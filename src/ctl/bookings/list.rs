//! `bookings list`: bookings by user, event and status.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde::Serialize;

use crate::archive::{ArchivedBooking, BookingFilter};
use crate::config::Config;
use crate::ctl::failure::Failure;
use crate::ctl::output::{Column, CommandResult, table};
use crate::domain::booking::format_seats;
use crate::domain::money::format_amount;
use crate::domain::time::iso8601;
use crate::domain::{BookingId, EventId, Status, UserId};
use crate::sale::search::find_bookings;
use crate::start;

/// Maximum number of bookings per page.
const LIMIT_MAX: i64 = 1_000;
/// The names of all statuses.
const STATUSES: [Status; 7] = [
    Status::Hold,
    Status::Confirming,
    Status::Committed,
    Status::Confirmed,
    Status::Voided,
    Status::Cancelled,
    Status::Expired,
];

/// List bookings of a user or an event, newest first
///
/// Reads the archive, which is behind the sale as shown by `lag`. COMMITTED is paid and not decided
/// by the archive yet: clients see it as CONFIRMING. If there are more, the last line shows how to
/// continue.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  holdfastctl bookings list --user ann
  holdfastctl bookings list --event 7 --status CONFIRMED --limit 1000
  holdfastctl bookings list --event 7 --before 01a0... --json | jq -r '.bookings[].id'")]
pub(in crate::ctl) struct Arguments {
    /// The user
    #[arg(long, value_name = "USER", required_unless_present = "event")]
    user: Option<UserId>,
    /// The event
    #[arg(long, value_name = "ID")]
    event: Option<u32>,
    /// Only those with this status
    #[arg(long, ignore_case = true, value_parser = status_parser())]
    status: Option<Status>,
    /// Only bookings older than this one: the last one of the previous page
    #[arg(long, value_name = "BOOKING")]
    before: Option<BookingId>,
    /// Maximum number
    #[arg(long, value_name = "N", default_value_t = 50,
          value_parser = clap::value_parser!(u32).range(1..=LIMIT_MAX))]
    limit: u32,
}

fn status_parser() -> impl TypedValueParser<Value = Status> {
    let words = PossibleValuesParser::new(STATUSES.map(Status::as_str));
    words.try_map(|word| word.to_ascii_uppercase().parse::<Status>())
}

/// A page of bookings.
#[derive(Serialize)]
pub(super) struct Listed {
    bookings: Vec<Line>,
    /// What to pass as `--before` for older ones; absent if there are none.
    next: Option<String>,
}

#[derive(Serialize)]
struct Line {
    id: String,
    event: u32,
    user: String,
    status: &'static str,
    outcome: Option<&'static str>,
    seats: Vec<u32>,
    amount: i64,
    currency: String,
    payment: Option<String>,
    created_at: String,
    #[serde(skip)]
    seats_text: String,
}

impl Arguments {
    pub(super) async fn run(self, config: &Config) -> Result<Listed, Failure> {
        let archive = start::existing_archive(config).await?;
        let filter =
            BookingFilter { user: self.user, event: self.event.map(EventId), status: self.status };
        let (found, has_more) = find_bookings(&archive, &filter, self.before, self.limit).await?;
        let last = found.last().map(|last| last.booking.id.to_string());
        let bookings = found.into_iter().map(Line::of).collect();
        Ok(Listed { bookings, next: last.filter(|_| has_more) })
    }
}

impl Line {
    fn of(archived: ArchivedBooking) -> Self {
        let booking = archived.booking;
        Line {
            id: booking.id.to_string(),
            event: booking.id.event().0,
            user: booking.user.to_string(),
            status: booking.status.as_str(),
            outcome: archived.outcome.map(|outcome| outcome.as_str()),
            seats_text: format_seats(&booking.seats),
            seats: booking.seats.iter().map(|seat| seat.0).collect(),
            amount: booking.amount,
            currency: booking.currency,
            payment: Some(booking.payment).filter(|payment| !payment.is_empty()),
            created_at: iso8601(booking.created_ms),
        }
    }
}

impl CommandResult for Listed {
    fn text(&self) -> String {
        if self.bookings.is_empty() {
            return "No such bookings in the archive.".to_owned();
        }
        let columns = [
            Column::Words("booking"),
            Column::Number("event"),
            Column::Words("user"),
            Column::Words("status"),
            Column::Number("amount"),
            Column::Words("made"),
            Column::Words("seats"),
        ];
        let row = |one: &Line| {
            [
                one.id.clone(),
                one.event.to_string(),
                one.user.clone(),
                one.status.to_owned(),
                format_amount(one.amount, &one.currency),
                one.created_at.clone(),
                one.seats_text.clone(),
            ]
        };
        let text = table(columns, self.bookings.iter().map(row).collect());
        match &self.next {
            Some(next) => format!("{text}\n\nolder ones: --before {next}"),
            None => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_can_be_selected() {
        for (index, status) in STATUSES.into_iter().enumerate() {
            assert_eq!(status as usize, index);
        }
        // A further status would be missing in the list.
        assert_eq!(STATUSES.len(), Status::Expired as usize + 1);
    }
}
