//! The ledger: requests that this process decided alone, one note each, until Redis has counted
//! them or their window is over. At most `share` notes a subject and rule, and [`NOTES_MAX`] in all.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use foldhash::quality::RandomState;

use crate::domain::{Limit, Partition, Rule, Subject};

/// Most notes of one process: some 40 MB if each is of another caller.
pub(super) const NOTES_MAX: usize = 200_000;
/// Most callers waiting to be forgiven, a partition.
const FORGIVEN_MAX: usize = 10_000;

/// A request to be noted under one rule.
pub(super) struct Note<'a> {
    pub(super) partition: Partition,
    pub(super) subject: &'a Subject,
    pub(super) rule: &'a Rule,
    pub(super) enforced: bool,
}

/// Why a request was not noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denied {
    /// No place is left under the rule of the n-th note; after so long one is.
    Used { at: usize, wait_ms: u64 },
    /// The ledger is at its bound.
    Full,
}

/// What is to be told to Redis about one subject and rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) subject: Subject,
    pub(super) rule: Box<str>,
    pub(super) limit: Limit,
    /// Whether the subject is to be blocked if it is over.
    pub(super) enforced: bool,
    pub(super) noted: u32,
    /// What was counted is forgiven first.
    pub(super) forgives: bool,
}

/// Notes of one subject under one rule, oldest first.
struct Tally {
    rule: Box<str>,
    limit: Limit,
    enforced: bool,
    unsent: VecDeque<Instant>,
    /// On their way to Redis, or lost on it, or counted by nobody as there was no room.
    sent: VecDeque<Instant>,
}

#[derive(Default)]
struct Account {
    tallies: Vec<Tally>,
    /// Whether the subject is in its shard's queue.
    queued: bool,
}

/// What belongs to one partition of Redis.
#[derive(Default)]
struct Shard {
    accounts: HashMap<Subject, Account, RandomState>,
    /// Subjects with notes to send.
    queue: VecDeque<Subject>,
    forgiven: VecDeque<Due>,
}

/// All notes.
pub(super) struct Ledger {
    shards: Vec<Mutex<Shard>>,
    notes: AtomicUsize,
    /// Callers that were not forgiven, as too many were to be.
    unforgiven: AtomicU64,
}

impl Ledger {
    pub(super) fn new(partitions: u16) -> Self {
        let shards = (0..partitions).map(|_| Mutex::default()).collect();
        Ledger { shards, notes: AtomicUsize::new(0), unforgiven: AtomicU64::new(0) }
    }

    /// How many notes there are.
    pub(super) fn len(&self) -> usize {
        self.notes.load(Ordering::Relaxed)
    }

    /// How many callers were not forgiven since this was last asked.
    pub(super) fn take_unforgiven(&self) -> u64 {
        self.unforgiven.swap(0, Ordering::Relaxed)
    }

