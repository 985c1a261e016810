//! Counts of the observers of a process' sale and views.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use holdfast::live::{LiveObserver, LiveState};
use holdfast::sale::{LocalRefusal, SaleObserver};

/// Calls to be finished, requests refused from the live view, and events of views.
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

    /// Number of views with this event.
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
