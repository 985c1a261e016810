//! Tracks losses over several checks: which events are lost, which repairs are stuck, and when a failed
//! repair is retried.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use super::TAKE_OVER_AFTER;
use crate::archive::WatchedEvent;
use crate::domain::{EventId, LoadState, Partition};
use crate::redis::{EventState, RedisError};

/// How long an event must be missing, or in an earlier generation, before it counts as lost.
pub const MISSING_FOR: Duration = Duration::from_secs(1);
/// Pauses before a failed repair is retried.
const RETRY_MIN: Duration = Duration::from_secs(2);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// Something that must be repaired.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Loss {
    /// Redis lacks the event, or has it in an earlier generation.
    Event(EventId),
    /// A repair or load of the event does not end.
    StuckRepair(EventId),
    /// The log of this partition lacks archived entries.
    Log(Partition),
}

/// The observations of earlier checks.
#[derive(Debug, Default)]
pub struct LossTracker {
    missing: HashMap<EventId, Instant>,
    loading: HashMap<EventId, (u64, i64, Instant)>,
    failed: HashMap<Loss, (Instant, Duration)>,
    /// Why some events could not be checked the last time.
    unreachable: Option<RedisError>,
}

impl LossTracker {
    /// Records which watched events are `missing`, or in an earlier generation; returns what must be
    /// repaired now.
    pub fn observe(
        &mut self,
        now: Instant,
        watched: &[WatchedEvent],
        missing: &HashSet<EventId>,
    ) -> Vec<Loss> {
        self.missing.retain(|event, _| missing.contains(event));
        let in_progress: HashSet<EventId> =
            watched.iter().filter(|one| is_in_progress(one)).map(|one| one.id).collect();
        self.loading.retain(|event, _| in_progress.contains(event));
        let mut losses = Vec::new();
        for one in watched {
            let id = one.id;
            if is_in_progress(one) {
                let current = (one.generation, one.load_beat, now);
                let last = self.loading.entry(id).or_insert(current);
                if (last.0, last.1) != (one.generation, one.load_beat) {
                    *last = current;
                }
                if now.saturating_duration_since(last.2) >= TAKE_OVER_AFTER {
                    losses.push(Loss::StuckRepair(id));
                }
            } else if missing.contains(&id) {
                let since = *self.missing.entry(id).or_insert(now);
                let is_reported = one.loss_reported == Some(one.generation);
                if is_reported || now.saturating_duration_since(since) >= MISSING_FOR {
                    losses.push(Loss::Event(id));
                }
            }
        }
        losses.retain(|loss| self.may_try(now, loss));
        losses
    }

    /// Whether more events than these may turn out to need a repair.
    pub fn has_more_than(&self, losses: &[Loss]) -> bool {
        self.missing.len() + self.loading.len() > losses.len()
    }

    /// Why some events could not be checked the last time: their Redis node does not respond.
    pub fn unreachable(&self) -> Option<&RedisError> {
        self.unreachable.as_ref()
    }

    pub(super) fn set_unreachable(&mut self, why: Option<RedisError>) {
        self.unreachable = why;
    }

    /// Whether a repair may be attempted: none has failed recently.
    pub fn may_try(&self, now: Instant, loss: &Loss) -> bool {
        self.failed.get(loss).is_none_or(|(at, pause)| now.saturating_duration_since(*at) >= *pause)
    }

    /// Records the end of a repair.
    pub fn record_end(&mut self, now: Instant, loss: Loss, is_done: bool) {
        if is_done {
            self.failed.remove(&loss);
            return;
        }
        let pause = self.failed.get(&loss).map_or(RETRY_MIN, |(_, pause)| *pause * 2);
        self.failed.insert(loss, (now, pause.min(RETRY_MAX)));
    }
}

/// Whether Redis lacks an opened event in the state in which it was opened.
pub(super) fn is_lost(watched: &WatchedEvent, state: Option<&EventState>) -> bool {
    let Some(state) = state else { return true };
    let is_other_load = || watched.load_token.as_ref() != Some(&state.load_token);
    state.generation < watched.generation || (!state.open && is_other_load())
}

