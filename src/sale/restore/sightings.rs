//! What was seen in the looks so far: which events are lost or stuck, and what is worth another
//! try.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use super::TAKE_OVER_AFTER;
use crate::archive::Watched;
use crate::domain::{EventId, LoadState, Partition};
use crate::redis::{EventState, RedisError};

/// How long an event must be missing, or behind, before it is taken for lost.
pub const MISSING_FOR: Duration = Duration::from_secs(1);
/// Pauses before a repair that failed is tried again.
const RETRY_MIN: Duration = Duration::from_secs(2);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// Something that has to be repaired.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Broken {
    /// Redis lacks the event, or has it in an earlier generation.
    Lost(EventId),
    /// A repair or load of the event does not end.
    Stuck(EventId),
    /// The log of this partition lacks what was archived.
    Log(Partition),
}

/// What was seen in earlier looks.
#[derive(Debug, Default)]
pub struct Sightings {
    missing: HashMap<EventId, Instant>,
    loading: HashMap<EventId, (u64, i64, Instant)>,
    failed: HashMap<Broken, (Instant, Duration)>,
    /// Why some events could not be looked at the last time.
    silence: Option<RedisError>,
}

impl Sightings {
    /// Notes what is `missing`, or behind, of what is watched; what is to be repaired now.
    pub fn look(
        &mut self,
        now: Instant,
        watched: &[Watched],
        missing: &HashSet<EventId>,
    ) -> Vec<Broken> {
        self.missing.retain(|event, _| missing.contains(event));
        let at_work: HashSet<EventId> =
            watched.iter().filter(|one| is_at_work(one)).map(|one| one.id).collect();
        self.loading.retain(|event, _| at_work.contains(event));
        let mut broken = Vec::new();
        for one in watched {
            let id = one.id;
            if is_at_work(one) {
                let fresh = (one.generation, one.load_beat, now);
                let seen = self.loading.entry(id).or_insert(fresh);
                if (seen.0, seen.1) != (one.generation, one.load_beat) {
                    *seen = fresh;
                }
                if now.saturating_duration_since(seen.2) >= TAKE_OVER_AFTER {
                    broken.push(Broken::Stuck(id));
                }
            } else if missing.contains(&id) {
                let since = *self.missing.entry(id).or_insert(now);
                let is_reported = one.loss_reported == Some(one.generation);
                if is_reported || now.saturating_duration_since(since) >= MISSING_FOR {
                    broken.push(Broken::Lost(id));
                }
            }
        }
        broken.retain(|one| self.may_try(now, one));
        broken
    }

    /// Whether there is more that may turn out to be broken than these.
    pub fn has_more_than(&self, broken: &[Broken]) -> bool {
        self.missing.len() + self.loading.len() > broken.len()
    }

    /// Why some events could not be looked at the last time: their Redis does not answer.
    pub fn silence(&self) -> Option<&RedisError> {
        self.silence.as_ref()
    }

    pub(super) fn note_silence(&mut self, why: Option<RedisError>) {
        self.silence = why;
    }

    /// Whether a repair of this has not just failed.
    pub fn may_try(&self, now: Instant, broken: &Broken) -> bool {
        self.failed
            .get(broken)
            .is_none_or(|(at, pause)| now.saturating_duration_since(*at) >= *pause)
    }

    /// Notes how a repair ended.
    pub fn ended(&mut self, now: Instant, broken: Broken, is_done: bool) {
        if is_done {
            self.failed.remove(&broken);
            return;
        }
        let pause = self.failed.get(&broken).map_or(RETRY_MIN, |(_, pause)| *pause * 2);
        self.failed.insert(broken, (now, pause.min(RETRY_MAX)));
    }
}

/// Whether an opened event is not in Redis as it was opened.
pub(super) fn is_lost(watched: &Watched, state: Option<&EventState>) -> bool {
    let Some(state) = state else { return true };
    let is_other_load = || watched.load_token.as_ref() != Some(&state.load_token);
    state.generation < watched.generation || (!state.open && is_other_load())
}

