//! The failure of a command: one line that says how to correct it.

use std::fmt;

use crate::archive::ArchiveError;
use crate::config::ConfigError;
use crate::domain::{SeatId, SeatState};
use crate::redis::RedisError;
use crate::sale::SaleError;
use crate::sale::policy::ChangeError;
use crate::start::StartError;

/// Maximum number of seats named in a sentence.
const SEATS_SHOWN_MAX: usize = 10;

/// The failure of a command.
#[derive(Debug)]
pub(super) struct Failure(String);

impl Failure {
    /// Creates a failure from a text that says what is wrong and how to correct it.
    pub fn new(text: impl Into<String>) -> Self {
        Failure(text.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = self.0.lines().map(str::trim).filter(|line| !line.is_empty());
        f.write_str(lines.next().unwrap_or_default())?;
        lines.try_for_each(|line| write!(f, "; {line}"))
    }
}

macro_rules! from_errors {
    ($($error:ty),+) => {$(
        impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Failure(error.to_string())
            }
        }
    )+};
}
from_errors!(
    ConfigError,
    StartError,
    RedisError,
    ArchiveError,
    ChangeError,
    std::io::Error,
    serde_json::Error
);

impl From<SaleError> for Failure {
    fn from(error: SaleError) -> Self {
        match error {
            SaleError::EventUnknown(id) => {
                Failure(format!("event {id} does not exist; `holdfastctl event list` lists them"))
            }
            SaleError::BookingUnknown(id) => Failure(format!(
                "booking {id} is neither in Redis nor in the archive; `holdfastctl bookings list` \
                 lists them"
            )),
            SaleError::SeatsUnknown { event, seats } => Failure(format!(
                "event {event} has no seats {}; `holdfastctl event show {event}` shows which it has",
                crate::domain::booking::format_seats(&seats)
            )),
            SaleError::SeatsUnavailable(states) => {
                Failure(format!("not free: {}; none of these seats was changed", taken(&states)))
            }
            SaleError::SectionUnknown { event, section } => Failure(format!(
                "event {event} has no section {section:?}; `holdfastctl event show {event}` lists them"
            )),
            SaleError::Unavailable { reason, .. } => {
                Failure(format!("{reason}. Is it overloaded or just starting? Try again"))
            }
            other => Failure(other.to_string()),
        }
    }
}

/// The first of the taken seats, with their states.
fn taken(states: &[(SeatId, SeatState)]) -> String {
    let taken: Vec<String> = states
        .iter()
        .filter(|(_, state)| matches!(state, SeatState::Hold | SeatState::Booked))
        .map(|(seat, state)| format!("{seat} ({})", state.as_str()))
        .collect();
    let shown = taken.iter().take(SEATS_SHOWN_MAX).cloned().collect::<Vec<String>>().join(", ");
    match taken.len().saturating_sub(SEATS_SHOWN_MAX) {
        0 => format!("seats {shown}"),
        more => format!("seats {shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failure_is_one_line() {
        let failure = Failure("one\n  two\n\nthree\n".into());
        assert_eq!(failure.to_string(), "one; two; three");
    }
}
