//! Counts during the sale: latencies, responses, buyers' results, and the load generator's own delays.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::history::{Call, Operation};
use crate::plan::Part;

/// Significant digits of latencies of the whole run, and of one step of time.
const DIGITS: u8 = 3;
const STEP_DIGITS: u8 = 2;
/// Longest latency that is recorded exactly, µs: an hour.
const LATENCY_US_MAX: u64 = 3_600_000_000;

/// A buyer's result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
    /// Left the waiting room before its turn.
    LeftLine,
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

impl BuyerResult {
    /// Returns its name in results.
    pub fn as_str(self) -> &'static str {
        match self {
            BuyerResult::Bought => "bought",
            BuyerResult::Returned => "returned",
            BuyerResult::Cancelled => "cancelled",
            BuyerResult::Abandoned => "abandoned",
            BuyerResult::WentWithout => "went_without",
            BuyerResult::LeftLine => "left_line",
            BuyerResult::TooLate => "too_late",
            BuyerResult::Declined => "declined",
            BuyerResult::Voided => "voided",
            BuyerResult::Refused => "refused",
            BuyerResult::Pending => "pending",
            BuyerResult::Failed => "failed",
        }
    }
}

/// What came of a call, coarsely.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OutcomeClass {
    /// 2xx.
    Granted,
    /// 402, 403, 404, 409, 410.
    Refused,
    /// 429.
    Limited,
    /// 503.
    Unavailable,
    /// No response, or another 5xx.
    Failed,
    /// Anything else.
    Other,
}

impl OutcomeClass {
    /// Returns the class of a status; `None` is no response.
    pub fn of(status: Option<u16>) -> Self {
        match status {
            Some(200..=299) => OutcomeClass::Granted,
            Some(402 | 403 | 404 | 409 | 410) => OutcomeClass::Refused,
            Some(429) => OutcomeClass::Limited,
            Some(503) => OutcomeClass::Unavailable,
            None | Some(500..=599) => OutcomeClass::Failed,
            Some(_) => OutcomeClass::Other,
        }
    }

    /// Returns its name in results.
    pub fn as_str(self) -> &'static str {
        match self {
            OutcomeClass::Granted => "granted",
            OutcomeClass::Refused => "refused",
            OutcomeClass::Limited => "limited",
            OutcomeClass::Unavailable => "unavailable",
            OutcomeClass::Failed => "failed",
            OutcomeClass::Other => "other",
        }
    }
}

/// The counts of a run, shared by all buyers.
pub struct Tally(Mutex<Counts>);

/// Counts by operation.
pub type Operations = BTreeMap<Operation, OperationCounts>;

/// The counts.
#[derive(Default)]
pub struct Counts {
    /// People's calls by operation.
    pub people: Operations,
    /// Bots' calls by operation.
    pub bots: Operations,
    /// Calls of each event by operation, where there are several.
    pub events: Vec<Operations>,
    /// People by result.
    pub fates: BTreeMap<BuyerResult, u64>,
    /// Bots by result.
    pub bot_fates: BTreeMap<BuyerResult, u64>,
    /// Delay of calls that the generator caused, µs.
    pub late_us: Option<Histogram<u64>>,
    /// Calls that waited for a connection.
    pub waited: u64,
    /// The longest of these waits, µs.
    pub waited_us_max: u64,
    /// Calls.
    pub calls: u64,
    /// The calls since the last step.
    step: Step,
}

/// One operation.
pub struct OperationCounts {
    /// From when it was due, µs.
    pub latency_us: Histogram<u64>,
    /// From when it was sent, µs.
    pub service_us: Histogram<u64>,
    /// Number of responses by status, error code and whether it was a replay. Few are different.
    outcomes: Vec<(Option<u16>, Option<String>, bool, u64)>,
}

/// The calls of one step of time.
#[derive(Default)]
pub struct Step {
    /// Latencies of people's calls, µs.
    pub people: BTreeMap<Operation, Histogram<u64>>,
    /// Latencies by event, where there are several, µs.
    pub events: Vec<BTreeMap<Operation, Histogram<u64>>>,
    /// People's calls by outcome.
    pub outcomes: BTreeMap<OutcomeClass, u64>,
    /// Bots' calls by outcome.
    pub bot_outcomes: BTreeMap<OutcomeClass, u64>,
}

/// The generator's share of a call's latency.
#[derive(Clone, Copy, Default)]
pub struct Delays {
    /// How late the call was made.
    pub late: Duration,
    /// How long it waited for a connection, if it did.
    pub waited: Option<Duration>,
}

