//! What the ledger keeps of one subject: notes under each rule, and requests that are to be counted
//! no longer.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::ledger::{Noted, Taken};
use crate::domain::Limit;

/// Requests that one call has uncounted, of one subject and rule; the others follow with the next.
const UNCOUNTED_EACH_MAX: usize = 64;

/// What one subject has in the ledger.
#[derive(Default)]
pub(super) struct Account {
    pub(super) tallies: Vec<Tally>,
    /// Whether the subject is in its shard's queue.
    pub(super) queued: bool,
}

/// Notes of one subject under one rule, oldest first.
pub(super) struct Tally {
    pub(super) rule: Box<str>,
    pub(super) limit: Limit,
    pub(super) enforced: bool,
    unsent: VecDeque<Instant>,
    /// On their way to Redis, or lost on it, or counted by nobody as there was no room.
    sent: VecDeque<Instant>,
    /// Redis counted a request at this moment, Unix ms, that turned out not to count; and since
    /// when that is known here. They take no place: each is one that Redis has in its own count.
    uncounted: VecDeque<(Instant, i64)>,
}

impl Account {
    pub(super) fn tally(&mut self, rule: &str) -> Option<&mut Tally> {
        self.tallies.iter_mut().find(|tally| *tally.rule == *rule)
    }

    /// The tally of a rule, there or new.
    pub(super) fn tally_of(&mut self, rule: &str, limit: Limit, enforced: bool) -> &mut Tally {
        let at = self.tallies.iter().position(|tally| *tally.rule == *rule);
        let at = at.unwrap_or_else(|| {
            self.tallies.push(Tally {
                rule: rule.into(),
                limit,
                enforced,
                unsent: VecDeque::new(),
                sent: VecDeque::new(),
                uncounted: VecDeque::new(),
            });
            self.tallies.len() - 1
        });
        let tally = &mut self.tallies[at];
        tally.enforced = enforced;
        tally
    }
}

impl Tally {
    /// Places that are taken.
    pub(super) fn places(&self) -> usize {
        self.unsent.len() + self.sent.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places() == 0 && self.uncounted.is_empty()
    }

    /// Whether a call has something to take along.
    pub(super) fn has_unsent(&self) -> bool {
        !(self.unsent.is_empty() && self.uncounted.is_empty())
    }

    pub(super) fn window(&self) -> Duration {
        Duration::from_millis(self.limit.window_ms())
    }

    /// The moment of the oldest note.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.sent.front().into_iter().chain(self.unsent.front()).min().copied()
    }

    pub(super) fn note(&mut self, sent: bool, now: Instant) {
        if sent { self.sent.push_back(now) } else { self.unsent.push_back(now) }
    }

    pub(super) fn uncount(&mut self, at_ms: i64, now: Instant) {
        self.uncounted.push_back((now, at_ms));
    }

    /// Drops the newest note of this kind; false if there is none.
    pub(super) fn withdraw(&mut self, noted: Noted) -> bool {
        match noted {
            Noted::Not => false,
            Noted::Unsent => self.unsent.pop_back().is_some(),
            Noted::Sent => self.sent.pop_back().is_some(),
        }
    }

    /// Takes what is not sent: from now on it is.
    pub(super) fn take(&mut self) -> Taken {
        let noted = u32::try_from(self.unsent.len()).unwrap_or(u32::MAX);
        self.sent.append(&mut self.unsent);
        // A request of unknown outcome may have been noted as sent in between.
        self.sent.make_contiguous().sort_unstable();
        let count = self.uncounted.len().min(UNCOUNTED_EACH_MAX);
        let uncounted = self.uncounted.drain(..count).map(|(_, at_ms)| at_ms).collect();
        Taken { noted, uncounted }
    }

    /// Redis has counted so many of those that were sent; gives how many left.
    pub(super) fn counted(&mut self, taken: u32) -> usize {
        // Which of them does not matter; the younger ones keep their places longer.
        self.sent.drain(..self.sent.len().min(taken as usize)).count()
    }

    /// What was taken is to be sent again.
    pub(super) fn give_back(&mut self, taken: Taken, now: Instant) {
        let newest = self.sent.len().saturating_sub(taken.noted as usize);
        let mut back = self.sent.split_off(newest);
        back.append(&mut self.unsent);
        back.make_contiguous().sort_unstable();
        self.unsent = back;
        self.uncounted.extend(taken.uncounted.into_iter().map(|at_ms| (now, at_ms)));
    }

    /// Drops what is older than the window; gives how much. It stands in the order of its times,
    /// but for the moment that one request may overtake another.
    pub(super) fn forget_old(&mut self, now: Instant) -> usize {
        let window = self.window();
        let mut gone = 0;
        for notes in [&mut self.sent, &mut self.unsent] {
            while notes.front().is_some_and(|at| *at + window <= now) {
                notes.pop_front();
                gone += 1;
            }
        }
        while self.uncounted.front().is_some_and(|(at, _)| *at + window <= now) {
            self.uncounted.pop_front();
            gone += 1;
        }
        gone
    }
}
