//! The local counts: per subject and rule, the requests that this process decided without Redis,
//! as one number, and what Redis last reported. Sharded by partition.
//!
//! INVARIANT: a count has at most the rule's quota pending, and at most [`SUBJECTS_MAX`] subjects
//! are kept. Requests of further subjects are not counted, except in
//! [`LocalCounts::take_uncounted`].

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use foldhash::quality::RandomState;
use smallvec::SmallVec;

use super::Applied;
use super::count::{Count, Due};
use crate::domain::{Partition, Rule, Subject};
use crate::redis::Standing;

/// Most subjects of one process, an equal part for each partition: some 60 MB.
pub(super) const SUBJECTS_MAX: usize = 200_000;
/// Rules that count one subject, mostly.
const RULES_EXPECTED: usize = 2;

/// Counts of one subject, one a rule.
type Counts = SmallVec<[Count; RULES_EXPECTED]>;

/// The subjects of one partition.
#[derive(Default)]
struct Shard {
    subjects: HashMap<Subject, Counts, RandomState>,
    /// The names of the rules that count them.
    names: Vec<Arc<str>>,
    /// Whether something is to be sent with the next turn.
    is_urgent: bool,
    /// Counts that block their subject, as of the last sweep and with those added since.
    blocked: usize,
    /// Requests that Redis has not counted, as of the last sweep.
    pending: usize,
}

/// All local counts of one process.
pub(super) struct LocalCounts {
    shards: Vec<Mutex<Shard>>,
    /// Most subjects of one shard.
    subjects_max: usize,
    /// Sum over the shards: a request skips the locks while no subject is blocked, which is usual.
    blocked: AtomicUsize,
    uncounted: AtomicU64,
}

/// Why a request was not granted from this process' share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denied {
    /// The share is used up; after so long it is whole again, ms.
    Used(u64),
    /// Too many subjects are counted.
    Full,
}

impl LocalCounts {
    pub(super) fn new(partitions: u16) -> Self {
        LocalCounts {
            shards: (0..partitions).map(|_| Mutex::default()).collect(),
            subjects_max: SUBJECTS_MAX / usize::from(partitions),
            blocked: AtomicUsize::new(0),
            uncounted: AtomicU64::new(0),
        }
    }

    /// Counts that refuse their subject, as of the last sweep and with those added since.
    pub(super) fn blocked(&self) -> usize {
        self.blocked.load(Ordering::Relaxed)
    }

