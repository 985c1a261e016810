//! Writes the counts of this process to Redis.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use crate::domain::EventId;
use crate::domain::activity::{
    CHANGES, Change, REFUSALS, Refusal, STEP_MS, STEPS, encode_counts, step_of,
};
use crate::lifecycle::Shutdown;
use crate::live::{ChangeCounts, Live};
use crate::redis::{Engine, Field, RedisError, WINDOW_STEPS};
use crate::sale::unix_now_ms;
use crate::telemetry::warn_repeated;

/// Events of one round, at most: the others follow in the next.
const EVENTS_PER_ROUND: usize = 500;
/// Events whose refusals are remembered.
const EVENTS_MAX: usize = 10_000;
/// Bound of the last round, when the process ends.
const LAST_ROUND_BOUND: Duration = Duration::from_secs(1);
/// The event under which refusals without a known event are written.
pub(super) const NO_EVENT: EventId = EventId(0);

/// Refused requests of one event.
#[derive(Default)]
struct Refused {
    /// The counts at the last round.
    seen: [u64; REFUSALS],
    /// Names this record among all of the event: the process, and how many records it had before.
    record: u64,
    /// All of this record.
    total: [u64; REFUSALS],
    since_ms: i64,
    /// Counts of steps that are not written.
    steps: VecDeque<(i64, [u64; REFUSALS])>,
}

/// Writes the counts until shutdown is requested, and then once more.
pub async fn keep_written(engine: Engine, live: Live, shutdown: Shutdown) {
    let mut recorder = Recorder::new(engine, live);
    loop {
        // Shortly after the step has ended.
        let left_ms = STEP_MS - unix_now_ms().rem_euclid(STEP_MS);
        let pause = Duration::from_millis(left_ms.unsigned_abs());
        if !shutdown.sleep_or_shutdown(pause).await {
            // Cut off, only the last step is missing.
            let _ = tokio::time::timeout(LAST_ROUND_BOUND, recorder.round()).await;
            return;
        }
        if let Err(error) = recorder.round().await {
            warn_repeated!(%error, "counts for operators are not written; they are kept");
        }
    }
}

struct Recorder {
    /// Names this start of the process.
    process: String,
    engine: Engine,
    live: Live,
    refused: HashMap<EventId, Refused>,
    records: u64,
}

impl Recorder {
    /// What was counted before is another recorder's: the task was started again.
    fn new(engine: Engine, live: Live) -> Self {
        let process = format!("{:08x}", rand::random::<u32>());
        let counted = live.refusals().into_iter().filter(|(_, sums)| *sums != [0; REFUSALS]);
        let counted = counted.map(|(event, seen)| {
            (event.unwrap_or(NO_EVENT), Refused { seen, ..Refused::default() })
        });
        let refused = counted.collect();
        Recorder { process, engine, live, refused, records: 0 }
    }

    async fn round(&mut self) -> Result<(), RedisError> {
        self.note_refusals(step_of(unix_now_ms() - STEP_MS / 2));
        let changes = self.live.activity().unwritten(EVENTS_PER_ROUND);
        self.write_changes(&changes).await?;
        self.write_refusals().await
    }

    /// Adds what was refused since the last round, under this step.
    fn note_refusals(&mut self, step: i64) {
        for (event, sums) in self.live.refusals() {
            let event = event.unwrap_or(NO_EVENT);
            let is_quiet =
                self.refused.get(&event).map_or(sums == [0; REFUSALS], |r| r.seen == sums);
            if is_quiet {
                continue;
            }
            if !self.refused.contains_key(&event) {
                self.make_room();
                self.records += 1;
                let record = Refused { record: self.records, ..Refused::default() };
                self.refused.insert(event, record);
            }
            if let Some(refused) = self.refused.get_mut(&event) {
                refused.add(step, sums);
            }
        }
    }

    /// Forgets the event with the oldest record, if there are too many.
    fn make_room(&mut self) {
        if self.refused.len() < EVENTS_MAX {
            return;
        }
        let oldest = self.refused.iter().filter(|(_, one)| one.steps.is_empty());
        let oldest = oldest.min_by_key(|(_, one)| one.record).map(|(event, _)| *event);
        oldest.map(|event| self.refused.remove(&event));
    }

    async fn write_changes(
        &self,
        changes: &[(EventId, i64, ChangeCounts)],
    ) -> Result<(), RedisError> {
        let mut by_window: BTreeMap<(EventId, i64), Vec<Field>> = BTreeMap::new();
        for (event, step, counts) in changes {
            let text = encode_counts::<CHANGES>(Change::ALL.map(Change::as_str), counts);
            let window = step.div_euclid(WINDOW_STEPS);
            let field = (format!("{}:{step}:c", self.process), text);
            by_window.entry((*event, window)).or_default().push(field);
        }
        for ((event, window), fields) in by_window {
            self.engine.write_activity(event, window, &fields).await?;
            let written = changes
                .iter()
                .filter(|(of, step, _)| (*of, step.div_euclid(WINDOW_STEPS)) == (event, window));
            written.for_each(|(_, step, counts)| {
                self.live.activity().note_written(event, *step, counts);
            });
        }
        Ok(())
    }

    async fn write_refusals(&mut self) -> Result<(), RedisError> {
        let names = Refusal::ALL.map(Refusal::as_str);
        let due = self.refused.iter_mut().filter(|(_, one)| !one.steps.is_empty());
        for (event, refused) in due.take(EVENTS_PER_ROUND) {
            while let Some((step, counts)) = refused.steps.front() {
                let field = (format!("{}:{step}:r", self.process), encode_counts(names, counts));
                let window = step.div_euclid(WINDOW_STEPS);
                self.engine.write_activity(*event, window, &[field]).await?;
                refused.steps.pop_front();
            }
            let text = encode_counts(names, &refused.total);
            let text = format!("since={} {text}", refused.since_ms);
            let field = (format!("{}.{}", self.process, refused.record), text);
            self.engine.write_refusals(*event, &[field]).await?;
        }
        Ok(())
    }
}

impl Refused {
    fn add(&mut self, step: i64, sums: [u64; REFUSALS]) {
        let mut counts = [0; REFUSALS];
        for (index, sum) in sums.iter().enumerate() {
            // A slot that was dropped and made again begins at zero.
            let new = sum.checked_sub(self.seen[index]).unwrap_or(*sum);
            counts[index] = new;
            self.total[index] += new;
        }
        self.seen = sums;
        if self.since_ms == 0 {
            self.since_ms = step * STEP_MS;
        }
        match self.steps.back_mut() {
            Some((last, before)) if *last == step => {
                before.iter_mut().zip(counts).for_each(|(count, new)| *count += new);
            }
            _ => self.steps.push_back((step, counts)),
        }
        if self.steps.len() > STEPS {
            self.steps.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_added_by_step_and_survive_a_new_slot() {
        let sums = |first: u64| {
            let mut sums = [0; REFUSALS];
            sums[0] = first;
            sums
        };
        let mut refused = Refused::default();
        for (step, first) in [(7, 3), (7, 5), (8, 9), (9, 2)] {
            refused.add(step, sums(first));
        }
        let steps: Vec<(i64, u64)> = refused.steps.iter().map(|one| (one.0, one.1[0])).collect();
        assert_eq!(steps, [(7, 5), (8, 4), (9, 2)]);
        assert_eq!((refused.total[0], refused.since_ms), (11, 35_000));
    }
}
