//! `event unload` and `event load`: remove closed events from Redis, and bring them back.

use std::time::Duration;

use serde::Serialize;

use crate::domain::EventId;
use crate::sale::{Events, LoadResult, UnloadResult};

use super::super::failure::Failure;
use super::super::output::CommandResult;

/// Longest wait for the archive, seconds.
const WAIT_SECONDS_MAX: u64 = 3_600;

/// Remove a closed event from Redis, once the archive has all of it
///
/// Its seats, bookings and counters leave Redis; the catalogue, bookings and receipts are served
/// from the archive. Refused while anything is held, paid and not decided, or not archived, and while
/// `verify` finds problems with the event. Run it again after a crash: it continues where it stopped.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  holdfastctl event close 7 && holdfastctl event unload 7
  holdfastctl event unload 7 --wait-seconds 600 --json")]
pub(in crate::ctl) struct UnloadArguments {
    /// The event's id
    #[arg(value_name = "ID")]
    event: u32,
    /// How long to wait for the archive to be complete
    #[arg(long, value_name = "SECONDS", default_value_t = 30,
          value_parser = clap::value_parser!(u64).range(..=WAIT_SECONDS_MAX))]
    wait_seconds: u64,
}

/// Load an unloaded event into Redis, from the archive
///
/// Sold seats are sold, blocked ones blocked, all others free; the event stays closed until
/// `event resume`. Run it again after a crash: it takes over a load that does not end.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  holdfastctl event load 7
  holdfastctl event load 7 && holdfastctl event resume 7")]
pub(in crate::ctl) struct LoadArguments {
    /// The event's id
    #[arg(value_name = "ID")]
    event: u32,
}

/// Whether an event is loaded.
#[derive(Serialize)]
pub(in crate::ctl) struct Presence {
    event: u32,
    /// `unloaded` or `loaded`.
    state: &'static str,
    /// Whether it was so before.
    before: bool,
    /// Sold bookings that were loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    bookings: Option<u64>,
    /// Blocked seats.
    #[serde(skip_serializing_if = "Option::is_none")]
    blocked: Option<u64>,
}

impl UnloadArguments {
    /// The event.
    pub(super) fn event(&self) -> u32 {
        self.event
    }

    pub(super) async fn run(self, events: &Events) -> Result<Presence, Failure> {
        let wait = Duration::from_secs(self.wait_seconds);
        let done = events.unload(EventId(self.event), wait).await?;
        let before = done == UnloadResult::DoneBefore;
        Ok(Presence { event: self.event, state: "unloaded", before, bookings: None, blocked: None })
    }
}

impl LoadArguments {
    /// The event.
    pub(super) fn event(&self) -> u32 {
        self.event
    }

    pub(super) async fn run(self, events: &Events) -> Result<Presence, Failure> {
        let (before, bookings, blocked) = match events.load(EventId(self.event)).await? {
            LoadResult::Done { bookings, blocked } => (false, Some(bookings), Some(blocked)),
            LoadResult::DoneBefore => (true, None, None),
        };
        Ok(Presence { event: self.event, state: "loaded", before, bookings, blocked })
    }
}

impl CommandResult for Presence {
    fn text(&self) -> String {
        let Presence { event, state, before, bookings, blocked } = self;
        match (bookings, blocked) {
            (Some(bookings), Some(blocked)) => format!(
                "Event {event} is {state}: {bookings} sold bookings, {blocked} blocked seats. It \
                 stays closed until `event resume {event}`."
            ),
            _ if *before => format!("Event {event} was {state} before."),
            _ => format!("Event {event} is {state}."),
        }
    }
}
