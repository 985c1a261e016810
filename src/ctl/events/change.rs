//! `event change`: changes the mutable fields of an event.

use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::domain::event::{CANCELLATIONS, Cancellation, EVENT_STATUSES};
use crate::domain::{EventId, EventStatus};
use crate::sale::EventChange;

use super::super::time::parse_time;

/// Change an event's texts, times, status or cancellation policy
///
/// Absent fields keep their value. A new on-sale time and a new status reach Redis at once; if Redis
/// is unavailable, the worker applies them later. A later on-sale time stops new holds until then;
/// holds and payments in progress continue, and users admitted by the waiting room stay admitted.
/// Whether a confirmed booking may be cancelled is decided at each cancellation. Seats, prices and
/// the rules of holds never change. Prints the event after the change.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  holdfastctl event change 7 --on-sale-at 2026-03-01T10:00:00Z
  holdfastctl event change 7 --name 'Gala (moved)' --venue 'Old Hall' --status paused")]
pub(in crate::ctl) struct Arguments {
    /// The event's id
    #[arg(value_name = "ID")]
    event: u32,
    #[command(flatten)]
    changes: Changes,
}

#[derive(clap::Args, Debug)]
#[group(required = true, multiple = true)]
struct Changes {
    /// Name
    #[arg(long)]
    name: Option<String>,
    /// Description
    #[arg(long)]
    description: Option<String>,
    /// Venue
    #[arg(long)]
    venue: Option<String>,
    /// When the event starts, with offset
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    starts_at: Option<i64>,
    /// When holds begin, with offset
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    on_sale_at: Option<i64>,
    /// When holds end, with offset; an end equal to the start moves with it
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    off_sale_at: Option<i64>,
    /// ON_SALE (from the on-sale time on), PAUSED or CLOSED (no new holds)
    #[arg(long, ignore_case = true, value_parser = status_parser())]
    status: Option<EventStatus>,
    /// Whether confirmed bookings may be cancelled: allowed or not_allowed
    #[arg(long, value_name = "RULE", value_parser = parse_cancellation)]
    cancellation: Option<Cancellation>,
    /// Until when confirmed bookings may be cancelled, with offset
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    cancel_until: Option<i64>,
}

/// Parses the value of `--cancellation`.
pub(super) fn parse_cancellation(text: &str) -> Result<Cancellation, String> {
    let words = CANCELLATIONS.map(|row| row.1).join(" or ");
    Cancellation::parse(text).ok_or_else(|| format!("it is {words}"))
}

fn status_parser() -> impl TypedValueParser<Value = EventStatus> {
    let words = PossibleValuesParser::new(EVENT_STATUSES.map(|row| row.1));
    // The values were checked, except for their case.
    words.try_map(|word| EventStatus::parse(&word.to_ascii_uppercase()).ok_or("no status"))
}

impl Arguments {
    /// The event.
    pub(super) fn event(&self) -> u32 {
        self.event
    }

    /// The event and its change.
    pub(super) fn change(self) -> (EventId, EventChange) {
        let Changes {
            name,
            description,
            venue,
            starts_at,
            on_sale_at,
            off_sale_at,
            status,
            cancellation,
            cancel_until,
        } = self.changes;
        let change = EventChange {
            name,
            description,
            venue,
            starts_at_ms: starts_at,
            status,
            on_sale_at_ms: on_sale_at,
            off_sale_at_ms: off_sale_at,
            cancellation,
            cancel_until_ms: cancel_until,
        };
        (EventId(self.event), change)
    }
}
