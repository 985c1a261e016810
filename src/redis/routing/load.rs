//! The number of calls in flight at one Redis: no more than it answers in a small part of the time-out.
//!
//! A limit on requests follows what is measured (Little's law: what a call waits is the number of
//! calls before it times the time of one): it falls with each answer that took longer than a fifth of
//! the time-out, and rises slowly with those that took less than a tenth. It does not matter what the
//! time is spent on: Redis, its other clients, this process. A call that would wait too long is refused
//! before it is sent, so its caller learns at once that it had no effect. A request's first call is
//! refused a little sooner than its second: what was begun is not thrown away.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The limit on requests before anything was measured.
const LIMIT_AT_FIRST: usize = 1_000;
/// Requests that are let through in any case: few enough to be answered by any Redis that works.
const LIMIT_MIN: usize = 64;
/// An answer that took longer than this part of the time-out is late,
const LATE_DIVISOR: u32 = 5;
/// and one that took less than this part is prompt.
const PROMPT_DIVISOR: u32 = 10;
/// The first call of a request is refused at the limit less this part of it.
const FIRST_DIVISOR: usize = 8;
/// A late answer lowers the limit by one part in so many.
const FALL_DIVISOR: usize = 16;
/// So many prompt answers raise it by one.
const RISE_ANSWERS: usize = 8;

/// Whether a call can be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// The first call of a request that its caller can make again.
    First,
    /// A later call of such a request, or its only one.
    Request,
    /// Upkeep of the sale, and what finishes something begun: bounded by the setting alone.
    Upkeep,
}

/// The calls under way at one Redis.
#[derive(Debug)]
pub struct InFlightLimit {
    max: usize,
    timeout: Duration,
    under_way: AtomicUsize,
    /// Calls under way at which requests are refused; the setting is above it.
    limit: AtomicUsize,
    prompt_answers: AtomicUsize,
    refused: AtomicU64,
}

/// One call in flight; it ends when this is dropped.
#[derive(Debug)]
pub struct Permit<'a> {
    load: &'a InFlightLimit,
    urgency: Urgency,
    began: Instant,
}

impl InFlightLimit {
    /// At most `max` calls, each of which is given up after `timeout`.
    pub fn new(max: usize, timeout: Duration) -> Self {
        InFlightLimit {
            max,
            timeout,
            under_way: AtomicUsize::new(0),
            limit: AtomicUsize::new(LIMIT_AT_FIRST),
            prompt_answers: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// A place; `None` if there are too many calls.
    pub fn enter(&self, urgency: Urgency) -> Option<Permit<'_>> {
        let limit = match urgency {
            Urgency::First => self.request_limit() - self.request_limit() / FIRST_DIVISOR,
            Urgency::Request => self.request_limit(),
            Urgency::Upkeep => self.max,
        };
        let ahead = self.under_way.fetch_add(1, Ordering::Relaxed);
        if ahead >= limit {
            self.under_way.fetch_sub(1, Ordering::Relaxed);
            self.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(Permit { load: self, urgency, began: Instant::now() })
    }

    /// Calls under way at which requests are refused.
    pub fn request_limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed).min(self.max)
    }

    /// How many calls were refused since the start.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// How many calls are under way.
    pub fn under_way(&self) -> usize {
        self.under_way.load(Ordering::Relaxed)
    }

    fn learn(&self, took: Duration) {
        let limit = self.limit.load(Ordering::Relaxed);
        let next = match took {
            took if took > self.timeout / LATE_DIVISOR => {
                (limit - limit / FALL_DIVISOR).max(LIMIT_MIN)
            }
            took if took < self.timeout / PROMPT_DIVISOR => {
                let answers = self.prompt_answers.fetch_add(1, Ordering::Relaxed);
                limit + usize::from(answers.is_multiple_of(RISE_ANSWERS))
            }
            _ => limit,
        };
        // Of two at once one may be lost.
        if next != limit && next <= self.max.max(LIMIT_MIN) {
            self.limit.store(next, Ordering::Relaxed);
        }
    }
}

impl Permit<'_> {
    /// The call was answered, or given up after the time-out. Upkeep teaches nothing: some of it is long by
    /// nature.
    pub fn note_answered(&self) {
        if self.urgency != Urgency::Upkeep {
            self.load.learn(self.began.elapsed());
        }
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.load.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_millis(500);

    #[test]
    fn limit_falls_with_late_answers_and_rises_with_prompt_ones() {
        let load = InFlightLimit::new(2_000, TIMEOUT);
        assert_eq!(load.request_limit(), LIMIT_AT_FIRST);
        load.learn(Duration::from_millis(80));
        assert_eq!(load.request_limit(), LIMIT_AT_FIRST, "neither late nor prompt");
        load.learn(Duration::from_millis(101));
        assert!((900..1_000).contains(&load.request_limit()), "{}", load.request_limit());
        (0..100).for_each(|_| load.learn(TIMEOUT));
        assert_eq!(load.request_limit(), LIMIT_MIN);
        (0..20_000).for_each(|_| load.learn(Duration::from_millis(5)));
        assert_eq!(load.request_limit(), 2_000, "bounded by the setting");
    }

    #[test]
    fn requests_are_refused_before_upkeep_and_places_come_back() {
        let load = InFlightLimit::new(1_200, TIMEOUT);
        let mut places: Vec<Permit<'_>> = Vec::new();
        places.extend(std::iter::from_fn(|| load.enter(Urgency::First)));
        assert_eq!((places.len(), load.under_way()), (875, 875));
        places.extend(std::iter::from_fn(|| load.enter(Urgency::Request)));
        assert_eq!((places.len(), load.under_way()), (1_000, 1_000));
        places.extend(std::iter::from_fn(|| load.enter(Urgency::Upkeep)));
        assert_eq!((places.len(), load.under_way()), (1_200, 1_200));
        places.clear();
        assert_eq!((load.under_way(), load.refused()), (0, 3));
        assert_eq!(InFlightLimit::new(10, TIMEOUT).request_limit(), 10, "the setting is obeyed");
    }
}