    /// Requests that Redis has not counted, as of the last sweep.
    pub(super) fn pending(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).pending).sum()
    }

    /// How many requests were not counted since the last call, for lack of room.
    pub(super) fn take_uncounted(&self) -> u64 {
        self.uncounted.swap(0, Ordering::Relaxed)
    }

    /// How long a subject has to wait, ms, if it is over the rule's limit by this process' count
    /// and Redis' last report.
    pub(super) fn wait_ms(&self, applied: &Applied<'_>, now: Instant) -> Option<u64> {
        let mut shard = self.lock(applied.partition);
        let counts = shard.subjects.get_mut(&applied.subject)?;
        let count = counts.iter_mut().find(|count| count.is_of(applied.rule))?;
        count.wait(applied.rule.limit, now).map(whole_ms)
    }

    /// Counts one request that was decided here under each of these rules; returns whether it was
    /// over one of the limits.
    pub(super) fn add<'a>(&self, applied: impl Iterator<Item = Applied<'a>>, now: Instant) -> bool {
        let (mut applied, mut was_over) = (applied.peekable(), false);
        while let Some(first) = applied.next() {
            // One lock and one lookup for all rules of a subject.
            let mut shard = self.lock(first.partition);
            let Shard { subjects, names, is_urgent, blocked, .. } = &mut *shard;
            let Some(counts) = self.counts_of(subjects, &first.subject) else { continue };
            let mut add = |applied: &Applied<'_>| {
                let added = count_of(counts, names, applied, now).add(now);
                *is_urgent |= added.is_urgent;
                was_over |= added.was_over;
                if added.blocks {
                    *blocked += 1;
                    self.blocked.fetch_add(1, Ordering::Relaxed);
                }
            };
            add(&first);
            while let Some(next) = applied.next_if(|next| next.subject == first.subject) {
                add(&next);
            }
        }
        was_over
    }

    /// Grants one request from this process' share under all these rules, or under none. Returns
    /// the first that denies it.
    pub(super) fn take_share(
        &self,
        applied: &[&Applied<'_>],
        now: Instant,
    ) -> Result<(), (usize, Denied)> {
        for (index, one) in applied.iter().enumerate() {
            let taken = self.change(one, |count| count.take_share(now));
            let taken = match taken {
                Some(taken) => taken.map_err(|wait| Denied::Used(whole_ms(wait))),
                None => Err(Denied::Full),
            };
            if let Err(denied) = taken {
                applied[..index].iter().for_each(|before| self.withdraw(before));
                return Err((index, denied));
            }
        }
        Ok(())
    }

    /// Takes one request back that this process has counted.
    pub(super) fn withdraw(&self, applied: &Applied<'_>) {
        self.change(applied, Count::withdraw);
    }

    /// Has Redis take back a request that it counted at this moment, Unix ms. Where there is no
    /// room the request goes on to count.
    pub(super) fn take_back(&self, applied: &Applied<'_>, at_ms: i64) {
        self.change_urgently(applied, |count| count.take_back(at_ms));
    }

    /// Forgets what a rule counted for a subject; has Redis forget it too, if `in_redis` or if this
    /// process has counted anything, which it may have sent.
    pub(super) fn forgive(&self, applied: &Applied<'_>, in_redis: bool) {
        if in_redis || self.counts(applied) {
            self.change_urgently(applied, Count::forgive);
        }
    }

    /// Whether there is a count of this subject and rule.
    fn counts(&self, applied: &Applied<'_>) -> bool {
        let shard = self.lock(applied.partition);
        let counts = shard.subjects.get(&applied.subject);
        counts.is_some_and(|counts| counts.iter().any(|count| count.is_of(applied.rule)))
    }

    /// What a call is to take back for this subject and rule, to be sent by the caller.
    pub(super) fn due_with_call(&self, applied: &Applied<'_>) -> Vec<i64> {
        let mut shard = self.lock(applied.partition);
        let Some(counts) = shard.subjects.get_mut(&applied.subject) else { return Vec::new() };
        let count = counts.iter_mut().find(|count| count.is_of(applied.rule));
        count.map(Count::due_moments).unwrap_or_default()
    }

    /// A call surely did not run: what it was to take back is due again.
    pub(super) fn not_run(&self, applied: &Applied<'_>, take_back: Vec<i64>) {
        if !take_back.is_empty() {
            self.change_urgently(applied, |count| count.take_back.extend(take_back));
        }
    }

    /// Redis refused a request of this subject.
    pub(super) fn block(&self, applied: &Applied<'_>, standing: &Standing, now: Instant) {
        let mut shard = self.lock(applied.partition);
        if self.change_in(&mut shard, applied, |count| count.report(standing, now)).is_some() {
            // If it was blocked before, the next sweep corrects the sum.
            shard.blocked += 1;
            self.blocked.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether something is to be sent with the next turn.
    pub(super) fn is_urgent(&self, partition: Partition) -> bool {
        self.lock(partition).is_urgent
    }

    /// What is due to be sent to a partition; requests from this age on.
    pub(super) fn due(&self, partition: Partition, age_min: Duration, now: Instant) -> Vec<Due> {
        let mut due = Vec::new();
        let mut shard = self.lock(partition);
        shard.is_urgent = false;
        for (subject, counts) in &mut shard.subjects {
            due.extend(counts.iter_mut().filter_map(|count| count.due(subject, age_min, now)));
        }
        due
    }

    /// Evicts counts that are over, and sums up the others.
    pub(super) fn sweep(&self, partition: Partition, now: Instant) {
        let mut shard = self.lock(partition);
        let Shard { subjects, names, blocked, pending, .. } = &mut *shard;
        let before = std::mem::take(blocked);
        *pending = 0;
        subjects.retain(|_, counts| {
            counts.retain(|count| count.is_needed(now));
            for count in &*counts {
                *blocked += usize::from(count.blocks(now));
                *pending += count.pending as usize + count.take_back.len();
            }
            !counts.is_empty()
        });
        names.retain(|name| Arc::strong_count(name) > 1);
        if subjects.is_empty() {
            subjects.shrink_to_fit();
        }
        // Wraps where the difference is negative, and so does the sum.
        self.blocked.fetch_add(blocked.wrapping_sub(before), Ordering::Relaxed);
    }

    /// Redis has counted what was sent.
    pub(super) fn sent(&self, partition: Partition, due: &Due, standing: &Standing, now: Instant) {
        self.settle(partition, due, |count| {
            // Under a rule that only observes nothing is owed beyond the quota.
            let counted = if due.enforced { standing.taken } else { due.pending };
            count.pending = count.pending.saturating_sub(counted);
            count.report(standing, now);
        });
    }

    /// It is unknown whether Redis has counted what was sent: it is not sent again.
    pub(super) fn lost(&self, partition: Partition, due: &Due) {
        self.settle(partition, due, |count| {
            count.pending = count.pending.saturating_sub(due.pending);
        });
    }

    /// What was to be sent surely was not: it stays, or is due again.
    pub(super) fn not_sent(&self, partition: Partition, due: Due) {
        self.settle(partition, &due, |count| {
            count.take_back.extend(&due.take_back);
            count.forgives |= due.forgives;
        });
        self.lock(partition).is_urgent = true;
    }

    fn settle(&self, partition: Partition, due: &Due, settle: impl FnOnce(&mut Count)) {
        let mut shard = self.lock(partition);
        let Some(counts) = shard.subjects.get_mut(&due.subject) else { return };
        if let Some(count) = counts.iter_mut().find(|count| count.rule == due.rule) {
            settle(count);
        }
    }

    /// Changes the count of a subject and rule, there or new; `None` where there is no room.
    fn change<R>(&self, applied: &Applied<'_>, change: impl FnOnce(&mut Count) -> R) -> Option<R> {
        let mut shard = self.lock(applied.partition);
        self.change_in(&mut shard, applied, change)
    }

    /// As [`Self::change`], to be sent with the next turn.
    fn change_urgently(&self, applied: &Applied<'_>, change: impl FnOnce(&mut Count)) {
        let mut shard = self.lock(applied.partition);
        shard.is_urgent |= self.change_in(&mut shard, applied, change).is_some();
    }

    fn change_in<R>(
        &self,
        shard: &mut Shard,
        applied: &Applied<'_>,
        change: impl FnOnce(&mut Count) -> R,
    ) -> Option<R> {
        let counts = self.counts_of(&mut shard.subjects, &applied.subject)?;
        Some(change(count_of(counts, &mut shard.names, applied, Instant::now())))
    }

    /// The counts of a subject, there or new; `None` where there is no room.
    fn counts_of<'a>(
        &self,
        subjects: &'a mut HashMap<Subject, Counts, RandomState>,
        subject: &Subject,
    ) -> Option<&'a mut Counts> {
        let has_room = subjects.len() < self.subjects_max;
        match subjects.entry(subject.clone()) {
            Entry::Occupied(counts) => Some(counts.into_mut()),
            Entry::Vacant(new) if has_room => Some(new.insert(Counts::new())),
            Entry::Vacant(_) => {
                self.uncounted.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }

    fn lock(&self, partition: Partition) -> MutexGuard<'_, Shard> {
        lock(&self.shards[usize::from(partition.0)])
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    // Nothing panics under this lock.
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The count of a rule, there or new.
fn count_of<'a>(
    counts: &'a mut Counts,
    names: &mut Vec<Arc<str>>,
    applied: &Applied<'_>,
    now: Instant,
) -> &'a mut Count {
    let Rule { name, limit, .. } = applied.rule;
    let at = counts.iter().position(|count| count.is_of(applied.rule));
    let at = at.unwrap_or_else(|| {
        let known = names.iter().find(|known| ***known == **name).cloned();
        let name = known.unwrap_or_else(|| {
            let new: Arc<str> = name.as_str().into();
            names.push(new.clone());
            new
        });
        counts.push(Count::new(name, *limit, now));
        counts.len() - 1
    });
    let count = &mut counts[at];
    count.apply(applied.rule.limit, applied.enforced);
    count
}

fn whole_ms(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "counts_tests.rs"]
mod tests;
