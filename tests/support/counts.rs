//! What a process' sale and views tell, counted.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use holdfast::live::{LiveObserver, LiveState};
use holdfast::sale::{LocalRefusal, SaleObserver};

/// How many calls wait to be finished, how many requests were refused from the live view, and what
/// became of views.
#[derive(Default)]
pub struct Counts {
    unfinished: AtomicUsize,
    refused_here: AtomicUsize,
    views: Mutex<BTreeMap<&'static str, usize>>,
}

impl Counts {
    /// Calls that wait to be finished.
    pub fn unfinished(&self) -> usize {
        self.unfinished.load(Ordering::SeqCst)
    }

    /// Requests that were refused from the live view.
    pub fn refused_here_so_far(&self) -> usize {
        self.refused_here.load(Ordering::SeqCst)
    }

    /// How often this became of a view.
    pub fn views(&self, what: &'static str) -> usize {
        self.views.lock().unwrap().get(what).copied().unwrap_or_default()
    }
}

impl SaleObserver for Counts {
    fn unknown_outcome(&self, queued: bool) {
        assert!(queued, "the queue of unfinished calls is full");
    }
    fn unfinished(&self, length: usize) {
        self.unfinished.store(length, Ordering::SeqCst);
    }
    fn payment(&self, _: &'static str) {}
    fn refused_here(&self, _: LocalRefusal) {
        self.refused_here.fetch_add(1, Ordering::SeqCst);
    }
}

impl LiveObserver for Counts {
    fn view(&self, what: &'static str) {
        *self.views.lock().unwrap().entry(what).or_default() += 1;
    }
    fn beat(&self) {}
    fn state(&self, _: &LiveState) {}
}
