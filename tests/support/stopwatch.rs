//! Time as a busy machine grants it: what was not run for lack of a processor is not counted, so that
//! tests of promptness judge the program and not the machine.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How often a thread looks whether it still runs.
const STEP: Duration = Duration::from_millis(5);
/// What a woken thread may be late without being called stalled.
const LATE: Duration = Duration::from_millis(20);
/// Several processes take part in an answer, each of which waits for a processor.
const PROCESSES: u32 = 3;

/// How long this process has stood still so far, microseconds; measured by a thread that does
/// nothing but sleep.
static STALLED_US: LazyLock<&'static AtomicU64> = LazyLock::new(|| {
    let stalled: &'static AtomicU64 = Box::leak(Box::default());
    thread::spawn(move || {
        loop {
            let began = Instant::now();
            thread::sleep(STEP);
            let late = began.elapsed().saturating_sub(STEP);
            if late > LATE {
                stalled.fetch_add(late.as_micros() as u64, Ordering::Relaxed);
            }
        }
    });
    stalled
});

/// Measures how long something takes.
pub struct Stopwatch {
    began: Instant,
    stalled_us: u64,
}

impl Stopwatch {
    pub fn start() -> Self {
        let stalled_us = STALLED_US.load(Ordering::Relaxed);
        Stopwatch { began: Instant::now(), stalled_us }
    }

    /// The time since then, without the time in which the machine ran nothing of this.
    pub fn elapsed(&self) -> Duration {
        let elapsed = self.began.elapsed();
        // A stall that lasts until now is told once the measuring thread runs again.
        thread::sleep(STEP);
        let stalled_us = STALLED_US.load(Ordering::Relaxed) - self.stalled_us;
        elapsed.saturating_sub(Duration::from_micros(stalled_us) * PROCESSES)
    }
}
