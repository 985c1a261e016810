//! Metrics of the gates: each gate's verdicts, and its duration in one of [`TIMED_EVERY`] requests,
//! as reading the clock takes longer than most gates.

use std::cell::Cell;
use std::time::Instant;

use super::Verdict;
use crate::http::problem::Problem;
use crate::telemetry::Metrics;
use crate::telemetry::striped::{StripedCounter, StripedHistogram};

/// One of this many starts of a thread is timed, beginning with the first. Odd, as a request starts
/// once or twice: both are sampled.
const TIMED_EVERY: u32 = 17;

/// The gates, by their names in metrics.
#[derive(Clone, Copy, Debug)]
pub enum Gate {
    Access,
    Rate,
    Identity,
    CallerRate,
    Bots,
    Blocks,
    Admin,
    Quotas,
}

const GATES: [&str; 8] =
    ["access", "rate", "identity", "caller_rate", "bots", "blocks", "admin", "quotas"];

/// Each gate's verdicts and durations. Holds the labelled children, as looking one up takes a lock.
pub struct Meters {
    gates: [Meter; GATES.len()],
}

struct Meter {
    seconds: StripedHistogram,
    passed: StripedCounter,
    observed: StripedCounter,
    refused: StripedCounter,
}

impl Meters {
    /// Registers every gate at zero.
    pub fn new(metrics: &Metrics) -> Self {
        Meters {
            gates: GATES.map(|gate| {
                let verdict = |word| metrics.gate_verdicts.with_label_values(&[gate, word]);
                Meter {
                    seconds: metrics.gate_seconds.with_label_values(&[gate]),
                    passed: verdict("passed"),
                    observed: verdict("observed"),
                    refused: verdict("refused"),
                }
            }),
        }
    }

    /// Starts the first gate of a request.
    pub fn begin(&self) -> Laps<'_> {
        Laps { meters: self, began: is_timed().then(Instant::now) }
    }
}

fn is_timed() -> bool {
    thread_local!(static SINCE: Cell<u32> = const { Cell::new(0) });
    let since = SINCE.get();
    SINCE.set((since + 1) % TIMED_EVERY);
    since == 0
}

/// Measures one gate after another: the end of one is the start of the next.
pub struct Laps<'a> {
    meters: &'a Meters,
    /// The start of the current gate; `None` if this request is not timed.
    began: Option<Instant>,
}

impl Laps<'_> {
    /// Counts a gate's verdict and duration.
    pub fn passes(&mut self, gate: Gate, verdict: Result<Verdict, Problem>) -> Result<(), Problem> {
        self.record(gate, verdict.as_ref().copied());
        verdict.map(drop)
    }

    /// The same, of a borrowed verdict.
    pub fn record(&mut self, gate: Gate, verdict: Result<Verdict, &Problem>) {
        let meter = &self.meters.gates[gate as usize];
        match verdict {
            Ok(Verdict::Passed) => meter.passed.inc(),
            Ok(Verdict::Observed) => meter.observed.inc(),
            Err(_) => meter.refused.inc(),
        }
        if let Some(began) = &mut self.began {
            let now = Instant::now();
            meter.seconds.observe(now.duration_since(*began).as_secs_f64());
            *began = now;
        }
    }
}
