//! The archive's lag during a sale, measured in the background.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::task::JoinHandle;

use crate::books::{Books, LOOK_PAUSE};

/// The latest and the greatest lag, shared with the task that measures it.
#[derive(Clone, Default)]
pub struct Behind(Arc<Measured>);

#[derive(Default)]
struct Measured {
    is_known: AtomicBool,
    now: AtomicU64,
    most: AtomicU64,
    failed: AtomicU64,
}

/// The measuring task.
pub struct Measuring(Option<JoinHandle<()>>);

impl Behind {
    /// Begins to measure; without books nothing is ever known.
    pub fn watch(books: Option<Books>, events: Vec<u32>) -> (Self, Measuring) {
        let behind = Behind::default();
        let seen = behind.clone();
        let measure = |books: Books| {
            tokio::spawn(async move {
                loop {
                    seen.add(books.behind(&events).await.ok().flatten());
                    tokio::time::sleep(LOOK_PAUSE).await;
                }
            })
        };
        (behind, Measuring(books.map(measure)))
    }

    fn add(&self, behind: Option<u64>) {
        self.0.is_known.store(behind.is_some(), Ordering::Relaxed);
        match behind {
            Some(entries) => {
                self.0.now.store(entries, Ordering::Relaxed);
                self.0.most.fetch_max(entries, Ordering::Relaxed);
            }
            None => {
                self.0.failed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Returns the lag in log entries, if the latest measurement succeeded.
    pub fn now(&self) -> Option<u64> {
        let is_known = self.0.is_known.load(Ordering::Relaxed);
        is_known.then(|| self.0.now.load(Ordering::Relaxed))
    }

    /// Returns the greatest lag and the number of failed measurements.
    pub fn most(&self) -> (u64, u64) {
        (self.0.most.load(Ordering::Relaxed), self.0.failed.load(Ordering::Relaxed))
    }
}

impl Drop for Measuring {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}
