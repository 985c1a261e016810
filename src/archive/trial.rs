//! The trial of one sale: a pure state machine from claims to an outcome.
//!
//! A [`Trial`] requests single-document operations ([`Step`]) and receives their results ([`Reply`]); it
//! does no I/O. `trial_runner.rs` runs the trials of a whole batch in lockstep; `trial/tests.rs` runs
//! every interleaving of several trials.
//!
//! It guarantees, under concurrency, crashes, suspensions and repetition:
//!
//! * a seat never has two sold owners, and a sold booking owns all its claims while it is sold;
//! * a lone booking is sold;
//! * an outcome, once set, is only ever adopted.
//!
//! Why it holds: a claim changes its owner only when that owner's outcome is final and frees its claims;
//! a booking becomes `sold` only while it has no outcome, by a trial that has read that it owns every
//! claim; so no claim can change its owner between reading and setting.
//!
//! Two undecided bookings that each own a seat of the other (possible only after Redis lost data) must
//! not both lose. The smaller, that is older, id waits for the other's outcome; the larger gives up at
//! once. So there is no cycle of waiting bookings, and one of them is sold. The wait is bounded: an owner
//! that stays undecided wins.

use crate::domain::{BookingId, Outcome, SeatId};

#[cfg(test)]
mod tests;

/// Limits of a trial's repetitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TrialLimits {
    /// How often the outcome of an undecided owner is read before that owner wins.
    pub owner_reads_max: u32,
    /// How often a lost race for a claim or an outcome is repeated.
    pub races_max: u32,
}

/// The operations that a trial requests next. Seats are ascending; every operation affects one document.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Insert a claim on each of these seats. Reply: [`Reply::Conflicts`].
    InsertClaims(Vec<SeatId>),
    /// Read the owners of these claims. Reply: [`Reply::Owners`].
    ReadOwners(Vec<SeatId>),
    /// Read the outcomes of these bookings. Reply: [`Reply::Outcomes`].
    ReadOutcomes(Vec<BookingId>),
    /// Make this booking the owner of each claim that still has the given, stale owner.
    /// Reply: [`Reply::OwnersReplaced`].
    ReplaceOwners(Vec<(SeatId, BookingId)>),
    /// Set this booking's outcome if it has none. Reply: [`Reply::OutcomeSet`].
    SetOutcome(Outcome),
    /// Read this booking's own outcome after an unclear attempt to set this one. Reply:
    /// [`Reply::OwnOutcome`].
    ReadOwnOutcome(Outcome),
    /// The end: the booking's outcome.
    Done(Outcome),
    /// The end after too many lost races, without harm: the sale can be tried again.
    GaveUp,
}

/// The result of a step.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reply {
    /// Seats whose claim already existed, with any owner.
    Conflicts(Vec<SeatId>),
    /// Owners found; a seat whose claim cannot be read yet is absent.
    Owners(Vec<(SeatId, BookingId)>),
    /// Outcomes found; an undecided or unknown booking is absent.
    Outcomes(Vec<(BookingId, Outcome)>),
    /// Attempted; the owners must be read again.
    OwnersReplaced,
    /// True if this trial certainly set the outcome, false if another may have.
    OutcomeSet(bool),
    /// The current outcome, if any.
    OwnOutcome(Option<Outcome>),
}

/// The trial of one booking's sale.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Trial {
    booking: BookingId,
    seats: Vec<SeatId>,
    /// Claims owned by other bookings, with their owners; seats ascending.
    foreign: Vec<(SeatId, BookingId)>,
    step: Step,
    waiting: bool,
    owner_reads: u32,
    races: u32,
    limits: TrialLimits,
}

impl Trial {
    /// A trial that has not started. Running one again, or concurrently with another of the same booking,
    /// is harmless.
    pub fn new(booking: BookingId, seats: &[SeatId], limits: TrialLimits) -> Self {
        let mut seats = seats.to_vec();
        seats.sort_unstable();
        seats.dedup();
        let step = Step::InsertClaims(seats.clone());
        let foreign = Vec::new();
        Trial { booking, seats, foreign, step, waiting: false, owner_reads: 0, races: 0, limits }
    }

