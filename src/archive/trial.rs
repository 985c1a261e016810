//! The trial of one sale: from claims to an outcome, as a pure step machine.
//!
//! A [`Trial`] says which single-document operations it wants next ([`Step`]) and is told what
//! came of them ([`Reply`]); it does no I/O. Production runs the trials of a whole batch in
//! lockstep (`judge.rs`); the tests run every interleaving of several (`trial/tests.rs`).
//!
//! What it promises, whatever runs beside it, crashes, wakes up late or is run again:
//!
//! * a seat never has two sold owners, and a sold booking owns all its claims while it is sold;
//! * a lone booking is sold;
//! * an outcome, once set, is only ever adopted.
//!
//! Why it holds: a claim leaves its owner only when that owner's outcome is final and frees its
//! claims; a booking is set `sold` only while it has no outcome, by a trial that has seen it own
//! every claim; so between seeing and setting nobody could take one.
//!
//! Two undecided bookings that each own a seat of the other (possible only after Redis lost
//! memory) must not both lose. The smaller, that is older, id waits for the other to decide; the
//! larger gives up at once. So no ring of bookings waits for itself, and one of them is sold.
//! The wait is bounded: an owner that stays undecided wins.

use crate::domain::{BookingId, Outcome, SeatId};

#[cfg(test)]
mod tests;

/// How long a trial is ready to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Patience {
    /// How often an undecided owner is looked at before it wins.
    pub looks_max: u32,
    /// How often a lost race for a claim or an outcome is run again.
    pub turns_max: u32,
}

/// Operations a trial wants next. Seats are ascending; every operation touches one document.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Insert a claim on each of these seats. Answer: [`Reply::Conflicts`].
    Take(Vec<SeatId>),
    /// Read who owns these claims. Answer: [`Reply::Owners`].
    Owners(Vec<SeatId>),
    /// Read the outcomes of these bookings. Answer: [`Reply::Outcomes`].
    Outcomes(Vec<BookingId>),
    /// Make this booking the owner of each claim that still has the named, stale owner.
    /// Answer: [`Reply::TookOver`].
    TakeOver(Vec<(SeatId, BookingId)>),
    /// Set this booking's outcome if it has none. Answer: [`Reply::Decided`].
    Decide(Outcome),
    /// Read this booking's own outcome. Answer: [`Reply::Standing`].
    Adopt(Outcome),
    /// Over: this is the booking's outcome.
    Done(Outcome),
    /// Over: too many lost races. Nothing is harmed; the sale can be tried again.
    GaveUp,
}

/// What came of a step.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reply {
    /// Seats whose claim existed already, whoever owns it.
    Conflicts(Vec<SeatId>),
    /// Owners found; a seat whose claim cannot be read yet is absent.
    Owners(Vec<(SeatId, BookingId)>),
    /// Outcomes found; an undecided or unknown booking is absent.
    Outcomes(Vec<(BookingId, Outcome)>),
    /// Tried; who won is read again.
    TookOver,
    /// True where this trial surely set the outcome; false where it may be another's.
    Decided(bool),
    /// What stands, if anything.
    Standing(Option<Outcome>),
}

/// The trial of one booking's sale.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Trial {
    booking: BookingId,
    seats: Vec<SeatId>,
    /// Claims found in other hands, with their owners; seats ascending.
    foreign: Vec<(SeatId, BookingId)>,
    step: Step,
    waiting: bool,
    looks: u32,
    turns: u32,
    patience: Patience,
}

impl Trial {
    /// A trial that has not begun. Running one again, or beside another of the same booking, is
    /// harmless.
    pub fn new(booking: BookingId, seats: &[SeatId], patience: Patience) -> Self {
        let mut seats = seats.to_vec();
        seats.sort_unstable();
        seats.dedup();
        let step = Step::Take(seats.clone());
        let foreign = Vec::new();
        Trial { booking, seats, foreign, step, waiting: false, looks: 0, turns: 0, patience }
    }

    /// Whose sale is tried.
    pub fn booking(&self) -> BookingId {
        self.booking
    }

    /// What it wants next.
    pub fn step(&self) -> &Step {
        &self.step
    }

    /// Whether it repeats a question whose answer only others can change, and should let time
    /// pass first.
    pub fn is_waiting(&self) -> bool {
        self.waiting
    }

    /// Goes on with the answer to [`Trial::step`]. An answer to another question changes nothing.
    pub fn resume(&mut self, reply: Reply) {
        self.waiting = false;
        let next = match (&self.step, reply) {
            (Step::Take(_), Reply::Conflicts(seats)) if seats.is_empty() => {
                Step::Decide(Outcome::Sold)
            }
            (Step::Take(_), Reply::Conflicts(seats)) => Step::Owners(seats),
            (Step::Owners(asked), Reply::Owners(found)) => {
                let asked = asked.clone();
                self.on_owners(asked, found)
            }
            (Step::Outcomes(_), Reply::Outcomes(found)) => self.on_outcomes(&found),
            (Step::TakeOver(claims), Reply::TookOver) => {
                let seats = claims.iter().map(|claim| claim.0).collect();
                self.again(Step::Owners(seats))
            }
            (Step::Decide(outcome), Reply::Decided(true)) => Step::Done(*outcome),
            (Step::Decide(outcome), Reply::Decided(false)) => Step::Adopt(*outcome),
            (Step::Adopt(_), Reply::Standing(Some(outcome))) => Step::Done(outcome),
            // Nothing stands (or can be read yet), so what was found to be right still is.
            (Step::Adopt(wanted), Reply::Standing(None)) => {
                let wanted = *wanted;
                self.waiting = true;
                self.again(Step::Decide(wanted))
            }
            (step, _) => step.clone(),
        };
        self.step = next;
    }

    fn on_owners(&mut self, asked: Vec<SeatId>, found: Vec<(SeatId, BookingId)>) -> Step {
        if found.len() < asked.len() {
            self.waiting = true;
            return self.again(Step::Owners(asked));
        }
        let mut foreign = found;
        foreign.retain(|(_, owner)| *owner != self.booking);
        if foreign.is_empty() {
            return Step::Decide(Outcome::Sold);
        }
        let mut owners: Vec<BookingId> = foreign.iter().map(|claim| claim.1).collect();
        // Its own too: a late trial of a decided booking must not go on swapping stale claims.
        owners.push(self.booking);
        owners.sort_unstable();
        owners.dedup();
        self.foreign = foreign;
        Step::Outcomes(owners)
    }

    fn on_outcomes(&mut self, found: &[(BookingId, Outcome)]) -> Step {
        let outcome_of = |owner: BookingId| found.iter().find(|o| o.0 == owner).map(|o| o.1);
        if let Some(standing) = outcome_of(self.booking) {
            return Step::Done(standing);
        }
        let mut waits = false;
        for (_, owner) in &self.foreign {
            match outcome_of(*owner) {
                Some(Outcome::Sold) => return Step::Decide(Outcome::Refund),
                None if *owner < self.booking => return Step::Decide(Outcome::Refund),
                None => waits = true,
                Some(Outcome::Refund | Outcome::Cancelled) => {}
            }
        }
        if !waits {
            return Step::TakeOver(self.foreign.clone());
        }
        self.looks += 1;
        if self.looks >= self.patience.looks_max {
            return Step::Decide(Outcome::Refund);
        }
        self.waiting = true;
        self.step.clone()
    }

    fn again(&mut self, step: Step) -> Step {
        self.turns += 1;
        if self.turns > self.patience.turns_max { Step::GaveUp } else { step }
    }
}
