//! The ledger: requests that this process decided alone, one note each, until Redis has counted
//! them or their window is over. At most `share` notes a subject and rule, and [`NOTES_MAX`] in all.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use foldhash::quality::RandomState;

pub(super) use super::notes::{Denied, Due, Note, Noted, Taken};
use super::tally::{Account, Tally};
use crate::domain::{Limit, Partition, Rule, Subject};

/// Most notes of one process: some 40 MB if each is of another caller.
pub(super) const NOTES_MAX: usize = 200_000;
/// Most callers waiting to be forgiven, a partition.
const FORGIVEN_MAX: usize = 10_000;

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
        if tally.places() < rule.share() as usize {
            return Ok(());
        }
        let over_at = tally.oldest().map_or(now, |at| at + tally.window());
        Err(u64::try_from((over_at - now).as_millis()).unwrap_or(u64::MAX))
    }

    /// Takes along what is not sent yet: from now on it is.
    pub(super) fn take(&self, partition: Partition, subject: &Subject, rule: &str) -> Taken {
        if self.len() == 0 {
            return Taken::default();
        }
        let mut shard = self.lock(partition);
        let Some(tally) = shard.tally(subject, rule) else { return Taken::default() };
        let taken = tally.take();
        self.notes.fetch_sub(taken.uncounted.len(), Ordering::Relaxed);
        shard.drop_if_empty(subject);
        taken
    }

    /// Has Redis count a request no longer that it counted at this moment. Where the ledger is full
    /// the request goes on to count.
    pub(super) fn uncount(&self, note: &Note<'_>, at_ms: i64, now: Instant) {
        if self.len() >= NOTES_MAX {
            return;
        }
        self.notes.fetch_add(1, Ordering::Relaxed);
        let mut shard = self.lock(note.partition);
        shard.tally_of_note(note).uncount(at_ms, now);
        shard.enqueue(note.subject);
    }

    /// Drops the newest note of a request that turned out not to count. One that was sent since is
    /// counted by Redis until its window is over, at a moment that nobody here knows.
    pub(super) fn withdraw(&self, note: &Note<'_>, noted: Noted) {
        let mut shard = self.lock(note.partition);
        let tally = shard.tally(note.subject, &note.rule.name);
        if tally.is_some_and(|tally| tally.withdraw(noted)) {
            self.notes.fetch_sub(1, Ordering::Relaxed);
            shard.drop_if_empty(note.subject);
        }
    }

    /// Redis has counted so many of the notes that were sent.
    pub(super) fn counted(&self, partition: Partition, subject: &Subject, rule: &str, taken: u32) {
        if taken == 0 {
            return;
        }
        let mut shard = self.lock(partition);
        let Some(tally) = shard.tally(subject, rule) else { return };
        // Which of them does not matter; the younger ones keep their places longer.
        let gone = tally.counted(taken);
        self.notes.fetch_sub(gone, Ordering::Relaxed);
        shard.drop_if_empty(subject);
    }

    /// The call surely did not run: what it took along is to be sent again.
    pub(super) fn give_back(&self, partition: Partition, due: Due) {
        let Due { subject, rule, limit, enforced, noted, uncounted, .. } = due;
        if noted == 0 && uncounted.is_empty() {
            return;
        }
        self.notes.fetch_add(uncounted.len(), Ordering::Relaxed);
        let mut shard = self.lock(partition);
        let taken = Taken { noted, uncounted };
        shard.tally_of(&subject, &rule, limit, enforced).give_back(taken, Instant::now());
        shard.enqueue(&subject);
        shard.drop_if_empty(&subject);
    }

    /// Has what a rule counted for a subject forgotten.
    pub(super) fn forgive(&self, partition: Partition, subject: Subject, rule: &Rule) {
        let due = Due {
            subject,
            rule: rule.name.as_str().into(),
            limit: rule.limit,
            enforced: false,
            noted: 0,
            uncounted: Vec::new(),
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
        // Those with more than one call takes along.
        let mut again = Vec::new();
        for _ in 0..subjects_max - forgiven {
            let Some(subject) = shard.queue.pop_front() else { break };
            let Some(account) = shard.accounts.get_mut(&subject) else { continue };
            account.queued = false;
            let mut has_more = false;
            for tally in &mut account.tallies {
                let Taken { noted, uncounted } = tally.take();
                self.notes.fetch_sub(uncounted.len(), Ordering::Relaxed);
                has_more |= tally.has_unsent();
                // Only what is to be forgiven can be there already.
                let same = |one: &&mut Due| one.subject == subject && one.rule == tally.rule;
                match due[..forgives].iter_mut().find(same) {
                    _ if noted == 0 && uncounted.is_empty() => {}
                    // What is forgiven is gone, and with it what was to be counted no longer.
                    Some(one) => (one.noted, one.enforced) = (noted, tally.enforced),
                    None => due.push(Due {
                        subject: subject.clone(),
                        rule: tally.rule.clone(),
                        limit: tally.limit,
                        enforced: tally.enforced,
                        noted,
                        uncounted,
                        forgives: false,
                    }),
                }
            }
            if has_more {
                again.push(subject);
            } else {
                shard.drop_if_empty(&subject);
            }
        }
        again.iter().for_each(|subject| shard.enqueue(subject));
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
                account.tallies.retain(|tally| !tally.is_empty());
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

    /// The tally of a subject and rule, there or new.
    fn tally_of(
        &mut self,
        subject: &Subject,
        rule: &str,
        limit: Limit,
        enforced: bool,
    ) -> &mut Tally {
        let account = self.accounts.entry(subject.clone()).or_default();
        account.tally_of(rule, limit, enforced)
    }

    fn tally_of_note(&mut self, note: &Note<'_>) -> &mut Tally {
        self.tally_of(note.subject, &note.rule.name, note.rule.limit, note.enforced)
    }

    fn write(&mut self, note: &Note<'_>, sent: bool, now: Instant) {
        self.tally_of_note(note).note(sent, now);
        if !sent {
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
            account.tallies.retain(|tally| !tally.is_empty());
            if account.tallies.is_empty() {
                self.accounts.remove(subject);
            }
        }
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