    /// The booking whose sale is tried.
    pub fn booking(&self) -> BookingId {
        self.booking
    }

    /// The requested step.
    pub fn step(&self) -> &Step {
        &self.step
    }

    /// Whether it repeats a read whose result only other trials can change, so that the caller should
    /// pause first.
    pub fn is_waiting(&self) -> bool {
        self.waiting
    }

    /// Continues with the reply to [`Trial::step`]. A reply to another step is ignored.
    pub fn resume(&mut self, reply: Reply) {
        self.waiting = false;
        let next = match (&self.step, reply) {
            (Step::InsertClaims(_), Reply::Conflicts(seats)) if seats.is_empty() => {
                Step::SetOutcome(Outcome::Sold)
            }
            (Step::InsertClaims(_), Reply::Conflicts(seats)) => Step::ReadOwners(seats),
            (Step::ReadOwners(seats), Reply::Owners(found)) => {
                let seats = seats.clone();
                self.on_owners(seats, found)
            }
            (Step::ReadOutcomes(_), Reply::Outcomes(found)) => self.on_outcomes(&found),
            (Step::ReplaceOwners(claims), Reply::OwnersReplaced) => {
                let seats = claims.iter().map(|claim| claim.0).collect();
                self.repeat(Step::ReadOwners(seats))
            }
            (Step::SetOutcome(outcome), Reply::OutcomeSet(true)) => Step::Done(*outcome),
            (Step::SetOutcome(outcome), Reply::OutcomeSet(false)) => Step::ReadOwnOutcome(*outcome),
            (Step::ReadOwnOutcome(_), Reply::OwnOutcome(Some(outcome))) => Step::Done(outcome),
            // There is no outcome (or none that can be read yet): setting it is still right.
            (Step::ReadOwnOutcome(intended), Reply::OwnOutcome(None)) => {
                let intended = *intended;
                self.waiting = true;
                self.repeat(Step::SetOutcome(intended))
            }
            (step, _) => step.clone(),
        };
        self.step = next;
    }

    fn on_owners(&mut self, seats: Vec<SeatId>, found: Vec<(SeatId, BookingId)>) -> Step {
        if found.len() < seats.len() {
            self.waiting = true;
            return self.repeat(Step::ReadOwners(seats));
        }
        let mut foreign = found;
        foreign.retain(|(_, owner)| *owner != self.booking);
        if foreign.is_empty() {
            return Step::SetOutcome(Outcome::Sold);
        }
        let mut owners: Vec<BookingId> = foreign.iter().map(|claim| claim.1).collect();
        // Reads its own outcome, too: a late trial of a decided booking must not replace more owners.
        owners.push(self.booking);
        owners.sort_unstable();
        owners.dedup();
        self.foreign = foreign;
        Step::ReadOutcomes(owners)
    }

    fn on_outcomes(&mut self, found: &[(BookingId, Outcome)]) -> Step {
        let outcome_of = |owner: BookingId| found.iter().find(|o| o.0 == owner).map(|o| o.1);
        if let Some(own) = outcome_of(self.booking) {
            return Step::Done(own);
        }
        let mut waits = false;
        for (_, owner) in &self.foreign {
            match outcome_of(*owner) {
                Some(Outcome::Sold) => return Step::SetOutcome(Outcome::Refund),
                None if *owner < self.booking => return Step::SetOutcome(Outcome::Refund),
                None => waits = true,
                Some(Outcome::Refund | Outcome::Cancelled) => {}
            }
        }
        if !waits {
            return Step::ReplaceOwners(self.foreign.clone());
        }
        self.owner_reads += 1;
        if self.owner_reads >= self.limits.owner_reads_max {
            return Step::SetOutcome(Outcome::Refund);
        }
        self.waiting = true;
        self.step.clone()
    }

    fn repeat(&mut self, step: Step) -> Step {
        self.races += 1;
        if self.races > self.limits.races_max { Step::GaveUp } else { step }
    }
}
