//! An event's pace, for operators: changes counted per step of five seconds, and how often each seat was
//! held and came back. Both come from the booking log, so every process counts the same; they begin
//! when this process began to follow the log.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::domain::activity::{CHANGES, STEPS, changes_of, step_of};
use crate::domain::{Entry, EventId, Kind, SeatId};

/// Events with counts, at most: beyond it those that were quiet longest are dropped.
const EVENTS_MAX: usize = 10_000;
/// Seats whose demand is counted, of all events together: four bytes each.
const SEATS_MAX: usize = 4_000_000;
/// Steps kept of an event, at most: while nothing can be written, those of a series, and some more.
const STEPS_KEPT: usize = STEPS + 24;
/// Steps kept although they are written: their entries may come late.
const STEPS_LATE: i64 = 24;

/// The changes of one step.
pub type ChangeCounts = [u64; CHANGES];

/// Counts of all events in this process. Cheap to clone.
#[derive(Clone, Default)]
pub struct Activity {
    events: Arc<Mutex<Counted>>,
}

#[derive(Default)]
struct Counted {
    events: HashMap<EventId, EventActivity>,
    /// Seats in all `demand` together.
    seats: usize,
}

/// The counts of one event.
#[derive(Default)]
struct EventActivity {
    /// In ascending order.
    steps: VecDeque<Step>,
    demand: SeatDemand,
}

struct Step {
    number: i64,
    counts: ChangeCounts,
    /// What was written of them.
    written: ChangeCounts,
}

/// How often each seat was held and came back, from seat 1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeatDemand {
    /// The time of the first entry that is counted, by Redis' clock, Unix ms; 0: there was none.
    pub since_ms: i64,
    /// Times held; shorter than the layout where no later seat was held.
    pub held: Vec<u16>,
    /// Times it came back.
    pub returned: Vec<u16>,
}

impl Activity {
    /// Counts an entry.
    pub(super) fn on_entry(&self, entry: &Entry) {
        let Some(event) = entry.event else { return };
        let changes = changes_of(entry);
        if changes.is_empty() {
            return;
        }
        let mut counted = self.counted();
        if counted.events.len() >= EVENTS_MAX && !counted.events.contains_key(&event) {
            counted.drop_quietest();
        }
        let step = counted.events.entry(event).or_default().step(step_of(entry.time_ms));
        if let Some(step) = step {
            for (change, by) in changes {
                step.counts[change as usize] += u64::from(by);
            }
        }
        counted.note_demand(event, entry);
    }

    /// Steps of which something is not written, of at most `max` events.
    pub fn unwritten(&self, max: usize) -> Vec<(EventId, i64, ChangeCounts)> {
        let counted = self.counted();
        let unwritten = counted.events.iter().filter_map(|(event, activity)| {
            let steps = activity.steps.iter().filter(|step| step.counts != step.written);
            let steps: Vec<_> = steps.map(|step| (*event, step.number, step.counts)).collect();
            (!steps.is_empty()).then_some(steps)
        });
        let mut unwritten: Vec<_> = unwritten.collect();
        // Those that wait longest first.
        unwritten.sort_by_key(|steps| steps[0].1);
        unwritten.into_iter().take(max).flatten().collect()
    }

    /// Notes that these counts of a step are written.
    pub fn note_written(&self, event: EventId, step: i64, counts: &ChangeCounts) {
        let mut counted = self.counted();
        let Some(activity) = counted.events.get_mut(&event) else { return };
        if let Some(step) = activity.steps.iter_mut().find(|one| one.number == step) {
            step.written = *counts;
        }
        // Entries come late by seconds: older steps change no more, and Redis has them.
        let newest = activity.steps.back().map_or(0, |step| step.number);
        activity.steps.retain(|one| one.counts != one.written || one.number + STEPS_LATE > newest);
    }

    /// How often the seats of an event were held and came back.
    pub fn demand(&self, event: EventId) -> SeatDemand {
        let counted = self.counted();
        counted.events.get(&event).map(|one| one.demand.clone()).unwrap_or_default()
    }

