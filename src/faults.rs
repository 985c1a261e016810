//! Harms this process at a named step of a sale; inert unless the hidden settings
//! `worker_fault_point` and `api_fault_point` name one. Tests see what the other processes make of
//! what is left behind.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::config::fault::{FaultPoint, FaultStep, Harm};

/// How long a killed process is given to notice.
const DEATH_TIMEOUT: Duration = Duration::from_secs(5);

/// The fault, and how often its step was reached.
#[derive(Debug, Default)]
pub struct Faults {
    point: FaultPoint,
    reached: AtomicU32,
}

impl Faults {
    /// Harms at this point, if there is one.
    pub fn new(point: FaultPoint) -> Self {
        Faults { point, reached: AtomicU32::new(0) }
    }

    /// A sale has come this far. Returns, if at all, once the harm is over.
    pub fn reached(&self, step: FaultStep) {
        let Some(fault) = self.point.0.filter(|fault| fault.step == step) else { return };
        if self.reached.fetch_add(1, Ordering::Relaxed) + 1 != fault.nth {
            return;
        }
        let signal = match fault.harm {
            Harm::Kill => "-KILL",
            Harm::Stop => "-STOP",
        };
        let process = std::process::id().to_string();
        // This thread waits for `kill`, so that nothing of this sale happens before the signal.
        let sent = Command::new("kill").args([signal, &process]).status();
        tracing::warn!(?sent, signal, "a fault was asked for");
        if fault.harm == Harm::Kill {
            std::thread::sleep(DEATH_TIMEOUT);
        }
    }
}