/// Whether a repair or load of an event has not ended.
pub(super) fn is_in_progress(watched: &WatchedEvent) -> bool {
    watched.load_state == LoadState::Loading || watched.load_unfinished
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watched(id: u32, load_state: LoadState, generation: u64, load_beat: i64) -> WatchedEvent {
        WatchedEvent {
            id: EventId(id),
            load_state,
            generation,
            load_beat,
            load_unfinished: false,
            load_token: Some("t1".into()),
            loss_reported: None,
        }
    }

    #[test]
    fn event_is_lost_when_it_stays_missing() {
        let (mut tracker, start) = (LossTracker::default(), Instant::now());
        let events = [watched(1, LoadState::Opened, 1, 0), watched(2, LoadState::Opened, 1, 0)];
        let missing = HashSet::from([EventId(1)]);
        assert_eq!(tracker.observe(start, &events, &missing), []);
        assert_eq!(tracker.observe(start + MISSING_FOR / 2, &events, &missing), []);
        let lost = tracker.observe(start + MISSING_FOR, &events, &missing);
        assert_eq!(lost, [Loss::Event(EventId(1))]);
        // Found again: the time starts over.
        assert_eq!(tracker.observe(start + MISSING_FOR, &events, &HashSet::new()), []);
        assert_eq!(tracker.observe(start + MISSING_FOR * 2, &events, &missing), []);
    }

    #[test]
    fn reported_loss_is_repaired_at_the_first_check() {
        let (mut tracker, start) = (LossTracker::default(), Instant::now());
        let mut events = [watched(1, LoadState::Opened, 3, 0)];
        let missing = HashSet::from([EventId(1)]);
        events[0].loss_reported = Some(2);
        assert_eq!(tracker.observe(start, &events, &missing), [], "of an earlier generation");
        events[0].loss_reported = Some(3);
        assert_eq!(tracker.observe(start, &events, &HashSet::new()), [], "it is not lost");
        assert_eq!(tracker.observe(start, &events, &missing), [Loss::Event(EventId(1))]);
    }

    #[test]
    fn event_is_lost_if_redis_has_an_earlier_generation_or_another_load() {
        let state = |open, generation, token: &str| {
            let load_token = token.to_owned();
            Some(EventState { open, generation, revision: 1, load_token })
        };
        let opened = watched(1, LoadState::Opened, 2, 0);
        let cases = [
            (None, true),
            (state(true, 2, "t1"), false),
            (state(true, 1, "t1"), true),
            (state(true, 3, "t1"), false),
            // Complete and about to be opened; then a load that is not the recorded one.
            (state(false, 2, "t1"), false),
            (state(false, 2, "t0"), true),
            (state(false, 1, "t1"), true),
        ];
        for (state, expected) in cases {
            assert_eq!(is_lost(&opened, state.as_ref()), expected, "{state:?}");
        }
    }

    #[test]
    fn repair_is_stuck_when_its_beat_stops() {
        let (mut tracker, start) = (LossTracker::default(), Instant::now());
        let mut observe = |after, generation, beat| {
            let events = [watched(1, LoadState::Loading, generation, beat)];
            tracker.observe(start + after, &events, &HashSet::new())
        };
        let almost = TAKE_OVER_AFTER - Duration::from_millis(1);
        assert_eq!(observe(Duration::ZERO, 2, 1), []);
        assert_eq!(observe(almost, 2, 1), []);
        assert_eq!(observe(TAKE_OVER_AFTER, 2, 2), [], "it beats");
        assert_eq!(observe(TAKE_OVER_AFTER + almost, 3, 2), [], "another repair has started");
        let later = TAKE_OVER_AFTER + almost + TAKE_OVER_AFTER;
        assert_eq!(observe(later, 3, 2), [Loss::StuckRepair(EventId(1))]);
    }

    #[test]
    fn failed_repair_is_retried_with_growing_pauses() {
        let (mut tracker, start) = (LossTracker::default(), Instant::now());
        let loss = Loss::Log(Partition(3));
        assert!(tracker.may_try(start, &loss));
        for pause in [2, 4, 8, 16, 30, 30].map(Duration::from_secs) {
            tracker.record_end(start, loss.clone(), false);
            assert!(!tracker.may_try(start + pause - Duration::from_millis(1), &loss));
            assert!(tracker.may_try(start + pause, &loss));
        }
        tracker.record_end(start, loss.clone(), true);
        assert!(tracker.may_try(start, &loss));
    }
}