    fn counted(&self) -> MutexGuard<'_, Counted> {
        // Nothing under this lock panics half-way through a change.
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counted {
    fn note_demand(&mut self, event: EventId, entry: &Entry) {
        let Some(transition) = &entry.transition else { return };
        let is_held = match entry.kind {
            Kind::Hold => true,
            Kind::Cancelled | Kind::Expired => false,
            _ => return,
        };
        let last = transition.seats.last().map_or(0, |seat| seat.0 as usize);
        let known = self.events.get(&event).map_or(0, |one| one.demand.held.len());
        let more = last.saturating_sub(known);
        while self.seats + more > SEATS_MAX {
            if !self.drop_demand(event) {
                return;
            }
        }
        self.seats += more;
        let demand = &mut self.events.entry(event).or_default().demand;
        if demand.since_ms == 0 {
            demand.since_ms = entry.time_ms;
        }
        demand.note(&transition.seats, is_held);
    }

    /// Drops the event that was quiet longest and has nothing unwritten, if there is one; else the one
    /// that was quiet longest.
    fn drop_quietest(&mut self) {
        let order = |activity: &EventActivity| (activity.has_unwritten(), activity.last_step());
        let quietest = self.events.iter().min_by_key(|(_, activity)| order(activity));
        let quietest = quietest.map(|(event, _)| *event);
        if let Some(dropped) = quietest.and_then(|event| self.events.remove(&event)) {
            self.seats -= dropped.demand.held.len();
        }
    }

    /// Drops the demand of the event that was quiet longest, `kept` excluded; false if no other has one.
    fn drop_demand(&mut self, kept: EventId) -> bool {
        let others = self.events.iter_mut().filter(|(event, _)| **event != kept);
        let others = others.map(|(_, activity)| activity);
        let counted = others.filter(|activity| !activity.demand.held.is_empty());
        let Some(quietest) = counted.min_by_key(|activity| activity.last_step()) else {
            return false;
        };
        self.seats -= quietest.demand.held.len();
        quietest.demand = SeatDemand::default();
        true
    }
}

impl EventActivity {
    fn last_step(&self) -> i64 {
        self.steps.back().map_or(0, |step| step.number)
    }

    fn has_unwritten(&self) -> bool {
        self.steps.iter().any(|step| step.counts != step.written)
    }

    /// A step, added if it is not there; `None` if it is older than all that are kept.
    fn step(&mut self, number: i64) -> Option<&mut Step> {
        // Nearly always the last one.
        let index = self.steps.iter().rposition(|step| step.number <= number);
        let index = match index {
            Some(index) if self.steps[index].number == number => index,
            None if self.steps.len() >= STEPS_KEPT => return None,
            before => {
                let counts = [0; CHANGES];
                let mut at = before.map_or(0, |index| index + 1);
                self.steps.insert(at, Step { number, counts, written: counts });
                if self.steps.len() > STEPS_KEPT {
                    self.steps.pop_front();
                    at -= 1;
                }
                at
            }
        };
        self.steps.get_mut(index)
    }
}

impl SeatDemand {
    fn note(&mut self, seats: &[SeatId], is_held: bool) {
        let last = seats.last().map_or(0, |seat| seat.0 as usize);
        if self.held.len() < last {
            self.held.resize(last, 0);
            self.returned.resize(last, 0);
        }
        let counts = if is_held { &mut self.held } else { &mut self.returned };
        for seat in seats {
            let index = (seat.0 as usize).wrapping_sub(1);
            if let Some(count) = counts.get_mut(index) {
                *count = count.saturating_add(1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::activity::Change;

    #[test]
    fn steps_are_kept_in_order_and_bounded() {
        let mut activity = EventActivity::default();
        for number in [5, 3, 4, 5] {
            activity.step(number).unwrap().counts[Change::Held as usize] += 1;
        }
        let numbers: Vec<(i64, u64)> =
            activity.steps.iter().map(|step| (step.number, step.counts[0])).collect();
        assert_eq!(numbers, [(3, 1), (4, 1), (5, 2)]);
        for number in 6..1_000 {
            activity.step(number);
        }
        assert_eq!(activity.steps.len(), STEPS_KEPT);
        assert_eq!(activity.steps.back().unwrap().number, 999);
        assert!(activity.step(2).is_none());
    }

    #[test]
    fn written_steps_are_kept_while_entries_may_come_late() {
        let activity = Activity::default();
        let event = EventId(1);
        let steps = |activity: &Activity| activity.counted().events[&event].steps.len();
        for number in 0..100 {
            let mut counted = activity.counted();
            let step = counted.events.entry(event).or_default().step(number);
            step.unwrap().counts[Change::Held as usize] = 1;
        }
        let unwritten = activity.unwritten(1);
        assert_eq!((unwritten.len(), unwritten[0].1, steps(&activity)), (100, 0, 100));
        for (event, step, counts) in unwritten {
            activity.note_written(event, step, &counts);
        }
        assert_eq!((steps(&activity), activity.unwritten(1).len()), (STEPS_LATE as usize, 0));
    }

    #[test]
    fn demand_is_dropped_before_counts_are() {
        let mut counted = Counted::default();
        for id in [1, 2] {
            let activity = counted.events.entry(EventId(id)).or_default();
            activity.step(i64::from(id)).unwrap().counts[Change::Held as usize] = 1;
            activity.demand.note(&[SeatId(4)], true);
            counted.seats += 4;
        }
        assert!(counted.drop_demand(EventId(2)));
        assert!(!counted.drop_demand(EventId(2)), "only the kept one has any left");
        assert_eq!((counted.seats, counted.events.len()), (4, 2));
        counted.drop_quietest();
        assert!(counted.events.contains_key(&EventId(2)) && counted.events.len() == 1);
    }

    #[test]
    fn demand_grows_with_the_seats_it_meets() {
        let mut demand = SeatDemand::default();
        demand.note(&[SeatId(2), SeatId(4)], true);
        demand.note(&[SeatId(2)], false);
        demand.note(&[SeatId(2)], true);
        assert_eq!((demand.held, demand.returned), (vec![0, 2, 0, 1], vec![0, 1, 0, 0]));
    }
}
