//! Writes the counts of this process to Redis.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
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
    /// The first step that is not written: what is written of a step stays as it is.
    next_step: i64,
    /// Whether `total` has grown since it was written.
    is_total_due: bool,
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
    /// Starts from the current counts: an earlier run of this task has written those.
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
        let changes = self.write_changes(&changes).await;
        self.write_refusals().await.and(changes)
    }

    /// Adds what was refused since the last round, under this step.
    fn note_refusals(&mut self, step: i64) {
        let refusals = self.live.refusals();
        for (event, sums) in &refusals {
            let (event, sums) = (*event, *sums);
            let event = event.unwrap_or(NO_EVENT);
            let is_quiet =
                self.refused.get(&event).map_or(sums == [0; REFUSALS], |r| r.seen == sums);
            if is_quiet {
                continue;
            }
            if !self.refused.contains_key(&event) {
                self.make_room(&refusals);
                self.records += 1;
                let record = Refused { record: self.records, ..Refused::default() };
                self.refused.insert(event, record);
            }
            if let Some(refused) = self.refused.get_mut(&event) {
                refused.add(step, sums);
            }
        }
    }

    /// Forgets written records of events that are counted no more, if there are too many. Another one would
    /// count all of its event again.
    fn make_room(&mut self, counted: &[(Option<EventId>, [u64; REFUSALS])]) {
        if self.refused.len() < EVENTS_MAX {
            return;
        }
        let counted: HashSet<EventId> =
            counted.iter().map(|(event, _)| event.unwrap_or(NO_EVENT)).collect();
        self.refused.retain(|event, one| counted.contains(event) || one.is_due());
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
        let mut failed = None;
        for ((event, window), fields) in by_window {
            // A node that is away keeps nobody else's counts back.
            if let Err(error) = self.engine.write_activity(event, window, &fields).await {
                failed = Some(error);
                continue;
            }
            let written = changes
                .iter()
                .filter(|(of, step, _)| (*of, step.div_euclid(WINDOW_STEPS)) == (event, window));
            written.for_each(|(_, step, counts)| {
                self.live.activity().note_written(event, *step, counts);
            });
        }
        failed.map_or(Ok(()), Err)
    }

    async fn write_refusals(&mut self) -> Result<(), RedisError> {
        let due = self.refused.iter_mut().filter(|(_, one)| one.is_due());
        let mut due: Vec<_> = due.map(|(event, refused)| (*event, refused)).collect();
        due.sort_by_key(|(_, refused)| refused.steps.front().map(|(step, _)| *step));
        let mut failed = None;
        for (event, refused) in due.into_iter().take(EVENTS_PER_ROUND) {
            // A node that is away keeps nobody else's counts back.
            if let Err(error) = write(&self.engine, &self.process, event, refused).await {
                failed = Some(error);
            }
        }
        failed.map_or(Ok(()), Err)
    }
}

/// Writes what is due of one event.
async fn write(
    engine: &Engine,
    process: &str,
    event: EventId,
    refused: &mut Refused,
) -> Result<(), RedisError> {
    let names = Refusal::ALL.map(Refusal::as_str);
    while let Some((step, counts)) = refused.steps.front() {
        let field = (format!("{process}:{step}:r"), encode_counts(names, counts));
        engine.write_activity(event, step.div_euclid(WINDOW_STEPS), &[field]).await?;
        refused.next_step = step + 1;
        refused.steps.pop_front();
    }
    // Nobody asks for the total of requests without an event.
    if event != NO_EVENT {
        let text = encode_counts(names, &refused.total);
        let field =
            (format!("{process}.{}", refused.record), format!("since={} {text}", refused.since_ms));
        engine.write_refusals(event, &[field]).await?;
    }
    refused.is_total_due = false;
    Ok(())
}

impl Refused {
    fn is_due(&self) -> bool {
        self.is_total_due || !self.steps.is_empty()
    }

    fn add(&mut self, step: i64, sums: [u64; REFUSALS]) {
        let step = step.max(self.next_step);
        self.is_total_due = true;
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
        // What is written of a step is not replaced by what was refused later in it.
        refused.steps.clear();
        refused.next_step = 10;
        refused.add(9, sums(4));
        assert_eq!(refused.steps.front().map(|one| (one.0, one.1[0])), Some((10, 2)));
    }
}
