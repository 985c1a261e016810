//! Counts during the sale: latencies, responses, buyers' results, and the load generator's own delays.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::history::{Call, Operation};

/// Significant digits of latencies.
const DIGITS: u8 = 3;
/// Longest latency that is recorded exactly, µs: an hour.
const LATENCY_US_MAX: u64 = 3_600_000_000;

/// A buyer's result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BuyerResult {
    /// The booking was CONFIRMED.
    Bought,
    /// The booking was CONFIRMED, then CANCELLED.
    Returned,
    /// Cancelled a hold.
    Cancelled,
    /// Let a hold lapse.
    Abandoned,
    /// Got no seats in any attempt.
    WentWithout,
    /// Paid after the hold had lapsed.
    TooLate,
    /// No card was accepted.
    Declined,
    /// Paid, and the archive refused the sale.
    Voided,
    /// Was refused for another reason.
    Refused,
    /// Paid, and the sale was not decided in time.
    Pending,
    /// Gave up after repeated failures.
    Failed,
}

/// The counts of a run, shared by all buyers.
pub struct Tally(Mutex<Counts>);

/// The counts.
pub struct Counts {
    /// By operation.
    pub operations: BTreeMap<Operation, OperationCounts>,
    /// Buyers by result.
    pub fates: BTreeMap<BuyerResult, u64>,
    /// Delay of calls that the generator caused, µs.
    pub late_us: Histogram<u64>,
    /// Calls that waited for a connection.
    pub waited: u64,
    /// The longest of these waits, µs.
    pub waited_us_max: u64,
    /// Calls.
    pub calls: u64,
    /// Seats of granted holds.
    pub seats_held: u64,
    /// Seats of confirmed bookings.
    pub seats_sold: u64,
}

/// One operation.
pub struct OperationCounts {
    /// From when it was due, µs.
    pub latency_us: Histogram<u64>,
    /// From when it was sent, µs.
    pub service_us: Histogram<u64>,
    /// Number of responses by status and error code.
    pub outcomes: BTreeMap<String, u64>,
}

impl Tally {
    /// Creates counts of zero.
    pub fn new() -> Self {
        Tally(Mutex::new(Counts {
            operations: BTreeMap::new(),
            fates: BTreeMap::new(),
            late_us: histogram(),
            waited: 0,
            waited_us_max: 0,
            calls: 0,
            seats_held: 0,
            seats_sold: 0,
        }))
    }

    /// Locks the counts. Callers hold the lock only briefly.
    pub fn lock(&self) -> MutexGuard<'_, Counts> {
        // A poisoned lock still guards consistent counts: no counting code can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call.
    pub fn call(&self, call: &Call) {
        let mut counts = self.lock();
        let micros = |from: u64, to: u64| to.saturating_sub(from) / 1_000;
        counts.calls += 1;
        let operation =
            counts.operations.entry(call.operation).or_insert_with(|| OperationCounts {
                latency_us: histogram(),
                service_us: histogram(),
                outcomes: BTreeMap::new(),
            });
        operation.latency_us.saturating_record(micros(call.due_ns, call.answered_ns));
        if let Some(sent) = call.sent_ns {
            operation.service_us.saturating_record(micros(sent, call.answered_ns));
        }
        *operation.outcomes.entry(outcome(call)).or_default() += 1;
    }

    /// Counts a buyer that has finished.
    pub fn finished(&self, fate: BuyerResult) {
        *self.lock().fates.entry(fate).or_default() += 1;
    }

    /// Counts how late a call was made.
    pub fn late(&self, late: Duration) {
        self.lock().late_us.saturating_record(late.as_micros() as u64);
    }

    /// Counts a wait for a connection.
    pub fn waited(&self, waited: Duration) {
        let mut counts = self.lock();
        counts.waited += 1;
        counts.waited_us_max = counts.waited_us_max.max(waited.as_micros() as u64);
    }
}

impl Counts {
    /// Returns the number of buyers that have finished.
    pub fn done(&self) -> u64 {
        self.fates.values().sum()
    }
}

/// Returns the name of a call's outcome: `201`, `201 replayed`, `409 seats_unavailable`, `- timed_out`.
fn outcome(call: &Call) -> String {
    let status = call.status.map_or("-".to_owned(), |status| status.to_string());
    match (&call.error, call.replayed) {
        (Some(error), _) => format!("{status} {error}"),
        (None, true) => format!("{status} replayed"),
        (None, false) => status,
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(LATENCY_US_MAX, DIGITS).expect("the bounds are constants that fit")
}
