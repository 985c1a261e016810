//! Every interleaving of several trials against a model of the database's atomic single-document
//! operations: workers of one booking and of competing ones, crashes and reruns, cancellations, stale
//! owners, acknowledgements that do not show the winner.

use std::collections::{BTreeMap, HashSet};

use super::*;
use crate::domain::EventId;

/// Low limits keep the state space small; higher ones only repeat the same reads.
const LIMITS: TrialLimits = TrialLimits { owner_reads_max: 2, races_max: 4 };

fn booking(n: u64) -> BookingId {
    BookingId::new(EventId(1), n, 0)
}

fn seats(ids: &[u32]) -> Vec<SeatId> {
    ids.iter().copied().map(SeatId).collect()
}

/// The database. Each method that changes it is one single-document operation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct World {
    claims: BTreeMap<SeatId, BookingId>,
    outcomes: BTreeMap<BookingId, Outcome>,
}

impl World {
    fn insert_claim(&mut self, seat: SeatId, owner: BookingId) -> bool {
        if self.claims.contains_key(&seat) {
            return false;
        }
        self.claims.insert(seat, owner);
        true
    }

    fn swap_owner(&mut self, seat: SeatId, from: BookingId, to: BookingId) {
        if self.claims.get(&seat) == Some(&from) {
            self.claims.insert(seat, to);
        }
    }

    fn swap_outcome(&mut self, of: BookingId, from: Option<Outcome>, to: Outcome) -> bool {
        let current = self.outcomes.get(&of).copied();
        if current == from {
            self.outcomes.insert(of, to);
        }
        current == from
    }
}

/// The results of the documents of a step so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Gathered {
    conflicts: Vec<SeatId>,
    owners: Vec<(SeatId, BookingId)>,
    outcomes: Vec<(BookingId, Outcome)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Worker {
    trial: Trial,
    /// Number of processed documents of the current step, and their results.
    touched: usize,
    gathered: Gathered,
    /// How often it may still crash and start over.
    crashes: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    world: World,
    workers: Vec<Worker>,
    /// Bookings that may still be cancelled.
    cancels: Vec<BookingId>,
}

impl State {
    fn new(workers: &[(u64, &[u32])]) -> Self {
        let workers = workers.iter().map(|(n, ids)| Worker {
            trial: Trial::new(booking(*n), &seats(ids), LIMITS),
            touched: 0,
            gathered: Gathered::default(),
            crashes: 0,
        });
        State { world: World::default(), workers: workers.collect(), cancels: Vec::new() }
    }

    fn crashing(mut self, crashes: &[u32]) -> Self {
        for (worker, crashes) in self.workers.iter_mut().zip(crashes) {
            worker.crashes = *crashes;
        }
        self
    }

    fn cancelling(mut self, n: u64) -> Self {
        self.cancels.push(booking(n));
        self
    }

    fn claimed(mut self, n: u64, ids: &[u32], outcome: Option<Outcome>) -> Self {
        self.world.claims.extend(seats(ids).into_iter().map(|seat| (seat, booking(n))));
        self.world.outcomes.extend(outcome.map(|outcome| (booking(n), outcome)));
        self
    }

    fn outcome(&self, n: u64) -> Option<Outcome> {
        self.world.outcomes.get(&booking(n)).copied()
    }

    fn is_over(&self, index: usize) -> bool {
        matches!(self.workers[index].trial.step, Step::Done(_) | Step::GaveUp)
    }

    /// All states that worker `index` can reach by processing one more document, or by crashing.
    fn moves_of(&self, index: usize) -> Vec<State> {
        let mut next = vec![self.touch(index, false)];
        if matches!(self.workers[index].trial.step, Step::SetOutcome(_)) {
            // The write is acknowledged, but the winner is unknown.
            next.push(self.touch(index, true));
        }
        if self.workers[index].crashes > 0 {
            let mut crashed = self.clone();
            let worker = &mut crashed.workers[index];
            let seats = worker.trial.seats.clone();
            worker.trial = Trial::new(worker.trial.booking, &seats, LIMITS);
            (worker.touched, worker.gathered) = (0, Gathered::default());
            worker.crashes -= 1;
            next.push(crashed);
        }
        next
    }

