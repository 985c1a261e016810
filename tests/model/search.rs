//! Seats by quantity: the best choice there is, found by looking at everything.
//!
//! A search that is not allowed to look at everything may choose otherwise, and takes several
//! calls. What it answers then is not foretold but judged: seats that it gives must be free, of one
//! section that fits, as many as requested, adjacent where they have to be; and it may give up only
//! when there is no such choice.

use holdfast::domain::{Quantity, SeatId};
use holdfast::redis::ScanBounds;

use super::holds::{Chosen, OVERDUE_BATCH_MAX, once_more};
use super::reply::Body;
use super::rules::plain;
use super::sale::{EventState, Sale, Section};

impl Section {
    pub fn has(&self, seat: SeatId) -> bool {
        (self.first..=self.last).contains(&seat)
    }
}

/// Seats of one section, and how good a choice they are: the fewest pieces, and among those the
/// ones that leave no seat alone.
struct Offer {
    seats: Vec<SeatId>,
    pieces: usize,
    leaves_one_alone: bool,
}

impl Sale {
    /// So many free seats of one section. `released` overdue holds were just ended.
    pub fn search(
        &mut self,
        wanted: &Quantity,
        bounds: ScanBounds,
        released: i64,
    ) -> Result<Chosen, (&'static str, Body)> {
        let sees_all = bounds.seats_max >= self.ev().total && bounds.runs_max >= self.ev().total;
        if !sees_all && let Some(answer) = self.follow_witness(wanted, released) {
            return answer;
        }
        if let Some(chosen) = self.ev().best(wanted) {
            return Ok(chosen);
        }
        // What is overdue and not released yet may be just what is missing; what was released just
        // now may lie where the search had been.
        match released + self.release_overdue(OVERDUE_BATCH_MAX) {
            0 => Err(plain("too_few_seats")),
            _ => Err(once_more()),
        }
    }

    /// What Redis answered, if it is a right answer to a search that does not see all.
    fn follow_witness(
        &self,
        wanted: &Quantity,
        released: i64,
    ) -> Option<Result<Chosen, (&'static str, Body)>> {
        let witness = self.witness.as_ref()?;
        let event = self.ev();
        match (witness.code, &witness.body) {
            ("ok", Body::Held(booking, _)) => event.judge(wanted, &booking.seats).map(Ok),
            ("more_to_scan", Body::Scan(rest)) if rest.section.is_some() && released == 0 => {
                let free = rest.found.iter().all(|seat| event.is_free(*seat));
                free.then(|| Err((witness.code, witness.body.clone())))
            }
            _ => None,
        }
    }
}

impl EventState {
    fn fitting<'a>(&'a self, wanted: &'a Quantity) -> impl Iterator<Item = &'a Section> {
        let named = |section: &&Section| match &wanted.section {
            Some(name) => section.name == *name,
            None => true,
        };
        let affordable =
            |section: &&Section| wanted.max_price.is_none_or(|max| section.price <= max);
        self.sections.iter().filter(named).filter(affordable)
    }

    /// The best choice; of equal ones that of the section that comes first.
    fn best(&self, wanted: &Quantity) -> Option<Chosen> {
        let offers = self.fitting(wanted).filter_map(|section| {
            let offer = self.offer(section, wanted.seats as usize, wanted.together)?;
            Some((section, offer))
        });
        // The first of equals: `min_by_key` keeps it.
        let (section, offer) =
            offers.min_by_key(|(_, offer)| (offer.pieces, offer.leaves_one_alone))?;
        let mut seats = offer.seats;
        seats.sort_unstable();
        let amount = section.price * seats.len() as i64;
        Some(Chosen { seats, amount, left_alone: Vec::new() })
    }

    /// What one section has to offer.
    fn offer(&self, section: &Section, count: usize, together: bool) -> Option<Offer> {
        let of_section = self.seats().filter(|seat| section.has(*seat));
        if !section.rows {
            let seats: Vec<SeatId> =
                of_section.filter(|seat| self.is_free(*seat)).take(count).collect();
            let enough = seats.len() == count;
            return enough.then_some(Offer { seats, pieces: 1, leaves_one_alone: false });
        }
        let mut runs = self.free_runs(section);
        let (mut seats, mut pieces) = (Vec::new(), 0);
        loop {
            let missing = count - seats.len();
            pieces += 1;
            // A run that leaves no seat alone; or one that does.
            let clean = |run: &&Vec<SeatId>| run.len() == missing || run.len() >= missing + 2;
            let alone = |run: &&Vec<SeatId>| run.len() == missing + 1;
            let found = runs.iter().find(clean).or_else(|| runs.iter().find(alone));
            if let Some(run) = found {
                let leaves_one_alone = run.len() == missing + 1;
                seats.extend(&run[..missing]);
                return Some(Offer { seats, pieces, leaves_one_alone });
            }
            // None is long enough: the whole of the longest, of those the first.
            let longest = runs.iter().map(Vec::len).max()?;
            if together {
                return None;
            }
            let index = runs.iter().position(|run| run.len() == longest)?;
            seats.extend(runs.remove(index));
        }
    }

    /// Free seats that lie side by side in one row, as many as there are, in order.
    fn free_runs(&self, section: &Section) -> Vec<Vec<SeatId>> {
        let mut runs: Vec<Vec<SeatId>> = vec![Vec::new()];
        for seat in self.seats().filter(|seat| section.has(*seat)) {
            let free = self.is_free(seat);
            if !free || self.row_starts.contains(&seat) {
                runs.push(Vec::new());
            }
            if free {
                runs.last_mut().expect("never empty").push(seat);
            }
        }
        runs.retain(|run| !run.is_empty());
        runs
    }

    /// Whether these seats are an answer to the request, if not the best.
    fn judge(&self, wanted: &Quantity, seats: &[SeatId]) -> Option<Chosen> {
        let section =
            self.fitting(wanted).find(|section| seats.iter().all(|seat| section.has(*seat)))?;
        let adjacent =
            |pair: &[SeatId]| pair[1].0 == pair[0].0 + 1 && !self.row_starts.contains(&pair[1]);
        let right = seats.len() == wanted.seats as usize
            && seats.is_sorted_by(|a, b| a < b)
            && seats.iter().all(|seat| self.is_free(*seat))
            && (!section.rows || !wanted.together || seats.windows(2).all(adjacent));
        let amount = section.price * seats.len() as i64;
        right.then(|| Chosen { seats: seats.to_vec(), amount, left_alone: Vec::new() })
    }
}
