//! The archive's decision about a sale. It is made once, outranks every version, and only `sold` can
//! change again, to `cancelled`.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::booking::{RecordError, Status};

/// The archive's decision about one booking.
///
/// ```text
///   none ──► sold ──► cancelled
///     └────► refund
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The booking owns a claim on each of its seats.
    Sold,
    /// Another booking owns one of its seats: the money is refunded.
    Refund,
    /// Sold, then cancelled: its seats may be sold again.
    Cancelled,
}

/// Outcome, name, and the status it determines, in enum order.
pub const OUTCOMES: [(Outcome, &str, Status); 3] = [
    (Outcome::Sold, "sold", Status::Confirmed),
    (Outcome::Refund, "refund", Status::Voided),
    (Outcome::Cancelled, "cancelled", Status::Cancelled),
];

impl Outcome {
    /// The name in the archive and in `settle`.
    pub fn as_str(self) -> &'static str {
        OUTCOMES[self as usize].1
    }

    /// The status of a booking with this outcome, whatever its versions are.
    pub fn status(self) -> Status {
        OUTCOMES[self as usize].2
    }

    /// The outcome that determines the status with this name; `None` if none does.
    pub fn of_status_word(word: &str) -> Option<Self> {
        OUTCOMES.iter().find(|row| row.2.as_str() == word).map(|row| row.0)
    }

    /// Whether the claims of a booking with this outcome are stale for ever.
    pub fn frees_claims(self) -> bool {
        matches!(self, Outcome::Refund | Outcome::Cancelled)
    }
}

impl FromStr for Outcome {
    type Err = RecordError;
    fn from_str(word: &str) -> Result<Self, RecordError> {
        OUTCOMES.iter().find(|row| row.1 == word).map(|row| row.0).ok_or(RecordError("outcome"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_is_in_enum_order_and_reversible() {
        for (index, (outcome, word, status)) in OUTCOMES.into_iter().enumerate() {
            assert_eq!(outcome as usize, index);
            assert_eq!(word.parse(), Ok(outcome));
            assert_eq!(Outcome::of_status_word(status.as_str()), Some(outcome));
            assert_eq!(serde_json::to_value(outcome).unwrap(), word);
            // Claims are stale exactly when the booking keeps no seats.
            assert_eq!(outcome.frees_claims(), !status.is_live());
        }
        assert_eq!("none".parse::<Outcome>(), Err(RecordError("outcome")));
    }
}
