//! Fault injection: kills or stops this process at a named step of a sale, or panics there, so that tests can
//! check how it and the other processes recover.
//!
//! The hidden settings `worker_fault_point` and `api_fault_point` name the step. Fault points exist
//! in development builds and with the cargo feature `fault-injection`; a release build refuses the
//! settings.

use std::fmt;
use std::process::Command;
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Whether this build has fault points.
pub const FAULTS_COMPILED_IN: bool = cfg!(any(debug_assertions, feature = "fault-injection"));

/// How long the process waits for its own SIGKILL to take effect.
const DEATH_TIMEOUT: Duration = Duration::from_secs(5);

/// A step of a sale, named for what has just been completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultStep {
    /// The worker read the sale's log entry.
    Read,
    /// The ledger has the entry.
    Ledger,
    /// The booking's newest state is written.
    States,
    /// The claims are written.
    Claims,
    /// The outcome is written.
    Outcomes,
    /// The outcome is settled in Redis and the entry is acknowledged.
    Settle,
    /// The confirmation has its lease.
    Begin,
    /// The provider has a payment object.
    Create,
    /// The archive has the open payment intent.
    Intent,
    /// The provider answered the charge.
    Charge,
    /// A declined attempt is recorded.
    Decline,
    /// The seats are sold in Redis.
    Commit,
    /// The archive has the cancellation.
    Cancel,
    /// The reconciler took the lease of an abandoned payment.
    Takeover,
    /// The provider cancelled the payment object for good.
    FinalCancel,
    /// The archive has the decision to refund.
    RefundDecided,
    /// The provider answered the refund.
    Refund,
    /// The archive has the state of the refund: pending or failed.
    RefundRecorded,
}

const STEPS: [(FaultStep, &str); 18] = [
    (FaultStep::Read, "after_read"),
    (FaultStep::Ledger, "after_ledger"),
    (FaultStep::States, "after_states"),
    (FaultStep::Claims, "after_claims"),
    (FaultStep::Outcomes, "after_outcomes"),
    (FaultStep::Settle, "after_settle"),
    (FaultStep::Begin, "after_begin"),
    (FaultStep::Create, "after_create"),
    (FaultStep::Intent, "after_intent"),
    (FaultStep::Charge, "after_charge"),
    (FaultStep::Decline, "after_decline"),
    (FaultStep::Commit, "after_commit"),
    (FaultStep::Cancel, "after_cancel"),
    (FaultStep::Takeover, "after_takeover"),
    (FaultStep::FinalCancel, "after_final_cancel"),
    (FaultStep::RefundDecided, "after_refund_decided"),
    (FaultStep::Refund, "after_refund"),
    (FaultStep::RefundRecorded, "after_refund_recorded"),
];

/// What the process does to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harm {
    /// SIGKILL.
    Kill,
    /// SIGSTOP: the process continues from the same step at SIGCONT.
    Stop,
    /// A panic of the task that reached the step, as of a defect.
    Panic,
}

/// One configured fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The step at which it strikes.
    pub step: FaultStep,
    /// What it does.
    pub harm: Harm,
    /// At which occurrence of the step, counted from 1.
    pub nth: u32,
}

/// The value of a fault setting: a fault, or none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultPoint(pub Option<Fault>);

/// The configured fault and how often its step was reached.
#[derive(Debug, Default)]
pub struct Faults {
    point: FaultPoint,
    reached: AtomicU32,
}

impl Faults {
    /// Injects the configured fault, if there is one.
    pub fn new(point: FaultPoint) -> Self {
        Faults { point, reached: AtomicU32::new(0) }
    }

    /// Reports that a sale completed a step. Strikes if the fault is due; returns, if at all, after
    /// it.
    pub fn reached(&self, step: FaultStep) {
        if !FAULTS_COMPILED_IN {
            return;
        }
        let Some(fault) = self.point.0.filter(|fault| fault.step == step) else { return };
        if self.reached.fetch_add(1, Ordering::Relaxed) + 1 != fault.nth {
            return;
        }
        let signal = match fault.harm {
            Harm::Kill => "-KILL",
            Harm::Stop => "-STOP",
            Harm::Panic => panic!("injected panic at a step of a sale"),
        };
        let process = std::process::id().to_string();
        // This thread waits for `kill`, so nothing of this sale happens before the signal.
        let sent = Command::new("kill").args([signal, &process]).status();
        tracing::warn!(?sent, signal, "injected a fault");
        if fault.harm == Harm::Kill {
            std::thread::sleep(DEATH_TIMEOUT);
        }
    }
}

impl FromStr for FaultPoint {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "a fault point is written `after_claims:kill` or `after_read:stop:2`";
        if text.is_empty() {
            return Ok(FaultPoint(None));
        }
        if !FAULTS_COMPILED_IN {
            return Err("this build has no fault points, they are for tests: leave the setting \
                        empty, or build with the cargo feature fault-injection");
        }
        let mut parts = text.split(':');
        let step = parts.next().and_then(|name| STEPS.iter().find(|row| row.1 == name));
        let harm = match parts.next() {
            Some("kill") => Harm::Kill,
            Some("stop") => Harm::Stop,
            Some("panic") => Harm::Panic,
            _ => return Err(FORM),
        };
        let nth = parts.next().map_or(Ok(1), str::parse).map_err(|_| FORM)?;
        match (step, parts.next()) {
            (Some((step, _)), None) => Ok(FaultPoint(Some(Fault { step: *step, harm, nth }))),
            _ => Err(FORM),
        }
    }
}

impl fmt::Display for FaultPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(fault) = self.0 else { return Ok(()) };
        let harm = match fault.harm {
            Harm::Kill => "kill",
            Harm::Stop => "stop",
            Harm::Panic => "panic",
        };
        write!(f, "{}:{harm}:{}", STEPS[fault.step as usize].1, fault.nth)
    }
}

impl Serialize for FaultPoint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for FaultPoint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fault_point_is_empty_by_default() {
        assert_eq!("".parse(), Ok(FaultPoint::default()));
    }

    #[cfg(any(debug_assertions, feature = "fault-injection"))]
    #[test]
    fn fault_points_are_parsed_and_displayed() {
        for (step, name) in STEPS {
            let text = format!("{name}:stop:3");
            let point: FaultPoint = text.parse().unwrap();
            assert_eq!(point.0, Some(Fault { step, harm: Harm::Stop, nth: 3 }));
            assert_eq!(point.to_string(), text);
        }
        assert_eq!("after_read:kill".parse::<FaultPoint>().unwrap().0.unwrap().nth, 1);
        for bad in ["x", "after_read", "after_read:nap", "after_read:kill:x", "after_read:kill:1:1"]
        {
            assert!(bad.parse::<FaultPoint>().is_err(), "{bad}");
        }
    }

    #[cfg(not(any(debug_assertions, feature = "fault-injection")))]
    #[test]
    fn fault_point_in_a_release_build_is_refused() {
        let refusal = "after_read:kill".parse::<FaultPoint>().unwrap_err();
        assert!(refusal.contains("this build has no fault points"), "{refusal}");
    }
}