    /// Notes one request under all these rules (of one slot or two), or under none if an enforced
    /// one has no place left; gives under how many. `sent` where Redis may have counted it already.
    pub(super) fn enter(
        &self,
        notes: &[Note<'_>],
        sent: bool,
        now: Instant,
    ) -> Result<usize, Denied> {
        let Some(first) = notes.first() else { return Ok(0) };
        let is_alike =
            |note: &Note<'_>| note.partition == first.partition && note.subject == first.subject;
        if notes.iter().all(is_alike) {
            // The usual case, one lock: nobody comes in between the look and the writing.
            let mut shard = self.lock(first.partition);
            let places = self.places(&mut shard, notes, 0, now)?;
            return self.write(&mut shard, notes, places, sent, now);
        }
        // First looks at all, then writes; another request in between takes a place at most, and
        // is found by the second look.
        let mut noted = 0;
        for writes in [false, true] {
            for (at, note) in notes.iter().enumerate() {
                let (mut shard, note) = (self.lock(note.partition), std::slice::from_ref(note));
                let places = self.places(&mut shard, note, at, now)?;
                if writes {
                    noted += self.write(&mut shard, note, places, sent, now)?;
                }
            }
        }
        Ok(noted)
    }

    /// Which of these notes, of one subject, find a place: a bit each. They are the request's from
    /// the `offset`-th on.
    fn places(
        &self,
        shard: &mut Shard,
        notes: &[Note<'_>],
        offset: usize,
        now: Instant,
    ) -> Result<u64, Denied> {
        let mut places = 0;
        let Some(first) = notes.first() else { return Ok(places) };
        let mut account = shard.accounts.get_mut(first.subject);
        for (at, note) in notes.iter().enumerate() {
            let tally = account.as_mut().and_then(|account| account.tally(&note.rule.name));
            match tally.map_or(Ok(()), |tally| self.room(tally, note.rule, now)) {
                Ok(()) => places |= 1 << at,
                Err(wait_ms) if note.enforced => {
                    return Err(Denied::Used { at: offset + at, wait_ms });
                }
                Err(_) => {}
            }
        }
        Ok(places)
    }

    /// Notes what found a place, if the whole ledger has room for it; gives how many.
    fn write(
        &self,
        shard: &mut Shard,
        notes: &[Note<'_>],
        places: u64,
        sent: bool,
        now: Instant,
    ) -> Result<usize, Denied> {
        let count = places.count_ones() as usize;
        if count == 0 {
            return Ok(0);
        }
        let found = notes.iter().enumerate().filter(|(at, _)| places & (1 << at) != 0);
        if self.len() + count > NOTES_MAX {
            // What is only observed is noted where there is room.
            let matters = found.clone().any(|(_, note)| note.enforced);
            return if matters { Err(Denied::Full) } else { Ok(0) };
        }
        self.notes.fetch_add(count, Ordering::Relaxed);
        found.for_each(|(_, note)| shard.write(note, sent, now));
        Ok(count)
    }

    /// Whether a place is left, or how long until one is, ms.
    fn room(&self, tally: &mut Tally, rule: &Rule, now: Instant) -> Result<(), u64> {
        tally.limit = rule.limit;
        let gone = tally.forget_old(now);
        if gone > 0 {
            self.notes.fetch_sub(gone, Ordering::Relaxed);
        }
        if tally.len() < rule.share() as usize {
            return Ok(());
        }
        let oldest = tally.sent.front().into_iter().chain(tally.unsent.front()).min();
        let over_at = oldest.map_or(now, |at| *at + tally.window());
        Err(u64::try_from((over_at - now).as_millis()).unwrap_or(u64::MAX))
    }

    /// Takes along what is not sent yet: from now on it is. Gives how many notes.
    pub(super) fn take(&self, partition: Partition, subject: &Subject, rule: &str) -> u32 {
        if self.len() == 0 {
            return 0;
        }
        self.lock(partition).tally(subject, rule).map_or(0, Tally::send)
    }

    /// Redis has counted so many of the notes that were sent.
    pub(super) fn counted(&self, partition: Partition, subject: &Subject, rule: &str, taken: u32) {
        if taken == 0 {
            return;
        }
        let mut shard = self.lock(partition);
        let Some(tally) = shard.tally(subject, rule) else { return };
        // Which of them does not matter; the younger ones keep their places longer.
        let gone = tally.sent.drain(..tally.sent.len().min(taken as usize)).count();
        self.notes.fetch_sub(gone, Ordering::Relaxed);
        shard.drop_if_empty(subject);
    }

    /// The call surely did not run: so many notes are to be sent again.
    pub(super) fn give_back(
        &self,
        partition: Partition,
        subject: &Subject,
        rule: &str,
        noted: u32,
    ) {
        let mut shard = self.lock(partition);
        let Some(tally) = shard.tally(subject, rule).filter(|_| noted > 0) else { return };
        let newest = tally.sent.len().saturating_sub(noted as usize);
        let mut back = tally.sent.split_off(newest);
        back.append(&mut tally.unsent);
        back.make_contiguous().sort_unstable();
        tally.unsent = back;
        shard.enqueue(subject);
    }

    /// Has what a rule counted for a subject forgotten.
    pub(super) fn forgive(&self, partition: Partition, subject: Subject, rule: &Rule) {
        let due = Due {
            subject,
            rule: rule.name.as_str().into(),
            limit: rule.limit,
            enforced: false,
            noted: 0,
            forgives: true,
        };
        self.forgive_again(partition, due);
    }

    /// The same of one that could not be told.
    pub(super) fn forgive_again(&self, partition: Partition, due: Due) {
        let mut shard = self.lock(partition);
        if shard.forgiven.len() < FORGIVEN_MAX {
            shard.forgiven.push_back(due);
        } else {
            self.unforgiven.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What is due to be sent to a partition, of at most so many subjects; each subject and rule
    /// once. Notes in it are sent from now on.
    pub(super) fn due(&self, partition: Partition, subjects_max: usize) -> Vec<Due> {
        let mut shard = self.lock(partition);
        let mut due: Vec<Due> = Vec::new();
        let forgiven = shard.forgiven.len().min(subjects_max);
        for one in shard.forgiven.drain(..forgiven) {
            let same = |other: &Due| other.subject == one.subject && other.rule == one.rule;
            if !due.iter().any(same) {
                due.push(one);
            }
        }
        let forgives = due.len();
        for _ in 0..subjects_max - forgiven {
            let Some(subject) = shard.queue.pop_front() else { break };
            let Some(account) = shard.accounts.get_mut(&subject) else { continue };
            account.queued = false;
            for tally in &mut account.tallies {
                let noted = tally.send();
                // Only what is to be forgiven can be there already.
                let same = |one: &&mut Due| one.subject == subject && one.rule == tally.rule;
                match due[..forgives].iter_mut().find(same) {
                    _ if noted == 0 => {}
                    Some(one) => (one.noted, one.enforced) = (noted, tally.enforced),
                    None => due.push(Due {
                        subject: subject.clone(),
                        rule: tally.rule.clone(),
                        limit: tally.limit,
                        enforced: tally.enforced,
                        noted,
                        forgives: false,
                    }),
                }
            }
        }
        due
    }

    /// Forgets notes whose window is over.
    pub(super) fn sweep(&self, now: Instant) {
        if self.len() == 0 {
            return;
        }
        for shard in &self.shards {
            let mut shard = lock(shard);
            let mut gone = 0;
            shard.accounts.retain(|_, account| {
                gone +=
                    account.tallies.iter_mut().map(|tally| tally.forget_old(now)).sum::<usize>();
                account.tallies.retain(|tally| tally.len() > 0);
                !account.tallies.is_empty()
            });
            shard.tidy_queue();
            if shard.accounts.is_empty() {
                shard.accounts.shrink_to_fit();
                shard.queue = VecDeque::new();
            }
            self.notes.fetch_sub(gone, Ordering::Relaxed);
        }
    }

    fn lock(&self, partition: Partition) -> MutexGuard<'_, Shard> {
        lock(&self.shards[usize::from(partition.0)])
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    // Nothing under this lock panics; a poisoned shard would still be a whole one.
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shard {
    fn tally(&mut self, subject: &Subject, rule: &str) -> Option<&mut Tally> {
        self.accounts.get_mut(subject)?.tally(rule)
    }

    fn write(&mut self, note: &Note<'_>, sent: bool, now: Instant) {
        let account = self.accounts.entry(note.subject.clone()).or_default();
        let at = account.tallies.iter().position(|tally| *tally.rule == note.rule.name);
        let at = at.unwrap_or_else(|| {
            account.tallies.push(Tally {
                rule: note.rule.name.as_str().into(),
                limit: note.rule.limit,
                enforced: note.enforced,
                unsent: VecDeque::new(),
                sent: VecDeque::new(),
            });
            account.tallies.len() - 1
        });
        let tally = &mut account.tallies[at];
        tally.enforced = note.enforced;
        if sent {
            tally.sent.push_back(now);
        } else {
            tally.unsent.push_back(now);
            self.enqueue(note.subject);
        }
    }

    fn enqueue(&mut self, subject: &Subject) {
        if let Some(account) = self.accounts.get_mut(subject)
            && !std::mem::replace(&mut account.queued, true)
        {
            self.queue.push_back(subject.clone());
        }
    }

    /// Drops subjects from the queue that have no account any more, or stand there twice since they
    /// got a new one: nobody else does while Redis is away, and it may be for long.
    fn tidy_queue(&mut self) {
        let Shard { accounts, queue, .. } = self;
        accounts.values_mut().for_each(|account| account.queued = false);
        queue.retain(|subject| {
            let account = accounts.get_mut(subject);
            account.is_some_and(|account| !std::mem::replace(&mut account.queued, true))
        });
    }

    fn drop_if_empty(&mut self, subject: &Subject) {
        if let Some(account) = self.accounts.get_mut(subject) {
            account.tallies.retain(|tally| tally.len() > 0);
            if account.tallies.is_empty() {
                self.accounts.remove(subject);
            }
        }
    }
}

impl Account {
    fn tally(&mut self, rule: &str) -> Option<&mut Tally> {
        self.tallies.iter_mut().find(|tally| *tally.rule == *rule)
    }
}

impl Tally {
    fn len(&self) -> usize {
        self.unsent.len() + self.sent.len()
    }

    fn window(&self) -> Duration {
        Duration::from_millis(self.limit.window_ms())
    }

    /// Marks all as sent; gives how many were not.
    fn send(&mut self) -> u32 {
        let noted = u32::try_from(self.unsent.len()).unwrap_or(u32::MAX);
        self.sent.append(&mut self.unsent);
        // A request of unknown outcome may have been noted as sent in between.
        self.sent.make_contiguous().sort_unstable();
        noted
    }

    /// Drops notes whose window is over; gives how many. They stand in the order of their times,
    /// but for the moment that one request may overtake another.
    fn forget_old(&mut self, now: Instant) -> usize {
        let (before, window) = (self.len(), self.window());
        for notes in [&mut self.sent, &mut self.unsent] {
            while notes.front().is_some_and(|at| *at + window <= now) {
                notes.pop_front();
            }
        }
        before - self.len()
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
