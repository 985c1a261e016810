//! Counts of the observers of a process' sale and views.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use holdfast::live::{LiveObserver, LiveState};
use holdfast::sale::SaleObserver;

/// Calls to be finished, requests refused from the live view, and events of views.
#[derive(Default)]
pub struct Counts {
    unfinished: AtomicUsize,
    refused_from_view: AtomicUsize,
    views: Mutex<BTreeMap<&'static str, usize>>,
}

impl Counts {
    /// Calls that wait to be finished.
    pub fn unfinished(&self) -> usize {
        self.unfinished.load(Ordering::SeqCst)
    }

    /// Requests that were refused from the live view.
    pub fn refusals_from_view(&self) -> usize {
        self.refused_from_view.load(Ordering::SeqCst)
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
    fn refused_from_view(&self, _: &'static str) {
        self.refused_from_view.fetch_add(1, Ordering::SeqCst);
    }
}

impl LiveObserver for Counts {
    fn view(&self, what: &'static str) {
        *self.views.lock().unwrap().entry(what).or_default() += 1;
    }
    fn beat(&self) {}
    fn state(&self, _: &LiveState) {}
}
