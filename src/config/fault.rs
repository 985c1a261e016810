//! Where a process harms itself, so that tests can see what becomes of what it leaves behind.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The steps of a sale, each named for when it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultStep {
    /// Its entry is read.
    Read,
    /// The ledger has it.
    Ledger,
    /// The booking's newest state is written.
    States,
    /// The claims are.
    Claims,
    /// The outcome is.
    Outcomes,
    /// Redis follows it, and its entry is acknowledged.
    Settle,
    /// Its confirmation has a lease.
    Begin,
    /// The provider has a payment object for it.
    Create,
    /// The archive has its open intent.
    Intent,
    /// The provider has answered its charge.
    Charge,
    /// A declined attempt is recorded.
    Decline,
    /// Its seats are sold in Redis.
    Commit,
    /// The archive says that it is cancelled.
    Cancel,
    /// A payment that nobody looked after has a lease of the reconciler.
    Takeover,
    /// The provider has cancelled its payment object for good.
    FinalCancel,
    /// The archive says that its money goes back.
    RefundDecided,
    /// The provider has answered its refund.
    Refund,
    /// The archive has that its refund is on its way, or failed.
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
    /// SIGSTOP: it goes on where it was at SIGCONT.
    Stop,
}

/// One fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// When.
    pub step: FaultStep,
    /// What.
    pub harm: Harm,
    /// Which time the step is reached, from 1.
    pub nth: u32,
}

/// A fault, or none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultPoint(pub Option<Fault>);

impl FromStr for FaultPoint {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "a fault point is written `after_claims:kill` or `after_read:stop:2`";
        if text.is_empty() {
            return Ok(FaultPoint(None));
        }
        let mut parts = text.split(':');
        let step = parts.next().and_then(|word| STEPS.iter().find(|row| row.1 == word));
        let harm = match parts.next() {
            Some("kill") => Harm::Kill,
            Some("stop") => Harm::Stop,
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
    fn fault_points_are_read_and_shown() {
        for (step, word) in STEPS {
            let text = format!("{word}:stop:3");
            let point: FaultPoint = text.parse().unwrap();
            assert_eq!(point.0, Some(Fault { step, harm: Harm::Stop, nth: 3 }));
            assert_eq!(point.to_string(), text);
        }
        assert_eq!("".parse(), Ok(FaultPoint::default()));
        assert_eq!("after_read:kill".parse::<FaultPoint>().unwrap().0.unwrap().nth, 1);
        for bad in ["x", "after_read", "after_read:nap", "after_read:kill:x", "after_read:kill:1:1"]
        {
            assert!(bad.parse::<FaultPoint>().is_err(), "{bad}");
        }
    }
}
