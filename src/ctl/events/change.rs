//! `event change`: what may still be changed once an event is there.

use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::domain::event::{CANCELLATIONS, Cancellation, EVENT_STATUSES};
use crate::domain::{EventId, EventStatus};
use crate::sale::EventChange;

use super::super::time::parse_time;

/// Change an event's texts, times, status or cancellation policy
///
/// What is not named stays. A new on-sale time and a new status reach Redis at once; if Redis is
/// away, the worker sees to it. A later on-sale time stops new holds until then, holds and payments
/// under way go on; whoever the waiting room had let in stays let in. Whether confirmed bookings may be cancelled is judged anew at each cancellation.
/// Seats, prices and the rules of holds never change. Prints the event as it is then.
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
    /// What it is called
    #[arg(long)]
    name: Option<String>,
    /// What it is about
    #[arg(long)]
    description: Option<String>,
    /// Where it is
    #[arg(long)]
    venue: Option<String>,
    /// When the doors open, with offset
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    starts_at: Option<i64>,
    /// When holds begin, with offset
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    on_sale_at: Option<i64>,
    /// When holds end, with offset; where it is the start, it moves with that
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    off_sale_at: Option<i64>,
    /// What is sold: ON_SALE from the on-sale time on, PAUSED and CLOSED nothing
    #[arg(long, ignore_case = true, value_parser = status_parser())]
    status: Option<EventStatus>,
    /// Whether confirmed bookings may be cancelled: allowed or not_allowed
    #[arg(long, value_name = "RULE", value_parser = parse_cancellation)]
    cancellation: Option<Cancellation>,
    /// Until when confirmed bookings may be cancelled, with offset
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    cancel_until: Option<i64>,
}

/// The words of `--cancellation`.
pub(super) fn parse_cancellation(text: &str) -> Result<Cancellation, String> {
    let words = CANCELLATIONS.map(|row| row.1).join(" or ");
    Cancellation::parse(text).ok_or_else(|| format!("it is {words}"))
}

fn status_parser() -> impl TypedValueParser<Value = EventStatus> {
    let words = PossibleValuesParser::new(EVENT_STATUSES.map(|row| row.1));
    // The words were checked, but for their case.
    words.try_map(|word| EventStatus::parse(&word.to_ascii_uppercase()).ok_or("no status"))
}

impl Arguments {
    /// Which event.
    pub(super) fn event(&self) -> u32 {
        self.event
    }

    /// Which event, and what to change.
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