    fn touch(&self, index: usize, unsure: bool) -> State {
        let mut state = self.clone();
        let State { world, workers, .. } = &mut state;
        let worker = &mut workers[index];
        let (own, at, gathered) = (worker.trial.booking, worker.touched, &mut worker.gathered);
        let mut own_outcome = None;
        let mut won = false;
        let documents = match worker.trial.step() {
            Step::InsertClaims(seats) => {
                let inserted = world.insert_claim(seats[at], own);
                gathered.conflicts.extend((!inserted).then_some(seats[at]));
                seats.len()
            }
            Step::ReadOwners(seats) => {
                let owner = world.claims.get(&seats[at]);
                gathered.owners.extend(owner.map(|owner| (seats[at], *owner)));
                seats.len()
            }
            Step::ReadOutcomes(owners) => {
                let outcome = world.outcomes.get(&owners[at]);
                gathered.outcomes.extend(outcome.map(|outcome| (owners[at], *outcome)));
                owners.len()
            }
            Step::ReplaceOwners(claims) => {
                world.swap_owner(claims[at].0, claims[at].1, own);
                claims.len()
            }
            Step::SetOutcome(outcome) => {
                won = world.swap_outcome(own, None, *outcome) && !unsure;
                1
            }
            Step::ReadOwnOutcome(_) => {
                own_outcome = world.outcomes.get(&own).copied();
                1
            }
            Step::Done(_) | Step::GaveUp => unreachable!("nothing to do"),
        };
        worker.touched += 1;
        if worker.touched == documents {
            worker.touched = 0;
            let gathered = std::mem::take(gathered);
            let reply = match worker.trial.step() {
                Step::InsertClaims(_) => Reply::Conflicts(gathered.conflicts),
                Step::ReadOwners(_) => Reply::Owners(gathered.owners),
                Step::ReadOutcomes(_) => Reply::Outcomes(gathered.outcomes),
                Step::ReplaceOwners(_) => Reply::OwnersReplaced,
                Step::SetOutcome(_) => Reply::OutcomeSet(won),
                _ => Reply::OwnOutcome(own_outcome),
            };
            worker.trial.resume(reply);
        }
        state
    }

    /// A sold booking owns all its claims, so no seat has two sold owners.
    fn check_always(&self) {
        for worker in &self.workers {
            let Trial { booking, seats, .. } = &worker.trial;
            if self.world.outcomes.get(booking) == Some(&Outcome::Sold) {
                for seat in seats {
                    assert_eq!(self.world.claims.get(seat), Some(booking), "{self:#?}");
                }
            }
        }
    }

    /// An outcome moves only none → sold → cancelled or none → refund.
    fn check_move(&self, next: &State) {
        for (booking, to) in &next.world.outcomes {
            let from = self.world.outcomes.get(booking);
            let legal = match (from, to) {
                (Some(from), to) if from == to => true,
                (None, Outcome::Sold | Outcome::Refund) => true,
                (Some(Outcome::Sold), Outcome::Cancelled) => true,
                _ => false,
            };
            assert!(legal, "{from:?} -> {to:?} in {self:#?}");
        }
    }

    /// Every finished worker got an outcome: the current one or an earlier one.
    fn check_end(&self) {
        for worker in &self.workers {
            let current = self.world.outcomes.get(&worker.trial.booking).copied();
            let Step::Done(outcome) = worker.trial.step else {
                panic!("gave up: {self:#?}");
            };
            let cancelled_since = outcome == Outcome::Sold && current == Some(Outcome::Cancelled);
            assert!(Some(outcome) == current || cancelled_since, "{self:#?}");
        }
    }
}

/// Whether a waiting worker runs only when no other can (`Patient`), or at any time, so that it may reach
/// its limits first (`Any`).
#[derive(Clone, Copy, PartialEq)]
enum Scheduler {
    Any,
    Patient,
}

/// Visits every reachable state and calls `end` on each final one; returns the number of states.
fn explore(start: State, scheduler: Scheduler, end: impl Fn(&State)) -> usize {
    let mut seen = HashSet::new();
    let mut open = vec![start];
    let mut ends = 0;
    while let Some(state) = open.pop() {
        if !seen.insert(state.clone()) {
            continue;
        }
        state.check_always();
        let mut next = Vec::new();
        for (index, of) in state.cancels.iter().enumerate() {
            let mut cancelled = state.clone();
            if cancelled.world.swap_outcome(*of, Some(Outcome::Sold), Outcome::Cancelled) {
                cancelled.cancels.remove(index);
                next.push(cancelled);
            }
        }
        let runnable: Vec<usize> =
            (0..state.workers.len()).filter(|index| !state.is_over(*index)).collect();
        let waits = |index: &usize| state.workers[*index].trial.is_waiting();
        let all_wait = runnable.iter().all(waits);
        for index in &runnable {
            if scheduler == Scheduler::Any || all_wait || !waits(index) {
                next.extend(state.moves_of(*index));
            }
        }
        if runnable.is_empty() {
            state.check_end();
            end(&state);
            ends += 1;
        }
        for state_after in &next {
            state.check_move(state_after);
        }
        open.extend(next);
    }
    assert!(ends > 0);
    seen.len()
}

