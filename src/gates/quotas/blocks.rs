//! The block list: callers of whom Redis has just said that they are over a limit. It refuses them
//! without I/O, repeats what Redis said, and forgets it when the wait is over. Bounded: beyond
//! [`SUBJECTS_MAX`] callers nothing is added, and Redis is asked each time.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::domain::{Limit, Rule, Subject};

/// Most callers on the list: some 30 MB.
pub(super) const SUBJECTS_MAX: usize = 100_000;
/// Longest that a caller is on it before Redis is asked again: it may have been forgiven elsewhere.
pub(super) const KEPT_MAX: Duration = Duration::from_secs(5);

struct Block {
    rule: Box<str>,
    limit: Limit,
    /// When one more request is granted.
    granted_at: Instant,
    /// Until when Redis need not be asked.
    until: Instant,
}

/// The list.
#[derive(Default)]
pub(super) struct Blocks {
    /// So that an empty list, which is the usual one, costs no lock.
    count: AtomicUsize,
    subjects: Mutex<HashMap<Subject, Vec<Block>>>,
}

impl Blocks {
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many callers are on it.
    pub(super) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Adds a caller that is over a rule's limit, or prolongs its stay.
    pub(super) fn add(
        &self,
        subject: &Subject,
        rule: &str,
        limit: Limit,
        wait_ms: u64,
        now: Instant,
    ) {
        let wait = Duration::from_millis(wait_ms);
        let (granted_at, until) = (now + wait, now + wait.min(KEPT_MAX));
        let block = Block { rule: rule.into(), limit, granted_at, until };
        let mut subjects = self.lock();
        let has_room = subjects.len() < SUBJECTS_MAX;
        match subjects.get_mut(subject) {
            Some(blocks) => {
                blocks.retain(|block| *block.rule != *rule && block.until > now);
                blocks.push(block);
            }
            None if has_room => {
                subjects.insert(subject.clone(), vec![block]);
                self.note_count(&subjects);
            }
            None => {}
        }
    }

    /// Whether one of these is on it, for any rule.
    pub(super) fn knows_any(&self, subjects: &[Subject]) -> bool {
        let listed = self.lock();
        subjects.iter().any(|subject| listed.contains_key(subject))
    }

    /// How long a caller has to wait, ms, if it is on the list for this rule as it is.
    pub(super) fn wait_ms(&self, subject: &Subject, rule: &Rule, now: Instant) -> Option<u64> {
        let subjects = self.lock();
        let blocks = subjects.get(subject)?;
        let is_meant = |b: &&Block| *b.rule == rule.name && b.limit == rule.limit && b.until > now;
        let block = blocks.iter().find(is_meant)?;
        u64::try_from((block.granted_at - now).as_millis()).ok()
    }

    /// Takes a caller off the list for one rule.
    pub(super) fn forgive(&self, subject: &Subject, rule: &str) {
        if self.is_empty() {
            return;
        }
        let mut subjects = self.lock();
        if let Some(blocks) = subjects.get_mut(subject) {
            blocks.retain(|block| *block.rule != *rule);
            if blocks.is_empty() {
                subjects.remove(subject);
                self.note_count(&subjects);
            }
        }
    }

    /// Forgets whose wait is over.
    pub(super) fn sweep(&self, now: Instant) {
        if self.is_empty() {
            return;
        }
        let mut subjects = self.lock();
        subjects.retain(|_, blocks| {
            blocks.retain(|block| block.until > now);
            !blocks.is_empty()
        });
        if subjects.is_empty() {
            subjects.shrink_to_fit();
        }
        self.note_count(&subjects);
    }

    fn note_count(&self, subjects: &HashMap<Subject, Vec<Block>>) {
        self.count.store(subjects.len(), Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Subject, Vec<Block>>> {
        // Nothing under this lock panics; a poisoned list would still be a whole one.
        self.subjects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::rules::shipped;

    fn user(number: usize) -> Subject {
        Subject::User(format!("u{number}").parse().unwrap())
    }

    fn add(blocks: &Blocks, subject: &Subject, rule: &Rule, wait_ms: u64, now: Instant) {
        blocks.add(subject, &rule.name, rule.limit, wait_ms, now);
    }

    #[test]
    fn a_caller_waits_as_long_as_redis_said_and_is_asked_about_sooner() {
        let (blocks, rules, now) = (Blocks::default(), shipped(), Instant::now());
        let (rule, other) = (&rules[1], &rules[2]);
        let hour_ms = 3_600_000;
        add(&blocks, &user(1), rule, hour_ms, now);
        add(&blocks, &user(2), rule, 100, now);
        assert_eq!(blocks.wait_ms(&user(1), rule, now), Some(hour_ms));
        assert_eq!(blocks.wait_ms(&user(1), other, now), None);
        assert!(blocks.knows_any(&[user(3), user(1)]) && !blocks.knows_any(&[user(3)]));
        let changed = Rule { limit: other.limit, ..rule.clone() };
        assert_eq!(blocks.wait_ms(&user(1), &changed, now), None);
        assert_eq!(blocks.wait_ms(&user(2), rule, now + Duration::from_millis(99)), Some(1));
        assert_eq!(blocks.wait_ms(&user(2), rule, now + Duration::from_millis(100)), None);
        assert_eq!(blocks.wait_ms(&user(1), rule, now + KEPT_MAX), None);
    }

    #[test]
    fn the_list_is_bounded_and_empty_again() {
        let (blocks, rules, now) = (Blocks::default(), shipped(), Instant::now());
        for number in 0..SUBJECTS_MAX + 10 {
            add(&blocks, &user(number), &rules[1], 1_000, now);
        }
        assert_eq!(blocks.len(), SUBJECTS_MAX);
        add(&blocks, &user(0), &rules[2], 2_000, now);
        blocks.sweep(now + Duration::from_millis(1_000));
        assert_eq!(blocks.len(), 1);
        blocks.forgive(&user(0), &rules[2].name);
        assert!(blocks.is_empty());
    }
}
