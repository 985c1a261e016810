//! What the gates said and how long it took them: each gate's verdicts and times.

use std::time::Instant;

use prometheus::{Histogram, IntCounter};

use super::Verdict;
use crate::api::problem::Problem;
use crate::telemetry::Metrics;

/// The gates, as metrics name them.
#[derive(Clone, Copy, Debug)]
pub enum Gate {
    Access,
    Rate,
    Identity,
    Bots,
    Blocks,
    Admin,
    Quotas,
}

const GATES: [&str; 7] = ["access", "rate", "identity", "bots", "blocks", "admin", "quotas"];

/// Each gate's verdicts and times; children kept, as looking one up takes a lock.
pub struct Meters {
    gates: [Meter; GATES.len()],
}

struct Meter {
    seconds: Histogram,
    passed: IntCounter,
    observed: IntCounter,
    refused: IntCounter,
}

impl Meters {
    /// Every gate at zero.
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

    /// Begins with a gate.
    pub fn begin(&self) -> Laps<'_> {
        Laps { meters: self, began: Instant::now() }
    }
}

/// Times one gate after another: the end of one is the beginning of the next.
pub struct Laps<'a> {
    meters: &'a Meters,
    began: Instant,
}

impl Laps<'_> {
    /// Counts a gate's verdict and time.
    pub fn passes(&mut self, gate: Gate, verdict: Result<Verdict, Problem>) -> Result<(), Problem> {
        self.note(gate, verdict.as_ref().copied());
        verdict.map(drop)
    }

    /// The same, of a verdict that is used otherwise.
    pub fn note(&mut self, gate: Gate, verdict: Result<Verdict, &Problem>) {
        let meter = &self.meters.gates[gate as usize];
        match verdict {
            Ok(Verdict::Passed) => meter.passed.inc(),
            Ok(Verdict::Observed) => meter.observed.inc(),
            Err(_) => meter.refused.inc(),
        }
        let now = Instant::now();
        meter.seconds.observe(now.duration_since(self.began).as_secs_f64());
        self.began = now;
    }
}
