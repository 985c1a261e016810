//! A stopwatch that does not count time in which this process got no processor, so that tests of
//! latency judge the program and not a busy machine.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Interval at which a thread checks that it still runs.
const STEP: Duration = Duration::from_millis(5);
/// Delay of a woken thread that does not count as a stall.
const LATE: Duration = Duration::from_millis(20);
/// Processes that take part in a response, each of which may have stalled as long.
const PROCESSES: u32 = 3;

/// Total time for which this process has stalled, µs; measured by a thread that only sleeps.
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

    /// Returns the time since the start without stalls.
    pub fn elapsed(&self) -> Duration {
        let elapsed = self.began.elapsed();
        // A stall that lasts until now is counted once the measuring thread runs again.
        thread::sleep(STEP);
        let stalled_us = STALLED_US.load(Ordering::Relaxed) - self.stalled_us;
        elapsed.saturating_sub(Duration::from_micros(stalled_us) * PROCESSES)
    }
}