impl Tally {
    /// Creates counts of zero for this many events.
    pub fn new(events: usize) -> Self {
        let several = if events > 1 { events } else { 0 };
        let new = Counts {
            events: (0..several).map(|_| Operations::new()).collect(),
            late_us: Some(histogram(DIGITS)),
            step: Step::new(several),
            ..Counts::default()
        };
        Tally(Mutex::new(new))
    }

    /// Locks the counts. Callers hold the lock only briefly.
    pub fn lock(&self) -> MutexGuard<'_, Counts> {
        // A poisoned lock still guards consistent counts: no counting code can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call of a part of the crowd.
    pub fn call(&self, call: &Call, part: Part, delays: Delays) {
        let mut counts = self.lock();
        let Counts { people, bots, events, late_us, step, .. } = &mut *counts;
        let is_bot = part == Part::Bot;
        if let Some(late_us) = late_us {
            late_us.saturating_record(delays.late.as_micros() as u64);
        }
        let group = if is_bot { bots } else { people };
        group.entry(call.operation).or_insert_with(OperationCounts::new).add(call);
        if let Some(event) = events.get_mut(part.event()) {
            event.entry(call.operation).or_insert_with(OperationCounts::new).add(call);
        }
        step.add(call, part);
        counts.calls += 1;
        if let Some(waited) = delays.waited {
            counts.waited += 1;
            counts.waited_us_max = counts.waited_us_max.max(waited.as_micros() as u64);
        }
    }

    /// Counts a buyer that has finished.
    pub fn finished(&self, part: Part, fate: BuyerResult) {
        let mut counts = self.lock();
        let fates = match part {
            Part::Bot => &mut counts.bot_fates,
            Part::People | Part::Quiet => &mut counts.fates,
        };
        *fates.entry(fate).or_default() += 1;
    }

    /// Ends a step of time; returns its calls.
    pub fn end_step(&self) -> Step {
        let mut counts = self.lock();
        let next = Step::new(counts.events.len());
        std::mem::replace(&mut counts.step, next)
    }
}

impl Counts {
    /// Returns the number of buyers that have finished.
    pub fn done(&self) -> u64 {
        self.fates.values().chain(self.bot_fates.values()).sum()
    }
}

impl OperationCounts {
    fn new() -> Self {
        OperationCounts {
            latency_us: histogram(DIGITS),
            service_us: histogram(DIGITS),
            outcomes: Vec::new(),
        }
    }

    fn add(&mut self, call: &Call) {
        self.latency_us.saturating_record(micros(call.due_ns, call.answered_ns));
        if let Some(sent) = call.sent_ns {
            self.service_us.saturating_record(micros(sent, call.answered_ns));
        }
        let is_same = |(status, error, replayed, _): &&mut (_, Option<String>, _, _)| {
            *status == call.status && *replayed == call.replayed && *error == call.error
        };
        match self.outcomes.iter_mut().find(is_same) {
            Some((.., count)) => *count += 1,
            None => self.outcomes.push((call.status, call.error.clone(), call.replayed, 1)),
        }
    }

    /// Returns the number of calls by outcome: `201`, `201 replayed`, `409 seats_unavailable`,
    /// `- timed_out`.
    pub fn outcomes(&self) -> BTreeMap<String, u64> {
        let mut outcomes = BTreeMap::new();
        for (status, error, replayed, count) in &self.outcomes {
            let status = status.map_or("-".to_owned(), |status| status.to_string());
            let name = match (error, replayed) {
                (Some(error), _) => format!("{status} {error}"),
                (None, true) => format!("{status} replayed"),
                (None, false) => status,
            };
            // A replay with an error code has the error's name.
            *outcomes.entry(name).or_default() += count;
        }
        outcomes
    }
}

impl Step {
    fn new(events: usize) -> Self {
        Step { events: (0..events).map(|_| BTreeMap::new()).collect(), ..Step::default() }
    }

    fn add(&mut self, call: &Call, part: Part) {
        let latency_us = micros(call.due_ns, call.answered_ns);
        let record = |operations: &mut BTreeMap<Operation, Histogram<u64>>| {
            let new = || histogram(STEP_DIGITS);
            operations.entry(call.operation).or_insert_with(new).saturating_record(latency_us);
        };
        self.events.get_mut(part.event()).into_iter().for_each(record);
        let outcomes = match part {
            Part::Bot => &mut self.bot_outcomes,
            Part::People | Part::Quiet => {
                record(&mut self.people);
                &mut self.outcomes
            }
        };
        *outcomes.entry(OutcomeClass::of(call.status)).or_default() += 1;
    }
}

fn micros(from_ns: u64, to_ns: u64) -> u64 {
    to_ns.saturating_sub(from_ns) / 1_000
}

fn histogram(digits: u8) -> Histogram<u64> {
    Histogram::new_with_max(LATENCY_US_MAX, digits).expect("the bounds are constants that fit")
}