#[test]
fn lone_booking_is_sold_despite_concurrent_and_crashing_workers() {
    for workers in [1, 2, 3] {
        let all: Vec<(u64, &[u32])> = vec![(1, &[1, 2, 3]); workers];
        let start = State::new(&all).crashing(&[2, 1, 0]);
        let states = explore(start, Scheduler::Any, |end| {
            assert_eq!(end.outcome(1), Some(Outcome::Sold));
        });
        println!("{workers} workers: {states} states");
    }
}

#[test]
fn exactly_one_of_competing_bookings_is_sold() {
    let rivals: [&[(u64, &[u32])]; 5] = [
        &[(1, &[1, 2]), (2, &[1, 2])],
        &[(1, &[2, 3]), (2, &[1, 2])],
        &[(1, &[1, 2]), (1, &[1, 2]), (2, &[1, 2])],
        &[(1, &[1, 2]), (2, &[2, 3]), (3, &[1, 3])],
        &[(3, &[1, 2]), (2, &[2, 3]), (1, &[1, 3])],
    ];
    for workers in rivals {
        for crashes in [[0; 3], if workers.len() == 2 { [1; 3] } else { [1, 0, 0] }] {
            let start = State::new(workers).crashing(&crashes);
            let sold =
                |end: &State| (1..=3).filter(|n| end.outcome(*n) == Some(Outcome::Sold)).count();
            let any = explore(start.clone(), Scheduler::Any, |end| assert!(sold(end) <= 1));
            let patient = explore(start, Scheduler::Patient, |end| assert_eq!(sold(end), 1));
            println!("{workers:?}, crashes {crashes:?}: {any} and {patient} states");
        }
    }
}

#[test]
fn two_workers_for_each_of_two_bookings_terminate() {
    let start = State::new(&[(1, &[1, 2]), (1, &[1, 2]), (2, &[1, 2]), (2, &[1, 2])]);
    let states = explore(start, Scheduler::Any, |_| {});
    println!("{states} states");
}

#[test]
fn stale_claims_get_one_new_owner() {
    for stale in [Outcome::Refund, Outcome::Cancelled] {
        let start = State::new(&[(1, &[1, 2]), (2, &[1, 2])]).crashing(&[1, 1]);
        let start = start.claimed(9, &[1, 2], Some(stale));
        explore(start, Scheduler::Patient, |end| {
            let outcomes = [end.outcome(1), end.outcome(2)];
            assert!(outcomes.contains(&Some(Outcome::Sold)));
            assert!(outcomes.contains(&Some(Outcome::Refund)));
        });
    }
}

#[test]
fn late_worker_of_a_stale_owner_changes_no_outcome() {
    for stale in [Outcome::Refund, Outcome::Cancelled] {
        let start = State::new(&[(1, &[1, 2]), (2, &[1, 2]), (3, &[1, 2])]);
        let start = start.claimed(2, &[1], Some(stale)).claimed(3, &[2], Some(stale));
        explore(start, Scheduler::Any, |end| {
            assert_eq!([end.outcome(2), end.outcome(3)], [Some(stale); 2]);
        });
    }
}

#[test]
fn cancellation_at_any_time_allows_one_resale() {
    for (first, second) in [(1, 2), (2, 1)] {
        let start = State::new(&[(first, &[1, 2]), (first, &[1, 2]), (second, &[1, 2])]);
        let start = start.cancelling(first).cancelling(second);
        explore(start, Scheduler::Any, |_| {});
        // The cancelled booking's late worker, and two workers of bookings with its seats.
        let start = State::new(&[(first, &[1, 2]), (second, &[1]), (3, &[2])]).cancelling(first);
        let start = start.claimed(first, &[1, 2], Some(Outcome::Sold));
        explore(start, Scheduler::Any, |end| {
            if end.outcome(first) == Some(Outcome::Sold) {
                assert_eq!(end.outcome(second), Some(Outcome::Refund));
            }
        });
    }
}

#[test]
fn sold_or_undecided_owner_keeps_its_claims() {
    for outcome in [None, Some(Outcome::Sold)] {
        for owner in [1, 3] {
            let start = State::new(&[(2, &[1, 2])]).crashing(&[1, 1]).claimed(owner, &[2], outcome);
            explore(start, Scheduler::Any, |end| {
                assert_eq!(end.outcome(2), Some(Outcome::Refund));
                assert_eq!(end.world.claims[&SeatId(2)], booking(owner));
            });
        }
    }
}

#[test]
fn number_of_lost_races_is_bounded() {
    let mut trial = Trial::new(booking(1), &seats(&[1]), LIMITS);
    trial.resume(Reply::Conflicts(seats(&[1])));
    for _ in 0..LIMITS.races_max {
        assert_eq!(trial.step(), &Step::ReadOwners(seats(&[1])));
        trial.resume(Reply::Owners(vec![]));
    }
    trial.resume(Reply::Owners(vec![]));
    assert_eq!(trial.step(), &Step::GaveUp);
}