/// Whether an event's repair or load has not come to its end.
pub(super) fn is_at_work(watched: &Watched) -> bool {
    watched.load_state == LoadState::Loading || watched.load_unfinished
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watched(id: u32, load_state: LoadState, generation: u64, load_beat: i64) -> Watched {
        Watched {
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
    fn an_event_is_lost_when_it_stays_missing() {
        let (mut sightings, start) = (Sightings::default(), Instant::now());
        let events = [watched(1, LoadState::Opened, 1, 0), watched(2, LoadState::Opened, 1, 0)];
        let missing = HashSet::from([EventId(1)]);
        assert_eq!(sightings.look(start, &events, &missing), []);
        assert_eq!(sightings.look(start + MISSING_FOR / 2, &events, &missing), []);
        let lost = sightings.look(start + MISSING_FOR, &events, &missing);
        assert_eq!(lost, [Broken::Lost(EventId(1))]);
        // Seen again: it begins anew.
        assert_eq!(sightings.look(start + MISSING_FOR, &events, &HashSet::new()), []);
        assert_eq!(sightings.look(start + MISSING_FOR * 2, &events, &missing), []);
    }

    #[test]
    fn reported_loss_is_repaired_at_the_first_look() {
        let (mut sightings, start) = (Sightings::default(), Instant::now());
        let mut events = [watched(1, LoadState::Opened, 3, 0)];
        let missing = HashSet::from([EventId(1)]);
        events[0].loss_reported = Some(2);
        assert_eq!(sightings.look(start, &events, &missing), [], "of an earlier generation");
        events[0].loss_reported = Some(3);
        assert_eq!(sightings.look(start, &events, &HashSet::new()), [], "it is not lost");
        assert_eq!(sightings.look(start, &events, &missing), [Broken::Lost(EventId(1))]);
    }

    #[test]
    fn event_is_lost_if_redis_has_an_earlier_generation_or_another_load() {
        let state = |open, generation, token: &str| {
            let load_token = token.to_owned();
            Some(EventState { open, generation, load_token })
        };
        let opened = watched(1, LoadState::Opened, 2, 0);
        let cases = [
            (None, true),
            (state(true, 2, "t1"), false),
            (state(true, 1, "t1"), true),
            (state(true, 3, "t1"), false),
            // About to be opened; and what was there before everything was placed.
            (state(false, 2, "t1"), false),
            (state(false, 2, "t0"), true),
            (state(false, 1, "t1"), true),
        ];
        for (state, expected) in cases {
            assert_eq!(is_lost(&opened, state.as_ref()), expected, "{state:?}");
        }
    }

    #[test]
    fn a_repair_is_stuck_when_its_beat_stands_still() {
        let (mut sightings, start) = (Sightings::default(), Instant::now());
        let mut see = |after, generation, beat| {
            let events = [watched(1, LoadState::Loading, generation, beat)];
            sightings.look(start + after, &events, &HashSet::new())
        };
        let almost = TAKE_OVER_AFTER - Duration::from_millis(1);
        assert_eq!(see(Duration::ZERO, 2, 1), []);
        assert_eq!(see(almost, 2, 1), []);
        assert_eq!(see(TAKE_OVER_AFTER, 2, 2), [], "it beats");
        assert_eq!(see(TAKE_OVER_AFTER + almost, 3, 2), [], "another has begun");
        let later = TAKE_OVER_AFTER + almost + TAKE_OVER_AFTER;
        assert_eq!(see(later, 3, 2), [Broken::Stuck(EventId(1))]);
    }

    #[test]
    fn what_fails_is_tried_less_and_less_often() {
        let (mut sightings, start) = (Sightings::default(), Instant::now());
        let broken = Broken::Log(Partition(3));
        assert!(sightings.may_try(start, &broken));
        for pause in [2, 4, 8, 16, 30, 30].map(Duration::from_secs) {
            sightings.ended(start, broken.clone(), false);
            assert!(!sightings.may_try(start + pause - Duration::from_millis(1), &broken));
            assert!(sightings.may_try(start + pause, &broken));
        }
        sightings.ended(start, broken.clone(), true);
        assert!(sightings.may_try(start, &broken));
    }
}
